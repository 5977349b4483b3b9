//! The push that has no answer yet, over a migration: its rows are found again by the keys that they have then, and what was deleted here
//! since it was sent is remembered.

use rusqlite::{Connection, params};
use sync_core::catalog::{Catalog, Table};
use sync_core::change::{Op, RowChange};
use sync_core::id::{PushNo, TableNo};
use sync_core::value::Cast;
use sync_core::wire::codec;
use sync_core::wire::message::Push;

use super::Move;
use super::kind::Kind;
use super::notes::Notes;
use crate::store::error::{Result, StoreError};
use crate::store::hidden::{is_hidden, wire_table};
use crate::store::outbox;
use crate::store::rows::{Bound, base_table, quoted};
use crate::store::seats::{self, Seat, Seats};

/// The push with its seats.
pub(super) struct Flight {
    push: Push,
    seats: Seats,
    /// Where its rows stand: place in the push, number of the table before.
    found: Vec<(usize, TableNo)>,
}

/// Finds the push's rows before the tables move, and gives new rows the new key as it was pushed.
pub(super) fn begin(connection: &Connection, moves: &[Move<'_>]) -> Result<Option<Flight>> {
    let Some((push, mut seats)) = outbox::under_way(connection)? else { return Ok(None) };
    let mut found = Vec::new();
    for (at, change) in push.rows.iter().enumerate() {
        let Some(Seat::Row(seat)) = seats.rows.get(at).cloned() else { continue };
        let moving = |one: &&Move<'_>| one.kind != Kind::Kept && !one.old.engine && wire_table(one.old.no) == change.table;
        for one in moves.iter().filter(moving) {
            let standing = if stands(connection, &one.old, push.no, seat)? { Some(seat) } else { None };
            let key = seats.key(at, change);
            let Some(row) = standing.map_or_else(|| seats::by_key(connection, &one.old, push.no, key), |row| Ok(Some(row)))? else {
                continue;
            };
            seats.rows[at] = Seat::Row(row);
            found.push((at, one.old.no));
            give_key(connection, one, change, row)?;
            break;
        }
    }
    Ok(Some(Flight { push, seats, found }))
}

fn stands(connection: &Connection, table: &Table, no: PushNo, rejoin_row: i64) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} WHERE rejoin_row = ?1 AND rejoin_push_no = ?2", base_table(table));
    Ok(connection.prepare_cached(&sql)?.exists(params![rejoin_row, no.0])?)
}

/// The cloud has the values of the push, whatever has become of the row since.
fn give_key(connection: &Connection, one: &Move<'_>, change: &RowChange, rejoin_row: i64) -> Result<()> {
    let (Kind::Rebuilt, Some(new), Op::Insert(values)) = (one.kind, one.new, &change.op) else { return Ok(()) };
    let fresh = |no| new.key.contains(&no) && !one.old.key.contains(&no);
    for column in one.old.columns.iter().filter(|column| !is_hidden(column) && fresh(column.no)) {
        let Some((_, value)) = values.iter().find(|(no, _)| *no == column.no) else { continue };
        let value = column.ty.accept(value.clone()).ok().or_else(|| Cast::into(column, value));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            let (base, name) = (base_table(&one.old), quoted(&column.name));
            let sql = format!("UPDATE {base} SET {name} = ?2 WHERE rejoin_row = ?1 AND rejoin_kind = 'insert'");
            connection.prepare_cached(&sql)?.execute(params![rejoin_row, Bound(&value)])?;
        }
    }
    Ok(())
}

impl Flight {
    /// Notes which keys the rows have now, and under which record their later edits stand. `catalog`: the new one, with what is hidden.
    pub(super) fn end(mut self, connection: &Connection, catalog: &Catalog, notes: &Notes) -> Result<()> {
        for (at, no) in self.found {
            let (Some(table), Some(Seat::Row(rejoin_row))) = (catalog.table(no), self.seats.rows.get(at)) else { continue };
            if let Some(key) = seats::key_of_today(connection, table, *rejoin_row)? {
                self.seats.keys.retain(|(seat, _)| *seat != at);
                self.seats.keys.push((at, key));
            }
        }
        for (row, seat) in self.push.rows.iter().zip(&mut self.seats.rows) {
            if let Seat::Later(record) = seat
                && let Some(now) = notes.record_of(row.table, record)
            {
                *record = now;
            }
        }
        let seats = codec::encode(&self.seats).map_err(|error| StoreError::Stored(error.to_string()))?;
        connection.execute("UPDATE rejoin_pushes SET seats = ?2 WHERE no = ?1", params![self.push.no.0, seats])?;
        Ok(())
    }
}
