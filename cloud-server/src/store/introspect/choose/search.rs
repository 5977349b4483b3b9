//! The search for scopes: breadth first from the root, so that the shortest way wins. Ways that no row can do without come first; where
//! a table has none, all others are taken, shortest first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::limits::REFERENCE_DEPTH_MAX;
use toml::Spanned;

use super::references::always_names;
use super::{FoundScope, find_table};
use crate::settings::{Named, OneOrMany, Settings, SettingsError};
use crate::store::introspect::{FoundReference, FoundTable, Schema};

/// The scopes of every table that is synced, by its place in [`Schema::tables`].
///
/// # Errors
/// `rejoin.toml` names what is not there or leads to no root.
pub(super) fn scopes(schema: &Schema, settings: &Settings) -> Result<BTreeMap<usize, FoundScope>, SettingsError> {
    Search::new(schema, settings)?.run()
}

struct Search<'a> {
    schema: &'a Schema,
    settings: &'a Settings,
    root: Option<usize>,
    listed: BTreeSet<usize>,
    left_out: BTreeSet<usize>,
    /// Tables whose ways are told: the references, in the order in which they are asked.
    told: BTreeMap<usize, (Vec<usize>, &'a Spanned<OneOrMany>)>,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    scopes: BTreeMap<usize, FoundScope>,
    /// How far each table that belongs to a root is from it, by oid.
    depths: HashMap<u32, usize>,
}

impl<'a> Search<'a> {
    fn new(schema: &'a Schema, settings: &'a Settings) -> Result<Self, SettingsError> {
        let find = |key: &str, name: &Named| find_table(schema, settings, key, name);
        let root = settings.root.as_ref().map(|name| find("root", name)).transpose()?;
        let listed = settings.global.iter().map(|name| find("global", name)).collect::<Result<_, _>>()?;
        // A table that is left out may be gone as well.
        let left_out = settings.left_out.iter().filter_map(|name| find("left_out", name).ok()).collect();
        let mut told = BTreeMap::new();
        for (name, own) in &settings.tables {
            let at = find("tables", name)?;
            if let Some(through) = &own.scope_through {
                told.insert(at, (told_references(&schema.tables[at], own.ways(), through, settings)?, through));
            }
        }
        Ok(Self { schema, settings, root, listed, left_out, told })
    }

    fn run(&self) -> Result<BTreeMap<usize, FoundScope>, SettingsError> {
        let mut found = Found { scopes: self.engine_tables(), ..Found::default() };
        if let Some(root) = self.root {
            found.scopes.insert(root, FoundScope::Root);
            found.depths.insert(self.schema.tables[root].oid, 0);
        }
        loop {
            let mut next = self.wave(&found, Self::sure_ways);
            for ways in [Self::open_ways, Self::told_ways] {
                if next.is_empty() {
                    next = self.wave(&found, ways);
                }
            }
            if next.is_empty() {
                break;
            }
            for (at, ways, depth) in next {
                found.scopes.insert(at, FoundScope::Through(ways));
                found.depths.insert(self.schema.tables[at].oid, depth);
            }
        }
        if let Some((_, (_, through))) = self.told.iter().find(|(at, _)| !found.scopes.contains_key(at)) {
            let message = format!("scope_through: the table that {} refers to reaches no root", through.get_ref().all().join(", "));
            return Err(self.settings.error(through, message));
        }
        Ok(self.with_globals(found.scopes))
    }

    /// What is listed, and what a synced table refers to.
    fn with_globals(&self, mut found: BTreeMap<usize, FoundScope>) -> BTreeMap<usize, FoundScope> {
        found.extend(self.listed.iter().map(|at| (*at, FoundScope::Global)));
        let places: HashMap<u32, usize> = self.candidates().map(|(at, table)| (table.oid, at)).collect();
        let mut rest: Vec<usize> = found.keys().copied().collect();
        while let Some(at) = rest.pop() {
            for reference in &self.schema.tables[at].references {
                let Some(to) = places.get(&reference.table).filter(|to| !found.contains_key(to)) else { continue };
                found.insert(*to, FoundScope::Global);
                rest.push(*to);
            }
        }
        found
    }

    fn engine_tables(&self) -> BTreeMap<usize, FoundScope> {
        let scope = |table: &FoundTable| if table.name == "sync_conflicts" { FoundScope::Site } else { FoundScope::Global };
        self.schema.tables.iter().enumerate().filter(|(_, table)| table.is_engine()).map(|(at, table)| (at, scope(table))).collect()
    }

    fn candidates(&self) -> impl Iterator<Item = (usize, &FoundTable)> {
        let tables = self.schema.tables.iter().enumerate();
        tables.filter(|(at, table)| table.obstacle.is_none() && !table.is_engine() && !self.left_out.contains(at))
    }

    /// The tables that are found next, with their ways and their distance from the root.
    fn wave(&self, found: &Found, ways: impl Fn(&Self, usize, &FoundTable, &Found) -> Vec<usize>) -> Vec<(usize, Vec<usize>, usize)> {
        let open = self.candidates().filter(|(at, _)| !found.scopes.contains_key(at) && !self.listed.contains(at));
        open.filter_map(|(at, table)| {
            let ways = ways(self, at, table, found);
            let depth = ways.iter().filter_map(|way| found.depth(&table.references[*way])).min()? + 1;
            (depth <= REFERENCE_DEPTH_MAX).then_some((at, ways, depth))
        })
        .collect()
    }

    /// The shortest way that no row can do without, the first by name where there are several; the told ways, once all of them lead there.
    fn sure_ways(&self, at: usize, table: &FoundTable, found: &Found) -> Vec<usize> {
        let reaches = |way: &usize| found.depth(&table.references[*way]).is_some();
        match self.told.get(&at) {
            Some((told, _)) if told.iter().all(reaches) => told.clone(),
            Some(_) => Vec::new(),
            None => self.leading(table, found).into_iter().find(|way| always_names(table, &table.references[*way])).into_iter().collect(),
        }
    }

    /// All ways, the shortest first.
    fn open_ways(&self, at: usize, table: &FoundTable, found: &Found) -> Vec<usize> {
        if self.told.contains_key(&at) { Vec::new() } else { self.leading(table, found) }
    }

    /// Of the told ways those that lead to the root: the others never will.
    fn told_ways(&self, at: usize, table: &FoundTable, found: &Found) -> Vec<usize> {
        let told = self.told.get(&at).map_or(&[] as &[usize], |(told, _)| told.as_slice());
        told.iter().copied().filter(|way| found.depth(&table.references[*way]).is_some()).collect()
    }

    /// The references to other tables that belong to a root, the shortest first, then by name.
    fn leading(&self, table: &FoundTable, found: &Found) -> Vec<usize> {
        let references = table.references.iter().enumerate().filter(|(_, reference)| reference.table != table.oid);
        let mut leading: Vec<(usize, &str, usize)> =
            references.filter_map(|(way, reference)| Some((found.depth(reference)?, reference.name.as_str(), way))).collect();
        leading.sort_unstable();
        leading.into_iter().map(|(_, _, way)| way).collect()
    }
}

impl Found {
    fn depth(&self, reference: &FoundReference) -> Option<usize> {
        self.depths.get(&reference.table).copied()
    }
}

/// The references that hold the told columns, in the order in which the columns are told; of one column, foreign keys first.
fn told_references(
    table: &FoundTable,
    columns: &[String],
    through: &Spanned<OneOrMany>,
    settings: &Settings,
) -> Result<Vec<usize>, SettingsError> {
    let mut told = Vec::new();
    for name in columns {
        let holds = |reference: &FoundReference| {
            reference.table != table.oid
                && reference.columns.iter().any(|attnum| table.column(*attnum).is_some_and(|found| found.name == *name))
        };
        let before = told.len();
        let holding = table.references.iter().enumerate().filter(|(_, reference)| holds(reference));
        told.extend(holding.map(|(way, _)| way));
        if told.len() == before {
            return Err(settings.error(through, format!("scope_through: {}.{name} refers to no other table", table.label())));
        }
    }
    let mut seen = BTreeSet::new();
    told.retain(|way| seen.insert(*way));
    Ok(told)
}
