//! Rows that do not come along into the new catalog, kept out of sight until they are sent: of a table that is gone, or that begins anew, and
//! those that have no value of their own in a new key.

use sync_core::catalog::Table;
use sync_core::id::{ColumnNo, TableNo};

use super::Motion;
use super::cells::Cell;
use super::names::Before;
use crate::store::error::{Result, StoreError};
use crate::store::hidden::{free, hide_table};
use crate::store::rows::live_table;
use crate::store::{answers, identity, schema};

/// Which rows of a table are copied.
pub(super) enum Which {
    All,
    /// Those with unsent changes.
    Dirty,
    /// Rows that were made here and that the cloud does not have: their numbers, with commas.
    Inserts(String),
}

impl Which {
    /// After FROM, with the live rows as `l`.
    pub(super) fn live(&self, before: &Before) -> String {
        match self {
            Self::All => String::new(),
            Self::Dirty => format!(" WHERE l.rejoin_row IN (SELECT rejoin_row FROM {})", before.base),
            Self::Inserts(rows) => format!(" WHERE l.rejoin_row IN ({rows})"),
        }
    }

    /// A further condition on base images, which are `b`.
    pub(super) fn base(&self) -> String {
        match self {
            Self::All | Self::Dirty => String::new(),
            Self::Inserts(rows) => format!(" AND b.rejoin_row IN ({rows})"),
        }
    }

    /// After FROM, of the cloud's images: what was made here has none beside it.
    pub(super) fn theirs(&self) -> &'static str {
        match self {
            Self::All | Self::Dirty => "",
            Self::Inserts(_) => " WHERE 0",
        }
    }
}

/// Rows that are kept aside.
struct Kept {
    /// The number of their table.
    no: TableNo,
    /// The statement that gives it its name, which the table of before may still have.
    naming: String,
}

/// A table as it is called until it has its name.
pub(super) fn rebuilt(table: Table) -> Table {
    Table { schema: "public".to_owned(), name: format!("rejoin_rebuilt_{}", table.no), engine: false, ..table }
}

impl Motion<'_> {
    /// The rows come by the feed, from the beginning where nothing says that the cloud feeds them anyway.
    pub(super) fn begin_anew(&mut self, old: &Table, new: &Table) -> Result<()> {
        let before = Before::interim(old.no);
        let made = rebuilt(new.clone());
        self.run(&schema::live(self.after, &made, self.site))?;
        let clean = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE rejoin_scope IS NOT NULL)", before.live);
        let clean: bool = self.connection.query_row(&clean, [], |row| row.get(0))?;
        if clean && new.generation <= old.generation {
            self.connection.execute("DELETE FROM rejoin_cursors WHERE dropping = 0", [])?;
            identity::set_fact(self.connection, answers::ECHO, "1")?;
        }
        self.keep_sequence(&before.live, &live_table(&made))?;
        self.hide(&before, old)?;
        if !new.engine {
            schema::tables(self.after, new, self.site).iter().skip(1).try_for_each(|sql| self.run(sql))?;
        }
        self.run(&format!("ALTER TABLE {} RENAME TO {}", live_table(&made), before.live))
    }

    /// Keeps unsent inserts that cannot come along as rows of a table of their own, which the cloud knows no more; all others stay.
    pub(super) fn set_aside(&mut self, old: &Table, rows: &[i64]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let before = Before::interim(old.no);
        let rows = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let kept = self.keep(&before, old, &Which::Inserts(rows.clone()))?;
        self.run(&kept.naming)?;
        for holder in [&before.live, &before.base] {
            self.run(&format!("DELETE FROM {holder} WHERE rejoin_row IN ({rows})"))?;
        }
        for notes in ["rejoin_additions", "rejoin_times"] {
            self.run(&format!("DELETE FROM {notes} WHERE table_no = {} AND rejoin_row IN ({rows})", old.no))?;
        }
        tracing::info!(table = old.name, rows, "rows that were made here have no value of their own in the new key");
        Ok(())
    }

    /// Copies rows of a table, with their companions, into one of their own that is hidden.
    fn keep(&mut self, before: &Before, old: &Table, which: &Which) -> Result<Kept> {
        let no = self.free_number(old.no);
        let hidden = hide_table(old, no);
        let cells: Vec<Cell> = hidden.columns.iter().map(Cell::as_it_is).collect();
        self.copy_companions(before, old, &hidden, &cells, which)?;
        let made = self.copied(before, old, &hidden, &cells, which)?;
        match self.stored.get(&(old.no, ColumnNo(0))).cloned() {
            Some(body) => self.store_text(no, ColumnNo(0), &body)?,
            None => self.store(no, ColumnNo(0), old)?,
        }
        Ok(Kept { no, naming: format!("ALTER TABLE {made} RENAME TO {}", live_table(&hidden)) })
    }

    /// The number under which rows of a table are hidden.
    fn free_number(&self, old: TableNo) -> TableNo {
        let other = |no: u32| TableNo(no) != old && self.stored.contains_key(&(TableNo(no), ColumnNo(0)));
        TableNo(free(old.0, &|no| self.after.table(TableNo(no)).is_some() || other(no)))
    }

    /// Keeps the dirty rows of a table that is gone, or whose rows can no longer be told apart by their key; all its tables go.
    pub(super) fn hide(&mut self, before: &Before, old: &Table) -> Result<()> {
        if old.engine {
            return self.run(&format!("DROP TABLE {}", before.live));
        }
        let dirty = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE rejoin_row > 0)", before.base);
        let dirty: bool = self.connection.query_row(&dirty, [], |row| row.get(0))?;
        self.connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1", [old.no.0])?;
        self.connection.execute("DELETE FROM rejoin_unsettled WHERE table_no = ?1", [old.no.0])?;
        for notes in ["rejoin_additions", "rejoin_times"] {
            self.connection.execute(&format!("DELETE FROM {notes} WHERE table_no = ?1"), [old.no.0])?;
        }
        if dirty {
            let kept = self.keep(before, old, &Which::Dirty)?;
            self.run(&format!("DROP TABLE {}; {}", before.live, kept.naming))?;
            self.connection.execute("UPDATE OR REPLACE rejoin_unknown SET table_no = ?2 WHERE table_no = ?1", (old.no.0, kept.no.0))?;
            tracing::info!(table = old.name, "edits that are not sent yet are of a table that is gone, or has another key");
        } else {
            self.connection.execute("DELETE FROM rejoin_unknown WHERE table_no = ?1", [old.no.0])?;
            self.run(&format!("DROP TABLE {}", before.live))?;
        }
        self.drop_companions(before)
    }

    pub(super) fn store(&mut self, table: TableNo, column: ColumnNo, body: &impl serde::Serialize) -> Result<()> {
        let body = serde_json::to_string(body).map_err(|error| StoreError::Stored(error.to_string()))?;
        self.store_text(table, column, &body)
    }

    fn store_text(&mut self, table: TableNo, column: ColumnNo, body: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO rejoin_hidden (table_no, column_no, body) VALUES (?1, ?2, ?3)";
        self.connection.execute(sql, (table.0, column.0, body))?;
        self.stored.insert((table, column), body.to_owned());
        Ok(())
    }
}
