//! The cloud's row that stands against a conflict, as far as this site knows it.

use conflict_ui_api::backend::Conflict;
use rusqlite::{Connection, params_from_iter};
use sync_core::catalog::Table;
use sync_core::change::{Row, etag};
use sync_core::id::Key;
use sync_core::write::row_from_json;

use crate::store::error::Result;
use crate::store::rows::{Bound, HeldState, base_table, column_list, key_condition, live_by_key, read_row, theirs_table};

/// The ETag that the cloud's row has, as far as it is known here.
///
/// Content is what this site holds as accepted. The version is the cloud's own where the image says it; in a live row it may be ahead of the
/// cloud's, so for the content that was parked the conflict's `cloud_version` counts.
pub(super) fn cloud_etag(connection: &Connection, table: &Table, key: &Key, conflict: &Conflict) -> Result<Option<String>> {
    let Some((version, row)) = accepted(connection, table, key)? else { return Ok(None) };
    // A column that was too large to be parked is not compared.
    let parked = conflict.cloud_data.as_ref().map(|data| row_from_json(table, data));
    let unchanged =
        parked.is_some_and(|parked| parked.iter().zip(&row).all(|(parked, now)| parked.as_ref().is_none_or(|parked| parked == now)));
    let version = conflict.cloud_version.filter(|_| unchanged).unwrap_or(version);
    Ok(Some(etag(table, version, &row)))
}

/// The newest image of the cloud's row with its version: theirs, else the base image of a changed row, else the clean live row. An engine
/// table has no row of the user's.
pub(super) fn accepted(connection: &Connection, table: &Table, key: &Key) -> Result<Option<Versioned>> {
    if table.engine {
        return Ok(None);
    }
    for (companion, state) in [(theirs_table(table), "rejoin_state"), (base_table(table), "rejoin_kind")] {
        if let Some(image) = image(connection, table, key, &companion, state)? {
            return Ok(image);
        }
    }
    let live = live_by_key(connection, table, key)?.filter(|live| live.held == HeldState::Normal && live.live.at.is_some());
    Ok(live.map(|live| (live.live.stamp.version, live.live.row)))
}

type Versioned = (i64, Row);

/// What a companion table says of the cloud's row: nothing, that there is none, or its image.
fn image(connection: &Connection, table: &Table, key: &Key, companion: &str, state: &str) -> Result<Option<Option<Versioned>>> {
    let columns = column_list(table, "");
    let sql = format!(
        "SELECT {columns}, rejoin_version, {state} FROM {companion} WHERE {} AND {state} IN ('live', 'change', 'deleted', 'left')",
        key_condition(table, "", 1)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(key.0.iter().map(Bound)))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let at = table.columns.len();
    match row.get::<_, String>(at + 1)?.as_str() {
        "live" | "change" => Ok(Some(Some((row.get(at)?, read_row(table, row, 0)?)))),
        _ => Ok(Some(None)),
    }
}
