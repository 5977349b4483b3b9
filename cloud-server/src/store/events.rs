//! Telling every process of this database what has happened: `NOTIFY` in the transaction that did it, so that nobody hears of what was
//! rolled back. Once per transaction, and only where conflicts or runs changed: a `NOTIFY` puts the commits of a database in line.

use std::collections::{BTreeMap, BTreeSet};

use conflict_ui_api::backend::Event;
use deadpool_postgres::GenericClient;
use sync_core::id::{ConflictId, ScopeId, Tick};
use sync_core::sync_log::RunStatus;
use uuid::Uuid;

use super::error::StoreError;

/// What the processes listen on.
pub(crate) const CHANNEL: &str = "rejoin_events";

/// Tells of the conflicts that this transaction parked, resolved or opened again: those that carry its ticks. A scope of a site is only
/// ticked where its conflicts change.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_conflicts(db: &impl GenericClient, ticks: &BTreeMap<ScopeId, Tick>) -> Result<(), StoreError> {
    let own = ticks.iter().filter(|(scope, _)| scope.0.starts_with("site/"));
    let (scopes, ticks): (Vec<&str>, Vec<i64>) = own.map(|(scope, tick)| (scope.0.as_str(), tick.0)).unzip();
    if scopes.is_empty() {
        return Ok(());
    }
    let sql = "SELECT what, CASE WHEN min(table_name) = max(table_name) THEN min(table_name) END,
                      CASE WHEN min(site_name) = max(site_name) THEN min(site_name) END, CASE WHEN count(*) = 1 THEN min(id::text) END
               FROM (SELECT c.id, c.table_name, c.site_name,
                            CASE WHEN c.resolution <> 'PENDING' THEN 'resolved'
                                 WHEN c.push_no::text = current_setting('rejoin.push_no', true)
                                      AND c.replica::text = current_setting('rejoin.replica', true) THEN 'parked'
                                 ELSE 'reopened' END AS what
                     FROM unnest($1::text[], $2::bigint[]) AS u(scope, tick)
                     JOIN rejoin.sync_conflicts c ON c.rejoin_scope = u.scope AND c.rejoin_tick = u.tick) AS changed
               GROUP BY what ORDER BY what";
    let rows = db.query(&db.prepare_cached(sql).await?, &[&scopes, &ticks]).await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: Option<&str> = row.try_get(3)?;
        events.push(Event::Conflicts {
            table_name: row.try_get(1)?,
            site: row.try_get(2)?,
            conflict: id.and_then(|id| Uuid::try_parse(id).ok()).map(ConflictId),
            what: row.try_get(0)?,
        });
    }
    tell(db, &events).await
}

/// Tells of ended runs of a site.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_runs(db: &impl GenericClient, site: &str, ended: &[RunStatus]) -> Result<(), StoreError> {
    let statuses: BTreeSet<&str> = ended.iter().map(|status| status.as_str()).collect();
    let run = |status: &str| Event::Run { site: site.to_owned(), status: status.to_owned() };
    let events: Vec<Event> = statuses.into_iter().map(run).collect();
    tell(db, &events).await
}

/// Tells that the schema cannot be brought in, and why; or that it was, after all.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_schema(db: &impl GenericClient, error: Option<&str>) -> Result<(), StoreError> {
    let error = error.map(super::notices::bounded);
    tell(db, &[Event::Schema { what: if error.is_some() { "suspended" } else { "published" }.to_owned(), error }]).await
}

async fn tell(db: &impl GenericClient, events: &[Event]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let payload = serde_json::to_string(events).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    db.execute(&db.prepare_cached("SELECT pg_notify($1, $2)").await?, &[&CHANNEL, &payload]).await?;
    Ok(())
}
