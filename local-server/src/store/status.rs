//! How the sync stands, from the site's own tables.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{LogQuery, LostProgram, NumbersLeft, OneWay, RunSummary, SyncStatus};
use rusqlite::{Connection, Row, params};
use sync_core::catalog::{Catalog, Travel};
use sync_core::id::RunId;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::message::Run;
use uuid::Uuid;

use crate::daemon::DaemonStatus;
use crate::store::apply::LAST_CHECKED;
use crate::store::error::Result;
use crate::store::leases::Stock;
use crate::store::motion::astray;
use crate::store::{conflicts, hidden, identity, leases, outbox};

/// The status, with what the daemon says of itself.
///
/// # Errors
/// The database.
pub fn status(connection: &Connection, catalog: Option<Arc<Catalog>>, server: String, daemon: DaemonStatus) -> Result<SyncStatus> {
    let dirty = catalog
        .clone()
        .map(|catalog| hidden::plan(connection, catalog).and_then(|plan| outbox::pending(connection, &plan)))
        .transpose()?
        .unwrap_or_default();
    let numbers = catalog.as_deref().map(|catalog| numbers(connection, catalog)).transpose()?.unwrap_or_default();
    let one_way = catalog.as_deref().map(one_way).unwrap_or_default();
    let checked = identity::fact(connection, LAST_CHECKED)?;
    let last = log(connection, &LogQuery { server: Some(server.clone()), after: None, limit: 1 })?.pop();
    Ok(SyncStatus {
        server,
        online: daemon.online,
        paused: daemon.paused,
        running: daemon.running,
        pending: dirty.rows,
        oldest_pending_at: dirty.oldest.as_deref().and_then(time),
        held: dirty.held,
        conflicts: conflicts::pending(connection)?,
        last_checked_at: checked.as_deref().and_then(time),
        last_run: last.map(|run| RunSummary { id: run.id, status: run.status, completed_at: run.completed_at.as_deref().and_then(time) }),
        next_attempt_at: daemon.next_attempt_at,
        last_error: daemon.last_error,
        numbers,
        one_way,
        lost_programs: lost_programs(connection)?,
    })
}

/// What was made again under its name since is no longer told of.
fn lost_programs(connection: &Connection) -> Result<Vec<LostProgram>> {
    let sql = "SELECT name, kind, body, why, at FROM rejoin_lost_programs WHERE name NOT IN (SELECT name FROM sqlite_schema) ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let at = row.get::<_, String>(4)?;
        Ok(LostProgram { name: row.get(0)?, kind: row.get(1)?, sql: row.get(2)?, why: row.get(3)?, at: time(&at) })
    })?;
    let mut lost: Vec<LostProgram> = rows.collect::<rusqlite::Result<_>>()?;
    if lost.iter().any(|one| one.kind == astray::KIND) {
        let still = astray::names(connection)?;
        lost.retain(|one| one.kind != astray::KIND || still.contains(&one.name));
    }
    Ok(lost)
}

fn one_way(catalog: &Catalog) -> Vec<OneWay> {
    let limited = catalog.tables.iter().filter(|table| !table.engine && (table.travel != Travel::Both || table.keep_hours.is_some()));
    limited.map(|table| OneWay { table: table.path.clone(), travel: table.travel, keep_hours: table.keep_hours }).collect()
}

fn numbers(connection: &Connection, catalog: &Catalog) -> Result<Vec<NumbersLeft>> {
    let left = |stock: &Stock<'_>| NumbersLeft {
        table: stock.table.path.clone(),
        column: stock.column.name.clone(),
        left: stock.left,
        of: stock.table.lease_size().into(),
    };
    Ok(leases::stock(connection, catalog)?.iter().map(left).collect())
}

/// Runs, newest first.
///
/// # Errors
/// The database.
pub fn log(connection: &Connection, query: &LogQuery) -> Result<Vec<Run>> {
    let sql = "SELECT id, sync_direction, started_at, completed_at, status, records_synced, conflicts_detected, errors, server_id, \
                      bytes_up, bytes_down, cursors_before, cursors_after FROM sync_log \
               WHERE (?1 IS NULL OR server_id = ?1) \
                 AND (?2 IS NULL OR (started_at, id) < (SELECT a.started_at, a.id FROM sync_log a WHERE a.id = ?2)) \
               ORDER BY started_at DESC, id DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let runs = statement.query_map(params![query.server, query.after.map(|id| id.to_string()), limit], run_of)?;
    Ok(runs.collect::<rusqlite::Result<_>>()?)
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(Uuid::try_parse(&row.get::<_, String>(0)?).unwrap_or_default()),
        direction: Direction::from_name(&row.get::<_, String>(1)?).unwrap_or(Direction::Bidirectional),
        started_at: row.get(2)?,
        completed_at: row.get(3)?,
        status: RunStatus::from_name(&row.get::<_, String>(4)?).unwrap_or(RunStatus::Failed),
        records_synced: row.get(5)?,
        conflicts_detected: row.get(6)?,
        errors: row.get(7)?,
        server_id: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        bytes_up: row.get(9)?,
        bytes_down: row.get(10)?,
        cursors_before: row.get(11)?,
        cursors_after: row.get(12)?,
    })
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}
