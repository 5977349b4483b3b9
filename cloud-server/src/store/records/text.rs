//! Rows by PostgreSQL's text forms, a few at a time: what the API reads and writes. (Pushes and pulls move rows in bulk: see `row`.)

use conflict_ui_api::backend::{Place, Record};
use sync_core::catalog::{Column, Table};
use sync_core::change::Stamp;
use sync_core::id::Key;
use sync_core::value::{ColumnType, Value, timestamp_text};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::store::error::StoreError;

/// An SQL identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table with its schema.
pub(super) fn table_sql(table: &Table) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// A query under construction: every value is bound as text and cast, no value ever stands in the SQL.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) sql: String,
    params: Vec<Param>,
}

#[derive(Debug)]
enum Param {
    One(Option<String>),
    Many(Vec<Option<String>>),
}

impl Query {
    /// Binds a value; the expression that has it, of the column's type.
    pub(super) fn bind(&mut self, column: &Column, value: &Value) -> String {
        match column.ty {
            // One dimension, elements by their text forms; NULL stays NULL.
            ColumnType::Array(_) if value.is_null() => "NULL".to_owned(),
            ColumnType::Array(_) => {
                let array = self.bind_as(value, "jsonb");
                format!("ARRAY(SELECT jsonb_array_elements_text({array}))::{}", column.sql_type)
            }
            _ => self.bind_as(value, &column.sql_type),
        }
    }

    /// Binds a value as another type.
    pub(super) fn bind_as(&mut self, value: &Value, sql_type: &str) -> String {
        self.params.push(Param::One(text_of(value)));
        format!("${}::text::{sql_type}", self.params.len())
    }

    /// Binds a text.
    pub(super) fn bind_text(&mut self, text: &str) -> String {
        self.params.push(Param::One(Some(text.to_owned())));
        format!("${}::text", self.params.len())
    }

    /// The condition that these columns of `t` have the values of one of `rows`.
    pub(super) fn any_of(&mut self, columns: &[&Column], rows: &[Vec<Value>]) -> String {
        let mut bind = |at: usize| {
            self.params.push(Param::Many(rows.iter().map(|row| row.get(at).and_then(text_of)).collect()));
            format!("${}::text[]", self.params.len())
        };
        if let [column] = columns {
            return format!("t.{} = ANY ({}::{}[])", quote(&column.name), bind(0), column.sql_type);
        }
        let names: Vec<_> = columns.iter().map(|column| format!("t.{}", quote(&column.name))).collect();
        let arrays: Vec<_> = (0..columns.len()).map(bind).collect();
        let aliases: Vec<_> = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let casts: Vec<_> = columns.iter().zip(&aliases).map(|(column, alias)| format!("u.{alias}::{}", column.sql_type)).collect();
        format!(
            "({}) IN (SELECT {} FROM unnest({}) AS u({}))",
            names.join(", "),
            casts.join(", "),
            arrays.join(", "),
            aliases.join(", ")
        )
    }

    /// The condition that `t` is the row of this key.
    pub(super) fn is_key(&mut self, table: &Table, key: &Key) -> String {
        let columns = table.key_columns().zip(&key.0);
        let conditions: Vec<_> =
            columns.map(|(column, value)| format!("t.{} = {}", quote(&column.name), self.bind(column, value))).collect();
        conditions.join(" AND ")
    }

    /// What the driver takes.
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params
            .iter()
            .map(|param| match param {
                Param::One(text) => text as &(dyn ToSql + Sync),
                Param::Many(texts) => texts as &(dyn ToSql + Sync),
            })
            .collect()
    }
}

fn text_of(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| value.to_text().into_owned())
}

/// The expression that reads a column of `t` in the form that [`read_column`] understands.
pub(super) fn column_sql(column: &Column) -> String {
    match column.ty {
        ColumnType::Array(_) => format!("to_jsonb(t.{})::text", quote(&column.name)),
        _ => format!("t.{}::text", quote(&column.name)),
    }
}

/// Reads one column of a row.
pub(super) fn read_column(table: &Table, column: &Column, row: &Row, at: usize) -> Result<Value, StoreError> {
    let Some(text) = row.try_get::<_, Option<&str>>(at)? else { return Ok(Value::Null) };
    column.ty.parse(text).map_err(|error| StoreError::Corrupt(format!("{}.{}: {error}", table.name, column.name)))
}

/// What to select of each row `t` for [`read_record`].
pub(super) fn record_sql(table: &Table) -> String {
    let mut list: Vec<_> = table.columns.iter().map(column_sql).collect();
    let stamps = &table.stamps;
    list.push(format!("t.{}::bigint", quote(&stamps.version)));
    list.push(format!("t.{}::timestamptz", quote(&stamps.updated_at)));
    list.push(format!("t.{}::text", quote(&stamps.last_modified_by)));
    list.push(format!("t.{}::timestamptz", quote(&stamps.synced_at)));
    list.push("t.rejoin_scope".to_owned());
    list.join(", ")
}

/// A record with its scope.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) scope: String,
}

/// Reads what [`record_sql`] selects.
pub(super) fn read_record(table: &Table, row: &Row) -> Result<Stored, StoreError> {
    let columns = table.columns.iter().enumerate().map(|(at, column)| read_column(table, column, row, at));
    let values = columns.collect::<Result<Vec<_>, _>>()?;
    let at = table.columns.len();
    let stamp = Stamp {
        version: row.try_get(at)?,
        updated_at: timestamp_text(row.try_get(at + 1)?),
        modified_by: row.try_get(at + 2)?,
        synced_at: row.try_get::<_, Option<_>>(at + 3)?.map(timestamp_text),
    };
    Ok(Stored { record: Record { row: values, stamp, place: Place::Cloud }, scope: row.try_get(at + 4)? })
}
