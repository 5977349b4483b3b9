//! Rows that DDL wrote anew are fed once the catalog is in force, in batches: nobody who writes waits for more than one of them. What is left
//! stands in `rejoin.feeds`, so that whoever comes after a crash goes on.
//!
//! A row has to come again if a site can have passed it under the old catalog, so if its tick is no later than its scope's head at any moment at which the
//! new one was in force. Ticks of a scope are committed in their order, so later ones are of transactions that ended under it.

use std::ops::Range;

use deadpool_postgres::ClientWrapper;
use sync_core::catalog::{Catalog, Table};
use sync_core::limits::SMALL_TABLE_PAGES;
use tokio_postgres::Client;

use super::published;
use crate::store::capture::apply::CaptureError;
use crate::store::capture::hush::Hush;
use crate::store::capture::mend;
use crate::store::capture::pages::{Batch, HERE, Pages, bounds};
use crate::store::error::StoreError;
use crate::store::guard;
use crate::store::migrate;
use crate::store::pace::Pace;
use crate::store::pool::Database;
use crate::store::row::table_sql;

/// One entry of `rejoin.feeds`.
struct Rest {
    id: i64,
    table_no: i32,
    condition: Option<String>,
}

/// Feeds whatever is left, one table after the other. Several servers take turns. What one table is kept back by keeps back no other.
///
/// # Errors
/// Somebody held a table all the time; the schema moved meanwhile; the store failed. The next call goes on with what is left.
pub(crate) async fn go_on(db: &Database, pace: &Pace<'_>) -> Result<(), CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: "rejoin.feeds".to_owned(), error };
    if next(&*db.client().await.map_err(failed)?, 0).await.map_err(failed)?.is_none() {
        return Ok(());
    }
    let mut client = migrate::locked_by(db, migrate::FEED_LOCK).await.map_err(failed)?;
    let (mut from, mut kept_back) = (0, None);
    while let Some(rest) = next(&client, from).await.map_err(failed)? {
        if let Err(error) = entry(&mut client, &rest, pace).await {
            kept_back.get_or_insert(error);
            from = rest.id + 1;
            continue;
        }
        // Unless another catalog was published meanwhile, and asked for more of it.
        let done = "DELETE FROM rejoin.feeds WHERE id = $1 AND condition IS NOT DISTINCT FROM $2";
        client.execute(done, &[&rest.id, &rest.condition]).await.map_err(|error| failed(error.into()))?;
    }
    kept_back.map_or(Ok(()), Err)
}

async fn next(client: &Client, from: i64) -> Result<Option<Rest>, StoreError> {
    let sql = "SELECT id, table_no, condition FROM rejoin.feeds WHERE id >= $1 ORDER BY id LIMIT 1";
    let row = client.query_opt(sql, &[&from]).await?;
    Ok(row.map(|row| Rest { id: row.get(0), table_no: row.get(1), condition: row.get(2) }))
}

/// Nothing is left to do where the catalog in force does not have the table.
async fn entry(client: &mut ClientWrapper, rest: &Rest, pace: &Pace<'_>) -> Result<(), CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: "rejoin.feeds".to_owned(), error };
    let catalog = published(client).await.map_err(failed)?;
    let Some(catalog) = catalog else { return Ok(()) };
    let Some(table) = catalog.tables.iter().find(|table| table.no.0.cast_signed() == rest.table_no) else { return Ok(()) };
    feed(client, &catalog, table, rest, pace).await
}

async fn feed(client: &mut ClientWrapper, catalog: &Catalog, table: &Table, rest: &Rest, pace: &Pace<'_>) -> Result<(), CaptureError> {
    let name = table_sql(table);
    let label = format!("{}.{}", table.schema, table.name);
    let failed = |error: StoreError| CaptureError::Store { table: label.clone(), error };
    let begin = "INSERT INTO rejoin.feed_heads (feed, scope, head) SELECT $1, scope, head FROM rejoin.scopes
                 WHERE NOT EXISTS (SELECT FROM rejoin.feed_heads WHERE feed = $1)";
    client.execute(begin, &[&rest.id]).await.map_err(|error| failed(error.into()))?;
    // Another table may have its name by now, or none: each batch looks.
    let oid = "SELECT oid FROM rejoin.tables WHERE no = $1 AND dropped_at IS NULL";
    let oid = client.query_opt(oid, &[&rest.table_no]).await.map_err(|error| failed(error.into()))?;
    let Some(oid) = oid.map(|row| row.get(0)) else { return Err(failed(StoreError::Moved(catalog.version))) };
    let pages = Pages { name: &name, label: &label, oid, first: SMALL_TABLE_PAGES / 4, pace };
    let batch = Unfed { name: &name, label: &label, catalog, table, rest };
    let mut rows = 0;
    // VACUUM FULL and CLUSTER between two batches move rows to pages that were gone through.
    loop {
        let written = pages.through(client, &batch, rows).await?;
        rows += written;
        if !batch.is_left(client).await.map_err(failed)? {
            break;
        }
        if written == 0 {
            return Err(failed(StoreError::Busy("its rows are moved all the time".to_owned())));
        }
    }
    tracing::info!(table = %label, rows, catalog = %catalog.version, "fed again");
    Ok(())
}

/// Rows that sites have passed under an older catalog.
struct Unfed<'a> {
    name: &'a str,
    label: &'a str,
    catalog: &'a Catalog,
    table: &'a Table,
    rest: &'a Rest,
}

impl Unfed<'_> {
    fn condition(&self) -> String {
        self.rest.condition.as_ref().map_or_else(String::new, |condition| format!(" AND ({condition})"))
    }

    /// Where they are. No name of ours may be one of the user's.
    fn rows(&self) -> String {
        let condition = self.condition();
        format!(
            "(SELECT b.part, b.place, b.scope FROM (
                  SELECT t.tableoid AS part, t.ctid AS place, t.rejoin_scope AS scope, t.rejoin_tick AS tick FROM {} t
                  WHERE {HERE} AND t.rejoin_tick > 0{condition} OFFSET 0) b
              JOIN rejoin.feed_heads h ON h.feed = {} AND h.scope = b.scope AND b.tick <= h.head)",
            self.name, self.rest.id
        )
    }

    /// Whether there is one anywhere in the table.
    async fn is_left(&self, client: &mut Client) -> Result<bool, StoreError> {
        let transaction = client.transaction().await?;
        transaction.batch_execute(&guard::lock_sql(&[self.table])).await?;
        guard::check_on(&transaction, self.catalog, &[self.table]).await?;
        let sql = format!(
            "SELECT EXISTS (SELECT FROM (SELECT t.rejoin_scope AS scope, t.rejoin_tick AS tick FROM {} t WHERE t.rejoin_tick > 0{}) b
                 JOIN rejoin.feed_heads h ON h.feed = {} AND h.scope = b.scope AND b.tick <= h.head)",
            self.name,
            self.condition(),
            self.rest.id
        );
        Ok(transaction.query_one(&sql, &[]).await?.try_get(0)?)
    }

    async fn written(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, StoreError> {
        let [first, last] = bounds(pages);
        let transaction = client.transaction().await?;
        // Whoever updates a row locks it and then waits for its head: without the table's lock there would always be such a row in the way.
        mend::lock(&transaction, &[self.name.to_owned()]).await?;
        guard::check_on(&transaction, self.catalog, &[self.table]).await?;
        // Pages are read by their numbers, whatever the planner thinks.
        let settings = "SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0";
        transaction.batch_execute(settings).await?;
        let hush = Hush::all(&transaction, self.name).await?;
        let scopes = format!("SELECT array_agg(DISTINCT r.scope) FROM {} r", self.rows());
        let Some(scopes) = transaction.query_one(&scopes, &[&first, &last]).await?.get::<_, Option<Vec<String>>>(0) else { return Ok(0) };
        transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await?;
        let update = format!(
            "UPDATE {} t SET rejoin_tick = s.head FROM {} r JOIN rejoin.scopes s ON s.scope = r.scope
             WHERE t.ctid = r.place AND t.tableoid = r.part AND r.scope = ANY($3)",
            self.name,
            self.rows()
        );
        let rows = transaction.execute(&update, &[&first, &last, &scopes]).await?;
        hush.end(&transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

impl Batch for Unfed<'_> {
    async fn run(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, CaptureError> {
        self.written(client, pages).await.map_err(|error| CaptureError::Store { table: self.label.to_owned(), error })
    }
}
