//! What a delete takes along: the rows that cascades reach, the references that are cleared, and what forbids it.
//!
//! A soft delete marks what ON DELETE CASCADE would take, as far as tables have the mark; rows without one stay in place under their
//! marked parent. A real delete is the database's own; its closure is only read to know which scopes it will touch.

use std::collections::{BTreeSet, HashSet};

use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Column, OnDelete, Reference, Table};
use sync_core::id::{ColumnNo, Key, ScopeId, TableNo};
use sync_core::limits::REFERENCE_DEPTH_MAX;
use sync_core::value::Value;

use super::query::Query;
use crate::store::error::StoreError;
use crate::store::row::{column_sql, quote, read_value, table_sql};
use crate::store::scope::of_kind;

/// Rows of one table, by key.
pub(super) type Rows<'c> = (&'c Table, Vec<Key>);

/// What a delete (or its undoing) touches.
#[derive(Debug, Default)]
pub(super) struct Closure<'c> {
    /// Rows that go, parents before children.
    pub(super) taken: Vec<Rows<'c>>,
    /// References that are cleared, each with the rows that hold it.
    pub(super) cleared: Vec<(&'c Table, &'c Reference, Vec<Key>)>,
    /// Every scope of those rows.
    pub(super) scopes: BTreeSet<ScopeId>,
}

/// Which rows are followed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Follow<'a> {
    /// A soft delete: live rows, those of tables with a mark are taken.
    Mark,
    /// A real delete: all rows.
    Remove,
    /// A restore: marked rows with this `updated_at`.
    Restore(&'a str),
}

/// Walks from one row along the references to it. `locked`: every row found is locked, and a row that somebody holds is `Busy`.
pub(super) async fn walk<'c>(
    db: &impl GenericClient,
    catalog: &'c Catalog,
    start: (&'c Table, Found),
    follow: Follow<'_>,
    locked: bool,
) -> Result<Closure<'c>, BackendError> {
    let (table, first) = start;
    let mut closure = Closure::default();
    let mut seen: HashSet<(TableNo, Key)> = HashSet::from([(table.no, first.key.clone())]);
    let mut forbidding: Vec<Rows<'c>> = Vec::new();
    let mut level = vec![(table, vec![first])];
    for _ in 0..REFERENCE_DEPTH_MAX {
        let mut next: Vec<(&'c Table, Vec<Found>)> = Vec::new();
        for (table, rows) in level {
            closure.scopes.extend(rows.iter().map(|row| row.scope.clone()));
            for (child, reference) in catalog.referrers(table.no) {
                let Some(effect) = effect(child, reference, follow) else { continue };
                let mut found = find(db, catalog, child, reference, &targets(table, child, reference, &rows), follow, locked).await?;
                closure.scopes.extend(found.iter().map(|row| row.scope.clone()));
                match effect {
                    OnDelete::Cascade => {
                        found.retain(|row| seen.insert((child.no, row.key.clone())));
                        if !found.is_empty() {
                            next.push((child, found));
                        }
                    }
                    OnDelete::Restrict => forbidding.push((child, keys(found))),
                    OnDelete::SetNull | OnDelete::SetDefault => closure.cleared.push((child, reference, keys(found))),
                }
            }
            closure.taken.push((table, keys(rows)));
        }
        if next.is_empty() {
            settle(&mut closure, &seen, &forbidding)?;
            return Ok(closure);
        }
        level = next;
    }
    Err(BackendError::Check(format!("the references behind this row go deeper than {REFERENCE_DEPTH_MAX} levels")))
}

/// Rows that go themselves neither forbid nor need clearing.
fn settle(closure: &mut Closure<'_>, seen: &HashSet<(TableNo, Key)>, forbidding: &[Rows<'_>]) -> Result<(), BackendError> {
    let stays = |table: &Table, key: &Key| !seen.contains(&(table.no, key.clone()));
    if let Some((table, _)) = forbidding.iter().find(|(table, keys)| keys.iter().any(|key| stays(table, key))) {
        return Err(BackendError::Restricted { table: table.path.clone() });
    }
    for (table, _, keys) in &mut closure.cleared {
        keys.retain(|key| stays(table, key));
    }
    closure.cleared.retain(|(_, _, keys)| !keys.is_empty());
    Ok(())
}

/// What a reference does to its row when the row referred to goes; `None`: nothing here.
fn effect(child: &Table, reference: &Reference, follow: Follow<'_>) -> Option<OnDelete> {
    match (follow, reference.on_delete) {
        (Follow::Mark | Follow::Restore(_), OnDelete::Cascade) => child.soft_delete.map(|_| OnDelete::Cascade),
        (Follow::Mark, other) => Some(other),
        (Follow::Restore(_), _) => None,
        // The database itself refuses.
        (Follow::Remove, OnDelete::Restrict) => None,
        (Follow::Remove, other) => Some(other),
    }
}

/// A row found on the way: its key, its scope, and the values that references name.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) scope: ScopeId,
    pub(super) named: Vec<(ColumnNo, Value)>,
}

/// The columns of a table that references name.
pub(super) fn named_columns<'c>(catalog: &'c Catalog, table: &'c Table) -> Vec<&'c Column> {
    let numbers: BTreeSet<ColumnNo> = catalog.referrers(table.no).flat_map(|(_, reference)| reference.target.iter().copied()).collect();
    numbers.into_iter().filter_map(|no| table.column(no)).collect()
}

/// What the referring columns hold of rows that refer to these.
fn targets(table: &Table, child: &Table, reference: &Reference, rows: &[Found]) -> Vec<Vec<Value>> {
    let value =
        |row: &Found, no: &ColumnNo| row.named.iter().find(|(named, _)| named == no).map_or(Value::Null, |(_, value)| value.clone());
    debug_assert_eq!(reference.table, table.no);
    let named = rows.iter().map(|row| reference.target.iter().map(|no| value(row, no)).collect::<Vec<_>>());
    named.flat_map(|values| child.spellings(reference, table, &values)).collect()
}

fn keys(rows: Vec<Found>) -> Vec<Key> {
    rows.into_iter().map(|row| row.key).collect()
}

async fn find(
    db: &impl GenericClient,
    catalog: &Catalog,
    child: &Table,
    reference: &Reference,
    targets: &[Vec<Value>],
    follow: Follow<'_>,
    locked: bool,
) -> Result<Vec<Found>, StoreError> {
    let columns: Vec<&Column> = reference.columns.iter().filter_map(|no| child.column(*no)).collect();
    let named = named_columns(catalog, child);
    let mut query = Query::default();
    let mut conditions = vec![format!("{}{}", query.any_of(&columns, targets), of_kind(child, reference, "t"))];
    let mark = child.soft_delete.and_then(|no| child.column(no)).map(|column| format!("t.{}", quote(&column.name)));
    match (follow, mark) {
        (Follow::Mark, Some(mark)) => conditions.push(format!("{mark} IS NOT TRUE")),
        (Follow::Restore(at), Some(mark)) => {
            let at = query.bind_text(at);
            conditions.push(format!("{mark} AND t.{} = {at}::timestamptz", quote(&child.stamps.updated_at)));
        }
        (Follow::Mark | Follow::Remove | Follow::Restore(_), _) => {}
    }
    let list: Vec<_> = child.key_columns().chain(named.iter().copied()).map(|column| column_sql(column, "t")).collect();
    let lock = if locked { " FOR NO KEY UPDATE OF t NOWAIT" } else { "" };
    query.sql = format!("SELECT t.rejoin_scope, {} FROM {} t WHERE {}{lock}", list.join(", "), table_sql(child), conditions.join(" AND "));
    let rows = db.query(&query.sql, &query.params()).await?;
    rows.iter()
        .map(|row| {
            let key: Result<Vec<_>, _> =
                child.key_columns().enumerate().map(|(at, column)| read_value(child, column, row, at + 1)).collect();
            let after_key = child.key.len() + 1;
            let named = named.iter().enumerate().map(|(at, column)| Ok((column.no, read_value(child, column, row, after_key + at)?)));
            Ok(Found { key: Key(key?), scope: ScopeId(row.try_get(0)?), named: named.collect::<Result<_, StoreError>>()? })
        })
        .collect()
}
