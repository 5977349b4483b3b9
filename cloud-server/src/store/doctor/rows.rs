//! Rows that came past the triggers.

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;

use super::{Finding, Severity, there};
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::row::table_sql;

const REMEDY: &str = "rejoin doctor --mend stamps them; what was deleted meanwhile is found by feeding the whole table again";

pub(super) async fn look(client: &Client, catalog: &Catalog, schema: &Schema, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let stamped = |found: &&FoundTable| ["rejoin_scope", "rejoin_tick"].iter().all(|name| found.column_named(name).is_some());
    for (table, found) in there(catalog, schema) {
        let Some(found) = found.filter(stamped) else { continue };
        let (without, astray) = count(client, table).await?;
        if without > 0 {
            let what = format!("{without} rows have no stamps and do not travel");
            findings.push(Finding::new(Severity::Error, what, REMEDY).of(found));
        }
        if astray > 0 {
            let what = format!(
                "{astray} rows carry ticks that were never given: they were written past the triggers (session_replication_role, a restore)"
            );
            findings.push(Finding::new(Severity::Error, what, REMEDY).of(found));
        }
    }
    Ok(())
}

/// Rows without stamps, and rows whose tick nobody took.
async fn count(client: &Client, table: &Table) -> Result<(i64, i64), StoreError> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL),
                count(*) FILTER (WHERE t.rejoin_tick IS NOT NULL AND t.rejoin_scope IS NOT NULL AND k.tick IS NULL)
         FROM {} t LEFT JOIN rejoin.ticks k ON k.scope = t.rejoin_scope AND k.tick = t.rejoin_tick",
        table_sql(table)
    );
    let row = client.query_one(&sql, &[]).await?;
    Ok((row.get(0), row.get(1)))
}
