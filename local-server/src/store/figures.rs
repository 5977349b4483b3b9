//! SQL functions of our own for figures over records. Only our own connections know them, so that no index, view or trigger may name them.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use sync_core::figures::Sum;
use sync_core::value::{ColumnType, Every, Value};

/// `rejoin_sum(column)`: the exact sum as decimal text, NULL where there are no values.
pub(crate) const SUM: &str = "rejoin_sum";
/// `rejoin_bucket(column, type, seconds, months)`: the beginning of the bucket of a time, of so many seconds or else months.
pub(crate) const BUCKET: &str = "rejoin_bucket";

/// Makes the functions known to a connection.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_aggregate_function(SUM, 1, flags, Summing)?;
    connection.create_scalar_function(BUCKET, 4, flags, bucket)
}

struct Summing;

impl Aggregate<Option<Sum>, Option<String>> for Summing {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<Sum>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Option<Sum>) -> Result<()> {
        let value = context.get_raw(0);
        if value == ValueRef::Null {
            return Ok(());
        }
        let sum = sum.get_or_insert_default();
        let known = match value {
            ValueRef::Integer(number) => {
                sum.add_integer(number);
                true
            }
            ValueRef::Real(number) => {
                sum.add_float(number);
                true
            }
            ValueRef::Text(text) => std::str::from_utf8(text).is_ok_and(|text| sum.add(text)),
            ValueRef::Null | ValueRef::Blob(_) => false,
        };
        if known { Ok(()) } else { Err(failed("a value is no number")) }
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<Option<Sum>>) -> Result<Option<String>> {
        Ok(sum.flatten().map(|sum| sum.text()))
    }
}

fn bucket(context: &Context<'_>) -> Result<Option<String>> {
    let text = match context.get_raw(0) {
        ValueRef::Null => return Ok(None),
        ValueRef::Text(text) => std::str::from_utf8(text).map_err(|error| Error::UserFunctionError(error.into()))?,
        _ => return Err(failed("a value is no time")),
    };
    let ty = match context.get_raw(1).as_str()? {
        "timestamptz" => ColumnType::Timestamptz,
        "timestamp" => ColumnType::Timestamp,
        _ => ColumnType::Date,
    };
    let every = match (context.get(2)?, context.get(3)?) {
        (0, months) => Every::Months(months),
        (seconds, _) => Every::Seconds(seconds),
    };
    match every.begin(&ty, text) {
        Some(Value::Text(begin)) => Ok(Some(begin)),
        _ => Err(failed("a value is no time")),
    }
}

fn failed(why: &str) -> Error {
    Error::UserFunctionError(why.into())
}
