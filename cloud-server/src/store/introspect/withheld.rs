//! Columns that looked like secrets under the names that they had when they were left out: a RENAME sends them to nobody.

use tokio_postgres::Transaction;

use super::{FoundTable, Identity, names};
use crate::store::error::StoreError;

/// Marks the columns that stayed at the cloud as secrets.
pub(super) async fn recall(transaction: &Transaction<'_>, tables: &mut [FoundTable], identity: &Identity) -> Result<(), StoreError> {
    if !names::are_kept(transaction).await? {
        return Ok(());
    }
    // Where the cluster does not say which one it is, it is taken for the one that was seen: better one column too few travels.
    let same = names::seen(transaction).await?.as_deref() == Some(identity.here().as_str());
    let sql = "SELECT t.oid, t.schema_name, t.table_name, c.attnum, c.column_name
               FROM rejoin.columns c JOIN rejoin.tables t ON t.no = c.table_no WHERE c.secret AND c.dropped_at IS NULL AND t.dropped_at IS NULL";
    for row in transaction.query(sql, &[]).await? {
        let (oid, schema, name, attnum, column): (u32, &str, &str, i16, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let by_oid = tables.iter().position(|table| same && table.oid == oid);
        let at = by_oid.or_else(|| tables.iter().position(|table| table.schema == schema && table.name == name));
        let Some(columns) = at.map(|at| &mut tables[at].columns) else { continue };
        let by_place = columns.iter().position(|found| by_oid.is_some() && found.attnum == attnum);
        let place = by_place.or_else(|| columns.iter().position(|found| found.name == column));
        if let Some(found) = place.map(|place| &mut columns[place]) {
            found.secret = true;
        }
    }
    Ok(())
}
