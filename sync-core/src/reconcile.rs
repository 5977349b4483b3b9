//! The cloud's half of the merge: `(current, incoming) -> decision`, by value, three ways, column by column.

use crate::catalog::Table;
use crate::change::{Row, RowChange};
use crate::conflict::ConflictKind;
use crate::id::ColumnNo;

/// What the cloud has under the key that a change names, read under the locks.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// The live row.
    pub row: Option<&'a Row>,
    /// Whether there is a tombstone of this key.
    pub tombstone: bool,
}

/// What to do with one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write this whole row: an insert where there was none, else an update.
    Write(Row),
    /// Delete the row.
    Delete,
    /// The cloud has this content already.
    NoOp,
    /// Keep the change in a conflict. `write` is the row with the columns that did not clash, if that differs from the current one.
    Park {
        /// The kind.
        kind: ConflictKind,
        /// The columns that clashed; empty where the row as a whole did.
        clashed: Vec<ColumnNo>,
        /// What may be written all the same.
        write: Option<Row>,
        /// In words for the person who decides.
        reason: String,
    },
}

/// Decides one change of a push. Pure; constraints are the database's to judge afterwards.
///
/// `reoffer`: the row was dirty when its replica's epoch began, so that an insert onto a tombstone parks (it may have been taken and deleted since).
#[must_use]
pub fn reconcile(table: &Table, current: Current<'_>, change: &RowChange, reoffer: bool) -> Decision {
    let _ = (table, current, change, reoffer);
    unimplemented!()
}
