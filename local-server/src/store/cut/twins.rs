//! The tables that stand here twice, as they are and hidden as they were: to the cloud they are one.

use std::collections::{HashMap, HashSet};

use sync_core::catalog::Catalog;
use sync_core::change::{Op, RowChange};
use sync_core::id::{Key, TableNo};

use crate::store::hidden;

/// Which of their rows are in the push: record ids, by the table's number at the cloud.
pub(super) struct Twins(HashMap<TableNo, HashSet<String>>);

impl Twins {
    /// Those of the catalog; none of their rows is in the push yet.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let hidden = catalog.tables.iter().map(|table| (table.no, hidden::wire_table(table.no)));
        Self(hidden.filter(|(no, there)| no != there).map(|(_, there)| (there, HashSet::new())).collect())
    }

    /// The change is in the push.
    pub(super) fn take(&mut self, change: &RowChange) {
        if let Some(taken) = self.0.get_mut(&hidden::wire_table(change.table)) {
            taken.extend(keys(change).map(Key::to_string));
        }
    }

    /// Whether a change of a row of the same key is in the push.
    pub(super) fn holds(&self, change: &RowChange) -> bool {
        let taken = self.0.get(&hidden::wire_table(change.table));
        taken.is_some_and(|taken| keys(change).any(|key| taken.contains(&key.to_string())))
    }
}

/// The keys that a change names.
fn keys(change: &RowChange) -> impl Iterator<Item = &Key> {
    let old = if let Op::Rekey(old, _) = &change.op { Some(old) } else { None };
    old.into_iter().chain([&change.key])
}
