//! `sync_log` at the cloud: the runs that sites tell of.

use std::collections::HashSet;

use conflict_ui_api::backend::{LogQuery, RunSummary};
use deadpool_postgres::GenericClient;
use sync_core::id::RunId;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::message::Run;
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;

/// Stores runs of a site, under its name whatever they say; returns those whose end is news. A run that is there already takes its end from
/// the newer message; that of another site is left alone.
///
/// # Errors
/// The store failed; a time or a JSON text of a run is none (SQLSTATE class 22).
pub async fn record<'r>(db: &impl GenericClient, site: &str, runs: &'r [Run]) -> Result<Vec<&'r Run>, StoreError> {
    let texts = |of: fn(&Run) -> Option<&str>| runs.iter().map(of).collect::<Vec<_>>();
    let numbers = |of: fn(&Run) -> i64| runs.iter().map(of).collect::<Vec<_>>();
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
    let sql = "WITH before AS (SELECT b.id, b.status FROM rejoin.sync_log b WHERE b.id = ANY($2))
               INSERT INTO rejoin.sync_log AS l (id, sync_direction, started_at, completed_at, status, records_synced, conflicts_detected,
                   errors, server_id, bytes_up, bytes_down, cursors_before, cursors_after)
               SELECT u.id, u.direction::rejoin.sync_direction, u.started::timestamptz, u.completed::timestamptz,
                   u.status::rejoin.sync_status, least(u.records, 2147483647), least(u.conflicts, 2147483647), u.errors::jsonb, $1, u.up, u.down, u.before::jsonb, u.after::jsonb
               FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
                   $10::bigint[], $11::bigint[], $12::text[], $13::text[])
                   AS u(id, direction, started, completed, status, records, conflicts, errors, up, down, before, after)
               ON CONFLICT (id) DO UPDATE SET completed_at = excluded.completed_at, status = excluded.status,
                   records_synced = excluded.records_synced, conflicts_detected = excluded.conflicts_detected, errors = excluded.errors,
                   bytes_up = excluded.bytes_up, bytes_down = excluded.bytes_down, cursors_after = excluded.cursors_after
               WHERE l.server_id = excluded.server_id
               RETURNING l.id, l.status <> 'STARTED' AND NOT EXISTS (SELECT FROM before WHERE before.id = l.id AND before.status = l.status)";
    let stored = db
        .query(
            &db.prepare_cached(sql).await?,
            &[
                &site,
                &ids,
                &texts(|run| Some(run.direction.as_str())),
                &texts(|run| Some(&run.started_at)),
                &texts(|run| run.completed_at.as_deref()),
                &texts(|run| Some(run.status.as_str())),
                &numbers(|run| run.records_synced),
                &numbers(|run| run.conflicts_detected),
                &texts(|run| run.errors.as_deref()),
                &numbers(|run| run.bytes_up),
                &numbers(|run| run.bytes_down),
                &texts(|run| run.cursors_before.as_deref()),
                &texts(|run| run.cursors_after.as_deref()),
            ],
        )
        .await?;
    let news: HashSet<Uuid> = stored.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    Ok(runs.iter().filter(|run| news.contains(&run.id.0)).collect())
}

/// Runs, newest first.
///
/// # Errors
/// The store failed.
pub async fn list(db: &impl GenericClient, query: &LogQuery) -> Result<Vec<Run>, StoreError> {
    let sql = "SELECT id, sync_direction::text, to_json(started_at) #>> '{}', to_json(completed_at) #>> '{}', status::text,
                      records_synced::bigint, conflicts_detected::bigint, errors::text, coalesce(server_id, ''), bytes_up, bytes_down,
                      cursors_before::text, cursors_after::text
               FROM rejoin.sync_log
               WHERE ($1::text IS NULL OR server_id = $1)
                 AND ($2::uuid IS NULL OR (started_at, id) < (SELECT a.started_at, a.id FROM rejoin.sync_log a WHERE a.id = $2))
               ORDER BY started_at DESC, id DESC LIMIT $3";
    let after = query.after.map(|run| run.0);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    db.query(&db.prepare_cached(sql).await?, &[&query.server, &after, &limit]).await?.iter().map(run_of).collect()
}

/// The last run that ended, of any site.
///
/// # Errors
/// The store failed.
pub async fn last(db: &impl GenericClient) -> Result<Option<RunSummary>, StoreError> {
    let sql = "SELECT id, status::text, completed_at FROM rejoin.sync_log ORDER BY started_at DESC, id DESC LIMIT 1";
    let row = db.query_opt(&db.prepare_cached(sql).await?, &[]).await?;
    row.map(|row| Ok(RunSummary { id: RunId(row.try_get(0)?), status: status(row.try_get(1)?)?, completed_at: row.try_get(2)? }))
        .transpose()
}

fn run_of(row: &Row) -> Result<Run, StoreError> {
    let direction: &str = row.try_get(1)?;
    Ok(Run {
        id: RunId(row.try_get(0)?),
        direction: Direction::from_name(direction).ok_or_else(|| StoreError::Corrupt(format!("the direction {direction}")))?,
        started_at: row.try_get(2)?,
        completed_at: row.try_get(3)?,
        status: status(row.try_get(4)?)?,
        records_synced: row.try_get(5)?,
        conflicts_detected: row.try_get(6)?,
        errors: row.try_get(7)?,
        server_id: row.try_get(8)?,
        bytes_up: row.try_get(9)?,
        bytes_down: row.try_get(10)?,
        cursors_before: row.try_get(11)?,
        cursors_after: row.try_get(12)?,
    })
}

fn status(name: &str) -> Result<RunStatus, StoreError> {
    RunStatus::from_name(name).ok_or_else(|| StoreError::Corrupt(format!("the run status {name}")))
}
