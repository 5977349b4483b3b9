//! The catalog made out of what was found, chosen and numbered.

use std::collections::BTreeMap;

use sync_core::catalog::{Catalog, Column, Index, Reference, ScopeRule, Stamps, Table, TableApi, Unique};
use sync_core::id::{CatalogVersion, ColumnNo};

use super::choose::{Chosen, FoundScope, Names};
use super::numbers::{Numbers, TableNumbers};
use super::{FoundTable, Schema};
use crate::settings::Settings;

/// The stamp columns that are the engine's own wherever they stand.
pub(crate) const ENGINE_COLUMNS: [&str; 6] =
    ["rejoin_scope", "rejoin_tick", "rejoin_version", "rejoin_updated_at", "rejoin_modified_by", "rejoin_synced_at"];

/// Whether a column is the engine's and so no synced one.
pub(crate) fn is_stamp(stamps: &Stamps, name: &str) -> bool {
    ENGINE_COLUMNS.contains(&name)
        || [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].contains(&&name.to_owned())
}

/// Makes the catalog; its tables are in the order of their numbers.
pub(crate) fn assemble(schema: &Schema, chosen: &[Chosen], numbers: &Numbers, settings: &Settings) -> Catalog {
    let mut tables: Vec<Table> = chosen.iter().filter_map(|choice| table(schema, choice, numbers, settings)).collect();
    tables.sort_by_key(|table| table.no);
    let system = settings.system.clone().unwrap_or_else(|| "rejoin".to_owned());
    Catalog { version: CatalogVersion(0), system, api: settings.api, tables }
}

fn table(schema: &Schema, choice: &Chosen, numbers: &Numbers, settings: &Settings) -> Option<Table> {
    let found = &schema.tables[choice.at];
    let own = numbers.table(found.oid)?;
    let nos = |attnums: &[i16]| -> Option<Vec<ColumnNo>> { attnums.iter().map(|attnum| own.column(*attnum)).collect() };
    let (references, places) = references(found, own, numbers);
    let scope = match &choice.scope {
        FoundScope::Global => ScopeRule::Global,
        FoundScope::Root => ScopeRule::Root,
        FoundScope::Site => ScopeRule::Site,
        FoundScope::Through(ways) => ScopeRule::Through(ways.iter().filter_map(|way| places.get(way).copied()).collect()),
    };
    let (uniques, indexes) = keys(found, &nos);
    let columns = columns(found, choice, own);
    Some(Table {
        no: own.no,
        schema: found.schema.clone(),
        name: found.name.clone(),
        path: choice.path.clone(),
        engine: found.is_engine(),
        key: nos(&found.key)?,
        uniques,
        indexes,
        references,
        scope,
        stamps: choice.stamps.clone(),
        soft_delete: choice
            .soft_delete
            .as_ref()
            .and_then(|name| columns.iter().find(|column| column.name == *name))
            .map(|column| column.no),
        policy: choice.policies.table,
        groups: groups(choice, &columns),
        travel: choice.travel,
        keep_hours: choice.keep_hours,
        generation: 0,
        scope_name: own.scope_name.clone(),
        lease: settings.table(&found.schema, &found.name).and_then(|table| table.lease.as_ref()).map(|lease| *lease.get_ref()),
        api: api(choice, &columns),
        columns,
    })
}

fn api(choice: &Chosen, columns: &[Column]) -> TableApi {
    let no = |name: &String| columns.iter().find(|column| column.name == *name).map(|column| column.no);
    let Names { list, names, filters } = &choice.names;
    TableApi {
        list: list.clone(),
        names: names.iter().filter_map(|(column, json)| Some((no(column)?, json.clone()))).collect(),
        filters: filters.iter().filter_map(|(name, (column, operator))| Some((name.clone(), (no(column)?, operator.clone())))).collect(),
    }
}

/// The references to synced tables, foreign keys first; and where each of the found ones stands among them.
fn references(found: &FoundTable, own: &TableNumbers, numbers: &Numbers) -> (Vec<Reference>, BTreeMap<usize, usize>) {
    let (mut references, mut places) = (Vec::new(), BTreeMap::new());
    for (at, reference) in found.references.iter().enumerate() {
        let Some(target) = numbers.table(reference.table) else { continue };
        let numbered = |of: &TableNumbers, attnums: &[i16]| attnums.iter().map(|attnum| of.column(*attnum)).collect();
        let (Some(columns), Some(target_columns)) = (numbered(own, &reference.columns), numbered(target, &reference.target)) else {
            continue;
        };
        let when = reference.when.as_ref().map(|(kind, value)| Some((own.column(*kind)?, value.clone())));
        let Some(when) = when.map_or(Some(None), |when| when.map(Some)) else { continue };
        places.insert(at, references.len());
        references.push(Reference {
            name: reference.name.clone(),
            columns,
            table: target.no,
            target: target_columns,
            on_delete: reference.on_delete,
            declared: reference.declared,
            when,
        });
    }
    (references, places)
}

fn columns(found: &FoundTable, choice: &Chosen, own: &TableNumbers) -> Vec<Column> {
    let synced = found.columns.iter().filter(|column| !is_stamp(&choice.stamps, &column.name));
    let mut columns: Vec<Column> = synced
        .filter_map(|column| {
            Some(Column {
                no: own.column(column.attnum)?,
                name: column.name.clone(),
                ty: column.ty.clone()?,
                sql_type: column.sql_type.clone(),
                not_null: column.not_null,
                default: column.default.clone(),
                max_length: column.max_length,
                policy: choice.policies.of(&column.name),
                added: None,
                fixed: column.fixed,
            })
        })
        .collect();
    columns.sort_by_key(|column| column.no);
    columns
}

/// Columns in their order, groups in the order of their first columns: what `rejoin.toml` says in another order is the same catalog.
fn groups(choice: &Chosen, columns: &[Column]) -> Vec<Vec<ColumnNo>> {
    let numbered = |group: &Vec<String>| {
        let mut nos: Vec<ColumnNo> = columns.iter().filter(|column| group.contains(&column.name)).map(|column| column.no).collect();
        nos.sort_unstable();
        nos
    };
    let mut groups: Vec<Vec<ColumnNo>> = choice.policies.groups.iter().map(numbered).collect();
    groups.sort_unstable();
    groups
}

/// Indexes over synced columns only; those that name a stamp are the cloud's own affair.
fn keys(found: &FoundTable, nos: &impl Fn(&[i16]) -> Option<Vec<ColumnNo>>) -> (Vec<Unique>, Vec<Index>) {
    let (mut uniques, mut indexes) = (Vec::new(), Vec::new());
    for index in &found.indexes {
        let Some(columns) = nos(&index.columns) else { continue };
        if index.unique {
            uniques.push(Unique { name: index.name.clone(), columns });
        } else {
            indexes.push(Index { name: index.name.clone(), columns });
        }
    }
    (uniques, indexes)
}
