//! A new catalog comes into force, in one transaction with all that follows from it: rows that sites would otherwise miss are fed again, or written
//! down to be fed as soon as it is ([`super::feeding`]), so that no site can have passed them under the old catalog for good; what is kept under
//! names and keys follows renames and new keys.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::ClientWrapper;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::CatalogVersion;
use sync_core::limits::CATALOGS_KEPT;
use sync_core::policy::Policy;
use tokio_postgres::Transaction;

use super::feed::{Fed, Feed, Rows};
use super::{PrepareError, added, feed, follow, published, rekey};
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::pace::{Pace, wait_briefly};

/// What is remembered of a table from one catalog to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    generation: i32,
    feed_again: bool,
    filenode: Option<u32>,
    /// Whether a catalog had it.
    published: bool,
}

/// A table on its way from the last catalog to this one.
pub(super) struct Motion<'a> {
    pub(super) old: &'a Table,
    pub(super) found: Option<&'a FoundTable>,
    /// Whether PostgreSQL wrote the table anew, as far as that can be told.
    pub(super) rewritten: bool,
}

/// Stores the catalog as a new version unless it is the last one. Nobody waits for it for long: each lock is tried briefly, and all of it again.
pub(super) async fn publish(
    client: &mut ClientWrapper,
    schema: &Schema,
    catalog: Catalog,
    pace: &Pace<'_>,
) -> Result<Catalog, PrepareError> {
    let mut attempts = pace.attempts("the tables that are fed");
    loop {
        match attempt(client, schema, catalog.clone()).await {
            Err(PrepareError::Store(error)) => attempts.again(error).await?,
            outcome => return outcome,
        }
    }
}

/// The tables of which columns have other names or types than in the last catalog, or are gone.
fn moved(before: &Catalog, now: &Catalog) -> Vec<i32> {
    let same = |old: &Column, table: &Table| table.column(old.no).is_some_and(|now| now.name == old.name && now.sql_type == old.sql_type);
    let stays = |old: &Table| now.table(old.no).is_some_and(|table| old.columns.iter().all(|column| same(column, table)));
    before.tables.iter().filter(|old| !stays(old)).map(|old| old.no.0.cast_signed()).collect()
}

async fn attempt(client: &mut ClientWrapper, schema: &Schema, mut catalog: Catalog) -> Result<Catalog, PrepareError> {
    let before = published(client).await?;
    catalog.version = before.as_ref().map_or(CatalogVersion(0), |before| before.version);
    let transaction = client.transaction().await?;
    transaction.batch_execute(&wait_briefly()).await?;
    let known = known(&transaction).await?;
    let found = |table: &Table| schema.tables.iter().find(|found| found.schema == table.schema && found.name == table.name);
    let mut anew: BTreeSet<u32> = BTreeSet::new();
    for table in &mut catalog.tables {
        let known = known.get(&table.no.0).copied().unwrap_or_default();
        table.generation = known.generation.cast_unsigned();
        // What was deleted while it was out of the catalog left nothing behind.
        let back = known.published && before.as_ref().is_some_and(|before| before.table(table.no).is_none());
        if known.feed_again || back {
            anew.insert(table.no.0);
        }
    }
    let mut changed = true;
    if let Some(before) = &before {
        let motion = |table: &Table| {
            let (old, found) = (before.table(table.no)?, found(table));
            let was = known.get(&table.no.0).and_then(|known| known.filenode);
            let rewritten = was.is_none() || found.is_none_or(|found| found.filenode != was);
            Some(Motion { old, found, rewritten })
        };
        let mut others: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for table in &mut catalog.tables {
            if let Some(motion) = motion(table) {
                others.insert(table.no.0, added::give(&transaction, &motion, table).await?);
            }
        }
        let tables = catalog.clone();
        let mut fed = Fed::default();
        for table in tables.ways_first() {
            let others = others.get(&table.no.0).map_or(&[][..], Vec::as_slice);
            let mut feed = match motion(table) {
                Some(motion) => feed::feed(&transaction, &tables, &motion, table, others).await?,
                None => Feed { scopes: false, rows: Rows::AtOnce },
            };
            if anew.contains(&table.no.0) {
                feed.rows = Rows::AtOnce;
            }
            fed.add(table, feed);
        }
        fed.hold(&transaction, &tables).await?;
        follow::renames(&transaction, before, &catalog).await?;
        anew.extend(rekey::keys(&transaction, before, &catalog).await?);
        raise(&transaction, &mut catalog, &anew).await?;
        changed = !is_last(&transaction, &catalog).await?;
        fed.feed(&transaction, &tables, &moved(before, &tables)).await?;
    }
    forget_times(&transaction, &catalog).await?;
    remember(&transaction, &catalog, &found).await?;
    if changed {
        catalog.version.0 += 1;
        let sql = "INSERT INTO rejoin.catalogs (version, body) VALUES ($1, $2)";
        transaction.execute(sql, &[&catalog.version.0, &body(&catalog)?]).await?;
        // The names of what is gone are read from those that are kept.
        let old = "DELETE FROM rejoin.catalogs WHERE version <= $1 AND version NOT IN (SELECT catalog_version FROM rejoin.replicas)";
        transaction.execute(old, &[&(catalog.version.0 - CATALOGS_KEPT)]).await?;
        tracing::info!(version = catalog.version.0, tables = catalog.tables.len(), "catalog published");
    }
    transaction.commit().await?;
    Ok(catalog)
}

async fn known(transaction: &Transaction<'_>) -> Result<BTreeMap<u32, Known>, StoreError> {
    let sql = "SELECT no, generation, feed_again, filenode, published FROM rejoin.tables WHERE dropped_at IS NULL";
    let rows = transaction.query(sql, &[]).await?;
    let known =
        |row: &tokio_postgres::Row| Known { generation: row.get(1), feed_again: row.get(2), filenode: row.get(3), published: row.get(4) };
    Ok(rows.iter().map(|row| (row.get::<_, i32>(0).cast_unsigned(), known(row))).collect())
}

/// Sites let go of the rows of these tables that do not come with the catalog.
async fn raise(transaction: &Transaction<'_>, catalog: &mut Catalog, anew: &BTreeSet<u32>) -> Result<(), StoreError> {
    for table in catalog.tables.iter_mut().filter(|table| anew.contains(&table.no.0)) {
        let no = table.no.0.cast_signed();
        let sql = "UPDATE rejoin.tables SET generation = generation + 1, feed_again = false WHERE no = $1 RETURNING generation";
        table.generation = transaction.query_one(sql, &[&no]).await?.get::<_, i32>(0).cast_unsigned();
        rekey::unbury(transaction, table).await?;
        // Its sequence may have begun anew: what was leased before says nothing of the numbers that it gives now. Where it goes on, nobody is
        // given these numbers again either, and rows that have them come in.
        transaction.execute("DELETE FROM rejoin.leases WHERE table_no = $1", &[&no]).await?;
        tracing::info!(table = %table.name, generation = table.generation, "every row is fed again: some may be gone without a trace");
    }
    Ok(())
}

/// Remembers where the tables stand; what is left of rows of tables that are gone is of no use to anybody.
async fn remember<'f>(
    transaction: &Transaction<'_>,
    catalog: &Catalog,
    found: &impl Fn(&Table) -> Option<&'f FoundTable>,
) -> Result<(), StoreError> {
    let numbers: Vec<i32> = catalog.tables.iter().map(|table| table.no.0.cast_signed()).collect();
    let nodes: Vec<Option<u32>> = catalog.tables.iter().map(|table| found(table).and_then(|found| found.filenode)).collect();
    let sql = "UPDATE rejoin.tables t SET filenode = u.node FROM unnest($1::integer[], $2::oid[]) u(no, node)
               WHERE t.no = u.no AND t.filenode IS DISTINCT FROM u.node";
    transaction.execute(sql, &[&numbers, &nodes]).await?;
    transaction.execute("UPDATE rejoin.tables SET feed_again = false WHERE feed_again", &[]).await?;
    transaction.execute("UPDATE rejoin.tables SET published = true WHERE no = ANY($1) AND NOT published", &[&numbers]).await?;
    let gone = "DELETE FROM rejoin.tombstones g USING rejoin.tables t WHERE t.no = g.table_no AND t.dropped_at IS NOT NULL";
    transaction.execute(gone, &[]).await?;
    Ok(())
}

async fn is_last(transaction: &Transaction<'_>, catalog: &Catalog) -> Result<bool, StoreError> {
    let sql = "SELECT body = $1 FROM rejoin.catalogs ORDER BY version DESC LIMIT 1";
    Ok(transaction.query_one(sql, &[&body(catalog)?]).await?.get(0))
}

fn body(catalog: &Catalog) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(catalog).map_err(|error| StoreError::Corrupt(format!("the catalog: {error}")))
}

/// Columns that are not of the policy `newest` (any more) are not timed: what was noted of them would be out of date if they became so again.
async fn forget_times(transaction: &Transaction<'_>, catalog: &Catalog) -> Result<(), StoreError> {
    let timed = |table: &Table| -> Vec<(i32, i32)> {
        let columns = table.columns.iter().filter(|column| column.policy == Policy::Newest);
        columns.filter_map(|column| Some((i32::try_from(table.no.0).ok()?, i32::try_from(column.no.0).ok()?))).collect()
    };
    let (tables, columns): (Vec<i32>, Vec<i32>) = catalog.tables.iter().flat_map(timed).unzip();
    let sql = "DELETE FROM rejoin.edit_times e WHERE NOT EXISTS (
                   SELECT FROM unnest($1::integer[], $2::integer[]) u(t, c) WHERE u.t = e.table_no AND u.c = e.column_no)";
    transaction.execute(sql, &[&tables, &columns]).await?;
    Ok(())
}
