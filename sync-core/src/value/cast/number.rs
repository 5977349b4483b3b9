//! Numbers as other numbers, and what `numeric(precision, scale)` makes of one.

use super::Shape;
use crate::value::{ColumnType, Real, Value, decimal};

pub(super) fn is_number(ty: &ColumnType) -> bool {
    use ColumnType::{Float4, Float8, Int2, Int4, Int8, Money, Numeric};
    matches!(ty, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Money)
}

/// Whether a numeric of these modifiers holds every one of the others.
pub(super) fn holds(to: &[i64], from: &[i64]) -> bool {
    match (digits(to), digits(from)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((precision, scale)), Some((known, known_scale))) => scale >= known_scale && precision - scale >= known - known_scale,
    }
}

/// Precision and scale.
fn digits(modifiers: &[i64]) -> Option<(i64, i64)> {
    modifiers.first().map(|precision| (*precision, modifiers.get(1).copied().unwrap_or(0)))
}

/// A canonical numeric, rounded to the scale; `None` where it has more digits than the precision leaves.
pub(super) fn fit(text: &str, modifiers: &[i64]) -> Option<String> {
    let Some((precision, scale)) = digits(modifiers).filter(|_| text != "NaN") else { return Some(text.to_owned()) };
    let rounded = rounded(text, scale)?;
    let (whole, fraction) = unsigned(&rounded);
    // The place of the first digit that counts: 2 of 12.5, 0 of 0.5, -1 of 0.05.
    let first = match whole.trim_start_matches('0').len() {
        0 => fraction.find(|digit| digit != '0').map(|zeros| -i64::try_from(zeros).unwrap_or(i64::MAX)),
        length => i64::try_from(length).ok(),
    };
    first.is_none_or(|first| first <= precision - scale).then_some(rounded)
}

fn unsigned(text: &str) -> (&str, &str) {
    let text = text.strip_prefix('-').unwrap_or(text);
    text.split_once('.').unwrap_or((text, ""))
}

/// A canonical decimal with so many places, halves away from zero; a negative scale rounds to tens and hundreds.
fn rounded(text: &str, scale: i64) -> Option<String> {
    let (whole, fraction) = unsigned(text);
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let Ok(keep) = usize::try_from(i64::try_from(whole.len()).ok()? + scale) else { return Some("0".to_owned()) };
    if keep >= all.len() {
        return Some(text.to_owned());
    }
    let mut kept = all.as_bytes()[..keep].to_vec();
    if all.as_bytes()[keep] >= b'5' {
        match kept.iter().rposition(|digit| *digit != b'9') {
            Some(at) => {
                kept[at] += 1;
                kept[at + 1..].fill(b'0');
            }
            None => {
                kept.fill(b'0');
                kept.insert(0, b'1');
            }
        }
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    decimal::canonical(&format!("{sign}{}e{}", std::str::from_utf8(&kept).ok().filter(|kept| !kept.is_empty()).unwrap_or("0"), -scale))
}

/// A number as one of another type.
pub(super) fn cast(from: &Shape, to: &Shape, value: &Value) -> Option<Value> {
    use ColumnType::{Float4, Float8, Int2, Int4, Int8, Money};
    match (&to.ty, value) {
        (Float4 | Float8, Value::Text(text)) => to.ty.parse(text).ok(),
        #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL does")]
        (Float8, Value::Int(number)) => Some(Value::Float(Real::new(*number as f64))),
        #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL does")]
        (Float4, Value::Int(number)) => Float4.accept(Value::Float(Real::new(f64::from(*number as f32)))).ok(),
        (Float8, Value::Float(real)) => Some(Value::Float(Real::new(exact(&from.ty, *real)))),
        (Float4, Value::Float(_)) => Float4.accept(value.clone()).ok(),
        (Int2 | Int4 | Int8, Value::Float(real)) => to.ty.parse(&format!("{:.0}", exact(&from.ty, *real).round_ties_even())).ok(),
        (Int2 | Int4 | Int8, Value::Text(text)) => to.ty.parse(&rounded(text, 0)?).ok(),
        // As many digits as a float is sure of.
        (_, Value::Float(real)) if real.get().is_finite() => {
            let digits = if from.ty == Float4 { format!("{:.5e}", real.get()) } else { format!("{:.14e}", real.get()) };
            exactly(to, &decimal::canonical(&digits)?)
        }
        (Money, _) => exactly(to, &value.to_text()),
        (ty, value) => ty.parse(&value.to_text()).ok(),
    }
}

fn exactly(to: &Shape, text: &str) -> Option<Value> {
    let text = if to.ty == ColumnType::Money { rounded(text, 2)? } else { text.to_owned() };
    to.ty.parse(&text).ok()
}

/// The number that PostgreSQL has: of a single, which stands here as the shortest decimal that names it, its very bits.
#[expect(clippy::cast_possible_truncation, reason = "a real column holds 32 bits")]
fn exact(ty: &ColumnType, real: Real) -> f64 {
    if *ty == ColumnType::Float4 { f64::from(real.get() as f32) } else { real.get() }
}
