//! Deletes, children first. Nothing is cascaded over rows that the author of a delete never saw.

use std::collections::BTreeSet;

use sync_core::catalog::{Reference, Table};
use sync_core::conflict::ConflictKind;
use sync_core::id::{Key, ScopeId, TableNo};
use sync_core::reference::is_text_of;
use sync_core::value::Value;
use sync_core::write::columns_to_json;

use super::apply::Applying;
use super::plan::target_values;
use super::set::{Fate, Park, Set};
use crate::store::bulk::{self, key_types, unnest};
use crate::store::error::StoreError;
use crate::store::row::{Param, array, array_type, compared, equals, key_arrays, quote, refs, table_sql};
use crate::store::scope;
use crate::store::tombstone::{key_text_sql, key_text_types, key_texts};
use crate::store::tx::WriteTx;

impl Applying<'_, '_> {
    /// Parks deletes of rows that other rows still refer to, and with them the set's deletes of all that refers to those, as one conflict.
    pub(super) async fn check_deletes(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        for no in self.tables_to_delete() {
            let Some(table) = self.set.catalog.table(no) else { continue };
            let referrers: Vec<(&Table, &Reference)> = self.set.catalog.referrers(no).collect();
            for (child, reference) in referrers {
                for (index, count) in self.unseen(tx, table, child, reference).await? {
                    let rows = if count == 1 { "row" } else { "rows" };
                    let reason = format!("{count} {rows} of {} that this delete does not name refer to the row", child.name);
                    self.keep(index, Park::new(ConflictKind::DeleteUpdate, Vec::new(), reason));
                }
            }
        }
        self.keep_around_parked();
        Ok(())
    }

    /// The rows to delete that rows of `child` refer to which are not to be deleted themselves, with their number.
    async fn unseen(&self, tx: &WriteTx<'_>, table: &Table, child: &Table, reference: &Reference) -> Result<Vec<(usize, i64)>, StoreError> {
        let named = deletes_of(self.set, table.no).into_iter().filter_map(|index| {
            let values = target_values(table, reference, &self.set.items[index].current.as_ref()?.row)?;
            Some((index, values))
        });
        let spelt = named.flat_map(|(index, values)| {
            let spellings = child.spellings(reference, table, &values);
            spellings.into_iter().map(move |values| (index, values))
        });
        let (indexes, values): (Vec<usize>, Vec<Vec<Value>>) = spelt.unzip();
        let columns: Vec<_> = reference.target.iter().filter_map(|no| table.column(*no)).collect();
        let referring: Vec<_> = reference.columns.iter().filter_map(|no| child.column(*no)).collect();
        // As the referring column holds it where that is not the key's own type.
        let columns: Vec<_> =
            columns.iter().zip(&referring).map(|(target, own)| if is_text_of(own, target) { *own } else { *target }).collect();
        let gone: Vec<&Key> = deletes_of(self.set, child.no).into_iter().map(|index| self.set.items[index].cloud_key()).collect();

        let types: Vec<&str> = ["integer"].into_iter().chain(columns.iter().map(|column| array_type(&column.ty))).collect();
        let refers = referring.iter().zip(&columns).enumerate().map(|(no, (referring, _))| {
            format!("t.{} {} {}", quote(&referring.name), equals(referring), compared(referring, &format!("u.c{}", no + 1)))
        });
        let same = child.key_columns().enumerate().map(|(no, column)| {
            let element = compared(column, &format!("g.c{no}"));
            format!("t.{} = {element}", quote(&column.name))
        });
        let sql = format!(
            "SELECT u.c0, count(*) FROM {}, {} t WHERE {}{} AND NOT EXISTS (SELECT 1 FROM {} WHERE {}) GROUP BY u.c0",
            unnest("u", &types, 1),
            table_sql(child),
            refers.collect::<Vec<_>>().join(" AND "),
            scope::of_kind(child, reference, "t"),
            unnest("g", &key_types(child), types.len() + 1),
            same.collect::<Vec<_>>().join(" AND "),
        );
        let mut params: Vec<Param<'_>> = vec![Box::new((0..values.len()).filter_map(|no| i32::try_from(no).ok()).collect::<Vec<_>>())];
        for (no, column) in columns.iter().enumerate() {
            params.push(array(column, values.iter().map(|values| &values[no]))?);
        }
        params.extend(key_arrays(child, gone.iter().copied())?);
        let rows = tx.query(&tx.prepare_cached(&sql).await?, &refs(&params)).await?;
        let found = rows.iter().map(|row| {
            let no = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
            Ok((indexes[no], row.try_get(1)?))
        });
        found.collect()
    }

    /// Parks a delete, unless it is parked already.
    fn keep(&mut self, index: usize, park: Park) {
        if matches!(self.set.items[index].fate, Fate::Delete) {
            self.set.items[index].refuse(park);
        }
    }

    /// What refers to a row that stays, stays with it, in its conflict; and what a row that stays refers to cannot go either.
    fn keep_around_parked(&mut self) {
        loop {
            let mut found: Vec<(usize, Park)> = Vec::new();
            for (index, item) in self.set.items.iter().enumerate().filter(|(_, item)| matches!(item.fate, Fate::Delete)) {
                let parent = item.table.references.iter().find_map(|reference| {
                    let values = item.referred_to(reference)?;
                    parked_delete(self.set, reference, &values)
                });
                if let Some(parent) = parent {
                    let root = root_of(self.set, parent);
                    let park = Park::new(ConflictKind::DeleteUpdate, Vec::new(), "the row that it refers to was not deleted");
                    found.push((index, Park { root: Some(root), within_root: true, ..park }));
                } else if self
                    .set
                    .items
                    .iter()
                    .any(|child| child.is_delete() && matches!(child.fate, Fate::Parked(_)) && refers(child, item))
                {
                    let reason = "a row that refers to it and was to be deleted with it was not deleted";
                    found.push((index, Park::new(ConflictKind::DeleteUpdate, Vec::new(), reason)));
                }
            }
            if found.is_empty() {
                return;
            }
            for (index, park) in found {
                self.keep(index, park);
            }
        }
    }

    /// Deletes, children first; what is refused all the same is isolated and parked.
    pub(super) async fn deletes(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        for no in self.tables_to_delete() {
            let mut stack = vec![deletes_of(self.set, no)];
            while let Some(mut part) = stack.pop() {
                part.retain(|index| matches!(self.set.items[*index].fate, Fate::Delete));
                if part.is_empty() {
                    continue;
                }
                tx.batch_execute("SAVEPOINT rejoin_part").await?;
                let Err(error) = self.delete_part(tx, &part).await else { continue };
                tx.batch_execute("ROLLBACK TO rejoin_part; RELEASE rejoin_part").await?;
                let refusal = self.explain(error)?;
                if let [index] = part[..] {
                    self.park(index, &refusal, None);
                    self.keep_around_parked();
                } else {
                    let later = part.split_off(part.len() / 2);
                    stack.push(later);
                    stack.push(part);
                }
            }
        }
        Ok(())
    }

    async fn delete_part(&self, tx: &WriteTx<'_>, part: &[usize]) -> Result<(), StoreError> {
        let Some(table) = part.first().map(|index| self.set.items[*index].table) else { return Ok(()) };
        let rows: Vec<(&Key, &ScopeId)> =
            part.iter().map(|index| &self.set.items[*index]).filter_map(|item| item.from().map(|from| (item.cloud_key(), from))).collect();
        bulk::delete(&**tx, table, &rows).await?;
        self.mend_tombstones(tx, table, part).await?;
        Ok(tx.batch_execute("RELEASE rejoin_part").await?)
    }

    /// The tombstone of a row whose unique values were set aside keeps what it had.
    async fn mend_tombstones(&self, tx: &WriteTx<'_>, table: &Table, part: &[usize]) -> Result<(), StoreError> {
        let mended: Vec<usize> = part.iter().copied().filter(|index| self.aside.contains_key(index)).collect();
        if mended.is_empty() {
            return Ok(());
        }
        let patch = |index: &usize| {
            let values = self.aside[index].iter().map(|(at, value)| (table.columns[*at].no, value));
            columns_to_json(table, values).to_string()
        };
        let types: Vec<&str> = ["text"].into_iter().chain(key_text_types(table)).collect();
        let sql = format!(
            "UPDATE rejoin.tombstones x SET image = x.image || u.c0::jsonb FROM {} WHERE x.table_no = ${} AND x.key = {}",
            unnest("u", &types, 1),
            types.len() + 1,
            key_text_sql(table, "u", 1),
        );
        let mut params: Vec<Param<'_>> = vec![Box::new(mended.iter().map(patch).collect::<Vec<_>>())];
        let keys: Vec<&Key> = mended.iter().map(|index| self.set.items[*index].cloud_key()).collect();
        params.extend(key_texts(table, &keys));
        params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
        tx.execute(&tx.prepare_cached(&sql).await?, &refs(&params)).await?;
        Ok(())
    }
}

/// The rows of a table that are to be deleted.
fn deletes_of(set: &Set<'_>, table: TableNo) -> Vec<usize> {
    let wanted: BTreeSet<usize> = set
        .items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.table.no == table && matches!(item.fate, Fate::Delete))
        .map(|(index, _)| index)
        .collect();
    wanted.into_iter().collect()
}

/// The pushed delete of the row that these values name, where it was parked.
fn parked_delete(set: &Set<'_>, reference: &Reference, values: &[Value]) -> Option<usize> {
    let table = set.catalog.table(reference.table)?;
    let is = |item: &super::set::Item<'_>| {
        item.table.no == table.no
            && item.is_delete()
            && matches!(item.fate, Fate::Parked(_))
            && item.current.as_ref().and_then(|current| target_values(table, reference, &current.row)).as_deref() == Some(values)
    };
    if reference.target == table.key {
        return set.at_cloud_key(table.no, &Key(values.to_vec())).filter(|index| is(&set.items[*index]));
    }
    set.items.iter().position(is)
}

fn refers(child: &super::set::Item<'_>, parent: &super::set::Item<'_>) -> bool {
    let Some(row) = parent.current.as_ref().map(|current| &current.row) else { return false };
    let to_parent = child.table.references.iter().filter(|reference| reference.table == parent.table.no);
    to_parent
        .into_iter()
        .any(|reference| child.referred_to(reference).is_some_and(|values| target_values(parent.table, reference, row) == Some(values)))
}

fn root_of(set: &Set<'_>, index: usize) -> usize {
    match &set.items[index].fate {
        Fate::Parked(park) => park.root.unwrap_or(index),
        _ => index,
    }
}
