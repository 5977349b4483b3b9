//! From a loaded conflict to what its decision writes. Made once without locks, to know the scopes, and again under them.

use std::collections::BTreeSet;

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Table};
use sync_core::change::Row;
use sync_core::conflict::{ConflictKind, Effect, Resolution, Way, decide};
use sync_core::id::{ColumnNo, Key, ScopeId};
use sync_core::limits::VALUE_BYTES_MAX;
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use super::besides::{self, Besides};
use super::family::{Family, waiting_row};
use super::put::{self, Put};
use super::settle::Told;
use super::stored::{Stored, row_at};
use crate::store::bulk::Lock;
use crate::store::error::StoreError;
use crate::store::row::{StoredRow, read_row, select_list};
use crate::store::scope;
use crate::store::tx::WriteTx;

/// What a decision writes, in this order.
pub(super) struct Plan<'a> {
    /// Rows that get other references because theirs go.
    pub(super) repointed: Vec<Put<'a>>,
    /// Rows whose key changes with those, by the database's own ON UPDATE: as they are, with the key that they get.
    pub(super) follow: Vec<(&'a Table, StoredRow, Key)>,
    /// Rows that are deleted.
    pub(super) deletes: Vec<(&'a Table, StoredRow)>,
    /// What goes with them, which nobody decided on unless he was shown it.
    pub(super) besides: Besides<'a>,
    /// The decision's own row.
    pub(super) root: Option<Put<'a>>,
    /// What hangs from the conflict.
    pub(super) family: Family<'a>,
    /// The rows with which they come in, if they can.
    pub(super) waiting: Vec<Option<Put<'a>>>,
    /// Why the others cannot.
    pub(super) stays: Vec<Option<Told>>,
    /// What those of them refer to by now, where their row is another one.
    pub(super) carried: Vec<Vec<(ColumnNo, Value)>>,
    /// What becomes of them.
    pub(super) fate: Fate,
    /// A row that is another one from now on: its key, and that one's.
    pub(super) merged: Option<(Key, Key)>,
}

/// What becomes of the conflicts that hang from a decided one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They come in with it.
    Released,
    /// They are dropped with it.
    Dropped,
    /// Nothing.
    Stay,
}

/// A plan, or why there is none.
pub(super) type Planned<'a> = Result<Plan<'a>, String>;

impl<'a> Plan<'a> {
    /// Plans a decision that is no undo. `against`: the cloud's row that stands against the site's.
    pub(super) async fn make(
        tx: &WriteTx<'_>,
        catalog: &'a Catalog,
        stored: &Stored<'a>,
        (current, against): (Option<StoredRow>, Option<StoredRow>),
        command: &ResolveCommand,
        lock: Lock,
    ) -> Result<Planned<'a>, StoreError> {
        if let Err(reason) = known(stored, command.resolution) {
            return Ok(Err(reason));
        }
        if command.way == Way::SameRow {
            return Self::same_row(tx, catalog, stored, (current, against), command, lock).await;
        }
        let effect = match decide(stored.table, &stored.parked(current.as_ref().map(|now| &now.row)), command.resolution, &command.values) {
            Ok(effect) => effect,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut plan = Self::empty(tx, catalog, stored).await?;
        match effect {
            Effect::Nothing => plan.fate = Fate::Dropped,
            Effect::Delete => plan.deletes.extend(current.map(|current| (stored.table, current))),
            Effect::Write(row) => plan.root = Some(put_of(stored, current, row)),
            Effect::Replace(row) => {
                for blocker in blockers(&**tx, stored.table, &row).await? {
                    if stored.table.key_of(&blocker.row) != stored.against {
                        return Ok(Err(format!(
                            "another row of {} than the one that the conflict shows has one of its unique values: decide MANUAL with other values",
                            stored.table.name
                        )));
                    }
                    plan.deletes.push((stored.table, blocker));
                }
                plan.root = Some(put_of(stored, current, row));
            }
        }
        if let Some(root) = &plan.root {
            if let Err(reason) = fits(root, stored) {
                return Ok(Err(reason));
            }
            plan.fate = Fate::Released;
            plan.wait(tx, lock).await?;
        }
        plan.besides = besides::walk(&**tx, catalog, &plan.deletes).await?;
        Ok(Ok(plan))
    }

    pub(super) async fn empty(tx: &WriteTx<'_>, catalog: &'a Catalog, stored: &Stored<'a>) -> Result<Self, StoreError> {
        let family = Family::load(&**tx, catalog, stored).await?;
        Ok(Self {
            repointed: Vec::new(),
            follow: Vec::new(),
            deletes: Vec::new(),
            besides: Besides::default(),
            root: None,
            waiting: vec![None; family.below.len()],
            stays: vec![None; family.below.len()],
            carried: vec![Vec::new(); family.below.len()],
            family,
            fate: Fate::Stay,
            merged: None,
        })
    }

    /// Finds the rows with which what hangs from the conflict comes in.
    pub(super) async fn wait(&mut self, tx: &WriteTx<'_>, lock: Lock) -> Result<(), StoreError> {
        for (place, dependent) in self.family.below.iter().enumerate() {
            let current = row_at(&**tx, dependent.table, &dependent.key, lock).await?;
            match waiting_row(dependent, current.as_ref()) {
                Ok(row) => self.waiting[place] = Some(put_of(dependent, current, row)),
                Err(why) => self.stays[place] = why,
            }
        }
        Ok(())
    }

    /// Every scope that carrying it out touches.
    pub(super) async fn scopes(&self, tx: &WriteTx<'_>, catalog: &Catalog) -> Result<BTreeSet<ScopeId>, StoreError> {
        let puts: Vec<Put<'_>> = self.root.iter().chain(self.waiting.iter().flatten()).chain(&self.repointed).cloned().collect();
        let mut scopes = put::touched(tx, catalog, &puts).await?;
        scopes.extend(self.besides.scopes());
        scopes.extend(self.deletes.iter().map(|(_, stored)| stored.at.scope.clone()));
        scopes.extend(self.follow.iter().map(|(_, stored, _)| stored.at.scope.clone()));
        Ok(scopes)
    }
}

pub(super) fn put_of<'a>(stored: &Stored<'a>, current: Option<StoredRow>, row: Row) -> Put<'a> {
    Put { table: stored.table, current, row, counted: stored.local_version, inserted_by: stored.insert.then_some(stored.head.site) }
}

/// A value that was too large to be kept cannot be written, nor can that of a column which is gone; and no decision is half done.
pub(super) fn known(stored: &Stored<'_>, resolution: Resolution) -> Result<(), String> {
    // Of a delete the columns are those that the cloud changed: it can be carried out without them.
    let is_delete = stored.deleted || stored.kind == ConflictKind::DeleteUpdate;
    if resolution == Resolution::LocalWins && !is_delete && !stored.dropped.is_empty() && !stored.columns.is_empty() {
        let name = |no: &ColumnNo| stored.table.column(*no).map(|column| column.name.as_str());
        return Err(format!(
            "{} has no column {} any more: write the site's {} alone with MANUAL, or close the conflict with CLOUD_WINS",
            stored.table.name,
            stored.dropped.join(", "),
            stored.columns.iter().filter_map(name).collect::<Vec<_>>().join(", ")
        ));
    }
    let lost = stored.too_large.first().and_then(|no| stored.table.column(*no));
    match lost {
        Some(column) if resolution == Resolution::LocalWins && !is_delete => {
            Err(format!("the value of column {} was too large to be kept with the conflict: give it with MANUAL", column.name))
        }
        _ => Ok(()),
    }
}

/// Whether the table can hold the row, as far as its columns say; each fault with its column.
pub(super) fn fits(put: &Put<'_>, stored: &Stored<'_>) -> Result<(), String> {
    let mut faults = Vec::new();
    for (at, (column, value)) in put.table.columns.iter().zip(&put.row).enumerate() {
        let same = put.current.as_ref().is_some_and(|current| current.row[at] == *value);
        let made = column.default == Some(sync_core::catalog::DefaultValue::Cloud) && stored.insert;
        if same || (value.is_null() && made) {
            continue;
        }
        let long = matches!((column.max_length, value), (Some(max), Value::Text(text)) if text.chars().count() > max as usize);
        if value.is_null() && column.not_null {
            faults.push(format!("{} is required: {}", column.name, column.ty.describe()));
        } else if !column.ty.accept(value.clone()).is_ok_and(|canonical| canonical == *value) {
            faults.push(format!("{} takes {}", column.name, column.ty.describe()));
        } else if long {
            faults.push(format!("{} holds at most {} characters", column.name, column.max_length.unwrap_or_default()));
        } else if value.is_too_large() {
            faults.push(format!("{} holds at most {VALUE_BYTES_MAX} bytes", column.name));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// The other rows that have the unique values of this one.
pub(super) async fn blockers(db: &impl GenericClient, table: &Table, row: &[Value]) -> Result<Vec<StoredRow>, StoreError> {
    let own: Key = table.key_of(row);
    let mut found: Vec<StoredRow> = Vec::new();
    for unique in &table.uniques {
        let positions: Vec<usize> = unique.columns.iter().filter_map(|no| table.position(*no)).collect();
        let values: Vec<Value> = positions.iter().map(|at| row[*at].clone()).collect();
        for (_, row) in scope::find(db, table, &positions, &[&values], &select_list(table, "t")).await? {
            let stored = read_row(table, &row, 1)?;
            let key = table.key_of(&stored.row);
            if key != own && !found.iter().any(|other| table.key_of(&other.row) == key) {
                found.push(stored);
            }
        }
    }
    Ok(found)
}
