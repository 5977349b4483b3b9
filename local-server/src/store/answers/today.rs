//! A push and its answer in the columns and types of now: a catalog may have come since the push was cut.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use sync_core::catalog::{Column, Table};
use sync_core::change::{Confirmed, Edit, Op, Row, RowAnswer, RowChange, State};
use sync_core::id::{ColumnNo, Key};
use sync_core::value::{Cast, ColumnType, Value};

use super::ECHO;
use crate::store::error::Result;
use crate::store::hidden::{is_hidden, wire, wire_table};
use crate::store::identity;
use crate::store::motion::amount;
use crate::store::rows::{base_table, from_sql, live_table, quoted};
use crate::store::seats::{self, Seats};

/// The change at a seat with its answer, as the table that holds the row here has it. What the answer says nothing of is as in every image
/// here; where a value does not fit any more, the cloud is asked for everything. `place`: the seats, which of them, and the row in it.
/// `moved`: whether a catalog came since the push was cut.
///
/// # Errors
/// The database.
pub(super) fn of_today(
    connection: &Connection,
    table: &Table,
    place: (&Seats, usize, i64),
    moved: bool,
    change: &RowChange,
    answer: &RowAnswer,
) -> Result<(RowChange, RowAnswer)> {
    let (seats, seat, rejoin_row) = place;
    let mut today = Today { table, seats, seat, copies: Vec::new(), made: BTreeMap::new(), misfit: false };
    if moved {
        today.copies = copies(connection, table, rejoin_row)?;
        today.made = made(connection, table, rejoin_row, today.then(change))?;
    }
    let (mut change, answer) = (today.change(change), today.answer(change, answer));
    if let Some(key) = if moved { seats::key_of_today(connection, table, rejoin_row)? } else { None } {
        today.take_key(&mut change, key);
    }
    if today.misfit {
        // The cloud takes this replica to have what it was told of.
        identity::set_fact(connection, ECHO, "1")?;
    }
    Ok((change, answer))
}

/// The hidden columns in which this row has an edit, beside a column of the same number that its values do not fit (any more).
fn copies(connection: &Connection, table: &Table, rejoin_row: i64) -> Result<Vec<ColumnNo>> {
    let mut copies = Vec::new();
    for column in table.columns.iter().filter(|column| is_hidden(column) && wire(column.no) != column.no) {
        let (name, live, base) = (quoted(&column.name), live_table(table), base_table(table));
        let sql = format!(
            "SELECT l.{name} IS NOT NULL OR b.{name} IS NOT NULL FROM {base} b LEFT JOIN {live} l ON l.rejoin_row = b.rejoin_row
             WHERE b.rejoin_row = ?1"
        );
        if connection.query_row(&sql, [rejoin_row], |row| row.get(0)).optional()?.unwrap_or(false) {
            copies.push(column.no);
        }
    }
    Ok(copies)
}

/// What the migration gave the columns that are new to a row whose insert is under way: it stands in the base image meanwhile.
fn made(connection: &Connection, table: &Table, rejoin_row: i64, then: Option<&Vec<ColumnNo>>) -> Result<BTreeMap<ColumnNo, Value>> {
    let is_new = |column: &&Column| !is_hidden(column) && then.is_some_and(|then| !then.contains(&column.no));
    let columns: Vec<&Column> = table.columns.iter().filter(is_new).collect();
    let mut made = BTreeMap::new();
    if columns.is_empty() {
        return Ok(made);
    }
    let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE rejoin_row = ?1 AND rejoin_kind = 'insert'", names.join(", "), base_table(table));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([rejoin_row])?;
    if let Some(row) = rows.next()? {
        for (at, column) in columns.iter().enumerate() {
            if let Some(value) = from_sql(&column.ty, row.get_ref(at)?).ok().filter(|value| !value.is_null()) {
                made.insert(column.no, value);
            }
        }
    }
    Ok(made)
}

struct Today<'a> {
    table: &'a Table,
    seats: &'a Seats,
    seat: usize,
    /// Hidden columns in which the row has an edit.
    copies: Vec<ColumnNo>,
    /// What columns of an insert hold here that were not there when the push was cut.
    made: BTreeMap<ColumnNo, Value>,
    misfit: bool,
}

impl Today<'_> {
    /// The column of the row's edit: as the push was cut, or hidden since because a value does not fit the one that is there.
    fn here(&self, there: ColumnNo) -> ColumnNo {
        let mut aliases = self.seats.aliases.iter().filter(|alias| alias.seat == self.seat);
        match aliases.clone().find(|alias| alias.there == there) {
            Some(alias) => alias.here,
            None => {
                let copy = self.copies.iter().find(|copy| wire(**copy) == there && aliases.all(|alias| alias.here != **copy));
                copy.copied().unwrap_or(there)
            }
        }
    }

    /// The columns of the change's table when the push was cut.
    fn then(&self, change: &RowChange) -> Option<&Vec<ColumnNo>> {
        self.seats.columns.iter().find(|(table, _)| *table == change.table).map(|(_, columns)| columns)
    }

    fn value(&mut self, column: &Column, value: &Value) -> Value {
        match (&column.ty, column.ty.accept(value.clone())) {
            (_, Ok(value)) => return value,
            // A label that only the cloud knows (any more).
            (ColumnType::Enum(_), _) if matches!(value, Value::Text(_)) => return value.clone(),
            _ => {}
        }
        Cast::into(column, value).unwrap_or_else(|| {
            self.misfit = true;
            Value::Null
        })
    }

    fn pair(&mut self, no: ColumnNo, value: &Value) -> (ColumnNo, Value) {
        let there = no;
        let no = self.here(no);
        // Of the column that is there the answer may say nothing.
        self.misfit |= no != there && self.copies.contains(&no);
        let value = match self.table.column(no) {
            Some(column) => self.value(column, value),
            None => value.clone(),
        };
        (no, value)
    }

    fn edit(&mut self, edit: &Edit) -> Edit {
        let (column, base) = self.pair(edit.column, &edit.base);
        let (_, new) = self.pair(edit.column, &edit.new);
        Edit { column, base, new }
    }

    fn change(&mut self, change: &RowChange) -> RowChange {
        let op = match &change.op {
            Op::Insert(pairs) => {
                // What the cloud made of them comes by the feed.
                self.misfit |= !self.made.is_empty();
                let made: Vec<_> = self.made.iter().map(|(no, value)| (*no, value.clone())).collect();
                Op::Insert(pairs.iter().map(|(no, value)| self.pair(*no, value)).chain(made).collect())
            }
            Op::Delete(pairs) => Op::Delete(pairs.iter().map(|(no, value)| self.pair(*no, value)).collect()),
            Op::Update(edits) => Op::Update(edits.iter().map(|edit| self.edit(edit)).collect()),
            Op::Rekey(old, edits) => Op::Rekey(old.clone(), edits.iter().map(|edit| self.edit(edit)).collect()),
        };
        let mut additions = change.additions.clone();
        for addition in &mut additions {
            addition.column = self.here(addition.column);
            let Some(column) = self.table.column(addition.column) else { continue };
            match amount(column, &addition.amount) {
                Some(amount) => addition.amount = amount,
                None => self.misfit = true,
            }
        }
        RowChange { table: self.table.no, op, additions, ..change.clone() }
    }

    /// Gives a change the key that its row has at the cloud by now. Where a change of the key that there was then is none of today's key, it
    /// is an edit like any other.
    fn take_key(&mut self, change: &mut RowChange, key: Key) {
        let Op::Rekey(old, edits) = &mut change.op else {
            change.key = key;
            return;
        };
        let then = self.seats.key_columns.iter().find(|(no, _)| *no == wire_table(self.table.no)).map_or(&self.table.key, |(_, then)| then);
        for ((no, base), new) in then.iter().zip(&old.0).zip(&change.key.0).filter(|((_, base), new)| base != new) {
            let edit = self.edit(&Edit { column: *no, base: base.clone(), new: new.clone() });
            edits.retain(|known| known.column != edit.column);
            edits.push(edit);
        }
        let given = |(no, value): (&ColumnNo, &Value)| edits.iter().find(|edit| edit.column == *no).map_or(value, |edit| &edit.new).clone();
        change.key = Key(self.table.key.iter().zip(&key.0).map(given).collect());
        if *then != self.table.key {
            edits.sort_by_key(|edit| edit.column);
            let edits = std::mem::take(edits);
            change.op = if change.key == key { Op::Update(edits) } else { Op::Rekey(key, edits) };
        } else {
            edits.retain(|edit| !then.contains(&edit.column));
            *old = key;
        }
    }

    fn answer(&mut self, change: &RowChange, answer: &RowAnswer) -> RowAnswer {
        let mut answer = answer.clone();
        for no in answer.clashed.iter_mut().chain(&mut answer.merged) {
            *no = self.here(*no);
        }
        let then = self.then(change).cloned();
        if let (Confirmed::Image(image), Some(then)) = (&mut answer.confirmed, then)
            && let State::Live(row) = &mut image.state
        {
            *row = self.row(&then, row);
        }
        answer
    }

    fn row(&mut self, then: &[ColumnNo], row: &Row) -> Row {
        let table = self.table;
        let mut today = Row::with_capacity(table.columns.len());
        for column in &table.columns {
            let there = if self.here(wire(column.no)) == column.no { wire(column.no) } else { column.no };
            let told = then.iter().position(|no| *no == there).and_then(|at| row.get(at));
            today.push(match told {
                Some(value) => self.value(column, value),
                None => self.made.get(&column.no).or(column.added.as_ref()).cloned().unwrap_or(Value::Null),
            });
        }
        today
    }
}
