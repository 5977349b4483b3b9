//! Whether the server lives, and whether it can serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::problem::{Answer, Code, Problem};
use crate::state::ApiState;

/// `GET /health`: the process answers.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "timestamp": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true) }))
}

/// `GET /ready`: the database answers and is migrated. Open, so it says no more than yes or no.
pub async fn ready(State(state): State<ApiState>) -> Answer<Json<Value>> {
    match state.backend.ready().await {
        Ok(()) => Ok(Json(json!({ "status": "ready" }))),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Problem::new(Code::Unavailable, "The server is not ready; its log says why.").retry_after(Duration::from_secs(5)))
        }
    }
}
