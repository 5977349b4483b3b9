//! The one codec between PostgreSQL and [`Value`]: how a column is read, and how many values of a column are bound as one array.
//!
//! Types that the driver knows simply travel in binary; every other type is read as its text form and parsed by [`ColumnType::parse`], and
//! written as text cast to the column's type. Every identifier comes from the catalog and is quoted here.

use std::borrow::Cow;

use sync_core::catalog::{Column, Table};
use sync_core::change::{At, Row, Stamp};
use sync_core::id::{Key, ScopeId, Tick};
use sync_core::value::{ColumnType, Real, Value};
use tokio_postgres::types::ToSql;

use super::error::StoreError;

/// A bound parameter.
pub(crate) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A row as the cloud has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRow {
    /// The values of the table's columns; NULL where a column was not asked for.
    pub(crate) row: Row,
    /// The versioning.
    pub(crate) stamp: Stamp,
    /// Its place in the feed.
    pub(crate) at: At,
}

impl StoredRow {
    /// Whether no message can carry it.
    pub(crate) fn is_too_large(&self) -> bool {
        self.row.iter().any(Value::is_too_large)
    }
}

/// A quoted identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table's full name, quoted.
pub(crate) fn table_sql(table: &Table) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// Parameters as the driver takes them.
pub(crate) fn refs<'p>(params: &'p [Param<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
}

/// What a select list reads of the column of `alias`.
pub(crate) fn column_sql(column: &Column, alias: &str) -> String {
    let name = format!("{alias}.{}", quote(&column.name));
    if is_binary(&column.ty) { name } else { format!("{name}::text") }
}

/// The columns that stand behind the table's own in every select list: scope, tick, version, `updated_at`, `last_modified_by`, `synced_at`.
pub(crate) fn stamps_sql(table: &Table, alias: &str) -> String {
    let stamps = &table.stamps;
    let text = |name: &str| format!("{alias}.{}::text", quote(name));
    format!(
        "{alias}.rejoin_scope, {alias}.rejoin_tick, {alias}.{}::bigint, {}, {}, {}",
        quote(&stamps.version),
        text(&stamps.updated_at),
        text(&stamps.last_modified_by),
        text(&stamps.synced_at),
    )
}

/// The whole row of `alias`: what [`read_row`] reads.
pub(crate) fn select_list(table: &Table, alias: &str) -> String {
    select_some(table, alias, 0..table.columns.len())
}

/// As [`select_list`], with the columns at these positions only.
pub(crate) fn select_some(table: &Table, alias: &str, positions: impl IntoIterator<Item = usize>) -> String {
    let columns = positions.into_iter().map(|at| column_sql(&table.columns[at], alias));
    columns.chain([stamps_sql(table, alias)]).collect::<Vec<_>>().join(", ")
}

/// Reads what [`select_list`] selected, from the result column `first` on.
///
/// # Errors
/// A value that the column's type cannot hold: the catalog is not the database's.
pub(crate) fn read_row(table: &Table, from: &tokio_postgres::Row, first: usize) -> Result<StoredRow, StoreError> {
    read_some(table, from, first, 0..table.columns.len())
}

/// Reads what [`select_some`] selected.
///
/// # Errors
/// As [`read_row`].
pub(crate) fn read_some(
    table: &Table,
    from: &tokio_postgres::Row,
    first: usize,
    positions: impl IntoIterator<Item = usize>,
) -> Result<StoredRow, StoreError> {
    let mut row = vec![Value::Null; table.columns.len()];
    let mut at = first;
    for position in positions {
        row[position] = read_value(table, &table.columns[position], from, at)?;
        at += 1;
    }
    let moment = |text: Option<&str>| text.map(|text| canonical_moment(table, text)).transpose();
    Ok(StoredRow {
        row,
        at: At { scope: ScopeId(from.try_get(at)?), tick: Tick(from.try_get(at + 1)?) },
        stamp: Stamp {
            version: from.try_get::<_, Option<i64>>(at + 2)?.unwrap_or_default(),
            updated_at: moment(from.try_get(at + 3)?)?.unwrap_or_default(),
            modified_by: from.try_get(at + 4)?,
            synced_at: moment(from.try_get(at + 5)?)?,
        },
    })
}

fn canonical_moment(table: &Table, text: &str) -> Result<String, StoreError> {
    let moment = ColumnType::Timestamptz.parse(text);
    moment.map(|value| value.to_text().into_owned()).map_err(|error| StoreError::Corrupt(format!("{}: a stamp: {error}", table.name)))
}

/// Reads one result column, selected by [`column_sql`].
///
/// # Errors
/// As [`read_row`].
pub(crate) fn read_value(table: &Table, column: &Column, from: &tokio_postgres::Row, at: usize) -> Result<Value, StoreError> {
    let value = match column.ty {
        ColumnType::Bool => from.try_get::<_, Option<bool>>(at)?.map(Value::Bool),
        ColumnType::Int2 => from.try_get::<_, Option<i16>>(at)?.map(|number| Value::Int(number.into())),
        ColumnType::Int4 => from.try_get::<_, Option<i32>>(at)?.map(|number| Value::Int(number.into())),
        ColumnType::Int8 => from.try_get::<_, Option<i64>>(at)?.map(Value::Int),
        ColumnType::Float8 => from.try_get::<_, Option<f64>>(at)?.map(|number| Value::Float(Real::new(number))),
        ColumnType::Uuid => from.try_get::<_, Option<uuid::Uuid>>(at)?.map(Value::Uuid),
        ColumnType::Bytea => from.try_get::<_, Option<Vec<u8>>>(at)?.map(Value::Bytes),
        _ => match from.try_get::<_, Option<&str>>(at)? {
            None => None,
            Some(text) => Some(
                column.ty.parse_postgres(text).map_err(|error| StoreError::Corrupt(format!("{}.{}: {error}", table.name, column.name)))?,
            ),
        },
    };
    Ok(value.unwrap_or(Value::Null))
}

/// Whether values of this type travel in the driver's binary form.
fn is_binary(ty: &ColumnType) -> bool {
    array_type(ty) != "text"
}

/// The element type of the array that carries values of this type.
pub(crate) fn array_type(ty: &ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool => "boolean",
        ColumnType::Int2 => "smallint",
        ColumnType::Int4 => "integer",
        ColumnType::Int8 => "bigint",
        ColumnType::Float8 => "double precision",
        ColumnType::Uuid => "uuid",
        ColumnType::Bytea => "bytea",
        _ => "text",
    }
}

/// Makes an element of the bound array a value of the column. What has a length is left to PostgreSQL's assignment rules: an explicit cast
/// to `varchar(n)` or `bit(n)` would cut it silently.
pub(crate) fn written(column: &Column, element: &str) -> String {
    match &column.ty {
        ColumnType::Text | ColumnType::Char => element.to_owned(),
        ColumnType::Bits => format!("{element}::bit varying"),
        ColumnType::Array(of) if column.sql_type.ends_with(")[]") => match **of {
            ColumnType::Text => format!("{element}::character varying[]"),
            ColumnType::Char => format!("{element}::bpchar[]"),
            ColumnType::Bits => format!("{element}::bit varying[]"),
            _ => format!("{element}::{}", column.sql_type),
        },
        ty if is_binary(ty) => element.to_owned(),
        _ => format!("{element}::{}", column.sql_type),
    }
}

/// What a column of an existing row gets: what only differs in spelling (`1.50` and `1.5`, `-0` and `0`) stays as the cloud has it.
pub(crate) fn overwritten(column: &Column, element: &str) -> String {
    let (name, value) = (quote(&column.name), written(column, element));
    let spelled = |ty: &ColumnType| matches!(ty, ColumnType::Numeric | ColumnType::Json | ColumnType::Float4 | ColumnType::Float8);
    match &column.ty {
        ColumnType::Array(of) if spelled(of) => {}
        ty if spelled(ty) => {}
        _ => return value,
    }
    format!("CASE WHEN t.{name} = {value} THEN t.{name} ELSE {value} END")
}

/// The operator that compares a referring column, or one that is unique, as the database itself does: `=` alone takes a `citext` of a schema that is
/// not searched for text.
pub(crate) fn equals(column: &Column) -> Cow<'static, str> {
    column.citext_schema().map_or(Cow::Borrowed("="), |schema| Cow::Owned(format!("OPERATOR({schema}.=)")))
}

/// Makes an element of the bound array comparable with the column, so that its index serves.
pub(crate) fn compared(column: &Column, element: &str) -> String {
    match column.ty {
        ColumnType::Text if column.sql_type.starts_with("character varying") => element.to_owned(),
        ColumnType::Char => format!("{element}::bpchar"),
        _ if is_binary(&column.ty) => element.to_owned(),
        _ => format!("{element}::{}", column.sql_type),
    }
}

/// The type that a value is cast to, to compare a column with it: not the column's own, since `numeric(6,2)` and `timestamp(0)` would round it,
/// `bit(3)` cut it, and a domain refuse what its rows cannot hold.
pub(crate) fn compared_as(column: &Column) -> &str {
    match column.ty {
        ColumnType::Bool => "boolean",
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => "bigint",
        ColumnType::Float4 => "real",
        ColumnType::Float8 => "double precision",
        ColumnType::Numeric => "numeric",
        ColumnType::Uuid => "uuid",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Time => "time",
        ColumnType::Bits => "bit varying",
        _ => &column.sql_type,
    }
}

/// Binds the values of one column, of one row each, as one array of [`array_type`].
///
/// # Errors
/// A value is not of the column's type; nothing that passed `ColumnType::accept` is refused.
pub(crate) fn array<'a>(column: &Column, values: impl Iterator<Item = &'a Value>) -> Result<Param<'a>, StoreError> {
    fn each<'a, T>(values: impl Iterator<Item = &'a Value>, of: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<Option<T>>> {
        values.map(|value| if value.is_null() { Some(None) } else { of(value).map(Some) }).collect()
    }
    fn boxed<'a, T: ToSql + Sync + Send + 'a>(values: Option<Vec<Option<T>>>) -> Option<Param<'a>> {
        values.map(|values| Box::new(values) as Param<'a>)
    }
    let int = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
    let bound = match &column.ty {
        ColumnType::Bool => boxed(each(values, |value| if let Value::Bool(flag) = value { Some(*flag) } else { None })),
        ColumnType::Int2 => boxed(each(values, |value| int(value).and_then(|number| i16::try_from(number).ok()))),
        ColumnType::Int4 => boxed(each(values, |value| int(value).and_then(|number| i32::try_from(number).ok()))),
        ColumnType::Int8 => boxed(each(values, int)),
        ColumnType::Float8 => boxed(each(values, |value| if let Value::Float(real) = value { Some(real.get()) } else { None })),
        ColumnType::Uuid => boxed(each(values, |value| if let Value::Uuid(id) = value { Some(*id) } else { None })),
        ColumnType::Bytea => boxed(each(values, |value| if let Value::Bytes(bytes) = value { Some(bytes.as_slice()) } else { None })),
        ty => boxed(each(values, |value| Some(ty.postgres_text(value)))),
    };
    bound.ok_or_else(|| StoreError::Corrupt(format!("a value for {} is not {}", column.name, column.ty.describe())))
}

/// Binds keys: one array for each key column.
///
/// # Errors
/// As [`array`]; a key has another number of values than the table has key columns.
pub(crate) fn key_arrays<'a>(table: &Table, keys: impl Iterator<Item = &'a Key> + Clone) -> Result<Vec<Param<'a>>, StoreError> {
    if let Some(key) = keys.clone().find(|key| key.0.len() != table.key.len()) {
        return Err(StoreError::Corrupt(format!("{key} is no key of {}", table.name)));
    }
    table.key_columns().enumerate().map(|(at, column)| array(column, keys.clone().map(move |key| &key.0[at]))).collect()
}

/// Bytes of a value on the wire, roughly.
pub(crate) fn wire_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 9,
        Value::Text(text) => text.len() + 3,
        Value::Bytes(bytes) => bytes.len() + 3,
        Value::Uuid(_) => 18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_quoted_whatever_it_holds() {
        assert_eq!(quote(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
    }
}
