//! The one value model of both databases.
//!
//! A [`Value`] is always canonical for its [`ColumnType`]: two values are equal exactly when their canonical bytes are, so that
//! `1.50` and `1.5`, `Z` and `+00`, or another order of JSON keys never look like an edit. SQL's `=` is never asked.

mod array;
mod bucket;
mod cast;
mod column_type;
mod decimal;
mod interval;
mod moment;
mod network;
mod travel;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use uuid::Uuid;

pub use self::bucket::Every;
pub use self::cast::Cast;
pub use self::column_type::{ColumnType, ValueError};
pub(crate) use self::decimal::canonical as canonical_decimal;
pub use self::decimal::compare as compare_decimals;
pub use self::moment::timestamp_text;
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
        // Neither infinite nor nothing: PostgreSQL refuses both.
        for (ty, text) in
            [(ColumnType::Float4, "1e39"), (ColumnType::Float8, "-1e400"), (ColumnType::Float4, "1e-60"), (ColumnType::Float8, "1e-400")]
        {
            assert!(ty.parse(text).is_err(), "{text}");
        }
        assert!(ColumnType::Float4.accept(Value::Float(Real::new(1e39))).is_err());
        assert!(ColumnType::Float4.accept(Value::Float(Real::new(1e-60))).is_err());
        for text in ["Infinity", "-inf", "infinity", "NaN", "0", "-0.0e5", "1e38"] {
            assert!(ColumnType::Float4.parse(text).is_ok(), "{text}");
        }
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
