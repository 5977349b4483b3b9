//! Rows that have no value of a new key, or the same as another row.

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Table};

use super::convert::{Converters, differs};
use super::names::Before;
use crate::store::error::Result;
use crate::store::hidden::is_hidden;
use crate::store::rows::{live_table, quoted};

/// The unsent inserts that cannot come along, since the new key tells them from no other row; all other rows can. `None` where others cannot
/// either: then none of them is found again under the new key.
pub(super) fn find(
    connection: &Connection,
    converters: &Converters<'_>,
    before: &Catalog,
    old: &Table,
    new: &Table,
) -> Result<Option<Vec<i64>>> {
    let mut values = Vec::new();
    let mut same = old.key == new.key;
    for no in &new.key {
        let (Some(was), Some(now)) = (old.column(*no).filter(|column| !is_hidden(column)), new.column(*no)) else { return Ok(None) };
        let name = format!("l.{}", quoted(&was.name));
        values.push(if differs(was, now) {
            same = false;
            format!("{}({name})", converters.function(was, now)?)
        } else {
            name
        });
    }
    if same {
        return Ok(Some(Vec::new()));
    }
    let place = Before::in_place(old);
    let made = if old.engine { "0" } else { "b.rejoin_kind IS 'insert'" };
    let nulls: Vec<_> = values.iter().map(|value| format!("{value} IS NULL")).collect();
    // Of rows with the same value the one stays that was not made here, or was first.
    let sql = format!(
        "SELECT rejoin_row, made, missing FROM (
             SELECT l.rejoin_row, {made} AS made, {missing} AS missing, row_number() OVER (PARTITION BY {} ORDER BY {made}, l.rejoin_row) AS place
             FROM {}) WHERE missing OR place > 1",
        values.join(", "),
        place.live_rows(old),
        missing = nulls.join(" OR ")
    );
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut strays = Vec::new();
    while let Some(row) = found.next()? {
        let (stray, made, missing): (i64, bool, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        // What refers to a second row of a key would then refer to the first.
        if !made || !missing && is_referred_to(connection, before, old, stray)? {
            return Ok(None);
        }
        strays.push(stray);
    }
    Ok(Some(strays))
}

fn is_referred_to(connection: &Connection, catalog: &Catalog, table: &Table, rejoin_row: i64) -> Result<bool> {
    for (child, reference) in catalog.referrers(table.no) {
        let pairs = reference.columns.iter().zip(&reference.target);
        let pairs = pairs.filter_map(|(own, target)| Some((child.column(*own)?, table.column(*target)?)));
        // A declared reference may hold a key as text.
        let same: Vec<_> = pairs
            .map(|(own, target)| format!("CAST(c.{} AS TEXT) = CAST(l.{} AS TEXT)", quoted(&own.name), quoted(&target.name)))
            .collect();
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} c JOIN {} l ON {} WHERE l.rejoin_row = ?1)",
            live_table(child),
            live_table(table),
            same.join(" AND ")
        );
        if connection.query_row(&sql, [rejoin_row], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}
