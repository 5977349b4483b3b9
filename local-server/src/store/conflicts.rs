//! This site's parked conflicts, as they came by the feed, and the decisions made here, which are commands for the cloud.

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{Conflict, ConflictQuery};
use conflict_ui_api::error::BackendError;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sync_core::catalog::{Catalog, Table};
use sync_core::change::{Row, etag};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ConflictId, Key};
use sync_core::policy::Policy;
use sync_core::value::timestamp_text;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;
use sync_core::write::row_from_json;
use uuid::Uuid;

use crate::store::error::{Result, StoreError};
use crate::store::rows::{Bound, HeldState, base_table, column_list, key_condition, live_by_key, read_row, theirs_table};

const COLUMNS: &str = "c.id, c.table_name, c.record_id, c.kind, c.reason, c.columns, c.cloud_version, c.local_version, c.base_data, \
    c.cloud_data, c.local_data, c.cloud_updated_at, c.local_updated_at, c.revision, c.held, c.site_name, c.push_no, c.resolution, \
    c.resolved_at, c.resolved_by, c.created_at, coalesce(c.cloud_record_id, c.record_id), d.conflict IS NOT NULL AND d.refused IS NULL, \
    d.refused, c.table_no, c.group_id, c.root_id, c.policy, c.cloud_modified_by, c.local_modified_by, \
    (SELECT count(*) FROM sync_conflicts h WHERE h.root_id = c.id AND h.resolution = 'PENDING')";

/// At most `query.limit` conflicts, newest first.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn list(connection: &Connection, catalog: &Catalog, query: &ConflictQuery) -> Result<Vec<Conflict>> {
    let mut conditions = vec!["c.rejoin_held <> 2".to_owned()];
    let mut values: Vec<Sql> = Vec::new();
    let equals = [
        ("c.resolution", query.filter.resolution.map(|resolution| resolution.as_str().to_owned())),
        ("c.table_name", query.filter.table.clone()),
        ("c.kind", query.filter.kind.map(|kind| kind.as_str().to_owned())),
        ("c.site_name", query.filter.site.clone()),
    ];
    for (column, value) in equals {
        if let Some(value) = value {
            values.push(Sql::Text(value));
            conditions.push(format!("{column} = ?{}", values.len()));
        }
    }
    if let Some(after) = query.after {
        values.push(Sql::Text(after.to_string()));
        let at = values.len();
        conditions.push(format!("(c.created_at, c.id) < (SELECT a.created_at, a.id FROM sync_conflicts a WHERE a.id = ?{at})"));
    }
    let rest = format!("WHERE {} ORDER BY c.created_at DESC, c.id DESC LIMIT {}", conditions.join(" AND "), query.limit);
    select(connection, catalog, &rest, params_from_iter(values))
}

/// One conflict.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn get(connection: &Connection, catalog: &Catalog, id: ConflictId) -> Result<Option<Conflict>> {
    Ok(select(connection, catalog, "WHERE c.id = ?1", [id.to_string()])?.pop())
}

/// How many have no decision yet.
///
/// # Errors
/// The database.
pub fn pending(connection: &Connection) -> Result<i64> {
    if !arrived(connection)? {
        return Ok(0);
    }
    Ok(connection.query_row("SELECT count(*) FROM sync_conflicts WHERE resolution = 'PENDING'", [], |row| row.get(0))?)
}

/// Stores a decision. It changes no synced row here: it travels with the next push, and its effect comes back by the feed.
///
/// # Errors
/// There is no such conflict, it is resolved or has changed since, or a decision is on its way.
pub fn decide(connection: &Connection, catalog: &Catalog, command: &ResolveCommand) -> std::result::Result<Conflict, BackendError> {
    let missing = || BackendError::NotFound(format!("conflict {}", command.conflict));
    let conflict = get(connection, catalog, command.conflict)?.ok_or_else(missing)?;
    let seen = conflict.revision == command.revision && conflict.cloud_etag == command.cloud_etag;
    if conflict.resolution != Resolution::Pending || !seen {
        return Err(BackendError::Outdated(Box::new(conflict)));
    }
    let sql = "SELECT push_no IS NOT NULL FROM rejoin_commands WHERE conflict = ?1 AND refused IS NULL";
    let sent: Option<bool> =
        connection.query_row(sql, [command.conflict.to_string()], |row| row.get(0)).optional().map_err(StoreError::from)?;
    if sent == Some(true) {
        return Err(BackendError::Undecidable("a decision made here is on its way to the cloud already".to_owned()));
    }
    let body =
        codec::encode(command).map_err(|_| BackendError::Undecidable("the decision's values are too large to be sent".to_owned()))?;
    let sql = "INSERT INTO rejoin_commands (conflict, body, decided_by, decided_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (conflict) DO UPDATE SET body = excluded.body, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
                   push_no = NULL, refused = NULL";
    let done = connection.execute(sql, params![command.conflict.to_string(), body, command.by, timestamp_text(Utc::now())]);
    done.map_err(StoreError::from)?;
    get(connection, catalog, command.conflict)?.ok_or_else(missing)
}

/// Whether the cloud's conflicts are among the synced tables yet.
fn arrived(connection: &Connection) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sync_conflicts')";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn select(connection: &Connection, catalog: &Catalog, rest: &str, params: impl rusqlite::Params) -> Result<Vec<Conflict>> {
    if !arrived(connection)? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {COLUMNS} FROM sync_conflicts c LEFT JOIN rejoin_commands d ON d.conflict = c.id {rest}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut conflict = conflict_of(row)?;
        let no: i64 = row.get(24)?;
        let table = catalog.tables.iter().find(|table| i64::from(table.no.0) == no);
        if let Some(table) = table
            && let Ok(Some(key)) = table.parse_key(&row.get::<_, String>(21)?)
        {
            conflict.cloud_etag = cloud_etag(connection, table, &key, &conflict)?;
        }
        all.push(conflict);
    }
    Ok(all)
}

fn conflict_of(row: &rusqlite::Row<'_>) -> Result<Conflict> {
    let uuid = |at: usize| Ok::<_, StoreError>(Uuid::try_parse(&row.get::<_, String>(at)?).unwrap_or_default());
    let json = |at: usize| Ok::<_, StoreError>(row.get::<_, Option<String>>(at)?.and_then(|text| serde_json::from_str(&text).ok()));
    let time = |at: usize| Ok::<_, StoreError>(row.get::<_, Option<String>>(at)?.and_then(|text| text.parse::<DateTime<Utc>>().ok()));
    let reason: String = row.get(4)?;
    let refused: Option<String> = row.get(23)?;
    Ok(Conflict {
        id: ConflictId(uuid(0)?),
        table_name: row.get(1)?,
        record_id: row.get(2)?,
        // A kind that only a newer cloud knows can be shown, and decided there.
        kind: ConflictKind::from_name(&row.get::<_, String>(3)?).unwrap_or(ConflictKind::Rejected),
        reason: refused.map_or(reason.clone(), |refused| format!("{reason}. The decision made here was refused: {refused}")),
        columns: row.get::<_, Option<String>>(5)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        cloud_version: row.get(6)?,
        local_version: row.get(7)?,
        base_data: json(8)?,
        cloud_data: json(9)?,
        local_data: json(10)?,
        cloud_updated_at: time(11)?,
        local_updated_at: time(12)?,
        cloud_etag: None,
        revision: row.get(13)?,
        held: row.get(14)?,
        site: row.get(15)?,
        push: row.get(16)?,
        resolution: Resolution::from_name(&row.get::<_, String>(17)?).unwrap_or(Resolution::Manual),
        resolved_at: time(18)?,
        resolved_by: row.get(19)?,
        created_at: time(20)?.unwrap_or_default(),
        decided_not_sent: row.get(22)?,
        decision: None,
        group: row.get::<_, Option<String>>(25)?.and_then(|id| Uuid::try_parse(&id).ok()),
        root: row.get::<_, Option<String>>(26)?.and_then(|id| Uuid::try_parse(&id).ok()).map(ConflictId),
        policy: row.get::<_, Option<String>>(27)?.as_deref().and_then(Policy::from_name),
        cloud_modified_by: row.get(28)?,
        local_modified_by: row.get(29)?,
        dependents: u64::try_from(row.get::<_, i64>(30)?).unwrap_or_default(),
    })
}

/// The ETag that the cloud's row has, as far as it is known here.
///
/// Content is what this site holds as accepted. The version is the cloud's own where the image says it; in a live row it may be ahead of the
/// cloud's, so for the content that was parked the conflict's `cloud_version` counts.
fn cloud_etag(connection: &Connection, table: &Table, key: &Key, conflict: &Conflict) -> Result<Option<String>> {
    let Some((version, row)) = accepted(connection, table, key)? else { return Ok(None) };
    // A column that was too large to be parked is not compared.
    let parked = conflict.cloud_data.as_ref().map(|data| row_from_json(table, data));
    let unchanged =
        parked.is_some_and(|parked| parked.iter().zip(&row).all(|(parked, now)| parked.as_ref().is_none_or(|parked| parked == now)));
    let version = conflict.cloud_version.filter(|_| unchanged).unwrap_or(version);
    Ok(Some(etag(table, version, &row)))
}

/// The newest image of the cloud's row with its version: theirs, else the base image of a changed row, else the clean live row.
fn accepted(connection: &Connection, table: &Table, key: &Key) -> Result<Option<Versioned>> {
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
