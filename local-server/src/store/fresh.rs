//! The first sync: tables that are empty take rows as they come, without secondary indexes, which are built at the end.

use std::collections::HashMap;

use rusqlite::Connection;
use sync_core::catalog::Table;
use sync_core::id::TableNo;

use super::error::Result;
use super::plan::{Plan, TableSql};
use super::rows::quoted;
use super::schema;

/// The tables that were empty when an apply began.
pub(super) struct Fresh<'a> {
    connection: &'a Connection,
    /// Whether each is loaded, that is, has lost its secondary indexes for now.
    tables: HashMap<TableNo, bool>,
    /// What to build at the end.
    indexes: Vec<String>,
}

impl<'a> Fresh<'a> {
    /// From so many rows on, rebuilding the indexes costs less than keeping them.
    pub(super) const WORTH: usize = 1_000;

    pub(super) fn new(connection: &'a Connection, plan: &Plan) -> Result<Self> {
        let mut tables = HashMap::new();
        for (table, sql) in plan.parents_first() {
            let Some(dirty) = &sql.dirty else { continue };
            let any = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, bool>(0));
            if !any(&sql.any_live)? && !any(&dirty.any_base)? && !any(&dirty.any_theirs)? {
                tables.insert(table.no, false);
            }
        }
        Ok(Self { connection, tables, indexes: Vec::new() })
    }

    /// Whether rows of this table can be written as they come. A table that takes few rows first does not stay fresh.
    pub(super) fn takes(&mut self, table: &Table, _sql: &TableSql, many: bool) -> Result<bool> {
        match self.tables.get(&table.no) {
            None => return Ok(false),
            Some(true) => return Ok(true),
            Some(false) if !many => {
                self.tables.remove(&table.no);
                return Ok(false);
            }
            Some(false) => {}
        }
        self.tables.insert(table.no, true);
        for (name, sql) in schema::indexes(table) {
            // The key's stays: an image that comes twice must find itself. Those of base and theirs cover nothing yet.
            if !name.starts_with("rejoin_key_") && sql.contains(&format!(" ON {} ", super::rows::live_table(table))) {
                self.connection.execute_batch(&format!("DROP INDEX IF EXISTS {}", quoted(&name)))?;
                self.indexes.push(sql);
            }
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<()> {
        for sql in self.indexes {
            self.connection.execute_batch(&sql)?;
        }
        Ok(())
    }
}
