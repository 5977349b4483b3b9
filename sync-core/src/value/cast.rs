//! What PostgreSQL makes of a column's values where the column gets another type (`ALTER COLUMN .. TYPE`, in UTC): by its assignment casts,
//! and where it has none, as `USING column::type` would, or by the value's text.

mod number;
mod range;
mod time;
mod written;

use super::{ColumnType, Value, array, interval, network};
use crate::catalog::Column;
use crate::limits::NAME_BYTES_MAX;

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

    /// Whether the column holds every value of the other as it is, or as what PostgreSQL makes of it.
    fn takes_all_of(&self, other: &Self) -> bool {
        use ColumnType::{Enum, Float4, Float8, Int2, Int4, Int8, Numeric, Text};
        match (&other.ty, &self.ty) {
            // Only the cloud knows which of their values there are.
            (from, to) if from != to && (matches!(to, Enum(_)) || is_opaque(to)) => false,
            (from, to) if is_opaque(from) && is_opaque(to) => false,
            (Int2 | Int4 | Int8, Numeric) if self.modifiers.is_empty() => true,
            (Float4, Float8) => true,
            (from, Text) if *from != Text && self.limit().is_none() && self.name != "name" => true,
            _ => self.holds(other),
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
            ColumnType::Text if self.name == "name" => Some(written::of_bytes(&text, NAME_BYTES_MAX).to_owned()),
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

fn is_opaque(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Other => true,
        ColumnType::Array(element) => is_opaque(element),
        _ => false,
    }
}

impl Cast {
    /// What the values of a column go through when it becomes the other.
    #[must_use]
    pub fn between(from: &Column, to: &Column) -> Self {
        Self { from: Shape::of(from), to: Shape::of(to) }
    }

    /// Whether each value is one of the other column as it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.to.holds(&self.from)
    }

    /// Whether each value is one of the other column, as it is or as what PostgreSQL makes of it.
    #[must_use]
    pub fn loses_nothing(&self) -> bool {
        self.to.takes_all_of(&self.from)
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
        Self { from: Shape::plain(from), to: Shape::of(to) }.convert(value)
    }

    /// What becomes of a value; `None` where PostgreSQL would refuse it.
    #[must_use]
    pub fn apply(&self, value: &Value) -> Option<Value> {
        if self.is_identity() { Some(value.clone()) } else { self.convert(value) }
    }

    fn convert(&self, value: &Value) -> Option<Value> {
        use ColumnType::{
            Array, Bool, Char, Cidr, Date, Float4, Float8, Inet, Int2, Int4, Int8, Interval, Json, JsonText, Macaddr, Macaddr8, Money,
            Numeric, Text, Time, Timestamp, Timestamptz, Timetz,
        };
        let (from, to) = (&self.from, &self.to);
        let made = match (&from.ty, &to.ty, value) {
            (_, _, Value::Null) => return Some(Value::Null),
            (Array(_), Array(_), Value::Text(text)) => {
                let cast = Self { from: from.element()?, to: to.element()? };
                return array::map(&cast.from.ty, &|value| cast.convert(value), text).map(Value::Text);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A column of this type, of PostgreSQL's name and length.
    fn column((ty, sql_type, length): (&str, &str, Option<u32>)) -> Column {
        let ty = serde_json::from_str(ty).unwrap_or_else(|_| json!(ty));
        let column =
            json!({"no": 1, "name": "a", "ty": ty, "sql_type": sql_type, "not_null": false, "default": null, "max_length": length});
        serde_json::from_value(column).unwrap()
    }

    #[test]
    fn values_become_what_postgresql_makes_of_them_or_do_not_fit() {
        let text = ("text", "text", None);
        let whole = ("int4", "integer", None);
        let money = ("numeric", "numeric(4,1)", None);
        let of = |value: &str| Value::Text(value.to_owned());
        for (from, to, value, made) in [
            (whole, ("int2", "smallint", None), Value::Int(5), Some(Value::Int(5))),
            (whole, ("int2", "smallint", None), Value::Int(40_000), None),
            (whole, text, Value::Int(-7), Some(of("-7"))),
            (whole, money, Value::Int(3), Some(of("3"))),
            (("numeric", "numeric", None), money, of("2.25"), Some(of("2.3"))),
            (("numeric", "numeric", None), money, of("1234.5"), None),
            (("bool", "boolean", None), text, Value::Bool(true), Some(of("true"))),
            (text, ("bool", "boolean", None), of("OFF"), Some(Value::Bool(false))),
            (text, ("text", "varchar(3)", Some(3)), of("abc  "), Some(of("abc"))),
            (text, ("text", "varchar(3)", Some(3)), of("abcd"), None),
            (("date", "date", None), ("timestamp", "timestamp", None), of("2026-01-31"), Some(of("2026-01-31T00:00:00.000000"))),
            (("inet", "inet", None), text, of("10.0.0.1"), Some(of("10.0.0.1/32"))),
            (("json", "jsonb", None), text, of(r#"{"aa":1,"b":[2]}"#), Some(of(r#"{"b": [2], "aa": 1}"#))),
            (text, whole, Value::Null, Some(Value::Null)),
        ] {
            assert_eq!(Cast::between(&column(from), &column(to)).apply(&value), made, "{from:?} {to:?} {value:?}");
        }
    }

    #[test]
    fn what_another_column_holds_as_it_is_stays_so() {
        let cast = Cast::between(&column(("int2", "smallint", None)), &column(("int8", "bigint", None)));
        assert!(cast.is_identity() && cast.apply(&Value::Int(5)) == Some(Value::Int(5)));
        let label = Cast::between(&column(("text", "text", None)), &column((r#"{"enum": ["good"]}"#, "mood", None)));
        assert!(label.is_identity() && !label.loses_nothing(), "only the cloud knows which labels there are");
    }

    #[test]
    fn a_type_fits_where_no_site_refuses_a_value() {
        let fits =
            |from: (&str, &str, Option<u32>), to: (&str, &str, Option<u32>)| Cast::between(&column(from), &column(to)).loses_nothing();
        for (narrow, wide) in [
            (("char", "character(4)", Some(4)), ("char", "character(10)", Some(10))),
            (("bits", "bit varying(4)", None), ("bits", "bit varying(8)", None)),
            (("text", "varchar(4)", Some(4)), ("text", "text", None)),
            (("int2", "smallint", None), ("int8", "bigint", None)),
            (("int8", "bigint", None), ("numeric", "numeric", None)),
            (("int8", "bigint", None), ("text", "text", None)),
            (("float4", "real", None), ("float8", "double precision", None)),
            (("numeric", "numeric(6,2)", None), ("numeric", "numeric(8,2)", None)),
        ] {
            assert!(fits(narrow, wide), "{narrow:?} {wide:?}");
            assert!(!fits(wide, narrow), "{wide:?} {narrow:?}");
        }
        assert!(!fits(("bits", "bit(8)", None), ("bits", "bit(4)", None)));
        assert!(!fits(("bits", "bit(4)", None), ("bits", "bit(8)", None)), "PostgreSQL refuses another length");
    }
}
