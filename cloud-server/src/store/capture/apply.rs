//! Brings capture into the database: columns, triggers, stamps for the rows that were there before. Each step can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sync_core::catalog::{Catalog, Table};
use sync_core::value::ColumnType;
use tokio_postgres::Client;

use super::drift::Places;
use super::{Capture, TRIGGER_PREFIX, capture, scope_expression, stamp_columns};
use crate::settings::Settings;
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema};
use crate::store::row::{quote, table_sql};

/// Rows stamped in one transaction, so that nobody waits long for their heads.
const STAMP_ROWS_MAX: i64 = 1_000;
/// How often a table is gone through for rows without stamps before that is taken for a fault.
const STAMP_PASSES_MAX: usize = 5;

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
pub(crate) async fn add_columns(client: &Client, table: &Table, found: &FoundTable) -> Result<(), StoreError> {
    let missing = stamp_columns(table).into_iter().filter(|(name, _)| found.column_named(name).is_none());
    let parts: Vec<String> = missing.map(|(name, ty)| format!("ADD COLUMN IF NOT EXISTS {name} {ty}")).collect();
    if !parts.is_empty() {
        client.batch_execute(&format!("ALTER TABLE {} {}", table_sql(table), parts.join(", "))).await?;
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
) -> Result<bool, StoreError> {
    let right = |there: &BTreeMap<String, String>| {
        there.len() == capture.triggers.len() && capture.triggers.iter().all(|name| there.get(name) == Some(&capture.mark))
    };
    if there.is_some_and(right) {
        return Ok(false);
    }
    let transaction = client.transaction().await?;
    let drops = there.into_iter().flatten().map(|(name, _)| format!("DROP TRIGGER IF EXISTS {} ON {};", quote(name), table_sql(table)));
    transaction.batch_execute(&drops.collect::<Vec<_>>().join("\n")).await?;
    transaction.batch_execute(&capture.sql).await?;
    transaction.commit().await?;
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

/// Stamps the rows that were there before the triggers, in batches, and closes the door behind them. The table's parents come first.
pub(crate) async fn stamp_rows(client: &mut Client, catalog: &Catalog, table: &Table, found: &FoundTable) -> Result<(), CaptureError> {
    let failed = |error: StoreError| CaptureError::Store { table: found.label(), error };
    let closed = |name: &str| found.column_named(name).is_some_and(|column| column.not_null);
    if !(closed("rejoin_scope") && closed("rejoin_tick")) {
        let batch = Batch::new(catalog, table, found);
        for pass in 0.. {
            let open = format!("SELECT EXISTS (SELECT FROM {} WHERE rejoin_tick IS NULL OR rejoin_scope IS NULL)", table_sql(table));
            if !client.query_one(&open, &[]).await.map_err(|error| failed(error.into()))?.get::<_, bool>(0) {
                break;
            }
            if pass == STAMP_PASSES_MAX {
                return Err(failed(StoreError::Corrupt("rows without stamps keep coming; are the triggers switched off?".to_owned())));
            }
            let mut after = "(0,0)".to_owned();
            while let Some(last) = batch.stamp(client, &after).await? {
                after = last;
            }
        }
    }
    let key: Vec<String> = table.key_columns().map(|column| quote(&column.name)).collect();
    // The defaults are for programs that name no column of ours: the trigger fills in what counts.
    let usual = |name: &str| found.column_named(name).is_some_and(|column| column.not_null && column.default.is_some());
    let mut close = String::new();
    // Not again and again: each ALTER TABLE waits for all who use the table, and looks like a change of the schema.
    if !(usual("rejoin_scope") && usual("rejoin_tick")) {
        close = format!(
            "ALTER TABLE {} ALTER COLUMN rejoin_scope SET NOT NULL, ALTER COLUMN rejoin_tick SET NOT NULL,
                 ALTER COLUMN rejoin_scope SET DEFAULT 'nowhere', ALTER COLUMN rejoin_tick SET DEFAULT 0;",
            table_sql(table)
        );
    }
    let _ = write!(
        close,
        "CREATE INDEX IF NOT EXISTS rejoin_{1}_feed ON {0} (rejoin_scope, rejoin_tick, {2})",
        table_sql(table),
        table.no,
        key.join(", ")
    );
    client.batch_execute(&close).await.map_err(|error| failed(error.into()))
}

/// Stamps the next rows of a table.
struct Batch<'a> {
    found: &'a FoundTable,
    table: &'a Table,
    /// The next rows without stamps, with their scopes. `$1`: the ctid to go on behind.
    rows: String,
}

impl<'a> Batch<'a> {
    fn new(catalog: &Catalog, table: &'a Table, found: &'a FoundTable) -> Self {
        let rows = format!(
            "SELECT t.ctid AS place, {} AS scope FROM {} t
             WHERE t.ctid > $1::text::tid AND (t.rejoin_tick IS NULL OR t.rejoin_scope IS NULL) LIMIT {STAMP_ROWS_MAX}",
            scope_expression(catalog, table, "t"),
            table_sql(table)
        );
        Self { found, table, rows }
    }

    /// Stamps one batch; the ctid to go on behind, `None` after the last.
    async fn stamp(&self, client: &mut Client, after: &str) -> Result<Option<String>, CaptureError> {
        let failed = |error: tokio_postgres::Error| CaptureError::Store { table: self.found.label(), error: error.into() };
        let transaction = client.transaction().await.map_err(failed)?;
        let sql = format!(
            "SELECT max(b.place)::text, array_agg(DISTINCT b.scope) FILTER (WHERE b.scope IS NOT NULL),
                    (array_agg(b.place) FILTER (WHERE b.scope IS NULL))[1]::text FROM ({}) b",
            self.rows
        );
        let row = transaction.query_one(&sql, &[&after]).await.map_err(failed)?;
        let (last, scopes): (Option<String>, Option<Vec<String>>) = (row.get(0), row.get(1));
        if let Some(example) = row.get::<_, Option<String>>(2) {
            return Err(CaptureError::Orphans { table: self.found.label(), parent: self.parent(), example: format!("ctid {example}") });
        }
        let (Some(last), Some(scopes)) = (last, scopes) else { return Ok(None) };
        transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await.map_err(failed)?;
        let stamps = &self.table.stamps;
        let [version, updated_at, modified_by, synced_at] =
            [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quote(name));
        let update = format!(
            "UPDATE {} t SET rejoin_scope = s.scope, rejoin_tick = s.head, {version} = greatest(t.{version}, 1),
                    {updated_at} = coalesce(t.{updated_at}, now()), {modified_by} = coalesce(t.{modified_by}, rejoin.author()),
                    {synced_at} = now()
             FROM ({}) b JOIN rejoin.scopes s ON s.scope = b.scope WHERE t.ctid = b.place AND s.scope = ANY($2)",
            table_sql(self.table),
            self.rows
        );
        transaction.execute(&update, &[&after, &scopes]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Some(last))
    }

    fn parent(&self) -> String {
        let names: Vec<&str> =
            self.table.way_columns().iter().filter_map(|no| self.table.column(*no)).map(|column| column.name.as_str()).collect();
        names.join(", ")
    }
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
