//! Figures over many records that do not depend on who computes them, nor in which order: exact sums, and averages with one stated rounding.
//!
//! A sum is the exact decimal sum of the values' canonical texts, of floats too: `0.1 + 0.2` is `0.3`, in whatever order a database comes upon
//! them. As in PostgreSQL, NaN makes everything NaN, and so do infinities of both signs.

use std::str::FromStr;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, Zero};

use crate::value::{ColumnType, Real, Value, canonical_decimal};

/// Digits behind the point to which an average is rounded where the sum has no more.
const AVERAGE_SCALE: i64 = 16;
/// Digits of an average of floats before it is rounded to the nearest float.
const FLOAT_SCALE: i64 = 40;

/// Whether the type's values can be added.
#[must_use]
pub fn is_summed(ty: &ColumnType) -> bool {
    use ColumnType::{Float4, Float8, Int2, Int4, Int8, Money, Numeric};
    matches!(ty, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Money)
}

/// A sum that grows.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    integers: i128,
    decimals: BigDecimal,
    up: bool,
    down: bool,
    nan: bool,
}

impl Sum {
    /// Adds an integer.
    pub fn add_integer(&mut self, number: i64) {
        self.integers += i128::from(number);
    }

    /// Adds a float by its shortest text.
    pub fn add_float(&mut self, number: f64) {
        self.add(&Value::Float(Real::new(number)).to_text());
    }

    /// Adds what a text says; whether it is a number.
    pub fn add(&mut self, text: &str) -> bool {
        match text {
            "NaN" => self.nan = true,
            "Infinity" => self.up = true,
            "-Infinity" => self.down = true,
            _ => match BigDecimal::from_str(text) {
                Ok(number) => self.decimals += number,
                Err(_) => return false,
            },
        }
        true
    }

    /// The sum as canonical decimal text.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.nan, self.up, self.down) {
            (true, ..) | (_, true, true) => "NaN".to_owned(),
            (_, true, _) => "Infinity".to_owned(),
            (_, _, true) => "-Infinity".to_owned(),
            _ => {
                let sum = (&self.decimals + BigDecimal::from(self.integers)).to_plain_string();
                canonical_decimal(&sum).unwrap_or(sum)
            }
        }
    }
}

/// The average of so many values: their sum divided by their number, rounded to the nearest decimal of sixteen places (or as many as the sum
/// has, where that is more); a tie goes away from zero. `None`: there are no values, or the sum is no number.
#[must_use]
pub fn average(sum: &str, count: u64) -> Option<String> {
    quotient(sum, count, |scale| scale.max(AVERAGE_SCALE))
}

/// A sum of a column of this type as the API shows it.
#[must_use]
pub fn sum_json(ty: &ColumnType, sum: &str) -> serde_json::Value {
    let plain = || serde_json::Value::String(sum.to_owned());
    match ty {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
            sum.parse().map_or_else(|_| plain(), |number| ColumnType::Int8.to_json(&Value::Int(number)))
        }
        ColumnType::Float4 | ColumnType::Float8 => float_json(sum).unwrap_or_else(plain),
        _ => ty.parse(sum).map_or_else(|_| plain(), |value| ty.to_json(&value)),
    }
}

/// An average of a column of this type as the API shows it: of floats the nearest float, else a decimal.
#[must_use]
pub fn average_json(ty: &ColumnType, sum: &str, count: u64) -> serde_json::Value {
    let average = match ty {
        ColumnType::Float4 | ColumnType::Float8 => {
            quotient(sum, count, |scale| scale + FLOAT_SCALE).map(|text| float_json(&text).unwrap_or(text.into()))
        }
        _ => average(sum, count).map(Into::into),
    };
    average.unwrap_or(serde_json::Value::Null)
}

/// The nearest float; `None` where a number is beyond all floats.
fn float_json(text: &str) -> Option<serde_json::Value> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() || matches!(text, "NaN" | "Infinity" | "-Infinity"))?;
    Some(ColumnType::Float8.to_json(&Value::Float(Real::new(number))))
}

/// A sum divided by a number of values, rounded half away from zero to the scale that `scale` makes of the sum's.
fn quotient(sum: &str, count: u64, scale: impl Fn(i64) -> i64) -> Option<String> {
    if count == 0 {
        return None;
    }
    if matches!(sum, "NaN" | "Infinity" | "-Infinity") {
        return Some(sum.to_owned());
    }
    let (digits, has) = BigDecimal::from_str(sum).ok()?.into_bigint_and_exponent();
    let wanted = scale(has.max(0));
    let raised = digits * BigInt::from(10).pow(u32::try_from(wanted - has).ok()?);
    let (sign, size) = raised.into_parts();
    let rounded = (size * 2_u32 + count) / (2 * u128::from(count));
    let sign = if rounded.is_zero() { Sign::NoSign } else { sign };
    canonical_decimal(&BigDecimal::new(BigInt::from_biguint(sign, rounded), wanted).to_plain_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sum(texts: &[&str]) -> String {
        let mut sum = Sum::default();
        assert!(texts.iter().all(|text| sum.add(text)));
        sum.text()
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(sum(&["0.1", "0.2"]), "0.3");
        assert_eq!(sum(&["1e308", "1", "-1e308"]), "1");
        assert_eq!(sum(&["1.50", "-1.5"]), "0");
        assert_eq!(sum(&[]), "0");
        for (texts, expected) in
            [(&["1", "NaN", "Infinity"] as &[_], "NaN"), (&["Infinity", "-Infinity"], "NaN"), (&["-Infinity", "5"], "-Infinity")]
        {
            assert_eq!(sum(texts), expected);
        }
        let mut integers = Sum::default();
        (0..3).for_each(|_| integers.add_integer(i64::MAX));
        integers.add_float(0.5);
        assert_eq!(integers.text(), "27670116110564327421.5");
        assert!(!Sum::default().add("many"));
    }

    #[test]
    fn averages_are_rounded_half_away_from_zero() {
        for (sum, count, expected) in [
            ("10", 4, Some("2.5")),
            ("1", 3, Some("0.3333333333333333")),
            ("2", 3, Some("0.6666666666666667")),
            ("-2", 3, Some("-0.6666666666666667")),
            ("0.0000000000000001", 2, Some("0.0000000000000001")),
            ("-0.0000000000000001", 2, Some("-0.0000000000000001")),
            ("0.00000000000000001", 3, Some("0")),
            ("0.000000000000000002", 2, Some("0.000000000000000001")),
            ("5", 0, None),
            ("NaN", 2, Some("NaN")),
        ] {
            assert_eq!(average(sum, count).as_deref(), expected, "{sum} / {count}");
        }
    }

    #[test]
    fn figures_are_shown_as_the_columns_values_are() {
        assert_eq!(sum_json(&ColumnType::Int4, "7"), json!(7));
        assert_eq!(sum_json(&ColumnType::Int8, "9007199254740993"), json!("9007199254740993"));
        assert_eq!(sum_json(&ColumnType::Int8, "27670116110564327421"), json!("27670116110564327421"));
        assert_eq!(sum_json(&ColumnType::Numeric, "1.5"), json!("1.5"));
        assert_eq!(sum_json(&ColumnType::Money, "1.5"), json!("1.50"));
        assert_eq!(sum_json(&ColumnType::Float8, "0.3"), json!(0.3));
        assert_eq!(sum_json(&ColumnType::Float8, "NaN"), json!("NaN"));
        let huge = format!("2{}", "0".repeat(308));
        assert_eq!(sum_json(&ColumnType::Float8, &huge), json!(huge), "beyond all floats");
        assert_eq!(average_json(&ColumnType::Float8, "1", 3), json!(1.0 / 3.0));
        assert_eq!(average_json(&ColumnType::Int4, "5", 2), json!("2.5"));
        assert_eq!(average_json(&ColumnType::Int4, "0", 0), json!(null));
    }

    proptest! {
        #[test]
        fn the_order_of_adding_does_not_matter(numbers in prop::collection::vec(any::<f64>(), 0..20)) {
            let (mut one, mut other) = (Sum::default(), Sum::default());
            numbers.iter().for_each(|number| one.add_float(*number));
            numbers.iter().rev().for_each(|number| other.add_float(*number));
            prop_assert_eq!(one.text(), other.text());
        }

        #[test]
        fn an_average_is_as_near_as_its_digits_allow(sum in any::<i64>(), count in 1_u64..1_000_000) {
            let average = BigDecimal::from_str(&average(&sum.to_string(), count).unwrap()).unwrap();
            let off = (average * BigDecimal::from(count) - BigDecimal::from(sum)).abs();
            prop_assert!(off * 2 <= BigDecimal::new(count.into(), AVERAGE_SCALE));
        }
    }
}
