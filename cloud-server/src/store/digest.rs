//! Digests of the accepted rows: what proves that cloud and sites hold the same.

use conflict_ui_api::backend::{Digests, TableDigest};
use futures_util::TryStreamExt;
use sync_core::catalog::Catalog;
use sync_core::change::SetDigest;
use sync_core::id::ScopeId;
use tokio_postgres::IsolationLevel;

use super::error::StoreError;
use super::pool::Database;
use super::row::{read_row, select_list, table_sql};

/// Computes the digests of every user table in one snapshot. Rows stream through: memory does not grow with them. Soft-deleted rows are
/// rows; the engine's tables take no part, nor does what no site holds whole: tables that travel up or are kept for a time, rows that are
/// nowhere. Nothing is held at the cloud.
///
/// # Errors
/// The store failed.
pub async fn digests(db: &Database, catalog: &Catalog) -> Result<Digests, StoreError> {
    let mut client = db.client().await?;
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let mut total = SetDigest::default();
    let mut tables = Vec::new();
    for table in catalog.tables.iter().filter(|table| !table.engine && table.is_held_whole()) {
        let sql = format!("SELECT {} FROM {} t WHERE t.rejoin_scope <> $1", select_list(table, "t"), table_sql(table));
        let rows = transaction.query_raw(&sql, [ScopeId::NOWHERE]).await?;
        futures_util::pin_mut!(rows);
        let mut digest = SetDigest::default();
        while let Some(row) = rows.try_next().await? {
            let stored = read_row(table, &row, 0)?;
            digest.add(table, &stored.row);
            total.add(table, &stored.row);
        }
        let name = format!("{}.{}", table.schema, table.name);
        tables.push(TableDigest { table: name, digest: digest.hex(), rows: digest.rows, held: Vec::new() });
    }
    transaction.commit().await?;
    Ok(Digests { digest: total.hex(), rows: total.rows, held: 0, tables })
}
