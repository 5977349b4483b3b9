//! What happened to each row. Written by the statement triggers that `capture` makes, read and pruned here.

use std::time::Duration;

use conflict_ui_api::backend::HistoryEntry;
use deadpool_postgres::GenericClient;
use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Column, Table};
use sync_core::id::Key;
use sync_core::limits::{ADDITIONS_KEEP, HISTORY_PRUNE_ROWS, RESOLUTIONS_KEEP};
use tokio_postgres::Row;

use super::bulk::unnest;
use super::error::StoreError;
use super::row::{Param, refs};
use super::tombstone::{key_text_sql, key_text_types, key_texts};

/// What happened to a row, newest first, older than the entry `before`.
///
/// # Errors
/// The store failed.
pub async fn list(
    db: &impl GenericClient,
    table: &Table,
    key: &Key,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let types: Vec<&str> = key_text_types(table).collect();
    let next = types.len();
    let sql = format!(
        "SELECT h.id, h.op, h.version, h.at, h.author, s.name, h.changes
         FROM {} JOIN rejoin.history h ON h.table_no = ${} AND h.key = {}
         LEFT JOIN rejoin.replicas r ON r.id = h.replica LEFT JOIN rejoin.sites s ON s.id = r.site_id
         WHERE h.id < ${} ORDER BY h.id DESC LIMIT ${}",
        unnest("k", &types, 1),
        next + 1,
        key_text_sql(table, "k", 0),
        next + 2,
        next + 3,
    );
    let mut params: Vec<Param<'_>> = key_texts(table, &[key]);
    params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
    params.push(Box::new(before.unwrap_or(i64::MAX)));
    params.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
    let rows = db.query(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    rows.iter().map(|row| entry(table, row)).collect()
}

fn entry(table: &Table, row: &Row) -> Result<HistoryEntry, StoreError> {
    let op: String = row.try_get(1)?;
    let stored: Json = row.try_get(6)?;
    Ok(HistoryEntry {
        id: row.try_get(0)?,
        version: row.try_get(2)?,
        at: row.try_get(3)?,
        author: row.try_get(4)?,
        site: row.try_get(5)?,
        changes: changes(table, &op, stored),
        op,
    })
}

/// Changes as the API shows them: `{"column": [old, new]}`. Of an insert and a delete the image is stored.
fn changes(table: &Table, op: &str, stored: Json) -> Json {
    let Json::Object(stored) = stored else { return json!({}) };
    let shown = stored.into_iter().map(|(name, json)| {
        let column = table.column_named(&name);
        let pair = match (op, json) {
            ("insert", new) => json!([null, canonical(column, new)]),
            ("delete", old) => json!([canonical(column, old), null]),
            (_, Json::Array(pair)) => pair.into_iter().map(|json| canonical(column, json)).collect(),
            (_, other) => other,
        };
        (name, pair)
    });
    Json::Object(shown.collect::<Map<_, _>>())
}

/// A value as the API shows it elsewhere, where its column is still there and of the same type.
fn canonical(column: Option<&Column>, json: Json) -> Json {
    let parsed = column.and_then(|column| Some(column.ty.to_json(&column.ty.from_json(&json).ok()?)));
    parsed.unwrap_or(json)
}

/// Removes what nobody can ask for any more: additions counted and rows merged longer ago than a site stays away, decisions too old to be taken
/// back. Decisions on conflicts that are open (again), and of what hangs from those, stay; and those of
/// policies, without which a loss of the cloud's could not be told from one of the site's. How many.
///
/// # Errors
/// The store failed.
pub async fn prune_records(db: &impl GenericClient) -> Result<u64, StoreError> {
    let rows = i64::try_from(HISTORY_PRUNE_ROWS).unwrap_or(i64::MAX);
    let mut removed = 0;
    for (table, keep, but) in [
        ("additions", ADDITIONS_KEEP, ""),
        ("merged_rows", ADDITIONS_KEEP, ""),
        (
            "resolutions",
            RESOLUTIONS_KEEP,
            " AND NOT EXISTS (SELECT FROM rejoin.sync_conflicts c LEFT JOIN rejoin.sync_conflicts r ON r.id = c.root_id
                              WHERE c.id = x.conflict_id AND (c.resolution = 'PENDING' OR r.resolution = 'PENDING' OR c.policy IS NOT NULL))",
        ),
    ] {
        let sql = format!(
            "DELETE FROM rejoin.{table} WHERE ctid = ANY (ARRAY(
                 SELECT x.ctid FROM rejoin.{table} x WHERE x.at < now() - make_interval(secs => $2){but} LIMIT $1))"
        );
        removed += db.execute(&db.prepare_cached(&sql).await?, &[&rows, &keep.as_secs_f64()]).await?;
    }
    Ok(removed)
}

/// Removes the oldest entries that are older than this, at most [`HISTORY_PRUNE_ROWS`]; how many. Entries are gone through in the order of their
/// numbers, which is nearly that of their times, and only as far as they are old.
///
/// # Errors
/// The store failed.
pub async fn prune(db: &impl GenericClient, keep: Duration) -> Result<u64, StoreError> {
    let sql = "DELETE FROM rejoin.history h USING (SELECT id, at FROM rejoin.history ORDER BY id LIMIT $1) o
               WHERE h.id = o.id AND o.at < now() - make_interval(secs => $2)";
    let rows = i64::try_from(HISTORY_PRUNE_ROWS).unwrap_or(i64::MAX);
    Ok(db.execute(&db.prepare_cached(sql).await?, &[&rows, &keep.as_secs_f64()]).await?)
}
