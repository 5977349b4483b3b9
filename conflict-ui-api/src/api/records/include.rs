//! `?include=rack,comments.author`: what a record refers to, and what refers to it, beside the record.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, JsonCase, Reference, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::{INCLUDE_DEPTH_MAX, INCLUDE_LOOKUPS_MAX, INCLUDE_NAMES_MAX, INCLUDE_ROWS_MAX};
use sync_core::value::Value;

use super::nested::{chosen, naming};
use super::shape::record_json;
use crate::backend::{Filter, ListQuery, Record, Sort, SortKey};
use crate::problem::{Answer, Fault, Problem};
use crate::state::ApiState;

/// The member of a record that holds what is included.
pub const MEMBER: &str = "included";

/// What is asked to be included, by name; each with what is asked of that in turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Include(BTreeMap<String, Include>);

/// What a name stands for.
enum Found<'c> {
    /// The one row that the record refers to: by any of these references, which share their columns and are for one kind each.
    Parent(Vec<(&'c Reference, &'c Table)>),
    /// The rows that refer to the record.
    Children(&'c Table, &'c Reference),
}

impl Include {
    /// Reads the parameter.
    ///
    /// # Errors
    /// A name that the table does not have, too many of them, or too deep.
    pub fn read(catalog: &Catalog, table: &Table, text: &str) -> Answer<Self> {
        let mut include = Self::default();
        let fault = |code, detail| Problem::query(vec![Fault::parameter("include", code, detail)]);
        let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.len() > INCLUDE_NAMES_MAX {
            return Err(fault("range", format!("include names at most {INCLUDE_NAMES_MAX}")));
        }
        for name in names {
            if name.split('.').count() > INCLUDE_DEPTH_MAX {
                return Err(fault("range", format!("{name}: include goes at most {INCLUDE_DEPTH_MAX} levels deep")));
            }
            let (mut at, mut tables) = (&mut include, vec![table]);
            for step in name.split('.') {
                let mut next: Vec<&Table> = Vec::new();
                for table in &tables {
                    match find(catalog, table, step) {
                        Some(Found::Parent(all)) => next.extend(all.into_iter().map(|(_, target)| target)),
                        Some(Found::Children(child, _)) => next.push(child),
                        None => {}
                    }
                }
                if next.is_empty() {
                    let known: Vec<String> = tables.iter().flat_map(|table| names_of(catalog, table)).collect();
                    let detail = format!("there is nothing called {step} to include; there are {}", known.join(", "));
                    return Err(fault("unknown", detail));
                }
                tables = next;
                at = at.0.entry(step.to_owned()).or_default();
            }
        }
        Ok(include)
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row by a key of its table: the columns with their text forms.
type Wanted = (TableNo, Vec<(ColumnNo, String)>);

/// Looks up what is included of the records of one answer.
pub struct Including<'s> {
    state: &'s ApiState,
    catalog: &'s Catalog,
    /// Whether soft-deleted records are shown.
    deleted: bool,
    left: usize,
    /// What was looked up already: many records refer to the same row.
    parents: BTreeMap<Wanted, Option<Record>>,
}

impl<'s> Including<'s> {
    /// For one answer.
    #[must_use]
    pub fn new(state: &'s ApiState, catalog: &'s Catalog, deleted: bool) -> Self {
        Self { state, catalog, deleted, left: INCLUDE_LOOKUPS_MAX, parents: BTreeMap::new() }
    }

    /// Puts beside a record, as JSON, what is to be included of it.
    ///
    /// # Errors
    /// The backend failed; the whole answer would take too many lookups.
    pub async fn put(&mut self, table: &Table, row: &[Value], include: &Include, json: &mut Json) -> Answer<()> {
        let mut members = Map::new();
        for (name, deeper) in &include.0 {
            // Of a table that a name further down is not of: a row that is referred to by its kind may be of several.
            let Some(found) = find(self.catalog, table, name) else { continue };
            let member = match found {
                Found::Parent(all) => self.parent(table, row, &all, deeper).await?,
                Found::Children(child, reference) => self.children(table, row, child, reference, deeper).await?,
            };
            members.insert(name.clone(), member);
        }
        if let Json::Object(json) = json {
            json.insert(MEMBER.to_owned(), Json::Object(members));
        }
        Ok(())
    }

    async fn parent(&mut self, table: &Table, row: &[Value], all: &[(&Reference, &Table)], deeper: &Include) -> Answer<Json> {
        let named = all.iter().find_map(|(reference, target)| Some((*reference, *target, table.referred(reference, target, row)?)));
        let Some((reference, target, values)) = named else { return Ok(Json::Null) };
        let filters: Vec<(ColumnNo, Value)> = reference.target.iter().copied().zip(values).collect();
        let name = (target.no, filters.iter().map(|(no, value)| (*no, value.to_text().into_owned())).collect());
        let known = match self.parents.get(&name) {
            Some(known) => known.clone(),
            None => {
                let found = self.list(target, filters, 1).await?.pop();
                self.parents.insert(name, found.clone());
                found
            }
        };
        match known {
            Some(record) => self.shown(target, &record, deeper).await,
            None => Ok(Json::Null),
        }
    }

    async fn children(&mut self, table: &Table, row: &[Value], child: &Table, reference: &Reference, deeper: &Include) -> Answer<Json> {
        if table.named_by(reference, row).is_none() {
            return Ok(json!({ "data": [], "hasMore": false }));
        }
        let mut records = self.list(child, naming(child, reference, table, row), INCLUDE_ROWS_MAX + 1).await?;
        let more = records.len() > INCLUDE_ROWS_MAX;
        records.truncate(INCLUDE_ROWS_MAX);
        let mut data = Vec::with_capacity(records.len());
        for record in &records {
            data.push(self.shown(child, record, deeper).await?);
        }
        Ok(json!({ "data": data, "hasMore": more }))
    }

    async fn shown(&mut self, table: &Table, record: &Record, deeper: &Include) -> Answer<Json> {
        let mut json = record_json(self.catalog, table, record, false);
        if !deeper.is_empty() {
            Box::pin(self.put(table, &record.row, deeper, &mut json)).await?;
        }
        Ok(json)
    }

    async fn list(&mut self, table: &Table, filters: Vec<(ColumnNo, Value)>, limit: usize) -> Answer<Vec<Record>> {
        if self.left == 0 {
            let detail =
                format!("what is to be included takes more than {INCLUDE_LOOKUPS_MAX} lookups: ask for fewer records, or include less");
            return Err(Problem::query(vec![Fault::parameter("include", "range", detail)]));
        }
        self.left -= 1;
        let sort = table.key.iter().map(|no| Sort { by: SortKey::Column(*no), descending: false }).collect();
        let filters = filters.into_iter().map(|(no, value)| Filter::equals(no, value)).collect();
        let query = ListQuery { table: table.no, filters, sort, after: None, limit, deleted: self.deleted };
        Ok(self.state.backend.list(&query).await?)
    }
}

/// What a name stands for: a row that the table refers to is called by its column without `_id`, the rows that refer to it by their table's path,
/// behind it the column where they do so by several (`trips:from_region`).
fn find<'c>(catalog: &'c Catalog, table: &'c Table, name: &str) -> Option<Found<'c>> {
    let case = catalog.api.case;
    let is = |reference: &&Reference| {
        let plain = parent_name(table, reference);
        plain.as_deref() == Some(name) || plain.is_some_and(|plain| case.apply(&plain) == name)
    };
    let parents = table.references.iter().filter(is).filter_map(|reference| Some((reference, catalog.table(reference.table)?)));
    let parents: Vec<_> = parents.filter(|(_, target)| !target.engine).collect();
    if !parents.is_empty() {
        return Some(Found::Parent(parents));
    }
    let (path, via) = name.split_once(':').map_or((name, None), |(path, via)| (path, Some(via)));
    let child = catalog.by_name(path)?;
    chosen(catalog, child, table, via).ok().map(|reference| Found::Children(child, reference))
}

fn parent_name(table: &Table, reference: &Reference) -> Option<String> {
    let column = &table.naming_column(reference)?.name;
    let stem = column.strip_suffix("_id").or_else(|| column.strip_suffix("Id")).filter(|stem| !stem.is_empty());
    Some(stem.unwrap_or(column).to_owned())
}

/// The names that a table knows.
pub(crate) fn names_of(catalog: &Catalog, table: &Table) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let of = |reference: &Reference, case: JsonCase| parent_name(table, reference).map(|name| case.apply(&name));
    table.references.iter().filter_map(|reference| of(reference, catalog.api.case)).for_each(&mut add);
    for (child, _) in catalog.referrers(table.no).filter(|(child, _)| !child.engine) {
        match chosen(catalog, child, table, None) {
            Ok(_) => add(child.path.clone()),
            Err(all) => all.into_iter().for_each(|via| add(format!("{}:{via}", child.path))),
        }
    }
    names
}
