//! Where the tables stand while they are migrated: out of the way of the names that others get, which may have been theirs.

use sync_core::catalog::Table;
use sync_core::id::TableNo;

use crate::store::rows::{base_table, live_table, theirs_table};

/// The tables of a synced table as it was.
pub(super) struct Before {
    pub(super) live: String,
    pub(super) base: String,
    pub(super) theirs: String,
}

impl Before {
    /// Where they stand in the file.
    pub(super) fn in_place(table: &Table) -> Self {
        Self { live: live_table(table), base: base_table(table), theirs: theirs_table(table) }
    }

    /// Where they stand while their names are free for others.
    pub(super) fn interim(no: TableNo) -> Self {
        let at = |what: &str| format!("\"rejoin_interim_{what}{no}\"");
        Self { live: at(""), base: at("base_"), theirs: at("theirs_") }
    }

    /// The live rows with their base images, for FROM.
    pub(super) fn live_rows(&self, table: &Table) -> String {
        match table.engine {
            true => format!("{} l", self.live),
            false => format!("{} l LEFT JOIN {} b ON b.rejoin_row = l.rejoin_row", self.live, self.base),
        }
    }
}
