//! What a column holds, and its values' ways in and out: text, drivers, JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Real, Value, array, decimal, interval, moment, network, real_text};
use crate::json;

/// What a column holds. Decides the canonical form, the SQLite storage class and the JSON shape; docs/TYPES.md has the table.
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
    /// `text`, `varchar`, `name`, `citext`.
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
    /// `jsonb`: keys sorted, numbers normal, no white space.
    Json,
    /// An enum with its labels in order.
    Enum(Vec<String>),
    /// An array of any number of dimensions, as nested JSON arrays of its elements.
    Array(#[serde(deserialize_with = "crate::catalog::lenient::element_type")] Box<ColumnType>),
    /// Any other type, by PostgreSQL's text form.
    Other,
    /// `json`: the text as it was written.
    JsonText,
    /// `char(n)`: text without the blanks that fill it up.
    Char,
    /// `money`: a decimal of two places.
    Money,
    /// `timetz`: `12:00:00.5+02`.
    Timetz,
    /// `interval`, in PostgreSQL's style: `1 mon -2 days +03:00:00`.
    Interval,
    /// `inet`: `192.168.1.5`, `192.168.1.5/24`.
    Inet,
    /// `cidr`: `192.168.0.0/24`.
    Cidr,
    /// `macaddr`: `08:00:2b:01:02:03`.
    Macaddr,
    /// `macaddr8`.
    Macaddr8,
    /// `bit(n)`, `bit varying`: zeros and ones.
    Bits,
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
            Self::Text | Self::Char | Self::Other => "text".into(),
            Self::Uuid => "a uuid".into(),
            Self::Timestamptz => "a time with zone (RFC 3339)".into(),
            Self::Timestamp => "a time without zone".into(),
            Self::Date => "a date (YYYY-MM-DD)".into(),
            Self::Time => "a time of day (HH:MM:SS)".into(),
            Self::Timetz => "a time of day with zone (HH:MM:SS+HH)".into(),
            Self::Interval => "an interval (1 day 02:00:00, P1DT2H)".into(),
            Self::Inet => "an IP address".into(),
            Self::Cidr => "a network (10.0.0.0/8)".into(),
            Self::Macaddr => "a MAC address of 6 bytes".into(),
            Self::Macaddr8 => "a MAC address of 8 bytes".into(),
            Self::Bits => "zeros and ones".into(),
            Self::Money => "an amount with two decimals".into(),
            Self::Bytea => "bytes as \\x and hexadecimal digits".into(),
            Self::Json | Self::JsonText => "JSON".into(),
            Self::Enum(labels) => format!("one of {}", labels.join(", ")),
            Self::Array(element) => format!("an array of {}", element.describe()),
        }
    }

    fn refuse(&self, got: &str) -> ValueError {
        let got = if got.chars().count() > 60 { format!("{}...", got.chars().take(60).collect::<String>()) } else { got.to_owned() };
        ValueError { expected: self.describe(), got }
    }

    /// Reads a value from text: what a site's SQLite holds, a record id, a filter, a person's spelling.
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
            Self::Float4 => {
                text.parse::<f32>().ok().map(widen).filter(|number| in_range(text, *number)).map(|number| Value::Float(Real::new(number)))
            }
            Self::Float8 => text.parse().ok().filter(|number| in_range(text, *number)).map(|number| Value::Float(Real::new(number))),
            Self::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
            Self::Bytea => text.strip_prefix("\\x").and_then(|digits| hex::decode(digits).ok()).map(Value::Bytes),
            _ => self.canonical(text).map(Value::Text),
        };
        value.ok_or_else(|| self.refuse(text))
    }

    /// The canonical text of a type whose values are text.
    pub(super) fn canonical(&self, text: &str) -> Option<String> {
        match self {
            Self::Numeric => decimal::canonical(text),
            Self::Money => decimal::money(text),
            Self::Timestamptz => moment::timestamptz(text),
            Self::Timestamp => moment::timestamp(text),
            Self::Date => moment::date(text),
            Self::Time => moment::time(text),
            Self::Timetz => moment::timetz(text),
            Self::Interval => interval::canonical(text),
            Self::Inet => network::inet(text),
            Self::Cidr => network::cidr(text),
            Self::Macaddr => network::mac(text, 6),
            Self::Macaddr8 => network::mac(text, 8),
            Self::Bits => text.bytes().all(|bit| matches!(bit, b'0' | b'1')).then(|| text.to_owned()),
            // What nests deeper than anybody merges stays as it is written.
            Self::Json => json::canonical(text).or_else(|| json::of_any_depth(text)),
            Self::JsonText => json::as_written(text),
            Self::Enum(labels) => labels.iter().any(|label| label == text).then(|| text.to_owned()),
            Self::Array(element) => array::canonical(element, text),
            Self::Char => (!text.contains('\0')).then(|| text.trim_end_matches(' ').to_owned()),
            _ => (!text.contains('\0')).then(|| text.to_owned()),
        }
    }

    /// Reads PostgreSQL's text form of a value, `{"a","b"}` of an array, as a session with the settings ISO, UTC and postgres writes it.
    ///
    /// # Errors
    /// The text is not of this type.
    pub fn parse_postgres(&self, text: &str) -> Result<Value, ValueError> {
        match self {
            Self::Array(element) => array::from_postgres(element, text).map(Value::Text).ok_or_else(|| self.refuse(text)),
            _ => self.parse(text),
        }
    }

    /// The text from which PostgreSQL reads a value; empty for NULL.
    #[must_use]
    pub fn postgres_text<'v>(&self, value: &'v Value) -> Cow<'v, str> {
        match (self, value) {
            (Self::Array(element), Value::Text(text)) => array::to_postgres(element, text).map_or(Cow::Borrowed(text.as_str()), Cow::Owned),
            _ => value.to_text(),
        }
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
            (Self::Float4, Value::Float(real)) => match widen(real.0 as f32) {
                narrow if narrow.is_infinite() && real.0.is_finite() || narrow == 0.0 && real.0 != 0.0 => {
                    Err(self.refuse(&Value::Float(real).to_text()))
                }
                narrow => Ok(Value::Float(Real::new(narrow))),
            },
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
            (Self::Json | Self::JsonText, json) => self.parse(&json.to_string()),
            (Self::Array(_), Json::Array(_) | Json::Object(_)) => self.parse(&json.to_string()),
            (Self::Bool, Json::Bool(flag)) => Ok(Value::Bool(*flag)),
            (Self::Int2 | Self::Int4 | Self::Int8 | Self::Float4 | Self::Float8 | Self::Numeric | Self::Money, Json::Number(number)) => {
                self.parse(&number.to_string())
            }
            (Self::Int8 | Self::Numeric, Json::String(text)) => self.parse(text),
            (Self::Array(_), Json::String(text)) if text.starts_with(['{', '[']) => self.parse(text),
            (Self::Float4 | Self::Float8, Json::String(text)) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
                self.parse(text)
            }
            (Self::Bool | Self::Int2 | Self::Int4 | Self::Float4 | Self::Float8 | Self::Array(_), _) => Err(self.refuse(&json.to_string())),
            (_, Json::String(text)) => self.parse(text),
            (_, other) => Err(self.refuse(&other.to_string())),
        }
    }

    /// This value as the API shows it.
    #[must_use]
    pub fn to_json(&self, value: &Value) -> serde_json::Value {
        use serde_json::Value as Json;
        match (self, value) {
            (_, Value::Null) => Json::Null,
            (_, Value::Bool(flag)) => Json::Bool(*flag),
            (Self::Int8, Value::Int(number)) if number.unsigned_abs() > SAFE => Json::String(number.to_string()),
            (_, Value::Int(number)) => Json::from(*number),
            (_, Value::Float(real)) => serde_json::Number::from_f64(real.0).map_or_else(|| Json::String(real_text(real.0)), Json::Number),
            (Self::Json | Self::JsonText | Self::Array(_), Value::Text(text)) => {
                let mut json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone()));
                if matches!(self, Self::Array(element) if **element == Self::Int8) {
                    safe(&mut json);
                }
                json
            }
            (_, value) => Json::String(value.to_text().into_owned()),
        }
    }
}

/// Whether a float is what its text says: digits beyond its range are infinite or nothing, and PostgreSQL refuses them.
fn in_range(text: &str, number: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let says_nothing = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let has_digits = mantissa.bytes().any(|byte| byte.is_ascii_digit());
    if number.is_infinite() { !has_digits } else { number != 0.0 || says_nothing }
}

/// The largest integer that JavaScript holds exactly.
const SAFE: u64 = (1 << 53) - 1;

/// Makes the integers of an array that JavaScript would round strings.
fn safe(json: &mut serde_json::Value) {
    use serde_json::Value as Json;
    match json {
        Json::Array(items) => items.iter_mut().for_each(safe),
        Json::Object(members) => members.get_mut("items").into_iter().for_each(safe),
        Json::Number(number) if number.as_i64().is_some_and(|number| number.unsigned_abs() > SAFE) => {
            *json = Json::String(number.to_string());
        }
        _ => {}
    }
}

/// The double with the same shortest decimal text as the single, so that 0.1 stays 0.1.
fn widen(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}
