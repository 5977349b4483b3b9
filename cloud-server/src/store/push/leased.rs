//! New keys with numbers that were never leased to the site.

use sync_core::change::Op;
use sync_core::conflict::ConflictKind;
use sync_core::id::Key;

use super::set::{Fate, Item, Park, Set};
use crate::store::error::StoreError;
use crate::store::leases::{New, unleased};
use crate::store::sites::SiteIdentity;
use crate::store::tx::WriteTx;

impl Set<'_> {
    /// Parks the rows whose key has a number that the database may still give to another row: the user's own program would meet it.
    pub(super) async fn refuse_unleased(&mut self, tx: &WriteTx<'_>, site: &SiteIdentity) -> Result<(), StoreError> {
        let new: Vec<usize> = (0..self.items.len()).filter(|index| brings_number(&self.items[*index])).collect();
        if new.is_empty() {
            return Ok(());
        }
        let keys: Vec<New<'_>> =
            new.iter().map(|index| &self.items[*index]).map(|item| New { table: item.table, key: &item.change.key }).collect();
        for (place, reason) in unleased(&**tx, self.catalog, site.site, &keys).await? {
            let item = &mut self.items[new[place]];
            item.fate = Fate::Parked(Park::new(ConflictKind::Rejected, item.edited(), reason));
        }
        Ok(())
    }
}

/// Whether the row gets a key with a leased column that the cloud has not had under it. A row that was deleted may come again.
fn brings_number(item: &Item<'_>) -> bool {
    let leased = |key: &Key| -> Vec<_> {
        let own = item.table.key_columns().zip(&key.0);
        own.filter(|(column, _)| item.table.leased_columns().any(|leased| leased.no == column.no)).map(|(_, value)| value.clone()).collect()
    };
    matches!(item.fate, Fate::Open)
        && match &item.change.op {
            Op::Insert(_) => item.current.is_none() && item.tombstone.is_none() && item.table.leased_columns().next().is_some(),
            Op::Rekey(old, _) => leased(old) != leased(&item.change.key),
            Op::Update(_) | Op::Delete(_) => false,
        }
}
