//! What PostgreSQL makes of a column's values where the column gets another type (`ALTER COLUMN .. TYPE`, in UTC): by its assignment casts,
//! and where it has none, as `USING column::type` would, or by the value's text.

mod number;
mod range;
mod time;
mod written;

use super::{ColumnType, Value, array, interval, network};
use crate::catalog::Column;

/// How values of one column become those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    from: Shape,
    to: Shape,
}

/// A column's type with what its name says beyond [`ColumnType`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    ty: ColumnType,
    /// PostgreSQL's name without modifiers and brackets.
    name: String,
    /// The modifiers: precision and scale, a precision in seconds, a length.
    modifiers: Vec<i64>,
}

impl Shape {
    fn of(column: &Column) -> Self {
        let (before, modifiers) = match column.sql_type.split_once('(') {
            Some((before, rest)) => (before, rest.split(')').next().unwrap_or_default()),
            None => (column.sql_type.as_str(), ""),
        };
        let mut modifiers: Vec<i64> = modifiers.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        if matches!(column.ty, ColumnType::Text | ColumnType::Char)
            && let Some(length) = column.max_length
        {
            modifiers = vec![length.into()];
        }
        Self { ty: column.ty.clone(), name: before.trim_end_matches("[]").trim().to_owned(), modifiers }
    }

    fn plain(ty: ColumnType) -> Self {
        Self { ty, name: String::new(), modifiers: Vec::new() }
    }

    /// What an array of this shape consists of.
    fn element(&self) -> Option<Self> {
        let ColumnType::Array(element) = &self.ty else { return None };
        Some(Self { ty: (**element).clone(), ..self.clone() })
    }

    fn limit(&self) -> Option<i64> {
        self.modifiers.first().copied()
    }

    /// How many digits of a second it keeps.
    fn precision(&self) -> u32 {
        self.limit().and_then(|digits| u32::try_from(digits).ok()).map_or(6, |digits| digits.min(6))
    }

    /// Whether the column holds every value of the other as it is.
    fn holds(&self, other: &Self) -> bool {
        use ColumnType::{Array, Bits, Char, Enum, Int2, Int4, Int8, Interval, Numeric, Other, Text, Time, Timestamp, Timestamptz, Timetz};
        match (&other.ty, &self.ty) {
            (Array(_), Array(_)) => match (self.element(), other.element()) {
                (Some(to), Some(from)) => from == to || from.ty == to.ty && to.holds(&from),
                _ => false,
            },
            // Their values are texts as they stand; of a label that is gone only the cloud can say so.
            (Text | Enum(_), Other | Enum(_)) | (Other, Other) => true,
            (Enum(_) | Text, Text) => self.holds_text(other),
            (Other, Text | Enum(_)) => self.limit().is_none() && self.name != "name" && !range::is_range(&other.name),
            (Int2, Int4 | Int8) | (Int4, Int8) => true,
            (Numeric, Numeric) => number::holds(&self.modifiers, &other.modifiers),
            (Timestamptz, Timestamptz) | (Timestamp, Timestamp) | (Time, Time) | (Timetz, Timetz) | (Interval, Interval) => {
                self.precision() >= other.precision()
            }
            (Char, Char) => self.holds_text(other),
            (Bits, Bits) => self == other || self.name == "bit varying" && self.holds_text(other),
            (from, to) => from == to,
        }
    }

    fn holds_text(&self, other: &Self) -> bool {
        let is_name = |shape: &Self| shape.name == "name";
        match self.limit() {
            None => !is_name(self) || is_name(other),
            Some(most) => other.limit().is_some_and(|limit| limit <= most),
        }
    }

    /// A value of this type as its modifiers let it be; `None` where they refuse it.
    fn fit(&self, value: Value) -> Option<Value> {
        let Value::Text(text) = value else { return Some(value) };
        let fitted = match self.ty {
            ColumnType::Numeric => number::fit(&text, &self.modifiers),
            ColumnType::Timestamptz | ColumnType::Timestamp => time::rounded_moment(&text, self.precision()),
            ColumnType::Time | ColumnType::Timetz => time::rounded_time(&text, self.precision()).and_then(|text| self.ty.canonical(&text)),
            ColumnType::Interval => interval::rounded(&text, self.precision()),
            ColumnType::Text if self.name == "name" => Some(written::of_bytes(&text, 63).to_owned()),
            ColumnType::Text | ColumnType::Char => written::of_length(text, self.limit()),
            ColumnType::Bits => self.fit_bits(text),
            _ => Some(text),
        };
        fitted.map(Value::Text)
    }

    fn fit_bits(&self, bits: String) -> Option<String> {
        let length = i64::try_from(bits.len()).ok()?;
        let fits = match (self.name.as_str(), self.limit()) {
            (_, None) => true,
            ("bit", Some(exactly)) => length == exactly,
            (_, Some(most)) => length <= most,
        };
        fits.then_some(bits)
    }

    /// A value out of a text, as PostgreSQL reads it.
    fn read(&self, text: &str) -> Option<Value> {
        let value = match &self.ty {
            ColumnType::Bool => written::flag(text).map(Value::Bool),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Float4 | ColumnType::Float8 => {
                self.ty.parse(text.trim()).ok()
            }
            ColumnType::Bytea if !text.contains('\\') => Some(Value::Bytes(text.as_bytes().to_vec())),
            ty => ty.parse(text).ok(),
        };
        self.fit(value?)
    }
}

impl Cast {
    /// What the values of a column go through when it becomes the other; `None` where each is a value of the other as it is.
    #[must_use]
    pub fn between(from: &Column, to: &Column) -> Option<Self> {
        let (from, to) = (Shape::of(from), Shape::of(to));
        (!to.holds(&from)).then_some(Self { from, to })
    }

    /// Reads a value of which no more is known than how it travelled.
    #[must_use]
    pub fn into(to: &Column, value: &Value) -> Option<Value> {
        let from = match value {
            Value::Null => return Some(Value::Null),
            Value::Bool(_) => ColumnType::Bool,
            Value::Int(_) => ColumnType::Int8,
            Value::Float(_) => ColumnType::Float8,
            Value::Text(_) => ColumnType::Text,
            Value::Bytes(_) => ColumnType::Bytea,
            Value::Uuid(_) => ColumnType::Uuid,
        };
        Self { from: Shape::plain(from), to: Shape::of(to) }.apply(value)
    }

    /// What becomes of a value; `None` where PostgreSQL would refuse it.
    #[must_use]
    pub fn apply(&self, value: &Value) -> Option<Value> {
        use ColumnType::{
            Array, Bool, Char, Cidr, Date, Float4, Float8, Inet, Int2, Int4, Int8, Interval, Json, JsonText, Macaddr, Macaddr8, Money,
            Numeric, Text, Time, Timestamp, Timestamptz, Timetz,
        };
        let (from, to) = (&self.from, &self.to);
        let made = match (&from.ty, &to.ty, value) {
            (_, _, Value::Null) => return Some(Value::Null),
            (Array(_), Array(_), Value::Text(text)) => {
                let cast = Self { from: from.element()?, to: to.element()? };
                return array::map(&cast.from.ty, &|value| cast.apply(value), text).map(Value::Text);
            }
            (_, Text | Char | ColumnType::Enum(_) | ColumnType::Other, _) => return to.read(&written::cast_text(from, value)),
            (_, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Money, Value::Bool(flag)) => {
                return to.read(if *flag { "1" } else { "0" });
            }
            (_, Bool, Value::Int(number)) => Value::Bool(*number != 0),
            (_, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Money, _) if number::is_number(&from.ty) => number::cast(from, to, value)?,
            (Timestamptz | Timestamp | Date | Time | Timetz | Interval, _, Value::Text(text)) if time::is_time(&to.ty) => {
                Value::Text(time::cast(&from.ty, &to.ty, text)?)
            }
            (Inet, Cidr, Value::Text(text)) => Value::Text(network::network(text)?),
            (Macaddr8, Macaddr, Value::Text(text)) => Value::Text(network::short(text)?),
            (Json, JsonText, Value::Text(text)) => Value::Text(written::json(text)),
            (same, other, value) if same == other => value.clone(),
            _ => return to.read(&written::cast_text(from, value)),
        };
        to.fit(made)
    }
}
