//! Notices: what the webhook tells somebody outside. Written in the transaction that they tell of, sent afterwards by any process.

mod compose;
mod queue;
mod silence;

use std::collections::BTreeSet;

use deadpool_postgres::GenericClient;
use serde_json::json;
use sync_core::id::CatalogVersion;
use sync_core::limits::FAILURE_NOTICE_PAUSE;
use sync_core::sync_log::RunStatus;
use sync_core::wire::message::Run;
use uuid::Uuid;

pub(crate) use self::compose::bounded;
pub(crate) use self::queue::{Claimed, Outcome, claim, prune, release, settle};
pub use self::queue::{Notice, list, redeliver};
pub use self::silence::check_silence;
use super::error::StoreError;
use crate::settings::Cause;

/// Where the database remembers which causes are told of, since whoever parks or takes runs is not always who sends.
const STATE: &str = "notices";

/// Says which causes notices are written for from now on.
///
/// # Errors
/// The store failed.
pub(crate) async fn set_causes(db: &impl GenericClient, causes: &BTreeSet<Cause>) -> Result<(), StoreError> {
    let names: Vec<&str> = causes.iter().map(|cause| cause.as_str()).collect();
    let sql = "INSERT INTO rejoin.state AS s (key, value) VALUES ($1, $2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value";
    db.execute(sql, &[&STATE, &names.join(" ")]).await?;
    Ok(())
}

async fn is_told(db: &impl GenericClient, cause: Cause) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM rejoin.state WHERE key = $1 AND $2 = ANY(string_to_array(value, ' ')))";
    Ok(db.query_one(&db.prepare_cached(sql).await?, &[&STATE, &cause.as_str()]).await?.try_get(0)?)
}

/// Writes a notice for each of these groups of conflicts, which begin in this transaction.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_groups(db: &impl GenericClient, groups: &[Uuid]) -> Result<(), StoreError> {
    if groups.is_empty() || !is_told(db, Cause::Conflicts).await? {
        return Ok(());
    }
    let ids: Vec<Uuid> = groups.iter().map(|_| Uuid::now_v7()).collect();
    let sql = "INSERT INTO rejoin.notices (id, cause, kind, about)
               SELECT u.id, 'conflicts/' || u.group_id, 'conflicts', jsonb_build_object('group', u.group_id)
               FROM unnest($1::uuid[], $2::uuid[]) AS u(id, group_id)
               ON CONFLICT (cause) DO NOTHING";
    db.execute(&db.prepare_cached(sql).await?, &[&ids, &groups]).await?;
    Ok(())
}

/// Tells of the failed ones among these ended runs of a site: by the notice that is waiting to be sent, else by a new one, which waits
/// until the last one is an hour old.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_runs(db: &impl GenericClient, site: &str, ended: &[&Run]) -> Result<(), StoreError> {
    let failed: Vec<&&Run> = ended.iter().filter(|run| run.status == RunStatus::Failed).collect();
    let Some(last) = failed.iter().max_by(|a, b| a.started_at.cmp(&b.started_at)) else { return Ok(()) };
    if !is_told(db, Cause::Failure).await? {
        return Ok(());
    }
    let since = failed.iter().map(|run| run.started_at.as_str()).min();
    let about = json!({
        "site": site, "failed": failed.len(), "since": since, "run": last.id, "at": last.completed_at,
        "error": last.errors.as_deref().map(words_of),
    });
    let sql = "INSERT INTO rejoin.notices AS n (id, cause, kind, about, due_at, next_at)
               SELECT $1, 'failure/' || $2 || '/' || coalesce(l.id::text, 'first'), 'failure', $3, d.due, d.due
               FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
                   SELECT id, due_at FROM rejoin.notices
                   WHERE kind = 'failure' AND about ->> 'site' = $2 AND body IS NOT NULL ORDER BY due_at DESC LIMIT 1) AS l ON true
               CROSS JOIN LATERAL (SELECT greatest(now(), l.due_at + make_interval(secs => $4)) AS due) AS d
               ON CONFLICT (cause) DO UPDATE SET about = excluded.about || jsonb_build_object('since', n.about -> 'since',
                   'failed', (n.about -> 'failed')::bigint + (excluded.about -> 'failed')::bigint)
               WHERE n.body IS NULL";
    let statement = db.prepare_cached(sql).await?;
    // The waiting one may be sent at this very moment: then there is a later one to follow.
    for _ in 0..2 {
        if db.execute(&statement, &[&Uuid::now_v7(), &site, &about, &FAILURE_NOTICE_PAUSE.as_secs_f64()]).await? > 0 {
            return Ok(());
        }
    }
    tracing::warn!(site, "a failed run is not told of: its notice was sent while it came in");
    Ok(())
}

/// Writes a notice that the schema cannot be brought in: once for each reason while one catalog is in force.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_schema(db: &impl GenericClient, catalog: CatalogVersion, reason: &str, tables: &[String]) -> Result<(), StoreError> {
    if !is_told(db, Cause::Schema).await? {
        return Ok(());
    }
    let about = json!({ "catalog": catalog.0, "error": bounded(reason), "tables": tables });
    let sql = "INSERT INTO rejoin.notices (id, cause, kind, about) VALUES ($1, 'schema/' || $2 || '/' || md5($3), 'schema', $4)
               ON CONFLICT (cause) DO NOTHING";
    db.execute(&db.prepare_cached(sql).await?, &[&Uuid::now_v7(), &catalog.0.to_string(), &reason, &about]).await?;
    Ok(())
}

/// The first message among a run's errors, which are `[{"step","message"}, ..]`.
fn words_of(errors: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(errors).ok();
    let message = parsed.as_ref().and_then(|errors| errors.get(0)?.get("message")?.as_str());
    bounded(message.unwrap_or(errors))
}
