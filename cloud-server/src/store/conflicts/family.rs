//! What hangs from a conflict: rows that could not come in because this one did not.

use std::collections::HashSet;

use conflict_ui_api::backend::Dependent;
use deadpool_postgres::GenericClient;
use sync_core::catalog::Catalog;
use sync_core::change::{At, Row, Stamp};
use sync_core::conflict::{ConflictKind, Effect, Member, Resolution, decide, tree};
use sync_core::id::{ConflictId, Tick};
use uuid::Uuid;

use super::put::{self, Put};
use super::stored::{Found, Stored, read, under_root};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;

/// The open conflicts below one, parents first, each with its place; node 0 is that one itself.
pub(super) struct Family<'a> {
    pub(super) below: Vec<Stored<'a>>,
    /// By the order of `below`: what each hangs from, 0 for the top, otherwise its place in `below` plus 1.
    pub(super) members: Vec<Member>,
}

impl<'a> Family<'a> {
    pub(super) async fn load(db: &impl GenericClient, catalog: &'a Catalog, top: &Stored<'a>) -> Result<Self, StoreError> {
        let mut list = under_root(db, catalog, top.head.root.unwrap_or(top.head.id)).await?;
        list.retain(|stored| stored.head.id != top.head.id);
        let nodes: Vec<Put<'_>> = [top].into_iter().chain(&list).map(as_put).collect();
        let refers = put::refers(&nodes);
        let mut members = tree(&refers);
        if top.head.root.is_some() {
            // Only a part of a greater tree: what no way leads to hangs from elsewhere.
            let mut own: HashSet<usize> = HashSet::new();
            members.retain(|member| {
                let hangs = if member.parent == 0 { refers[member.node].contains(&0) } else { own.contains(&member.parent) };
                hangs && own.insert(member.node)
            });
        }
        let place = |node: usize| members.iter().position(|member| member.node == node).map_or(0, |place| place + 1);
        let placed: Vec<Member> = members
            .iter()
            .enumerate()
            .map(|(at, member)| Member { node: at + 1, parent: place(member.parent), depth: member.depth })
            .collect();
        let below = members.iter().map(|member| list[member.node - 1].clone()).collect();
        Ok(Self { below, members: placed })
    }

    /// The first one above this place (of `below`) of which `stays` does not hold, seen from below: the top of what stays together.
    pub(super) fn top_of(&self, place: usize, stays: &dyn Fn(usize) -> bool) -> usize {
        let mut at = place;
        while let Some(above) = self.members[at].parent.checked_sub(1).filter(|above| stays(*above)) {
            at = above;
        }
        at
    }
}

/// A conflict's row, to ask what it refers to. An edit is of a row that is there: nothing waits for that one.
fn as_put<'a>(stored: &Stored<'a>) -> Put<'a> {
    let row = stored.local_row();
    let at = At { scope: stored.head.scope.clone(), tick: Tick(0) };
    let there = (!stored.insert).then(|| StoredRow { row: row.clone(), stamp: Stamp::default(), at });
    Put { table: stored.table, current: there, row, counted: 0, inserted_by: None }
}

/// The row with which a waiting conflict can come in; `None` where it stays parked: what it waits for is not all that stands against it.
pub(super) fn waiting_row(dependent: &Stored<'_>, current: Option<&StoredRow>) -> Option<Row> {
    if dependent.kind != ConflictKind::ForeignKey || !dependent.too_large.is_empty() || dependent.deleted {
        return None;
    }
    match current {
        Some(current) => laid_over(dependent, &current.row),
        None => match decide(dependent.table, &dependent.parked(None), Resolution::LocalWins, &[]) {
            Ok(Effect::Write(row)) if dependent.insert => Some(row),
            _ => None,
        },
    }
}

/// A waiting edit laid over the current row; `None` where the cloud's values moved on since it was made, or its key was taken: nobody has
/// decided between those, so it stays parked.
fn laid_over(dependent: &Stored<'_>, current: &Row) -> Option<Row> {
    if dependent.insert {
        return None;
    }
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
    let shown = family.below.iter().zip(&family.members).zip(&rows).map(|((stored, member), row)| {
        let parent = member.parent.checked_sub(1).map_or(id, |above| ConflictId(ids[above]));
        Ok(Dependent {
            id: ConflictId(stored.head.id),
            parent,
            depth: member.depth,
            table_name: row.try_get(0)?,
            record_id: row.try_get(1)?,
            kind: stored.kind,
            reason: row.try_get(2)?,
        })
    });
    shown.collect()
}
