//! The sync of this server: how it stands, run now, pause, resume, and the log of runs.

use std::time::Duration;

use axum::Json;
use axum::extract::{OriginalUri, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sync_core::id::RunId;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::message::Run;

use super::body::OptionalBody;
use super::params::{Params, no_site, page, refuse};
use super::records::query::Pairs;
use crate::backend::{LogQuery, SyncControl, SyncStatus};
use crate::error::BackendError;
use crate::problem::Answer;
use crate::state::ApiState;

/// `GET /api/sync`.
pub async fn status(State(state): State<ApiState>) -> Answer<Json<SyncStatus>> {
    Ok(Json(state.backend.sync_status().await?))
}

/// What to run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBody {
    direction: Option<Direction>,
}

/// `POST /api/sync/run`: runs and waits for the end: 200. A run that takes longer than a request may goes on by itself: 202.
pub async fn run(State(state): State<ApiState>, OptionalBody(body): OptionalBody<RunBody>) -> Answer<(StatusCode, Json<SyncStatus>)> {
    let direction = body.and_then(|body| body.direction).unwrap_or(Direction::Bidirectional);
    let backend = state.backend.clone();
    // A task of its own, so that a client that hangs up does not cut the run off.
    let run = tokio::spawn(async move { backend.sync_control(SyncControl::Run(direction)).await });
    match tokio::time::timeout(patience(state.config.request_timeout), run).await {
        Ok(ended) => Ok((StatusCode::OK, Json(ended.map_err(BackendError::internal)??))),
        Err(_) => Ok((StatusCode::ACCEPTED, Json(state.backend.sync_status().await?))),
    }
}

/// How long to wait for a run: some less than the request may take, so that the answer still arrives.
fn patience(request_timeout: Duration) -> Duration {
    request_timeout * 5 / 6
}

/// `POST /api/sync/pause`.
pub async fn pause(State(state): State<ApiState>) -> Answer<Json<SyncStatus>> {
    Ok(Json(state.backend.sync_control(SyncControl::Pause).await?))
}

/// `POST /api/sync/resume`.
pub async fn resume(State(state): State<ApiState>) -> Answer<Json<SyncStatus>> {
    Ok(Json(state.backend.sync_control(SyncControl::Resume).await?))
}

/// `GET /api/sync/log?server=`: newest first.
pub async fn log(State(state): State<ApiState>, OriginalUri(uri): OriginalUri, Query(pairs): Query<Pairs>) -> Answer<Response> {
    let mut params = Params::new(&pairs);
    let server = params.read("server", "a server's name", |name| Some(name.to_owned()));
    let size = params.limit();
    let after = params.cursor().map(RunId);
    params.finish()?;
    if let Some(name) = server.as_ref().filter(|name| **name != state.backend.server_name())
        && !state.backend.knows_site(name).await?
        && state.backend.sync_log(&LogQuery { server: server.clone(), after: None, limit: 1 }).await?.is_empty()
    {
        refuse(vec![("server", no_site(name))])?;
    }
    let runs = state.backend.sync_log(&LogQuery { server, after, limit: size + 1 }).await?;
    let rows = runs.into_iter().map(LogRow::from).collect();
    Ok(page(&uri, rows, size, |row: &LogRow| row.id.0))
}

/// A row of `sync_log` under the names of its columns.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRow {
    id: RunId,
    sync_direction: Direction,
    started_at: String,
    completed_at: Option<String>,
    status: RunStatus,
    records_synced: i64,
    conflicts_detected: i64,
    errors: Option<Box<RawValue>>,
    server_id: String,
    bytes_up: i64,
    bytes_down: i64,
    cursors_before: Option<Box<RawValue>>,
    cursors_after: Option<Box<RawValue>>,
}

impl From<Run> for LogRow {
    fn from(run: Run) -> Self {
        let json = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        Self {
            id: run.id,
            sync_direction: run.direction,
            started_at: run.started_at,
            completed_at: run.completed_at,
            status: run.status,
            records_synced: run.records_synced,
            conflicts_detected: run.conflicts_detected,
            errors: json(run.errors),
            server_id: run.server_id,
            bytes_up: run.bytes_up,
            bytes_down: run.bytes_down,
            cursors_before: json(run.cursors_before),
            cursors_after: json(run.cursors_after),
        }
    }
}
