//! What names tables and columns outside of the tables: later edits, decisions, and what the cloud was offered of held rows. All of it is read
//! before the tables move and written afterwards.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::catalog::{Catalog, Table};
use sync_core::change::{Edit, Op, RowChange, etag_of_version, row_digest};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;

use super::Move;
use super::convert::{convert, differs};
use super::kind::Kind;
use crate::store::error::{Result, StoreError};
use crate::store::rows::{base_table, column_list, live_by_key, live_table, read_row};

/// What is written once the tables have moved.
#[derive(Default)]
pub(super) struct Notes {
    /// Held rows that are as they were offered.
    offered: Vec<(TableNo, i64)>,
    /// Later edits: the record that they stood under, and what they are now.
    later: Vec<(String, RowChange)>,
    commands: Vec<ResolveCommand>,
}

impl Notes {
    /// The record under which a later edit stands now.
    pub(super) fn record_of(&self, table: TableNo, record: &str) -> Option<String> {
        let of = |(was, change): &&(String, RowChange)| was == record && change.table == table;
        self.later.iter().find(of).map(|(_, change)| change.key.to_string())
    }
}

/// Reads it; what is in a push without an answer too: the push may be refused, and is cut anew then.
pub(super) fn read(connection: &Connection, moves: &[Move<'_>]) -> Result<Notes> {
    let mut notes = Notes::default();
    for one in moves.iter().filter(|one| matches!(one.kind, Kind::Altered | Kind::Rebuilt) && !one.old.engine) {
        offered(connection, &one.old, &mut notes)?;
        later(connection, &one.old, one.new, &mut notes)?;
    }
    commands(connection, moves, &mut notes)?;
    Ok(notes)
}

fn offered(connection: &Connection, table: &Table, notes: &mut Notes) -> Result<()> {
    let sql = format!(
        "SELECT l.rejoin_row, b.rejoin_held_digest, {} FROM {} b JOIN {} l ON l.rejoin_row = b.rejoin_row WHERE b.rejoin_held_digest IS NOT NULL",
        column_list(table, "l."),
        base_table(table),
        live_table(table)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // What cannot be read is offered again once it can.
        if let Ok(values) = read_row(table, row, 2)
            && row.get::<_, Vec<u8>>(1)? == row_digest(table, &values)
        {
            notes.offered.push((table.no, row.get(0)?));
        }
    }
    Ok(())
}

fn later(connection: &Connection, old: &Table, new: Option<&Table>, notes: &mut Notes) -> Result<()> {
    let Some(new) = new else { return Ok(()) };
    let mut statement = connection.prepare_cached("SELECT record_id, body FROM rejoin_later WHERE table_no = ?1")?;
    let mut rows = statement.query([old.no.0])?;
    while let Some(row) = rows.next()? {
        let (record, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        // One that cannot be read is told of when it is to be sent.
        let Ok(mut change) = codec::decode::<RowChange>(&body) else { continue };
        change.key = key_after(connection, old, new, &change.key)?;
        if let Op::Update(edits) = &mut change.op {
            edits.iter_mut().for_each(|edit| follow(old, new, edit));
        }
        notes.later.push((record, change));
    }
    Ok(())
}

/// An edit whose values both fit the new type goes on as one of it; otherwise the cloud parks it as it is.
fn follow(old: &Table, new: &Table, edit: &mut Edit) {
    let (Some(was), Some(now)) = (old.column(edit.column), new.column(edit.column)) else { return };
    if differs(was, now)
        && let (Some(base), Some(value)) = (convert(was, now, &edit.base), convert(was, now, &edit.new))
    {
        (edit.base, edit.new) = (base, value);
    }
}

/// The key that a row has under the new catalog.
fn key_after(connection: &Connection, old: &Table, new: &Table, key: &Key) -> Result<Key> {
    let row = match live_by_key(connection, old, key) {
        Ok(Some(found)) => found.live.row,
        Ok(None) | Err(StoreError::Row(_)) => return Ok(key.clone()),
        Err(error) => return Err(error),
    };
    let value = |no: &ColumnNo| convert(old.column(*no)?, new.column(*no)?, row.get(old.position(*no)?)?);
    let values: Option<Vec<Value>> = new.key.iter().map(value).collect();
    Ok(values.map_or_else(|| key.clone(), Key))
}

fn commands(connection: &Connection, moves: &[Move<'_>], notes: &mut Notes) -> Result<()> {
    let Some(conflicts) = moves.iter().map(|one| &one.old).find(|table| table.engine && table.name == "sync_conflicts") else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached("SELECT conflict, body FROM rejoin_commands WHERE refused IS NULL AND done = 0")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (conflict, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let sql = format!("SELECT table_no FROM {} WHERE id = ?1", live_table(conflicts));
        let table: Option<u32> = connection.prepare_cached(&sql)?.query_row([conflict], |row| row.get(0)).optional()?.flatten();
        let of = |one: &&Move<'_>| Some(one.old.no.0) == table;
        let Some(Move { old, new: Some(new), kind, .. }) = moves.iter().find(of) else { continue };
        let Ok(mut command) = codec::decode::<ResolveCommand>(&body) else { continue };
        let mut changed = false;
        if let Some(etag) = command.cloud_etag.as_mut().filter(|_| *kind != Kind::Kept) {
            // The row that was decided on looks different now, though nobody has changed it.
            (*etag, changed) = (etag_of_version(etag), true);
        }
        for (no, value) in &mut command.values {
            if let (Some(was), Some(now)) = (old.column(*no), new.column(*no))
                && differs(was, now)
                && let Some(fits) = convert(was, now, value)
            {
                (*value, changed) = (fits, true);
            }
        }
        if changed {
            notes.commands.push(command);
        }
    }
    Ok(())
}

/// Writes it. `catalog`: the new one, with what is hidden.
pub(super) fn write(connection: &Connection, catalog: &Catalog, notes: &Notes) -> Result<()> {
    let stored = |error: codec::CodecError| StoreError::Stored(error.to_string());
    for (record, change) in &notes.later {
        let body = codec::encode(change).map_err(stored)?;
        let sql = "UPDATE OR REPLACE rejoin_later SET record_id = ?3, body = ?4 WHERE table_no = ?1 AND record_id = ?2";
        connection.execute(sql, params![change.table.0, record, change.key.to_string(), body])?;
    }
    for command in &notes.commands {
        let body = codec::encode(command).map_err(stored)?;
        connection.execute("UPDATE rejoin_commands SET body = ?2 WHERE conflict = ?1", params![command.conflict.to_string(), body])?;
    }
    for (no, rejoin_row) in &notes.offered {
        let Some(table) = catalog.table(*no) else { continue };
        let sql = format!("SELECT {} FROM {} WHERE rejoin_row = ?1", column_list(table, ""), live_table(table));
        let digest = connection.query_row(&sql, [rejoin_row], |row| Ok(read_row(table, row, 0).map(|row| row_digest(table, &row))))?;
        if let Ok(digest) = digest {
            let sql = format!("UPDATE {} SET rejoin_held_digest = ?2 WHERE rejoin_row = ?1", base_table(table));
            connection.execute(&sql, params![rejoin_row, digest])?;
        }
    }
    Ok(())
}
