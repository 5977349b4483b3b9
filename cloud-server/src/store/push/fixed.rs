//! Edits of numbers that PostgreSQL alone gives.

use sync_core::change::Op;
use sync_core::conflict::ConflictKind;

use super::set::{Fate, Item, Park, Set};
use crate::store::conflicts::FIXED;

impl Set<'_> {
    /// Parks edits of what nobody may change (GENERATED ALWAYS AS IDENTITY).
    pub(super) fn refuse_fixed(&mut self) {
        for item in self.items.iter_mut().filter(|item| matches!(item.fate, Fate::Open)) {
            if let Some(column) = changed(item) {
                item.fate = Fate::Parked(Park::new(ConflictKind::Rejected, item.edited(), format!("{column} {FIXED}")));
            }
        }
    }
}

/// The name of a column that the row has otherwise for good.
fn changed<'i>(item: &'i Item<'_>) -> Option<&'i str> {
    let current = item.current.as_ref()?;
    let (edits, key): (_, &[_]) = match &item.change.op {
        Op::Update(edits) => (edits, &[]),
        Op::Rekey(_, edits) => (edits, &item.change.key.0),
        _ => return None,
    };
    let edited = edits.iter().filter(|edit| edit.base != edit.new).map(|edit| (edit.column, &edit.new));
    edited.chain(item.table.key.iter().copied().zip(key)).find_map(|(column, new)| {
        let at = item.table.position(column)?;
        let column = &item.table.columns[at];
        (column.fixed && current.row[at] != *new).then_some(column.name.as_str())
    })
}
