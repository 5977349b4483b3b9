//! Buckets of time: what a moment is counted under, of so many seconds from a Monday on, or of so many months of the calendar. Always in UTC.

use super::moment::{DAY, SECOND, civil, date_text, day_and_time, day_number, split_era, stamp};
use super::{ColumnType, Value};

/// The longest bucket, in days and in months: a hundred years.
const DAYS_MAX: i64 = 36_525;
const MONTHS_MAX: i64 = 1_200;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// So many seconds, counted from 2000-01-03, a Monday.
    Seconds(i64),
    /// So many months of the calendar, counted from January 2000.
    Months(i64),
}

impl Every {
    /// Years before this one are in the bucket `-infinity`, so that no bucket begins before time does.
    pub const FIRST_YEAR: &'static str = "4000 BC";
    /// Years from this one on are in the bucket `infinity`: to it all arithmetic of PostgreSQL is exact.
    pub const LAST_YEAR: &'static str = "10000";

    /// Reads `15min`, `1h`, `w`; `None` where it is no length, or one of more than a hundred years.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
        let count: i64 = if count.is_empty() { 1 } else { count.parse().ok()? };
        let (every, max) = match unit {
            "s" => (Self::Seconds(count), DAYS_MAX * 86_400),
            "min" => (Self::Seconds(count.checked_mul(60)?), DAYS_MAX * 86_400),
            "h" => (Self::Seconds(count.checked_mul(3_600)?), DAYS_MAX * 86_400),
            "d" => (Self::Seconds(count.checked_mul(86_400)?), DAYS_MAX * 86_400),
            "w" => (Self::Seconds(count.checked_mul(7 * 86_400)?), DAYS_MAX * 86_400),
            "mon" => (Self::Months(count), MONTHS_MAX),
            "y" => (Self::Months(count.checked_mul(12)?), MONTHS_MAX),
            _ => return None,
        };
        let (Self::Seconds(length) | Self::Months(length)) = every;
        (1..=max).contains(&length).then_some(every)
    }

    /// Whether values of this type fall into such buckets; dates into whole days only.
    #[must_use]
    pub fn fits(self, ty: &ColumnType) -> bool {
        match (ty, self) {
            (ColumnType::Timestamptz | ColumnType::Timestamp, _) | (ColumnType::Date, Self::Months(_)) => true,
            (ColumnType::Date, Self::Seconds(seconds)) => seconds % 86_400 == 0,
            _ => false,
        }
    }

    /// The beginning of the bucket of a value, as a value of its own type; `None` where it is no value of a type that [fits](Self::fits).
    #[must_use]
    pub fn begin(self, ty: &ColumnType, text: &str) -> Option<Value> {
        let Value::Text(text) = ty.parse(text).ok()? else { return None };
        let zone = match ty {
            ColumnType::Timestamptz => Some("Z"),
            ColumnType::Timestamp => Some(""),
            ColumnType::Date => None,
            _ => return None,
        };
        if matches!(text.as_str(), "infinity" | "-infinity") {
            return Some(Value::Text(text));
        }
        let (unmarked, before_christ) = split_era(&text);
        let (days, time) = day_and_time(unmarked.trim_end_matches('Z'), before_christ)?;
        let micros = if time.is_empty() { 0 } else { super::moment::time_of_day(time)? };
        let begin = if days < day_number(-3_999, 1, 1) {
            "-infinity".to_owned()
        } else if days >= day_number(10_000, 1, 1) {
            "infinity".to_owned()
        } else {
            let (days, micros) = self.first(days, micros);
            match zone {
                Some(zone) => stamp(days, micros, zone)?,
                None => {
                    let (date, era) = date_text(days);
                    format!("{date}{era}")
                }
            }
        };
        Some(Value::Text(begin))
    }

    /// The day, and the microseconds in it, with which the bucket of a moment begins.
    fn first(self, days: i64, micros: i64) -> (i64, i64) {
        match self {
            Self::Seconds(seconds) => {
                let monday = day_number(2000, 1, 3);
                let length = seconds * SECOND;
                let since = ((days - monday) * DAY + micros).div_euclid(length) * length;
                (monday + since.div_euclid(DAY), since.rem_euclid(DAY))
            }
            Self::Months(months) => {
                let (year, month, _) = civil(days);
                let since = ((year - 2000) * 12 + month - 1).div_euclid(months) * months;
                (day_number(2000 + since.div_euclid(12), since.rem_euclid(12) + 1, 1), 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(every: &str, ty: &ColumnType, text: &str) -> String {
        Every::parse(every).unwrap().begin(ty, text).unwrap().to_text().into_owned()
    }

    #[test]
    fn a_bucket_is_a_length_of_time_up_to_a_hundred_years() {
        for (text, every) in [
            ("15min", Some(Every::Seconds(900))),
            ("h", Some(Every::Seconds(3_600))),
            ("2w", Some(Every::Seconds(14 * 86_400))),
            ("100y", Some(Every::Months(1_200))),
            ("101y", None),
            ("0s", None),
            ("15", None),
            ("-1d", None),
            ("1m", None),
            ("1.5h", None),
            ("9223372036854775807w", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(Every::parse(text), every, "{text}");
        }
    }

    #[test]
    fn buckets_begin_on_mondays_and_with_the_calendar_also_before_the_year_2000() {
        let moment = |every, text| begin(every, &ColumnType::Timestamptz, text);
        for (every, text, expected) in [
            ("15min", "2026-01-31T12:14:59.999999Z", "2026-01-31T12:00:00.000000Z"),
            ("15min", "2026-01-31T12:15:00Z", "2026-01-31T12:15:00.000000Z"),
            ("15min", "1969-12-31T23:59:59Z", "1969-12-31T23:45:00.000000Z"),
            ("1d", "2026-03-29T02:30:00+02:00", "2026-03-29T00:00:00.000000Z"),
            ("1w", "2026-02-01T23:00:00Z", "2026-01-26T00:00:00.000000Z"),
            ("1w", "1999-12-27T00:00:00Z", "1999-12-27T00:00:00.000000Z"),
            ("1w", "1999-12-26T23:59:59Z", "1999-12-20T00:00:00.000000Z"),
            ("7h", "2000-01-03T06:59:59Z", "2000-01-03T00:00:00.000000Z"),
            ("1mon", "2024-02-29T10:00:00Z", "2024-02-01T00:00:00.000000Z"),
            ("3mon", "1999-12-31T10:00:00Z", "1999-10-01T00:00:00.000000Z"),
            ("10y", "1999-12-31T10:00:00Z", "1990-01-01T00:00:00.000000Z"),
            ("1y", "0001-06-01T00:00:00Z BC", "0001-01-01T00:00:00.000000Z BC"),
            ("1d", "4001-06-01T00:00:00Z BC", "-infinity"),
            ("1d", "10000-01-01T00:00:00Z", "infinity"),
            ("1d", "infinity", "infinity"),
        ] {
            assert_eq!(moment(every, text), expected, "{every} {text}");
        }
        assert_eq!(begin("1w", &ColumnType::Date, "2026-02-01"), "2026-01-26");
        assert_eq!(begin("1h", &ColumnType::Timestamp, "2026-02-01 10:30"), "2026-02-01T10:00:00.000000");
        assert!(!Every::Seconds(3_600).fits(&ColumnType::Date) && !Every::Months(1).fits(&ColumnType::Time));
    }
}
