//! A whole data set in one transaction: rows are compared with what is there, and only what differs is written, in bulk.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use conflict_ui_api::backend::{Imported, Principal};
use conflict_ui_api::error::BackendError;
use sync_core::catalog::{Catalog, DefaultValue, ScopeRule, Table};
use sync_core::change::Row;
use sync_core::id::{Key, ScopeId, TableNo};
use sync_core::value::Value;
use sync_core::write::{Draft, insert_row, update_row};
use uuid::Uuid;

use super::references;
use super::refusal::{Tried, explain};
use crate::store::bulk::{self, Lock, RowWrite, all_columns};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;
use crate::store::{scope, tombstone};

/// The rows of one table as they shall be.
struct Planned<'c> {
    table: &'c Table,
    rows: BTreeMap<Key, PlannedRow>,
}

struct PlannedRow {
    /// As it is in the database.
    current: Option<StoredRow>,
    next: Row,
    /// The positions of columns that the data set, or a default that we make, gives a value.
    given: Vec<bool>,
    scope: ScopeId,
    /// The version below the row's next one: its own, or that of its tombstone.
    version: i64,
}

/// The rows with ids for those that have none, so that every attempt writes the same rows.
pub(super) fn with_ids(catalog: &Catalog, rows: &[(TableNo, Draft)]) -> Vec<(TableNo, Draft)> {
    let mut rows = rows.to_vec();
    for (no, draft) in &mut rows {
        for column in catalog.table(*no).into_iter().flat_map(Table::key_columns) {
            if column.default == Some(DefaultValue::Uuid)
                && let Ok(id) = column.ty.parse(&Uuid::now_v7().to_string())
            {
                draft.entry(column.no).or_insert(id);
            }
        }
    }
    rows
}

/// Writes the rows and commits.
pub(super) async fn run(
    catalog: &Catalog,
    by: &Principal,
    mut transaction: WriteTx<'_>,
    rows: &[(TableNo, Draft)],
) -> Result<Imported, BackendError> {
    let foreseen = plan(catalog, &transaction, rows, Lock::None).await?;
    transaction.take(&scopes(&foreseen)).await?;
    // What was read without a lock may have changed: under the heads it is read again, and now it stays.
    let planned = plan(catalog, &transaction, rows, Lock::Update).await?;
    let mut done = Imported::default();
    for set in &planned {
        write(catalog, &transaction, by, set, &mut done).await?;
    }
    for set in &planned {
        let rows = set.rows.values().map(|row| (row.current.as_ref().map(|current| current.row.as_slice()), row.next.as_slice()));
        references::check(&*transaction, catalog, set.table, &rows.collect::<Vec<_>>()).await?;
    }
    let checked = transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await;
    if let (Err(error), Some(set)) = (checked, planned.last()) {
        return Err(explain(catalog, set.table, Tried::Write, error));
    }
    transaction.commit().await?;
    Ok(done)
}

fn scopes(planned: &[Planned<'_>]) -> BTreeSet<ScopeId> {
    let rows = planned.iter().flat_map(|set| set.rows.values());
    rows.flat_map(|row| row.current.iter().map(|current| current.at.scope.clone()).chain([row.scope.clone()])).collect()
}

/// Every table of the data set with its rows, parents first, each row with its scope.
async fn plan<'c>(
    catalog: &'c Catalog,
    transaction: &WriteTx<'_>,
    drafts: &[(TableNo, Draft)],
    lock: Lock,
) -> Result<Vec<Planned<'c>>, BackendError> {
    let mut planned: Vec<Planned<'c>> = Vec::new();
    for table in catalog.parents_first() {
        let drafts: Vec<&Draft> = drafts.iter().filter(|(no, _)| *no == table.no).map(|(_, draft)| draft).collect();
        if drafts.is_empty() {
            continue;
        }
        super::user_table(catalog, table.no)?;
        let mut set = Planned { table, rows: BTreeMap::new() };
        overlay(catalog, transaction, &mut set, &drafts, lock).await?;
        give_scopes(catalog, transaction, &planned, &mut set).await?;
        planned.push(set);
    }
    Ok(planned)
}

/// Lays the drafts over the rows that are there.
async fn overlay(
    catalog: &Catalog,
    transaction: &WriteTx<'_>,
    set: &mut Planned<'_>,
    drafts: &[&Draft],
    lock: Lock,
) -> Result<(), BackendError> {
    let table = set.table;
    let keys: Vec<Option<Key>> = drafts.iter().map(|draft| key_of(table, draft)).collect();
    let known: BTreeSet<&Key> = keys.iter().flatten().collect();
    let stored = bulk::load(&**transaction, table, &known.iter().copied().collect::<Vec<_>>(), &all_columns(table), lock).await?;
    let mut stored: HashMap<Key, StoredRow> = stored.into_iter().map(|row| (table.key_of(&row.row), row)).collect();
    let gone: Vec<&Key> = known.iter().copied().filter(|key| !stored.contains_key(*key)).collect();
    let tombstones = tombstone::load(&**transaction, table, &gone).await?;
    let versions: HashMap<Key, i64> = gone.iter().zip(tombstones).filter_map(|(key, left)| Some(((*key).clone(), left?.version))).collect();
    let now = super::now();
    for (draft, key) in drafts.iter().zip(keys) {
        let before = key.as_ref().and_then(|key| set.rows.remove(key).or_else(|| stored.remove(key).map(PlannedRow::of)));
        let row = match before {
            Some(before) => {
                let next = update_row(catalog, table, &before.next, draft).map_err(BackendError::Invalid)?;
                PlannedRow { next, ..before }
            }
            None => {
                let next = insert_row(catalog, table, draft, &now, Uuid::now_v7).map_err(BackendError::Invalid)?;
                let given = |column: &sync_core::catalog::Column| {
                    draft.contains_key(&column.no) || !column.default.as_ref().is_some_and(DefaultValue::is_made_later)
                };
                let given = table.columns.iter().map(given).collect();
                PlannedRow {
                    current: None,
                    next,
                    given,
                    scope: ScopeId::global(),
                    version: key.as_ref().and_then(|key| versions.get(key)).copied().unwrap_or(0),
                }
            }
        };
        set.rows.insert(table.key_of(&row.next), row);
    }
    Ok(())
}

impl PlannedRow {
    fn of(current: StoredRow) -> Self {
        let (next, scope, version) = (current.row.clone(), current.at.scope.clone(), current.stamp.version);
        Self { given: vec![true; next.len()], current: Some(current), next, scope, version }
    }
}

/// The key that a draft names; `None` where the row gets a new one.
fn key_of(table: &Table, draft: &Draft) -> Option<Key> {
    table.key.iter().map(|no| draft.get(no).filter(|value| !value.is_null()).cloned()).collect::<Option<_>>().map(Key)
}

/// Derives the scope of each row: its own, or that of the row above it, which may be of the same data set.
async fn give_scopes(
    catalog: &Catalog,
    transaction: &WriteTx<'_>,
    above: &[Planned<'_>],
    set: &mut Planned<'_>,
) -> Result<(), BackendError> {
    let table = set.table;
    for (key, row) in &mut set.rows {
        row.scope = match table.scope {
            ScopeRule::Through(_) => ScopeId::nowhere(),
            _ => table.own_scope(key).unwrap_or_else(ScopeId::global),
        };
    }
    let mut settled: BTreeSet<Key> = BTreeSet::new();
    for reference in table.ways() {
        let Some(parent) = catalog.table(reference.table) else { continue };
        let to: Vec<usize> = reference.target.iter().filter_map(|no| parent.position(*no)).collect();
        let pick = |row: &Row| to.iter().map(|at| row[*at].clone()).collect::<Vec<Value>>();
        let mut known: HashMap<Vec<Value>, ScopeId> = HashMap::new();
        for set in above.iter().filter(|set| set.table.no == parent.no) {
            known.extend(set.rows.values().map(|row| (pick(&row.next), row.scope.clone())));
        }
        let open = set.rows.iter_mut().filter(|(key, _)| !settled.contains(*key));
        let mut named: Vec<(&Key, &mut ScopeId, Vec<Value>)> = open
            .filter_map(|(key, row)| table.referred(reference, parent, &row.next).map(|values| (key, &mut row.scope, values)))
            .collect();
        let asked: BTreeSet<&[Value]> =
            named.iter().map(|(.., values)| values.as_slice()).filter(|values| !known.contains_key(*values)).collect();
        let asked: Vec<&[Value]> = asked.into_iter().collect();
        let found = scope::of_rows(&**transaction, parent, &to, &asked).await?;
        let found: Vec<_> = asked.iter().zip(found).filter_map(|(values, scope)| Some((values.to_vec(), scope?))).collect();
        known.extend(found);
        for (_, scope, values) in &mut named {
            **scope = match known.get(values) {
                Some(scope) => scope.clone(),
                // It may come with the data set yet, or have dangled before: that is asked once all is written.
                None if reference.declared => ScopeId::nowhere(),
                None => return Err(references::bad(table, reference, parent)),
            };
        }
        settled.extend(named.into_iter().map(|(key, ..)| key.clone()));
    }
    Ok(())
}

/// Writes what differs.
async fn write(
    catalog: &Catalog,
    transaction: &WriteTx<'_>,
    by: &Principal,
    set: &Planned<'_>,
    done: &mut Imported,
) -> Result<(), BackendError> {
    let table = set.table;
    let refused = |error: StoreError| match error {
        StoreError::Database(error) => explain(catalog, table, Tried::Write, error),
        error => error.into(),
    };
    let mut updates = Vec::new();
    // Rows that leave the same columns to the database's defaults go together.
    let mut inserts: BTreeMap<&[bool], Vec<RowWrite<'_>>> = BTreeMap::new();
    for (key, row) in &set.rows {
        let old_scope = row.current.as_ref().map_or(&row.scope, |current| &current.at.scope);
        let tick = transaction.tick(&row.scope)?;
        let write = RowWrite {
            key,
            row: &row.next,
            old_scope,
            scope: &row.scope,
            tick,
            version: row.version + 1,
            updated_at: None,
            modified_by: &by.name,
        };
        match &row.current {
            Some(current) if current.row == row.next => done.unchanged += 1,
            Some(_) => updates.push(write),
            None => inserts.entry(&row.given).or_default().push(write),
        }
    }
    bulk::update(&**transaction, table, false, &updates).await.map_err(refused)?;
    done.updated += updates.len() as u64;
    for (given, rows) in inserts {
        let positions: Vec<usize> = given.iter().enumerate().filter(|(_, given)| **given).map(|(at, _)| at).collect();
        bulk::insert(&**transaction, table, &positions, &rows).await.map_err(refused)?;
        let there: Vec<_> = rows.iter().map(|row| (row.key, row.scope)).collect();
        tombstone::remove(&**transaction, table, &there).await?;
        done.created += rows.len() as u64;
    }
    Ok(())
}
