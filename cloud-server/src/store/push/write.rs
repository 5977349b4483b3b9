//! One part of a set written in bulk: unique values that others want are set aside, then rekeys, inserts parents first, updates.

use std::collections::{BTreeMap, HashMap};

use sync_core::catalog::{Column, Reference, Table, Unique};
use sync_core::change::{Op, Row};
use sync_core::id::{Key, ScopeId, TableNo};
use sync_core::value::{ColumnType, Value};

use super::apply::Applying;
use super::plan::new_tuple;
use super::set::{Fate, Item};
use super::units::given_up;
use crate::store::bulk::{self, RowWrite};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// Inserts of one table that give the same columns: one statement.
type Batch = (usize, TableNo, Vec<usize>);

impl Applying<'_, '_> {
    /// Writes these rows, each of which is to be written.
    pub(super) async fn write_part(&mut self, tx: &WriteTx<'_>, indexes: &[usize]) -> Result<(), StoreError> {
        self.set_aside(tx, indexes).await?;
        self.rekey(tx, indexes).await?;
        let cut = self.insert(tx, indexes).await?;
        self.update(tx, indexes, &cut).await
    }

    /// Moves unique values out of the way that rows of this part want and other rows of the set give up.
    async fn set_aside(&mut self, tx: &WriteTx<'_>, indexes: &[usize]) -> Result<(), StoreError> {
        let given_up = given_up(self.set);
        let mut moves: BTreeMap<usize, BTreeMap<usize, Value>> = BTreeMap::new();
        for &index in indexes {
            let item = &self.set.items[index];
            for (no, unique) in item.table.uniques.iter().enumerate() {
                let Some(tuple) = new_tuple(item, &unique.columns) else { continue };
                let Some(&holder) = given_up.get(&(item.table.no, no, tuple)).filter(|holder| **holder != index) else { continue };
                let deleted = matches!(self.set.items[holder].fate, Fate::Delete);
                let stays = self.kept.contains(&holder) || !deleted && !indexes.contains(&holder);
                if stays || self.aside.contains_key(&holder) {
                    continue;
                }
                if let Some((at, value)) = aside_value(item.table, unique, moves.len()) {
                    moves.entry(holder).or_default().insert(at, value);
                }
            }
        }
        for (holder, values) in moves {
            let item = &self.set.items[holder];
            let Some(current) = &item.current else { continue };
            let mut row = current.row.clone();
            let positions: Vec<usize> = values.keys().copied().collect();
            let before: Vec<(usize, Value)> = positions.iter().map(|at| (*at, row[*at].clone())).collect();
            values.into_iter().for_each(|(at, value)| row[at] = value);
            let scope = &current.at.scope;
            let write = self.write_of(tx, item, item.cloud_key(), &row, scope, scope)?;
            bulk::update_columns(&**tx, item.table, &positions, &[write]).await?;
            if matches!(item.fate, Fate::Delete) {
                self.aside.insert(holder, before);
            }
        }
        Ok(())
    }

    /// Changes keys, each by one UPDATE, references follow. A key that another rekey of the part still holds is waited for; of a circle one key
    /// is set aside first.
    async fn rekey(&self, tx: &WriteTx<'_>, indexes: &[usize]) -> Result<(), StoreError> {
        let mut rest: Vec<usize> =
            indexes.iter().copied().filter(|index| matches!(self.set.items[*index].change.op, Op::Rekey(..))).collect();
        let mut now: HashMap<usize, Key> = rest.iter().map(|index| (*index, self.set.items[*index].cloud_key().clone())).collect();
        while !rest.is_empty() {
            let held = |index: &usize| {
                let item = &self.set.items[*index];
                rest.iter().any(|other| other != index && self.set.items[*other].table.no == item.table.no && now[other] == item.change.key)
            };
            let (wait, go): (Vec<usize>, Vec<usize>) = rest.iter().copied().partition(held);
            if go.is_empty() {
                let first = &self.set.items[wait[0]];
                let Some(key) = aside_key(first.table, &first.change.key) else { return self.rekey_to(tx, &wait, &now, None).await };
                self.rekey_to(tx, &wait[..1], &now, Some(&key)).await?;
                now.insert(wait[0], key);
            } else {
                self.rekey_to(tx, &go, &now, None).await?;
            }
            rest = wait;
        }
        Ok(())
    }

    async fn rekey_to(
        &self,
        tx: &WriteTx<'_>,
        indexes: &[usize],
        now: &HashMap<usize, Key>,
        aside: Option<&Key>,
    ) -> Result<(), StoreError> {
        for (table, indexes) in self.by_table(indexes) {
            let mut rows: Vec<Row> = Vec::with_capacity(indexes.len());
            for index in &indexes {
                let item = &self.set.items[*index];
                let mut row = vec![Value::Null; table.columns.len()];
                let key = aside.unwrap_or(&item.change.key);
                table.key_positions().zip(&key.0).for_each(|(at, value)| row[at] = value.clone());
                rows.push(row);
            }
            let mut writes = Vec::with_capacity(indexes.len());
            for (index, row) in indexes.iter().zip(&rows) {
                let item = &self.set.items[*index];
                let (Some(from), Some(to)) = (item.from(), &item.to) else { continue };
                writes.push(self.write_of(tx, item, &now[index], row, if now[index] == *item.cloud_key() { from } else { to }, to)?);
            }
            let positions: Vec<usize> = table.key_positions().collect();
            bulk::update_columns(&**tx, table, &positions, &writes).await?;
        }
        Ok(())
    }

    /// Inserts, parents first. Returns the rows of which a reference was left out because its target comes later.
    async fn insert(&self, tx: &WriteTx<'_>, indexes: &[usize]) -> Result<Vec<usize>, StoreError> {
        let mut batches: BTreeMap<Batch, Vec<usize>> = BTreeMap::new();
        for &index in indexes {
            let item = &self.set.items[index];
            if item.current.is_none() {
                batches.entry((item.level, item.table.no, given(item))).or_default().push(index);
            }
        }
        let place: HashMap<usize, usize> =
            batches.values().enumerate().flat_map(|(place, batch)| batch.iter().map(move |index| (*index, place))).collect();
        let cut: Vec<usize> = place.keys().copied().filter(|index| self.is_cut(*index, &place)).collect();
        for ((_, no, positions), batch) in &batches {
            let Some(table) = self.set.catalog.table(*no) else { continue };
            let rows: Vec<Row> = batch.iter().map(|index| self.without_cut(*index, &place)).collect();
            let mut writes = Vec::with_capacity(batch.len());
            for (index, row) in batch.iter().zip(&rows) {
                let item = &self.set.items[*index];
                let Some(to) = &item.to else { continue };
                writes.push(self.write_of(tx, item, &item.change.key, row, to, to)?);
            }
            bulk::insert(&**tx, table, positions, &writes).await?;
        }
        Ok(cut)
    }

    /// The row to insert, without references to rows that come later.
    fn without_cut(&self, index: usize, place: &HashMap<usize, usize>) -> Row {
        let item = &self.set.items[index];
        let mut row = item.write().map(|write| write.row.clone()).unwrap_or_default();
        for reference in &item.table.references {
            let later = self.comes_later(index, reference, place);
            for at in reference.columns.iter().filter_map(|no| item.table.position(*no)) {
                if later && !item.table.columns[at].not_null {
                    row[at] = Value::Null;
                }
            }
        }
        row
    }

    fn is_cut(&self, index: usize, place: &HashMap<usize, usize>) -> bool {
        self.set.items[index].table.references.iter().any(|reference| self.comes_later(index, reference, place))
    }

    /// Whether a row names one that is inserted after it. Of a declared reference PostgreSQL does not ask.
    fn comes_later(&self, index: usize, reference: &Reference, place: &HashMap<usize, usize>) -> bool {
        let item = &self.set.items[index];
        let target = item.refers_to(reference).filter(|_| !reference.declared).and_then(|values| self.set.find(reference, &values));
        target.and_then(|target| place.get(&target)).is_some_and(|target| Some(target) > place.get(&index))
    }

    async fn update(&self, tx: &WriteTx<'_>, indexes: &[usize], cut: &[usize]) -> Result<(), StoreError> {
        let updates: Vec<usize> =
            indexes.iter().copied().filter(|index| self.set.items[*index].current.is_some()).chain(cut.iter().copied()).collect();
        for (table, indexes) in self.by_table(&updates) {
            let mut writes = Vec::with_capacity(indexes.len());
            for index in indexes {
                let item = &self.set.items[index];
                let (Some(write), Some(to)) = (item.write(), &item.to) else { continue };
                // A rekey brought the row into its scope already.
                let from = item.from().filter(|_| !matches!(item.change.op, Op::Rekey(..))).unwrap_or(to);
                writes.push(self.write_of(tx, item, &item.change.key, &write.row, from, to)?);
            }
            bulk::update(&**tx, table, false, &writes).await?;
        }
        Ok(())
    }

    pub(super) fn by_table(&self, indexes: &[usize]) -> Vec<(&Table, Vec<usize>)> {
        let mut by_table: BTreeMap<(usize, TableNo), (&Table, Vec<usize>)> = BTreeMap::new();
        for &index in indexes {
            let item = &self.set.items[index];
            by_table.entry((item.level, item.table.no)).or_insert_with(|| (item.table, Vec::new())).1.push(index);
        }
        by_table.into_values().collect()
    }

    fn write_of<'w>(
        &'w self,
        tx: &WriteTx<'_>,
        item: &'w Item<'_>,
        key: &'w Key,
        row: &'w [Value],
        from: &'w ScopeId,
        to: &'w ScopeId,
    ) -> Result<RowWrite<'w>, StoreError> {
        let current = item.current.as_ref().map_or(0, |current| current.stamp.version);
        Ok(RowWrite {
            key,
            row,
            old_scope: from,
            scope: to,
            tick: tx.tick(to)?,
            version: item.write().map_or(current, |write| write.version),
            updated_at: Some(item.change.stamp.updated_at.as_str()).filter(|text| ColumnType::Timestamptz.parse(text).is_ok()),
            modified_by: item.change.stamp.modified_by.as_deref().unwrap_or(self.author),
        })
    }
}

/// The columns that an insert gives: those that it does not name are the database's to fill. A row that is brought back gives all it had.
fn given(item: &Item<'_>) -> Vec<usize> {
    if !item.is_insert() {
        return (0..item.table.columns.len()).collect();
    }
    let values: Vec<_> = item.change.values().map(|(no, _)| no).collect();
    let fills = |at: &usize| {
        let column = &item.table.columns[*at];
        values.contains(&column.no) || !item.new_value(*at).is_none_or(|value| value.is_null())
    };
    (0..item.table.columns.len()).filter(fills).collect()
}

/// A value that frees the unique key, and the column that takes it: NULL where that is allowed, else something that nobody has. Columns of a
/// reference are left alone, a value of theirs would have to exist.
fn aside_value(table: &Table, unique: &Unique, no: usize) -> Option<(usize, Value)> {
    let columns =
        || unique.columns.iter().filter_map(|column| table.position(*column)).filter(|at| !table.key.contains(&table.columns[*at].no));
    let referring = |at: usize| table.references.iter().any(|reference| reference.columns.contains(&table.columns[at].no));
    if let Some(at) = columns().find(|at| !table.columns[*at].not_null && !referring(*at)) {
        return Some((at, Value::Null));
    }
    let fresh = |at: usize| {
        let column = &table.columns[at];
        free_value(&column.ty, column.max_length, no).map(|value| (at, value))
    };
    columns().filter(|at| !referring(*at)).find_map(fresh)
}

fn free_value(ty: &ColumnType, max_length: Option<u32>, no: usize) -> Option<Value> {
    let number = i64::try_from(no).unwrap_or_default();
    match ty {
        ColumnType::Int2 => Some(Value::Int(i64::from(i16::MAX) - number)),
        ColumnType::Int4 => Some(Value::Int(i64::from(i32::MAX) - number)),
        ColumnType::Int8 => Some(Value::Int(i64::MAX - number)),
        ColumnType::Uuid => Some(Value::Uuid(uuid::Uuid::new_v4())),
        ColumnType::Text => {
            let mut text = uuid::Uuid::new_v4().simple().to_string();
            text.truncate(max_length.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)));
            Some(Value::Text(text))
        }
        _ => None,
    }
}

/// A key that nobody has; columns of a reference are left alone.
fn aside_key(table: &Table, key: &Key) -> Option<Key> {
    let mut aside = key.clone();
    let free = |column: &Column| {
        let referring = table.references.iter().any(|reference| reference.columns.contains(&column.no));
        if referring { None } else { free_value(&column.ty, column.max_length, 0) }
    };
    let (at, value) = table.key_columns().enumerate().find_map(|(at, column)| free(column).map(|value| (at, value)))?;
    aside.0[at] = value;
    Some(aside)
}
