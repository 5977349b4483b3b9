//! Exact arithmetic and order of canonical values.

use std::cmp::Ordering;
use std::str::FromStr;

use bigdecimal::BigDecimal;

use crate::value::{ColumnType, Real, Value};

/// How far a float may be from what its additions explain, relative to its size: their sums are rounded in another order than it was.
const FLOAT_SLACK: f64 = 1e-9;

/// Whether the type's values can be added.
pub(super) fn adds(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Float4 | ColumnType::Float8 | ColumnType::Numeric)
}

/// Whether the type's values have an order that people mean by greater and smaller.
pub(super) fn orders(ty: &ColumnType) -> bool {
    adds(ty)
        || matches!(
            ty,
            ColumnType::Bool | ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date | ColumnType::Time | ColumnType::Text
        )
}

/// How two values stand to each other; `None` where they have no order (NULL, NaN, or a type without one).
pub(super) fn order(ty: &ColumnType, left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.get().partial_cmp(&right.get()),
        (Value::Text(left), Value::Text(right)) if *ty == ColumnType::Numeric => Some(decimal(left)?.cmp(&decimal(right)?)),
        // Canonical times are of one width, so that their text sorts as they do; those that are not (infinity, a year of five digits, one
        // before Christ) have no order here.
        (Value::Text(left), Value::Text(right)) if *ty != ColumnType::Text => {
            (left.len() == right.len() && [left, right].iter().all(|text| is_of_our_era(text))).then(|| left.cmp(right))
        }
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn is_of_our_era(time: &str) -> bool {
    time.starts_with(|c: char| c.is_ascii_digit()) && !time.ends_with("BC")
}

/// The value with an amount added. NULL stays NULL: there is nothing to add to.
///
/// `None` where the sum is out of the type's range, or a value is no number.
#[must_use]
pub fn add(ty: &ColumnType, value: &Value, amount: &Value) -> Option<Value> {
    let sum = match (value, amount) {
        (Value::Null, _) => Value::Null,
        (Value::Int(value), Value::Int(amount)) => Value::Int(value.checked_add(*amount)?),
        (Value::Float(value), Value::Float(amount)) => Value::Float(Real::new(value.get() + amount.get())),
        (Value::Text(value), Value::Text(amount)) => Value::Text((decimal(value)? + decimal(amount)?).to_plain_string()),
        _ => return None,
    };
    ty.accept(sum).ok()
}

/// What must be added to `from` to get `to`; `None` where one of them is no number, or the difference is out of range.
#[must_use]
pub fn difference(ty: &ColumnType, from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        // The difference of two values of a type may be out of its range without harm: amounts are 64 bits wide.
        (Value::Int(from), Value::Int(to)) => Some(Value::Int(to.checked_sub(*from)?)),
        (Value::Float(from), Value::Float(to)) => Some(Value::Float(Real::new(to.get() - from.get()))),
        (Value::Text(from), Value::Text(to)) => ty.accept(Value::Text((decimal(to)? - decimal(from)?).to_plain_string())).ok(),
        _ => None,
    }
}

/// Whether two values of an `add` column are the same but for the rounding of floats: a column that its additions explain this well was
/// changed by nothing else.
#[must_use]
pub fn about_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            let (left, right) = (left.get(), right.get());
            left.to_bits() == right.to_bits() || (left - right).abs() <= FLOAT_SLACK * left.abs().max(right.abs())
        }
        _ => left == right,
    }
}

fn decimal(text: &str) -> Option<BigDecimal> {
    // NaN and the infinities of PostgreSQL's numeric are no decimals.
    BigDecimal::from_str(text).ok()
}
