//! Stamps for the rows that were there before the triggers, without locking anybody out: every row is written once, in batches of pages
//! bounded in time, the space of the old versions used again on the way; NOT NULL by a check that is validated beside the users; the feed index
//! built beside them too. Whatever it is interrupted at, the next run goes on.

use std::ops::Range;

use sync_core::catalog::{Catalog, ScopeRule, Table};
use sync_core::id::ScopeId;
use sync_core::limits::{SMALL_TABLE_PAGES, STAMP_PAGES_FIRST};
use tokio_postgres::{Client, Transaction};

use super::apply::CaptureError;
use super::hush::Hush;
use super::pages::{Batch, HERE, Pages, Size, bounds};
use super::{literal, scope_expression};
use crate::store::error::StoreError;
use crate::store::introspect::FoundTable;
use crate::store::pace::{Pace, Progress, wait_briefly};
use crate::store::row::{quote, table_sql};

/// How often a table is gone through for rows without stamps before that is taken for a fault.
const PASSES_MAX: usize = 5;

/// Rows that nobody stamped: they hold nothing, or what the columns' defaults say.
const UNSTAMPED: &str = "t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL OR t.rejoin_tick = 0 AND t.rejoin_scope = 'nowhere'";

/// The check that stands in for NOT NULL while that is not proved.
const CHECK: &str = "rejoin_stamped";

/// One table to be stamped.
pub(crate) struct Stamping<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) table: &'a Table,
    pub(crate) found: &'a FoundTable,
    /// No site has heard of the table: publishing it feeds every row, so no tick has to be spent on each batch.
    pub(crate) unheard: bool,
    pub(crate) pace: &'a Pace<'a>,
}

impl Stamping<'_> {
    /// Stamps what has no stamps and closes the door behind it. The table's parents come first.
    pub(crate) async fn run(&self, client: &mut Client) -> Result<(), CaptureError> {
        let failed = |error: StoreError| CaptureError::Store { table: self.found.label(), error };
        let closed = |name: &str| self.found.column_named(name).is_some_and(|column| column.not_null && column.default.is_some());
        let closed = closed("rejoin_scope") && closed("rejoin_tick");
        if !closed || self.astray(client).await.map_err(failed)? {
            self.rows(client).await?;
        }
        if !closed {
            self.close(client).await.map_err(failed)?;
        }
        self.index(client).await.map_err(failed)
    }

    fn pages<'p>(&'p self, name: &'p str, label: &'p str) -> Pages<'p> {
        Pages { name, label, oid: self.found.oid, first: STAMP_PAGES_FIRST, pace: self.pace }
    }

    async fn size(&self, client: &Client) -> Result<Size, StoreError> {
        self.pages("", "").size(client).await
    }

    async fn rows(&self, client: &mut Client) -> Result<(), CaptureError> {
        let (name, label) = (table_sql(self.table), self.found.label());
        let failed = |error: StoreError| CaptureError::Store { table: label.clone(), error };
        let pages = self.pages(&name, &label);
        let batch = Unstamped { of: self, keep_ticks: self.unheard };
        let mut stamped = 0;
        for pass in 0.. {
            let open = format!("SELECT EXISTS ({})", self.to_be_stamped(UNSTAMPED, "b.bare"));
            if !client.query_one(&open, &[]).await.map_err(|error| failed(error.into()))?.get::<_, bool>(0) {
                break;
            }
            if pass == PASSES_MAX {
                return Err(failed(StoreError::Corrupt("rows without stamps keep coming; are the triggers switched off?".to_owned())));
            }
            stamped += pages.through(client, &batch, stamped).await?;
        }
        if stamped > 0 && self.size(client).await.map_err(failed)?.all > SMALL_TABLE_PAGES {
            pages.vacuum(client, ", ANALYZE").await.map_err(failed)?;
        }
        Ok(())
    }

    /// A query for rows that hold `condition` and can be stamped, or hold `also`. Those of a known table whose parents are not there have no scope:
    /// they stay nowhere, and do not stand in the way of others.
    fn to_be_stamped(&self, condition: &str, also: &str) -> String {
        let wanted = if self.unheard { "true".to_owned() } else { format!("b.scope IS NOT NULL OR {also}") };
        format!(
            "SELECT FROM (SELECT {} AS scope, t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL AS bare FROM {} t WHERE {condition} OFFSET 0) b
             WHERE {wanted}",
            scope_expression(self.catalog, self.table, "t"),
            table_sql(self.table),
        )
    }

    /// Whether a table that is closed has rows nowhere that were never stamped: written while it was left out, or while our triggers were off.
    /// Those of which a trigger of ours wrote down that they wait are put right by what reads that.
    async fn astray(&self, client: &Client) -> Result<bool, StoreError> {
        let nowhere = format!("t.rejoin_scope = {} AND t.rejoin_tick = 0", literal(ScopeId::NOWHERE));
        let sql = format!(
            "SELECT EXISTS ({}) AND NOT EXISTS (SELECT FROM rejoin.drifted WHERE table_no = $1)",
            self.to_be_stamped(&nowhere, "false")
        );
        Ok(client.query_one(&sql, &[&self.table.no.0.cast_signed()]).await?.get(0))
    }

    /// NOT NULL. The scan that proves it holds nobody up: only the two moments before and after it do.
    async fn close(&self, client: &mut Client) -> Result<(), StoreError> {
        let (name, label) = (table_sql(self.table), self.found.label());
        // The defaults are for programs that name every column, or none that has no default: the trigger fills in what counts.
        let close = format!(
            "ALTER TABLE {name} ALTER COLUMN rejoin_scope SET NOT NULL, ALTER COLUMN rejoin_tick SET NOT NULL,
                 ALTER COLUMN rejoin_scope SET DEFAULT 'nowhere', ALTER COLUMN rejoin_tick SET DEFAULT 0"
        );
        let size = self.size(client).await?;
        if size.all <= SMALL_TABLE_PAGES {
            return self.pace.alter(client, &label, &format!("{close}; ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {CHECK}")).await;
        }
        let begun = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1 AND conname = $2)";
        if !client.query_one(begun, &[&self.found.oid, &CHECK]).await?.get::<_, bool>(0) {
            let check =
                format!("ALTER TABLE {name} ADD CONSTRAINT {CHECK} CHECK (rejoin_scope IS NOT NULL AND rejoin_tick IS NOT NULL) NOT VALID");
            self.pace.alter(client, &label, &check).await?;
        }
        self.pace.alter(client, &label, &format!("ALTER TABLE {name} VALIDATE CONSTRAINT {CHECK}")).await?;
        self.pace.alter(client, &label, &format!("{close}; ALTER TABLE {name} DROP CONSTRAINT {CHECK}")).await
    }

    /// The index that the feed is read by.
    async fn index(&self, client: &mut Client) -> Result<(), StoreError> {
        let index = format!("rejoin_{}_feed", self.table.no);
        let there = "SELECT i.indisvalid, i.indrelid = $1, c.relispartition FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                     JOIN pg_class t ON t.oid = $1 WHERE c.relnamespace = t.relnamespace AND c.relname = $2";
        let place = format!("{}.{}", quote(&self.table.schema), quote(&index));
        match client.query_opt(there, &[&self.found.oid, &index]).await?.map(|row| (row.get(0), row.get(1), row.get(2))) {
            Some((true, true, _)) => return Ok(()),
            // Left behind by a run that was interrupted while it built it.
            Some((false, true, _)) => client.batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {place}")).await?,
            // Of the table that had this one's number before: it is part of this one now, or gets its own.
            Some((_, false, part)) => {
                let aside = format!("ALTER INDEX {place} RENAME TO {index}_{}", self.found.oid);
                let sql = if part { aside } else { format!("DROP INDEX {place}") };
                self.pace.alter(client, &self.found.label(), &sql).await?;
            }
            None => {}
        }
        if let Some(former) = self.former_index(client).await? {
            let place = format!("{}.{}", quote(&self.table.schema), quote(&former));
            return self.pace.alter(client, &self.found.label(), &format!("ALTER INDEX {place} RENAME TO {index}")).await;
        }
        let key: Vec<String> = self.table.key_columns().map(|column| quote(&column.name)).collect();
        let size = self.size(client).await?;
        let beside = size.all > SMALL_TABLE_PAGES && !size.partitioned;
        let create = format!(
            "CREATE INDEX {} IF NOT EXISTS {index} ON {} (rejoin_scope, rejoin_tick, {})",
            if beside { "CONCURRENTLY" } else { "" },
            table_sql(self.table),
            key.join(", ")
        );
        let label = self.found.label();
        if !beside {
            return self.pace.alter(client, &label, &create).await;
        }
        self.pace.tell(Progress::Index { table: &label });
        // It waits for whoever reads an old state, and holds nobody up meanwhile.
        client.batch_execute("SET lock_timeout = 0").await?;
        let built = client.batch_execute(&create).await;
        client.batch_execute("SET lock_timeout = '10s'").await?;
        Ok(built?)
    }

    /// The one that it had under another number, or that was copied with the columns.
    async fn former_index(&self, client: &Client) -> Result<Option<String>, StoreError> {
        let sql = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   JOIN pg_attribute s ON s.attrelid = i.indrelid AND s.attnum = i.indkey[0] AND s.attname = 'rejoin_scope'
                   JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = i.indkey[1] AND t.attname = 'rejoin_tick'
                   WHERE i.indrelid = $1 AND i.indisvalid AND i.indpred IS NULL ORDER BY 1 LIMIT 1";
        Ok(client.query_opt(sql, &[&self.found.oid]).await?.map(|row| row.get(0)))
    }
}

/// Stamps the rows of some pages.
struct Unstamped<'a> {
    of: &'a Stamping<'a>,
    /// Rows take their scopes' heads as they are.
    keep_ticks: bool,
}

impl Batch for Unstamped<'_> {
    async fn run(&self, client: &mut Client, pages: &Range<i64>) -> Result<u64, CaptureError> {
        let Stamping { catalog, table, found, unheard, .. } = self.of;
        let failed = |error: tokio_postgres::Error| CaptureError::Store { table: found.label(), error: error.into() };
        let scope = scope_expression(catalog, table, "t");
        let name = table_sql(table);
        let [first, last] = bounds(pages);
        let here = format!("{HERE} AND ({UNSTAMPED})");
        let transaction = client.transaction().await.map_err(failed)?;
        // Pages are read by their numbers, whatever the planner thinks of a table that nobody has analyzed.
        let settings = format!("{}; SET LOCAL enable_seqscan = off; SET LOCAL max_parallel_workers_per_gather = 0", wait_briefly());
        transaction.batch_execute(&settings).await.map_err(failed)?;
        let hush = Hush::all(&transaction, &name).await.map_err(|error| CaptureError::Store { table: found.label(), error })?;
        let sql = format!(
            "SELECT array_agg(DISTINCT b.scope) FILTER (WHERE b.scope IS NOT NULL),
                    (array_agg(b.place) FILTER (WHERE b.scope IS NULL))[1]::text
             FROM (SELECT t.ctid AS place, {scope} AS scope FROM {name} t WHERE {here} OFFSET 0) b"
        );
        let row = transaction.query_one(&sql, &[&first, &last]).await.map_err(failed)?;
        let (scopes, orphan): (Option<Vec<String>>, Option<String>) = (row.get(0), row.get(1));
        let mut rows = 0;
        if let Some(example) = orphan {
            if *unheard {
                return Err(CaptureError::Orphans { table: found.label(), parent: self.parent(), example: format!("ctid {example}") });
            }
            let bare = format!(
                "UPDATE {name} t SET rejoin_scope = {}, rejoin_tick = 0
                 WHERE {HERE} AND (t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL) AND {scope} IS NULL",
                literal(ScopeId::NOWHERE)
            );
            rows += transaction.execute(&bare, &[&first, &last]).await.map_err(failed)?;
        }
        if let Some(scopes) = scopes {
            self.heads(&transaction, &scopes, hush.silent).await.map_err(failed)?;
            let stamps = &table.stamps;
            let [version, updated_at, modified_by, synced_at] =
                [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quote(name));
            let update = format!(
                "UPDATE {name} t SET rejoin_scope = s.scope, rejoin_tick = s.head, {version} = greatest(t.{version}, 1),
                        {updated_at} = coalesce(t.{updated_at}, now()), {modified_by} = coalesce(t.{modified_by}, rejoin.author()),
                        {synced_at} = now()
                 FROM rejoin.scopes s WHERE {here} AND s.scope = {scope} AND s.scope = ANY($3)"
            );
            rows += transaction.execute(&update, &[&first, &last, &scopes]).await.map_err(failed)?;
        }
        hush.end(&transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(rows)
    }
}

impl Unstamped<'_> {
    /// Under the scopes' heads, so that no parent moves on meanwhile. Scopes that are new get their first tick.
    async fn heads(&self, transaction: &Transaction<'_>, scopes: &[String], silent: bool) -> Result<(), tokio_postgres::Error> {
        if !self.keep_ticks {
            transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await?;
            return Ok(());
        }
        let new = "SELECT array_agg(w) FROM unnest($1::text[]) w WHERE NOT EXISTS (SELECT FROM rejoin.scopes s WHERE s.scope = w)";
        if let Some(new) = transaction.query_one(new, &[&scopes]).await?.get::<_, Option<Vec<String>>>(0) {
            transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&new]).await?;
        }
        // Who keeps writers out sees what a parent's mover did to these rows, or the mover sees these stamps.
        if silent && matches!(self.of.table.scope, ScopeRule::Through(_)) {
            let hold = "SELECT count(*) FROM (SELECT FROM rejoin.scopes WHERE scope = ANY($1) ORDER BY scope COLLATE \"C\" FOR SHARE) held";
            transaction.execute(hold, &[&scopes]).await?;
        }
        Ok(())
    }

    fn parent(&self) -> String {
        let table = self.of.table;
        let names: Vec<&str> = table.way_columns().iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
        names.join(", ")
    }
}
