//! Rows that came past the triggers.

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;

use super::{Finding, Severity, there};
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::prepare;
use crate::store::row::table_sql;

const REMEDY: &str =
    "rejoin doctor --mend stamps them and feeds the whole table again, so that what was changed or deleted that way meanwhile is found too";

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

/// Notes the tables that hold such rows: they are stamped when the database is made ready again. Changes and deletes that were made past the
/// triggers left no trace, so the table is fed again, and sites let go of what does not come.
pub(super) async fn note(client: &Client) -> Result<(), StoreError> {
    let attached: bool = client.query_one("SELECT to_regclass('rejoin.drifted') IS NOT NULL", &[]).await?.get(0);
    let Some(catalog) = (if attached { prepare::published(client).await? } else { None }) else { return Ok(()) };
    for table in &catalog.tables {
        let there = "SELECT count(*) = 2 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname IN ('rejoin_scope', 'rejoin_tick')";
        if !client.query_one(there, &[&table_sql(table)]).await?.get::<_, bool>(0) {
            continue;
        }
        if count(client, table).await? != (0, 0) {
            client.execute("SELECT rejoin.drifts($1, true)", &[&table.no.0.cast_signed()]).await?;
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
