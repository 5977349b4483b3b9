//! What becomes of values where a column's type changes: what PostgreSQL makes of them, or the value does not fit.

use std::cell::RefCell;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSql, ToSqlOutput, Value as Sql};
use sync_core::catalog::Column;
use sync_core::value::{Cast, Value};

use crate::store::error::Result;
use crate::store::rows::{Bound, from_sql};

/// Whether a column's values go through something when it becomes the other.
pub(crate) fn differs(from: &Column, to: &Column) -> bool {
    !Cast::between(from, to).is_identity()
}

/// A value of one column as one of another; `None` where PostgreSQL would refuse it.
pub(crate) fn convert(from: &Column, to: &Column, value: &Value) -> Option<Value> {
    Cast::between(from, to).apply(value)
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

    /// The name of a function that makes a stored value of one column one of another, and NULL of what does not fit.
    pub(crate) fn function(&self, from: &Column, to: &Column) -> Result<String> {
        let name = format!("rejoin_convert_{}", self.names.borrow().len());
        let (ty, cast) = (from.ty.clone(), Cast::between(from, to));
        self.connection.create_scalar_function(
            name.as_str(),
            1,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            move |call| {
                let value = from_sql(&ty, call.get_raw(0)).ok();
                let value = value.and_then(|value| cast.apply(&value));
                owned(&value.unwrap_or(Value::Null))
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
