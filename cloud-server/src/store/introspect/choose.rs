//! Which tables are synced, how their rows find their scope, and where their versioning stands. Pure; says why for every table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sync_core::catalog::Stamps;
use sync_core::limits::REFERENCE_DEPTH_MAX;
use sync_core::value::ColumnType;

use super::policies::{Policies, policies};
use super::{FoundColumn, FoundReference, FoundTable, Schema};
use crate::settings::{Named, Settings, SettingsError, StampNames, TableSettings, is_reserved_path, names};

/// What people are told about the tables of a database, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// One entry for each table.
    pub tables: Vec<PlanEntry>,
}

/// What becomes of one table, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    /// `table`, or `schema.table` outside of `public`.
    pub table: String,
    /// Whether it is synced.
    pub synced: bool,
    /// How its rows find their scope; or why it is left out.
    pub reason: String,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

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
}

/// How a row finds its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundScope {
    Global,
    Root,
    /// Through this one of the table's references.
    Through(usize),
    Site,
}

/// Chooses.
///
/// # Errors
/// `rejoin.toml` names what is not there or not fit.
pub(crate) fn choose(schema: &Schema, settings: &Settings) -> Result<(Vec<Chosen>, Plan), SettingsError> {
    let scopes = Search::new(schema, settings)?.run()?;
    let mut chosen = Vec::new();
    let mut plan = Plan::default();
    let mut paths = BTreeSet::new();
    for (at, table) in schema.tables.iter().enumerate() {
        let label = table.label();
        let Some(scope) = scopes.get(&at).copied() else {
            let reason = why_left_out(schema, settings, &scopes, table);
            plan.tables.push(PlanEntry { table: label, synced: false, reason, notes: Vec::new() });
            continue;
        };
        let own = settings.table(&table.schema, &table.name);
        let mut notes = Vec::new();
        let stamps = stamps(table, settings, own, &mut notes)?;
        let soft_delete = soft_delete(table, settings, own, &mut notes)?;
        let policies = policies(table, settings, own, &stamps, &mut notes)?;
        let path =
            own.and_then(|own| own.path.as_ref()).map_or_else(|| default_path(table, settings, &paths), |path| path.get_ref().clone());
        paths.insert(path.clone());
        let reason = match scope {
            FoundScope::Root => "the root: each row is a scope".to_owned(),
            FoundScope::Global => "global: every site holds all of it".to_owned(),
            FoundScope::Site => "each row belongs to one site".to_owned(),
            FoundScope::Through(reference) => format!("found through {}", columns_of(table, &table.references[reference])),
        };
        if !table.is_engine() {
            plan.tables.push(PlanEntry { table: label, synced: true, reason, notes });
        }
        chosen.push(Chosen { at, scope, stamps, soft_delete, path, policies });
    }
    plan.tables.retain(|entry| !entry.table.starts_with("rejoin."));
    Ok((chosen, plan))
}

/// The search for scopes: breadth first from the root, so that the shortest way wins.
struct Search<'a> {
    schema: &'a Schema,
    root: Option<usize>,
    listed: BTreeSet<usize>,
    left_out: BTreeSet<usize>,
    /// Tables whose way is told: the reference to take.
    told: BTreeMap<usize, (usize, &'a Named)>,
    settings: &'a Settings,
}

impl<'a> Search<'a> {
    fn new(schema: &'a Schema, settings: &'a Settings) -> Result<Self, SettingsError> {
        let find = |key: &str, name: &Named| -> Result<usize, SettingsError> {
            let at = schema.tables.iter().position(|table| !table.is_engine() && names(name.get_ref(), &table.schema, &table.name));
            let at = at.ok_or_else(|| settings.error(name, format!("{key}: there is no table {}", name.get_ref())))?;
            match &schema.tables[at].obstacle {
                Some(obstacle) => Err(settings.error(name, format!("{key}: {} {obstacle}", name.get_ref()))),
                None => Ok(at),
            }
        };
        let root = settings.root.as_ref().map(|name| find("root", name)).transpose()?;
        let listed = settings.global.iter().map(|name| find("global", name)).collect::<Result<_, _>>()?;
        // A table that is left out may be gone as well.
        let left_out = settings.left_out.iter().filter_map(|name| find("left_out", name).ok()).collect();
        let mut told = BTreeMap::new();
        for (name, own) in &settings.tables {
            let at = find("tables", name)?;
            if let Some(column) = &own.scope_through {
                told.insert(at, (told_reference(&schema.tables[at], column, settings)?, column));
            }
        }
        Ok(Self { schema, root, listed, left_out, told, settings })
    }

    fn run(&self) -> Result<BTreeMap<usize, FoundScope>, SettingsError> {
        let mut found: BTreeMap<usize, FoundScope> = self.engine_tables();
        found.extend(self.root.map(|root| (root, FoundScope::Root)));
        let mut level: BTreeSet<u32> = self.root.iter().map(|root| self.schema.tables[*root].oid).collect();
        for _ in 0..REFERENCE_DEPTH_MAX {
            let next: Vec<(usize, usize)> = self
                .candidates()
                .filter(|(at, _)| !found.contains_key(at) && !self.listed.contains(at))
                .filter_map(|(at, table)| self.way(at, table, &level).map(|reference| (at, reference)))
                .collect();
            if next.is_empty() {
                break;
            }
            level = next.iter().map(|(at, _)| self.schema.tables[*at].oid).collect();
            found.extend(next.into_iter().map(|(at, reference)| (at, FoundScope::Through(reference))));
        }
        if let Some((_, (_, column))) = self.told.iter().find(|(at, _)| !found.contains_key(at)) {
            return Err(self
                .settings
                .error(column, format!("scope_through: the table that {} refers to reaches no root", column.get_ref())));
        }
        found.extend(self.listed.iter().map(|at| (*at, FoundScope::Global)));
        loop {
            let wanted: BTreeSet<u32> =
                found.keys().flat_map(|at| &self.schema.tables[*at].references).map(|reference| reference.table).collect();
            let next: Vec<usize> =
                self.candidates().filter(|(at, table)| !found.contains_key(at) && wanted.contains(&table.oid)).map(|(at, _)| at).collect();
            if next.is_empty() {
                return Ok(found);
            }
            found.extend(next.into_iter().map(|at| (at, FoundScope::Global)));
        }
    }

    fn engine_tables(&self) -> BTreeMap<usize, FoundScope> {
        let scope = |table: &FoundTable| if table.name == "sync_conflicts" { FoundScope::Site } else { FoundScope::Global };
        self.schema.tables.iter().enumerate().filter(|(_, table)| table.is_engine()).map(|(at, table)| (at, scope(table))).collect()
    }

    fn candidates(&self) -> impl Iterator<Item = (usize, &FoundTable)> {
        let tables = self.schema.tables.iter().enumerate();
        tables.filter(|(at, table)| table.obstacle.is_none() && !table.is_engine() && !self.left_out.contains(at))
    }

    /// The reference by which a table reaches the last level: NOT NULL, the first by name where there are several.
    fn way(&self, at: usize, table: &FoundTable, level: &BTreeSet<u32>) -> Option<usize> {
        let reaches = |reference: &FoundReference| reference.table != table.oid && level.contains(&reference.table);
        match self.told.get(&at) {
            Some((reference, _)) => reaches(&table.references[*reference]).then_some(*reference),
            None => table.references.iter().position(|reference| reaches(reference) && is_not_null(table, reference)),
        }
    }
}

fn told_reference(table: &FoundTable, column: &Named, settings: &Settings) -> Result<usize, SettingsError> {
    let name = column.get_ref();
    let refers = |reference: &FoundReference| {
        reference.columns.iter().any(|attnum| table.column(*attnum).is_some_and(|found| found.name == *name))
            && reference.table != table.oid
    };
    let at = table.references.iter().position(refers);
    let at = at.ok_or_else(|| settings.error(column, format!("scope_through: {}.{name} refers to no other table", table.label())))?;
    if is_not_null(table, &table.references[at]) {
        Ok(at)
    } else {
        Err(settings.error(column, format!("scope_through: {}.{name} can be NULL; a row without it would have no scope", table.label())))
    }
}

fn is_not_null(table: &FoundTable, reference: &FoundReference) -> bool {
    reference.columns.iter().all(|attnum| table.column(*attnum).is_some_and(|column| column.not_null))
}

fn columns_of(table: &FoundTable, reference: &FoundReference) -> String {
    let columns: Vec<&str> =
        reference.columns.iter().filter_map(|attnum| table.column(*attnum)).map(|column| column.name.as_str()).collect();
    columns.join(", ")
}

fn why_left_out(schema: &Schema, settings: &Settings, scopes: &BTreeMap<usize, FoundScope>, table: &FoundTable) -> String {
    if let Some(obstacle) = &table.obstacle {
        return obstacle.clone();
    }
    if settings.left_out.iter().any(|name| names(name.get_ref(), &table.schema, &table.name)) {
        return "left out by rejoin.toml".to_owned();
    }
    let in_scope = |oid: u32| {
        scopes.iter().any(|(at, scope)| schema.tables[*at].oid == oid && matches!(scope, FoundScope::Root | FoundScope::Through(_)))
    };
    match table.references.iter().find(|reference| in_scope(reference.table)) {
        Some(reference) => format!(
            "its way to the root, {}, can be NULL; make it NOT NULL, or name the table under global in rejoin.toml",
            columns_of(table, reference)
        ),
        None => {
            "reaches no root, and no synced table refers to it; name it under global in rejoin.toml if all sites shall have it".to_owned()
        }
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

fn stamps(table: &FoundTable, settings: &Settings, own: Option<&TableSettings>, notes: &mut Vec<String>) -> Result<Stamps, SettingsError> {
    let mut pick = |name: fn(&StampNames) -> &Option<Named>, fit: fn(&FoundColumn) -> bool, wanted: &str, default: &str| {
        let unfit = |column: &FoundColumn| !fit(column) || is_bound(table, column);
        let missing = |name: &str| format!("{}.{name} is not there", table.label());
        if let Some(name) = own.and_then(|own| name(&own.stamps).as_ref()) {
            let text = name.get_ref();
            return match table.column_named(text) {
                _ if text.is_empty() => Ok(default.to_owned()),
                None => Err(settings.error(name, format!("stamps: {}", missing(text)))),
                Some(column) if unfit(column) => {
                    Err(settings.error(name, format!("stamps: {}.{text} is {}, not {wanted}", table.label(), column.sql_type)))
                }
                Some(_) => Ok(text.clone()),
            };
        }
        let general = name(&settings.stamps).as_ref().filter(|_| !table.is_engine());
        let Some(column) = general.and_then(|name| table.column_named(name.get_ref())) else { return Ok(default.to_owned()) };
        if unfit(column) {
            notes.push(format!(
                "{} is {}, not {wanted}: taken for a column like any other, {default} is added",
                column.name, column.sql_type
            ));
            return Ok(default.to_owned());
        }
        Ok(column.name.clone())
    };
    Ok(Stamps {
        version: pick(|names| &names.version, is_counter, "an integer or bigint of its own", "rejoin_version")?,
        updated_at: pick(|names| &names.updated_at, is_moment, "a timestamp of its own", "rejoin_updated_at")?,
        last_modified_by: pick(|names| &names.last_modified_by, is_name, "text of its own", "rejoin_modified_by")?,
        synced_at: pick(
            |names| &names.synced_at,
            |column| is_moment(column) && !column.not_null,
            "a timestamp of its own that can be NULL",
            "rejoin_synced_at",
        )?,
    })
}

fn is_counter(column: &FoundColumn) -> bool {
    matches!(column.ty, Some(ColumnType::Int4 | ColumnType::Int8))
}

fn is_moment(column: &FoundColumn) -> bool {
    matches!(column.ty, Some(ColumnType::Timestamptz | ColumnType::Timestamp))
}

/// Holds a user's or role's name, `site:` and a site's name.
fn is_name(column: &FoundColumn) -> bool {
    const ROOM: u32 = 128;
    column.ty == Some(ColumnType::Text) && column.max_length.is_none_or(|max| max >= ROOM)
}

/// Whether a key, an index that is unique or a reference holds the column: then it says more than versioning.
fn is_bound(table: &FoundTable, column: &FoundColumn) -> bool {
    let unique = table.indexes.iter().filter(|index| index.unique).flat_map(|index| &index.columns);
    let refers = table.references.iter().flat_map(|reference| &reference.columns);
    table.key.iter().chain(unique).chain(refers).any(|attnum| *attnum == column.attnum)
}

fn soft_delete(
    table: &FoundTable,
    settings: &Settings,
    own: Option<&TableSettings>,
    notes: &mut Vec<String>,
) -> Result<Option<String>, SettingsError> {
    let fit = |column: &FoundColumn| column.ty == Some(ColumnType::Bool) && column.not_null;
    if let Some(name) = own.and_then(|own| own.soft_delete.as_ref()) {
        let text = name.get_ref();
        return match table.column_named(text) {
            _ if text.is_empty() => Ok(None),
            Some(column) if fit(column) => Ok(Some(text.clone())),
            Some(column) => {
                Err(settings.error(name, format!("soft_delete: {}.{text} is {}, not boolean NOT NULL", table.label(), column.sql_type)))
            }
            None => Err(settings.error(name, format!("soft_delete: {}.{text} is not there", table.label()))),
        };
    }
    let general = settings.soft_delete.as_ref().filter(|_| !table.is_engine());
    let Some(column) = general.and_then(|name| table.column_named(name.get_ref())) else { return Ok(None) };
    if fit(column) {
        return Ok(Some(column.name.clone()));
    }
    notes.push(format!("{} is no boolean NOT NULL: deletes are real here", column.name));
    Ok(None)
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
