//! Numbers of identity and serial keys, leased to sites: taken with `nextval`, so that neither another site nor the user's own program ever
//! meets one of them, and given to one replica.
//!
//! An answer may get lost on its way: each has a number, the site names the last one that it has stored, and what later ones gave is given
//! again. Numbers are never taken back: a site that is away for good leaves a gap.

pub(crate) mod behind;
mod blocks;
mod take;
mod unleased;

use std::collections::HashSet;

use deadpool_postgres::Transaction;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::{LEASE_MAX, LEASE_NUMBERS_MAX};
use sync_core::wire::message::{Lease, LeaseAnswer, LeaseRefusal, LeaseRequest};

pub(crate) use self::take::number;
pub(crate) use self::unleased::{New, unleased};
use super::error::StoreError;
use super::pool::Database;
use super::row::{quote, table_sql};
use super::sites::SiteIdentity;
use super::speaker::{self, SyncError};

/// Gives numbers to a site's replica.
///
/// # Errors
/// See [`SyncError`]: the speaker is not one of this site's replicas; the store failed. Why a single column gets none is in the answer.
pub async fn lease(db: &Database, catalog: &Catalog, site: &SiteIdentity, request: &LeaseRequest) -> Result<LeaseAnswer, SyncError> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await.map_err(StoreError::from)?;
    // Two requests of one replica do not cross.
    speaker::check(&transaction, site.site, &request.speaker, true).await?;
    let replica = request.speaker.replica.0;
    blocks::settle(&transaction, replica, request.answered).await?;
    let mut answer = LeaseAnswer { no: 0, leases: Vec::new(), refused: Vec::new() };
    for (no, lease) in lost(&transaction, catalog, request).await? {
        answer.no = answer.no.max(no);
        answer.leases.push(lease);
    }
    let again: HashSet<(TableNo, ColumnNo)> = answer.leases.iter().map(|lease| (lease.table, lease.column)).collect();
    let mut taken: Vec<Lease> = Vec::new();
    let mut room = LEASE_NUMBERS_MAX;
    for want in request.wants.iter().filter(|want| !again.contains(&(want.table, want.column))) {
        let count = usize::try_from(want.count.min(LEASE_MAX)).unwrap_or(0).min(room);
        let refuse = |reason: String| LeaseRefusal { table: want.table, column: want.column, reason };
        let Some((table, column)) = leased(catalog, want.table, want.column) else {
            answer.refused.push(refuse("the catalog has no such key that is leased".to_owned()));
            continue;
        };
        transaction.batch_execute("SAVEPOINT rejoin_lease").await.map_err(StoreError::from)?;
        match take::take(&transaction, table, column, count).await {
            Ok(leases) => {
                room = room.saturating_sub(leases.iter().map(size).sum());
                taken.extend(leases);
            }
            Err(take::TakeError::Store(error)) if error.sql_state().is_none() => return Err(error.into()),
            Err(error) => {
                transaction.batch_execute("ROLLBACK TO rejoin_lease").await.map_err(StoreError::from)?;
                answer.refused.push(refuse(error.to_string()));
            }
        }
    }
    if !taken.is_empty() {
        let next = "SELECT coalesce(max(answer), 0) + 1 FROM rejoin.leases WHERE replica = $1";
        let next: i64 = transaction.query_one(next, &[&replica]).await.map_err(StoreError::from)?.get(0);
        answer.no = next.max(request.answered.saturating_add(1));
        blocks::record(&transaction, replica, answer.no, &taken).await?;
        answer.leases.extend(taken);
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(answer)
}

/// The column, if it is one of whose numbers sites are given.
fn leased(catalog: &Catalog, table: TableNo, column: ColumnNo) -> Option<(&Table, &Column)> {
    let table = catalog.table(table)?;
    table.leased_columns().find(|found| found.no == column).map(|column| (table, column))
}

/// How many numbers a lease holds.
fn size(lease: &Lease) -> usize {
    usize::try_from(lease.last.abs_diff(lease.first) / lease.step.unsigned_abs().max(1)).unwrap_or(usize::MAX).saturating_add(1)
}

/// What answers gave that the replica did not get. Numbers of which a row is there were got all the same: this copy was restored from
/// before the answer, and its other life has used them.
async fn lost(transaction: &Transaction<'_>, catalog: &Catalog, request: &LeaseRequest) -> Result<Vec<(i64, Lease)>, StoreError> {
    let sql = "SELECT answer, table_no, column_no, first, last, step FROM rejoin.leases WHERE replica = $1 AND answer > $2
               ORDER BY table_no, column_no, answer, first";
    let rows = transaction.query(sql, &[&request.speaker.replica.0, &request.answered]).await?;
    let mut lost = Vec::new();
    for row in rows {
        let (table, column) = (TableNo(row.try_get::<_, i32>(1)?.cast_unsigned()), ColumnNo(row.try_get::<_, i32>(2)?.cast_unsigned()));
        let Some((found, key)) = leased(catalog, table, column) else { continue };
        let lease = Lease { table, column, first: row.try_get(3)?, last: row.try_get(4)?, step: row.try_get(5)? };
        let used = format!("SELECT EXISTS (SELECT FROM {} WHERE {} BETWEEN $1::bigint AND $2::bigint)", table_sql(found), quote(&key.name));
        let range = (lease.first.min(lease.last), lease.first.max(lease.last));
        if !transaction.query_one(&used, &[&range.0, &range.1]).await?.try_get::<_, bool>(0)? {
            lost.push((row.try_get(0)?, lease));
        }
    }
    Ok(lost)
}
