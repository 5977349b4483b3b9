//! A table in use, gone through page by page: batches bounded in time, each a transaction that is tried again while somebody is in its way, the
//! space of the rows' old versions used again on the way.

use std::ops::Range;
use std::time::Instant;

use sync_core::limits::{STAMP_BATCH_TIME, STAMP_PAGES_MAX, STAMP_VACUUM_PAGES};
use tokio_postgres::Client;

use super::apply::CaptureError;
use crate::store::error::StoreError;
use crate::store::pace::{Pace, Progress};

/// What is done to the rows of some pages, in one transaction.
pub(crate) trait Batch {
    /// Does it; how many rows were written.
    async fn run(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, CaptureError>;
}

/// The table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages<'a> {
    /// As SQL names it.
    pub(crate) name: &'a str,
    /// As people do.
    pub(crate) label: &'a str,
    pub(crate) oid: u32,
    /// How many pages the first batch has.
    pub(crate) first: i64,
    pub(crate) pace: &'a Pace<'a>,
}

/// What is stored of a table, in pages: of its largest part, and of all of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) largest: i64,
    pub(crate) all: i64,
    pub(crate) partitioned: bool,
}

/// The pages of a range as an SQL condition on `t.ctid`: from `$1` to before `$2`.
pub(crate) const HERE: &str = "t.ctid >= $1::text::tid AND t.ctid < $2::text::tid";

/// What [`HERE`] takes.
pub(crate) fn bounds(pages: &Range<i64>) -> [String; 2] {
    [format!("({},0)", pages.start), format!("({},0)", pages.end)]
}

/// What holds a table's rows, as SQL names it: the table, or its partitions, each of which has pages of its own.
pub(crate) async fn holders(client: &Client, oid: u32) -> Result<Vec<(u32, String)>, StoreError> {
    let sql = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r' AND (c.oid = $1 OR c.oid IN (SELECT relid FROM pg_partition_tree($1))) ORDER BY c.oid";
    Ok(client.query(sql, &[&oid]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl Pages<'_> {
    fn failed(&self, error: StoreError) -> CaptureError {
        CaptureError::Store { table: self.label.to_owned(), error }
    }

    pub(crate) async fn size(&self, client: &Client) -> Result<Size, StoreError> {
        let sql = "SELECT coalesce(max(pages), 0), coalesce(sum(pages), 0)::bigint, coalesce(bool_or(relkind = 'p'), false)
                   FROM (SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages, c.relkind
                         FROM pg_class c WHERE c.oid = $1 OR c.oid IN (SELECT relid FROM pg_partition_tree($1))) parts";
        let row = client.query_one(sql, &[&self.oid]).await?;
        Ok(Size { largest: row.get(0), all: row.get(1), partitioned: row.get(2) })
    }

    /// Goes through the table once, as large as it is now; how many rows were written. `done`: by former runs through it.
    pub(crate) async fn through(&self, client: &mut Client, batch: &impl Batch, done: u64) -> Result<u64, CaptureError> {
        let size = self.size(client).await.map_err(|error| self.failed(error))?;
        let of = size.largest.cast_unsigned();
        let tell = |rows: u64, pages: i64| {
            self.pace.tell(Progress::Rows { table: self.label, rows, pages: pages.min(size.largest).cast_unsigned(), of });
        };
        let (mut written, mut at, mut pages, mut dirty) = (0, 0, self.first, 0);
        while at < size.largest {
            tell(done + written, at);
            let began = Instant::now();
            let rows = self.patiently(client, batch, at..at + pages).await?;
            written += rows;
            at += pages;
            dirty += if rows > 0 { pages } else { 0 };
            if began.elapsed() > STAMP_BATCH_TIME {
                pages = (pages / 2).max(1);
            } else if began.elapsed() < STAMP_BATCH_TIME / 2 {
                pages = (pages * 2).min(STAMP_PAGES_MAX);
            }
            if dirty >= STAMP_VACUUM_PAGES.max(size.largest / 10) {
                dirty = 0;
                self.vacuum(client, "").await.map_err(|error| self.failed(error))?;
            }
        }
        tell(done + written, size.largest);
        Ok(written)
    }

    /// One batch, however often somebody holds one of its rows.
    async fn patiently(&self, client: &mut Client, batch: &impl Batch, pages: Range<i64>) -> Result<u64, CaptureError> {
        let mut attempts = self.pace.attempts(self.label);
        loop {
            match batch.run(client, &pages).await {
                Err(CaptureError::Store { error, table }) => {
                    attempts.again(error).await.map_err(|error| CaptureError::Store { table, error })?;
                }
                done => return done,
            }
        }
    }

    /// Gives the space of old versions back to the table, so that the next batches go there instead of doubling it.
    pub(crate) async fn vacuum(&self, client: &Client, also: &str) -> Result<(), StoreError> {
        self.pace.tell(Progress::Vacuum { table: self.label });
        Ok(client.batch_execute(&format!("VACUUM (SKIP_LOCKED, TRUNCATE false{also}) {}", self.name)).await?)
    }
}
