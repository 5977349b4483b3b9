//! What a migration left open, done once the feed has brought what was missing.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sync_core::catalog::{Column, Table};
use sync_core::id::{ColumnNo, TableNo};

use super::cells::Cell;
use super::convert::Converters;
use super::names::Before;
use super::{Motion, programs};
use crate::store::error::Result;
use crate::store::hidden;
use crate::store::plan::Plan;
use crate::store::rows::{base_table, live_table, quoted};
use crate::store::{identity, install};

/// Notes that a column's NOT NULL waits; of column 0, that clean rows are held.
pub(super) fn wait(connection: &Connection, table: TableNo, column: ColumnNo) -> Result<()> {
    connection.execute("INSERT OR IGNORE INTO rejoin_unsettled (table_no, column_no) VALUES (?1, ?2)", (table.0, column.0))?;
    Ok(())
}

/// What waits.
pub(super) fn waiting(connection: &Connection) -> Result<Vec<(TableNo, ColumnNo)>> {
    let mut statement = connection.prepare_cached("SELECT table_no, column_no FROM rejoin_unsettled ORDER BY 1, 2")?;
    let rows = statement.query_map([], |row| Ok((TableNo(row.get(0)?), ColumnNo(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn done(connection: &Connection, table: TableNo, column: ColumnNo) -> Result<()> {
    connection.execute("DELETE FROM rejoin_unsettled WHERE table_no = ?1 AND column_no = ?2", (table.0, column.0))?;
    Ok(())
}

/// Frees clean rows that are held and need not be, and declares NOT NULL where no row is without a value any more. `plan`: with what is
/// hidden.
///
/// # Errors
/// The database.
pub(crate) fn settle(connection: &Connection, plan: &Plan) -> Result<()> {
    forget_unknown(connection, plan)?;
    let waiting = waiting(connection)?;
    let mut tight: BTreeMap<TableNo, Vec<ColumnNo>> = BTreeMap::new();
    for (no, column_no) in &waiting {
        let Some((table, _)) = plan.table(*no) else {
            done(connection, *no, *column_no)?;
            continue;
        };
        match table.column(*column_no) {
            None if column_no.0 == 0 => free(connection, table)?,
            None => done(connection, *no, *column_no)?,
            Some(column) => {
                if !any_empty(connection, table, column)? {
                    tight.entry(*no).or_default().push(*column_no);
                }
            }
        }
    }
    let Some(site) = identity::fact(connection, "site_name")?.filter(|_| !tight.is_empty()) else { return Ok(()) };
    tighten(connection, plan, &waiting, &tight, &site)
}

/// Whether a row has no value in a column. Those that were edited here may wait for long, so they, which are few, are asked before all.
fn any_empty(connection: &Connection, table: &Table, column: &Column) -> Result<bool> {
    let (live, empty) = (live_table(table), format!("l.{} IS NULL", quoted(&column.name)));
    let any = |from: &str| connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {from} WHERE {empty})"), [], |row| row.get(0));
    if !table.engine && any(&format!("{} b CROSS JOIN {live} l ON l.rejoin_row = b.rejoin_row", base_table(table)))? {
        return Ok(true);
    }
    Ok(any(&format!("{live} l"))?)
}

fn free(connection: &Connection, table: &Table) -> Result<()> {
    let live = live_table(table);
    let dirty = if table.engine { String::new() } else { format!(" AND rejoin_row NOT IN (SELECT rejoin_row FROM {})", base_table(table)) };
    connection.execute(&format!("UPDATE OR IGNORE {live} SET rejoin_held = 0 WHERE rejoin_held = 1{dirty}"), [])?;
    let left = format!("SELECT EXISTS (SELECT 1 FROM {live} WHERE rejoin_held = 1{dirty})");
    if !connection.query_row(&left, [], |row| row.get::<_, bool>(0))? {
        done(connection, table.no, ColumnNo(0))?;
    }
    Ok(())
}

fn tighten(
    connection: &Connection,
    plan: &Plan,
    waiting: &[(TableNo, ColumnNo)],
    tight: &BTreeMap<TableNo, Vec<ColumnNo>>,
    site: &str,
) -> Result<()> {
    let programs = programs::set_aside(connection)?;
    programs::drop_ours(connection)?;
    let (converters, catalog) = (Converters::new(connection), hidden::visible(&plan.catalog));
    let motion = Motion { connection, converters: &converters, after: &catalog, site, stored: hidden::Stored::new(), waiting: Vec::new() };
    for (no, columns) in tight {
        let Some((table, _)) = plan.table(*no) else { continue };
        let waits = |column: &&Column| waiting.contains(&(*no, column.no)) && !columns.contains(&column.no);
        let relaxed = |column: &Column| Column { not_null: column.not_null && !waits(&column), ..column.clone() };
        let cells: Vec<Cell> = table.columns.iter().map(|column| Cell { column: relaxed(column), ..Cell::as_it_is(column) }).collect();
        let interim = Before::interim(*no).live;
        connection.execute_batch(&format!("ALTER TABLE {} RENAME TO {interim}", live_table(table)))?;
        let before = Before { live: interim.clone(), ..Before::in_place(table) };
        motion.live(&before, table, table, &cells)?;
        connection.execute_batch(&format!("ALTER TABLE {interim} RENAME TO {}", live_table(table)))?;
        columns.iter().try_for_each(|column| done(connection, *no, *column))?;
        tracing::info!(table = table.name, "every row has a value now; NOT NULL is declared");
    }
    programs.put_back(connection, &[])?;
    install::refresh(connection, &catalog, site)
}

/// What is not known of a base image is forgotten with it.
fn forget_unknown(connection: &Connection, plan: &Plan) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT table_no FROM rejoin_unknown")?;
    let tables: Vec<u32> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for no in tables {
        let base = plan.table(TableNo(no)).map(|(table, _)| base_table(table));
        let rest = base.map(|base| format!(" AND rejoin_row NOT IN (SELECT rejoin_row FROM {base})")).unwrap_or_default();
        connection.execute(&format!("DELETE FROM rejoin_unknown WHERE table_no = ?1{rest}"), [no])?;
    }
    Ok(())
}
