//! A push and its answer in the columns and types of now: a catalog may have come since the push was cut.

use rusqlite::Connection;
use sync_core::catalog::{Column, Table};
use sync_core::change::{Confirmed, Edit, Op, Row, RowAnswer, RowChange, State};
use sync_core::id::ColumnNo;
use sync_core::value::{ColumnType, Value};

use super::ECHO;
use crate::store::error::Result;
use crate::store::identity;
use crate::store::motion::convert;
use crate::store::outbox::Seats;

/// The change at a seat with its answer, as the table that holds the row here has it. What the answer says nothing of is as in every image
/// here; where a value does not fit any more, the cloud is asked for everything.
///
/// # Errors
/// The database.
pub(super) fn of_today(
    connection: &Connection,
    table: &Table,
    seats: &Seats,
    seat: usize,
    change: &RowChange,
    answer: &RowAnswer,
) -> Result<(RowChange, RowAnswer)> {
    let mut today = Today { table, seats, seat, misfit: false };
    let (change, answer) = (today.change(change), today.answer(change, answer));
    if today.misfit {
        // The cloud takes this replica to have what it was told of.
        identity::set_fact(connection, ECHO, "1")?;
    }
    Ok((change, answer))
}

struct Today<'a> {
    table: &'a Table,
    seats: &'a Seats,
    seat: usize,
    misfit: bool,
}

impl Today<'_> {
    fn here(&self, there: ColumnNo) -> ColumnNo {
        let alias = self.seats.aliases.iter().find(|alias| alias.seat == self.seat && alias.there == there);
        alias.map_or(there, |alias| alias.here)
    }

    fn value(&mut self, column: &Column, value: &Value) -> Value {
        match (&column.ty, column.ty.accept(value.clone())) {
            (_, Ok(value)) => return value,
            // A label that only the cloud knows (any more).
            (ColumnType::Enum(_), _) if matches!(value, Value::Text(_)) => return value.clone(),
            _ => {}
        }
        convert(&column.ty, value).unwrap_or_else(|| {
            self.misfit = true;
            Value::Null
        })
    }

    fn pair(&mut self, no: ColumnNo, value: &Value) -> (ColumnNo, Value) {
        let no = self.here(no);
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
            Op::Insert(pairs) => Op::Insert(pairs.iter().map(|(no, value)| self.pair(*no, value)).collect()),
            Op::Delete(pairs) => Op::Delete(pairs.iter().map(|(no, value)| self.pair(*no, value)).collect()),
            Op::Update(edits) => Op::Update(edits.iter().map(|edit| self.edit(edit)).collect()),
            Op::Rekey(old, edits) => Op::Rekey(old.clone(), edits.iter().map(|edit| self.edit(edit)).collect()),
        };
        RowChange { table: self.table.no, op, ..change.clone() }
    }

    fn answer(&mut self, change: &RowChange, answer: &RowAnswer) -> RowAnswer {
        let mut answer = answer.clone();
        for no in answer.clashed.iter_mut().chain(&mut answer.merged) {
            *no = self.here(*no);
        }
        let then = self.seats.columns.iter().find(|(table, _)| *table == change.table).map(|(_, columns)| columns);
        if let (Confirmed::Image(image), Some(then)) = (&mut answer.confirmed, then)
            && let State::Live(row) = &mut image.state
        {
            *row = self.row(then, row);
        }
        answer
    }

    fn row(&mut self, then: &[ColumnNo], row: &Row) -> Row {
        let table = self.table;
        let mut today = Row::with_capacity(table.columns.len());
        for column in &table.columns {
            let told = then.iter().position(|no| *no == column.no).and_then(|at| row.get(at));
            today.push(match told {
                Some(value) => self.value(column, value),
                None => column.added.clone().unwrap_or(Value::Null),
            });
        }
        today
    }
}
