//! From loaded rows to decisions: authorization, then `reconcile`, then what has to wait.

use std::collections::BTreeSet;

use sync_core::catalog::{Reference, Table};
use sync_core::change::RowChange;
use sync_core::conflict::ConflictKind;
use sync_core::id::ScopeId;
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::reconcile::{Current, Decision, reconcile};
use sync_core::value::Value;
use uuid::Uuid;

use super::load::refused;
use super::set::{Fate, Item, Park, Set, Write};
use crate::store::row::StoredRow;
use crate::store::sites::SiteIdentity;

impl Set<'_> {
    /// Defers the rows of scopes that somebody holds.
    pub(super) fn defer(&mut self, busy: &BTreeSet<ScopeId>) {
        for item in &mut self.items {
            let waits = item.from().into_iter().chain(&item.to).any(|scope| busy.contains(scope));
            if waits && matches!(item.fate, Fate::Open) {
                item.fate = Fate::Deferred;
            }
        }
    }

    /// Defers the rows from this place of the push on.
    pub(super) fn defer_from(&mut self, place: usize) {
        for item in self.items.iter_mut().skip(place) {
            item.fate = Fate::Deferred;
        }
    }

    /// Decides every open row.
    pub(super) fn decide(&mut self, site: &SiteIdentity, reoffer: bool) {
        let new = self.new_scopes(site);
        for item in &mut self.items {
            if !matches!(item.fate, Fate::Open) {
                continue;
            }
            let dangling = item.dangling_way().cloned();
            let fate = match refused(item, site, &new) {
                Some(_) if dangling.is_some() && item.from().is_none_or(|scope| site.holds(scope)) => {
                    Fate::Parked(Park::new(ConflictKind::ForeignKey, item.edited(), names_nothing(item, dangling.as_ref())))
                }
                None if item.current.as_ref().is_some_and(StoredRow::is_too_large) => {
                    // The site could not be told how the row is now: its edit waits there until somebody makes the value smaller.
                    warn_too_large(item);
                    Fate::Deferred
                }
                Some(reason) => Fate::Parked(Park::new(ConflictKind::Rejected, item.edited(), reason)),
                None => decide(item, &self.counted, &self.received, reoffer),
            };
            item.fate = fate;
        }
        self.park_without_scope();
        self.park_dependents();
        self.park_taken_keys();
    }

    /// A row whose scope path names no row has no scope: the reference is refused before PostgreSQL has to.
    fn park_without_scope(&mut self) {
        for index in 0..self.items.len() {
            let item = &self.items[index];
            if !matches!(item.fate, Fate::Write(_)) || item.to.is_some() {
                continue;
            }
            let reason = names_nothing(item, item.way().map(|(reference, _)| reference));
            let park = Park::new(ConflictKind::ForeignKey, item.edited(), reason);
            self.items[index].refuse(park);
        }
    }

    /// A rekey onto a key that another pushed row has at the cloud and keeps.
    fn park_taken_keys(&mut self) {
        for index in 0..self.items.len() {
            let item = &self.items[index];
            if !matches!(item.fate, Fate::Write(_)) || item.cloud_key() == &item.change.key {
                continue;
            }
            let holder = self.at_cloud_key(item.table.no, &item.change.key).map(|at| &self.items[at]);
            if holder.is_some_and(|holder| {
                holder.current.is_some() && holder.write().is_none_or(|write| holder.table.key_of(&write.row) == item.change.key)
            }) {
                let park = Park::new(ConflictKind::Unique, item.edited(), "another row has this key");
                let park = Park { blocker: Some(item.change.key.clone()), ..park };
                self.items[index].refuse(park);
            }
        }
    }

    /// Defers what cannot be judged while other rows of the push are deferred: rows that refer to a deferred row that is new, deletes of
    /// what a deferred row still refers to, and rows that want a unique key which a deferred row is to give up.
    pub(super) fn defer_dependents(&mut self) {
        if !self.items.iter().any(|item| matches!(item.fate, Fate::Deferred)) {
            return;
        }
        loop {
            let waits = |index: &usize| {
                let item = &self.items[*index];
                matches!(item.fate, Fate::Open | Fate::Write(_) | Fate::Delete) && self.hangs_from_deferred(item)
            };
            let found: Vec<usize> = (0..self.items.len()).filter(waits).collect();
            if found.is_empty() {
                return;
            }
            for index in found {
                self.items[index].wait();
            }
        }
    }

    fn hangs_from_deferred(&self, item: &Item<'_>) -> bool {
        let deferred = |other: &&Item<'_>| matches!(other.fate, Fate::Deferred);
        if item.is_delete() {
            let Some(current) = &item.current else { return false };
            return self.items.iter().filter(deferred).any(|other| {
                let to_this = other.table.references.iter().filter(|reference| reference.table == item.table.no);
                // What a suspended table's rows refer to cannot be read.
                to_this.into_iter().any(|reference| {
                    self.is_gone(other) || other.referred_to(reference) == target_values(item.table, reference, &current.row)
                })
            });
        }
        let refers = item.table.references.iter().any(|reference| {
            let Some(parent) = item.refers_to(reference).and_then(|values| self.find(reference, &values)) else { return false };
            let parent = &self.items[parent];
            matches!(parent.fate, Fate::Deferred) && (parent.current.is_none() || parent.cloud_key() != &parent.change.key)
        });
        refers
            || self.refers_to_suspended(item)
            || item.table.uniques.iter().any(|unique| {
                let Some(wanted) = new_tuple(item, &unique.columns) else { return false };
                self.items.iter().filter(deferred).any(|other| {
                    other.table.no == item.table.no
                        && other.change.key != item.change.key
                        && old_tuple(other, &unique.columns).as_ref() == Some(&wanted)
                })
            })
    }

    /// The scopes that the decided writes change.
    pub(super) fn written_scopes(&self) -> BTreeSet<ScopeId> {
        let written = self.items.iter().filter(|item| matches!(item.fate, Fate::Write(_) | Fate::Delete));
        written.flat_map(|item| item.from().cloned().into_iter().chain(item.to.clone())).collect()
    }
}

/// Says where a row cannot be sent to its site.
pub(super) fn warn_too_large(item: &Item<'_>) {
    let (table, record) = (&item.table.name, item.cloud_key().to_string());
    tracing::warn!(table, record, "a value of the row is too large for any message: an edit of it is deferred until it is smaller");
}

fn decide(item: &mut Item<'_>, counted: &BTreeSet<Uuid>, received: &str, reoffer: bool) -> Fate {
    let current = Current {
        row: item.current.as_ref().map(|current| &current.row),
        at: item.current.as_ref().map(|current| &current.at),
        tombstone: item.tombstone.as_ref().is_some_and(|tombstone| !tombstone.left),
        image: item.image.as_ref(),
        times: &item.times,
        counted,
        received,
        outgrown: &item.outgrown,
    };
    let version = next_version(item, item.change);
    let reconciled = reconcile(item.table, current, &item.seen_change(), reoffer);
    (item.merged, item.losses) = (reconciled.merged, reconciled.losses);
    match reconciled.decision {
        Decision::Write(row) => Fate::Write(Write { row, version, besides: None }),
        Decision::Delete => Fate::Delete,
        Decision::NoOp => Fate::NoOp,
        Decision::Park { kind, clashed, write, reason, policy } => {
            let park = Park { policy, ..Park::new(kind, clashed, reason) };
            match write {
                Some(row) => Fate::Write(Write { row, version, besides: Some(park) }),
                None => Fate::Parked(park),
            }
        }
    }
}

/// Says that a row's scope hangs from one that is not there.
fn names_nothing(item: &Item<'_>, reference: Option<&Reference>) -> String {
    let columns = reference.into_iter().flat_map(|reference| &reference.columns).filter_map(|no| item.table.column(*no));
    let columns = columns.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    match reference.and_then(|reference| item.catalog.table(reference.table)) {
        Some(target) if reference.is_some_and(|reference| reference.declared) => {
            format!("{columns} names a row of {} that does not exist", target.name)
        }
        _ => format!("{columns} names a row that does not exist"),
    }
}

/// The version that an accepted row gets: above all that this row ever had, at the cloud and, within reason, at the site.
fn next_version(item: &Item<'_>, change: &RowChange) -> i64 {
    let current = item.current.as_ref().map(|current| current.stamp.version);
    let known = current.or(item.tombstone.as_ref().map(|tombstone| tombstone.version)).unwrap_or(0);
    let counted = change.stamp.version.min(known.saturating_add(VERSION_LEAD_MAX));
    known.max(counted).saturating_add(1)
}

/// What rows refer to a row by: its values of the reference's target columns.
pub(super) fn target_values(table: &Table, reference: &Reference, row: &[Value]) -> Option<Vec<Value>> {
    reference.target.iter().map(|no| table.position(*no).map(|at| row[at].clone())).collect()
}

/// The values that an item's row is to have in a unique key; `None` where one of them is NULL.
pub(super) fn new_tuple(item: &Item<'_>, columns: &[sync_core::id::ColumnNo]) -> Option<Vec<Value>> {
    let values = columns.iter().map(|no| item.new_value(item.table.position(*no)?).map(std::borrow::Cow::into_owned));
    values.map(|value| value.filter(|value| !value.is_null())).collect()
}

/// The values that the cloud's row has in a unique key now.
pub(super) fn old_tuple(item: &Item<'_>, columns: &[sync_core::id::ColumnNo]) -> Option<Vec<Value>> {
    let row = &item.current.as_ref()?.row;
    columns.iter().map(|no| item.table.position(*no).map(|at| row[at].clone()).filter(|value| !value.is_null())).collect()
}
