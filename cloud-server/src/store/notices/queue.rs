//! Notices on their way: who takes one on, what became of the attempt, and what an admin sees of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Client, GenericClient};
use serde::Serialize;
use sync_core::limits::{NOTICE_LEASE, NOTICES_KEPT, NOTICES_SHOWN_MAX};
use tokio_postgres::Row;
use uuid::Uuid;

use super::compose;
use crate::store::error::StoreError;

/// A notice as an admin sees it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Its id: the `webhook-id` of every attempt.
    pub id: Uuid,
    /// `conflicts`, `silence`, `back` or `failure`.
    pub kind: String,
    /// `waiting`, `delivered` or `givenUp`.
    pub state: String,
    /// The message, once it was composed.
    pub message: Option<serde_json::Value>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next, while it waits.
    pub next_at: Option<DateTime<Utc>>,
    /// When every receiver had it.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub given_up_at: Option<DateTime<Utc>>,
    /// The receivers that took it.
    pub accepted_by: Vec<String>,
    /// The receivers that do not want it.
    pub refused_by: Vec<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A notice that this process has taken on.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) body: String,
    pub(crate) attempts: i32,
    pub(crate) accepted_by: Vec<String>,
    pub(crate) refused_by: Vec<String>,
    /// How long it has been tried.
    pub(crate) tried_for: Duration,
}

/// What an attempt came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every receiver has it.
    Delivered,
    /// No further attempt follows.
    GivenUp,
    /// The next attempt follows after this.
    Again(Duration),
}

/// Takes on up to `at_most` notices that are due, each for a while: who does not report in time loses it to the next one who looks. Several
/// processes never take the same. `settle`: how long a new group of conflicts waits for more.
///
/// # Errors
/// The store failed.
pub(crate) async fn claim(client: &mut Client, at_most: usize, settle: Duration) -> Result<Vec<Claimed>, StoreError> {
    let sql = "UPDATE rejoin.notices n SET attempts = n.attempts + 1, first_at = coalesce(n.first_at, now()),
                      next_at = now() + make_interval(secs => $2)
               FROM (SELECT id FROM rejoin.notices WHERE delivered_at IS NULL AND given_up_at IS NULL AND next_at <= now()
                       AND (kind <> 'conflicts' OR created_at <= now() - make_interval(secs => $3))
                     ORDER BY next_at, id LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
               WHERE n.id = due.id
               RETURNING n.id, n.attempts, n.accepted_by, n.refused_by, extract(epoch FROM now() - n.first_at)::float8";
    let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&at_most, &NOTICE_LEASE.as_secs_f64(), &settle.as_secs_f64()]).await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.try_get(0)?;
        let body = match compose::body(client, id).await {
            Ok(body) => body,
            Err(error) => {
                // One that cannot be composed keeps no other waiting.
                tracing::error!(notice = %id, %error, "a notice could not be composed");
                if !matches!(error, StoreError::Unavailable(_) | StoreError::Busy(_)) {
                    give_up(client, id, row.try_get(1)?, &format!("it could not be composed: {error}")).await?;
                }
                continue;
            }
        };
        claimed.push(Claimed {
            id,
            body,
            attempts: row.try_get(1)?,
            accepted_by: row.try_get(2)?,
            refused_by: row.try_get(3)?,
            tried_for: Duration::try_from_secs_f64(row.try_get(4)?).unwrap_or_default(),
        });
    }
    Ok(claimed)
}

/// Notes what an attempt came to, unless somebody has had it sent again meanwhile.
///
/// # Errors
/// The store failed.
pub(crate) async fn settle(db: &impl GenericClient, notice: &Claimed, outcome: &Outcome, error: Option<&str>) -> Result<(), StoreError> {
    let sql = "UPDATE rejoin.notices SET accepted_by = $3, refused_by = $4, last_error = $5,
                      delivered_at = CASE WHEN $6 THEN now() END, given_up_at = CASE WHEN $7 THEN now() END,
                      next_at = now() + make_interval(secs => $8)
               WHERE id = $1 AND attempts = $2 AND delivered_at IS NULL AND given_up_at IS NULL";
    let wait = if let Outcome::Again(wait) = outcome { wait.as_secs_f64() } else { 0.0 };
    let (delivered, given_up) = (*outcome == Outcome::Delivered, *outcome == Outcome::GivenUp);
    let error = error.map(compose::bounded);
    let statement = db.prepare_cached(sql).await?;
    db.execute(&statement, &[&notice.id, &notice.attempts, &notice.accepted_by, &notice.refused_by, &error, &delivered, &given_up, &wait])
        .await?;
    Ok(())
}

/// Notes that nothing can be sent: the next attempt would fail like this one. An admin sees why, and may have it tried again.
async fn give_up(db: &impl GenericClient, id: Uuid, attempts: i32, error: &str) -> Result<(), StoreError> {
    let sql = "UPDATE rejoin.notices SET given_up_at = now(), last_error = $3
               WHERE id = $1 AND attempts = $2 AND delivered_at IS NULL AND given_up_at IS NULL";
    db.execute(sql, &[&id, &attempts, &compose::bounded(error)]).await?;
    Ok(())
}

/// Gives back notices that this process will not send any more; whoever looks next takes them on.
///
/// # Errors
/// The store failed.
pub(crate) async fn release(db: &impl GenericClient, notice: &Claimed) -> Result<(), StoreError> {
    let sql = "UPDATE rejoin.notices SET next_at = now(), attempts = attempts - 1
               WHERE id = $1 AND attempts = $2 AND delivered_at IS NULL AND given_up_at IS NULL";
    db.execute(sql, &[&notice.id, &notice.attempts]).await?;
    Ok(())
}

/// Forgets old notices.
///
/// # Errors
/// The store failed.
pub(crate) async fn prune(db: &impl GenericClient) -> Result<u64, StoreError> {
    let sql = "DELETE FROM rejoin.notices WHERE created_at < now() - make_interval(secs => $1)";
    Ok(db.execute(sql, &[&NOTICES_KEPT.as_secs_f64()]).await?)
}

const COLUMNS: &str =
    "id, kind, CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN given_up_at IS NOT NULL THEN 'givenUp' ELSE 'waiting' END,
    body, created_at, attempts, next_at, delivered_at, given_up_at, accepted_by, refused_by, last_error";

/// The last notices, newest first.
///
/// # Errors
/// The store failed.
pub async fn list(db: &impl GenericClient) -> Result<Vec<Notice>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.notices ORDER BY created_at DESC, id LIMIT $1");
    db.query(&sql, &[&NOTICES_SHOWN_MAX]).await?.iter().map(notice).collect()
}

/// Has a notice sent again to every receiver, under the same id, whatever became of it. `None` where there is no such notice.
///
/// # Errors
/// The store failed.
pub async fn redeliver(db: &impl GenericClient, id: Uuid) -> Result<Option<Notice>, StoreError> {
    let sql = format!(
        "UPDATE rejoin.notices SET attempts = 0, first_at = NULL, next_at = now(), delivered_at = NULL, given_up_at = NULL,
                accepted_by = '{{}}', refused_by = '{{}}', last_error = NULL
         WHERE id = $1 RETURNING {COLUMNS}"
    );
    db.query_opt(&sql, &[&id]).await?.as_ref().map(notice).transpose()
}

fn notice(row: &Row) -> Result<Notice, StoreError> {
    let state: String = row.try_get(2)?;
    let body: Option<&str> = row.try_get(3)?;
    Ok(Notice {
        id: row.try_get(0)?,
        kind: row.try_get(1)?,
        message: body.and_then(|body| serde_json::from_str(body).ok()),
        created_at: row.try_get(4)?,
        attempts: row.try_get(5)?,
        next_at: if state == "waiting" { Some(row.try_get(6)?) } else { None },
        delivered_at: row.try_get(7)?,
        given_up_at: row.try_get(8)?,
        accepted_by: row.try_get(9)?,
        refused_by: row.try_get(10)?,
        last_error: row.try_get(11)?,
        state,
    })
}
