//! Values as they are shown. What no merge can read is shown as it stands: an edit that cannot be sent is the last one to be left out.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::value::{ColumnType, Value};

use crate::store::error::Result;
use crate::store::rows::from_sql;

/// A stored value: as its column reads it, where it does, and as JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    value: Option<Value>,
    pub(super) json: Json,
}

impl Cell {
    pub(super) fn read(ty: &ColumnType, stored: ValueRef<'_>) -> Self {
        match from_sql(ty, stored) {
            Ok(value) => Self { json: ty.to_json(&value), value: Some(value) },
            Err(_) => Self { value: None, json: raw(stored) },
        }
    }

    /// Whether it is the boolean true.
    pub(super) fn is_true(&self) -> bool {
        self.value == Some(Value::Bool(true))
    }

    fn key_value(&self) -> Value {
        self.value.clone().unwrap_or_else(|| Value::Text(self.json.as_str().map_or_else(|| self.json.to_string(), str::to_owned)))
    }
}

fn raw(stored: ValueRef<'_>) -> Json {
    match stored {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(bytes) => json!(String::from_utf8_lossy(bytes)),
        ValueRef::Blob(bytes) => json!(format!("\\x{}", hex::encode(bytes))),
    }
}

/// The record id of a row, as far as its key can be read.
pub(super) fn record_id(table: &Table, row: &[Cell]) -> String {
    Key(table.key_positions().map(|at| row[at].key_value()).collect()).to_string()
}

/// What tables and columns are called where edits are shown: as records name them, and what the schema no longer has by its last name.
pub(super) struct Names {
    catalog: HashMap<(TableNo, ColumnNo), String>,
}

impl Names {
    pub(super) fn of(connection: &Connection, catalog: &Catalog) -> Result<Self> {
        let mut names = HashMap::new();
        for table in &catalog.tables {
            for column in &table.columns {
                names.insert((table.no, column.no), catalog.field(table, column));
            }
        }
        let mut statement = connection.prepare_cached("SELECT table_no, column_no, body FROM rejoin_hidden")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: Json = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
            if let Some(name) = body.get("name").and_then(Json::as_str) {
                let (table, column) = (TableNo(row.get(0)?), ColumnNo(row.get(1)?));
                let name = if column.0 == 0 { name.to_owned() } else { catalog.api.case.apply(name) };
                names.insert((table, column), name);
            }
        }
        Ok(Self { catalog: names })
    }

    /// A table's name.
    pub(super) fn table(&self, table: &Table) -> String {
        self.catalog.get(&(table.no, ColumnNo(0))).cloned().unwrap_or_else(|| table.name.clone())
    }

    /// A column's name.
    pub(super) fn column(&self, table: &Table, column: &Column) -> String {
        self.catalog.get(&(table.no, column.no)).cloned().unwrap_or_else(|| column.name.clone())
    }

    /// `{"name":[base, local]}` of the columns for which there is a pair.
    pub(super) fn changes<'a>(&self, table: &'a Table, pair: impl Fn(usize, &'a Column) -> Option<[Json; 2]>) -> Json {
        let columns = table.columns.iter().enumerate();
        let pairs = columns.filter_map(|(at, column)| Some((self.column(table, column), json!(pair(at, column)?))));
        pairs.collect::<Map<String, Json>>().into()
    }
}
