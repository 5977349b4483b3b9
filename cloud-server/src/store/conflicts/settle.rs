//! Carrying out a plan: the rows, what goes besides, the conflicts that hang from it, and the conflict itself.

use std::collections::BTreeSet;

use sync_core::catalog::{Catalog, Table};
use sync_core::conflict::{BesidesEffect, ConflictKind, Resolution};
use sync_core::id::{Key, ScopeId};
use uuid::Uuid;

use super::journal::{self, Journal, Record};
use super::plan::{Fate, Plan};
use super::put::{Put, refers};
use super::resolve::{Judge, Refused};
use super::same_row;
use super::stored::{Head, Stored};
use crate::store::bulk;
use crate::store::error::StoreError;
use crate::store::push::refusal::refusal;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;

/// A decision being carried out.
pub(super) struct Settling<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) judge: &'a Judge<'a>,
    pub(super) by: &'a str,
    /// The scopes whose heads are held.
    pub(super) held: &'a BTreeSet<ScopeId>,
    pub(super) journal: Journal,
    /// The conflicts that were decided with it.
    pub(super) dependents: Vec<Uuid>,
}

/// Why a row cannot be written.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) reason: String,
    /// As what it is parked, where a constraint said it.
    pub(super) kind: Option<ConflictKind>,
}

impl Told {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: None }
    }
}

impl<'a> Settling<'a> {
    pub(super) fn new(catalog: &'a Catalog, judge: &'a Judge<'a>, by: &'a str, held: &'a BTreeSet<ScopeId>) -> Self {
        Self { catalog, judge, by, held, journal: Journal::default(), dependents: Vec::new() }
    }

    /// Carries out a plan, closes the conflict, and records what was written.
    pub(super) async fn settle(
        mut self,
        tx: &mut WriteTx<'_>,
        stored: &Stored<'_>,
        mut plan: Plan<'_>,
        resolution: Resolution,
    ) -> Result<Result<(), Refused>, StoreError> {
        if let Err(told) = self.write(tx, stored, &mut plan).await? {
            return Ok(Err(Refused::Undecidable(told.reason)));
        }
        if plan.fate != Fate::Stay {
            self.let_go(tx, &stored.head).await?;
        }
        self.end(tx, &stored.head, resolution).await?;
        Ok(Ok(()))
    }

    /// Closes the conflict and records the decision.
    pub(super) async fn end(self, tx: &mut WriteTx<'_>, head: &Head, resolution: Resolution) -> Result<(), StoreError> {
        self.close(tx, head, resolution).await?;
        let writes = self.journal.written(tx, self.catalog).await?;
        let record = Record { conflict: head.id, revision: head.revision + 1, resolution, writes, dependents: self.dependents };
        journal::record(tx, self.by, &[record]).await
    }

    async fn write(&mut self, tx: &mut WriteTx<'_>, stored: &Stored<'_>, plan: &mut Plan<'_>) -> Result<Result<(), Told>, StoreError> {
        for (table, row, key) in &plan.follow {
            self.journal.note(table, table.key_of(&row.row), Some(row));
            self.journal.note(table, key.clone(), None);
        }
        if let Err(told) = self.put(tx, &plan.repointed).await? {
            return Ok(Err(told));
        }
        if let Err(told) = self.delete(tx, plan).await? {
            return Ok(Err(told));
        }
        if let Some((from, into)) = &plan.merged {
            same_row::keep_merged(tx, stored.table, from, into).await?;
            for put in &plan.repointed {
                let from = put.current.as_ref().map(|current| put.table.key_of(&current.row));
                same_row::keep_moved(tx, put.table, from.as_ref(), &put.table.key_of(&put.row)).await?;
            }
            for (table, row, key) in &plan.follow {
                same_row::keep_moved(tx, table, Some(&table.key_of(&row.row)), key).await?;
            }
        }
        match plan.fate {
            Fate::Released => self.release(tx, plan).await,
            Fate::Dropped => self.drop_family(tx, plan).await.map(Ok),
            Fate::Stay => Ok(Ok(())),
        }
    }

    /// Takes the heads of the scopes that are written now; they are held already. `new`: the scope may be one that nobody holds yet.
    pub(super) async fn take(&self, tx: &mut WriteTx<'_>, scopes: &[&ScopeId], new: bool) -> Result<Result<(), Told>, StoreError> {
        for scope in scopes {
            if !self.judge.may(scope) && !new {
                return Ok(Err(Told::new("the row belongs to a scope that this site does not hold: decide at the cloud")));
            }
            if !self.held.contains(scope) {
                return match self.judge {
                    Judge::Site(_) if new => Ok(Err(Told::new("the row makes a new scope: decide at the cloud"))),
                    _ => Err(StoreError::Busy(format!("a row moved to the scope {scope} meanwhile"))),
                };
            }
        }
        tx.take(&scopes.iter().map(|scope| (*scope).clone()).collect()).await?;
        Ok(Ok(()))
    }

    /// Deletes what the plan says, and what goes with it.
    async fn delete(&mut self, tx: &mut WriteTx<'_>, plan: &Plan<'_>) -> Result<Result<(), Told>, StoreError> {
        if plan.deletes.is_empty() {
            return Ok(Ok(()));
        }
        if let Some(reason) = plan.besides.refusal() {
            return Ok(Err(Told::new(reason)));
        }
        for beside in &plan.besides.rows {
            let key = beside.table.key_of(&beside.stored.row);
            self.journal.note(beside.table, key, Some(&beside.stored));
            debug_assert_ne!(beside.effect, BesidesEffect::Forbids);
        }
        let scopes: BTreeSet<ScopeId> =
            plan.deletes.iter().map(|(_, stored)| stored.at.scope.clone()).chain(plan.besides.scopes()).collect();
        if let Err(told) = self.take(tx, &scopes.iter().collect::<Vec<_>>(), false).await? {
            return Ok(Err(told));
        }
        for (table, stored) in &plan.deletes {
            if let Err(told) = self.delete_rows(tx, table, &[stored]).await? {
                return Ok(Err(told));
            }
        }
        // What refers to them and was not to go or change says so now.
        match tx.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await {
            Ok(()) => Ok(Ok(())),
            Err(error) => self.told(error.into()),
        }
    }

    /// Deletes rows of one table by one statement.
    pub(super) async fn delete_rows(
        &mut self,
        tx: &WriteTx<'_>,
        table: &Table,
        rows: &[&StoredRow],
    ) -> Result<Result<(), Told>, StoreError> {
        let keys: Vec<Key> = rows.iter().map(|stored| table.key_of(&stored.row)).collect();
        for (key, stored) in keys.iter().zip(rows) {
            self.journal.note(table, key.clone(), Some(stored));
        }
        let named: Vec<(&Key, &ScopeId)> = keys.iter().zip(rows).map(|(key, stored)| (key, &stored.at.scope)).collect();
        match bulk::delete(&**tx, table, &named).await {
            Ok(()) => Ok(Ok(())),
            Err(error) => self.told(error),
        }
    }

    /// The decision's own row comes in, and what hangs from it: parents first, circles as a whole. What is refused still becomes a conflict
    /// of its own.
    async fn release(&mut self, tx: &mut WriteTx<'_>, plan: &mut Plan<'_>) -> Result<Result<(), Told>, StoreError> {
        let Some(root) = plan.root.take() else { return Ok(Ok(())) };
        let places: Vec<usize> = (0..plan.waiting.len()).filter(|place| plan.waiting[*place].is_some()).collect();
        let waiting = places.iter().filter_map(|place| plan.waiting[*place].clone());
        let puts: Vec<Put<'_>> = [root].into_iter().chain(waiting).collect();
        let mut came_in = vec![false; plan.waiting.len()];
        let mut refused: Vec<Option<Told>> = vec![None; plan.waiting.len()];
        for unit in sync_core::conflict::units(&refers(&puts)) {
            let members: Vec<Put<'_>> = unit.iter().map(|node| puts[*node].clone()).collect();
            // The root's own circle must come in; what its circle needs comes before it, and is tried like all else.
            if unit.contains(&0) {
                if let Err(told) = self.put(tx, &members).await? {
                    return Ok(Err(told));
                }
                unit.iter().filter(|node| **node > 0).for_each(|node| came_in[places[node - 1]] = true);
                continue;
            }
            let ticks = tx.ticks().clone();
            tx.batch_execute("SAVEPOINT rejoin_dependent").await?;
            match self.put(tx, &members).await? {
                Ok(()) => {
                    tx.batch_execute("RELEASE rejoin_dependent").await?;
                    unit.iter().for_each(|node| came_in[places[node - 1]] = true);
                }
                Err(told) => {
                    tx.batch_execute("ROLLBACK TO rejoin_dependent; RELEASE rejoin_dependent").await?;
                    tx.restore_ticks(ticks);
                    unit.iter().for_each(|node| refused[places[node - 1]] = Some(told.clone()));
                }
            }
        }
        for (place, dependent) in plan.family.below.iter().enumerate() {
            if came_in[place] {
                self.close(tx, &dependent.head, Resolution::LocalWins).await?;
                self.dependents.push(dependent.head.id);
                if let Some(put) = &plan.waiting[place] {
                    same_row::keep_moved(tx, put.table, Some(&dependent.key), &put.table.key_of(&put.row)).await?;
                }
            } else {
                let put = plan.waiting[place].as_ref();
                self.hang_anew(tx, plan, place, &|above| !came_in[above], (put, refused[place].as_ref().or(plan.stays[place].as_ref())))
                    .await?;
            }
        }
        Ok(Ok(()))
    }

    /// An insert that is dropped takes the inserts with it that were held because of it, to any depth; each one's image stays in its conflict.
    /// Edits of rows that are there become conflicts of their own.
    async fn drop_family(&mut self, tx: &mut WriteTx<'_>, plan: &Plan<'_>) -> Result<(), StoreError> {
        for (place, dependent) in plan.family.below.iter().enumerate() {
            if dependent.insert {
                self.close(tx, &dependent.head, Resolution::CloudWins).await?;
                self.dependents.push(dependent.head.id);
            } else {
                self.hang_anew(tx, plan, place, &|above| !plan.family.below[above].insert, (None, None)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn close(&self, tx: &mut WriteTx<'_>, head: &Head, resolution: Resolution) -> Result<(), StoreError> {
        tx.take(&BTreeSet::from([head.scope.clone()])).await?;
        let sql =
            "UPDATE rejoin.sync_conflicts SET resolution = $2::text::rejoin.conflict_resolution, resolved_at = now(), resolved_by = $3,
                       revision = revision + 1, rejoin_tick = $4, rejoin_version = rejoin_version + 1, rejoin_updated_at = now(),
                       rejoin_modified_by = $3, rejoin_synced_at = now()
                   WHERE id = $1";
        let tick = tx.tick(&head.scope)?.0;
        tx.execute(&tx.prepare_cached(sql).await?, &[&head.id, &resolution.as_str(), &self.by, &tick]).await?;
        Ok(())
    }

    /// Sorts a failure: what a constraint or right refused is told, anything else is a failure.
    pub(super) fn told<T>(&self, error: StoreError) -> Result<Result<T, Told>, StoreError> {
        match refusal(self.catalog, &error) {
            Some(refusal) => Ok(Err(Told { reason: refusal.reason, kind: Some(refusal.kind) })),
            None => Err(error),
        }
    }
}
