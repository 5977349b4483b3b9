//! When columns of the policy `newest` were edited: noted per statement, from its transition tables.

use sync_core::catalog::Column;
use sync_core::policy::Policy;
use sync_core::value::ColumnType;

use super::key_array;
use super::source::{HISTORY_SETTINGS, Source};
use crate::store::row::quote;

/// The rows of an UPDATE before and after it: its transition tables hold them in the same order. A FULL JOIN is never a nested loop, see
/// [`super::history`].
const ROW_PAIRS: &str = "(SELECT row_number() OVER () AS rejoin_place, b.* FROM rows_before b) o
             FULL JOIN (SELECT row_number() OVER () AS rejoin_place, a.* FROM rows_after a) n ON n.rejoin_place = o.rejoin_place";

impl Source<'_> {
    /// The columns whose edits are timed.
    pub(super) fn timed(&self) -> Vec<&Column> {
        self.table.columns.iter().filter(|column| column.policy == Policy::Newest).collect()
    }

    /// Whether a timed column was edited. What has no equality in PostgreSQL is compared as text.
    fn edited_column(column: &Column) -> String {
        let name = quote(&column.name);
        match column.ty {
            ColumnType::Json | ColumnType::JsonText | ColumnType::Interval | ColumnType::Array(_) | ColumnType::Other => {
                format!("o.{name}::text IS DISTINCT FROM n.{name}::text")
            }
            _ => format!("o.{name} IS DISTINCT FROM n.{name}"),
        }
    }

    /// Notes when columns of the policy `newest` were edited; none where the table has no such column. A push says better afterwards.
    pub(super) fn edited(&self) -> Option<String> {
        let timed = self.timed();
        if timed.is_empty() {
            return None;
        }
        let columns: Vec<String> = timed.iter().map(|column| format!("({}, {})", column.no, Self::edited_column(column))).collect();
        let rekeyed: Vec<String> =
            self.table.key_columns().map(|column| quote(&column.name)).map(|name| format!("o.{name} IS DISTINCT FROM n.{name}")).collect();
        let body = format!(
            r"DECLARE
    one record;
BEGIN
{later}    IF coalesce(current_setting('rejoin.moved', true), '') = 'on' THEN
        FOR one IN SELECT {old_key} AS old_key, {new_key} AS new_key FROM {pairs} WHERE {rekeyed} LOOP
            INSERT INTO rejoin.edit_times AS e (table_no, key, column_no, at)
                SELECT o.table_no, one.new_key, o.column_no, o.at FROM rejoin.edit_times o WHERE o.table_no = {no} AND o.key = one.old_key
                ON CONFLICT (table_no, key, column_no) DO UPDATE SET at = greatest(e.at, excluded.at);
            DELETE FROM rejoin.edit_times e WHERE e.table_no = {no} AND e.key = one.old_key;
        END LOOP;
    END IF;
    INSERT INTO rejoin.edit_times AS e (table_no, key, column_no, at)
        SELECT DISTINCT ON (2, 3) {no}, {new_key}, c.no, clock_timestamp()
        FROM {pairs} CROSS JOIN LATERAL (VALUES {columns}) c(no, edited) WHERE c.edited
        ON CONFLICT (table_no, key, column_no) DO UPDATE SET at = greatest(e.at, excluded.at);
    RETURN NULL;
END
",
            later = self.later(None),
            pairs = ROW_PAIRS,
            rekeyed = rekeyed.join(" OR "),
            no = self.table.no,
            new_key = key_array(self.table, "n"),
            old_key = key_array(self.table, "o"),
            columns = columns.join(", "),
        );
        Some(self.safe_function("edited", HISTORY_SETTINGS, &body))
    }

    /// Forgets the times of the rows of `from`: another row may come under their keys. Looked up one by one, as [`Self::arrived`] does.
    pub(super) fn forget_times(&self, from: &str) -> String {
        if self.timed().is_empty() {
            return String::new();
        }
        let no = self.table.no;
        format!(
            "    DELETE FROM rejoin.edit_times e WHERE e.ctid = ANY (ARRAY(SELECT x.ctid FROM {from} g CROSS JOIN LATERAL (
        SELECT e.ctid FROM rejoin.edit_times e WHERE e.table_no = {no} AND e.key = {} OFFSET 0) x));
",
            key_array(self.table, "g")
        )
    }
}
