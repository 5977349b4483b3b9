//! The triggers of keys with leased numbers: an insert without one takes the next, and a number that is not this site's to give is refused.
//!
//! SQLite has no default that reads a table, so the number is set after the insert: RETURNING shows NULL, and `last_insert_rowid()` is the
//! row's `rejoin_row`, by which the number is read.

use sync_core::catalog::Column;

use super::Text;
use crate::store::leases::{carve, exhausted, next_block, numbers_of, within};
use crate::store::rows::quoted;
use crate::store::schema::literal_text;

impl Text<'_> {
    /// By what they do; none where no key column is leased.
    pub(super) fn leased(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for column in self.table.leased_columns() {
            let no = column.no;
            all.push((format!("unleased_insert_{no}"), self.refuse_insert(column)));
            all.push((format!("unleased_rekey_{no}"), self.refuse_rekey(column)));
            all.push((format!("leased_insert_{no}"), self.use_up(column, "AFTER INSERT", "")));
            let changed = format!("OLD.{0} IS NOT NULL AND NEW.{0} IS NOT OLD.{0} AND ", quoted(&column.name));
            all.push((format!("leased_rekey_{no}"), self.use_up(column, &format!("AFTER UPDATE OF {}", quoted(&column.name)), &changed)));
        }
        if !all.is_empty() {
            all.push(("lease".to_owned(), self.take()));
        }
        all
    }

    /// After an insert without a number: takes the next one, and marks the insert under its key.
    fn take(&self) -> String {
        let (live, base) = (&self.live, &self.base);
        let columns: Vec<&Column> = self.table.leased_columns().collect();
        let missing = |column: &Column| format!("NEW.{} IS NULL", quoted(&column.name));
        let next = |column: &Column| format!("(SELECT next FROM rejoin_leases WHERE no = {})", next_block(self.table, column));
        let mut body = Vec::new();
        for column in &columns {
            let numbers = numbers_of(self.table, column);
            body.push(format!(
                "SELECT RAISE(ABORT, {}) WHERE {} AND NOT EXISTS (SELECT 1 FROM rejoin_leases WHERE {numbers})",
                literal_text(&format!("rejoin: {}", exhausted(self.table, column))),
                missing(column),
            ));
        }
        let key: Vec<_> = self
            .table
            .key_columns()
            .map(|column| {
                let name = quoted(&column.name);
                let leased = columns.iter().any(|leased| leased.no == column.no);
                let value = if leased { format!("coalesce(NEW.{name}, {})", next(column)) } else { format!("NEW.{name}") };
                (name, value)
            })
            .collect();
        let taken: Vec<_> = key.iter().map(|(name, value)| format!("t.{name} = {value}")).collect();
        body.push(format!(
            "SELECT RAISE(ABORT, {}) WHERE EXISTS (SELECT 1 FROM {live} t WHERE {})",
            self.message("has a row with the next leased number already: sync this site, and insert again"),
            taken.join(" AND ")
        ));
        let sets: Vec<_> = key
            .iter()
            .filter(|(name, _)| columns.iter().any(|column| quoted(&column.name) == *name))
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        body.push(format!("UPDATE {live} SET {} WHERE rejoin_row = NEW.rejoin_row", sets.join(", ")));
        for column in &columns {
            let missing = missing(column);
            body.push(format!("UPDATE rejoin_leases SET next = next + step WHERE {missing} AND no = {}", next_block(self.table, column)));
            body.push(format!("DELETE FROM rejoin_leases WHERE {} AND (next - last) * sign(step) > 0", numbers_of(self.table, column)));
        }
        body.push(format!(
            "INSERT INTO {base} (rejoin_row, rejoin_kind, {0}) SELECT rejoin_row, 'insert', {0} FROM {live} WHERE rejoin_row = NEW.rejoin_row",
            self.key_names("")
        ));
        let when: Vec<_> = columns.iter().map(|column| missing(column)).collect();
        self.begin("AFTER INSERT", &when.join(" OR "), &body)
    }

    /// A number that came with the statement is this replica's own to give, or that of a row that the site knows.
    fn refuse_insert(&self, column: &Column) -> String {
        let name = quoted(&column.name);
        let when = format!("NEW.{name} IS NOT NULL AND {}", self.strange(column));
        self.begin("BEFORE INSERT", &when, &[self.refuse(column)])
    }

    fn refuse_rekey(&self, column: &Column) -> String {
        let name = quoted(&column.name);
        let when =
            format!("OLD.{name} IS NOT NULL AND NEW.{name} IS NOT OLD.{name} AND (NEW.{name} IS NULL OR ({}))", self.strange(column));
        self.begin(&format!("BEFORE UPDATE OF {name}"), &when, &[self.refuse(column)])
    }

    fn refuse(&self, column: &Column) -> String {
        let words = format!(
            "takes only numbers of {0} that the cloud has leased to this site, or that a row here has or had: leave {0} out. Rows with numbers \
             of their own are inserted at the cloud",
            column.name
        );
        format!("SELECT RAISE(ABORT, {})", self.message(&words))
    }

    /// NEW's number is not leased, and no row here has or had NEW's key.
    fn strange(&self, column: &Column) -> String {
        let key = self.same(&self.table.key, "t.", "NEW.");
        let number = format!("NEW.{}", quoted(&column.name));
        format!(
            "NOT EXISTS (SELECT 1 FROM rejoin_leases WHERE {}) AND NOT EXISTS (SELECT 1 FROM {} t WHERE {key}) \
             AND NOT EXISTS (SELECT 1 FROM {} t WHERE {key})",
            within(self.table, column, &number),
            self.live,
            self.base
        )
    }

    /// A leased number that came with the statement is used, and never given again.
    fn use_up(&self, column: &Column, event: &str, when: &str) -> String {
        let number = format!("NEW.{}", quoted(&column.name));
        let when = format!("{when}EXISTS (SELECT 1 FROM rejoin_leases WHERE {})", within(self.table, column, &number));
        self.begin(event, &when, &carve(self.table, column, &number))
    }
}
