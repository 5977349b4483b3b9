//! Edits of rows that are dirty here.

use conflict_ui_api::backend::{EditState, LocalEdit};
use rusqlite::types::{ToSqlOutput, Value as Sql};
use rusqlite::{Row, ToSql, params_from_iter};
use serde_json::{Value as Json, json};
use sync_core::catalog::{Column, Table};
use sync_core::id::ConflictId;
use uuid::Uuid;

use super::cell::{Cell, record_id};
use super::place::Place;
use super::{Filling, SCAN_ROWS, tables};
use crate::store::conflicts::ParkedRows;
use crate::store::error::Result;
use crate::store::hidden::is_hidden;
use crate::store::rows::{Bound, HeldState, base_table, column_list, live_by_key, live_table, quoted};

/// Columns of the result before those of the base image.
const LEAD: usize = 9;

/// Goes through the tables, parents first, from where the last page ended.
pub(super) fn fill(filling: &mut Filling<'_>, start: Option<&Place>) -> Result<()> {
    if !filling.wants(&[EditState::Waiting, EditState::Sent, EditState::Held]) {
        return Ok(());
    }
    let catalog = filling.catalog;
    let (from, mut after) = match start {
        Some(Place::Row(no, row)) if catalog.table(*no).is_some() => (Some(*no), *row),
        _ => (None, 0),
    };
    for table in tables(catalog).skip_while(|table| from.is_some_and(|from| from != table.no)) {
        if filling.wants_table(&filling.names.table(table)) {
            fill_table(filling, table, after)?;
        }
        after = 0;
        if filling.is_full() {
            break;
        }
    }
    Ok(())
}

fn fill_table(filling: &mut Filling<'_>, table: &Table, mut after: i64) -> Result<()> {
    let Some((conditions, values)) = conditions(filling, table) else { return Ok(()) };
    let stamps = &table.stamps;
    let sql = format!(
        "SELECT b.rejoin_row, b.rejoin_kind, b.rejoin_push_no IS NOT NULL, b.rejoin_held_conflict, b.rejoin_gone_at, b.rejoin_gone_by,
                l.rejoin_row IS NOT NULL, l.{}, l.{}, {}, {}
         FROM {} b LEFT JOIN {} l ON l.rejoin_row = b.rejoin_row
         WHERE b.rejoin_row > ?1 {conditions} ORDER BY b.rejoin_row LIMIT {SCAN_ROWS}",
        quoted(&stamps.updated_at),
        quoted(&stamps.last_modified_by),
        column_list(table, "b."),
        column_list(table, "l."),
        base_table(table),
        live_table(table),
    );
    let mut statement = filling.connection.prepare_cached(&sql)?;
    loop {
        let first = [Sql::Integer(after)];
        let mut rows = statement.query(params_from_iter(first.iter().chain(&values)))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            after = row.get(0)?;
            if let Some(edit) = edit(filling, table, row)? {
                filling.take(edit);
            }
            if filling.is_full() {
                return Ok(());
            }
        }
        if seen < SCAN_ROWS {
            return Ok(());
        }
    }
}

/// What is asked in SQL; `None` where no row of the table can be meant.
fn conditions(filling: &Filling<'_>, table: &Table) -> Option<(String, Vec<Sql>)> {
    let mut sql = match filling.query.state {
        Some(EditState::Held) => " AND b.rejoin_held_conflict IS NOT NULL",
        Some(EditState::Sent) => " AND b.rejoin_held_conflict IS NULL AND b.rejoin_push_no IS NOT NULL",
        Some(EditState::Waiting) => " AND b.rejoin_held_conflict IS NULL AND b.rejoin_push_no IS NULL",
        Some(EditState::Parked | EditState::Cloud) => return None,
        None => "",
    }
    .to_owned();
    let mut values = Vec::new();
    if let Some(record) = &filling.query.record {
        // A key that cannot be read has a record id all the same, which is compared when the row is shown.
        if let Ok(Some(key)) = table.parse_key(record) {
            let mut terms = [String::new(), String::new()];
            for (column, value) in table.key_columns().zip(&key.0) {
                values.push(owned(value));
                for (alias, term) in ["l.", "b."].iter().zip(&mut terms) {
                    let and = if term.is_empty() { "" } else { " AND " };
                    *term += &format!("{and}{alias}{} = ?{}", quoted(&column.name), values.len() + 1);
                }
            }
            sql += &format!(" AND ({} OR {})", terms[0], terms[1]);
        }
    }
    Some((sql, values))
}

fn owned(value: &sync_core::value::Value) -> Sql {
    match Bound(value).to_sql() {
        Ok(ToSqlOutput::Borrowed(value)) => value.try_into().unwrap_or(Sql::Null),
        Ok(ToSqlOutput::Owned(value)) => value,
        _ => Sql::Null,
    }
}

/// What was done to a row; `None` where nothing of it is left, as of a row that was put back by hand.
fn edit(filling: &Filling<'_>, table: &Table, row: &Row<'_>) -> Result<Option<LocalEdit>> {
    let sent: bool = row.get(2)?;
    let conflict = row.get::<_, Option<String>>(3)?.map(|id| ConflictId(Uuid::try_parse(&id).unwrap_or_default()));
    let (inserted, lives) = (row.get::<_, String>(1)? != "change", row.get::<_, bool>(6)?);
    let cells = |from: usize| -> Result<Vec<Cell>> {
        let columns = table.columns.iter().enumerate();
        columns.map(|(at, column)| Ok(Cell::read(&column.ty, row.get_ref(from + at)?))).collect()
    };
    let (base, live) = (cells(LEAD)?, cells(LEAD + table.columns.len())?);
    let pair = |at: usize| match (inserted, lives) {
        (true, true) => Some([Json::Null, live[at].json.clone()]),
        (true, false) => None,
        (false, false) => Some([base[at].json.clone(), Json::Null]),
        (false, true) => (base[at] != live[at]).then(|| [base[at].json.clone(), live[at].json.clone()]),
    };
    // A hidden column is NULL wherever no edit is of it.
    let untouched = |at: usize, column: &Column| is_hidden(column) && base[at].json.is_null() && live[at].json.is_null();
    let changes = filling.names.changes(table, |at, column| pair(at).filter(|_| !untouched(at, column)));
    let marked = table.soft_delete_position().is_some_and(|at| live[at].is_true() && !base[at].is_true());
    let op = match (inserted, lives) {
        (true, true) => "insert",
        (_, false) => "delete",
        (false, true) if marked => "delete",
        (false, true) => "update",
    };
    // An insert that was taken back, and an edit that was: as long as they are on their way, they are edits too.
    if changes == json!({}) && !sent {
        return Ok(None);
    }
    let (at, by) = if lives { (7, 8) } else { (4, 5) };
    Ok(Some(LocalEdit {
        table_name: filling.names.table(table),
        record_id: record_id(table, if lives { &live } else { &base }),
        place: Place::Row(table.no, row.get(0)?).to_string(),
        state: match (&conflict, sent) {
            (Some(_), _) => EditState::Held,
            (None, true) => EditState::Sent,
            (None, false) => EditState::Waiting,
        },
        op: op.to_owned(),
        changes,
        edited_at: text(row, at)?.and_then(|text| text.parse().ok()),
        edited_by: text(row, by)?,
        conflict,
    }))
}

/// A text that any program may have written.
fn text(row: &Row<'_>, at: usize) -> Result<Option<String>> {
    Ok(row.get_ref(at)?.as_str_or_null().ok().flatten().map(str::to_owned))
}

/// The one record asked for, where it is clean and confirmed: it is in the cloud as it is here.
pub(super) fn in_cloud(filling: &mut Filling<'_>) -> Result<()> {
    let Some(record) = filling.query.record.clone().filter(|_| filling.wants(&[EditState::Cloud])) else { return Ok(()) };
    for table in tables(filling.catalog) {
        let Ok(Some(key)) = table.parse_key(&record) else { continue };
        if !filling.wants_table(&table.name) {
            continue;
        }
        let Some(live) = live_by_key(filling.connection, table, &key)?.filter(|live| live.held != HeldState::Ghost) else { continue };
        let dirty = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE rejoin_row = ?1)", base_table(table));
        let dirty: bool = filling.connection.prepare_cached(&dirty)?.query_row([live.rejoin_row], |row| row.get(0))?;
        if dirty || live.live.stamp.synced_at.is_none() || ParkedRows::of(filling.connection, table.no)?.has(filling.connection, &record)? {
            continue;
        }
        filling.take(LocalEdit {
            table_name: table.name.clone(),
            record_id: record.clone(),
            place: Place::Row(table.no, live.rejoin_row).to_string(),
            state: EditState::Cloud,
            op: "update".to_owned(),
            changes: json!({}),
            edited_at: live.live.stamp.updated_at.parse().ok(),
            edited_by: live.live.stamp.modified_by,
            conflict: None,
        });
    }
    Ok(())
}
