//! Brings capture into the database: columns and triggers ([`super::stamp`] does the rows). Each step can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sync_core::catalog::{Catalog, Table};
use sync_core::value::ColumnType;
use tokio_postgres::Client;

use super::drift::Places;
use super::{Capture, TRIGGER_PREFIX, capture, stamp_columns};
use crate::settings::Settings;
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::pace::Pace;
use crate::store::row::{quote, table_sql};

/// Why a table could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Rows whose parent is not there have no scope.
    #[error("{table} holds rows whose {parent} is not there, so they have no scope; mend or delete them: {example}")]
    Orphans {
        /// The table.
        table: String,
        /// The columns that refer to the parent.
        parent: String,
        /// One of the rows, by ctid.
        example: String,
    },
    /// The store failed.
    #[error("{table}: {error}")]
    Store {
        /// The table.
        table: String,
        /// Why.
        #[source]
        error: StoreError,
    },
}

/// Instead of a comment: PostgreSQL cloned the trigger to a partition.
pub(crate) const CLONED: &str = "cloned";
/// The same, and somebody disabled it there.
pub(crate) const CLONED_OFF: &str = "cloned, disabled";

/// The triggers of tables and partitions: by table and name, what their comments say; nothing where they are disabled.
pub(crate) type Installed = BTreeMap<u32, BTreeMap<String, String>>;

/// Adds the stamp columns that are missing. To a new table (`known` is false) they come empty. To one that sites know they come back filled, in the
/// same statement, so that no crash leaves rows whose versions would begin anew: PostgreSQL writes such a default into its catalog and touches no
/// row. A version is one that is above what anybody was told: above all of the table's history, tombstones, and heads. Nobody counts versions
/// while the column is gone. The rows are fed.
pub(crate) async fn add_columns(
    client: &mut Client,
    table: &Table,
    found: &FoundTable,
    known: bool,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    let missing: Vec<_> = stamp_columns(table).into_iter().filter(|(name, _)| found.column_named(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (name, no) = (table_sql(table), table.no);
    let version = "SELECT greatest(1, (SELECT max(version) FROM rejoin.history WHERE table_no = $1),
                           (SELECT max(version) FROM rejoin.tombstones WHERE table_no = $1), (SELECT max(head) FROM rejoin.scopes)) + 1";
    let version: i64 = if known { client.query_one(version, &[&no.0.cast_signed()]).await?.get(0) } else { 1 };
    let value = |column: &str| match column {
        "rejoin_scope" | "rejoin_tick" => None,
        _ if !known => None,
        column if column == table.stamps.version => Some(version.to_string()),
        column if column == table.stamps.last_modified_by => Some("rejoin.author()".to_owned()),
        _ => Some("now()".to_owned()),
    };
    let parts = missing.iter().map(|(column, ty)| {
        let default = value(column).map(|value| format!(" DEFAULT {value}")).unwrap_or_default();
        format!("ADD COLUMN IF NOT EXISTS {column} {ty}{default}")
    });
    let mut sql = format!("ALTER TABLE {name} {}", parts.collect::<Vec<_>>().join(", "));
    let filled: Vec<String> = missing
        .iter()
        .filter(|(column, _)| value(column).is_some())
        .map(|(column, _)| format!("ALTER COLUMN {column} DROP DEFAULT"))
        .collect();
    if !filled.is_empty() {
        tracing::warn!(table = %found.label(), "stamp columns were gone and are filled anew");
        let fed = format!("DELETE FROM rejoin.feeds WHERE table_no = {no}; INSERT INTO rejoin.feeds (table_no) VALUES ({no})");
        sql = format!("{sql}; ALTER TABLE {name} {}; {fed}", filled.join(", "));
    }
    pace.alter(client, &found.label(), &sql).await
}

/// The capture of a table as it is found.
pub(crate) fn capture_of(catalog: &Catalog, table: &Table, found: &FoundTable, settings: &Settings, places: &Places) -> Capture {
    let naive: BTreeSet<String> =
        found.columns.iter().filter(|column| column.ty == Some(ColumnType::Timestamp)).map(|column| column.name.clone()).collect();
    let history = settings.table(&table.schema, &table.name).and_then(|table| table.history).unwrap_or(true);
    capture(catalog, table, &naive, history, places)
}

/// Reads which triggers of ours are in force, also those that somebody renamed.
pub(crate) async fn installed(client: &Client) -> Result<Installed, StoreError> {
    let sql = "SELECT t.tgrelid, t.tgname::text, CASE WHEN t.tgenabled IN ('O', 'A') THEN
                          CASE WHEN t.tgparentid = 0 THEN obj_description(t.oid, 'pg_trigger') ELSE $2 END
                      WHEN t.tgparentid <> 0 THEN $3 END
               FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE NOT t.tgisinternal AND (t.tgname LIKE $1 || '%' OR n.nspname = 'rejoin')";
    let mut installed = Installed::new();
    for row in client.query(sql, &[&TRIGGER_PREFIX, &CLONED, &CLONED_OFF]).await? {
        let (name, mark): (String, Option<String>) = (row.get(1), row.get(2));
        installed.entry(row.get(0)).or_default().insert(name, mark.unwrap_or_default());
    }
    Ok(installed)
}

/// Users' triggers that would run after ours, by table.
pub(crate) async fn later_triggers(client: &Client) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger
               WHERE NOT tgisinternal AND tgname NOT LIKE $1 || '%' AND tgname > $1 AND tgtype & 3 = 3
                 AND EXISTS (SELECT FROM pg_trigger o WHERE o.tgrelid = pg_trigger.tgrelid AND o.tgname LIKE $1 || '%')
               ORDER BY 1, 2";
    Ok(client.query(sql, &[&TRIGGER_PREFIX]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Makes the triggers what they should be; whether anything had to be done.
pub(crate) async fn install(
    client: &mut Client,
    table: &Table,
    capture: &Capture,
    there: Option<&BTreeMap<String, String>>,
    pace: &Pace<'_>,
) -> Result<bool, StoreError> {
    let right = |there: &BTreeMap<String, String>| {
        there.len() == capture.triggers.len() && capture.triggers.iter().all(|name| there.get(name) == Some(&capture.mark))
    };
    if there.is_some_and(right) {
        return Ok(false);
    }
    let drops = there.into_iter().flatten().map(|(name, _)| format!("DROP TRIGGER IF EXISTS {} ON {};\n", quote(name), table_sql(table)));
    let sql = drops.chain([capture.sql.clone()]).collect::<String>();
    pace.alter(client, &table.name, &sql).await?;
    tracing::debug!(table = %table.name, "capture installed");
    Ok(true)
}

/// Takes capture off a table that is no longer synced. Its rows keep their stamps: nobody is held up for them. That they are out of date from now
/// on is written down ([`super::settle`] puts them right if it comes back), and new rows get none.
pub(crate) async fn uninstall(
    client: &mut Client,
    found: &FoundTable,
    triggers: &BTreeMap<String, String>,
    pace: &Pace<'_>,
) -> Result<(), StoreError> {
    let name = format!("{}.{}", quote(&found.schema), quote(&found.name));
    let mut sql: String = triggers.keys().map(|trigger| format!("DROP TRIGGER IF EXISTS {} ON {name};\n", quote(trigger))).collect();
    if found.column_named("rejoin_tick").is_some() && found.column_named("rejoin_scope").is_some() {
        let _ = write!(
            sql,
            "ALTER TABLE {name} ALTER COLUMN rejoin_scope DROP NOT NULL, ALTER COLUMN rejoin_tick DROP NOT NULL,
                 ALTER COLUMN rejoin_scope DROP DEFAULT, ALTER COLUMN rejoin_tick DROP DEFAULT;
             SELECT rejoin.drifts(no, true) FROM rejoin.tables WHERE oid = {} AND dropped_at IS NULL",
            found.oid
        );
    }
    pace.alter(client, &found.label(), &sql).await?;
    tracing::info!(table = %found.label(), "no longer synced: capture removed");
    Ok(())
}

/// The tables that carry our triggers and are not in the catalog.
pub(crate) fn no_longer_synced<'a>(
    schema: &'a Schema,
    catalog: &Catalog,
    installed: &'a Installed,
) -> Vec<(&'a FoundTable, &'a BTreeMap<String, String>)> {
    let synced = |found: &FoundTable| catalog.tables.iter().any(|table| table.schema == found.schema && table.name == found.name);
    let carrying = installed.iter().filter_map(|(oid, triggers)| Some((schema.tables.iter().find(|found| found.oid == *oid)?, triggers)));
    carrying.filter(|(found, _)| !synced(found)).collect()
}
