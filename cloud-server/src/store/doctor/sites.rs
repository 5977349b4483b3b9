//! Sites that are behind.

use sync_core::catalog::Catalog;
use tokio_postgres::Client;

use super::{Finding, Severity};
use crate::store::error::StoreError;

pub(super) async fn look(client: &Client, catalog: &Catalog, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let sql = "SELECT r.catalog_version, array_agg(DISTINCT s.name ORDER BY s.name)
               FROM rejoin.replicas r JOIN rejoin.sites s ON s.id = r.site_id
               WHERE s.revoked_at IS NULL AND r.catalog_version BETWEEN 1 AND $1::bigint - 1 GROUP BY r.catalog_version ORDER BY r.catalog_version";
    for row in client.query(sql, &[&catalog.version.0]).await? {
        let (version, names): (i64, Vec<String>) = (row.get(0), row.get(1));
        let what = format!("on catalog {version}, this one is {}: {}", catalog.version, names.join(", "));
        findings.push(Finding::new(Severity::Info, what, "they take the new one when they come online"));
    }
    Ok(())
}
