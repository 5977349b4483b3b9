//! What capture notes of a dirty row besides its base image: what was added to its `add` columns, and when its `newest` columns changed.
//!
//! Additions are noted where they are made, each with its id: a copy of the file that is made afterwards has the same ids, and the cloud
//! counts each once. Whatever else changed such a column (a row removed and inserted again, a program without triggers, a policy that is
//! new) shows as a difference that no addition explains; it becomes one more when the row is loaded.

use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, params};
use sync_core::catalog::{Column, Table};
use sync_core::change::{Addition, Op, RowChange};
use sync_core::id::{ColumnNo, PushNo};
use sync_core::policy::{Policy, about_equal, add, difference};
use sync_core::site::{SiteRow, Unanswered};
use sync_core::value::{ColumnType, Value};
use uuid::Uuid;

use super::error::Result;
use super::rows::{Bound, from_sql};

/// Whether anything is ever noted of this table's rows.
#[must_use]
pub fn is_noted(table: &Table) -> bool {
    !table.engine && table.columns.iter().any(|column| matches!(column.policy, Policy::Add | Policy::Newest))
}

/// Fills in what was noted of a dirty row.
///
/// # Errors
/// The database.
pub fn load(connection: &Connection, table: &Table, rejoin_row: i64, row: &mut SiteRow) -> Result<()> {
    if let Some(base) = &mut row.base {
        let sql = "SELECT column_no, at FROM rejoin_times WHERE table_no = ?1 AND rejoin_row = ?2 ORDER BY column_no";
        let mut statement = connection.prepare_cached(sql)?;
        let mut times = statement.query(params![table.no.0, rejoin_row])?;
        while let Some(found) = times.next()? {
            let (no, at): (u32, String) = (found.get(0)?, found.get(1)?);
            if let Ok(Value::Text(at)) = ColumnType::Timestamptz.parse(&at) {
                base.times.push((ColumnNo(no), at));
            }
        }
    }
    let sql = "SELECT id, column_no, value_before, value_after, amount, push_no IS NOT NULL FROM rejoin_additions
               WHERE table_no = ?1 AND rejoin_row = ?2 ORDER BY no";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![table.no.0, rejoin_row])?;
    while let Some(found) = found.next()? {
        let no = ColumnNo(found.get(1)?);
        let Some(column) = table.column(no).filter(|column| column.policy == Policy::Add) else { continue };
        let Ok(id) = Uuid::from_slice(&found.get::<_, Vec<u8>>(0)?) else { continue };
        let in_flight: bool = found.get(5)?;
        if !in_flight && !counts(table, column, row) {
            continue;
        }
        // What cannot be read shows as a difference without a reason, as soon as somebody has put it right.
        if let Some(amount) = amount(&column.ty, found.get_ref(2)?, found.get_ref(3)?, found.get_ref(4)?) {
            row.additions.push(Unanswered { addition: Addition { id, column: no, amount }, in_flight });
        }
    }
    Ok(())
}

/// What one addition added; `None` where it cannot be read.
pub(super) fn amount(ty: &ColumnType, before: ValueRef<'_>, after: ValueRef<'_>, amount: ValueRef<'_>) -> Option<Value> {
    match amount {
        // An amount may be out of the column's range.
        ValueRef::Integer(amount) if matches!(ty, ColumnType::Int2 | ColumnType::Int4) => Some(Value::Int(amount)),
        ValueRef::Null => difference(ty, &from_sql(ty, before).ok()?, &from_sql(ty, after).ok()?),
        amount => from_sql(ty, amount).ok(),
    }
}

/// Whether additions to a column are operations: the row lives, was there before, and has a number on both sides. Otherwise the value itself
/// travels. While the row is in a push, its answer may make it so.
fn counts(table: &Table, column: &Column, row: &SiteRow) -> bool {
    let (Some(live), Some(base), Some(at)) = (&row.live, &row.base, table.position(column.no)) else { return false };
    let had = base.in_flight || base.row.as_ref().is_some_and(|image| !image[at].is_null());
    had && !live.row[at].is_null()
}

/// Explains what no addition explains by one more. `pushed`: the change of this row whose answer is at hand; without it, of a row in a push
/// nothing can be said yet.
pub fn explain(table: &Table, row: &mut SiteRow, pushed: Option<&RowChange>) {
    let (Some(live), Some(base)) = (&row.live, &row.base) else { return };
    if base.in_flight != pushed.is_some() {
        return;
    }
    let mut found = Vec::new();
    for (at, column) in table.columns.iter().enumerate().filter(|(_, column)| column.policy == Policy::Add) {
        let given = pushed.and_then(|change| change.values().find(|(no, _)| *no == column.no)).map(|(_, value)| value);
        let Some(from) = given.or_else(|| base.row.as_ref().map(|image| &image[at])).filter(|value| !value.is_null()) else { continue };
        let known = row.additions.iter().filter(|known| known.addition.column == column.no);
        let sum = known.filter(|known| given.is_none() || !known.in_flight).try_fold(from.clone(), |sum, known| {
            // Over the range of the type in between only: the whole need not be.
            add(wide(&column.ty), &sum, &known.addition.amount)
        });
        let Some(sum) = sum.filter(|sum| !live.row[at].is_null() && !about_equal(sum, &live.row[at])) else { continue };
        if let Some(amount) = difference(&column.ty, &sum, &live.row[at]) {
            let addition = Addition { id: Uuid::new_v4(), column: column.no, amount };
            found.push(Unanswered { addition, in_flight: false });
        }
    }
    row.additions.append(&mut found);
}

fn wide(ty: &ColumnType) -> &ColumnType {
    if matches!(ty, ColumnType::Int2 | ColumnType::Int4) { &ColumnType::Int8 } else { ty }
}

/// Writes what a step made of a row's notes. `rows`: the `rejoin_row` before and after; none after where the row is clean.
///
/// # Errors
/// The database.
pub fn save(connection: &Connection, table: &Table, rows: (Option<i64>, Option<i64>), before: &SiteRow, after: &SiteRow) -> Result<()> {
    let (old, new) = rows;
    let new = new.filter(|_| after.base.is_some());
    if let Some(old) = old.filter(|old| new != Some(*old)) {
        match new {
            Some(new) => {
                for notes in ["rejoin_additions", "rejoin_times"] {
                    let sql = format!("UPDATE {notes} SET rejoin_row = ?3 WHERE table_no = ?1 AND rejoin_row = ?2");
                    connection.prepare_cached(&sql)?.execute(params![table.no.0, old, new])?;
                }
            }
            None => return forget(connection, table, old),
        }
    }
    let (Some(new), Some(base)) = (new, &after.base) else { return Ok(()) };
    if before.base.as_ref().map(|base| &base.times) != Some(&base.times) {
        connection.prepare_cached("DELETE FROM rejoin_times WHERE table_no = ?1 AND rejoin_row = ?2")?.execute(params![table.no.0, new])?;
        for (no, at) in &base.times {
            let sql = "INSERT INTO rejoin_times (table_no, rejoin_row, column_no, at) VALUES (?1, ?2, ?3, ?4)";
            connection.prepare_cached(sql)?.execute(params![table.no.0, new, no.0, at])?;
        }
    }
    for gone in before.additions.iter().filter(|old| after.additions.iter().all(|new| new.addition.id != old.addition.id)) {
        connection.prepare_cached("DELETE FROM rejoin_additions WHERE table_no = ?1 AND rejoin_row = ?2 AND id = ?3")?.execute(params![
            table.no.0,
            new,
            gone.addition.id.as_bytes()
        ])?;
    }
    for kept in &after.additions {
        keep(connection, table, new, &kept.addition)?;
        if !kept.in_flight {
            let sql = "UPDATE rejoin_additions SET push_no = NULL WHERE table_no = ?1 AND rejoin_row = ?2 AND id = ?3";
            connection.prepare_cached(sql)?.execute(params![table.no.0, new, kept.addition.id.as_bytes()])?;
        }
    }
    Ok(())
}

fn keep(connection: &Connection, table: &Table, rejoin_row: i64, addition: &Addition) -> Result<()> {
    let sql = "INSERT INTO rejoin_additions (id, table_no, rejoin_row, column_no, amount) SELECT ?1, ?2, ?3, ?4, ?5
               WHERE NOT EXISTS (SELECT 1 FROM rejoin_additions WHERE table_no = ?2 AND rejoin_row = ?3 AND id = ?1)";
    let id = Sql::Blob(addition.id.as_bytes().to_vec());
    let params = params![id, table.no.0, rejoin_row, addition.column.0, Bound(&addition.amount)];
    connection.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

/// The row's change goes into a push: its additions are that push's, and what the change says by values needs none.
///
/// # Errors
/// The database.
pub fn enter(connection: &Connection, table: &Table, rejoin_row: i64, no: PushNo, change: &RowChange) -> Result<()> {
    match &change.op {
        Op::Insert(_) | Op::Delete(_) => {
            let sql = "DELETE FROM rejoin_additions WHERE table_no = ?1 AND rejoin_row = ?2";
            connection.prepare_cached(sql)?.execute(params![table.no.0, rejoin_row])?;
        }
        Op::Update(edits) | Op::Rekey(_, edits) => {
            for edit in edits.iter().filter(|edit| edit.base != edit.new) {
                let sql = "DELETE FROM rejoin_additions WHERE table_no = ?1 AND rejoin_row = ?2 AND column_no = ?3";
                connection.prepare_cached(sql)?.execute(params![table.no.0, rejoin_row, edit.column.0])?;
            }
        }
    }
    for addition in &change.additions {
        keep(connection, table, rejoin_row, addition)?;
        let sql = "UPDATE rejoin_additions SET push_no = ?4 WHERE table_no = ?1 AND rejoin_row = ?2 AND id = ?3";
        connection.prepare_cached(sql)?.execute(params![table.no.0, rejoin_row, addition.id.as_bytes(), no.0])?;
    }
    Ok(())
}

/// Nothing is in a push any more.
///
/// # Errors
/// The database.
pub fn leave_pushes(connection: &Connection) -> Result<()> {
    connection.prepare_cached("UPDATE rejoin_additions SET push_no = NULL WHERE push_no IS NOT NULL")?.execute([])?;
    Ok(())
}

/// Forgets what was noted of a row.
///
/// # Errors
/// The database.
pub fn forget(connection: &Connection, table: &Table, rejoin_row: i64) -> Result<()> {
    for notes in ["rejoin_additions", "rejoin_times"] {
        let sql = format!("DELETE FROM {notes} WHERE table_no = ?1 AND rejoin_row = ?2");
        connection.prepare_cached(&sql)?.execute(params![table.no.0, rejoin_row])?;
    }
    Ok(())
}

/// Forgets what was noted of columns that another policy has now.
///
/// # Errors
/// The database.
pub fn follow_policies(connection: &Connection, table: &Table) -> Result<()> {
    for (notes, policy) in [("rejoin_additions", Policy::Add), ("rejoin_times", Policy::Newest)] {
        let kept: Vec<_> = table.columns.iter().filter(|column| column.policy == policy).map(|column| column.no.to_string()).collect();
        let sql = format!("DELETE FROM {notes} WHERE table_no = ?1 AND column_no NOT IN ({})", kept.join(", "));
        connection.execute(&sql, [table.no.0])?;
    }
    Ok(())
}
