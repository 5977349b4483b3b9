//! What becomes of values where a column's type changes: the new type reads the old one's canonical text, or the value does not fit.

use std::cell::RefCell;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSql, ToSqlOutput, Value as Sql};
use sync_core::value::{ColumnType, Value};

use crate::store::error::Result;
use crate::store::rows::{Bound, from_sql};

/// Whether a column of one type may hold what a column of the other cannot read.
pub(crate) fn differs(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Enum, Float4, Float8, Int2, Int4, Int8, Other, Text};
    match (from, to) {
        _ if from == to => false,
        // Their values are texts as they stand; of a label that is gone only the cloud can say so.
        (Text | Other | Enum(_), Text | Other | Enum(_)) => false,
        (Int2, Int4 | Int8) | (Int4, Int8) | (Float4, Float8) => false,
        _ => true,
    }
}

/// A value as one of another type; `None` where it does not fit. What would lose something (1.5 as an integer) does not fit.
#[must_use]
pub fn convert(to: &ColumnType, value: &Value) -> Option<Value> {
    use ColumnType::{Bool, Date, Float4, Float8, Int2, Int4, Int8, Numeric, Timestamp};
    let number = matches!(to, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric);
    match (to, value) {
        (_, Value::Null) => Some(Value::Null),
        (_, Value::Bool(flag)) if number => to.parse(if *flag { "1" } else { "0" }).ok(),
        (Bool, Value::Int(number)) => Some(Value::Bool(*number != 0)),
        (Int2 | Int4 | Int8, Value::Float(_)) => {
            let Ok(Value::Text(digits)) = Numeric.parse(&value.to_text()) else { return None };
            to.parse(&digits).ok()
        }
        // A site knows no time zone but UTC.
        (Timestamp, Value::Text(text)) => to.parse(text.strip_suffix('Z').unwrap_or(text)).ok(),
        (Date, Value::Text(text)) => {
            let midnight = ["T00:00:00.000000Z", "T00:00:00.000000"].into_iter().find_map(|midnight| text.strip_suffix(midnight));
            to.parse(midnight.unwrap_or(text)).ok()
        }
        (to, value) => to.parse(&value.to_text()).ok(),
    }
}

/// The functions that convert values within one migration. Nothing in the file ever names them.
pub(crate) struct Converters<'a> {
    connection: &'a Connection,
    names: RefCell<Vec<String>>,
}

impl<'a> Converters<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, names: RefCell::default() }
    }

    /// The name of a function that makes a stored value of one type one of another, and NULL of what does not fit.
    pub(crate) fn function(&self, from: &ColumnType, to: &ColumnType) -> Result<String> {
        let name = format!("rejoin_convert_{}", self.names.borrow().len());
        let (from, to) = (from.clone(), to.clone());
        self.connection.create_scalar_function(
            name.as_str(),
            1,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            move |call| {
                let value = from_sql(&from, call.get_raw(0)).ok().and_then(|value| convert(&to, &value)).unwrap_or(Value::Null);
                owned(&value)
            },
        )?;
        self.names.borrow_mut().push(name.clone());
        Ok(name)
    }
}

impl Drop for Converters<'_> {
    fn drop(&mut self) {
        for name in self.names.borrow().iter() {
            // One that stays is in nobody's way.
            drop(self.connection.remove_function(name.as_str(), 1));
        }
    }
}

fn owned(value: &Value) -> rusqlite::Result<Sql> {
    Ok(match Bound(value).to_sql()? {
        ToSqlOutput::Owned(value) => value,
        ToSqlOutput::Borrowed(value) => value.try_into().unwrap_or(Sql::Null),
        _ => Sql::Null,
    })
}
