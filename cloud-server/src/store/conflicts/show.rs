//! Conflicts as the API shows them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::Conflict;
use deadpool_postgres::GenericClient;
use sync_core::catalog::Catalog;
use sync_core::change::etag;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ConflictId, Key, TableNo};
use sync_core::policy::Policy;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;

pub(super) const COLUMNS: &str =
    "c.id, c.table_name, c.record_id, c.kind, c.reason, c.columns, c.cloud_version, c.local_version, c.base_data,
    c.cloud_data, c.local_data, c.cloud_updated_at, c.local_updated_at, c.revision, c.held, c.site_name, c.push_no, c.resolution::text,
    c.resolved_at, c.resolved_by, c.created_at, c.table_no, coalesce(c.cloud_record_id, c.record_id), c.group_id, c.root_id, c.policy,
    c.cloud_modified_by, c.local_modified_by,
    (SELECT count(*) FROM rejoin.sync_conflicts d WHERE d.root_id = c.id AND d.resolution = 'PENDING')";

/// One conflict.
///
/// # Errors
/// The store failed.
pub async fn get(db: &impl GenericClient, catalog: &Catalog, id: ConflictId) -> Result<Option<Conflict>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.id = $1");
    let rows = db.query(&db.prepare_cached(&sql).await?, &[&id.0]).await?;
    Ok(show(db, catalog, &rows).await?.pop())
}

/// Rows of [`COLUMNS`] as the API shows them.
///
/// # Errors
/// The store failed.
pub(super) async fn show(db: &impl GenericClient, catalog: &Catalog, rows: &[Row]) -> Result<Vec<Conflict>, StoreError> {
    let tags = etags(db, catalog, rows).await?;
    rows.iter().map(|row| conflict(row, &tags)).collect()
}

/// The ETags of the cloud's rows that stand against the conflicts, as they are now: one query for each table.
async fn etags(db: &impl GenericClient, catalog: &Catalog, rows: &[Row]) -> Result<HashMap<(i32, String), String>, StoreError> {
    let mut wanted: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for row in rows {
        wanted.entry(row.try_get(21)?).or_default().push(row.try_get(22)?);
    }
    let mut tags = HashMap::new();
    for (no, records) in wanted {
        let Some(table) = u32::try_from(no).ok().and_then(|no| catalog.table(TableNo(no))) else { continue };
        let mut keys: Vec<Key> = records.iter().filter_map(|record| table.parse_key(record).ok().flatten()).collect();
        keys.sort_unstable();
        keys.dedup();
        let keys: Vec<&Key> = keys.iter().collect();
        for stored in bulk::load(db, table, &keys, &bulk::all_columns(table), Lock::None).await? {
            tags.insert((no, table.key_of(&stored.row).to_string()), etag(table, stored.stamp.version, &stored.row));
        }
    }
    Ok(tags)
}

fn conflict(row: &Row, tags: &HashMap<(i32, String), String>) -> Result<Conflict, StoreError> {
    let kind: &str = row.try_get(3)?;
    let resolution: &str = row.try_get(17)?;
    let unknown = |word: &str| StoreError::Corrupt(format!("sync_conflicts names {word}"));
    Ok(Conflict {
        id: ConflictId(row.try_get::<_, Uuid>(0)?),
        table_name: row.try_get(1)?,
        record_id: row.try_get(2)?,
        kind: ConflictKind::from_name(kind).ok_or_else(|| unknown(kind))?,
        reason: row.try_get(4)?,
        columns: row.try_get(5)?,
        cloud_version: row.try_get(6)?,
        local_version: row.try_get(7)?,
        base_data: row.try_get(8)?,
        cloud_data: row.try_get(9)?,
        local_data: row.try_get(10)?,
        cloud_updated_at: row.try_get(11)?,
        local_updated_at: row.try_get(12)?,
        cloud_etag: tags.get(&(row.try_get(21)?, row.try_get(22)?)).cloned(),
        revision: row.try_get(13)?,
        held: row.try_get(14)?,
        site: row.try_get(15)?,
        push: row.try_get(16)?,
        resolution: Resolution::from_name(resolution).ok_or_else(|| unknown(resolution))?,
        resolved_at: row.try_get::<_, Option<DateTime<Utc>>>(18)?,
        resolved_by: row.try_get(19)?,
        created_at: row.try_get(20)?,
        decided_not_sent: false,
        decision: None,
        group: row.try_get(23)?,
        root: row.try_get::<_, Option<Uuid>>(24)?.map(ConflictId),
        policy: row.try_get::<_, Option<&str>>(25)?.and_then(Policy::from_name),
        cloud_modified_by: row.try_get(26)?,
        local_modified_by: row.try_get(27)?,
        dependents: u64::try_from(row.try_get::<_, i64>(28)?).unwrap_or_default(),
    })
}
