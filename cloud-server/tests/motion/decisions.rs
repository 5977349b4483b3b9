//! Decisions on the one conflict that is open.

use cloud_server::store::conflicts::{list, resolve};
use conflict_ui_api::backend::{Conflict, ConflictFilter, ConflictQuery};
use conflict_ui_api::error::BackendError;
use sync_core::conflict::{Resolution, Way};
use sync_core::id::{ColumnNo, ConflictId};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;

pub async fn open_all(cloud: &Cloud) -> Vec<Conflict> {
    let filter = ConflictFilter { resolution: Some(Resolution::Pending), ..ConflictFilter::default() };
    let query = ConflictQuery { filter, limit: 100, ..ConflictQuery::default() };
    list(&cloud.db.client().await.unwrap(), &cloud.catalog, &query).await.unwrap()
}

/// The first conflict that is open, with the cloud's row that it stands against.
pub async fn open(cloud: &Cloud) -> (ConflictId, Option<String>) {
    let conflict = open_all(cloud).await.remove(0);
    (conflict.id, conflict.cloud_etag)
}

pub async fn decide(
    cloud: &Cloud,
    conflict: ConflictId,
    etag: Option<String>,
    resolution: Resolution,
    values: Vec<(ColumnNo, Value)>,
) -> Result<Conflict, BackendError> {
    let way = if resolution == Resolution::Pending { Way::Undo } else { Way::Plain };
    let revision: i64 = cloud.one(&format!("SELECT revision FROM rejoin.sync_conflicts WHERE id = '{conflict}'")).await;
    let by = "eve".to_owned();
    let command = ResolveCommand { conflict, revision, cloud_etag: etag, resolution, values, by, way, besides: None };
    resolve(&cloud.db, &cloud.catalog, "eve", &command).await
}

pub async fn local_wins(cloud: &Cloud, conflict: ConflictId, etag: Option<String>) {
    decide(cloud, conflict, etag, Resolution::LocalWins, Vec::new()).await.unwrap();
}

pub async fn undo(cloud: &Cloud, conflict: ConflictId) {
    decide(cloud, conflict, None, Resolution::Pending, Vec::new()).await.unwrap();
}
