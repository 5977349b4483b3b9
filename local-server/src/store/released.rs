//! Inserts held by a conflict, and what ends their waiting: the conflict's resolution arrives like any row.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};
use sync_core::catalog::{Table, Travel};
use sync_core::conflict::Resolution;
use sync_core::id::{ConflictId, ScopeId, Tick};
use sync_core::site::{Event, step};
use sync_core::value::Value;
use uuid::Uuid;

use super::entry;
use super::error::Result;
use super::plan::Plan;
use super::rows::{live_table, quoted};
use super::sync_writer::{Because, SyncWriter};

/// The name of the table of conflicts.
const CONFLICTS: &str = "sync_conflicts";

/// The table of conflicts, where the catalog has it.
#[must_use]
pub fn conflicts_table(plan: &Plan) -> Option<&Table> {
    plan.catalog.tables.iter().find(|table| table.engine && table.name == CONFLICTS)
}

/// The conflict of a row of `sync_conflicts`, if it is resolved.
#[must_use]
pub fn resolved(table: &Table, row: &[Value]) -> Option<ConflictId> {
    let value = |name: &str| table.columns.iter().position(|column| column.name == name).and_then(|at| row.get(at));
    match (value("id"), value("resolution")) {
        (Some(Value::Uuid(id)), Some(Value::Text(resolution))) if resolution != Resolution::Pending.as_str() => Some(ConflictId(*id)),
        _ => None,
    }
}

/// How a conflict that is here was resolved, if it was.
///
/// # Errors
/// The database.
pub fn resolution(connection: &Connection, plan: &Plan, conflict: ConflictId) -> Result<Option<Resolved>> {
    let Some(table) = conflicts_table(plan) else { return Ok(None) };
    let updated_at = quoted(&table.stamps.updated_at);
    let sql = format!("SELECT resolution, {updated_at} FROM {} WHERE id = ?1 AND resolution <> ?2", live_table(table));
    let cloud_wins = |resolution: String| resolution == Resolution::CloudWins.as_str();
    let pending = Resolution::Pending.as_str();
    let resolved = connection
        .prepare_cached(&sql)?
        .query_row((conflict.to_string(), pending), |row| Ok(Resolved { cloud_wins: cloud_wins(row.get(0)?), at: row.get(1)? }))
        .optional()?;
    Ok(resolved)
}

/// How and when a conflict was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Whether the site's row was not taken.
    cloud_wins: bool,
    at: String,
}

impl Resolved {
    /// What it is to the row that the conflict held: of a table that no pull brings, the row that was taken is the one that is here.
    #[must_use]
    pub fn event(&self, table: &Table) -> Event<'_> {
        if table.travel == Travel::Up && !self.cloud_wins { Event::Kept(&self.at) } else { Event::Released }
    }
}

/// Releases the rows that these conflicts held: what the cloud sent takes their place. Rows in an unanswered push are released by its answer.
///
/// # Errors
/// The database.
pub fn release(writer: &mut SyncWriter<'_>, resolved: &HashSet<ConflictId>, cursor: &dyn Fn(&ScopeId) -> Option<Tick>) -> Result<()> {
    if resolved.is_empty() {
        return Ok(());
    }
    let plan = writer.plan;
    // Children first, so that no held parent becomes a ghost for the sake of a child that goes with it.
    for (table, sql) in plan.parents_first().rev() {
        let Some(dirty) = &sql.dirty else { continue };
        let held: Vec<(i64, String)> = {
            let mut statement = writer.connection.prepare_cached(&dirty.held)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        for (rejoin_row, conflict) in held {
            let conflict = Uuid::try_parse(&conflict).ok().map(ConflictId).filter(|conflict| resolved.contains(conflict));
            let Some(conflict) = conflict else { continue };
            let Some(resolved) = resolution(writer.connection, plan, conflict)? else { continue };
            let Some(before) = entry::by_row(writer.connection, table, sql, rejoin_row)? else { continue };
            if before.row.base.as_ref().is_none_or(|base| base.in_flight) {
                continue;
            }
            let after = step(table, before.row.clone(), &resolved.event(table), cursor).row;
            writer.save(table, sql, &before, &after, Because::Step)?;
        }
    }
    Ok(())
}
