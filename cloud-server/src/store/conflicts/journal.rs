//! What decisions wrote, so that they can be taken back: `rejoin.resolutions`.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::GenericClient;
use serde_json::{Value as Json, json};
use sync_core::catalog::{Catalog, Table};
use sync_core::change::etag;
use sync_core::conflict::Resolution;
use sync_core::id::{Key, TableNo};
use sync_core::write::row_to_json;
use uuid::Uuid;

use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;

/// One row that a decision wrote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) table: TableNo,
    pub(crate) record: String,
    /// The row before, by column names; `None` where there was none.
    pub(crate) before: Option<Json>,
    /// Its `ETag` afterwards; `None` where there is none any more.
    pub(crate) after: Option<String>,
}

/// One decision that was carried out.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) conflict: Uuid,
    /// The conflict's revision after the decision.
    pub(crate) revision: i64,
    pub(crate) resolution: Resolution,
    pub(crate) writes: Vec<Written>,
    /// The conflicts that were decided with it because they hang from it.
    pub(crate) dependents: Vec<Uuid>,
}

/// A decision on record.
#[derive(Debug, Clone)]
pub(super) struct OnRecord {
    pub(super) id: i64,
    pub(super) writes: Vec<Written>,
    pub(super) dependents: Vec<Uuid>,
}

/// The rows that a decision touches, as they were before its first touch.
#[derive(Debug, Default)]
pub(super) struct Journal {
    before: BTreeMap<(TableNo, Key), Option<StoredRow>>,
}

impl Journal {
    pub(super) fn note(&mut self, table: &Table, key: Key, before: Option<&StoredRow>) {
        self.before.entry((table.no, key)).or_insert_with(|| before.cloned());
    }

    /// What became of the touched rows; those that are as they were are left out.
    pub(super) async fn written(self, tx: &WriteTx<'_>, catalog: &Catalog) -> Result<Vec<Written>, StoreError> {
        let mut by_table: BTreeMap<TableNo, Vec<&Key>> = BTreeMap::new();
        for (no, key) in self.before.keys() {
            by_table.entry(*no).or_default().push(key);
        }
        let mut after: HashMap<(TableNo, Key), String> = HashMap::new();
        for (no, keys) in by_table {
            let Some(table) = catalog.table(no) else { continue };
            for stored in bulk::load(&**tx, table, &keys, &bulk::all_columns(table), Lock::None).await? {
                after.insert((no, table.key_of(&stored.row)), tag(table, &stored));
            }
        }
        let written = self.before.iter().filter_map(|(name, before)| {
            let table = catalog.table(name.0)?;
            let after = after.remove(name);
            let changed = before.as_ref().map(|before| tag(table, before)) != after;
            let before = before.as_ref().map(|before| row_to_json(table, &before.row));
            changed.then(|| Written { table: name.0, record: name.1.to_string(), before, after })
        });
        Ok(written.collect())
    }
}

pub(super) fn tag(table: &Table, stored: &StoredRow) -> String {
    etag(table, stored.stamp.version, &stored.row)
}

/// Records decisions, any number in one statement.
///
/// # Errors
/// The store failed.
pub(crate) async fn record(tx: &WriteTx<'_>, by: &str, records: &[Record]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO rejoin.resolutions (conflict_id, revision, resolution, by, writes, dependents)
               SELECT u.conflict, u.revision, u.resolution::rejoin.conflict_resolution, $6, u.writes::jsonb,
                   ARRAY(SELECT d::uuid FROM jsonb_array_elements_text(u.dependents::jsonb) d)
               FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                   AS u(conflict, revision, resolution, writes, dependents)";
    let conflicts: Vec<Uuid> = records.iter().map(|record| record.conflict).collect();
    let revisions: Vec<i64> = records.iter().map(|record| record.revision).collect();
    let resolutions: Vec<&str> = records.iter().map(|record| record.resolution.as_str()).collect();
    let writes: Vec<String> =
        records.iter().map(|record| Json::from(record.writes.iter().map(Written::to_json).collect::<Vec<_>>()).to_string()).collect();
    let dependents: Vec<String> = records.iter().map(|record| json!(record.dependents).to_string()).collect();
    tx.execute(&tx.prepare_cached(sql).await?, &[&conflicts, &revisions, &resolutions, &writes, &dependents, &by]).await?;
    Ok(())
}

/// The decision that made this revision of a conflict, if it is on record and was not taken back.
pub(super) async fn on_record(db: &impl GenericClient, conflict: Uuid, revision: i64) -> Result<Option<OnRecord>, StoreError> {
    let sql = "SELECT id, writes, dependents FROM rejoin.resolutions
               WHERE conflict_id = $1 AND revision = $2 AND undone_at IS NULL ORDER BY id DESC LIMIT 1";
    let Some(row) = db.query_opt(&db.prepare_cached(sql).await?, &[&conflict, &revision]).await? else { return Ok(None) };
    let writes: Json = row.try_get(1)?;
    let corrupt = || StoreError::Corrupt(format!("the writes of a decision on conflict {conflict}: {writes}"));
    let list = writes.as_array().ok_or_else(corrupt)?;
    let writes = list.iter().map(|json| Written::from_json(json).ok_or_else(corrupt)).collect::<Result<_, _>>()?;
    Ok(Some(OnRecord { id: row.try_get(0)?, writes, dependents: row.try_get(2)? }))
}

impl Written {
    fn to_json(&self) -> Json {
        json!({"table": self.table.0, "record": self.record, "before": self.before, "after": self.after})
    }

    fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            table: TableNo(u32::try_from(json.get("table")?.as_u64()?).ok()?),
            record: json.get("record")?.as_str()?.to_owned(),
            before: json.get("before").filter(|before| !before.is_null()).cloned(),
            after: json.get("after").and_then(Json::as_str).map(ToOwned::to_owned),
        })
    }
}
