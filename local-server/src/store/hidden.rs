//! Columns and tables that the cloud no longer has, or has with another type or key, kept out of sight as long as an unsent edit is of them.
//!
//! To the sync a hidden column is a column like any other: `extend` puts it back into the catalog, so that the edit is cut, pushed and answered
//! as any edit, and parks at the cloud. In the file it is `rejoin_hidden_<no>`, NULL but in the rows (live and base) whose edit is of it; so
//! neither the capture triggers nor what a program inserts need to know it. Of a hidden table, `rejoin_hidden_table_<no>`, only the dirty
//! rows are left. [`tidy`] removes both once nothing waits any more.
//!
//! What is still there beside the hidden one (the column with its new type, the table with its new key) keeps the number; the hidden one has
//! a number of its own here ([`free`]), and goes over the wire under the one it had ([`wire`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::change::{Edit, Op, RowChange};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::policy::Policy;
use sync_core::value::Value;

use super::error::Result;
use super::motion;
use super::plan::Plan;
use super::rows::{base_table, live_table, quoted, theirs_table};

/// How the names of hidden columns and tables begin.
const PREFIX: &str = "rejoin_hidden_";

/// Whether a column of an extended catalog is hidden.
#[must_use]
pub fn is_hidden(column: &Column) -> bool {
    column.name.starts_with(PREFIX)
}

/// Whether a table of an extended catalog is hidden.
#[must_use]
pub fn is_hidden_table(table: &Table) -> bool {
    table.name.starts_with(PREFIX)
}

/// From here on numbers are those of hidden columns and tables beside which there is another one of the same number.
const COPY: u32 = 1 << 20;

/// The number under which the cloud knows, or knew, a column.
#[must_use]
pub fn wire(no: ColumnNo) -> ColumnNo {
    ColumnNo(no.0 % COPY)
}

/// The number under which the cloud knows, or knew, a table.
#[must_use]
pub fn wire_table(no: TableNo) -> TableNo {
    TableNo(no.0 % COPY)
}

/// The number under which something of this number is hidden, given those that are taken.
#[must_use]
pub fn free(no: u32, taken: &dyn Fn(u32) -> bool) -> u32 {
    let mut free = no % COPY;
    while taken(free) {
        free += COPY;
    }
    free
}

/// A column as it is hidden under this number.
pub(super) fn hide_column(column: &Column, no: ColumnNo) -> Column {
    let name = format!("{PREFIX}{no}");
    Column { no, name, not_null: false, default: None, max_length: None, policy: Policy::Manual, ..column.clone() }
}

/// A table as it is hidden under this number.
pub(super) fn hide_table(table: &Table, no: TableNo) -> Table {
    let columns = table.columns.iter().map(|column| Column { policy: Policy::Manual, not_null: false, default: None, ..column.clone() });
    Table {
        no,
        schema: "public".to_owned(),
        name: format!("{PREFIX}table_{no}"),
        columns: columns.collect(),
        uniques: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        groups: Vec::new(),
        ..table.clone()
    }
}

/// The plan of a catalog with what is hidden.
///
/// # Errors
/// The database.
pub fn plan(connection: &Connection, catalog: Arc<Catalog>) -> Result<Plan> {
    let extended = extended(connection, &catalog)?;
    Ok(Plan::new(extended.map_or(catalog, Arc::new)))
}

/// The catalog with what is hidden; `None` where nothing is.
///
/// # Errors
/// The database.
pub fn extended(connection: &Connection, catalog: &Catalog) -> Result<Option<Catalog>> {
    let hidden = stored(connection)?;
    Ok((!hidden.is_empty()).then(|| extend(catalog, &hidden)))
}

/// What is hidden: tables (under column number 0) and columns, as the last catalog had them that did, as JSON.
pub(super) type Stored = BTreeMap<(TableNo, ColumnNo), String>;

/// Reads what is hidden.
pub(super) fn stored(connection: &Connection) -> Result<Stored> {
    let mut statement = connection.prepare_cached("SELECT table_no, column_no, body FROM rejoin_hidden")?;
    let rows = statement.query_map([], |row| Ok(((TableNo(row.get(0)?), ColumnNo(row.get(1)?)), row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A catalog with what is hidden.
pub(super) fn extend(catalog: &Catalog, hidden: &Stored) -> Catalog {
    let mut extended = catalog.clone();
    for ((no, column_no), body) in hidden {
        if column_no.0 == 0 {
            if let Ok(table) = serde_json::from_str::<Table>(body) {
                extended.tables.push(hide_table(&table, *no));
            }
        } else if let Some(table) = extended.tables.iter_mut().find(|known| known.no == *no)
            && let Ok(column) = serde_json::from_str::<Column>(body)
        {
            table.columns.push(hide_column(&column, *column_no));
            table.columns.sort_by_key(|column| column.no);
        }
    }
    extended.tables.sort_by_key(|table| table.no);
    extended
}

/// A catalog without what is hidden in it.
pub(super) fn visible(extended: &Catalog) -> Catalog {
    let mut catalog = extended.clone();
    catalog.tables.retain(|table| !is_hidden_table(table));
    catalog.tables.iter_mut().for_each(|table| table.columns.retain(|column| !is_hidden(column)));
    catalog
}

/// Leaves out of a change what it does not say of hidden columns.
pub fn strip(table: &Table, change: &mut RowChange) {
    if !table.columns.iter().any(is_hidden) {
        return;
    }
    let hidden = |no: ColumnNo| table.column(no).is_some_and(is_hidden);
    match &mut change.op {
        Op::Insert(values) => values.retain(|(no, value): &(ColumnNo, Value)| !hidden(*no) || !value.is_null()),
        Op::Delete(values) => values.retain(|(no, _)| !hidden(*no)),
        Op::Update(edits) | Op::Rekey(_, edits) => edits.retain(|edit: &Edit| !hidden(edit.column) || edit.base != edit.new),
    }
}

/// Gives a change the numbers that the cloud knows, and says which column stands here for which. What was typed since into the column that
/// is there counts before the hidden edit of it, which stays and goes with a later push.
pub fn to_wire(change: &mut RowChange) -> Vec<(ColumnNo, ColumnNo)> {
    change.table = wire_table(change.table);
    let hidden: Vec<ColumnNo> = change.values().map(|(no, _)| no).filter(|no| wire(*no) != *no).collect();
    let mut renamed: Vec<(ColumnNo, ColumnNo)> = Vec::new();
    for here in hidden {
        let there = wire(here);
        let insert = matches!(change.op, Op::Insert(_));
        let typed = |value: &Value| if insert { !value.is_null() } else { change.gives(there) };
        let taken = change.values().any(|(no, value)| no == there && typed(value)) || renamed.iter().any(|(known, _)| *known == there);
        match &mut change.op {
            Op::Insert(values) | Op::Delete(values) => {
                values.retain(|(no, _)| *no != if taken { here } else { there });
                values.iter_mut().filter(|(no, _)| *no == here).for_each(|(no, _)| *no = there);
                values.sort_by_key(|(no, _)| *no);
            }
            Op::Update(edits) | Op::Rekey(_, edits) => {
                edits.retain(|edit| edit.column != if taken { here } else { there });
                edits.iter_mut().filter(|edit| edit.column == here).for_each(|edit| edit.column = there);
                edits.sort_by_key(|edit| edit.column);
            }
        }
        if !taken {
            renamed.push((there, here));
        }
    }
    renamed
}

/// A row that is clean from now on: what is accepted with its hidden columns is nobody's edit any more.
pub(super) fn clear(table: &Table, row: &mut [Value]) {
    table.columns.iter().zip(row).filter(|(column, _)| is_hidden(column)).for_each(|(_, value)| *value = Value::Null);
}

/// Removes what is hidden and of which no edit waits any more; whether anything was, so that the plan must be made anew.
///
/// # Errors
/// The database.
pub fn tidy(connection: &Connection, plan: &Plan) -> Result<bool> {
    motion::settle(connection, plan)?;
    let mut removed = false;
    for table in plan.catalog.tables.iter().filter(|table| !table.engine) {
        let (base, theirs, live) = (base_table(table), theirs_table(table), live_table(table));
        let any = |sql: &str| connection.query_row(&format!("SELECT EXISTS ({sql})"), [], |row| row.get::<_, bool>(0));
        if is_hidden_table(table) {
            if !any(&format!("SELECT 1 FROM {base} WHERE rejoin_row > 0"))? {
                connection.execute_batch(&format!("DROP TABLE {live}; DROP TABLE {base}; DROP TABLE {theirs}"))?;
                connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1", [table.no.0])?;
                removed = true;
            }
            continue;
        }
        for column in table.columns.iter().filter(|column| is_hidden(column)) {
            let name = quoted(&column.name);
            let waits = format!(
                "SELECT 1 FROM {base} b JOIN {live} l ON l.rejoin_row = b.rejoin_row
                 WHERE b.rejoin_kind = 'change' AND l.{name} IS NOT b.{name} OR b.rejoin_kind = 'insert' AND l.{name} IS NOT NULL"
            );
            if any(&waits)? {
                continue;
            }
            // SQLite drops no column while anything in the file does not work.
            let programs = motion::programs::set_aside(connection)?;
            for holder in [&live, &base, &theirs] {
                connection.execute_batch(&format!("ALTER TABLE {holder} DROP COLUMN {name}"))?;
            }
            programs.put_back(connection, &[])?;
            connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1 AND column_no = ?2", (table.no.0, column.no.0))?;
            tracing::info!(table = table.name, column = column.no.0, "a dropped column is gone here too");
            removed = true;
        }
    }
    Ok(removed)
}
