//! Edits in open conflicts, as the conflicts have them. Those of inserts that are held here are shown with their rows.

use conflict_ui_api::backend::{EditState, LocalEdit};
use rusqlite::types::Value as Sql;
use rusqlite::{OptionalExtension, Row, params_from_iter};
use serde_json::{Map, Value as Json, json};
use sync_core::conflict::ConflictKind;
use sync_core::id::ConflictId;
use uuid::Uuid;

use super::place::Place;
use super::{Filling, SCAN_ROWS};
use crate::store::conflicts::Source;
use crate::store::error::Result;

/// Conflicts `c` that keep an edit, unless its row is still held here.
pub(super) const PARKED: &str = "c.resolution = 'PENDING' AND c.held = 0";

pub(super) fn fill(filling: &mut Filling<'_>, start: Option<&Place>) -> Result<()> {
    if filling.is_full() || !filling.wants(&[EditState::Parked]) {
        return Ok(());
    }
    let Some(source) = Source::of(filling.connection)? else { return Ok(()) };
    let mut place = [Sql::Text(String::new()), Sql::Text(String::new()), Sql::Text(String::new())];
    if let Some(Place::Conflict(id)) = start {
        let sql = format!("SELECT c.table_name, c.record_id, c.id FROM {source} c WHERE c.id = ?1");
        let read = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        let found = filling.connection.prepare_cached(&sql)?.query_row([id.to_string()], read).optional()?;
        place = found.unwrap_or(place);
    }
    let sql = format!(
        "SELECT c.table_name, c.record_id, c.id, c.kind, c.columns, c.base_data, c.local_data, c.local_updated_at, c.local_modified_by, c.table_no
         FROM {source} c WHERE {PARKED} AND (c.table_name, c.record_id, c.id) > (?1, ?2, ?3)
         ORDER BY c.table_name, c.record_id, c.id LIMIT {SCAN_ROWS}"
    );
    let mut statement = filling.connection.prepare_cached(&sql)?;
    loop {
        let mut rows = statement.query(params_from_iter(place.clone()))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            place = [row.get(0)?, row.get(1)?, row.get(2)?];
            let edit = edit(filling, row)?;
            filling.take(edit);
            if filling.is_full() {
                return Ok(());
            }
        }
        if seen < SCAN_ROWS {
            return Ok(());
        }
    }
}

fn edit(filling: &Filling<'_>, row: &Row<'_>) -> Result<LocalEdit> {
    let json =
        |at: usize| -> Result<Option<Json>> { Ok(row.get::<_, Option<String>>(at)?.and_then(|text| serde_json::from_str(&text).ok())) };
    let id = ConflictId(Uuid::try_parse(&row.get::<_, String>(2)?).unwrap_or_default());
    let kind = ConflictKind::from_name(&row.get::<_, String>(3)?);
    let columns: Vec<String> = json(4)?.and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
    let (base, local) = (json(5)?, json(6)?);
    let op = match (&local, kind) {
        (None, _) | (_, Some(ConflictKind::DeleteUpdate)) => "delete",
        (Some(_), Some(ConflictKind::InsertInsert)) => "insert",
        (Some(_), _) if base.is_none() => "insert",
        (Some(_), _) => "update",
    };
    let no: i64 = row.get(9)?;
    let table = filling.catalog.tables.iter().find(|table| i64::from(table.no.0) == no);
    // The names of columns in conflicts are the database's.
    let shown = |name: &str| match table.and_then(|table| Some((table, table.column_named(name)?))) {
        Some((table, column)) => filling.names.column(table, column),
        None => filling.catalog.api.case.apply(name),
    };
    let value = |side: &Option<Json>, name: &str| side.as_ref().and_then(|side| side.get(name)).cloned().unwrap_or_default();
    let named = |name: &String| columns.is_empty() || columns.contains(name);
    // The base names what was edited; of a row that clashed as a whole the site's side has more than that.
    let side = if op == "insert" { &local } else { &base };
    let mut changes = Map::new();
    for name in side.iter().filter_map(Json::as_object).flat_map(Map::keys).filter(|name| named(name)) {
        let local = if op == "delete" { Json::Null } else { value(&local, name) };
        changes.insert(shown(name), json!([value(&base, name), local]));
    }
    Ok(LocalEdit {
        table_name: row.get(0)?,
        record_id: row.get(1)?,
        place: Place::Conflict(id).to_string(),
        state: EditState::Parked,
        op: op.to_owned(),
        changes: changes.into(),
        edited_at: row.get::<_, Option<String>>(7)?.and_then(|text| text.parse().ok()),
        edited_by: row.get(8)?,
        conflict: Some(id),
    })
}
