//! What lost by a policy, on record: rows of `sync_conflicts` that are resolved from the start, with all that is known of both sides. They
//! join no open conflict and block none.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sync_core::conflict::Resolution;
use sync_core::id::ConflictId;
use sync_core::policy::Policy;
use sync_core::value::ColumnType;
use sync_core::write::{bounded, row_to_json};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::park::{Parking, Source, images};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// One side that lost.
#[derive(Debug)]
pub(crate) struct Lost<'a> {
    /// What would have been parked without the policy; its cloud side as it was before the push.
    pub(crate) parking: Parking<'a>,
    pub(crate) policy: Policy,
    /// Who won.
    pub(crate) resolution: Resolution,
    pub(crate) reason: String,
    /// What takes the decision back; `None` where it wrote nothing.
    pub(crate) undo: Option<Undo>,
}

/// How a decision that a policy wrote is taken back.
#[derive(Debug)]
pub(crate) struct Undo {
    /// The record id that the row has now.
    pub(crate) record: String,
    /// The row with the cloud's side; `None` where there was none.
    pub(crate) before: Option<Json>,
    /// The `ETag` that the row has now; `None` where there is none.
    pub(crate) after: Option<String>,
}

const INSERT: &str = "
    INSERT INTO rejoin.sync_conflicts (id, table_name, record_id, table_no, kind, columns, policy, resolution, resolved_by, reason, base_data,
        cloud_data, local_data, cloud_version, cloud_updated_at, cloud_modified_by, local_version, local_updated_at, local_modified_by,
        resolved_at, site_id, site_name, replica, push_no,
        rejoin_scope, rejoin_tick, rejoin_version, rejoin_updated_at, rejoin_modified_by, rejoin_synced_at)
    SELECT u.id, u.table_name, u.record_id, u.table_no, u.kind, ARRAY(SELECT jsonb_array_elements_text(u.columns::jsonb)), u.policy,
        u.resolution::rejoin.conflict_resolution, 'policy:' || u.policy, u.reason, u.base_data::jsonb, u.cloud_data::jsonb,
        u.local_data::jsonb, u.cloud_version, u.cloud_updated_at::timestamptz, u.cloud_modified_by, u.local_version,
        u.local_updated_at::timestamptz, u.local_modified_by, now(), $19, $20, $21, $22, $23, $24, 1, now(), 'policy:' || u.policy, now()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::text[])
        AS u(id, table_name, record_id, table_no, kind, columns, policy, resolution, reason, base_data, cloud_data, local_data, cloud_version,
             cloud_updated_at, cloud_modified_by, local_version, local_updated_at, local_modified_by)";

/// Records losses, in their order: two statements however many there are. Returns their ids.
///
/// # Errors
/// The store failed.
pub(crate) async fn record(tx: &mut WriteTx<'_>, source: Source<'_>, lost: &[Lost<'_>]) -> Result<Vec<ConflictId>, StoreError> {
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let own = source.site.own_scope();
    tx.take(&BTreeSet::from([own.clone()])).await?;
    let ids: Vec<Uuid> = lost.iter().map(|_| Uuid::now_v7()).collect();
    let (bases, locals): (Vec<_>, Vec<_>) = lost.iter().map(|lost| images(&lost.parking)).unzip();
    let text = |json: &Option<Json>| json.as_ref().map(ToString::to_string);
    let moment = |text: &&str| ColumnType::Timestamptz.parse(text).is_ok();
    let names = |parking: &Parking<'_>| -> Vec<String> {
        let columns = parking.clashed.iter().filter_map(|no| parking.table.column(*no));
        columns.map(|column| column.name.clone()).collect()
    };
    let tick = tx.tick(&own)?.0;
    let params: [&(dyn ToSql + Sync); 24] = [
        &ids,
        &each(lost, |parking| parking.table.name.as_str()),
        &each(lost, |parking| parking.key.to_string()),
        &each(lost, |parking| i32::try_from(parking.table.no.0).unwrap_or_default()),
        &each(lost, |parking| parking.kind.as_str()),
        &each(lost, |parking| Json::from(names(parking)).to_string()),
        &lost.iter().map(|lost| lost.policy.as_str()).collect::<Vec<_>>(),
        &lost.iter().map(|lost| lost.resolution.as_str()).collect::<Vec<_>>(),
        &lost.iter().map(|lost| lost.reason.as_str()).collect::<Vec<_>>(),
        &bases.iter().map(text).collect::<Vec<_>>(),
        &each(lost, |parking| parking.cloud.map(|stored| bounded(row_to_json(parking.table, &stored.row)).to_string())),
        &locals.iter().map(text).collect::<Vec<_>>(),
        &each(lost, |parking| parking.cloud.map(|stored| stored.stamp.version)),
        &each(lost, |parking| parking.cloud.map(|stored| stored.stamp.updated_at.as_str()).or(gone(parking).map(|(at, _)| at))),
        &each(lost, |parking| match parking.cloud {
            Some(stored) => stored.stamp.modified_by.as_deref(),
            None => gone(parking).map(|(_, by)| by),
        }),
        &each(lost, |parking| parking.local_version),
        &each(lost, |parking| Some(parking.local_updated_at).filter(moment)),
        &each(lost, |parking| parking.local_modified_by),
        &source.site.site.0,
        &source.site.name,
        &source.replica.0,
        &source.push.0,
        &own.0,
        &tick,
    ];
    tx.execute(&tx.prepare_cached(INSERT).await?, &params).await?;
    let writes: Vec<String> = lost.iter().map(|lost| writes(lost).to_string()).collect();
    let sql = "INSERT INTO rejoin.resolutions (conflict_id, revision, resolution, by, writes)
               SELECT u.id, 1, u.resolution::rejoin.conflict_resolution, 'policy:' || u.policy, u.writes::jsonb
               FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS u(id, resolution, policy, writes)";
    tx.execute(&tx.prepare_cached(sql).await?, &[&ids, params[7], params[6], &writes]).await?;
    Ok(ids.into_iter().map(ConflictId).collect())
}

/// When and by whom the row was deleted, where there is none.
fn gone<'p>(parking: &Parking<'p>) -> Option<(&'p str, &'p str)> {
    parking.deleted_at_cloud.filter(|_| parking.cloud.is_none())
}

fn each<'l, T>(lost: &'l [Lost<'_>], of: impl Fn(&'l Parking<'l>) -> T) -> Vec<T> {
    lost.iter().map(|lost| of(&lost.parking)).collect()
}

/// As `rejoin.resolutions` holds what a decision wrote.
fn writes(lost: &Lost<'_>) -> Json {
    let write = |undo: &Undo| serde_json::json!({"table": lost.parking.table.no.0, "record": undo.record, "before": undo.before, "after": undo.after});
    lost.undo.iter().map(write).collect()
}
