//! Values as PostgreSQL writes them, in a session with UTC, ISO, postgres and hex; and texts as columns of a length take them.

use std::borrow::Cow;

use super::{Shape, range};
use crate::json;
use crate::value::{ColumnType, Value, array, network};

/// `value::text`: in two types the cast writes another text than the type.
pub(super) fn cast_text(shape: &Shape, value: &Value) -> String {
    match (&shape.ty, value) {
        (ColumnType::Bool, value) => value.to_text().into_owned(),
        (ColumnType::Inet, Value::Text(text)) => network::with_mask(text),
        (ColumnType::Char, Value::Text(text)) => text.clone(),
        _ => written(shape, value),
    }
}

/// A value of a type without modifiers.
pub(super) fn plain(ty: &ColumnType, value: &Value) -> String {
    written(&Shape::plain(ty.clone()), value)
}

fn written(shape: &Shape, value: &Value) -> String {
    match (&shape.ty, value) {
        (_, Value::Bool(flag)) => if *flag { "t" } else { "f" }.to_owned(),
        #[expect(clippy::cast_possible_truncation, reason = "a real column holds 32 bits")]
        (ColumnType::Float4, Value::Float(real)) => float(&format!("{:e}", real.get() as f32), 6),
        (_, Value::Float(real)) => float(&format!("{:e}", real.get()), 15),
        (ColumnType::Numeric, Value::Text(text)) => numeric(text, shape.modifiers.get(1).copied().unwrap_or(0)),
        (ColumnType::Money, Value::Text(text)) => money(text),
        (ColumnType::Timestamptz | ColumnType::Timestamp, Value::Text(text)) => moment(text),
        (ColumnType::Time, Value::Text(text)) => trimmed(text).to_owned(),
        (ColumnType::Json, Value::Text(text)) => json(text),
        (ColumnType::Char, Value::Text(text)) => {
            let missing = shape.limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0).saturating_sub(text.chars().count());
            format!("{text}{}", " ".repeat(missing))
        }
        (ColumnType::Other, Value::Text(text)) => range::canonical(&shape.name, text).unwrap_or_else(|| text.clone()),
        (ColumnType::Array(_), Value::Text(text)) => {
            let element = shape.element();
            let write = |value: &Value| element.as_ref().map_or_else(|| value.to_text().into_owned(), |element| written(element, value));
            element.as_ref().and_then(|element| array::literal(&element.ty, &write, text)).unwrap_or_else(|| text.clone())
        }
        (_, value) => value.to_text().into_owned(),
    }
}

/// The shortest digits, which Rust has found, in PostgreSQL's notation.
fn float(scientific: &str, digits: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            other => other.to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits).contains(&exponent) {
        return crate::value::canonical_decimal(scientific).unwrap_or_else(|| scientific.to_owned());
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// With all the places of its scale.
fn numeric(text: &str, scale: i64) -> String {
    let Some(scale) = usize::try_from(scale).ok().filter(|scale| *scale > 0 && text.ends_with(|last: char| last.is_ascii_digit())) else {
        return text.to_owned();
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}.{fraction:0<scale$}")
}

/// `-$1,234.50`, as the locale C has it.
fn money(text: &str) -> String {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, cents) = unsigned.split_once('.').unwrap_or((unsigned, "00"));
    let mut out = format!("{sign}$");
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{out}.{cents}")
}

/// `2026-01-31 12:00:00.5+00 BC` of the canonical form.
fn moment(text: &str) -> String {
    let (stamp, era) = text.strip_suffix(" BC").map_or((text, ""), |rest| (rest, " BC"));
    let Some((day, time)) = stamp.split_once('T') else { return text.to_owned() };
    let (time, zone) = time.strip_suffix('Z').map_or((time, ""), |rest| (rest, "+00"));
    format!("{day} {}{zone}{era}", trimmed(time))
}

/// A time without superfluous zeros in its seconds.
fn trimmed(time: &str) -> &str {
    if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time }
}

/// As `jsonb` writes itself. What nests deeper than is read stays as it is.
pub(super) fn json(text: &str) -> String {
    json::as_jsonb(text).unwrap_or_else(|| text.to_owned())
}

/// As `boolean` reads a text.
pub(super) fn flag(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    match text.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

/// As much of a text as so many bytes hold.
pub(super) fn of_bytes(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A text of at most so many characters; blanks beyond them go, anything else is refused.
pub(super) fn of_length(text: String, limit: Option<i64>) -> Option<String> {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return Some(text) };
    let kept: Cow<'_, str> = match text.char_indices().nth(limit) {
        None => return Some(text),
        Some((at, _)) if text[at..].bytes().all(|byte| byte == b' ') => Cow::Borrowed(&text[..at]),
        Some(_) => return None,
    };
    Some(kept.into_owned())
}
