//! Several writes in one transaction: what they are decided over is read under its locks.

use conflict_ui_api::backend::{Action, Principal, Record};
use conflict_ui_api::error::BackendError;
use sync_core::catalog::Catalog;

use super::write::{FOR_UPDATE, Writer};
use super::{list, read_one, record, user_table};
use crate::store::error::StoreError;
use crate::store::row::{read_row, select_list};
use crate::store::tx::WriteTx;

/// Reads, decides, writes, and commits.
pub(super) async fn run(
    catalog: &Catalog,
    by: &Principal,
    transaction: WriteTx<'_>,
    action: &dyn Action,
) -> Result<Vec<Record>, BackendError> {
    let mut locked = Vec::new();
    for (no, key) in action.locks() {
        let found = read_one(&*transaction, user_table(catalog, no)?, &key, FOR_UPDATE).await?;
        locked.push(found.map(record));
    }
    let mut listed = Vec::new();
    for query in action.lists(&locked) {
        let table = user_table(catalog, query.table)?;
        let sql = list::build(table, &query, &select_list(table, "t"));
        let rows = transaction.query(&sql.sql, &sql.params()).await.map_err(StoreError::from)?;
        listed.push(rows.iter().map(|row| read_row(table, row, 0).map(record)).collect::<Result<Vec<_>, _>>()?);
    }
    let writes = action.decide(&locked, &listed)?;
    let Some(((first, _), last)) = writes.first().zip(writes.last().map(|(_, write)| write)) else { return Ok(Vec::new()) };
    let mut writer = Writer { catalog, table: user_table(catalog, *first)?, by, transaction };
    let mut records = Vec::with_capacity(writes.len());
    for (no, write) in &writes {
        writer.table = user_table(catalog, *no)?;
        records.push(writer.apply(write).await?);
    }
    writer.commit(last).await?;
    Ok(records)
}
