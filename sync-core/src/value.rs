//! The one value model of both databases.
//!
//! A [`Value`] is always canonical for its [`ColumnType`]: two values are equal exactly when their canonical bytes are, so that
//! `1.50` and `1.5`, `Z` and `+00`, or another order of JSON keys never look like an edit. SQL's `=` is never asked.

mod travel;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::json;
use crate::limits::VALUE_BYTES_MAX;

/// One canonical column value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `smallint`, `integer`, `bigint`.
    Int(i64),
    /// `real`, `double precision`.
    Float(Real),
    /// Text, and every type that travels as canonical text: numeric, times, enums, JSON, arrays, others.
    Text(String),
    /// `bytea`.
    Bytes(Vec<u8>),
    /// `uuid`.
    Uuid(Uuid),
}

/// A floating point number with equality by bits: no negative zero, one NaN.
#[derive(Debug, Clone, Copy)]
pub struct Real(f64);

impl Real {
    /// Makes a canonical real.
    #[must_use]
    pub fn new(number: f64) -> Self {
        if number.is_nan() {
            Self(f64::NAN)
        } else if number == 0.0 {
            Self(0.0)
        } else {
            Self(number)
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Value {
    /// Whether this is SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether no message can carry it: it is longer than [`VALUE_BYTES_MAX`].
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Text(text) => text.len() > VALUE_BYTES_MAX,
            Self::Bytes(bytes) => bytes.len() > VALUE_BYTES_MAX,
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Uuid(_) => false,
        }
    }

    /// The canonical text of this value; empty for NULL. [`ColumnType::parse`] reads it back.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Float(real) => Cow::Owned(real_text(real.0)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => Cow::Owned(format!("\\x{}", hex::encode(bytes))),
            Self::Uuid(id) => Cow::Owned(id.to_string()),
        }
    }

    /// Appends this value's canonical bytes: a tag, the length where it varies, the content. The input of every digest.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let (tag, bytes): (u8, Cow<'_, [u8]>) = match self {
            Self::Null => (0, Cow::Borrowed(&[])),
            Self::Bool(flag) => (1, Cow::Owned(vec![u8::from(*flag)])),
            Self::Int(number) => (2, Cow::Owned(number.to_be_bytes().to_vec())),
            Self::Float(real) => (3, Cow::Owned(real.0.to_bits().to_be_bytes().to_vec())),
            Self::Text(text) => (4, Cow::Borrowed(text.as_bytes())),
            Self::Bytes(bytes) => (5, Cow::Borrowed(bytes)),
            Self::Uuid(id) => (6, Cow::Borrowed(id.as_bytes().as_slice())),
        };
        out.push(tag);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// PostgreSQL's and JSON's shortest text of a float that reads back exactly.
fn real_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        format!("{number:?}")
    }
}

/// What a column holds. Decides the canonical form, the SQLite storage class and the JSON shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `boolean`; SQLite INTEGER 0 or 1.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`; as JSON a string where JavaScript would round it.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric`: decimal digits without superfluous zeros.
    Numeric,
    /// `text`, `varchar`, `char`, `name`, `citext`.
    Text,
    /// `uuid`; SQLite TEXT, 36 characters in lower case.
    Uuid,
    /// `timestamptz`: `2026-01-31T12:00:00.000000Z`, always UTC, always microseconds.
    Timestamptz,
    /// `timestamp`: as [`ColumnType::Timestamptz`] without the `Z`.
    Timestamp,
    /// `date`: `2026-01-31`.
    Date,
    /// `time`: `12:00:00.000000`.
    Time,
    /// `bytea`; SQLite BLOB.
    Bytea,
    /// `json`, `jsonb`: keys sorted, numbers normal, no white space.
    Json,
    /// An enum with its labels in order.
    Enum(Vec<String>),
    /// An array of one dimension, as a JSON array of its elements.
    Array(#[serde(deserialize_with = "crate::catalog::lenient::element_type")] Box<ColumnType>),
    /// Any other type, by PostgreSQL's text form.
    Other,
}

/// A value that a column cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}")]
pub struct ValueError {
    /// What the column holds, for a person.
    pub expected: String,
    /// What was given, shortened.
    pub got: String,
}

impl ColumnType {
    /// A few words for a person: what this type holds.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int2 => "an integer from -32768 to 32767".into(),
            Self::Int4 => "an integer from -2147483648 to 2147483647".into(),
            Self::Int8 => "a 64-bit integer".into(),
            Self::Float4 | Self::Float8 => "a number".into(),
            Self::Numeric => "a decimal number".into(),
            Self::Text | Self::Other => "text".into(),
            Self::Uuid => "a uuid".into(),
            Self::Timestamptz => "a time with zone (RFC 3339)".into(),
            Self::Timestamp => "a time without zone".into(),
            Self::Date => "a date (YYYY-MM-DD)".into(),
            Self::Time => "a time of day (HH:MM:SS)".into(),
            Self::Bytea => "bytes as \\x and hexadecimal digits".into(),
            Self::Json => "JSON".into(),
            Self::Enum(labels) => format!("one of {}", labels.join(", ")),
            Self::Array(element) => format!("an array of {}", element.describe()),
        }
    }

    fn refuse(&self, got: &str) -> ValueError {
        let got = if got.chars().count() > 60 { format!("{}...", got.chars().take(60).collect::<String>()) } else { got.to_owned() };
        ValueError { expected: self.describe(), got }
    }

    /// Reads a value from text: a database's text form, a record id, a filter.
    ///
    /// # Errors
    /// The text is not of this type.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let value = match self {
            Self::Bool => match text {
                "true" | "t" | "1" => Some(Value::Bool(true)),
                "false" | "f" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Int2 => text.parse::<i16>().ok().map(|number| Value::Int(number.into())),
            Self::Int4 => text.parse::<i32>().ok().map(|number| Value::Int(number.into())),
            Self::Int8 => text.parse().ok().map(Value::Int),
            Self::Float4 => text.parse::<f32>().ok().map(|number| Value::Float(Real::new(widen(number)))),
            Self::Float8 => text.parse().ok().map(|number| Value::Float(Real::new(number))),
            Self::Numeric => canonical_decimal(text).map(Value::Text),
            Self::Text | Self::Other => (!text.contains('\0')).then(|| Value::Text(text.to_owned())),
            Self::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
            Self::Timestamptz => canonical_timestamptz(text).map(Value::Text),
            Self::Timestamp => canonical_timestamp(text).map(Value::Text),
            Self::Date => canonical_date(text).map(Value::Text),
            Self::Time => canonical_time(text).map(Value::Text),
            Self::Bytea => text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok()).map(Value::Bytes),
            Self::Json => json::canonical(text).map(Value::Text),
            Self::Enum(labels) => labels.iter().any(|label| label == text).then(|| Value::Text(text.to_owned())),
            Self::Array(_) => json::canonical(text).filter(|array| array.starts_with('[')).map(Value::Text),
        };
        value.ok_or_else(|| self.refuse(text))
    }

    /// Makes a decoded value canonical for this type: what came over the wire or out of a database's driver.
    ///
    /// # Errors
    /// The value is not of this type.
    pub fn accept(&self, value: Value) -> Result<Value, ValueError> {
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Bool, value @ Value::Bool(_))
            | (Self::Int8, value @ Value::Int(_))
            | (Self::Float8, value @ Value::Float(_))
            | (Self::Bytea, value @ Value::Bytes(_))
            | (Self::Uuid, value @ Value::Uuid(_)) => Ok(value),
            (Self::Bool, Value::Int(number @ (0 | 1))) => Ok(Value::Bool(number == 1)),
            (Self::Int2 | Self::Int4, Value::Int(number)) => self.parse(&number.to_string()),
            #[expect(clippy::cast_possible_truncation, reason = "a real column holds 32 bits")]
            (Self::Float4, Value::Float(real)) => Ok(Value::Float(Real::new(widen(real.0 as f32)))),
            #[expect(clippy::cast_precision_loss, reason = "SQLite stores a whole REAL as an integer")]
            (Self::Float4 | Self::Float8, Value::Int(number)) => Ok(Value::Float(Real::new(number as f64))),
            (Self::Numeric, value @ (Value::Int(_) | Value::Float(_))) => self.parse(&value.to_text()),
            (_, Value::Text(text)) => self.parse(&text),
            (_, value) => Err(self.refuse(&value.to_text())),
        }
    }

    /// Reads a value from JSON as the API takes it.
    ///
    /// # Errors
    /// The JSON is not of this type.
    pub fn from_json(&self, json: &serde_json::Value) -> Result<Value, ValueError> {
        use serde_json::Value as Json;
        match (self, json) {
            (_, Json::Null) => Ok(Value::Null),
            (Self::Json, json) => self.parse(&json.to_string()),
            (Self::Array(element), Json::Array(items)) => {
                let items: Result<Vec<_>, _> =
                    items.iter().map(|item| element.from_json(item).map(|value| element.to_json(&value))).collect();
                self.parse(&Json::Array(items?).to_string())
            }
            (Self::Bool, Json::Bool(flag)) => Ok(Value::Bool(*flag)),
            (Self::Int2 | Self::Int4 | Self::Int8 | Self::Float4 | Self::Float8 | Self::Numeric, Json::Number(number)) => {
                self.parse(&number.to_string())
            }
            (Self::Int8 | Self::Numeric, Json::String(text)) => self.parse(text),
            (Self::Bool | Self::Int2 | Self::Int4 | Self::Float4 | Self::Float8 | Self::Array(_), _) => Err(self.refuse(&json.to_string())),
            (_, Json::String(text)) => self.parse(text),
            (_, other) => Err(self.refuse(&other.to_string())),
        }
    }

    /// This value as the API shows it.
    #[must_use]
    pub fn to_json(&self, value: &Value) -> serde_json::Value {
        use serde_json::Value as Json;
        /// The largest integer that JavaScript holds exactly.
        const SAFE: u64 = (1 << 53) - 1;
        match (self, value) {
            (_, Value::Null) => Json::Null,
            (_, Value::Bool(flag)) => Json::Bool(*flag),
            (Self::Int8, Value::Int(number)) if number.unsigned_abs() > SAFE => Json::String(number.to_string()),
            (_, Value::Int(number)) => Json::from(*number),
            (_, Value::Float(real)) => serde_json::Number::from_f64(real.0).map_or_else(|| Json::String(real_text(real.0)), Json::Number),
            (Self::Json | Self::Array(_), Value::Text(text)) => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone())),
            (_, value) => Json::String(value.to_text().into_owned()),
        }
    }
}

/// The double with the same shortest decimal text as the single, so that 0.1 stays 0.1.
fn widen(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// A decimal without superfluous zeros; exponents are written out. `None` where it is no number or an exponent is absurd.
pub(crate) fn canonical_decimal(text: &str) -> Option<String> {
    /// PostgreSQL's numeric holds up to 131072 digits before and 16383 after the point.
    const EXPONENT_MAX: i64 = 131_072;
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
    while point <= 0 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).ok()?;
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// The canonical text of a moment.
#[must_use]
pub fn timestamp_text(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn canonical_timestamptz(text: &str) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    // PostgreSQL writes `+00` or `+05:30`; SQLite's datetime() writes no zone and means UTC; RFC 3339 has `T` and `Z`.
    const ZONED: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
    ZONED
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok())
        .map(|moment| moment.with_timezone(&Utc))
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc)))
        .or_else(|| parse_naive(text).map(|moment| moment.and_utc()))
        .map(timestamp_text)
}

fn parse_naive(text: &str) -> Option<NaiveDateTime> {
    const FORMATS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN)))
}

fn canonical_timestamp(text: &str) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    parse_naive(text).map(|moment| moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}

fn canonical_date(text: &str) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") {
        return Some(text.to_owned());
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.format("%Y-%m-%d").to_string())
}

fn canonical_time(text: &str) -> Option<String> {
    const FORMATS: [&str; 2] = ["%H:%M:%S%.f", "%H:%M"];
    FORMATS.iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok()).map(|time| time.format("%H:%M:%S%.6f").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_of_a_value_are_the_same_value() {
        for (ty, left, right) in [
            (ColumnType::Numeric, "1.50", "1.5"),
            (ColumnType::Numeric, "-0.00", "0"),
            (ColumnType::Numeric, "12e-3", "0.012"),
            (ColumnType::Numeric, "1e3", "1000"),
            (ColumnType::Timestamptz, "2026-01-31 12:00:00+00", "2026-01-31T12:00:00Z"),
            (ColumnType::Timestamptz, "2026-01-31 12:00:00.5+05:30", "2026-01-31T06:30:00.500000Z"),
            (ColumnType::Timestamptz, "2026-01-31 12:00:00", "2026-01-31T12:00:00Z"),
            (ColumnType::Json, r#"{"b":1.0,"a":[1, 2]}"#, r#"{"a":[1,2],"b":1}"#),
            (ColumnType::Uuid, "0198C0DE-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000001"),
            (ColumnType::Float8, "-0.0", "0"),
            (ColumnType::Time, "09:05", "09:05:00.000000"),
        ] {
            assert_eq!(ty.parse(left).unwrap(), ty.parse(right).unwrap(), "{ty:?} {left} {right}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_with_both_sides_named() {
        let error = ColumnType::Enum(vec!["INPUT".into(), "OUTPUT".into()]).parse("SIDEWAYS").unwrap_err();
        assert_eq!(error.to_string(), "expected one of INPUT, OUTPUT, got SIDEWAYS");
        assert!(ColumnType::Int4.parse("2147483648").is_err());
        assert!(ColumnType::Text.parse("a\0b").is_err());
        assert!(ColumnType::Timestamptz.parse("yesterday").is_err());
    }

    #[test]
    fn a_value_survives_the_wire() {
        let values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Int(300),
            Value::Float(Real::new(59.94)),
            Value::Float(Real::new(f64::NEG_INFINITY)),
            Value::Text("Käse".into()),
            Value::Bytes(vec![0, 255]),
            Value::Uuid(Uuid::from_u128(7)),
        ];
        let bytes = rmp_serde::to_vec(&values).unwrap();
        assert_eq!(rmp_serde::from_slice::<Vec<Value>>(&bytes).unwrap(), values);
        let json = serde_json::to_value(&values).unwrap();
        assert_eq!(serde_json::from_value::<Vec<Value>>(json).unwrap(), values, "and a stored catalog");
    }

    #[test]
    fn a_big_integer_is_a_string_in_json_and_reads_back() {
        let ty = ColumnType::Int8;
        let json = ty.to_json(&Value::Int(i64::MAX));
        assert_eq!(json, serde_json::json!("9223372036854775807"));
        assert_eq!(ty.from_json(&json).unwrap(), Value::Int(i64::MAX));
        assert_eq!(ty.to_json(&Value::Int(i64::MIN)), serde_json::json!("-9223372036854775808"));
        assert_eq!(ty.to_json(&Value::Int(5)), serde_json::json!(5));
    }
}
