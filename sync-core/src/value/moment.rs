//! Dates and times as PostgreSQL holds them: from 4714 BC to the year 294276 (dates to 5874897), in microseconds, and infinity.
//!
//! Years before Christ are written as PostgreSQL writes them, `0044-03-15 BC`; ISO 8601's `-0043-03-15` is read as the same day.

use chrono::{DateTime, SecondsFormat, Utc};

/// Microseconds.
pub(super) const DAY: i64 = 86_400_000_000;
/// Microseconds.
pub(super) const SECOND: i64 = 1_000_000;

/// The microseconds between two moments that so many digits of a second tell apart.
pub(super) fn step(digits: u32) -> i64 {
    10_i64.pow(6 - digits.min(6))
}

/// The canonical text of a moment.
#[must_use]
pub fn timestamp_text(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn infinite(text: &str) -> Option<String> {
    matches!(text, "infinity" | "-infinity").then(|| text.to_owned())
}

pub(super) fn timestamptz(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(infinite) = infinite(text) {
        return Some(infinite);
    }
    let (text, era) = split_era(text);
    let (days, time) = day_and_time(text, era)?;
    // PostgreSQL writes `+00` or `+05:30`; SQLite's datetime() writes no zone and means UTC; RFC 3339 has `T` and `Z`.
    let (micros, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (time_of_day(time[..at].trim_end())?, offset(&time[at..])?),
        None if time.is_empty() => (0, 0),
        None => (time_of_day(time)?, 0),
    };
    stamp(days, micros - offset * SECOND, "Z")
}

pub(super) fn timestamp(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(infinite) = infinite(text) {
        return Some(infinite);
    }
    let (text, era) = split_era(text);
    let (days, time) = day_and_time(text, era)?;
    let micros = if time.is_empty() { 0 } else { time_of_day(time)? };
    stamp(days, micros, "")
}

pub(super) fn date(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(infinite) = infinite(text) {
        return Some(infinite);
    }
    let (text, era) = split_era(text);
    let days = day(text, era)?;
    if days < first_day() || days > day_number(5_874_897, 12, 31) {
        return None;
    }
    let (date, era) = date_text(days);
    Some(format!("{date}{era}"))
}

/// The day after a canonical date.
pub(super) fn next_day(text: &str) -> Option<String> {
    if let Some(infinite) = infinite(text) {
        return Some(infinite);
    }
    let (day_text, era) = split_era(text);
    let (next, era) = date_text(day(day_text, era)? + 1);
    date(&format!("{next}{era}"))
}

pub(super) fn time(text: &str) -> Option<String> {
    time_of_day(text.trim()).map(clock_text)
}

/// As PostgreSQL writes it: `12:00:00.5+02`, `12:00:00+05:30`.
pub(super) fn timetz(text: &str) -> Option<String> {
    let text = text.trim();
    let at = text.find(['Z', 'z', '+', '-'])?;
    let (micros, offset) = (time_of_day(text[..at].trim_end())?, offset(&text[at..])?);
    let fraction = format!("{:06}", micros % SECOND);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (sign, zone) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    let mut out = format!("{}{point}{fraction}{sign}{:02}", clock(micros), zone / 3600);
    if zone % 3600 != 0 {
        out.push_str(&format!(":{:02}", zone / 60 % 60));
    }
    if zone % 60 != 0 {
        out.push_str(&format!(":{:02}", zone % 60));
    }
    Some(out)
}

/// Takes `BC` or `AD` off the end.
pub(super) fn split_era(text: &str) -> (&str, bool) {
    for (suffix, before_christ) in [(" BC", true), (" AD", false), (" bc", true), (" ad", false)] {
        if let Some(rest) = text.strip_suffix(suffix) {
            return (rest.trim_end(), before_christ);
        }
    }
    (text, false)
}

/// The day, and the text of the time, which may be empty.
pub(super) fn day_and_time(text: &str, before_christ: bool) -> Option<(i64, &str)> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim_start()),
        None => (text, ""),
    };
    if time.is_empty() && date.len() != text.len() {
        return None;
    }
    Some((day(date, before_christ)?, time))
}

/// `2026-01-31`, `12026-01-31`, `-0043-03-15`: the days since 1970.
fn day(text: &str, before_christ: bool) -> Option<i64> {
    let signed = text.starts_with(['-', '+']);
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = unsigned.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(4..=7).contains(&year.len()) || (signed && before_christ) {
        return None;
    }
    let year = sign * number(year, 7)?;
    let year = if before_christ { 1 - year } else { year };
    let (month, day) = (number(month, 2)?, number(day, 2)?);
    if before_christ && year > 0 || !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    Some(day_number(year, month, day))
}

/// `HH:MM`, `HH:MM:SS`, `HH:MM:SS.ffffff` in microseconds; further digits are rounded. 24:00:00 is a time of day to PostgreSQL.
pub(super) fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, parts.next().unwrap_or("0"));
    let micros = seconds_of(seconds)?;
    if parts.next().is_some() || hours > 24 || minutes > 59 || micros > 60 * SECOND {
        return None;
    }
    let sum = (hours * 60 + minutes) * 60 * SECOND + micros;
    (sum <= DAY).then_some(sum)
}

/// `05`, `05.25` in microseconds.
pub(super) fn seconds_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.is_empty() != (whole.len() == text.len()) {
        return None;
    }
    let kept = format!("{:0<6}", &fraction[..fraction.len().min(6)]);
    let up = i64::from(fraction.as_bytes().get(6).is_some_and(|digit| *digit >= b'5'));
    number(whole, 9)?.checked_mul(SECOND)?.checked_add(number(&kept, 6)? + up)
}

/// A zone's distance from UTC in seconds.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let mut parts: Vec<&str> = rest.split(':').collect();
    if parts.len() == 1 && rest.len() == 4 && rest.is_ascii() {
        parts = vec![&rest[..2], &rest[2..]];
    }
    let part = |at: usize| parts.get(at).map_or(Some(0), |text| number(text, 2));
    let (hours, minutes, seconds) = (part(0)?, part(1)?, part(2)?);
    let fits = parts.len() <= 3 && hours <= 15 && minutes < 60 && seconds < 60;
    fits.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// A number of 1 to `digits` digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let fits = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// A moment so many microseconds from a day's beginning.
pub(super) fn stamp(days: i64, micros: i64, zone: &str) -> Option<String> {
    let (days, rest) = (days + micros.div_euclid(DAY), micros.rem_euclid(DAY));
    if days < first_day() || days > day_number(294_276, 12, 31) {
        return None;
    }
    let (date, era) = date_text(days);
    Some(format!("{date}T{}{zone}{era}", clock_text(rest)))
}

/// A time of day with all digits of its seconds.
pub(super) fn clock_text(micros: i64) -> String {
    format!("{}.{:06}", clock(micros), micros % SECOND)
}

fn clock(micros: i64) -> String {
    let seconds = micros / SECOND;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The date, and what follows it where it is before Christ.
pub(super) fn date_text(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    if year > 0 { (format!("{year:04}-{month:02}-{day:02}"), "") } else { (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC") }
}

/// PostgreSQL's first day, 4714-11-24 BC.
fn first_day() -> i64 {
    day_number(-4713, 11, 24)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970 of a day of the proleptic Gregorian calendar; the year 0 is 1 BC. Counted in years that begin in March, by eras of 400.
pub(super) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn days_are_those_of_another_calendar(days in -90_000_000_i64..90_000_000) {
            let (year, month, day) = civil(days);
            prop_assert_eq!(day_number(year, month, day), days);
            let other = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap().checked_add_signed(chrono::TimeDelta::days(days)).unwrap();
            prop_assert_eq!((i64::from(other.year()), i64::from(other.month()), i64::from(other.day())), (year, month, day));
        }
    }

    #[test]
    fn the_ends_of_time_are_postgresqls() {
        for (text, canonical) in [
            ("4714-11-24 BC", Some("4714-11-24 BC")),
            ("4714-11-23 BC", None),
            ("5874897-12-31", Some("5874897-12-31")),
            ("5874898-01-01", None),
            ("-0043-03-15", Some("0044-03-15 BC")),
            ("0001-02-29 BC", Some("0001-02-29 BC")),
            ("2023-02-29", None),
            ("infinity", Some("infinity")),
        ] {
            assert_eq!(date(text).as_deref(), canonical, "{text}");
        }
        for (text, canonical) in [
            ("294276-12-31 23:59:59.999999+00", Some("294276-12-31T23:59:59.999999Z")),
            ("294277-01-01 00:00:00+00", None),
            ("4714-11-24 00:00:00+00 BC", Some("4714-11-24T00:00:00.000000Z BC")),
            ("0044-03-15 12:00:00.5+01:30 BC", Some("0044-03-15T10:30:00.500000Z BC")),
            ("2026-01-01T00:00:00.0000005Z", Some("2026-01-01T00:00:00.000001Z")),
            ("2026-12-31 23:59:60", Some("2027-01-01T00:00:00.000000Z")),
            ("2026-01-01 ", Some("2026-01-01T00:00:00.000000Z")),
            ("2026-01-01T", None),
            ("2026-01-01 12", None),
        ] {
            assert_eq!(timestamptz(text).as_deref(), canonical, "{text}");
        }
        assert_eq!(time("24:00:00").as_deref(), Some("24:00:00.000000"));
        assert_eq!(time("24:00:01"), None);
        assert_eq!(timetz("12:00:00.50-05:30").as_deref(), Some("12:00:00.5-05:30"));
        assert_eq!(timetz("12:00+0200").as_deref(), Some("12:00:00+02"));
    }
}
