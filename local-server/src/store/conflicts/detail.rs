//! One conflict with all that is known here to decide it.

use conflict_ui_api::backend::{Conflict, ConflictDetail, DecisionState, Dependent};
use rusqlite::Connection;
use sync_core::catalog::{Catalog, Table};
use sync_core::conflict::ConflictKind;
use sync_core::dependents::{ParkedRow, tree};
use sync_core::id::ConflictId;
use sync_core::value::Value;
use sync_core::write::{row_from_json, row_to_json};
use uuid::Uuid;

use super::{Source, besides, current, list};
use crate::store::error::Result;

/// A conflict with its surroundings. A site keeps no history; what it says of the cloud's rows is as of its last pull.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn detail(connection: &Connection, catalog: &Catalog, id: ConflictId) -> Result<Option<ConflictDetail>> {
    let Some(source) = Source::of(connection)? else { return Ok(None) };
    let Some(conflict) = list::get(connection, catalog, id)? else { return Ok(None) };
    let (no, against): (i64, Option<String>) = connection
        .prepare_cached(&format!("SELECT c.table_no, c.cloud_record_id FROM {source} c WHERE c.id = ?1"))?
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let table = catalog.tables.iter().find(|table| i64::from(table.no.0) == no);
    let against = against.filter(|record| *record != conflict.record_id);
    let mut shown = None;
    if let Some(table) = table
        && let Ok(Some(key)) = table.parse_key(against.as_ref().unwrap_or(&conflict.record_id))
    {
        shown = current::accepted(connection, table, &key)?.map(|(_, row)| row_to_json(table, &row));
    }
    let dependents_tree = match table {
        Some(table) if conflict.dependents > 0 => dependents(connection, catalog, &source, table, &conflict)?,
        _ => Vec::new(),
    };
    let besides = besides::of(connection, catalog, &conflict)?;
    Ok(Some(ConflictDetail {
        current: shown,
        against,
        dependents_tree,
        besides: besides.shown(),
        besides_total: besides.total(),
        besides_digest: besides.digest(),
        history: Vec::new(),
        undoable: undoable(&conflict),
        conflict,
    }))
}

/// A decision that was not sent can be taken back, one under way cannot; of one that the cloud carried out, only the cloud knows.
fn undoable(conflict: &Conflict) -> Option<bool> {
    match conflict.decision.as_ref().map(|decision| decision.state) {
        Some(DecisionState::Waiting) => Some(true),
        Some(DecisionState::Sent | DecisionState::Done) => Some(false),
        Some(DecisionState::Refused) | None => None,
    }
}

/// The open conflicts that hang from one, as the tree that their rows' references make.
fn dependents(connection: &Connection, catalog: &Catalog, source: &Source, table: &Table, conflict: &Conflict) -> Result<Vec<Dependent>> {
    let sql = format!(
        "SELECT c.id, c.table_no, c.record_id, c.kind, c.reason, c.local_data, c.table_name FROM {source} c \
         WHERE c.root_id = ?1 AND c.resolution = 'PENDING' ORDER BY c.created_at, c.id"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([conflict.id.to_string()])?;
    let (mut known, mut shown) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = ConflictId(Uuid::try_parse(&row.get::<_, String>(0)?).unwrap_or_default());
        let (no, record): (i64, String) = (row.get(1)?, row.get(2)?);
        let data = row.get::<_, Option<String>>(5)?.and_then(|text| serde_json::from_str(&text).ok());
        let Some(table) = catalog.tables.iter().find(|table| i64::from(table.no.0) == no) else { continue };
        known.push(ParkedRow { conflict: id, table, row: parked_row(table, &record, data.as_ref()) });
        shown.push(Dependent {
            id,
            parent: conflict.id,
            depth: 1,
            table_name: row.get(6)?,
            record_id: record,
            kind: ConflictKind::from_name(&row.get::<_, String>(3)?).unwrap_or(ConflictKind::Rejected),
            reason: row.get(4)?,
        });
    }
    let top = ParkedRow { conflict: conflict.id, table, row: parked_row(table, &conflict.record_id, conflict.local_data.as_ref()) };
    let branches = tree(catalog, &top, &known).into_iter();
    Ok(branches.map(|branch| Dependent { parent: branch.parent, depth: branch.depth, ..shown[branch.index].clone() }).collect())
}

/// The site's row as far as the conflict has it; its key in any case.
fn parked_row(table: &Table, record: &str, data: Option<&serde_json::Value>) -> Vec<Option<Value>> {
    let mut row = data.map_or_else(|| vec![None; table.columns.len()], |data| row_from_json(table, data));
    if let Ok(Some(key)) = table.parse_key(record) {
        for (at, value) in table.key_positions().zip(key.0) {
            row[at].get_or_insert(value);
        }
    }
    row
}
