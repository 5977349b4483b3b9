//! `/api/rejoin/notices`: what the webhook told, and what it could not.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::problem::{Answer, Problem};
use uuid::Uuid;

use crate::core::Core;
use crate::store::notices::{self, Notice};

/// `GET /api/rejoin/notices`: the last ones, newest first.
pub(super) async fn list(Extension(core): Extension<Arc<Core>>) -> Answer<Json<Vec<Notice>>> {
    let client = core.db.client().await.map_err(BackendError::from)?;
    Ok(Json(notices::list(&client).await.map_err(BackendError::from)?))
}

/// `POST /api/rejoin/notices/{id}/redeliver`: to every receiver again, with the same id.
pub(super) async fn redeliver(Extension(core): Extension<Arc<Core>>, Path(id): Path<String>) -> Answer<Json<Notice>> {
    if !core.has_webhook() {
        return Err(BackendError::Unsupported("this cloud has no webhook: give [notify] in rejoin.toml".to_owned()).into());
    }
    let unknown = || Problem::not_found(format!("notice {id}"));
    let notice = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let client = core.db.client().await.map_err(BackendError::from)?;
    let notice = notices::redeliver(&client, notice).await.map_err(BackendError::from)?;
    notice.map(Json).ok_or_else(unknown)
}
