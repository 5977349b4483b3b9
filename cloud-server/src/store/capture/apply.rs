//! Brings capture into the database: columns and triggers ([`super::stamp`] does the rows). Each step can be repeated.

use std::collections::{BTreeMap, BTreeSet};

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

/// The triggers that are in force: by table and name, what their comments say.
pub(crate) type Installed = BTreeMap<u32, BTreeMap<String, String>>;

/// Adds the stamp columns that are missing; NULL at first.
pub(crate) async fn add_columns(client: &mut Client, table: &Table, found: &FoundTable, pace: &Pace<'_>) -> Result<(), StoreError> {
    let missing = stamp_columns(table).into_iter().filter(|(name, _)| found.column_named(name).is_none());
    let parts: Vec<String> = missing.map(|(name, ty)| format!("ADD COLUMN IF NOT EXISTS {name} {ty}")).collect();
    if !parts.is_empty() {
        pace.alter(client, &found.label(), &format!("ALTER TABLE {} {}", table_sql(table), parts.join(", "))).await?;
    }
    Ok(())
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
    let sql = "SELECT t.tgrelid, t.tgname::text, CASE WHEN t.tgenabled IN ('O', 'A') THEN obj_description(t.oid, 'pg_trigger') END
               FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND (t.tgname LIKE $1 || '%' OR n.nspname = 'rejoin')";
    let mut installed = Installed::new();
    for row in client.query(sql, &[&TRIGGER_PREFIX]).await? {
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

/// Takes capture off a table that is no longer synced. Its rows lose their stamps, so that they are stamped anew if it comes back.
pub(crate) async fn uninstall(client: &mut Client, found: &FoundTable, triggers: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let name = format!("{}.{}", quote(&found.schema), quote(&found.name));
    let transaction = client.transaction().await?;
    for trigger in triggers.keys() {
        transaction.batch_execute(&format!("DROP TRIGGER IF EXISTS {} ON {name}", quote(trigger))).await?;
    }
    if found.column_named("rejoin_tick").is_some() {
        transaction
            .batch_execute(&format!(
                "ALTER TABLE {name} ALTER COLUMN rejoin_scope DROP NOT NULL, ALTER COLUMN rejoin_tick DROP NOT NULL;
                 UPDATE {name} SET rejoin_scope = NULL, rejoin_tick = NULL"
            ))
            .await?;
    }
    transaction.commit().await?;
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
