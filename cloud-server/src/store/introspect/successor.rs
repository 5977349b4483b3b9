//! A table that becomes partitioned. PostgreSQL cannot alter a table into that: a new one is made beside it, gets its rows, and then its name. The
//! old one may be kept for a while under another name, or be gone. By their oids the old one was renamed; but what a program calls the table is
//! the new one, and what sites wrote belongs there.

use tokio_postgres::Transaction;

use super::numbers::Known;
use super::{FoundTable, Schema};
use crate::store::error::StoreError;
use crate::store::row::quote;

/// The known tables, where one became partitioned with its successor's oid.
pub(super) async fn named(transaction: &Transaction<'_>, schema: &Schema, known: &[Known<u32>]) -> Result<Vec<Known<u32>>, StoreError> {
    let mut named = known.to_vec();
    for at in 0..known.len() {
        if let Some(successor) = successor(transaction, schema, &known[at]).await? {
            // It may have a number already: the cloud looked before it got the name.
            for other in named.iter_mut().filter(|other| other.evidence == successor) {
                other.evidence = 0;
            }
            named[at].evidence = successor;
            tracing::info!(table = %known[at].name, "it became partitioned: another table has its name and its rows");
        }
    }
    Ok(named)
}

/// The oid of the partitioned table that has this one's name now, and its columns and rows.
async fn successor(transaction: &Transaction<'_>, schema: &Schema, known: &Known<u32>) -> Result<Option<u32>, StoreError> {
    let is_named = |found: &&FoundTable| format!("{}.{}", found.schema, found.name) == known.name;
    let Some(new) = schema.tables.iter().find(is_named).filter(|new| new.oid != known.evidence && new.is_partitioned()) else {
        return Ok(None);
    };
    let sql =
        "SELECT t.filenode IS NULL, ARRAY(SELECT c.column_name FROM rejoin.columns c WHERE c.table_no = t.no AND c.dropped_at IS NULL)
               FROM rejoin.tables t WHERE t.no = $1";
    let row = transaction.query_one(sql, &[&known.no]).await?;
    let (was_partitioned, columns): (bool, Vec<String>) = (row.get(0), row.get(1));
    if was_partitioned || !columns.iter().all(|name| new.column_named(name).is_some()) {
        return Ok(None);
    }
    let old = schema.tables.iter().find(|found| found.oid == known.evidence);
    let copied = match old {
        Some(old) => shares_rows(transaction, old, new).await?,
        None => true,
    };
    Ok(copied.then_some(new.oid))
}

/// Whether rows of the old table are in the new one, by the old one's key; a table without rows shares them with every other.
async fn shares_rows(transaction: &Transaction<'_>, old: &FoundTable, new: &FoundTable) -> Result<bool, StoreError> {
    let key: Vec<&str> = old.key.iter().filter_map(|attnum| old.column(*attnum)).map(|column| column.name.as_str()).collect();
    if key.is_empty() || old.obstacle.is_some() || new.obstacle.is_some() || key.iter().any(|name| new.column_named(name).is_none()) {
        return Ok(false);
    }
    let place = |table: &FoundTable| format!("{}.{}", quote(&table.schema), quote(&table.name));
    let same: Vec<String> = key.into_iter().map(quote).map(|name| format!("o.{name}::text = n.{name}::text")).collect();
    let sql = format!(
        "SELECT NOT EXISTS (SELECT FROM {old}) OR EXISTS (SELECT FROM {old} o JOIN {new} n ON {})",
        same.join(" AND "),
        old = place(old),
        new = place(new)
    );
    Ok(transaction.query_one(&sql, &[]).await?.get(0))
}
