//! Additions to `add` columns, each of which is accounted for once: it is in the row, or in the conflict that keeps it.

use sync_core::change::Addition;
use sync_core::id::ColumnNo;
use sync_core::policy;
use sync_core::value::Value;
use uuid::Uuid;

use super::set::{Fate, Item, Set};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

impl Set<'_> {
    /// Reads which of the additions were accounted for before: by this push's row under an earlier number, by a copy of the site, by a re-offer.
    pub(super) async fn read_counted(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = self.items.iter().flat_map(|item| &item.change.additions).map(|addition| addition.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = tx.query(&tx.prepare_cached("SELECT id FROM rejoin.additions WHERE id = ANY($1)").await?, &[&ids]).await?;
        self.counted = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Notes the additions of the rows that were taken or parked.
    pub(super) async fn note_counted(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let answered = self.items.iter().filter(|item| !matches!(item.fate, Fate::Open | Fate::Deferred));
        let ids: Vec<Uuid> = answered.flat_map(|item| self.uncounted(item)).map(|addition| addition.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO rejoin.additions (id) SELECT u FROM unnest($1::uuid[]) u ON CONFLICT (id) DO NOTHING";
        if tx.execute(&tx.prepare_cached(sql).await?, &[&ids]).await? < ids.len() as u64 {
            return Err(StoreError::Busy("an addition was counted meanwhile".to_owned()));
        }
        Ok(())
    }

    fn uncounted<'s>(&'s self, item: &'s Item<'_>) -> impl Iterator<Item = &'s Addition> {
        item.change.additions.iter().filter(|addition| !self.counted.contains(&addition.id))
    }

    /// What was to be added to a row that could not take it, by column.
    pub(super) fn left_over(&self, item: &Item<'_>) -> Vec<(ColumnNo, Value)> {
        let mut sums: Vec<(ColumnNo, Value)> = Vec::new();
        if !matches!(item.fate, Fate::Parked(_)) {
            return sums;
        }
        for addition in self.uncounted(item) {
            let Some(column) = item.table.column(addition.column) else { continue };
            match sums.iter_mut().find(|(no, _)| *no == column.no) {
                Some((_, sum)) => *sum = policy::add(&column.ty, sum, &addition.amount).unwrap_or_else(|| sum.clone()),
                None => sums.push((column.no, addition.amount.clone())),
            }
        }
        sums
    }
}
