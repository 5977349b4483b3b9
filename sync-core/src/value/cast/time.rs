//! Dates and times as others of their kind, and what a precision of seconds makes of one. A site knows no zone but UTC.

use crate::value::{ColumnType, interval, moment};

/// 2000-01-01, from which PostgreSQL counts: halves are rounded away from it.
const ZERO_DAY: i64 = 10_957;

pub(super) fn is_time(ty: &ColumnType) -> bool {
    use ColumnType::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
    matches!(ty, Timestamptz | Timestamp | Date | Time | Timetz | Interval)
}

/// A canonical date or time as one of another type; `None` where PostgreSQL has no such cast, or nothing to cast to.
pub(super) fn cast(from: &ColumnType, to: &ColumnType, text: &str) -> Option<String> {
    use ColumnType::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
    let of_day = || text.split_once('T').and_then(|(_, time)| time.get(..15));
    match (from, to) {
        (Timestamptz, Timestamp) => Some(text.replace('Z', "")),
        (Timestamp | Date, Timestamptz) => moment::timestamptz(text),
        (Date, Timestamp) => moment::timestamp(text),
        (Timestamptz | Timestamp, Date) => {
            let era = if text.ends_with(" BC") { " BC" } else { "" };
            Some(text.split_once('T').map_or_else(|| text.to_owned(), |(day, _)| format!("{day}{era}")))
        }
        (Timestamptz | Timestamp, Time) => of_day().map(str::to_owned),
        (Timestamptz, Timetz) => moment::timetz(&format!("{}+00", of_day()?)),
        (Time, Timetz) => moment::timetz(&format!("{text}+00")),
        (Timetz, Time) => moment::time(&text[..text.find(['+', '-'])?]),
        (Time, Interval) => interval::canonical(text),
        (Interval, Time) => interval::of_day(text).map(moment::clock_text),
        (same, other) if same == other => Some(text.to_owned()),
        _ => None,
    }
}

/// A canonical moment with so many digits of a second.
pub(super) fn rounded_moment(text: &str, digits: u32) -> Option<String> {
    if digits >= 6 || text.ends_with("infinity") {
        return Some(text.to_owned());
    }
    let zone = if text.contains('Z') { "Z" } else { "" };
    let (day, era) = moment::split_era(text);
    let (days, time) = moment::day_and_time(day.trim_end_matches('Z'), era)?;
    let (micros, scale) = (moment::time_of_day(time)?, moment::step(digits));
    let steps = if days >= ZERO_DAY { (micros + scale / 2).div_euclid(scale) } else { -(scale / 2 - micros).div_euclid(scale) };
    moment::stamp(days, steps * scale, zone)
}

/// A time of day, with or without zone, with so many digits of a second.
pub(super) fn rounded_time(text: &str, digits: u32) -> Option<String> {
    let (time, zone) = text.split_at(text.find(['+', '-']).unwrap_or(text.len()));
    let scale = moment::step(digits);
    let micros = (moment::time_of_day(time)? + scale / 2) / scale * scale;
    Some(format!("{}{zone}", moment::clock_text(micros)))
}
