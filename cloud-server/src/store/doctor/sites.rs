//! Sites that are behind, and sequences that are behind what sites were leased.

use sync_core::catalog::Catalog;
use tokio_postgres::Client;

use super::{Finding, Severity};
use crate::store::error::StoreError;
use crate::store::leases::behind::{Behind, behind};

pub(super) async fn look(client: &Client, catalog: &Catalog, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let sql = "SELECT r.catalog_version, array_agg(DISTINCT s.name ORDER BY s.name)
               FROM rejoin.replicas r JOIN rejoin.sites s ON s.id = r.site_id
               WHERE s.revoked_at IS NULL AND r.catalog_version BETWEEN 1 AND $1::bigint - 1 GROUP BY r.catalog_version ORDER BY r.catalog_version";
    for row in client.query(sql, &[&catalog.version.0]).await? {
        let (version, names): (i64, Vec<String>) = (row.get(0), row.get(1));
        let what = format!("on catalog {version}, this one is {}: {}", catalog.version, names.join(", "));
        findings.push(Finding::new(Severity::Info, what, "they take the new one when they come online"));
    }
    for Behind { sequence, table, column, leased, .. } in behind(client, catalog).await? {
        let what = format!(
            "{sequence} stands before number {leased}, which a site was leased: it would give leased numbers to the cloud's own rows"
        );
        let remedy = format!("a running cloud sets it behind them within seconds; else SELECT setval('{sequence}', {leased})");
        let table = if table.0 == "public" { table.1 } else { format!("{}.{}", table.0, table.1) };
        findings.push(Finding { table: Some(table), ..Finding::new(Severity::Error, what, remedy).column(&column) });
    }
    Ok(())
}
