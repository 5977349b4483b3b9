//! Sites that say nothing. The clock is an argument, so that tests need not wait for it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_postgres::{Client, Transaction};
use serde_json::json;
use sync_core::limits::{CLOUD_AWAY_AFTER, SILENCE_PATIENCE};
use uuid::Uuid;

use crate::store::error::StoreError;

/// The advisory lock's number: "Silence" in ASCII.
const LOCK: i64 = 0x53_696c_656e_6365;

/// When the cloud last looked, and since when it has looked without a longer pause (RFC 3339, in `rejoin.state`).
const LOOKED: &str = "silence_looked";
const LISTENING: &str = "silence_listening";

/// Writes a notice for each site that has become silent, and for each that is back. Nothing where another process is at it. A site whose
/// cloud was away gets a while to come back. How many notices were written.
///
/// # Errors
/// The store failed.
pub async fn check_silence(client: &mut Client, now: DateTime<Utc>, silent_after: Duration) -> Result<usize, StoreError> {
    let transaction = client.transaction().await?;
    let free: bool = transaction.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK]).await?.try_get(0)?;
    if !free {
        return Ok(0);
    }
    let mut written = tell_returns(&transaction).await?;
    let listening = listening_since(&transaction, now).await?;
    if since(listening, now) >= silent_after.min(SILENCE_PATIENCE) {
        written += tell_silences(&transaction, now, silent_after).await?;
    }
    transaction.commit().await?;
    Ok(written)
}

/// Since when the cloud has been there without a longer pause; notes that it is now.
async fn listening_since(transaction: &Transaction<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let looked = moment(transaction, LOOKED).await?;
    let was_away = looked.is_none_or(|looked| since(looked, now) > CLOUD_AWAY_AFTER);
    let listening = moment(transaction, LISTENING).await?.filter(|_| !was_away).unwrap_or(now);
    let sql = "INSERT INTO rejoin.state (key, value) VALUES ($1, $2), ($3, $4) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    transaction.execute(sql, &[&LOOKED, &text(now), &LISTENING, &text(listening)]).await?;
    Ok(listening)
}

async fn moment(transaction: &Transaction<'_>, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let row = transaction.query_opt("SELECT value FROM rejoin.state WHERE key = $1", &[&key]).await?;
    let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(Into::into))
}

fn since(earlier: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - earlier).to_std().unwrap_or_default()
}

async fn tell_silences(transaction: &Transaction<'_>, now: DateTime<Utc>, silent_after: Duration) -> Result<usize, StoreError> {
    let sql = "UPDATE rejoin.sites SET silent_since = last_seen_at
               WHERE silent_since IS NULL AND key_hash IS NOT NULL AND revoked_at IS NULL
                 AND last_seen_at <= $1::timestamptz - make_interval(secs => $2)
               RETURNING id, name, silent_since";
    let rows = transaction.query(sql, &[&now, &silent_after.as_secs_f64()]).await?;
    for row in &rows {
        let (id, site, seen): (Uuid, &str, DateTime<Utc>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let about = json!({ "site": site, "lastSeenAt": seen, "silentAfterSeconds": silent_after.as_secs() });
        write(transaction, &format!("silence/{id}/{}", seen.timestamp_micros()), "silence", &about).await?;
    }
    Ok(rows.len())
}

async fn tell_returns(transaction: &Transaction<'_>) -> Result<usize, StoreError> {
    // A site that was shut out does not come back; its silence is over.
    let sql = "UPDATE rejoin.sites s SET silent_since = NULL FROM rejoin.sites before
               WHERE before.id = s.id AND s.silent_since IS NOT NULL AND (s.last_seen_at > s.silent_since OR s.revoked_at IS NOT NULL)
               RETURNING s.id, s.name, before.silent_since, s.last_seen_at, s.revoked_at IS NULL";
    let rows = transaction.query(sql, &[]).await?;
    let mut written = 0;
    for row in rows.iter().filter(|row| row.get(4)) {
        let (id, site): (Uuid, &str) = (row.try_get(0)?, row.try_get(1)?);
        let (since, seen): (DateTime<Utc>, DateTime<Utc>) = (row.try_get(2)?, row.try_get(3)?);
        let about = json!({ "site": site, "silentSince": since, "lastSeenAt": seen });
        write(transaction, &format!("back/{id}/{}", since.timestamp_micros()), "back", &about).await?;
        written += 1;
    }
    Ok(written)
}

async fn write(transaction: &Transaction<'_>, cause: &str, kind: &str, about: &serde_json::Value) -> Result<(), StoreError> {
    let sql = "INSERT INTO rejoin.notices (id, cause, kind, about) VALUES ($1, $2, $3, $4) ON CONFLICT (cause) DO NOTHING";
    transaction.execute(sql, &[&Uuid::now_v7(), &cause, &kind, about]).await?;
    Ok(())
}
