//! Dirty rows brought into the one form that a push can say, before it is cut.
//!
//! A row may be given the key of a row that was deleted here: `DELETE k2; UPDATE t SET id = 'k2' WHERE id = 'k1'`. As they were captured,
//! the base images say "k2 is deleted, k1 is now k2", and at the cloud whichever came second would meet the other. What the database
//! holds is just as well "k2 was changed, k1 is deleted", so the two base rows trade places.

use rusqlite::{Connection, params};
use sync_core::catalog::Table;

use crate::store::error::Result;
use crate::store::noted;
use crate::store::rows::{base_table, live_table, quoted};

/// Lets the live row of a key have the base image of that key; how many base rows traded places. No row may be in an unanswered push.
///
/// # Errors
/// The database.
pub fn trade_keys(connection: &Connection, table: &Table) -> Result<usize> {
    let (live, base) = (live_table(table), base_table(table));
    let same: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).map(|name| format!("l.{name} = d.{name}")).collect();
    // Deleted rows (d) whose key a live row (l) has that is dirty under another key (o).
    let find = format!(
        "SELECT d.rejoin_row, l.rejoin_row FROM {base} d JOIN {live} l ON {} JOIN {base} o ON o.rejoin_row = l.rejoin_row \
         WHERE d.rejoin_kind = 'change' AND d.rejoin_gone_version IS NOT NULL AND d.rejoin_row <> l.rejoin_row \
         AND NOT EXISTS (SELECT 1 FROM {live} t WHERE t.rejoin_row = d.rejoin_row) LIMIT 1",
        same.join(" AND ")
    );
    let mut traded = 0;
    // Each trade puts one image where it belongs for good, so this ends.
    while let Some((dead, row)) = first(connection, &find)? {
        let aside = i64::MAX;
        for (from, to) in [(dead, aside), (row, dead), (aside, row)] {
            connection.prepare_cached(&format!("UPDATE {base} SET rejoin_row = ?2 WHERE rejoin_row = ?1"))?.execute(params![from, to])?;
        }
        let sql = format!(
            "UPDATE {base} SET rejoin_gone_version = max(coalesce(rejoin_gone_version, 0), coalesce(rejoin_version, 0) + 1), \
             (rejoin_gone_at, rejoin_gone_by) = (SELECT b.rejoin_gone_at, b.rejoin_gone_by FROM {base} b WHERE b.rejoin_row = ?2) \
             WHERE rejoin_row = ?1"
        );
        connection.prepare_cached(&sql)?.execute(params![dead, row])?;
        if noted::is_noted(table) {
            // They were of the other image; what was added is seen by the difference.
            noted::forget(connection, table, dead)?;
            noted::forget(connection, table, row)?;
        }
        traded += 1;
    }
    Ok(traded)
}

fn first(connection: &Connection, sql: &str) -> Result<Option<(i64, i64)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    Ok(match rows.next()? {
        Some(row) => Some((row.get(0)?, row.get(1)?)),
        None => None,
    })
}
