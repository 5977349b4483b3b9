//! The filters of a list: `name=value`, and with an operator in the name `name[gte]=5`. A name that is given several times asks for any of its values.

use sync_core::catalog::{Catalog, Column, Table};
use sync_core::limits::{FILTER_VALUES_MAX, FILTERS_MAX};
use sync_core::value::{ColumnType, Value};

use super::query::PARAMETERS;
use crate::backend::{Comparison, Filter, Test};
use crate::problem::Fault;

/// The operators there are.
pub const OPERATORS: [&str; 7] = ["eq", "ne", "gt", "gte", "lt", "lte", "null"];

/// Adds the filter that a parameter says to those that the parameters before it said.
///
/// # Errors
/// There is no such column or operator, or the value is not of the column's type.
pub(super) fn add(catalog: &Catalog, table: &Table, filters: &mut Vec<Filter>, parameter: &str, text: &str) -> Result<(), Fault> {
    let (name, operator) = match parameter.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((name, operator)) => (name, operator),
        None => (parameter, "eq"),
    };
    let (column, operator) = match table.api.filters.get(name) {
        Some((no, told)) if told == "eq" => (table.column(*no), operator),
        Some((no, told)) if parameter == name => (table.column(*no), told.as_str()),
        _ => (catalog.column_called(table, name), operator),
    };
    let Some(column) = column else {
        let names = catalog.fields(table).into_iter().chain(table.api.filters.keys().cloned()).collect::<Vec<_>>().join(", ");
        let detail = format!("{} has no column {name}; it has {names}; there are also {}", table.path, PARAMETERS.join(", "));
        return Err(Fault::parameter(parameter, "unknown", detail));
    };
    let test = test(column, operator, text).map_err(|(code, detail)| Fault::parameter(parameter, code, format!("{name}: {detail}")))?;
    for filter in filters.iter_mut().filter(|filter| filter.column == column.no) {
        let (known, more) = match (&mut filter.test, &test) {
            (Test::Among(known), Test::Among(more)) | (Test::NotAmong(known), Test::NotAmong(more)) => (known, more),
            _ => continue,
        };
        if known.len() == FILTER_VALUES_MAX {
            let detail = format!("{name}: at most {FILTER_VALUES_MAX} values are compared");
            return Err(Fault::parameter(parameter, "range", detail));
        }
        known.extend(more.iter().cloned());
        return Ok(());
    }
    if filters.len() == FILTERS_MAX {
        return Err(Fault::parameter(parameter, "range", format!("a list has at most {FILTERS_MAX} filters")));
    }
    filters.push(Filter { column: column.no, test });
    Ok(())
}

fn test(column: &Column, operator: &str, text: &str) -> Result<Test, (&'static str, String)> {
    let value = || column.ty.parse(text).map_err(|error| ("type", error.to_string()));
    let compared = |comparison| match is_ordered(&column.ty) {
        true => Ok(Test::Compared(comparison, value()?)),
        false => Err(("type", format!("it holds {}, which has no order: only eq, ne and null", column.ty.describe()))),
    };
    match operator {
        "eq" => Ok(Test::Among(vec![value()?])),
        "ne" => Ok(Test::NotAmong(vec![value()?])),
        "gt" => compared(Comparison::Greater),
        "gte" => compared(Comparison::GreaterOrEqual),
        "lt" => compared(Comparison::Less),
        "lte" => compared(Comparison::LessOrEqual),
        "null" => match text {
            "true" => Ok(Test::Among(vec![Value::Null])),
            "false" => Ok(Test::NotAmong(vec![Value::Null])),
            _ => Err(("type", "write true or false".to_owned())),
        },
        _ => Err(("unknown", format!("there is no operator {operator}; there are {}", OPERATORS.join(", ")))),
    }
}

/// Whether both databases order this type alike. What is an amount of time or an address to PostgreSQL is text in SQLite; JSON, arrays and
/// foreign types have no order worth the name.
pub(super) fn is_ordered(ty: &ColumnType) -> bool {
    use ColumnType::{Array, Bytea, Cidr, Inet, Interval, Json, JsonText, Other, Timetz};
    !matches!(ty, Interval | Timetz | Inet | Cidr | Json | JsonText | Array(_) | Bytea | Other)
}
