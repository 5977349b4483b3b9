//! The records behind the API: lists, single records, and writes with their cascades.

mod act;
mod closure;
mod groups;
mod import;
mod list;
mod query;
mod references;
mod refusal;
mod write;

use chrono::Utc;
use conflict_ui_api::backend::{Action, Group, GroupQuery, Imported, ListQuery, Place, Principal, Record, Write};
use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{Key, TableNo};
use sync_core::value::timestamp_text;
use sync_core::write::Draft;

use super::error::StoreError;
use super::guard;
use super::leases;
use super::pool::Database;
use super::row::{StoredRow, read_row, select_list, table_sql};
use super::tx::{Author, Retry, WriteTx};
use query::Query;

/// At most `query.limit` records in the order asked.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn list(db: &Database, catalog: &Catalog, query: &ListQuery) -> Result<Vec<Record>, BackendError> {
    let table = user_table(catalog, query.table)?;
    let sql = list::build(table, query, &select_list(table, "t"));
    let mut client = db.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let rows = transaction.query(&sql.sql, &sql.params()).await.map_err(StoreError::from)?;
    // What was read holds the table's names as they are.
    guard::check(&transaction, catalog, &[table]).await?;
    Ok(rows.iter().map(|row| read_row(table, row, 0).map(record)).collect::<Result<_, _>>()?)
}

/// How many records there are of this query.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn count(db: &Database, catalog: &Catalog, query: &ListQuery) -> Result<u64, BackendError> {
    let table = user_table(catalog, query.table)?;
    let sql = list::count(table, query);
    let mut client = db.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let row = transaction.query_one(&sql.sql, &sql.params()).await.map_err(StoreError::from)?;
    guard::check(&transaction, catalog, &[table]).await?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

/// The groups of records, with figures over each.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn groups(db: &Database, catalog: &Catalog, query: &GroupQuery) -> Result<Vec<Group>, BackendError> {
    let table = user_table(catalog, query.table)?;
    let sql = groups::build(table, query);
    let mut client = db.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let rows = transaction.query(&sql.sql, &sql.params()).await.map_err(StoreError::from)?;
    guard::check(&transaction, catalog, &[table]).await?;
    Ok(rows.iter().map(|row| groups::read(table, query, row)).collect::<Result<_, _>>()?)
}

/// One record; a soft-deleted one too.
///
/// # Errors
/// There is no such table; the store failed.
pub async fn get(db: &Database, catalog: &Catalog, table: TableNo, key: &Key) -> Result<Option<Record>, BackendError> {
    let table = user_table(catalog, table)?;
    let mut client = db.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    let found = read_one(&transaction, table, key, "").await?;
    guard::check(&transaction, catalog, &[table]).await?;
    Ok(found.map(record))
}

/// One write: load, decide, write, in one transaction. Tried again while somebody else holds the rows.
///
/// # Errors
/// What the draft, the table's constraints or the rows' state forbid; the store failed.
pub async fn write(db: &Database, catalog: &Catalog, by: &Principal, table: TableNo, write: &Write) -> Result<Record, BackendError> {
    let table = user_table(catalog, table)?;
    let mut retry = Retry::new();
    loop {
        let mut client = db.client().await?;
        let transaction = WriteTx::begin(&mut client, Author::user(&by.name)).await?;
        let down = matches!(write, Write::Delete { .. } | Write::Restore { .. });
        guard::hold(&transaction, catalog, &guard::touched(catalog, [table.no], down)).await?;
        let done = write::Writer { catalog, table, by, transaction }.run(write).await;
        drop(client);
        if !again(&mut retry, &done).await {
            return done;
        }
    }
}

/// Several writes, decided over what is read for them, in one transaction.
///
/// # Errors
/// As [`write()`], of the first one that cannot be done; what the action itself refuses. Nothing is written then.
pub async fn act(db: &Database, catalog: &Catalog, by: &Principal, action: &dyn Action) -> Result<Vec<Record>, BackendError> {
    for no in action.tables() {
        user_table(catalog, no)?;
    }
    let mut retry = Retry::new();
    loop {
        let mut client = db.client().await?;
        let transaction = WriteTx::begin(&mut client, Author::user(&by.name)).await?;
        guard::hold(&transaction, catalog, &guard::touched(catalog, action.tables(), true)).await?;
        let done = act::run(catalog, by, transaction, action).await;
        drop(client);
        if !again(&mut retry, &done).await {
            return done;
        }
    }
}

/// Writes the rows of a data set in one transaction. A row that has the given values already is not written.
///
/// # Errors
/// As [`write()`]; nothing is written then.
pub async fn import(db: &Database, catalog: &Catalog, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported, BackendError> {
    let mut rows = import::with_ids(catalog, rows);
    leases::number(&db.client().await?, catalog, &mut rows).await?;
    let mut retry = Retry::new();
    loop {
        let mut client = db.client().await?;
        let transaction = WriteTx::begin(&mut client, Author::user(&by.name)).await?;
        guard::hold(&transaction, catalog, &guard::touched(catalog, rows.iter().map(|(no, _)| *no), false)).await?;
        let done = import::run(catalog, by, transaction, &rows).await;
        drop(client);
        if !again(&mut retry, &done).await {
            return done;
        }
    }
}

/// Whether to try again, after a wait: the rows were busy, and that not too often yet.
async fn again<T>(retry: &mut Retry, done: &Result<T, BackendError>) -> bool {
    matches!(done, Err(BackendError::Busy)) && retry.again(&StoreError::Busy(String::new())).await
}

fn record(stored: StoredRow) -> Record {
    Record { row: stored.row, stamp: stored.stamp, place: Place::Cloud }
}

fn user_table(catalog: &Catalog, no: TableNo) -> Result<&Table, BackendError> {
    catalog.table(no).filter(|table| !table.engine).ok_or_else(|| BackendError::NotFound(format!("table number {no}")))
}

async fn read_one(db: &impl GenericClient, table: &Table, key: &Key, lock: &str) -> Result<Option<StoredRow>, StoreError> {
    let mut query = Query::default();
    let condition = query.is_key(table, key);
    query.sql = format!("SELECT {} FROM {} t WHERE {condition}{lock}", select_list(table, "t"), table_sql(table));
    let row = db.query_opt(&db.prepare_cached(&query.sql).await?, &query.params()).await?;
    row.map(|row| read_row(table, &row, 0)).transpose()
}

fn not_found(table: &Table, key: &Key) -> BackendError {
    BackendError::NotFound(format!("{}/{key}", table.path))
}

fn now() -> String {
    timestamp_text(Utc::now())
}
