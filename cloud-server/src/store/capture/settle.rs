//! Puts right what was written while capture was not itself, as [`super::mend`] or a trigger of ours noted it. The table is read without keeping
//! anybody out; where something has to be written, writers of it and of what hangs from it wait for one batch of pages.

use std::ops::Range;

use sync_core::catalog::{Catalog, Table};
use sync_core::limits::STAMP_PAGES_FIRST;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::apply::CaptureError;
use super::hush::{Hush, Which};
use super::key_array;
use super::mend::{Astray, lock, take, with_dependents};
use super::pages::{Batch, Pages, holders};
use crate::store::error::StoreError;
use crate::store::pace::Pace;
use crate::store::row::table_sql;

/// What a trigger stamped under names that were out of date.
const UNSTAMPED: &str = "t.rejoin_tick = 0";

/// Stamps what was written while the functions' names were out of date, and puts scopes right that nobody derived. The triggers are
/// those of now: whatever is written meanwhile is right. The table is fed again where rows may be gone without a mark.
pub(crate) async fn settle(client: &mut Client, catalog: &Catalog, table: &Table, oid: u32, pace: &Pace<'_>) -> Result<(), CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: table.name.clone(), error };
    let Some(noted) = claim(client, table, pace).await.map_err(failed)? else { return Ok(()) };
    let rows = put_right(client, catalog, table, oid, pace).await?;
    noted.is_done(client, table.no.0.cast_signed()).await.map_err(failed)?;
    tracing::warn!(table = %table.name, rows, rows_gone = noted.rows_gone, "writes that capture missed are put right");
    Ok(())
}

/// Stamps the rows that came while capture was not itself, once for what was noted, which is left to [`settle`]: no catalog can be published now, and
/// what has to be fed with one must not keep the table from being served.
pub(crate) async fn stamp_missed(
    client: &mut Client,
    catalog: &Catalog,
    table: &Table,
    oid: u32,
    pace: &Pace<'_>,
) -> Result<(), CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: table.name.clone(), error };
    let no = table.no.0.cast_signed();
    let open = "SELECT EXISTS (SELECT FROM rejoin.drifted WHERE table_no = $1 AND NOT stamped)";
    if !client.query_one(open, &[&no]).await.map_err(|error| failed(error.into()))?.get::<_, bool>(0) {
        return Ok(());
    }
    let Some(noted) = claim(client, table, pace).await.map_err(failed)? else { return Ok(()) };
    put_right(client, catalog, table, oid, pace).await?;
    let stamped = "UPDATE rejoin.drifted SET stamped = true WHERE table_no = $1 AND id <= $2";
    client.execute(stamped, &[&no, &noted.last]).await.map_err(|error| failed(error.into()))?;
    Ok(())
}

/// Goes through the table; how many rows were written.
async fn put_right(client: &mut Client, catalog: &Catalog, table: &Table, oid: u32, pace: &Pace<'_>) -> Result<u64, CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: table.name.clone(), error };
    let buried = "SELECT EXISTS (SELECT FROM rejoin.tombstones WHERE table_no = $1)";
    let no = table.no.0.cast_signed();
    let buried = client.query_one(buried, &[&no]).await.map_err(|error| failed(error.into()))?.get(0);
    let mut rows = 0;
    for (oid, name) in holders(client, oid).await.map_err(failed)? {
        let pages = Pages { name: &name, label: &table.name, oid, first: STAMP_PAGES_FIRST, pace };
        let unsettled = Unsettled { catalog, table, name: &name, buried };
        let mut written = 1;
        // VACUUM FULL and CLUSTER between two batches move rows to pages that were gone through.
        while unsettled.are_there(client, "true").await.map_err(failed)? {
            if written == 0 {
                return Err(failed(StoreError::Busy("its rows are moved all the time".to_owned())));
            }
            written = pages.through(client, &unsettled, rows).await?;
            rows += written;
        }
    }
    Ok(rows)
}

/// What was noted of a table.
#[derive(Debug, Clone, Copy)]
struct Noted {
    last: i64,
    rows_gone: bool,
}

/// What was noted of the table, nothing if nothing was. Whoever has written down nothing because somebody else had is done before this returns; who
/// comes later writes it down anew.
async fn claim(client: &mut Client, table: &Table, pace: &Pace<'_>) -> Result<Option<Noted>, StoreError> {
    let no = table.no.0.cast_signed();
    let noted = "SELECT EXISTS (SELECT FROM rejoin.drifted WHERE table_no = $1)";
    if !client.query_one(noted, &[&no]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let mut attempts = pace.attempts(&table.name);
    loop {
        match claimed(client, table).await {
            Ok(noted) => return Ok(Some(noted)),
            Err(error) => attempts.again(error).await?,
        }
    }
}

async fn claimed(client: &mut Client, table: &Table) -> Result<Noted, StoreError> {
    let transaction = client.transaction().await?;
    lock(&transaction, &[table_sql(table)]).await?;
    let sql = "WITH claimed AS (UPDATE rejoin.drifted SET claimed = true WHERE table_no = $1 RETURNING id, rows_gone)
               SELECT coalesce(max(id), 0), coalesce(bool_or(rows_gone), false) FROM claimed";
    let row = transaction.query_one(sql, &[&table.no.0.cast_signed()]).await?;
    let noted = Noted { last: row.get(0), rows_gone: row.get(1) };
    transaction.commit().await?;
    Ok(noted)
}

impl Noted {
    async fn is_done(self, client: &mut Client, no: i32) -> Result<(), StoreError> {
        let transaction = client.transaction().await?;
        if self.rows_gone {
            transaction.execute("UPDATE rejoin.tables SET feed_again = true WHERE no = $1", &[&no]).await?;
        }
        transaction.execute("DELETE FROM rejoin.drifted WHERE table_no = $1 AND id <= $2", &[&no, &self.last]).await?;
        Ok(transaction.commit().await?)
    }
}

/// Rows of a table, or of one of its partitions, that are astray or without stamps, or that live though there is a tombstone of theirs.
struct Unsettled<'a> {
    catalog: &'a Catalog,
    table: &'a Table,
    /// What holds them, as SQL names it.
    name: &'a str,
    /// Whether there are tombstones of the table.
    buried: bool,
}

impl Unsettled<'_> {
    fn astray<'s>(&'s self, here: &'s str) -> Astray<'s> {
        Astray { catalog: self.catalog, table: self.table, place: self.name, also: UNSTAMPED, here }
    }

    /// The keys of the rows, with the scopes that they are in.
    fn keys(&self, here: &str) -> String {
        format!("(SELECT t.rejoin_scope AS scope, {} AS key FROM {} t WHERE {here} OFFSET 0) b", key_array(self.table, "t"), self.name)
    }

    async fn are_there(&self, client: &(impl GenericClient + Sync), here: &str) -> Result<bool, StoreError> {
        let mut sql = format!("SELECT EXISTS ({})", self.astray(here).some());
        if self.buried {
            sql += &format!(
                " OR EXISTS (SELECT FROM {} JOIN rejoin.tombstones g ON g.table_no = {} AND g.scope = b.scope AND g.key = b.key)",
                self.keys(here),
                self.table.no
            );
        }
        Ok(client.query_one(&sql, &[]).await?.try_get(0)?)
    }

    async fn settled(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, StoreError> {
        let here = format!("t.ctid >= '({},0)' AND t.ctid < '({},0)'", pages.start, pages.end);
        let transaction = client.transaction().await?;
        // Pages are read by their numbers, whatever the planner thinks.
        let settings = "SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0";
        transaction.batch_execute(settings).await?;
        if !self.are_there(&transaction, &here).await? {
            return Ok(0);
        }
        let moving = with_dependents(self.catalog, &[self.table.no]);
        lock(&transaction, &moving).await?;
        let astray = self.astray(&here);
        take(&transaction, &astray.scopes()).await?;
        let unburied = if self.buried { self.unbury(&transaction, &here).await? } else { 0 };
        let hush = Hush::begin(&transaction, &moving, Which::Users).await?;
        let rows = astray.restamp(&transaction).await?;
        hush.end(&transaction).await?;
        transaction.commit().await?;
        Ok(rows.max(unburied))
    }

    async fn unbury(&self, transaction: &Transaction<'_>, here: &str) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM rejoin.tombstones g USING {} WHERE g.table_no = {} AND g.scope = b.scope AND g.key = b.key",
            self.keys(here),
            self.table.no
        );
        Ok(transaction.execute(&sql, &[]).await?)
    }
}

impl Batch for Unsettled<'_> {
    async fn run(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, CaptureError> {
        self.settled(client, pages).await.map_err(|error| CaptureError::Store { table: self.table.name.clone(), error })
    }
}
