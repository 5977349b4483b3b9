//! What is kept up while no new catalog can be made: columns and triggers of ours at the tables that still are as the catalog in force says. One
//! table that does not fit leaves no other without capture.

use deadpool_postgres::ClientWrapper;
use sync_core::catalog::{Catalog, Table};

use super::suspended::{self, Misfit};
use super::{PrepareError, published};
use crate::settings::Settings;
use crate::store::capture::apply::{self, Installed};
use crate::store::capture::drift::Places;
use crate::store::capture::partitions::{self, Partition, Seen};
use crate::store::capture::{mend, settle, stamp::Stamping};
use crate::store::introspect::{FoundTable, names, read};
use crate::store::migrate;
use crate::store::pace::Pace;
use crate::store::pool::Database;

/// Puts back what is missing of ours at the tables that can be served under the catalog in force; whether there is one. That writes may have been
/// missed is noted: what left no trace in the rows is fed with the next catalog.
///
/// # Errors
/// The store failed.
pub(crate) async fn keep(db: &Database, settings: &Settings) -> Result<bool, PrepareError> {
    let mut client = migrate::locked(db).await?;
    let Some(catalog) = published(&client).await? else { return Ok(false) };
    let schema = read(&mut client).await?;
    let settings = names::follow(&client, &schema, settings).await?.settings;
    let misfits = suspended::misfits(&client, &catalog, &schema).await?;
    let fits = |table: &Table| matches!(misfits.get(&table.no), None | Some(Misfit::Stamp(_) | Misfit::Unfed));
    let found = |table: &Table| schema.tables.iter().find(|found| found.schema == table.schema && found.name == table.name);
    let tables: Vec<_> = catalog.ways_first().into_iter().filter(|table| fits(table)).filter_map(|it| Some((it, found(it)?))).collect();
    let before = State::read(&client).await?;
    let places = Places::read(&client).await?;
    // One that resists keeps no other from being mended.
    let resists = |error: PrepareError, found: &FoundTable| tracing::warn!(%error, table = %found.label(), "capture cannot be put back");
    let mut noted = Vec::new();
    for (table, found) in tables {
        match note(&mut client, (&catalog, &places), (table, found), &before).await {
            Ok(()) => noted.push((table, found)),
            Err(error) => resists(error, found),
        }
    }
    let places = Places::read(&client).await?;
    for (table, found) in noted {
        if let Err(error) = capture(&mut client, (&catalog, &settings, &places), (table, found), &before).await {
            resists(error, found);
        }
    }
    db.forget_statements();
    Ok(true)
}

/// Notes what may have been missed of one table, and puts its columns back.
async fn note(
    client: &mut ClientWrapper,
    (catalog, places): (&Catalog, &Places),
    (table, found): (&Table, &FoundTable),
    before: &State,
) -> Result<(), PrepareError> {
    mend::note_losses(client, table, found, &before.installed).await?;
    partitions::note_losses(client, table, before.parts(found), &before.seen, &before.installed).await?;
    let parts = before.parts(found).iter().map(|one| one.oid).filter(|oid| before.seen.has(table, *oid));
    let parts: Vec<u32> = std::iter::once(found.oid).chain(parts).collect();
    mend::note_left_behind(client, (catalog, places), table, &parts, &before.installed).await?;
    Ok(apply::add_columns(client, table, found, true, &Pace::quiet()).await?)
}

/// Triggers and partitions before anything is put back.
struct State {
    installed: Installed,
    partitions: std::collections::BTreeMap<u32, Vec<Partition>>,
    seen: Seen,
}

impl State {
    async fn read(client: &ClientWrapper) -> Result<Self, PrepareError> {
        let (installed, partitions) = (apply::installed(client).await?, partitions::read(client).await?);
        Ok(Self { installed, partitions, seen: Seen::read(client).await? })
    }

    fn parts(&self, found: &FoundTable) -> &[Partition] {
        self.partitions.get(&found.oid).map_or(&[], Vec::as_slice)
    }
}

/// The triggers of one table and its partitions; then the rows that came meanwhile.
async fn capture(
    client: &mut ClientWrapper,
    (catalog, settings, places): (&Catalog, &Settings, &Places),
    (table, found): (&Table, &FoundTable),
    before: &State,
) -> Result<(), PrepareError> {
    let (pace, parts, installed) = (Pace::quiet(), before.parts(found), &before.installed);
    let capture = apply::capture_of(catalog, table, found, settings, places);
    if let Some(needs) = &capture.on_partitions {
        partitions::clear(client, parts, needs, installed, &pace).await?;
    }
    apply::install(client, table, &capture, installed.get(&found.oid), &pace).await?;
    if let Some(needs) = &capture.on_partitions {
        partitions::install(client, parts, needs, installed, &pace).await?;
    }
    Stamping { catalog, table, found, unheard: false, pace: &pace }.run(client).await?;
    Ok(settle::stamp_missed(client, catalog, table, found.oid, &pace).await?)
}
