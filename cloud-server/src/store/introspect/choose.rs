//! Which tables are synced, how their rows find their scope, which way they travel, and where their versioning stands. Pure; says why
//! for every table.

mod api;
mod kinds;
mod names;
mod plan;
mod references;
mod search;
mod secrets;
mod stamps;

use std::collections::BTreeSet;

use sync_core::catalog::{Stamps, Travel};

use self::plan::{column_line, mapped, unheeded};
use super::policies::{Policies, policies};
use super::{FoundTable, Schema};
use crate::settings::{self, Named, Settings, SettingsError, TableSettings, is_reserved_path};

pub(crate) use self::api::Names;
pub use self::kinds::Kinds;
pub(crate) use self::kinds::stands_for;
pub use self::plan::{LeftOutColumn, Nowhere, Plan, PlanEntry, Travels};
pub(crate) use self::references::always_names;

/// How many names are proposed for one that is unknown.
const NEAR_SHOWN_MAX: usize = 3;

/// A table that is synced.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// Its place in [`Schema::tables`].
    pub(crate) at: usize,
    pub(crate) scope: FoundScope,
    pub(crate) stamps: Stamps,
    pub(crate) soft_delete: Option<String>,
    pub(crate) path: String,
    pub(crate) policies: Policies,
    pub(crate) names: Names,
    pub(crate) travel: Travel,
    pub(crate) keep_hours: Option<u32>,
}

/// How a row finds its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FoundScope {
    Global,
    Root,
    /// Through these of the table's references, in the order in which they are asked.
    Through(Vec<usize>),
    Site,
}

/// Chooses. What `rejoin.toml` says of columns and references is written into `schema`: references that it declares, columns left out.
///
/// # Errors
/// `rejoin.toml` names what is not there or not fit.
pub(crate) fn choose(schema: &mut Schema, settings: &Settings) -> Result<(Vec<Chosen>, Plan), SettingsError> {
    references::declare(schema, settings)?;
    let mut left_out = Vec::new();
    for table in &mut schema.tables {
        let own = settings.table(&table.schema, &table.name);
        left_out.push(if table.is_engine() { Vec::new() } else { secrets::leave_out(table, settings, own)? });
    }
    let names::Sifted { scopes, remedies } = names::scopes(schema, settings)?;
    let mut chosen = Vec::new();
    let mut plan = Plan { tables: Vec::new(), warnings: unheeded(settings, schema) };
    let mut paths = BTreeSet::new();
    for ((at, table), left_out) in schema.tables.iter().enumerate().zip(left_out) {
        let Some(scope) = scopes.get(&at).cloned() else {
            let mut entry = PlanEntry::left_out(settings, table, remedies.get(&at));
            if table.obstacle.is_none() {
                entry.kinds = kinds::pairs(schema, table);
            }
            plan.tables.push(entry);
            continue;
        };
        let own = settings.table(&table.schema, &table.name);
        let travel = travel(table, settings, own, &scope)?;
        let mut entry = PlanEntry::synced(settings, table, &scope, travel);
        entry.left_out = left_out;
        entry.kinds = kinds::pairs(schema, table);
        entry.notes.extend(travel_note(table, own));
        let notes = &mut entry.notes;
        let stamps = stamps::stamps(table, settings, own, notes)?;
        let soft_delete = stamps::soft_delete(table, settings, own, notes)?;
        let policies = policies(table, settings, own, &stamps, notes)?;
        let names = api::names(table, settings, own, &stamps)?;
        let path =
            own.and_then(|own| own.path.as_ref()).map_or_else(|| default_path(table, settings, &paths), |path| path.get_ref().clone());
        paths.insert(path.clone());
        entry.mapped = mapped(&stamps, soft_delete.as_ref());
        if !table.is_engine() {
            plan.tables.push(entry);
        }
        let keep_hours = own.and_then(TableSettings::keep_hours);
        chosen.push(Chosen { at, scope, stamps, soft_delete, path, policies, names, travel, keep_hours });
    }
    if plan.tables.iter().all(|entry| !entry.synced) {
        plan.warnings.push("no table travels: name the root in rejoin.toml, root = \"TABLE\"".to_owned());
    }
    Ok((chosen, plan))
}

/// The table that `rejoin.toml` names under `key`.
fn find_table(schema: &Schema, settings: &Settings, key: &str, name: &Named) -> Result<usize, SettingsError> {
    let at = schema.tables.iter().position(|table| !table.is_engine() && settings::names(name.get_ref(), &table.schema, &table.name));
    let unknown = || format!("{key}: there is no table {}{}", name.get_ref(), meant(schema, name.get_ref()));
    let at = at.ok_or_else(|| settings.error(name, unknown()))?;
    match &schema.tables[at].obstacle {
        Some(obstacle) => Err(settings.error(name, format!("{key}: {} {obstacle}", name.get_ref()))),
        None => Ok(at),
    }
}

/// Tables that are called nearly so, as a question.
fn meant(schema: &Schema, name: &str) -> String {
    let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let asked = bare(name);
    let mut near: Vec<(usize, String)> = schema
        .tables
        .iter()
        .filter(|table| !table.is_engine())
        .map(|table| (distance(&asked, &bare(&table.name)), table.label()))
        .filter(|(distance, label)| *distance <= asked.chars().count() / 3 + 1 || asked.len() > 2 && bare(label).contains(&asked))
        .collect();
    near.sort();
    near.truncate(NEAR_SHOWN_MAX);
    let near: Vec<String> = near.into_iter().map(|(_, label)| label).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// How many letters have to be put in, taken out or changed to make one name of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for (place, against) in other.iter().enumerate() {
            let changed = before + usize::from(letter != *against);
            before = row[place + 1];
            row[place + 1] = changed.min(before + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

/// Which way a table's rows travel: down where sites cannot insert them and nothing else is said.
fn travel(table: &FoundTable, settings: &Settings, own: Option<&TableSettings>, scope: &FoundScope) -> Result<Travel, SettingsError> {
    let Some(told) = own.and_then(|own| own.travel.as_ref()) else {
        return Ok(if secrets::wanted_by_inserts(table).is_empty() { Travel::Both } else { Travel::Down });
    };
    if *told.get_ref() == Travel::Up && *scope == FoundScope::Root {
        let why = "is the root: sites must be sent its rows, what they hold hangs from them";
        return Err(settings.error(told, format!("tables.{}.travel: {} {why}", table.label(), table.label())));
    }
    Ok(*told.get_ref())
}

fn travel_note(table: &FoundTable, own: Option<&TableSettings>) -> Option<String> {
    let wanted = secrets::wanted_by_inserts(table);
    let columns = wanted.join(", ");
    let told = own.and_then(|own| own.travel.as_ref()).map(|travel| *travel.get_ref());
    match told {
        _ if wanted.is_empty() => None,
        None => {
            let with: &[Named] = own.map_or(&[], |own| &own.with);
            let line = column_line(table, "with", with, wanted.first().copied(), None);
            Some(format!(
                "sites cannot insert rows without {columns}, which stays at the cloud: the table travels down only, unless {line}"
            ))
        }
        Some(Travel::Down) => None,
        Some(_) => Some(format!("what sites insert is parked: {columns}, which stays at the cloud, must be given")),
    }
}

fn default_path(table: &FoundTable, settings: &Settings, taken: &BTreeSet<String>) -> String {
    let told = settings.tables.values().filter_map(|own| own.path.as_ref()).any(|path| *path.get_ref() == table.name);
    if table.schema == "public" && !told && !is_reserved_path(&table.name) && !taken.contains(&table.name) {
        table.name.clone()
    } else {
        format!("{}.{}", table.schema, table.name)
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
