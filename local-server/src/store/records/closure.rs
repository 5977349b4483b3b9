//! What a delete takes along: the rows that cascades reach, the references that are cleared, and what forbids it.
//!
//! The engine walks references itself, also those that SQLite does not declare. A soft delete marks what ON DELETE CASCADE would take, as
//! far as tables have the mark; rows without one stay in place under their marked parent.

use std::collections::{BTreeSet, HashSet};

use conflict_ui_api::error::BackendError;
use rusqlite::{Connection, ToSql};
use sync_core::catalog::{Catalog, Column, OnDelete, Reference, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::REFERENCE_DEPTH_MAX;
use sync_core::value::Value;

use super::Result;
use crate::store::error::StoreError;
use crate::store::references::refers;
use crate::store::rows::{Bound, HeldState, LiveRow, from_sql, live_table, quoted};

/// Rows of one table, by `rejoin_row`.
pub(super) type Rows<'c> = (&'c Table, Vec<i64>);

/// What a delete (or its undoing) touches.
#[derive(Default)]
pub(super) struct Closure<'c> {
    /// Rows that go, parents before children.
    pub(super) taken: Vec<Rows<'c>>,
    /// References that are cleared, each with the rows that hold it.
    pub(super) cleared: Vec<(&'c Table, &'c Reference, Vec<i64>)>,
}

/// Which rows are followed.
#[derive(Clone, Copy)]
pub(super) enum Follow<'a> {
    /// A soft delete: live rows, those of tables with a mark are taken.
    Mark,
    /// A real delete: all rows.
    Remove,
    /// A restore: marked rows with this `updated_at`.
    Restore(&'a str),
}

/// A row on the way: where it is, and the values that references name.
struct Step {
    rejoin_row: i64,
    named: Vec<(ColumnNo, Value)>,
}

/// Walks from one row along the references to it.
pub(super) fn walk<'c>(
    connection: &Connection,
    catalog: &'c Catalog,
    table: &'c Table,
    start: &LiveRow,
    follow: Follow<'_>,
) -> Result<Closure<'c>> {
    let value = |column: &Column| table.position(column.no).map_or(Value::Null, |at| start.live.row[at].clone());
    let named = named_columns(catalog, table).into_iter().map(|column| (column.no, value(column))).collect();
    let mut closure = Closure::default();
    let mut seen: HashSet<(TableNo, i64)> = HashSet::from([(table.no, start.rejoin_row)]);
    let mut forbidding: Vec<Rows<'c>> = Vec::new();
    let mut level = vec![(table, vec![Step { rejoin_row: start.rejoin_row, named }])];
    for _ in 0..REFERENCE_DEPTH_MAX {
        let mut next: Vec<(&'c Table, Vec<Step>)> = Vec::new();
        for (table, rows) in level {
            for (child, reference) in catalog.referrers(table.no) {
                let Some(effect) = effect(child, reference, follow) else { continue };
                let mut found = find(connection, catalog, (table, child), reference, &rows, follow)?;
                match effect {
                    OnDelete::Cascade => {
                        found.retain(|row| seen.insert((child.no, row.rejoin_row)));
                        if !found.is_empty() {
                            next.push((child, found));
                        }
                    }
                    OnDelete::Restrict => forbidding.push((child, numbers(&found))),
                    OnDelete::SetNull | OnDelete::SetDefault => closure.cleared.push((child, reference, numbers(&found))),
                }
            }
            closure.taken.push((table, numbers(&rows)));
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
fn settle(closure: &mut Closure<'_>, seen: &HashSet<(TableNo, i64)>, forbidding: &[Rows<'_>]) -> Result<()> {
    let stays = |table: &Table, row: i64| !seen.contains(&(table.no, row));
    if let Some((table, _)) = forbidding.iter().find(|(table, rows)| rows.iter().any(|row| stays(table, *row))) {
        return Err(BackendError::Restricted { table: table.path.clone() });
    }
    for (table, _, rows) in &mut closure.cleared {
        rows.retain(|row| stays(table, *row));
    }
    closure.cleared.retain(|(_, _, rows)| !rows.is_empty());
    Ok(())
}

/// What a reference does to its row when the row referred to goes; `None`: nothing here.
fn effect(child: &Table, reference: &Reference, follow: Follow<'_>) -> Option<OnDelete> {
    match (follow, reference.on_delete) {
        (Follow::Mark | Follow::Restore(_), OnDelete::Cascade) => child.soft_delete.map(|_| OnDelete::Cascade),
        (Follow::Restore(_), _) => None,
        (Follow::Mark | Follow::Remove, effect) => Some(effect),
    }
}

/// The columns of a table that references name.
fn named_columns<'c>(catalog: &'c Catalog, table: &'c Table) -> Vec<&'c Column> {
    let numbers: BTreeSet<ColumnNo> = catalog.referrers(table.no).flat_map(|(_, reference)| reference.target.iter().copied()).collect();
    numbers.into_iter().filter_map(|no| table.column(no)).collect()
}

fn numbers(steps: &[Step]) -> Vec<i64> {
    steps.iter().map(|step| step.rejoin_row).collect()
}

fn find(
    connection: &Connection,
    catalog: &Catalog,
    (table, child): (&Table, &Table),
    reference: &Reference,
    parents: &[Step],
    follow: Follow<'_>,
) -> std::result::Result<Vec<Step>, StoreError> {
    let named = named_columns(catalog, child);
    let mut conditions = vec![refers(child, reference, table, ""), format!("rejoin_held <> {}", HeldState::Ghost as i64)];
    let mark = child.soft_delete.and_then(|no| child.column(no)).map(|column| quoted(&column.name));
    let mut deleted_at = None;
    match (follow, mark) {
        (Follow::Mark, Some(mark)) => conditions.push(format!("{mark} IS NOT 1")),
        (Follow::Restore(at), Some(mark)) => {
            deleted_at = Some(at);
            conditions.push(format!("{mark} = 1 AND {} = ?{}", quoted(&child.stamps.updated_at), reference.columns.len() + 1));
        }
        (Follow::Mark | Follow::Remove | Follow::Restore(_), _) => {}
    }
    let list: Vec<_> = named.iter().map(|column| format!(", {}", quoted(&column.name))).collect();
    let sql = format!("SELECT rejoin_row{} FROM {} WHERE {}", list.concat(), live_table(child), conditions.join(" AND "));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for parent in parents {
        let value = |no: &ColumnNo| parent.named.iter().find(|(named, _)| named == no).map_or(Value::Null, |(_, value)| value.clone());
        let values = child.referring(reference, table, &reference.target.iter().map(value).collect::<Vec<_>>());
        let target: Vec<Bound<'_>> = values.iter().map(Bound).collect();
        let mut params: Vec<&dyn ToSql> = target.iter().map(|value| value as &dyn ToSql).collect();
        params.extend(deleted_at.iter().map(|at| at as &dyn ToSql));
        let mut rows = statement.query(params.as_slice())?;
        while let Some(row) = rows.next()? {
            // What cannot be read is referred to by nothing.
            let read = |(at, column): (usize, &&Column)| Ok((column.no, from_sql(&column.ty, row.get_ref(at + 1)?).unwrap_or(Value::Null)));
            let named = named.iter().enumerate().map(read).collect::<rusqlite::Result<_>>()?;
            found.push(Step { rejoin_row: row.get(0)?, named });
        }
    }
    Ok(found)
}
