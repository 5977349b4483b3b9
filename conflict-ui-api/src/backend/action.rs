//! Several writes as one: what is read for them, and what is decided.

use sync_core::id::{Key, TableNo};

use super::{ListQuery, Record, Result, Write};

/// Load, decide, write, in one transaction. A server may ask it again, with what it reads then, where somebody else was faster: it is pure.
pub trait Action: Send + Sync + 'static {
    /// The tables that are read or written.
    fn tables(&self) -> Vec<TableNo>;

    /// Records that nobody else changes until all is written, in an order that every such action keeps.
    fn locks(&self) -> Vec<(TableNo, Key)> {
        Vec::new()
    }

    /// What else is read once they are locked. `locked`: in the order of [`Action::locks`], `None` where there is no such record; soft-deleted ones too.
    fn lists(&self, locked: &[Option<Record>]) -> Vec<ListQuery> {
        let _ = locked;
        Vec::new()
    }

    /// What is written, in this order, all or none.
    ///
    /// # Errors
    /// What was read forbids it: then nothing is written.
    fn decide(&self, locked: &[Option<Record>], listed: &[Vec<Record>]) -> Result<Vec<(TableNo, Write)>>;
}
