//! Who keeps us waiting while tables are altered: CREATE INDEX CONCURRENTLY waits without bound for everybody who still reads an old state.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio_postgres::Client;

use crate::store::error::StoreError;
use crate::store::pace::{Pace, Progress};
use crate::store::pool::Database;

/// How long a wait lasts until it is told.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked.
const EVERY: Duration = Duration::from_secs(2);
/// How much of somebody's statement is shown.
const QUERY_CHARS: usize = 120;

/// Tells for whom the backend `pid` waits, as long as it is polled. A failure tells nothing, and stops nobody.
pub(super) async fn watch(db: &Database, pid: i32, pace: &Pace<'_>) -> Infallible {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let Ok(client) = db.client().await else { continue };
        for Held { by, what, since } in held(&client, pid).await.unwrap_or_default() {
            if told.insert(by) {
                tracing::warn!(pid = by, "waiting for another session, {what}; it goes on when that one ends its transaction");
            }
            pace.tell(Progress::Held { pid: by, what: &what, since });
        }
    }
}

/// A session that is waited for.
struct Held {
    by: i32,
    what: String,
    since: Duration,
}

async fn held(client: &Client, pid: i32) -> Result<Vec<Held>, StoreError> {
    let sql = "SELECT s.pid, coalesce(s.usename, '?') || coalesce(' (' || nullif(s.application_name, '') || ')', '') || ', ' || coalesce(s.state, 'hidden')
                   || ': ' || left(regexp_replace(coalesce(s.query, ''), '\\s+', ' ', 'g'), $3), extract(epoch FROM now() - w.since)::float8
               FROM (SELECT min(waitstart) AS since FROM pg_locks WHERE pid = $1 AND NOT granted) w
               CROSS JOIN unnest(pg_blocking_pids($1)) b(pid) JOIN pg_stat_activity s ON s.pid = b.pid
               WHERE clock_timestamp() - w.since > make_interval(secs => $2)";
    let shown = i32::try_from(QUERY_CHARS).unwrap_or(i32::MAX);
    let rows = client.query(sql, &[&pid, &TELL_AFTER.as_secs_f64(), &shown]).await?;
    let held = rows.iter().map(|row| {
        let since = Duration::try_from_secs_f64(row.try_get(2)?).unwrap_or_default();
        Ok(Held { by: row.try_get(0)?, what: row.try_get(1)?, since })
    });
    held.collect()
}
