//! Decimals: `numeric`, `money`, and the numbers of JSON.

use std::cmp::Ordering;

/// PostgreSQL's numeric holds up to 131072 digits before and 16383 after the point.
const EXPONENT_MAX: i64 = 131_072;

/// A decimal without superfluous zeros; exponents are written out. `None` where it is no number or an exponent is absurd.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Some(text.to_owned());
    }
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let mut point = i64::try_from(whole.len()).ok()? + exponent;
    if point <= 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(1 - point).ok()?));
        point = 1;
    }
    let point = usize::try_from(point).ok()?;
    if digits.len() < point {
        digits.push_str(&"0".repeat(point - digits.len()));
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// How two canonical decimals stand to each other, as PostgreSQL orders them: NaN is the greatest.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    // Where no digits can tell.
    let rank = |text: &str| match text {
        "NaN" => 3,
        "Infinity" => 2,
        "-Infinity" => 0,
        _ => 1,
    };
    let sizes = |text: &str| -> (bool, usize, String) {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        (negative, whole.len(), format!("{whole}{}", fraction.trim_end_matches('0')))
    };
    rank(left).cmp(&rank(right)).then_with(|| match (sizes(left), sizes(right)) {
        ((true, ..), (false, ..)) => Ordering::Less,
        ((false, ..), (true, ..)) => Ordering::Greater,
        ((false, size, digits), (_, other_size, others)) => (size, digits).cmp(&(other_size, others)),
        ((true, size, digits), (_, other_size, others)) => (other_size, others).cmp(&(size, digits)),
    })
}

/// Money as PostgreSQL shows it in the locale C (`-$1,234.50`), or as a decimal, is `-1234.50`: always two places.
pub(super) fn money(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let unsigned = unsigned.strip_prefix('$').unwrap_or(unsigned);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole: String = whole.chars().filter(|letter| *letter != ',').collect();
    let fraction = fraction.trim_end_matches('0');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(&whole) || !digits(fraction) || fraction.len() > 2 {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    let cents: i64 = format!("{sign}{whole}{fraction:0<2}").parse().ok()?;
    let sign = if cents < 0 { "-" } else { "" };
    Some(format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_ordered_as_postgresql_orders_them() {
        let ascending = [
            "-Infinity",
            "-100.5",
            "-100",
            "-99.99",
            "-0.5",
            "-0.05",
            "0",
            "0.05",
            "0.50",
            "9",
            "9.000000000000000000001",
            "10",
            "100",
            "Infinity",
            "NaN",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&other), "{left} and {right}");
            }
        }
        assert_eq!(compare("1.50", "1.5"), Ordering::Equal);
    }
}
