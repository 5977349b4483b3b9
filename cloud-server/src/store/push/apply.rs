//! Writes what was decided: in bulk first; what a constraint refuses is isolated by savepoints and halving, and parked.

use std::collections::{BTreeMap, HashSet};

use sync_core::conflict::ConflictKind;
use tokio_postgres::error::SqlState;

use super::refusal::{Refusal, refusal};
use super::set::{Fate, Park, Set};
use super::units::{Unit, units};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// What an application must know besides the set.
#[derive(Debug)]
pub(super) struct Applying<'s, 'a> {
    pub(super) set: &'s mut Set<'a>,
    /// The last attempt: what is busy is deferred instead of tried again.
    pub(super) last: bool,
    /// Who writes where the row itself does not say.
    pub(super) author: &'s str,
    /// Deletes whose unique columns were set aside, with what they held.
    pub(super) aside: BTreeMap<usize, Vec<(usize, sync_core::value::Value)>>,
    /// Deletes that must not be set aside: they turned out not to be possible.
    pub(super) kept: HashSet<usize>,
}

/// Applies the set. Afterwards every row is written, deleted, deferred or parked.
///
/// # Errors
/// Somebody holds rows and it is not the last attempt; the store failed.
pub(super) async fn apply(tx: &WriteTx<'_>, set: &mut Set<'_>, author: &str, last: bool) -> Result<(), StoreError> {
    let mut kept = HashSet::new();
    loop {
        let before = set.items.iter().map(|item| (item.fate.clone(), item.merged.clone(), item.losses.clone())).collect::<Vec<_>>();
        tx.batch_execute("SAVEPOINT rejoin_apply").await?;
        let mut applying = Applying { set, last, author, aside: BTreeMap::new(), kept: kept.clone() };
        applying.upserts(tx).await?;
        applying.check_deletes(tx).await?;
        // A row whose unique values were set aside for another one stays after all: then that other one must do without them.
        let stays: Vec<usize> =
            applying.aside.keys().copied().filter(|index| !matches!(applying.set.items[*index].fate, Fate::Delete)).collect();
        if stays.is_empty() {
            applying.deletes(tx).await?;
            tx.batch_execute("RELEASE rejoin_apply").await?;
            return Ok(());
        }
        tx.batch_execute("ROLLBACK TO rejoin_apply; RELEASE rejoin_apply").await?;
        kept.extend(stays);
        for (item, (fate, merged, losses)) in set.items.iter_mut().zip(before) {
            (item.fate, item.merged, item.losses) = (fate, merged, losses);
        }
    }
}

impl Applying<'_, '_> {
    /// Rekeys, inserts and updates.
    async fn upserts(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let mut stack: Vec<Vec<Unit>> = vec![units(self.set)];
        while let Some(mut part) = stack.pop() {
            part.iter_mut().for_each(|unit| unit.retain(|index| self.set.items[*index].write().is_some()));
            part.retain(|unit| !unit.is_empty());
            let indexes: Vec<usize> = part.iter().flatten().copied().collect();
            if indexes.is_empty() {
                continue;
            }
            let aside = self.aside.clone();
            tx.batch_execute("SAVEPOINT rejoin_part; SET CONSTRAINTS ALL DEFERRED").await?;
            let Err(error) = self.try_part(tx, &indexes).await else { continue };
            tx.batch_execute("ROLLBACK TO rejoin_part; RELEASE rejoin_part").await?;
            self.aside = aside;
            let refusal = self.explain(error)?;
            let guilty = self.blocked(tx, &indexes, &refusal).await?;
            if !guilty.is_empty() {
                for (index, blocker) in guilty {
                    self.park(index, &refusal, blocker);
                }
                stack.push(part);
            } else if let [index] = indexes[..] {
                self.park(index, &refusal, None);
            } else if part.len() == 1 {
                // Rows that were to be written together cannot be: each must stand for itself.
                stack.extend(indexes.into_iter().rev().map(|index| vec![vec![index]]));
            } else {
                let later = part.split_off(part.len() / 2);
                stack.push(later);
                stack.push(part);
            }
        }
        Ok(())
    }

    async fn try_part(&mut self, tx: &WriteTx<'_>, indexes: &[usize]) -> Result<(), StoreError> {
        self.write_part(tx, indexes).await?;
        tx.batch_execute("SET CONSTRAINTS ALL IMMEDIATE; RELEASE rejoin_part").await?;
        Ok(())
    }

    /// A refusal, or `Err` where the failure is none of the rows' own.
    pub(super) fn explain(&self, error: StoreError) -> Result<Option<Refusal>, StoreError> {
        match (&error, refusal(self.set.catalog, &error)) {
            (StoreError::Busy(_), _) if self.last => Ok(None),
            (_, None) => Err(error),
            (_, Some(refusal)) => {
                // A key that was free under the lock is taken now: another scope's transaction was quicker. Look again.
                let taken = error.sql_state() == Some(&SqlState::UNIQUE_VIOLATION) && self.is_key(&refusal);
                if taken && !self.last { Err(StoreError::Busy(refusal.reason)) } else { Ok(Some(refusal)) }
            }
        }
    }

    fn is_key(&self, refusal: &Refusal) -> bool {
        let table = refusal.table_of(self.set.catalog);
        let known = |name: &String| table.is_some_and(|table| table.uniques.iter().any(|unique| unique.name == *name));
        let inserts = self
            .set
            .items
            .iter()
            .any(|item| item.is_insert() && item.write().is_some() && Some(item.table.no) == table.map(|table| table.no));
        refusal.kind == ConflictKind::Unique
            && inserts
            && !refusal.constraint.as_ref().is_some_and(known)
            && refusal.constraint.as_ref().is_some_and(|name| name.ends_with("_pkey"))
    }

    /// Parks a row that was refused; `None`: somebody holds what it needs, so it waits, and what hangs from it.
    pub(super) fn park(&mut self, index: usize, refusal: &Option<Refusal>, blocker: Option<sync_core::id::Key>) {
        let item = &self.set.items[index];
        if matches!(item.fate, Fate::Parked(_)) {
            // It hangs from a row that was parked a moment ago; what stands against itself is told when that one comes in.
            return;
        }
        let Some(refusal) = refusal else {
            self.set.items[index].wait();
            self.set.defer_dependents();
            return;
        };
        let kind = if item.is_delete() && refusal.kind == ConflictKind::ForeignKey { ConflictKind::DeleteUpdate } else { refusal.kind };
        let required = refusal
            .required
            .as_ref()
            .and_then(|name| item.table.column_named(name))
            .filter(|column| item.lacking.contains(&column.no) || item.outgrown.contains(&column.no));
        let park = match required {
            // The row was made when it could do without.
            Some(column) => {
                let reason = format!("{} must have a value now", column.name);
                Park { lacks: true, ..Park::new(ConflictKind::Schema, vec![column.no], reason) }
            }
            None => Park { blocker, ..Park::new(kind, item.edited(), refusal.reason.clone()) },
        };
        self.set.park(index, park);
    }
}
