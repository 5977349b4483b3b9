//! Points in time as people give them.

use chrono::{DateTime, TimeDelta, Utc};

/// A point in time: itself (RFC 3339), or how long before now (`90s`, `15m`, `24h`, `30d`, `2w`).
#[must_use]
pub fn read(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = count.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return None,
    };
    now.checked_sub_signed(TimeDelta::try_seconds(i64::from(count).checked_mul(seconds)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |text| read(text, now).unwrap().to_rfc3339();
        assert_eq!(at("2026-01-31T12:00:00+01:00"), "2026-01-31T11:00:00+00:00");
        let ago = |text| (now - read(text, now).unwrap()).num_minutes();
        assert_eq!([ago("90s"), ago("15m"), ago("24h"), ago("30d"), ago("2w")], [1, 15, 24 * 60, 30 * 24 * 60, 14 * 24 * 60]);
        for wrong in ["", "d", "-1d", "5", "5y", "1.5h", "yesterday", "4294967296d", "é", "2026-01-31"] {
            assert_eq!(read(wrong, now), None, "{wrong}");
        }
    }
}
