//! One conflict with all that is needed to decide it.

use conflict_ui_api::backend::ConflictDetail;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{ConflictId, TableNo};
use sync_core::limits::CONFLICT_HISTORY_MAX;
use sync_core::write::row_to_json;

use super::besides::besides;
use super::family::dependents;
use super::show;
use super::undo::undoable;
use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::history;

/// A conflict, the row that stands against it as it is now, and what happened to that row.
///
/// # Errors
/// The store failed.
pub async fn detail(db: &impl GenericClient, catalog: &Catalog, id: ConflictId) -> Result<Option<ConflictDetail>, StoreError> {
    let Some(conflict) = show::get(db, catalog, id).await? else { return Ok(None) };
    let sql = "SELECT table_no, coalesce(cloud_record_id, record_id) FROM rejoin.sync_conflicts WHERE id = $1";
    let Some(row) = db.query_opt(&db.prepare_cached(sql).await?, &[&id.0]).await? else { return Ok(None) };
    let (no, record): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    let table: Option<&Table> = u32::try_from(no).ok().and_then(|no| catalog.table(TableNo(no)));
    let key = table.and_then(|table| Some((table, table.parse_key(&record).ok().flatten()?)));
    let (mut current, mut entries) = (None, Vec::new());
    if let Some((table, key)) = &key {
        let stored = bulk::load(db, table, &[key], &bulk::all_columns(table), Lock::None).await?.pop();
        current = stored.map(|stored| row_to_json(table, &stored.row));
        entries = history::list(db, table, key, None, CONFLICT_HISTORY_MAX).await?;
    }
    let besides = besides(db, catalog, id).await?;
    Ok(Some(ConflictDetail {
        against: (record != conflict.record_id).then_some(record),
        conflict,
        current,
        dependents_tree: dependents(db, catalog, id).await?,
        besides: besides.rows,
        besides_total: besides.total,
        besides_digest: besides.digest,
        history: entries,
        undoable: undoable(db, catalog, id).await?,
    }))
}
