//! The columns in which a site's rows hold what the site made of them when the schema moved: of a new one what the catalog says, of one with
//! another type what PostgreSQL would make by itself. A default that differs by row, or a migration's own `USING`, may have made something else.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::TableNo;
use sync_core::site::Made;

use super::convert::differs;
use crate::store::error::{Result, StoreError};
use crate::store::hidden::is_hidden;
use crate::store::identity;

/// The fact that keeps them, as JSON.
const MADE: &str = "made_columns";

/// Adds those of a move to the ones before: how far the cloud has fed its rows nobody knows here. Rows of a table of a new generation may have
/// been changed by what nothing noticed.
pub(super) fn note(connection: &Connection, before: &Catalog, after: &Catalog) -> Result<()> {
    let mut made = columns(connection)?;
    for table in after.tables.iter().filter(|table| !table.engine) {
        let Some(old) = before.table(table.no) else { continue };
        let known = made.entry(table.no).or_default();
        if table.generation > old.generation {
            known.clear();
            continue;
        }
        for column in table.columns.iter().filter(|column| !table.key.contains(&column.no)) {
            let Some(now) = of_move(old, column) else { continue };
            match known.iter_mut().find(|made| made.column == column.no) {
                Some(before) => before.new &= now.new,
                None => known.push(now),
            }
        }
    }
    made.retain(|no, columns| !columns.is_empty() && after.table(*no).is_some());
    let body = serde_json::to_string(&made).map_err(|error| StoreError::Stored(error.to_string()))?;
    Ok(identity::set_fact(connection, MADE, &body)?)
}

fn of_move(old: &Table, now: &Column) -> Option<Made> {
    let was = old.columns.iter().find(|was| was.no == now.no && !is_hidden(was));
    let made = was.is_none_or(|was| differs(was, now));
    made.then_some(Made { column: now.no, new: was.is_none() })
}

/// Those of each table.
///
/// # Errors
/// The database.
pub(crate) fn columns(connection: &Connection) -> Result<BTreeMap<TableNo, Vec<Made>>> {
    let Some(body) = identity::fact(connection, MADE)? else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&body).map_err(|error| StoreError::Stored(error.to_string()))
}
