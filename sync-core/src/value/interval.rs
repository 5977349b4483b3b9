//! Intervals: months, days and microseconds apart, as PostgreSQL keeps them, written in its own style: `1 year 2 mons -3 days +04:05:06.7`.

use std::fmt::Write as _;

use super::moment::{SECOND, seconds_of, step};

const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

#[derive(Default)]
struct Interval {
    months: i64,
    days: i64,
    micros: i64,
}

/// Reads PostgreSQL's styles but `sql_standard`, ISO 8601 (`P1DT2H`), and numbers with units (`90 minutes`, `1.5 hours`).
pub(super) fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    read(text).map(|sum| sum.text())
}

fn read(text: &str) -> Option<Interval> {
    let mut sum = Interval::default();
    if let Some(iso) = text.strip_prefix('P') {
        sum.add_iso(iso)?;
    } else {
        sum.add_words(text)?;
    }
    let fits = i32::try_from(sum.months).is_ok() && i32::try_from(sum.days).is_ok();
    fits.then_some(sum)
}

/// A canonical interval with so many digits of a second, halves away from zero.
pub(super) fn rounded(text: &str, digits: u32) -> Option<String> {
    if digits >= 6 || text.ends_with("infinity") {
        return Some(text.to_owned());
    }
    let (mut sum, scale) = (read(text)?, step(digits));
    let half = if sum.micros < 0 { -scale / 2 } else { scale / 2 };
    sum.micros = sum.micros.checked_add(half)? / scale * scale;
    Some(sum.text())
}

/// The time of day that is left of a canonical interval without its months and days, in microseconds.
pub(super) fn of_day(text: &str) -> Option<i64> {
    read(text).map(|sum| sum.micros.rem_euclid(DAY))
}

impl Interval {
    fn add_words(&mut self, text: &str) -> Option<()> {
        let text = text.strip_prefix('@').unwrap_or(text).trim();
        let (text, ago) = text.strip_suffix("ago").map_or((text, false), |rest| (rest.trim_end(), true));
        let mut words = text.split_ascii_whitespace().peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            if word.contains(':') {
                self.micros = self.micros.checked_add(clock(word)?)?;
                continue;
            }
            let at = word.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(word.len());
            let unit = if at == word.len() { words.next()? } else { &word[at..] };
            self.add(&word[..at], unit)?;
        }
        if ago {
            *self = Self { months: -self.months, days: -self.days, micros: self.micros.checked_neg()? };
        }
        Some(())
    }

    fn add_iso(&mut self, text: &str) -> Option<()> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        if date.is_empty() && time.is_none_or(str::is_empty) {
            return None;
        }
        for (part, units) in [
            (date, [('Y', "year"), ('M', "month"), ('W', "week"), ('D', "day")].as_slice()),
            (time.unwrap_or_default(), [('H', "hour"), ('M', "minute"), ('S', "second")].as_slice()),
        ] {
            let mut rest = part;
            while let Some(at) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
                let (_, unit) = units.iter().find(|(letter, _)| rest[at..].starts_with(*letter))?;
                self.add(&rest[..at], unit)?;
                rest = &rest[at + 1..];
            }
            if !rest.is_empty() {
                return None;
            }
        }
        Some(())
    }

    /// `1`, `-2.5` of a unit. A part of a month or a year is no amount of time: refused.
    fn add(&mut self, amount: &str, unit: &str) -> Option<()> {
        let (negative, digits) = match amount.as_bytes().first()? {
            b'-' => (true, &amount[1..]),
            b'+' => (false, &amount[1..]),
            _ => (false, amount),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if digits.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 15 || whole.len() + fraction.len() == 0 {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let whole = if negative { -whole } else { whole };
        // The fraction of a unit of so many microseconds, rounded.
        let part = |micros: i64| -> Option<i64> {
            let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
            let parts: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
            let rounded = i64::try_from((parts * i128::from(micros) * 2 + scale) / (scale * 2)).ok()?;
            Some(if negative { -rounded } else { rounded })
        };
        let months = |count: i64| fraction.bytes().all(|byte| byte == b'0').then(|| whole.checked_mul(count)).flatten();
        let unit = unit.to_ascii_lowercase();
        let plural = unit.strip_suffix('s').filter(|rest| rest.len() > 1).unwrap_or(&unit);
        let micros = match plural {
            "microsecond" | "us" | "usec" => 1,
            "millisecond" | "ms" | "msec" => 1000,
            "second" | "s" | "sec" => SECOND,
            "minute" | "m" | "min" => 60 * SECOND,
            "hour" | "h" | "hr" => HOUR,
            "day" | "d" => {
                self.days = self.days.checked_add(whole)?;
                self.micros = self.micros.checked_add(part(DAY)?)?;
                return Some(());
            }
            "week" | "w" => {
                let rest = part(7 * DAY)?;
                self.days = self.days.checked_add(whole.checked_mul(7)?)?.checked_add(rest / DAY)?;
                self.micros = self.micros.checked_add(rest % DAY)?;
                return Some(());
            }
            "month" | "mon" => {
                self.months = self.months.checked_add(months(1)?)?;
                return Some(());
            }
            "year" | "y" | "yr" => {
                self.months = self.months.checked_add(months(12)?)?;
                return Some(());
            }
            "decade" | "dec" => {
                self.months = self.months.checked_add(months(120)?)?;
                return Some(());
            }
            _ => return None,
        };
        self.micros = self.micros.checked_add(whole.checked_mul(micros)?)?.checked_add(part(micros)?)?;
        Some(())
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut after_negative = false;
        for (count, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if count == 0 {
                continue;
            }
            let space = if out.is_empty() { "" } else { " " };
            let plus = if after_negative && count > 0 { "+" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            let _ = write!(out, "{space}{plus}{count} {unit}{plural}");
            after_negative = count < 0;
        }
        if out.is_empty() || self.micros != 0 {
            let space = if out.is_empty() { "" } else { " " };
            let sign = match self.micros {
                ..0 => "-",
                _ if after_negative => "+",
                _ => "",
            };
            let micros = self.micros.unsigned_abs();
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            let _ = write!(out, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            if fraction != 0 {
                out.push_str(format!(".{fraction:06}").trim_end_matches('0'));
            }
        }
        out
    }
}

/// `-04:05:06.7`: hours may be many.
fn clock(word: &str) -> Option<i64> {
    let (negative, unsigned) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let mut parts = unsigned.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !digits(hours) || !digits(minutes) {
        return None;
    }
    let (minutes, micros): (i64, i64) = (minutes.parse().ok()?, seconds_of(seconds)?);
    if minutes > 59 || micros >= 60 * SECOND {
        return None;
    }
    let hours = i128::from(hours.parse::<i64>().ok()?) * i128::from(HOUR);
    let sum = hours + i128::from(minutes * 60 * SECOND + micros);
    i64::try_from(if negative { -sum } else { sum }).ok()
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_spelling_of_an_interval_is_written_as_postgresql_does() {
        for (text, written) in [
            ("1 hour", Some("01:00:00")),
            ("90 minutes", Some("01:30:00")),
            ("1.5 days", Some("1 day 12:00:00")),
            ("1 year 2 mons 3 days 04:05:06.789", Some("1 year 2 mons 3 days 04:05:06.789")),
            ("-1 days +02:03:00", Some("-1 days +02:03:00")),
            ("1 mon -1 days", Some("1 mon -1 days")),
            ("-14 mons +2 days", Some("-1 years -2 mons +2 days")),
            ("@ 1 day 2 hours ago", Some("-1 days -02:00:00")),
            ("P1Y2M3DT4H5M6.5S", Some("1 year 2 mons 3 days 04:05:06.5")),
            ("P-1DT-0.000001S", Some("-1 days -00:00:00.000001")),
            ("-00:00:00.5", Some("-00:00:00.5")),
            ("2562047788:00:54.775807", Some("2562047788:00:54.775807")),
            ("-2562047788:00:54.775808", Some("-2562047788:00:54.775808")),
            ("0", None),
            ("00:00:00", Some("00:00:00")),
            ("2w1h", None),
            ("2w 1h", Some("14 days 01:00:00")),
            ("1.5 months", None),
            ("soon", None),
            ("", None),
            ("P", None),
            ("99999999999 days", None),
        ] {
            assert_eq!(canonical(text).as_deref(), written, "{text}");
        }
    }
}
