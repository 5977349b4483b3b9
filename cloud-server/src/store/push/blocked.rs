//! Which rows of a refused part are the guilty ones, asked in one query where the constraint is known; halving finds the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::catalog::{Reference, Table, Unique};
use sync_core::id::{Key, TableNo};
use sync_core::value::Value;

use super::apply::Applying;
use super::plan::new_tuple;
use super::refusal::Refusal;
use super::set::Fate;
use super::units::given_up;
use crate::store::error::StoreError;
use crate::store::row::{column_sql, read_value};
use crate::store::scope;
use crate::store::tx::WriteTx;

/// Guilty rows, each with the key of the row that stands in its way where there is one.
type Guilty = Vec<(usize, Option<Key>)>;

impl Applying<'_, '_> {
    /// The rows of a part that the refusing constraint would refuse in any case. Empty where that cannot be asked.
    pub(super) async fn blocked(&self, tx: &WriteTx<'_>, indexes: &[usize], refusal: &Option<Refusal>) -> Result<Guilty, StoreError> {
        let Some(refusal) = refusal else { return Ok(Vec::new()) };
        let Some(table) = refusal.table_of(self.set.catalog) else { return Ok(Vec::new()) };
        let named = |name: &str| refusal.constraint.as_deref() == Some(name);
        if let Some((no, unique)) = table.uniques.iter().enumerate().find(|(_, unique)| named(&unique.name)) {
            return self.without_unique(tx, indexes, table, no, unique).await;
        }
        match table.references.iter().find(|reference| named(&reference.name)) {
            Some(reference) => self.without_parent(tx, indexes, table, reference).await,
            None => Ok(Vec::new()),
        }
    }

    /// Rows that want values which another row has and keeps, or which an earlier row of the part wants too.
    async fn without_unique(
        &self,
        tx: &WriteTx<'_>,
        indexes: &[usize],
        table: &Table,
        no: usize,
        unique: &Unique,
    ) -> Result<Guilty, StoreError> {
        let given_up = given_up(self.set);
        let mut wanted: BTreeMap<Vec<Value>, Vec<usize>> = BTreeMap::new();
        for &index in indexes {
            let item = &self.set.items[index];
            if let Some(tuple) = (item.table.no == table.no).then(|| new_tuple(item, &unique.columns)).flatten() {
                wanted.entry(tuple).or_default().push(index);
            }
        }
        let freed = |tuple: &[Value], holder: &Key| {
            let giver = given_up.get(&(table.no, no, tuple.to_vec())).copied();
            giver.is_some_and(|giver| {
                let deleted = matches!(self.set.items[giver].fate, Fate::Delete) && !self.kept.contains(&giver);
                self.set.at_cloud_key(table.no, holder) == Some(giver) && (deleted || indexes.contains(&giver))
            })
        };
        let tuples: Vec<&[Value]> = wanted.keys().map(Vec::as_slice).collect();
        let mut guilty = Vec::new();
        let mut taken = BTreeSet::new();
        for (at, holder) in self.holders(tx, table, unique, &tuples).await? {
            if !freed(tuples[at], &holder) {
                taken.insert(at);
                let others = wanted[tuples[at]].iter().filter(|index| self.set.items[**index].cloud_key() != &holder);
                guilty.extend(others.map(|index| (*index, Some(holder.clone()))));
            }
        }
        for (_, (_, indexes)) in wanted.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            let first = &self.set.items[indexes[0]].change.key;
            guilty.extend(indexes[1..].iter().map(|index| (*index, Some(first.clone()))));
        }
        Ok(guilty)
    }

    /// The keys of the rows that have these unique values.
    async fn holders(
        &self,
        tx: &WriteTx<'_>,
        table: &Table,
        unique: &Unique,
        tuples: &[&[Value]],
    ) -> Result<Vec<(usize, Key)>, StoreError> {
        let positions: Vec<usize> = unique.columns.iter().filter_map(|no| table.position(*no)).collect();
        let select = table.key_columns().map(|column| column_sql(column, "t")).collect::<Vec<_>>().join(", ");
        let found = scope::find(&**tx, table, &positions, tuples, &select).await?;
        let keyed = found.into_iter().map(|(at, row)| {
            let values: Result<Vec<_>, _> =
                table.key_columns().enumerate().map(|(no, column)| read_value(table, column, &row, no + 1)).collect();
            values.map(|values| (at, Key(values)))
        });
        keyed.collect()
    }

    /// Rows that refer to what is neither there nor in the part.
    async fn without_parent(
        &self,
        tx: &WriteTx<'_>,
        indexes: &[usize],
        table: &Table,
        reference: &Reference,
    ) -> Result<Guilty, StoreError> {
        let Some(target) = self.set.catalog.table(reference.table) else { return Ok(Vec::new()) };
        let positions: Vec<usize> = reference.target.iter().filter_map(|no| target.position(*no)).collect();
        let mut wanted: HashMap<Vec<Value>, Vec<usize>> = HashMap::new();
        for &index in indexes {
            let item = &self.set.items[index];
            let Some(values) = (item.table.no == table.no).then(|| item.refers_to(reference)).flatten() else { continue };
            let comes = self.set.find(reference, &values).is_some_and(|parent| indexes.contains(&parent));
            if !comes {
                wanted.entry(values).or_default().push(index);
            }
        }
        let values: Vec<&[Value]> = wanted.keys().map(Vec::as_slice).collect();
        let scopes = scope::of_rows(&**tx, target, &positions, &values).await?;
        let missing = values.iter().zip(scopes).filter(|(_, scope)| scope.is_none());
        Ok(missing.flat_map(|(values, _)| wanted[*values].iter().map(|index| (*index, None))).collect())
    }

    /// The tables of the set that have rows to delete.
    pub(super) fn tables_to_delete(&self) -> Vec<TableNo> {
        let mut tables: Vec<(usize, TableNo)> =
            self.set.items.iter().filter(|item| matches!(item.fate, Fate::Delete)).map(|item| (item.level, item.table.no)).collect();
        // Children first.
        tables.sort_by(|left, right| right.cmp(left));
        tables.dedup();
        tables.into_iter().map(|(_, no)| no).collect()
    }
}
