//! `/api/rejoin/catalog`: the schema that sites build.

use std::sync::Arc;

use axum::{Extension, Json};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::problem::{Answer, Code, Problem};
use serde_json::{Value, json};

use crate::core::Core;
use crate::store::prepare::PrepareError;

/// `POST /api/rejoin/catalog/refresh`: after a migration of the user's own, so that nobody waits for the next start.
pub(super) async fn refresh(Extension(core): Extension<Arc<Core>>) -> Answer<Json<Value>> {
    match core.refresh_catalog().await {
        // The database was looked at; what the file says now is not in force.
        Ok(_) if core.source.complaint().is_some() => {
            Err(Problem::new(Code::CheckFailed, format!("The catalog stays as it is: {}.", core.source.complaint().unwrap_or_default())))
        }
        Ok(catalog) => Ok(Json(json!({ "version": catalog.version, "tables": catalog.tables.len() }))),
        Err(PrepareError::Store(error)) => Err(BackendError::from(error).into()),
        Err(error) if error.is_transient() => Err(BackendError::Unavailable(error.to_string()).into()),
        Err(error) => Err(Problem::new(Code::CheckFailed, format!("The catalog stays as it is: {error}."))),
    }
}
