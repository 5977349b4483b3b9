//! A unique key that is new, while rows here have the same values still: one of them keeps the values, the others are held, as the sync
//! writer does it.

use rusqlite::Connection;
use sync_core::catalog::{Table, Unique};
use sync_core::id::ColumnNo;

use super::convert::differs;
use super::settle;
use crate::store::error::Result;
use crate::store::rows::{base_table, live_table, quoted};

/// Holds all but one of the rows with the same values: clean ones before dirty ones, older ones before newer ones stay.
pub(super) fn hold(connection: &Connection, old: &Table, new: &Table) -> Result<()> {
    for unique in new.uniques.iter().filter(|unique| !held_before(old, new, unique)) {
        let columns: Vec<_> =
            unique.columns.iter().filter_map(|no| new.column(*no)).map(|column| format!("l.{}", quoted(&column.name))).collect();
        let present: Vec<_> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
        let (live, base) = (live_table(new), base_table(new));
        let (join, dirty) = match new.engine {
            true => (String::new(), "0".to_owned()),
            false => (format!(" LEFT JOIN {base} b ON b.rejoin_row = l.rejoin_row"), "b.rejoin_row IS NOT NULL".to_owned()),
        };
        let held = connection.execute(
            &format!(
                "UPDATE {live} SET rejoin_held = 1 WHERE rejoin_row IN (SELECT rejoin_row FROM (
                     SELECT l.rejoin_row, row_number() OVER (PARTITION BY {} ORDER BY {dirty}, l.rejoin_row) AS place
                     FROM {live} l{join} WHERE l.rejoin_held = 0 AND {}) WHERE place > 1)",
                columns.join(", "),
                present.join(" AND ")
            ),
            [],
        )?;
        if held > 0 {
            tracing::warn!(
                table = new.name,
                unique = unique.name,
                held,
                "rows here have the same values in a new unique key; they are held"
            );
            settle::wait(connection, new.no, ColumnNo(0))?;
        }
    }
    Ok(())
}

/// Whether the values were unique before.
fn held_before(old: &Table, new: &Table, unique: &Unique) -> bool {
    let same = |no: &ColumnNo| match (old.column(*no), new.column(*no)) {
        (Some(was), Some(now)) => !differs(was, now),
        _ => false,
    };
    old.uniques.iter().any(|known| known.columns == unique.columns) && unique.columns.iter().all(same)
}
