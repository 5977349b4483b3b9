//! What the site is told: the rows read back at the end of the transaction, after every trigger and deferred constraint.

use std::collections::{BTreeMap, HashMap};

use sync_core::catalog::Table;
use sync_core::change::{At, Confirmed, Image, Op, Row, RowAnswer, State, Verdict};
use sync_core::conflict::ConflictKind;
use sync_core::id::{Key, TableNo};
use sync_core::value::Value;
use sync_core::wire::message::Push;

use super::plan::warn_too_large;
use super::set::{Conflicts, Fate, Item, Set};
use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::sites::SiteIdentity;
use crate::store::tombstone::{self, Tombstone};
use crate::store::tx::WriteTx;

/// What the cloud has under the pushed rows' keys after the push.
#[derive(Debug, Default)]
pub(super) struct After {
    rows: HashMap<(TableNo, Key), StoredRow>,
    gone: HashMap<(TableNo, Key), Tombstone>,
}

impl After {
    /// Reads back every pushed row that was decided, and the rows that stand in their way: one query for each table.
    pub(super) async fn read(tx: &WriteTx<'_>, set: &Set<'_>) -> Result<Self, StoreError> {
        let mut keys: BTreeMap<TableNo, (&Table, Vec<&Key>)> = BTreeMap::new();
        for item in set.items.iter().filter(|item| !matches!(item.fate, Fate::Deferred) && !set.is_gone(item)) {
            let entry = keys.entry(item.table.no).or_insert_with(|| (item.table, Vec::new()));
            let readable = |key: &Key| {
                key.0.len() == item.table.key.len()
                    && item
                        .table
                        .key_columns()
                        .zip(&key.0)
                        .all(|(column, value)| column.ty.accept(value.clone()).is_ok_and(|canonical| canonical == *value))
            };
            let blocker = item.park().and_then(|park| park.blocker.as_ref());
            entry.1.extend([item.cloud_key(), &item.change.key].into_iter().filter(|key| readable(key)).chain(blocker));
        }
        let mut after = Self::default();
        for (no, (table, mut keys)) in keys {
            keys.sort_unstable();
            keys.dedup();
            for stored in bulk::load(&**tx, table, &keys, &bulk::all_columns(table), Lock::None).await? {
                after.rows.insert((no, table.key_of(&stored.row)), stored);
            }
            let gone: Vec<&Key> = keys.into_iter().filter(|key| !after.rows.contains_key(&(no, (*key).clone()))).collect();
            for (key, tombstone) in gone.iter().zip(tombstone::load(&**tx, table, &gone).await?) {
                if let Some(tombstone) = tombstone {
                    after.gone.insert((no, (*key).clone()), tombstone);
                }
            }
        }
        Ok(after)
    }

    /// The row of this key.
    pub(super) fn row(&self, table: TableNo, key: &Key) -> Option<&StoredRow> {
        self.rows.get(&(table, key.clone()))
    }

    /// The answer to one row, and whether it is *exact*.
    pub(super) fn answer(&self, site: &SiteIdentity, index: usize, item: &Item<'_>, conflicts: &Conflicts) -> RowAnswer {
        let clashed = item.park().map(|park| park.clashed.clone()).unwrap_or_default();
        let conflict = conflicts.get(&index).copied();
        let verdict = match (&item.fate, conflict) {
            (Fate::Parked(park), Some(conflict)) if item.is_insert() => {
                // Where the key itself is taken, the cloud's row takes it at the site as well.
                let taken = park.kind == ConflictKind::InsertInsert && matches!(self.image(site, item), Confirmed::Image(_));
                // Where there is no table any more, nothing can be offered again.
                if taken || park.is_for_good() { Verdict::Parked(conflict) } else { Verdict::Held(conflict) }
            }
            (Fate::Parked(_) | Fate::Write(_), Some(conflict)) => Verdict::Parked(conflict),
            (Fate::Write(_) | Fate::Delete, None) => Verdict::Accepted,
            (Fate::NoOp, _) => Verdict::NoOp,
            (Fate::Open | Fate::Deferred | Fate::Parked(_) | Fate::Delete, _) => Verdict::Deferred,
        };
        let confirmed = match verdict {
            Verdict::Deferred => Confirmed::Nothing,
            Verdict::Accepted | Verdict::NoOp => self.exact(item).unwrap_or_else(|| self.image(site, item)),
            Verdict::Parked(_) | Verdict::Held(_) => self.image(site, item),
        };
        if matches!(&confirmed, Confirmed::Image(image) if image.row().is_some_and(|row| row.iter().any(Value::is_too_large))) {
            // A trigger of the user made it so: the row stays dirty at its site, which learns of it once the value is smaller.
            warn_too_large(item);
            return RowAnswer { verdict: Verdict::Deferred, clashed: Vec::new(), confirmed: Confirmed::Nothing, merged: Vec::new() };
        }
        RowAnswer { verdict, clashed, confirmed, merged: item.merged.clone() }
    }

    /// `Exact` where the site can know the row without being told: its base image was the cloud's row, and what is there now is that with what
    /// was pushed.
    fn exact(&self, item: &Item<'_>) -> Option<Confirmed> {
        // Some of the additions may be in the site's base already, where its folder was restored; and sums of floats depend on their order.
        if !item.merged.is_empty() || !item.change.additions.is_empty() {
            return None;
        }
        let key = (item.table.no, item.change.key.clone());
        if item.is_delete() {
            let gone = self.gone.get(&key).filter(|gone| !gone.left && matches!(item.fate, Fate::Delete))?;
            return Some(Confirmed::Exact { at: gone.at.clone(), version: gone.version, synced_at: gone.when.clone() });
        }
        // What the site takes for the rest of such a row is no more than a guess.
        if item.unfed.is_some() && !item.is_insert() {
            return None;
        }
        let stored = self.rows.get(&key)?;
        if *expected(item)? != stored.row {
            return None;
        }
        let synced_at = stored.stamp.synced_at.clone()?;
        Some(Confirmed::Exact { at: stored.at.clone(), version: stored.stamp.version, synced_at })
    }

    /// The row as the cloud has it, as far as this site may see it.
    pub(super) fn image(&self, site: &SiteIdentity, item: &Item<'_>) -> Confirmed {
        // A rekey that was not taken: the row is where it was, and its new key may be a stranger's.
        let key = if matches!(item.fate, Fate::Parked(_)) { item.cloud_key() } else { &item.change.key };
        let stored = self.row(item.table.no, key);
        if let Some(stored) = stored {
            if !site.holds(&stored.at.scope) && !matches!(item.fate, Fate::Write(_)) {
                return Confirmed::Nothing;
            }
            return Confirmed::Image(Image { at: stored.at.clone(), stamp: stored.stamp.clone(), state: State::Live(stored.row.clone()) });
        }
        match self.gone.get(&(item.table.no, item.cloud_key().clone())) {
            Some(gone) if site.holds(&gone.at.scope) && !item.is_insert() => Confirmed::Image(gone.as_image()),
            _ => Confirmed::Nothing,
        }
    }
}

/// The row as the site has it, where that is known here.
fn expected<'i>(item: &'i Item<'_>) -> Option<std::borrow::Cow<'i, Row>> {
    use std::borrow::Cow;
    let same_base = |item: &Item<'_>| item.current.as_ref().is_some_and(|current| item.change.base.as_ref() == Some(&current.at));
    match (&item.change.op, &item.fate) {
        (Op::Insert(values), _) => {
            let row =
                item.table.columns.iter().map(|column| values.iter().find(|(no, _)| *no == column.no).map(|(_, value)| value.clone()));
            row.collect::<Option<Row>>().map(Cow::Owned)
        }
        (Op::Update(_) | Op::Rekey(..), Fate::Write(write)) if same_base(item) => Some(Cow::Borrowed(&write.row)),
        (Op::Update(_) | Op::Rekey(..), Fate::NoOp) if same_base(item) => item.current.as_ref().map(|current| Cow::Borrowed(&current.row)),
        _ => None,
    }
}

/// The rows that were answered *exact* at a tick of this push: a pull need not send them back.
pub(super) fn exact_keys(
    push: &Push,
    answers: &[RowAnswer],
    ticks: &BTreeMap<sync_core::id::ScopeId, sync_core::id::Tick>,
) -> Vec<(TableNo, Key)> {
    let made = |at: &At| ticks.get(&at.scope) == Some(&at.tick);
    let exact = push.rows.iter().zip(answers).filter(|(_, answer)| matches!(&answer.confirmed, Confirmed::Exact { at, .. } if made(at)));
    exact.map(|(change, _)| (change.table, change.key.clone())).collect()
}
