//! The records behind the API: lists, single records, and writes with their cascades.

mod closure;
mod list;
mod refusal;
mod text;
mod write;

use std::time::Duration;

use chrono::Utc;
use conflict_ui_api::backend::{ListQuery, Principal, Record, Write};
use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use sync_core::backoff::Backoff;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{Key, TableNo};
use sync_core::limits::BUSY_RETRIES_MAX;
use sync_core::value::timestamp_text;

use super::error::StoreError;
use super::pool::Database;
use text::{Query, Stored, read_record, record_sql, table_sql};

/// At most `query.limit` records in the order asked.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn list(db: &Database, catalog: &Catalog, query: &ListQuery) -> Result<Vec<Record>, BackendError> {
    let table = user_table(catalog, query.table)?;
    let sql = list::build(table, query, &record_sql(table));
    let client = db.client().await?;
    let rows = client.query(&sql.sql, &sql.params()).await.map_err(StoreError::from)?;
    Ok(rows.iter().map(|row| read_record(table, row).map(|stored| stored.record)).collect::<Result<_, _>>()?)
}

/// One record; a soft-deleted one too.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn get(db: &Database, catalog: &Catalog, table: TableNo, key: &Key) -> Result<Option<Record>, BackendError> {
    let table = user_table(catalog, table)?;
    let client = db.client().await?;
    Ok(read_one(&client, table, key, "").await?.map(|stored| stored.record))
}

/// One write: load, decide, write, in one transaction. Tried again while somebody else holds the rows.
///
/// # Errors
/// What the draft, the table's constraints or the rows' state forbid; the store failed.
pub async fn write(db: &Database, catalog: &Catalog, by: &Principal, table: TableNo, write: &Write) -> Result<Record, BackendError> {
    let table = user_table(catalog, table)?;
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500), rand::random());
    loop {
        let mut client = db.client().await?;
        let transaction = client.transaction().await.map_err(StoreError::from)?;
        match (write::Writer { catalog, table, by, transaction }).run(write).await {
            Err(BackendError::Busy) if backoff.attempts() < BUSY_RETRIES_MAX => {}
            done => return done,
        }
        drop(client);
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

fn user_table(catalog: &Catalog, no: TableNo) -> Result<&Table, BackendError> {
    catalog.table(no).filter(|table| !table.engine).ok_or_else(|| BackendError::NotFound(format!("table number {no}")))
}

async fn read_one(db: &impl GenericClient, table: &Table, key: &Key, lock: &str) -> Result<Option<Stored>, StoreError> {
    let mut query = Query::default();
    let condition = query.is_key(table, key);
    query.sql = format!("SELECT {} FROM {} t WHERE {condition}{lock}", record_sql(table), table_sql(table));
    let row = db.query_opt(&query.sql, &query.params()).await?;
    row.map(|row| read_record(table, &row)).transpose()
}

fn not_found(table: &Table, key: &Key) -> BackendError {
    BackendError::NotFound(format!("{}/{key}", table.path))
}

fn now() -> String {
    timestamp_text(Utc::now())
}
