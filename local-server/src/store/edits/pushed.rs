//! Edits that are known as they were pushed: later ones, which join a conflict, and those that an answer parked and whose conflict has not
//! arrived.

use conflict_ui_api::backend::{EditState, LocalEdit};
use rusqlite::params;
use serde_json::{Value as Json, json};
use sync_core::change::{Op, RowChange};
use sync_core::id::{ConflictId, TableNo};
use sync_core::value::Value;
use sync_core::wire::codec;
use uuid::Uuid;

use super::Filling;
use super::place::Place;
use crate::store::error::Result;

/// Edits made while their row's push was clashing.
pub(super) fn fill_later(filling: &mut Filling<'_>, start: Option<&Place>) -> Result<()> {
    if filling.is_full() || !filling.wants(&[EditState::Waiting, EditState::Sent]) {
        return Ok(());
    }
    let (table, record) = match start {
        Some(Place::Later(table, record)) => (table.0, record.as_str()),
        _ => (0, ""),
    };
    let sql = "SELECT table_no, record_id, body, push_no IS NOT NULL FROM rejoin_later WHERE (table_no, record_id) > (?1, ?2)
               ORDER BY table_no, record_id";
    let mut statement = filling.connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![table, record])?;
    while let Some(row) = rows.next()? {
        let (table, record): (u32, String) = (row.get(0)?, row.get(1)?);
        let state = if row.get(3)? { EditState::Sent } else { EditState::Waiting };
        let place = Place::Later(TableNo(table), record.clone());
        let edit = edit(filling, TableNo(table), record, &row.get::<_, Vec<u8>>(2)?, state, &place, None);
        filling.take(edit);
        if filling.is_full() {
            break;
        }
    }
    Ok(())
}

/// Edits that were parked by an answer since the last pull.
pub(super) fn fill_parked(filling: &mut Filling<'_>, start: Option<&Place>) -> Result<()> {
    if filling.is_full() || !filling.wants(&[EditState::Parked]) {
        return Ok(());
    }
    let after = if let Some(Place::Answered(no)) = start { *no } else { 0 };
    let sql = "SELECT no, conflict, table_no, record_id, body FROM rejoin_parked WHERE no > ?1 ORDER BY no";
    let mut statement = filling.connection.prepare_cached(sql)?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        let place = Place::Answered(row.get(0)?);
        let conflict = Uuid::try_parse(&row.get::<_, String>(1)?).ok().map(ConflictId);
        let body: Vec<u8> = row.get(4)?;
        let edit = edit(filling, TableNo(row.get(2)?), row.get(3)?, &body, EditState::Parked, &place, conflict);
        filling.take(edit);
        if filling.is_full() {
            break;
        }
    }
    Ok(())
}

fn edit(
    filling: &Filling<'_>,
    table: TableNo,
    record_id: String,
    body: &[u8],
    state: EditState,
    place: &Place,
    conflict: Option<ConflictId>,
) -> LocalEdit {
    let change: Option<RowChange> = codec::decode(body).ok();
    let table = filling.catalog.table(table);
    let stamp = change.as_ref().map(|change| change.stamp.clone());
    let (op, changes) = match (&change, table) {
        (Some(change), Some(table)) => {
            let value = |no, value: &Value| table.column(no).map(|column| column.ty.to_json(value)).unwrap_or_default();
            let pair = |no| pair(&change.op, no, &value);
            (op(&change.op), filling.names.changes(table, |_, column| pair(column.no)))
        }
        (change, _) => (change.as_ref().map_or("update", |change| op(&change.op)), json!({})),
    };
    LocalEdit {
        table_name: table.map_or_else(String::new, |table| filling.names.table(table)),
        record_id,
        place: place.to_string(),
        state,
        op: op.to_owned(),
        changes,
        edited_at: stamp.as_ref().and_then(|stamp| stamp.updated_at.parse().ok()),
        edited_by: stamp.and_then(|stamp| stamp.modified_by),
        conflict,
    }
}

fn op(op: &Op) -> &'static str {
    match op {
        Op::Insert(_) => "insert",
        Op::Update(_) | Op::Rekey(..) => "update",
        Op::Delete(_) => "delete",
    }
}

/// A column's base and local value, where the change is of it.
fn pair(op: &Op, no: sync_core::id::ColumnNo, json: &dyn Fn(sync_core::id::ColumnNo, &Value) -> Json) -> Option<[Json; 2]> {
    let given =
        |pairs: &[(sync_core::id::ColumnNo, Value)]| pairs.iter().find(|(column, _)| *column == no).map(|(no, value)| json(*no, value));
    match op {
        Op::Insert(pairs) => given(pairs).map(|value| [Json::Null, value]),
        Op::Delete(pairs) => given(pairs).map(|value| [value, Json::Null]),
        Op::Update(edits) | Op::Rekey(_, edits) => {
            let edit = edits.iter().find(|edit| edit.column == no && edit.base != edit.new)?;
            Some([json(no, &edit.base), json(no, &edit.new)])
        }
    }
}
