//! In which order rows are written, and which of them only together.

use std::collections::{BTreeMap, HashMap};

use sync_core::id::TableNo;
use sync_core::value::Value;

use super::plan::{new_tuple, old_tuple};
use super::set::Set;

/// Rows that are tried together: mostly one; several where they swap unique values or refer to each other in a circle.
pub(super) type Unit = Vec<usize>;

/// The rows to write, parents first; a row that refers to its own table after the row that it refers to.
pub(super) fn units(set: &Set<'_>) -> Vec<Unit> {
    let order = order(set);
    let place: HashMap<usize, usize> = order.iter().enumerate().map(|(place, index)| (*index, place)).collect();
    let mut groups = Groups { parent: (0..order.len()).collect() };
    let pairs = forward_references(set, &place).into_iter().chain(wanted_tuples(set, &place)).chain(wanted_keys(set, &place));
    for (later, earlier) in pairs {
        groups.join(place[&later], place[&earlier]);
    }
    let mut units: BTreeMap<usize, Unit> = BTreeMap::new();
    for (place, index) in order.iter().enumerate() {
        units.entry(groups.root(place)).or_default().push(*index);
    }
    units.into_values().collect()
}

/// Every row to write, in order.
fn order(set: &Set<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..set.items.len()).filter(|index| set.items[*index].write().is_some()).collect();
    order.sort_by(|left, right| {
        let rank = |index: usize| (set.items[index].level, depth(set, index), &set.items[index].change.key);
        rank(*left).cmp(&rank(*right))
    });
    order
}

/// How many pushed rows of its own table stand above a row.
fn depth(set: &Set<'_>, index: usize) -> usize {
    let mut at = index;
    for depth in 0..sync_core::limits::REFERENCE_DEPTH_MAX {
        let item = &set.items[at];
        let mut own = item.table.references.iter().filter(|reference| reference.table == item.table.no);
        let above = own.find_map(|reference| set.find(reference, &item.refers_to(reference)?)).filter(|above| *above != at);
        match above {
            Some(above) => at = above,
            None => return depth,
        }
    }
    0
}

/// Pairs of inserts of which the first refers to the second, which is written later: a circle. Where a reference is declared, of any row that
/// refers to an insert: PostgreSQL would take it, and it would be there already when the insert is refused.
fn forward_references(set: &Set<'_>, place: &HashMap<usize, usize>) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (&index, &own) in place {
        let item = &set.items[index];
        for reference in item.table.references.iter().filter(|reference| reference.declared || item.is_insert()) {
            let target = item.refers_to(reference).and_then(|values| set.find(reference, &values));
            if let Some(target) = target
                && set.items[target].is_insert()
                && place.get(&target).is_some_and(|place| *place > own)
            {
                pairs.push((index, target));
            }
        }
    }
    pairs
}

/// Pairs of rows of which the first wants a unique value that the second gives up.
fn wanted_tuples(set: &Set<'_>, place: &HashMap<usize, usize>) -> Vec<(usize, usize)> {
    let given_up = given_up(set);
    let mut pairs = Vec::new();
    for &index in place.keys() {
        let item = &set.items[index];
        for (no, unique) in item.table.uniques.iter().enumerate() {
            let Some(tuple) = new_tuple(item, &unique.columns) else { continue };
            if let Some(&holder) = given_up.get(&(item.table.no, no, tuple))
                && holder != index
                && place.contains_key(&holder)
            {
                pairs.push((index, holder));
            }
        }
    }
    pairs
}

/// Pairs of rekeys of which the first wants the key that the second gives up.
fn wanted_keys(set: &Set<'_>, place: &HashMap<usize, usize>) -> Vec<(usize, usize)> {
    let wanted = place.keys().filter_map(|&index| {
        let item = &set.items[index];
        let holder = set.at_cloud_key(item.table.no, &item.change.key).filter(|holder| *holder != index)?;
        place.contains_key(&holder).then_some((index, holder))
    });
    wanted.collect()
}

/// The unique values that rows of the set give up, by (table, unique key, values).
pub(super) fn given_up(set: &Set<'_>) -> HashMap<(TableNo, usize, Vec<Value>), usize> {
    let mut given_up = HashMap::new();
    for (index, item) in set.items.iter().enumerate() {
        let deleted = matches!(item.fate, super::set::Fate::Delete);
        if !deleted && item.write().is_none() {
            continue;
        }
        for (no, unique) in item.table.uniques.iter().enumerate() {
            let Some(tuple) = old_tuple(item, &unique.columns) else { continue };
            if deleted || new_tuple(item, &unique.columns).as_ref() != Some(&tuple) {
                given_up.insert((item.table.no, no, tuple), index);
            }
        }
    }
    given_up
}

/// Disjoint sets of places (Tarjan, 1975), with the lowest place as the root.
struct Groups {
    parent: Vec<usize>,
}

impl Groups {
    fn root(&mut self, place: usize) -> usize {
        let mut at = place;
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        let (low, high) = (left.min(right), left.max(right));
        self.parent[high] = low;
    }
}
