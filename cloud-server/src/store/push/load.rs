//! What the database has of the pushed rows: looked at once before the heads are held, to know which, and again under the locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::catalog::{Reference, ScopeRule, Table};
use sync_core::change::{Op, Row};
use sync_core::id::{ColumnNo, Key, ScopeId, TableNo};
use sync_core::policy::Policy;
use sync_core::value::Value;
use sync_core::write::row_from_json;

use super::set::{Fate, Item, Set};
use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::scope;
use crate::store::sites::SiteIdentity;
use crate::store::tombstone::{self, Tombstone};
use crate::store::tx::WriteTx;

impl Set<'_> {
    /// Looks at what decides the scopes, without locks.
    pub(super) async fn look(&mut self, tx: &WriteTx<'_>, site: &SiteIdentity) -> Result<(), StoreError> {
        for (no, indexes) in self.open_by_table() {
            let Some(table) = self.catalog.table(no) else { continue };
            self.read(tx, table, &indexes, &scope_columns(table), Lock::None).await?;
            if table.policy == Policy::LocalWins {
                self.read_gone(tx, table, &indexes, site).await?;
            }
        }
        self.derive_scopes(tx).await
    }

    /// Reads the rows whole and locks them, with the tombstones of those that are not there, and derives their scopes anew. `skip_busy`: rows
    /// that somebody holds are deferred instead of failing. Rows that this site may not write are read only.
    pub(super) async fn lock(&mut self, tx: &WriteTx<'_>, site: &SiteIdentity, skip_busy: bool) -> Result<(), StoreError> {
        let new = self.new_scopes(site);
        let foreign: BTreeSet<usize> =
            self.items.iter().enumerate().filter(|(_, item)| refused(item, site, &new).is_some()).map(|(index, _)| index).collect();
        for (no, indexes) in self.open_by_table() {
            let Some(table) = self.catalog.table(no) else { continue };
            let whole = bulk::all_columns(table);
            for &index in &indexes {
                self.items[index].current = None;
            }
            let (unlocked, own): (Vec<usize>, Vec<usize>) = indexes.iter().partition(|index| foreign.contains(index));
            self.read(tx, table, &unlocked, &whole, Lock::None).await?;
            if skip_busy {
                self.read(tx, table, &own, &whole, Lock::Free).await?;
                let absent: Vec<usize> = own.into_iter().filter(|index| self.items[*index].current.is_none()).collect();
                self.read(tx, table, &absent, &whole, Lock::None).await?;
                for index in absent {
                    if self.items[index].current.is_some() {
                        self.items[index].fate = Fate::Deferred;
                    }
                }
            } else {
                let firmly = |index: &usize| matches!(self.items[*index].change.op, Op::Delete(_) | Op::Rekey(..));
                let (delete, update): (Vec<usize>, Vec<usize>) = own.into_iter().partition(firmly);
                self.read(tx, table, &update, &whole, Lock::Update).await?;
                self.read(tx, table, &delete, &whole, Lock::Delete).await?;
            }
            self.read_gone(tx, table, &indexes, site).await?;
            self.read_times(tx, table, &indexes).await?;
        }
        self.read_counted(tx).await?;
        self.derive_scopes(tx).await
    }

    /// Reads what is left of the rows that are not there.
    async fn read_gone(&mut self, tx: &WriteTx<'_>, table: &Table, indexes: &[usize], site: &SiteIdentity) -> Result<(), StoreError> {
        let absent: Vec<usize> = indexes.iter().copied().filter(|index| self.items[*index].current.is_none()).collect();
        let keys: Vec<&Key> = absent.iter().map(|index| self.items[*index].cloud_key()).collect();
        for (index, tombstone) in absent.into_iter().zip(tombstone::load(&**tx, table, &keys).await?) {
            let item = &mut self.items[index];
            item.image = tombstone.as_ref().and_then(|tombstone| image(item.table, &item.change.op, tombstone, site));
            item.tombstone = tombstone;
        }
        Ok(())
    }

    /// Reads rows that are deferred whole: what they still refer to decides what is deferred with them.
    pub(super) async fn read_deferred(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let mut by_table: BTreeMap<TableNo, Vec<usize>> = BTreeMap::new();
        for (index, item) in self.items.iter().enumerate().filter(|(_, item)| matches!(item.fate, Fate::Deferred)) {
            by_table.entry(item.table.no).or_default().push(index);
        }
        for (no, indexes) in by_table {
            let Some(table) = self.catalog.table(no) else { continue };
            self.read(tx, table, &indexes, &bulk::all_columns(table), Lock::None).await?;
        }
        Ok(())
    }

    fn open_by_table(&self) -> BTreeMap<TableNo, Vec<usize>> {
        let mut by_table: BTreeMap<TableNo, Vec<usize>> = BTreeMap::new();
        for (index, item) in self.items.iter().enumerate().filter(|(_, item)| matches!(item.fate, Fate::Open)) {
            by_table.entry(item.table.no).or_default().push(index);
        }
        by_table
    }

    async fn read(
        &mut self,
        tx: &WriteTx<'_>,
        table: &Table,
        indexes: &[usize],
        positions: &[usize],
        lock: Lock,
    ) -> Result<(), StoreError> {
        let keys: Vec<&Key> = indexes.iter().map(|index| self.items[*index].cloud_key()).collect();
        let rows = bulk::load(&**tx, table, &keys, positions, lock).await?;
        let mut found: HashMap<Key, StoredRow> = rows.into_iter().map(|stored| (table.key_of(&stored.row), stored)).collect();
        for index in indexes {
            if let Some(stored) = found.remove(self.items[*index].cloud_key()) {
                self.items[*index].current = Some(stored);
            }
        }
        Ok(())
    }

    /// Gives each open row the scope that it is to have: its own, or that of the row its scope path names, pushed or stored.
    async fn derive_scopes(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let mut asked: HashMap<ReferenceTo, BTreeMap<Vec<Value>, Option<ScopeId>>> = HashMap::new();
        for item in self.items.iter().filter(|item| matches!(item.fate, Fate::Open) && !item.is_delete()) {
            if let Some((reference, values)) = item.way()
                && self.find(reference, &values).is_none()
            {
                asked.entry(target(reference)).or_default().insert(values, None);
            }
        }
        for ((no, columns), answers) in &mut asked {
            let Some(table) = self.catalog.table(TableNo(*no)) else { continue };
            let positions: Vec<usize> = columns.iter().filter_map(|no| table.position(ColumnNo(*no))).collect();
            let values: Vec<Vec<Value>> = answers.keys().cloned().collect();
            let slices: Vec<&[Value]> = values.iter().map(Vec::as_slice).collect();
            for (values, scope) in values.iter().zip(scope::of_rows(&**tx, table, &positions, &slices).await?) {
                answers.insert(values.clone(), scope);
            }
        }
        let database = |reference: &Reference, values: &[Value]| asked.get(&target(reference))?.get(values).cloned().flatten();
        let scopes: Vec<Option<ScopeId>> = (0..self.items.len()).map(|index| self.scope_of(index, &database)).collect();
        for (item, scope) in self.items.iter_mut().zip(scopes) {
            if matches!(item.fate, Fate::Open) {
                item.to = scope;
            }
        }
        Ok(())
    }

    /// The scopes of what this site may write: their heads are held before anything is decided.
    pub(super) fn scopes(&self, site: &SiteIdentity) -> BTreeSet<ScopeId> {
        let new = self.new_scopes(site);
        let allowed = self.items.iter().filter(|item| matches!(item.fate, Fate::Open) && refused(item, site, &new).is_none());
        allowed.flat_map(|item| item.from().cloned().into_iter().chain(item.to.clone())).collect()
    }

    /// The scopes that the push's new root rows make.
    pub(super) fn new_scopes(&self, site: &SiteIdentity) -> BTreeSet<ScopeId> {
        self.items.iter().filter(|item| is_new_root(item, site)).filter_map(|item| item.to.clone()).collect()
    }
}

/// The deleted row that an edit brings back where the site wins.
fn image(table: &Table, op: &Op, tombstone: &Tombstone, site: &SiteIdentity) -> Option<Row> {
    let edits = matches!(op, Op::Update(_) | Op::Rekey(..));
    let may = edits && table.policy == Policy::LocalWins && !tombstone.left && site.holds(&tombstone.at.scope);
    row_from_json(table, tombstone.image.as_ref().filter(|_| may)?).into_iter().collect()
}

/// Why this site may not write the row; `None` where it may. `new`: scopes that the push makes.
pub(super) fn refused(item: &Item<'_>, site: &SiteIdentity, new: &BTreeSet<ScopeId>) -> Option<String> {
    if item.to.as_ref().is_some_and(|scope| *scope == ScopeId::nowhere()) {
        let ways = item.table.way_columns().into_iter().filter_map(|no| item.table.column(no));
        let names: Vec<&str> = ways.map(|column| column.name.as_str()).collect();
        return Some(format!("{} lead to no row that a site holds: such a row stays at the cloud", names.join(", ")));
    }
    let foreign = |scope: &ScopeId| !site.holds(scope) && !new.contains(scope);
    if item.from().is_some_and(foreign) {
        return Some(format!("the row belongs to a scope that the site {} does not hold", site.name));
    }
    item.to.as_ref().is_some_and(foreign).then(|| format!("the row would belong to a scope that the site {} does not hold", site.name))
}

/// Whether the row is a root that never was: it makes its scope. Pushing an existing root, or one that was, gives nothing.
fn is_new_root(item: &Item<'_>, site: &SiteIdentity) -> bool {
    item.table.scope == ScopeRule::Root
        && !item.table.engine
        && item.is_insert()
        && item.current.is_none()
        && item.tombstone.as_ref().is_none_or(|tombstone| site.holds(&tombstone.at.scope))
}

/// The columns that a row's scope hangs from, and its key.
fn scope_columns(table: &Table) -> Vec<usize> {
    let ways = table.way_columns();
    let positions: BTreeSet<usize> = table.key.iter().chain(&ways).filter_map(|no| table.position(*no)).collect();
    positions.into_iter().collect()
}

/// What a reference points at: a table and its columns, in the reference's order.
type ReferenceTo = (u32, Vec<u32>);

fn target(reference: &Reference) -> ReferenceTo {
    (reference.table.0, reference.target.iter().map(|no| no.0).collect())
}
