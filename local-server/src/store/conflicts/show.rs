//! Conflicts as the API shows them, each with the decision that was made here.

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{Conflict, DecisionState, SiteDecision};
use rusqlite::{Connection, Row};
use sync_core::catalog::Catalog;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::policy::Policy;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;
use uuid::Uuid;

use super::{Source, current};
use crate::store::error::{Result, StoreError};

const COLUMNS: &str = "c.id, c.table_name, c.record_id, c.kind, c.reason, c.columns, c.cloud_version, c.local_version, c.base_data, \
    c.cloud_data, c.local_data, c.cloud_updated_at, c.local_updated_at, c.revision, c.held, c.site_name, c.push_no, c.resolution, \
    c.resolved_at, c.resolved_by, c.created_at, coalesce(c.cloud_record_id, c.record_id), c.table_no, c.group_id, c.root_id, c.policy, \
    c.cloud_modified_by, c.local_modified_by, \
    (SELECT count(*) FROM sync_conflicts h WHERE h.root_id = c.id AND h.resolution = 'PENDING'), \
    d.body, d.decided_by, d.decided_at, d.push_no IS NOT NULL, d.refused, d.done";

/// Reads conflicts `c`; `rest` begins with `WHERE`.
pub(super) fn select(
    connection: &Connection,
    catalog: &Catalog,
    source: &Source,
    rest: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Conflict>> {
    let sql = format!("SELECT {COLUMNS} FROM {source} c LEFT JOIN rejoin_commands d ON d.conflict = c.id {rest}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut conflict = conflict_of(row)?;
        conflict.decision = decision(row)?;
        conflict.decided_not_sent = conflict.decision.as_ref().is_some_and(|decision| decision.state != DecisionState::Refused);
        if let Some(refused) = conflict.decision.as_ref().and_then(|decision| decision.refused.as_ref()) {
            conflict.reason = format!("{}. The decision made here was refused: {refused}", conflict.reason);
        }
        let no: i64 = row.get(22)?;
        let table = catalog.tables.iter().find(|table| i64::from(table.no.0) == no);
        if let Some(table) = table
            && let Ok(Some(key)) = table.parse_key(&row.get::<_, String>(21)?)
        {
            conflict.cloud_etag = current::cloud_etag(connection, table, &key, &conflict)?;
        }
        all.push(conflict);
    }
    Ok(all)
}

fn conflict_of(row: &Row<'_>) -> Result<Conflict> {
    let uuid = |at: usize| Ok::<_, StoreError>(row.get::<_, Option<String>>(at)?.and_then(|text| Uuid::try_parse(&text).ok()));
    let json = |at: usize| Ok::<_, StoreError>(row.get::<_, Option<String>>(at)?.and_then(|text| serde_json::from_str(&text).ok()));
    Ok(Conflict {
        id: ConflictId(uuid(0)?.unwrap_or_default()),
        table_name: row.get(1)?,
        record_id: row.get(2)?,
        // A kind that only a newer cloud knows can be shown, and decided there.
        kind: ConflictKind::from_name(&row.get::<_, String>(3)?).unwrap_or(ConflictKind::Rejected),
        reason: row.get(4)?,
        columns: row.get::<_, Option<String>>(5)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        cloud_version: row.get(6)?,
        local_version: row.get(7)?,
        base_data: json(8)?,
        cloud_data: json(9)?,
        local_data: json(10)?,
        cloud_updated_at: time(row, 11)?,
        local_updated_at: time(row, 12)?,
        cloud_etag: None,
        revision: row.get(13)?,
        held: row.get::<_, Option<bool>>(14)?.unwrap_or(false),
        site: row.get(15)?,
        push: row.get(16)?,
        resolution: Resolution::from_name(&row.get::<_, String>(17)?).unwrap_or(Resolution::Pending),
        resolved_at: time(row, 18)?,
        resolved_by: row.get(19)?,
        created_at: time(row, 20)?.unwrap_or_default(),
        decided_not_sent: false,
        decision: None,
        group: uuid(23)?,
        root: uuid(24)?.map(ConflictId),
        dependents: u64::try_from(row.get::<_, i64>(28)?).unwrap_or_default(),
        policy: row.get::<_, Option<String>>(25)?.as_deref().and_then(Policy::from_name),
        cloud_modified_by: row.get(26)?,
        local_modified_by: row.get(27)?,
    })
}

fn decision(row: &Row<'_>) -> Result<Option<SiteDecision>> {
    let Some(body) = row.get::<_, Option<Vec<u8>>>(29)? else { return Ok(None) };
    // One that an older program stored and this one cannot read was refused by the push that should carry it.
    let (resolution, way) = match codec::decode::<ResolveCommand>(&body) {
        Ok(command) => (command.resolution, command.way),
        Err(_) => (Resolution::Pending, Way::Plain),
    };
    let refused: Option<String> = row.get(33)?;
    let state = match (&refused, row.get::<_, bool>(34)?, row.get::<_, bool>(32)?) {
        (Some(_), ..) => DecisionState::Refused,
        (None, true, _) => DecisionState::Done,
        (None, false, true) => DecisionState::Sent,
        (None, false, false) => DecisionState::Waiting,
    };
    Ok(Some(SiteDecision { resolution, way, by: row.get(30)?, at: time(row, 31)?.unwrap_or_default(), state, refused }))
}

fn time(row: &Row<'_>, at: usize) -> Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<String>>(at)?.and_then(|text| text.parse().ok()))
}
