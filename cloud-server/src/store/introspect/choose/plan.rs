//! What people are told about the tables of a database.

use std::collections::BTreeMap;

use serde::Serialize;
use sync_core::catalog::{Stamps, Travel};

use super::FoundScope;
use super::kinds::Kinds;
use super::references::{self, describe};
use crate::settings::{Named, Settings, StampNames, names};
use crate::store::introspect::assemble::ENGINE_COLUMNS;
use crate::store::introspect::{FoundTable, Schema};

/// What becomes of the tables of a database, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// One entry for each table.
    pub tables: Vec<PlanEntry>,
    /// What `rejoin.toml` says and nothing heeds, each with its line.
    pub warnings: Vec<String>,
}

/// What becomes of one table, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    /// `table`, or `schema.table` outside of `public`.
    pub table: String,
    /// Whether it is synced.
    pub synced: bool,
    /// How its rows find their scope, by name.
    pub travels: Travels,
    /// Which way its rows travel; of no meaning where it is left out.
    pub direction: Travel,
    /// How its rows find their scope; or why it is left out.
    pub reason: String,
    /// What in `rejoin.toml` would include a table that is left out, and leave out one that is synced. `None`: nothing would.
    pub otherwise: Option<String>,
    /// The columns that stay at the cloud though they could travel.
    pub left_out: Vec<LeftOutColumn>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Pairs of columns that look like a reference to one of several tables and are none yet.
    pub kinds: Vec<Kinds>,
    /// The rows that name no parent and stay at the cloud, where there may be such.
    pub nowhere: Option<Nowhere>,
    /// What is kept in columns of its own: `version` and so on, and `softDelete`, each with the column.
    pub mapped: BTreeMap<&'static str, String>,
}

/// Rows that name no parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Nowhere {
    /// How many; `None`: they could not be counted in time.
    pub rows: Option<i64>,
    /// Of how many in all.
    pub of: Option<i64>,
}

/// How a table's rows find their scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "how")]
pub enum Travels {
    /// Each row is a scope.
    Root,
    /// With the root.
    WithRoot {
        /// The references through which a row finds its root, by their columns, in the order in which they are asked.
        through: Vec<String>,
    },
    /// Every site holds all of it.
    Global,
    /// It stays at the cloud.
    LeftOut,
}

/// A column that stays at the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOutColumn {
    /// Its name.
    pub column: String,
    /// Why.
    pub reason: String,
    /// What in `rejoin.toml` would include it.
    pub otherwise: String,
}

impl PlanEntry {
    /// `remedy`: the lines that would take its obstacle away, if any do.
    pub(super) fn left_out(settings: &Settings, table: &FoundTable, remedy: Option<&String>) -> Self {
        let (reason, otherwise) = why_left_out(settings, table, remedy);
        let (travels, direction) = (Travels::LeftOut, Travel::Both);
        Self { synced: false, otherwise, ..Self::told(table, travels, direction, reason) }
    }

    pub(super) fn synced(settings: &Settings, table: &FoundTable, scope: &FoundScope, direction: Travel) -> Self {
        let (travels, reason) = match scope {
            FoundScope::Root => (Travels::Root, "the root: each row is a scope".to_owned()),
            FoundScope::Global | FoundScope::Site => (Travels::Global, "global: every site holds all of it".to_owned()),
            FoundScope::Through(ways) => {
                let ways: Vec<_> = ways.iter().filter_map(|way| table.references.get(*way)).collect();
                let through: Vec<String> = ways.iter().map(|way| describe(table, way)).collect();
                let always = ways.iter().any(|way| references::always_names(table, way));
                let end = if always { "" } else { "; a row that names none of them stays at the cloud" };
                (Travels::WithRoot { through: through.clone() }, format!("found through {}{end}", through.join(", else ")))
            }
        };
        let otherwise = (*scope != FoundScope::Root).then(|| list_line("left_out", &settings.left_out, |_| true, Some(table)));
        Self { otherwise, ..Self::told(table, travels, direction, reason) }
    }

    fn told(table: &FoundTable, travels: Travels, direction: Travel, reason: String) -> Self {
        Self {
            table: table.label(),
            synced: true,
            travels,
            direction,
            reason,
            otherwise: None,
            left_out: Vec::new(),
            notes: table.notes.clone(),
            kinds: Vec::new(),
            nowhere: None,
            mapped: BTreeMap::new(),
        }
    }
}

/// Which versioning columns, and which mark of deletes, are the user's own.
pub(super) fn mapped(stamps: &Stamps, soft_delete: Option<&String>) -> BTreeMap<&'static str, String> {
    let names = [
        ("version", &stamps.version),
        ("updatedAt", &stamps.updated_at),
        ("lastModifiedBy", &stamps.last_modified_by),
        ("syncedAt", &stamps.synced_at),
    ];
    let own = names.into_iter().filter(|(_, name)| !ENGINE_COLUMNS.contains(&name.as_str()));
    own.chain(soft_delete.map(|name| ("softDelete", name))).map(|(what, name)| (what, name.clone())).collect()
}

/// General names that no table has: a letter too many would otherwise pass in silence.
pub(super) fn unheeded(settings: &Settings, schema: &Schema) -> Vec<String> {
    let StampNames { version, updated_at, last_modified_by, synced_at } = &settings.stamps;
    let names = [
        ("soft_delete", &settings.soft_delete),
        ("stamps.version", version),
        ("stamps.updated_at", updated_at),
        ("stamps.last_modified_by", last_modified_by),
        ("stamps.synced_at", synced_at),
    ];
    let there = |name: &Named| schema.tables.iter().any(|table| !table.is_engine() && table.column_named(name.get_ref()).is_some());
    let missing =
        names.into_iter().filter_map(|(key, name)| Some((key, name.as_ref().filter(|name| !name.get_ref().is_empty() && !there(name))?)));
    missing.map(|(key, name)| settings.error(name, format!("{key}: no table has a column {}", name.get_ref())).to_string()).collect()
}

fn why_left_out(settings: &Settings, table: &FoundTable, remedy: Option<&String>) -> (String, Option<String>) {
    if let Some(obstacle) = &table.obstacle {
        return (obstacle.clone(), remedy.cloned());
    }
    let is = |name: &Named| names(name.get_ref(), &table.schema, &table.name);
    if settings.left_out.iter().any(is) {
        return ("left out by rejoin.toml".to_owned(), Some(list_line("left_out", &settings.left_out, |name| !is(name), None)));
    }
    let reason = "reaches no root, and no synced table refers to it".to_owned();
    (reason, Some(list_line("global", &settings.global, |_| true, Some(table))))
}

/// A line of `rejoin.toml` that lists tables: those that it lists already, and one more.
pub(super) fn list_line(key: &str, listed: &[Named], keep: impl Fn(&Named) -> bool, more: Option<&FoundTable>) -> String {
    let kept = listed.iter().filter(|name| keep(name)).map(|name| name.get_ref().clone());
    let all: Vec<String> = kept.chain(more.map(FoundTable::label)).map(|name| quoted(&name)).collect();
    format!("{key} = [{}]", all.join(", "))
}

/// The lines that say something of one table: `key` lists these columns.
pub(super) fn column_line(table: &FoundTable, key: &str, listed: &[Named], more: Option<&str>, less: Option<&str>) -> String {
    let kept = listed.iter().map(|name| name.get_ref().as_str()).filter(|name| Some(*name) != less);
    let all: Vec<String> = kept.chain(more).map(quoted).collect();
    format!("[tables.{}]\n{key} = [{}]", bare(&table.label()), all.join(", "))
}

/// A key as TOML writes it.
pub(super) fn bare(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if plain && !name.is_empty() { name.to_owned() } else { quoted(name) }
}

pub(super) fn quoted(name: &str) -> String {
    toml::Value::from(name).to_string()
}
