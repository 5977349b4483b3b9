//! The digests of what the cloud has accepted, as this site knows it: clean rows as they are, dirty ones by theirs or their base image;
//! held rows and unsent inserts are not in them, nor are tables of which no site holds everything (that travel up, or are kept for a time).

use conflict_ui_api::backend::{Digests, TableDigest};
use rusqlite::Connection;
use sync_core::catalog::{Catalog, Table};
use sync_core::change::SetDigest;

use crate::store::error::Result;
use crate::store::rows::{HeldState, base_table, column_list, live_table, quoted, read_key, read_row, theirs_table};

/// Computes the digests of every user table. Rows stream through: memory does not grow with them.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn digests(connection: &Connection, catalog: &Catalog) -> Result<Digests> {
    let mut total = SetDigest::default();
    let mut tables = Vec::new();
    for table in catalog.tables.iter().filter(|table| !table.engine && table.is_held_whole()) {
        let mut digest = SetDigest::default();
        for sql in accepted(table) {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let row = read_row(table, row, 0)?;
                digest.add(table, &row);
                total.add(table, &row);
            }
        }
        let name = format!("{}.{}", table.schema, table.name);
        tables.push(TableDigest { table: name, digest: digest.hex(), rows: digest.rows, held: held(connection, table)? });
    }
    let held = tables.iter().map(|table| table.held.len() as u64).sum();
    Ok(Digests { digest: total.hex(), rows: total.rows, held, tables })
}

/// Three queries that give every accepted row once.
fn accepted(table: &Table) -> [String; 3] {
    let (live, base, theirs) = (live_table(table), base_table(table), theirs_table(table));
    let columns = column_list(table, "t.");
    let same: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).map(|name| format!("n.{name} = t.{name}")).collect();
    let no_news = format!("NOT EXISTS (SELECT 1 FROM {theirs} n WHERE {})", same.join(" AND "));
    [
        format!(
            "SELECT {columns} FROM {live} t WHERE t.rejoin_held = 0 AND NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = t.rejoin_row) \
             AND {no_news}"
        ),
        format!("SELECT {columns} FROM {base} t WHERE t.rejoin_kind = 'change' AND {no_news}"),
        format!("SELECT {columns} FROM {theirs} t WHERE t.rejoin_state = 'live'"),
    ]
}

fn held(connection: &Connection, table: &Table) -> Result<Vec<String>> {
    let names: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
    let names = names.join(", ");
    let sql = format!("SELECT {names} FROM {} WHERE rejoin_held = {} ORDER BY {names}", live_table(table), HeldState::Held as i64);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push(read_key(table, row, 0)?.to_string());
    }
    Ok(held)
}
