//! Tables whose rows are kept at a site for a time only (`keep` in `rejoin.toml`): what the cloud has and nothing here needs goes.
//!
//! It goes without a trace: the cloud has it. It comes again when the cloud changes it.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use rusqlite::{Connection, params};
use sync_core::catalog::{Reference, Table};
use sync_core::limits::KEEP_PURGE_ROWS;
use sync_core::value::ColumnType;

use super::error::Result;
use super::plan::Plan;
use super::rows::{base_table, live_table, quoted, read_key, theirs_table};

/// Where a pass over the rows that are old stands.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// How many of the tables are done, children first.
    tables: usize,
    /// The last row looked at in the next one.
    after: (String, i64),
    /// How many rows went.
    pub removed: usize,
    /// Whether every table was looked through.
    pub done: bool,
}

/// Removes one batch of rows that are older than their table keeps them: clean ones that nothing here refers to, children before parents.
///
/// # Errors
/// The database.
pub fn purge(connection: &Connection, plan: &Plan, now: DateTime<Utc>, mut pass: Pass) -> Result<Pass> {
    let mut room = KEEP_PURGE_ROWS;
    for (table, _) in plan.parents_first().rev().skip(pass.tables) {
        if let Some(hours) = table.keep_hours {
            // Without the Z, which a timestamp has and a timestamp without zone has not.
            let before = now - Duration::hours(hours.into());
            let before = before.to_rfc3339_opts(SecondsFormat::Micros, true);
            let found = old(connection, plan, table, before.trim_end_matches('Z'), &pass.after, room)?;
            let waiting = later(connection, table)?;
            let mut delete = connection.prepare_cached(&format!("DELETE FROM {} WHERE rejoin_row = ?1", live_table(table)))?;
            for row in &found {
                if !waiting.contains(&row.record_id) {
                    pass.removed += delete.execute([row.rejoin_row])?;
                }
            }
            room -= found.len();
            if let (0, Some(last)) = (room, found.last()) {
                pass.after = (last.updated_at.clone(), last.rejoin_row);
                return Ok(pass);
            }
        }
        pass.tables += 1;
        pass.after = Default::default();
    }
    pass.done = true;
    Ok(pass)
}

struct Old {
    rejoin_row: i64,
    updated_at: String,
    record_id: String,
}

fn old(connection: &Connection, plan: &Plan, table: &Table, before: &str, after: &(String, i64), room: usize) -> Result<Vec<Old>> {
    let (stamps, base) = (&table.stamps, base_table(table));
    let updated_at = quoted(&stamps.updated_at);
    let key: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
    let same: Vec<_> = key.iter().map(|name| format!("n.{name} = t.{name}")).collect();
    let mut conditions = vec![
        format!("t.{updated_at} < ?1 AND (t.{updated_at}, t.rejoin_row) > (?2, ?3)"),
        format!("t.{} IS NOT NULL AND t.rejoin_held = 0", quoted(&stamps.synced_at)),
        format!("NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = t.rejoin_row)"),
        format!("NOT EXISTS (SELECT 1 FROM {} n WHERE {})", theirs_table(table), same.join(" AND ")),
    ];
    for (child, reference) in plan.catalog.referrers(table.no).filter(|(child, _)| !child.engine) {
        conditions.extend(unreferred(table, child, reference));
    }
    let sql = format!(
        "SELECT t.{}, t.rejoin_row, t.{updated_at} FROM {} t WHERE {} ORDER BY t.{updated_at}, t.rejoin_row LIMIT ?4",
        key.join(", t."),
        live_table(table),
        conditions.join(" AND ")
    );
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![before, after.0, after.1, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let record_id = read_key(table, row, 0)?.to_string();
        found.push(Old { rejoin_row: row.get(key.len())?, updated_at: row.get(key.len() + 1)?, record_id });
    }
    Ok(found)
}

/// That no row of `child` refers to `t`: as it is here, as it was before an unsent edit, or as the cloud has it by now. Rows of other kinds
/// count too, which keeps a row too many.
fn unreferred(table: &Table, child: &Table, reference: &Reference) -> Vec<String> {
    let pairs =
        reference.columns.iter().zip(&reference.target).filter_map(|(own, target)| Some((child.column(*own)?, table.column(*target)?)));
    let (mut own, mut named, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for (column, target) in pairs {
        let (column_name, target_name) = (quoted(&column.name), quoted(&target.name));
        // A declared reference may hold as text what the key is, a uuid also in capitals.
        let as_text = column.ty == ColumnType::Text && target.ty != ColumnType::Text;
        let value = if as_text { format!("CAST(t.{target_name} AS TEXT)") } else { format!("t.{target_name}") };
        if as_text && target.ty == ColumnType::Uuid {
            same.push(format!("c.{column_name} IN ({value}, upper({value}))"));
            own.push(format!("lower(c.{column_name})"));
        } else {
            same.push(format!("c.{column_name} = {value}"));
            own.push(format!("c.{column_name}"));
        }
        named.push(value);
    }
    if own.is_empty() {
        return Vec::new();
    }
    let itself = if child.no == table.no { " AND c.rejoin_row <> t.rejoin_row" } else { "" };
    let given: Vec<_> = own.iter().map(|own| format!("{own} IS NOT NULL")).collect();
    let (own, named, given) = (own.join(", "), named.join(", "), given.join(" AND "));
    let mut all = vec![format!("NOT EXISTS (SELECT 1 FROM {} c WHERE {}{itself})", live_table(child), same.join(" AND "))];
    // These have no index on the reference: the few rows are gathered once.
    for (companion, kind) in [(base_table(child), "c.rejoin_row > 0"), (theirs_table(child), "c.rejoin_state = 'live'")] {
        all.push(format!("({named}) NOT IN (SELECT {own} FROM {companion} c WHERE {kind} AND {given})"));
    }
    all
}

/// The records of which an edit waits for the conflict that it joins.
fn later(connection: &Connection, table: &Table) -> Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached("SELECT record_id FROM rejoin_later WHERE table_no = ?1")?;
    let rows = statement.query_map([table.no.0], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
