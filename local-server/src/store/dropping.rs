//! Scopes that the cloud no longer grants: their rows go once no edit of them waits any more.

use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::Table;
use sync_core::id::ScopeId;
use sync_core::limits::REFERENCE_DEPTH_MAX;
use sync_core::value::Value;

use super::cursors;
use super::entry;
use super::error::{Result, StoreError};
use super::plan::{Plan, TableSql};
use super::rows::{Bound, base_table, live_table};

/// Removes the rows of scopes that are being given up and of which nothing is dirty, and forgets those scopes.
///
/// # Errors
/// The database.
pub fn drop_scopes(connection: &Connection, plan: &Plan) -> Result<()> {
    let dropping = cursors::dropping(connection)?;
    if dropping.is_empty() {
        return Ok(());
    }
    let waiting = match dirty_scopes(connection, plan) {
        // Where a dirty row cannot be read, nobody knows where it belongs.
        Err(StoreError::Row(_)) => return Ok(()),
        other => other?,
    };
    for scope in dropping.iter().filter(|scope| !waiting.contains(scope)) {
        for table in &plan.catalog.tables {
            connection.execute(&format!("DELETE FROM {} WHERE rejoin_scope = ?1", live_table(table)), [&scope.0])?;
        }
        cursors::forget(connection, scope)?;
        tracing::info!(%scope, "the site no longer holds this scope; its rows are gone from here");
    }
    Ok(())
}

/// The scopes that some dirty row belongs to, was in, or refers to.
fn dirty_scopes(connection: &Connection, plan: &Plan) -> Result<Vec<ScopeId>> {
    let mut scopes = Vec::new();
    for (table, sql) in plan.parents_first() {
        let text = format!("SELECT rejoin_row FROM {} WHERE rejoin_row > 0", base_table(table));
        let rows: Vec<i64> = connection.prepare_cached(&text)?.query_map([], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
        for rejoin_row in rows {
            let Some(entry) = entry::by_row(connection, table, sql, rejoin_row)? else { continue };
            scopes.extend(entry.row.base.as_ref().and_then(|base| base.at.as_ref()).map(|at| at.scope.clone()));
            if let Some(live) = &entry.row.live {
                scopes.extend(live.at.as_ref().map(|at| at.scope.clone()));
                scopes.extend(table.own_scope(&table.key_of(&live.row)));
                referred(connection, plan, table, sql, &live.row, 0, &mut scopes)?;
            }
        }
    }
    scopes.sort();
    scopes.dedup();
    Ok(scopes)
}

/// The scopes of the rows that a row refers to, over new rows on to theirs.
fn referred(
    connection: &Connection,
    plan: &Plan,
    table: &Table,
    sql: &TableSql,
    row: &[Value],
    depth: usize,
    scopes: &mut Vec<ScopeId>,
) -> Result<()> {
    if depth >= REFERENCE_DEPTH_MAX {
        return Ok(());
    }
    for parent in &sql.parents {
        let Some((up, up_sql)) = plan.table(parent.table) else { continue };
        let Some(values) = table.referred(&parent.reference, up, row) else { continue };
        let found: Option<(Option<String>, i64)> = connection
            .prepare_cached(&parent.scope)?
            .query_row(params_from_iter(values.iter().map(Bound)), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((Some(scope), _)) => scopes.push(ScopeId(scope)),
            Some((None, rejoin_row)) => {
                if let Some(live) = entry::by_row(connection, up, up_sql, rejoin_row)?.and_then(|entry| entry.row.live) {
                    referred(connection, plan, up, up_sql, &live.row, depth + 1, scopes)?;
                }
            }
            None => {}
        }
    }
    Ok(())
}
