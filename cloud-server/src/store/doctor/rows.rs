//! Rows that came past the triggers.

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Finding, Severity, there};
use crate::store::capture::scope_expression;
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::prepare;
use crate::store::row::table_sql;

const REMEDY: &str =
    "rejoin doctor --mend stamps them and feeds the whole table again, so that what was changed or deleted that way meanwhile is found too";

const ORPHANS: &str = "insert what they refer to, or delete them; then rejoin doctor --mend";

pub(super) async fn look(client: &Client, catalog: &Catalog, schema: &Schema, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
    let stamped = |found: &&FoundTable| ["rejoin_scope", "rejoin_tick"].iter().all(|name| found.column_named(name).is_some());
    for (table, found) in there(catalog, schema) {
        let Some(found) = found.filter(stamped) else { continue };
        let Count { without, astray, orphans } = count(client, catalog, table).await?;
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
        if let Some((orphans, example)) = orphans {
            let what = format!("{orphans} rows refer to what is not there, so they have no scope and do not travel: ctid {example}");
            findings.push(Finding::new(Severity::Warning, what, ORPHANS).of(found));
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
        let count = count(client, &catalog, table).await?;
        if count.without + count.astray > 0 {
            client.execute("SELECT rejoin.drifts($1, true)", &[&table.no.0.cast_signed()]).await?;
        }
    }
    Ok(())
}

/// Rows of a table that came past the triggers.
struct Count {
    /// They have no stamps.
    without: i64,
    /// Nobody took their tick.
    astray: i64,
    /// Of either kind, but what they refer to is not there; one of them, by ctid.
    orphans: Option<(i64, String)>,
}

async fn count(client: &Client, catalog: &Catalog, table: &Table) -> Result<Count, StoreError> {
    let counted = |scope: &str| {
        format!(
            "SELECT count(*) FILTER (WHERE b.bare AND b.scope IS NOT NULL), count(*) FILTER (WHERE NOT b.bare AND b.scope IS NOT NULL),
                    count(*) FILTER (WHERE b.scope IS NULL), min(b.place) FILTER (WHERE b.scope IS NULL)::text
             FROM (SELECT t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL AS bare, {scope} AS scope, t.ctid AS place
                   FROM {} t LEFT JOIN rejoin.ticks k ON k.scope = t.rejoin_scope AND k.tick = t.rejoin_tick
                   WHERE t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL OR k.tick IS NULL OFFSET 0) b",
            table_sql(table)
        )
    };
    let row = match client.query_one(&counted(&scope_expression(catalog, table, "t")), &[]).await {
        // Names moved on, or columns of ours are gone: others say so.
        Err(error) if matches!(error.code(), Some(&SqlState::UNDEFINED_COLUMN | &SqlState::UNDEFINED_TABLE)) => {
            client.query_one(&counted("''"), &[]).await?
        }
        row => row?,
    };
    let orphans: i64 = row.get(2);
    Ok(Count { without: row.get(0), astray: row.get(1), orphans: row.get::<_, Option<String>>(3).map(|place| (orphans, place)) })
}
