//! One entry that makes a database ready: migrate, introspect, stamp, capture, publish. Safe to repeat, at every start and on demand.

use std::collections::BTreeSet;
use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use sync_core::catalog::{Catalog, DefaultValue, ScopeRule, Table, Travel};
use sync_core::id::CatalogVersion;
use sync_core::policy::Policy;
use tokio_postgres::{Client, Transaction};

use super::capture::{self, apply, apply::CaptureError};
use super::error::StoreError;
use super::introspect::choose::{Chosen, choose};
use super::introspect::{Schema, assemble::assemble, numbers, read};
use super::migrate::{self, MigrateError};
use super::pool::Database;
use super::row::table_sql;
use crate::settings::{Settings, SettingsError};
use crate::systems::BuiltIn;

pub use super::introspect::choose::{LeftOutColumn, Plan, PlanEntry, Travels};

/// Why a database could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The migrations failed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// `rejoin.toml` names what is not there or not fit.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Tables that are synced would no longer be, though they are there and nobody said so: their copies at the sites would go.
    #[error(
        "rejoin.toml no longer reaches {}: their copies at the sites would go. If that is meant, name them in left_out; a file that is given replaces \
         the settings of the built-in system, so begin with a copy of those (migrations/systems/NAME/rejoin.toml)", .0.join(", ")
    )]
    Unreached(Vec<String>),
    /// A table could not be brought in.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for PrepareError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes the database ready and returns the catalog in force. Publishes a new version only where something differs.
///
/// # Errors
/// See [`PrepareError`]. What was done before the error stays; the next call goes on.
pub async fn prepare(db: &Database, settings: &Settings, system: Option<BuiltIn>) -> Result<Arc<Catalog>, PrepareError> {
    let mut client = migrate::locked(db).await?;
    migrate::up_on(&mut client, system).await?;
    let mut schema = read(&mut client).await?;
    let (chosen, plan) = choose(&mut schema, settings)?;
    for entry in plan.tables.iter().filter(|entry| !entry.synced || !entry.notes.is_empty()) {
        tracing::info!(table = %entry.table, synced = entry.synced, notes = ?entry.notes, "{}", entry.reason);
    }
    let transaction = client.transaction().await?;
    let numbers = numbers::give(&transaction, &schema, &chosen).await?;
    transaction.commit().await?;
    let catalog = assemble(&schema, &chosen, &numbers, settings);
    let unreached = unreached(published(&client).await?.as_ref(), &catalog, &schema, settings);
    if !unreached.is_empty() {
        return Err(PrepareError::Unreached(unreached));
    }
    bring_in(&mut client, &schema, &chosen, &catalog, settings).await?;
    Ok(Arc::new(publish(&mut client, catalog).await?))
}

/// The tables that the last catalog held and this one does not, though they are there and not left out on purpose.
fn unreached(last: Option<&Catalog>, catalog: &Catalog, schema: &Schema, settings: &Settings) -> Vec<String> {
    let gone = last.into_iter().flat_map(|last| &last.tables).filter(|table| !table.engine && catalog.table(table.no).is_none());
    let there = |table: &Table| {
        schema.tables.iter().any(|found| found.obstacle.is_none() && found.schema == table.schema && found.name == table.name)
    };
    let meant = |table: &Table| settings.left_out.iter().any(|name| crate::settings::names(name.get_ref(), &table.schema, &table.name));
    gone.filter(|table| there(table) && !meant(table)).map(|table| format!("{}.{}", table.schema, table.name)).collect()
}

/// What [`prepare`] would sync, and why; changes nothing. Before the first migration the built-in system's tables are not there yet.
///
/// # Errors
/// `rejoin.toml` names what is not there or not fit; the store failed.
pub async fn plan(db: &Database, settings: &Settings) -> Result<Plan, PrepareError> {
    let mut client = db.client().await?;
    let mut schema = read(&mut client).await?;
    Ok(choose(&mut schema, settings)?.1)
}

/// The catalog that was published last.
///
/// # Errors
/// The store failed, or holds what is no catalog.
pub async fn published(client: &Client) -> Result<Option<Catalog>, StoreError> {
    let row = client.query_opt("SELECT body FROM rejoin.catalogs ORDER BY version DESC LIMIT 1", &[]).await?;
    row.map(|row| serde_json::from_value(row.get(0)).map_err(|error| StoreError::Corrupt(format!("rejoin.catalogs: {error}")))).transpose()
}

/// Columns everywhere first, since a parent's trigger names its children's; then table by table, each after those that its rows find their
/// scope through.
async fn bring_in(
    client: &mut ClientWrapper,
    schema: &Schema,
    chosen: &[Chosen],
    catalog: &Catalog,
    settings: &Settings,
) -> Result<(), PrepareError> {
    let installed = apply::installed(client).await?;
    for (table, trigger) in apply::later_triggers(client).await? {
        tracing::warn!(%table, %trigger, "this trigger runs after Rejoin's; rename it so that it sorts before {}", capture::TRIGGER_PREFIX);
    }
    let found = |table: &Table| {
        let at = schema.tables.iter().position(|found| found.schema == table.schema && found.name == table.name);
        at.and_then(|at| chosen.iter().find(|choice| choice.at == at)).map(|choice| &schema.tables[choice.at])
    };
    let tables: Vec<_> = catalog.ways_first().into_iter().filter_map(|table| Some((table, found(table)?))).collect();
    for (table, found) in &tables {
        apply::add_columns(client, table, found).await?;
    }
    for (found, triggers) in apply::no_longer_synced(schema, catalog, &installed) {
        apply::uninstall(client, found, triggers).await?;
    }
    for (table, found) in tables {
        let capture = apply::capture_of(catalog, table, found, settings);
        apply::install(client, table, &capture, installed.get(&found.oid)).await?;
        apply::stamp_rows(client, catalog, table, found).await?;
    }
    Ok(())
}

/// Stores the catalog as a new version unless it is the last one. Rows that sites would otherwise miss are fed again in the same
/// transaction, so that no site can have passed them under the old catalog.
async fn publish(client: &mut ClientWrapper, mut catalog: Catalog) -> Result<Catalog, PrepareError> {
    let before = published(client).await?;
    catalog.version = before.as_ref().map_or(CatalogVersion(0), |before| before.version);
    let transaction = client.transaction().await?;
    let anew = transaction.query("SELECT no FROM rejoin.tables WHERE feed_again", &[]).await?;
    let anew: BTreeSet<u32> = anew.iter().map(|row| row.get::<_, i32>(0).cast_unsigned()).collect();
    let same = match &before {
        Some(_) => {
            let sql = "SELECT body = $1 FROM rejoin.catalogs ORDER BY version DESC LIMIT 1";
            transaction.query_one(sql, &[&body(&catalog)?]).await?.get(0)
        }
        None => false,
    };
    if let Some(before) = &before {
        for table in catalog.ways_first() {
            match feed(before, table, anew.contains(&table.no.0)) {
                Feed::Nothing => {}
                Feed::Rows => feed_again(&transaction, table).await?,
                // A tick that counts for nobody: the trigger derives the scope anew and leaves marks in the old one.
                Feed::Scopes => drop(transaction.execute(&format!("UPDATE {} SET rejoin_tick = NULL", table_sql(table)), &[]).await?),
            }
        }
    }
    transaction.execute("UPDATE rejoin.tables SET feed_again = false WHERE feed_again", &[]).await?;
    forget_times(&transaction, &catalog).await?;
    if !same {
        catalog.version.0 += 1;
        let sql = "INSERT INTO rejoin.catalogs (version, body) VALUES ($1, $2)";
        transaction.execute(sql, &[&catalog.version.0, &body(&catalog)?]).await?;
        tracing::info!(version = catalog.version.0, tables = catalog.tables.len(), "catalog published");
    }
    transaction.commit().await?;
    Ok(catalog)
}

fn body(catalog: &Catalog) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(catalog).map_err(|error| StoreError::Corrupt(format!("the catalog: {error}")))
}

/// What of a table has to be fed again with a new catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    Nothing,
    Rows,
    Scopes,
}

fn feed(before: &Catalog, table: &Table, made_anew: bool) -> Feed {
    let Some(old) = before.table(table.no) else { return Feed::Rows };
    if way(old) != way(table) {
        return Feed::Scopes;
    }
    // Rows that sites were not sent so far.
    let held_back = (old.travel == Travel::Up && table.travel != Travel::Up)
        || old.keep_hours.is_some_and(|old| table.keep_hours.is_none_or(|now| now > old));
    let rewritten = table.columns.iter().any(|column| match old.column(column.no) {
        Some(old) => old.sql_type != column.sql_type,
        // A constant is in the catalog; what else an added column holds only the rows tell.
        None => matches!(column.default, Some(DefaultValue::Now | DefaultValue::Uuid | DefaultValue::Cloud)),
    });
    if made_anew || rewritten || held_back { Feed::Rows } else { Feed::Nothing }
}

/// How a table's rows find their scope, in words that RENAME of a column does not change.
fn way(table: &Table) -> String {
    match &table.scope {
        ScopeRule::Through(_) => {
            let ways = table.ways().map(|way| format!("{} {:?} {:?} {:?}", way.table, way.columns, way.target, way.when));
            ways.collect::<Vec<_>>().join(", ")
        }
        ScopeRule::Root => format!("root {} {:?}", table.scope_prefix(), table.key),
        ScopeRule::Global => "global".to_owned(),
        ScopeRule::Site => "site".to_owned(),
    }
}

/// One tick per scope for all rows of a table.
async fn feed_again(transaction: &Transaction<'_>, table: &Table) -> Result<(), StoreError> {
    let name = table_sql(table);
    let scopes: Option<Vec<String>> =
        transaction.query_one(&format!("SELECT array_agg(DISTINCT rejoin_scope) FROM {name}"), &[]).await?.get(0);
    let Some(scopes) = scopes else { return Ok(()) };
    transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await?;
    let sql = format!("UPDATE {name} t SET rejoin_tick = s.head FROM rejoin.scopes s WHERE s.scope = t.rejoin_scope AND s.scope = ANY($1)");
    transaction.execute(&sql, &[&scopes]).await?;
    tracing::info!(table = %table.name, "fed again");
    Ok(())
}

/// Columns that are not of the policy `newest` (any more) are not timed: what was noted of them would be out of date if they became so again.
async fn forget_times(transaction: &Transaction<'_>, catalog: &Catalog) -> Result<(), StoreError> {
    let timed = |table: &Table| -> Vec<(i32, i32)> {
        let columns = table.columns.iter().filter(|column| column.policy == Policy::Newest);
        columns.filter_map(|column| Some((i32::try_from(table.no.0).ok()?, i32::try_from(column.no.0).ok()?))).collect()
    };
    let (tables, columns): (Vec<i32>, Vec<i32>) = catalog.tables.iter().flat_map(timed).unzip();
    let sql = "DELETE FROM rejoin.edit_times e WHERE NOT EXISTS (
                   SELECT FROM unnest($1::integer[], $2::integer[]) u(t, c) WHERE u.t = e.table_no AND u.c = e.column_no)";
    transaction.execute(sql, &[&tables, &columns]).await?;
    Ok(())
}
