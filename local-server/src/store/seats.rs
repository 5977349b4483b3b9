//! The seats of a stored push: which row here stands at which place of it.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use sync_core::catalog::Table;
use sync_core::id::{ColumnNo, ConflictId, PushNo, TableNo};
use sync_core::wire::message::Push;

use super::error::Result;
use super::hidden;
use super::plan::{Plan, TableSql};
use super::rows::base_table;

/// Which row stands at which place of a stored push.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// For each row of the push, in order.
    pub rows: Vec<Seat>,
    /// For each command.
    pub commands: Vec<ConflictId>,
    /// The columns of the push's tables as they were then: what the answer's rows are made of.
    #[serde(default)]
    pub columns: Vec<(TableNo, Vec<ColumnNo>)>,
    /// Columns that stand here under another number than in the push.
    #[serde(default)]
    pub aliases: Vec<Alias>,
}

/// A column of a pushed row that has another number here: hidden, since the cloud's column of that number has another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The row's place in the push.
    pub seat: usize,
    /// The number in the push.
    pub there: ColumnNo,
    /// The number here.
    pub here: ColumnNo,
}

/// One row of a stored push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seat {
    /// A dirty row, by its `rejoin_row`.
    Row(i64),
    /// A later edit, by its record id.
    Later(String),
}

/// Where a row of a push stands here: in the table of its number, or hidden beside it where that one was made anew.
///
/// # Errors
/// The database.
pub fn holder<'p>(
    connection: &Connection,
    plan: &'p Plan,
    no: PushNo,
    table: TableNo,
    rejoin_row: i64,
) -> Result<Option<(&'p Table, &'p TableSql)>> {
    for hidden in plan.catalog.tables.iter().filter(|one| one.no != table && hidden::wire_table(one.no) == table) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE rejoin_row = ?1 AND rejoin_push_no = ?2)", base_table(hidden));
        if connection.prepare_cached(&sql)?.query_row(params![rejoin_row, no.0], |row| row.get(0))? {
            return Ok(plan.table(hidden.no));
        }
    }
    Ok(plan.table(table))
}

/// Takes all rows of a push out of it, wherever they stand by now: one that was deleted and inserted again has another `rejoin_row`.
///
/// # Errors
/// The database.
pub fn free(connection: &Connection, plan: &Plan, push: &Push) -> Result<()> {
    let pushed: BTreeSet<TableNo> = push.rows.iter().map(|row| row.table).collect();
    for table in plan.catalog.tables.iter().filter(|table| !table.engine && pushed.contains(&hidden::wire_table(table.no))) {
        let sql = format!("UPDATE {} SET rejoin_push_no = NULL WHERE rejoin_push_no = ?1", base_table(table));
        connection.prepare_cached(&sql)?.execute([push.no.0])?;
    }
    Ok(())
}
