//! The seats of a stored push: which row here stands at which place of it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};
use sync_core::catalog::Table;
use sync_core::change::{Op, RowChange};
use sync_core::id::{ColumnNo, ConflictId, Key, PushNo, TableNo};
use sync_core::wire::message::Push;

use super::error::Result;
use super::hidden;
use super::plan::{Plan, TableSql};
use super::rows::{Bound, base_table, key_condition, quoted, read_key};

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
    /// The key columns of the push's tables as they were then.
    #[serde(default)]
    pub key_columns: Vec<(TableNo, Vec<ColumnNo>)>,
    /// The keys of today, by place in the push, of rows whose table was migrated since.
    #[serde(default)]
    pub keys: Vec<(usize, Key)>,
}

impl Seats {
    /// The key under which the cloud knows the row at a place of its push.
    #[must_use]
    pub fn key<'a>(&'a self, at: usize, change: &'a RowChange) -> &'a Key {
        let then = if let Op::Rekey(old, _) = &change.op { old } else { &change.key };
        self.keys.iter().find(|(seat, _)| *seat == at).map_or(then, |(_, key)| key)
    }
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

/// The `rejoin_row` of the dirty row of a key that is in a push.
///
/// # Errors
/// The database.
pub fn by_key(connection: &Connection, table: &Table, no: PushNo, key: &Key) -> Result<Option<i64>> {
    // The table may have another key by now.
    if table.engine || key.0.len() != table.key.len() {
        return Ok(None);
    }
    let (base, wanted) = (base_table(table), key_condition(table, "", 1));
    let sql = format!("SELECT rejoin_row FROM {base} WHERE {wanted} AND rejoin_push_no = ?{} LIMIT 1", key.0.len() + 1);
    let values: Vec<Bound<'_>> = key.0.iter().map(Bound).collect();
    let params = values.iter().map(|value| value as &dyn rusqlite::ToSql).chain([&no.0 as &dyn rusqlite::ToSql]);
    Ok(connection.prepare_cached(&sql)?.query_row(params_from_iter(params), |row| row.get(0)).optional()?)
}

/// The key of today under which the cloud knows a dirty row.
///
/// # Errors
/// The database.
pub fn key_of_today(connection: &Connection, table: &Table, rejoin_row: i64) -> Result<Option<Key>> {
    let names: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE rejoin_row = ?1", names.join(", "), base_table(table));
    let key = connection.prepare_cached(&sql)?.query_row([rejoin_row], |row| Ok(read_key(table, row, 0).ok())).optional()?;
    Ok(key.flatten().filter(|key: &Key| key.0.iter().all(|value| !value.is_null())))
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
