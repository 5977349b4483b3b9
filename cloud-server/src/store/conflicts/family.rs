//! What hangs from a conflict: rows that could not come in because this one did not.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use conflict_ui_api::backend::Dependent;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Reference};
use sync_core::change::Row;
use sync_core::conflict::{ConflictKind, Effect, Resolution, decide};
use sync_core::dependents::{ParkedRow, tree};
use sync_core::id::{ColumnNo, ConflictId};
use uuid::Uuid;

use super::plan::known;
use super::settle::Told;
use super::stored::{Found, Stored, read, under_root};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;

/// The open conflicts below one, parents first.
pub(super) struct Family<'a> {
    pub(super) below: Vec<Stored<'a>>,
    /// What each of them hangs from: its place in `below`, `None` for the top.
    pub(super) parents: Vec<Option<usize>>,
    /// Levels below the top, from 1.
    pub(super) depths: Vec<u32>,
}

impl<'a> Family<'a> {
    pub(super) async fn load(db: &impl GenericClient, catalog: &'a Catalog, top: &Stored<'a>) -> Result<Self, StoreError> {
        let mut list = under_root(db, catalog, top.head.root.unwrap_or(top.head.id)).await?;
        list.retain(|stored| stored.head.id != top.head.id);
        let rows: Vec<ParkedRow<'_>> = list.iter().map(parked_row).collect();
        let mut family = Self { below: Vec::new(), parents: Vec::new(), depths: Vec::new() };
        let mut places: HashMap<ConflictId, usize> = HashMap::new();
        for branch in tree(catalog, &parked_row(top), &rows) {
            let (stored, parent) = (&list[branch.index], places.get(&branch.parent).copied());
            // Of a part of a greater tree: what does not hang from its top hangs from elsewhere.
            if parent.is_none() && top.head.root.is_some() && !refers_to(stored, top) {
                continue;
            }
            places.insert(ConflictId(stored.head.id), family.below.len());
            family.below.push(stored.clone());
            family.parents.push(parent);
            family.depths.push(branch.depth);
        }
        Ok(family)
    }

    /// The first one above this place (of `below`) of which `stays` does not hold, seen from below: the top of what stays together.
    pub(super) fn top_of(&self, place: usize, stays: &dyn Fn(usize) -> bool) -> usize {
        let mut at = place;
        while let Some(above) = self.parents[at].filter(|above| stays(*above)) {
            at = above;
        }
        at
    }
}

/// A conflict's row as far as it is waited for, or waits itself: of an edit only what it changes.
fn parked_row<'s>(stored: &'s Stored<'_>) -> ParkedRow<'s> {
    let known = stored.table.columns.iter().zip(&stored.local);
    // What a row refers to is changed as a whole: its kind and each of the columns.
    let changes = |no: ColumnNo| stored.columns.contains(&no);
    let of_changed: BTreeSet<ColumnNo> =
        stored.table.references.iter().filter(|reference| reference.deciding().any(changes)).flat_map(Reference::deciding).collect();
    let waits = |no: ColumnNo| stored.insert || changes(no) || of_changed.contains(&no);
    let row = known.map(|(column, value)| value.clone().filter(|_| waits(column.no))).collect();
    ParkedRow { conflict: ConflictId(stored.head.id), table: stored.table, row }
}

fn refers_to(stored: &Stored<'_>, top: &Stored<'_>) -> bool {
    let value = |of: &Stored<'_>, no: ColumnNo| of.table.position(no).and_then(|at| of.local[at].clone());
    stored.table.references.iter().filter(|reference| reference.table == top.table.no).any(|reference| {
        let named = stored.table.referred_by(reference, top.table, |no| value(stored, no).map(Cow::Owned));
        let offered: Option<Vec<_>> = reference.target.iter().map(|no| value(top, *no).filter(|value| !value.is_null())).collect();
        named.is_some() && named == offered
    })
}

/// The row with which a waiting conflict can come in, or why it stays parked: what it waits for is not all that stands against it. That is told
/// already of one that was parked for something else.
pub(super) fn waiting_row(dependent: &Stored<'_>, current: Option<&StoredRow>) -> Result<Row, Option<Told>> {
    if dependent.kind != ConflictKind::ForeignKey || dependent.deleted {
        return Err(None);
    }
    known(dependent, Resolution::LocalWins).map_err(|reason| Some(Told::new(reason)))?;
    if let Some(reason) = unread(dependent) {
        return Err(Some(Told { reason, kind: Some(ConflictKind::Schema) }));
    }
    match current {
        Some(current) if !dependent.insert => laid_over(dependent, &current.row)
            .ok_or_else(|| Some(Told::new("the cloud's row has another value by now than this edit was made on"))),
        Some(_) => Err(Some(Told::new("the cloud has another row with this key by now"))),
        None if !dependent.insert => Err(Some(Told::new("the row was deleted at the cloud"))),
        None => match decide(dependent.table, &dependent.parked(None), Resolution::LocalWins, &[]) {
            Ok(Effect::Write(row)) => Ok(row),
            Ok(_) => Err(None),
            Err(error) => Err(Some(Told::new(error.to_string()))),
        },
    }
}

/// What of the site's row its columns cannot hold by now.
fn unread(stored: &Stored<'_>) -> Option<String> {
    let columns = stored.unread.iter().filter_map(|no| stored.table.column(*no));
    let takes: Vec<String> = columns.map(|column| format!("{} takes {} now", column.name, column.ty.describe())).collect();
    (!takes.is_empty()).then(|| takes.join("; "))
}

/// A waiting edit laid over the current row; `None` where the cloud's values moved on since it was made: nobody has decided between those, so it
/// stays parked.
fn laid_over(dependent: &Stored<'_>, current: &Row) -> Option<Row> {
    let mut row = current.clone();
    for (at, column) in dependent.table.columns.iter().enumerate() {
        if let Some(local) = dependent.local[at].as_ref().filter(|_| dependent.columns.contains(&column.no)) {
            if row[at] != *local && dependent.base[at].as_ref() != Some(&row[at]) {
                return None;
            }
            row[at] = local.clone();
        }
    }
    Some(row)
}

/// The open conflicts that hang from one, parents first, as the API shows them.
///
/// # Errors
/// The store failed.
pub async fn dependents(db: &impl GenericClient, catalog: &Catalog, id: ConflictId) -> Result<Vec<Dependent>, StoreError> {
    let Some(Found::Whole(top)) = read(db, catalog, id.0, "").await? else { return Ok(Vec::new()) };
    let family = Family::load(db, catalog, &top).await?;
    let ids: Vec<Uuid> = family.below.iter().map(|stored| stored.head.id).collect();
    let sql = "SELECT c.table_name, c.record_id, c.reason FROM unnest($1::uuid[]) WITH ORDINALITY AS u(id, place)
               JOIN rejoin.sync_conflicts c ON c.id = u.id ORDER BY u.place";
    let rows = db.query(&db.prepare_cached(sql).await?, &[&ids]).await?;
    let shown = family.below.iter().enumerate().zip(&rows).map(|((place, stored), row)| {
        let parent = family.parents[place].map_or(id, |above| ConflictId(ids[above]));
        Ok(Dependent {
            id: ConflictId(stored.head.id),
            parent,
            depth: family.depths[place],
            table_name: row.try_get(0)?,
            record_id: row.try_get(1)?,
            kind: stored.kind,
            reason: row.try_get(2)?,
        })
    });
    shown.collect()
}
