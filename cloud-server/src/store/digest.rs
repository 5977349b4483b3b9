//! Digests of the accepted rows: what proves that cloud and sites hold the same.

use conflict_ui_api::backend::{Digests, TableDigest};
use futures_util::TryStreamExt;
use sync_core::catalog::Catalog;
use sync_core::change::SetDigest;
use sync_core::id::ScopeId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Transaction};

use super::error::StoreError;
use super::guard;
use super::pool::Database;
use super::row::{read_row, select_list, table_sql};

/// Computes the digests of every user table in one snapshot. Rows stream through: memory does not grow with them. Soft-deleted rows are
/// rows; the engine's tables take no part, nor does what no site holds whole: tables that travel up or are kept for a time, rows that are
/// nowhere. Nothing is held at the cloud. `site`: only rows of the scopes that this site is subscribed to, and of the global one.
///
/// # Errors
/// The store failed.
pub async fn digests(db: &Database, catalog: &Catalog, site: Option<&str>) -> Result<Digests, StoreError> {
    let mut client = db.client().await?;
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let locked = guard::all(catalog);
    if !locked.is_empty() {
        transaction.batch_execute(&guard::lock_sql(&locked)).await?;
        guard::check(&transaction, catalog, &locked).await?;
    }
    let scopes = match site {
        Some(site) => scopes_of(&transaction, site).await?,
        None => None,
    };
    let mut total = SetDigest::default();
    let mut tables = Vec::new();
    for table in catalog.tables.iter().filter(|table| !table.engine && table.is_held_whole()) {
        let sql = format!(
            "SELECT {} FROM {} t WHERE t.rejoin_scope <> $1 AND ($2::text[] IS NULL OR t.rejoin_scope = ANY($2))",
            select_list(table, "t"),
            table_sql(table)
        );
        let parameters: [&(dyn ToSql + Sync); 2] = [&ScopeId::NOWHERE, &scopes];
        let rows = transaction.query_raw(&sql, parameters).await?;
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

/// The scopes whose rows a site should hold; `None`: all there are.
async fn scopes_of(transaction: &Transaction<'_>, site: &str) -> Result<Option<Vec<String>>, StoreError> {
    let sql = "SELECT all_scopes, ARRAY(SELECT scope FROM rejoin.subscriptions u WHERE u.site_id = s.id AND u.dropped_at IS NULL)
               FROM rejoin.sites s WHERE name = $1";
    let Some(row) = transaction.query_opt(sql, &[&site]).await? else { return Ok(Some(Vec::new())) };
    let held: Vec<String> = row.try_get(1)?;
    let all: bool = row.try_get(0)?;
    Ok((!all).then(|| held.into_iter().chain([ScopeId::global().0]).collect()))
}
