//! One entry that makes a database ready: migrate, introspect, stamp, capture, publish. Safe to repeat, at every start and on demand.

mod added;
mod feed;
pub(crate) mod feeding;
mod follow;
mod keep;
pub(crate) mod lead;
mod looks;
mod publish;
mod rekey;
mod suspended;
mod unmapped;
mod waits;

use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;

use self::lead::Start;
use super::capture::drift::Places;
use super::capture::partitions::{Following, Seen};
use super::capture::{self, apply, apply::CaptureError, mend, orphans, partitions, settle::settle, stamp::Stamping};
use super::error::StoreError;
use super::introspect::choose::{Chosen, choose};
use super::introspect::{FoundTable, HIDDEN, Schema, assemble::assemble, names, numbers, read};
use super::migrate::{self, MigrateError};
use super::pace::Pace;
use super::pool::Database;
use crate::attach::Node;
use crate::settings::moved::Followed;
use crate::settings::{Moved, Settings, SettingsError};
use crate::systems::BuiltIn;

pub use super::introspect::choose::{Kinds, LeftOutColumn, Nowhere, Plan, PlanEntry, Travels};
pub use super::pace::Progress;
pub(crate) use keep::keep;
pub(crate) use suspended::{Misfit, misfits, suspend, to_go_on_under};
pub(crate) use unmapped::{Unmapped, unmapped};

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
        "rejoin.toml no longer reaches {}: their copies at the sites would go. If that is meant, name them in left_out{}", .0.join(", "),
        .1.map(|system| format!("; a file that is given replaces the settings of the built-in system {system}, so begin with a copy of those \
                                 (migrations/systems/{system}/rejoin.toml)")).unwrap_or_default()
    )]
    Unreached(Vec<String>, Option<&'static str>),
    /// Tables that are synced show the cloud only what a policy of theirs shows: what it does not see would be taken for gone.
    #[error("a policy hides rows from the cloud: {} {}", .0.join(", "), HIDDEN)]
    Hidden(Vec<String>),
    /// Tables that are synced cannot be any more, as they are now.
    #[error(
        "{} can be synced no longer: nothing is published, and the cloud goes on under the catalog that it has. Put it right; if it is meant, name the \
         tables in left_out: their copies at the sites go", .0.join(", ")
    )]
    Obstructed(Vec<String>),
    /// A table could not be brought in.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PrepareError {
    /// Whether the store failed, so that the same may succeed without a change.
    pub(crate) fn is_transient(&self) -> bool {
        self.store().is_some()
    }

    /// The store's failure, if that is why.
    #[must_use]
    pub fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Capture(CaptureError::Store { error, .. }) | Self::Migrate(MigrateError::Store(error)) => {
                Some(error)
            }
            _ => None,
        }
    }
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
    prepare_at(db, settings, system, &Pace::quiet()).await
}

/// As [`prepare`], waiting for busy tables and telling of each step as `pace` says.
///
/// # Errors
/// See [`PrepareError`].
pub async fn prepare_at(
    db: &Database,
    settings: &Settings,
    system: Option<BuiltIn>,
    pace: &Pace<'_>,
) -> Result<Arc<Catalog>, PrepareError> {
    let catalog = enforce(db, settings, system, pace, &Start::of_command()).await?;
    feeding::go_on(db, pace).await?;
    Ok(catalog)
}

/// As [`prepare_at`], but leaves rows to [`feeding::go_on`] that sites can wait for under the catalog in force. Who was started before somebody with other
/// settings only takes the catalog that is published.
///
/// # Errors
/// See [`PrepareError`].
pub(crate) async fn enforce(
    db: &Database,
    settings: &Settings,
    system: Option<BuiltIn>,
    pace: &Pace<'_>,
    start: &Start,
) -> Result<Arc<Catalog>, PrepareError> {
    let mut client = migrate::locked(db).await?;
    migrate::up_on(&mut client, system).await?;
    let before = published(&client).await?;
    if !start.leads(&client, settings).await?
        && let Some(before) = before
    {
        db.forget_statements();
        return Ok(Arc::new(before));
    }
    let Made { schema, settings, chosen, catalog } =
        make(&mut client, settings, before.as_ref(), start).await.map_err(|error| match error {
            PrepareError::Unreached(tables, _) => PrepareError::Unreached(tables, system.map(|system| system.name)),
            error => error,
        })?;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let manner = Manner { settings: &settings, before: before.as_ref(), pace };
    tokio::select! {
        done = bring_in(&mut client, &schema, &chosen, &catalog, &manner) => done?,
        never = waits::watch(db, pid, pace) => match never {},
    }
    let catalog = publish::publish(&mut client, &schema, catalog, pace).await?;
    db.forget_statements();
    Ok(Arc::new(catalog))
}

/// What the schema and the settings come to.
struct Made {
    schema: Schema,
    /// With the names of now.
    settings: Settings,
    chosen: Vec<Chosen>,
    catalog: Catalog,
}

/// Makes the next catalog. New tables whose rows cannot be brought in stay out of it; `before`: the catalog that sites know.
async fn make(client: &mut ClientWrapper, told: &Settings, before: Option<&Catalog>, start: &Start) -> Result<Made, PrepareError> {
    let mut out: Vec<(u32, String)> = Vec::new();
    loop {
        let mut schema = read(client).await?;
        for table in &mut schema.tables {
            table.obstacle =
                table.obstacle.take().or_else(|| out.iter().find(|(oid, _)| *oid == table.oid).map(|(_, obstacle)| obstacle.clone()));
        }
        let Followed { settings, moved, named } = names::follow(client, &schema, told).await?;
        start.tell(&moved);
        let (chosen, plan) = choose(&mut schema, &settings)?;
        let transaction = client.transaction().await?;
        let numbers = numbers::give(&transaction, &schema, &chosen).await?;
        names::hear(&transaction, &named).await?;
        transaction.commit().await?;
        let catalog = assemble(&schema, &chosen, &numbers, &settings);
        lost(before, &catalog, &schema, &settings)?;
        let known = out.len();
        // At the first time nothing is published yet, and somebody waits to be told.
        if let Some(before) = before {
            for table in catalog.tables.iter().filter(|table| !table.engine && before.table(table.no).is_none()) {
                let found = schema.tables.iter().find(|found| found.schema == table.schema && found.name == table.name);
                if let Some((found, obstacle)) = found.zip(orphans::look(client, &catalog, table).await?) {
                    out.push((found.oid, obstacle));
                }
            }
        }
        if out.len() > known {
            continue;
        }
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        for missed in before.map(|before| unmapped(before, &catalog)).unwrap_or_default() {
            tracing::warn!(table = %missed.table, "{}; {}", missed.what, missed.remedy);
        }
        for entry in plan.tables.iter().filter(|entry| !entry.synced || !entry.notes.is_empty()) {
            tracing::info!(table = %entry.table, synced = entry.synced, notes = ?entry.notes, "{}", entry.reason);
        }
        for (oid, obstacle) in &out {
            let table = schema.tables.iter().find(|table| table.oid == *oid).map(FoundTable::label).unwrap_or_default();
            tracing::warn!(%table, "left out: it {obstacle}");
        }
        orphans::remember(client, &schema, &out).await?;
        return Ok(Made { schema, settings, chosen, catalog });
    }
}

/// Refuses a catalog without tables that sites have, unless they are gone or that is meant.
fn lost(before: Option<&Catalog>, catalog: &Catalog, schema: &Schema, settings: &Settings) -> Result<(), PrepareError> {
    let hidden = hidden(before, schema, settings);
    if !hidden.is_empty() {
        return Err(PrepareError::Hidden(hidden));
    }
    let unreached = unreached(before, |table| catalog.table(table.no).is_some(), schema, settings);
    let why = |name: &String| {
        let found = schema.tables.iter().find(|found| format!("{}.{}", found.schema, found.name) == *name)?;
        found.obstacle.as_ref().map(|obstacle| format!("{name} ({obstacle})"))
    };
    let obstructed: Vec<String> = unreached.iter().filter_map(why).collect();
    if !obstructed.is_empty() {
        return Err(PrepareError::Obstructed(obstructed));
    }
    if unreached.is_empty() { Ok(()) } else { Err(PrepareError::Unreached(unreached, None)) }
}

/// The tables that the last catalog held and of which rows are hidden from us since.
fn hidden(last: Option<&Catalog>, schema: &Schema, settings: &Settings) -> Vec<String> {
    let was = |found: &&FoundTable| {
        let held = |table: &Table| table.schema == found.schema && table.name == found.name;
        last.is_some_and(|last| last.tables.iter().any(held))
    };
    let meant =
        |found: &FoundTable| settings.left_out.iter().any(|name| crate::settings::names(name.get_ref(), &found.schema, &found.name));
    let hidden = schema.tables.iter().filter(|found| found.obstacle.as_deref() == Some(HIDDEN) && !meant(found));
    hidden.filter(was).map(FoundTable::label).collect()
}

/// The tables that the last catalog held and that do not stay, though they are there and not left out on purpose.
pub(super) fn unreached(last: Option<&Catalog>, stays: impl Fn(&Table) -> bool, schema: &Schema, settings: &Settings) -> Vec<String> {
    let gone = last.into_iter().flat_map(|last| &last.tables).filter(|table| !table.engine && !stays(table));
    let there = |table: &Table| schema.tables.iter().any(|found| found.schema == table.schema && found.name == table.name);
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
    orphans::recall(&client, &mut schema).await?;
    let settings = names::follow(&client, &schema, settings).await?.settings;
    let (chosen, mut plan) = choose(&mut schema, &settings)?;
    looks::look(&mut client, &schema, &chosen, &mut plan).await?;
    Ok(plan)
}

/// The settings with the names that tables and columns have in the database of now, and what should be written otherwise.
///
/// # Errors
/// The store failed.
pub(crate) async fn followed(db: &Database, settings: &Settings) -> Result<(Settings, Vec<Moved>), StoreError> {
    let mut client = db.client().await?;
    let schema = read(&mut client).await?;
    let Followed { settings, moved, .. } = names::follow(&client, &schema, settings).await?;
    Ok((settings, moved))
}

/// The user's tables, and what each of their rows refers to.
pub(crate) async fn nodes(db: &Database) -> Result<Vec<Node>, StoreError> {
    let schema = read(&mut *db.client().await?).await?;
    let users: Vec<_> = schema.tables.iter().filter(|table| !table.is_engine()).collect();
    let parents = |table: &FoundTable| -> Vec<usize> {
        let sure = table
            .references
            .iter()
            .filter(|reference| reference.columns.iter().all(|attnum| table.column(*attnum).is_some_and(|column| column.not_null)));
        sure.filter_map(|reference| users.iter().position(|other| other.oid == reference.table && other.oid != table.oid)).collect()
    };
    let node = |table: &&FoundTable| Node { name: table.label(), fit: table.obstacle.is_none(), parents: parents(table) };
    Ok(users.iter().map(node).collect())
}

/// The catalog that was published last.
///
/// # Errors
/// The store failed, or holds what is no catalog.
pub async fn published(client: &Client) -> Result<Option<Catalog>, StoreError> {
    let row = client.query_opt("SELECT body FROM rejoin.catalogs ORDER BY version DESC LIMIT 1", &[]).await?;
    row.map(|row| serde_json::from_value(row.get(0)).map_err(|error| StoreError::Corrupt(format!("rejoin.catalogs: {error}")))).transpose()
}

/// How tables are brought in.
struct Manner<'a> {
    settings: &'a Settings,
    /// The catalog that sites know.
    before: Option<&'a Catalog>,
    pace: &'a Pace<'a>,
}

/// Columns everywhere first, since a parent's trigger names its children's; then table by table, each after those that its rows find their
/// scope through.
async fn bring_in(
    client: &mut ClientWrapper,
    schema: &Schema,
    chosen: &[Chosen],
    catalog: &Catalog,
    manner: &Manner<'_>,
) -> Result<(), PrepareError> {
    let Manner { settings, before, pace } = manner;
    let (installed, partitions, seen) = (apply::installed(client).await?, partitions::read(client).await?, Seen::read(client).await?);
    let of = |found: &FoundTable| partitions.get(&found.oid).map_or(&[][..], Vec::as_slice);
    for (table, trigger) in apply::later_triggers(client).await? {
        tracing::warn!(%table, %trigger, "this trigger runs after Rejoin's; rename it so that it sorts before {}", capture::TRIGGER_PREFIX);
    }
    let found = |table: &Table| {
        let at = schema.tables.iter().position(|found| found.schema == table.schema && found.name == table.name);
        at.and_then(|at| chosen.iter().find(|choice| choice.at == at)).map(|choice| &schema.tables[choice.at])
    };
    let tables: Vec<_> = catalog.ways_first().into_iter().filter_map(|table| Some((table, found(table)?))).collect();
    let known = |table: &Table| before.is_some_and(|before| before.table(table.no).is_some());
    let places = Places::read(client).await?;
    for (table, found) in &tables {
        if known(table) {
            mend::note_losses(client, table, found, &installed).await?;
            partitions::note_losses(client, table, of(found), &seen, &installed).await?;
        }
        if let Some(before) = before {
            let parts = of(found).iter().map(|one| one.oid).filter(|oid| seen.has(table, *oid));
            let parts: Vec<u32> = std::iter::once(found.oid).chain(parts).collect();
            mend::note_left_behind(client, (before, &places), table, &parts, &installed).await?;
        }
        apply::add_columns(client, table, found, known(table), pace).await?;
    }
    let places = Places::read(client).await?;
    for (found, triggers) in apply::no_longer_synced(schema, catalog, &installed) {
        if found.was_partition {
            partitions::release(client, found, triggers, pace).await?;
        } else {
            apply::uninstall(client, found, triggers, pace).await?;
        }
        partitions::uninstall(client, of(found), &installed, pace).await?;
    }
    let count = tables.len();
    for (at, (table, found)) in tables.into_iter().enumerate() {
        pace.tell(Progress::Table { table: &found.label(), at: at + 1, of: count });
        let capture = apply::capture_of(catalog, table, found, settings, &places);
        if let Some(needs) = &capture.on_partitions {
            partitions::clear(client, of(found), needs, &installed, pace).await?;
        }
        apply::install(client, table, &capture, installed.get(&found.oid), pace).await?;
        if let Some(needs) = &capture.on_partitions {
            partitions::install(client, of(found), needs, &installed, pace).await?;
        }
        let partitioned = capture.on_partitions.is_some();
        partitions::follow(client, &Following { catalog, table, found, partitioned, partitions: of(found), pace }, &seen).await?;
        let unheard = !known(table);
        Stamping { catalog, table, found, unheard, pace }.run(client).await?;
        settle(client, catalog, table, found.oid, pace).await?;
    }
    Ok(())
}
