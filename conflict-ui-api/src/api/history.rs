//! `GET /api/rejoin/history/{table}/{id}`: what happened to a row, newest first.

use axum::extract::{OriginalUri, Query, State};
use axum::response::Response;

use super::params::{Params, page};
use super::path::AtRecord;
use super::records::query::Pairs;
use crate::problem::Answer;
use crate::state::ApiState;

/// The row need not exist any more; one of which nothing is kept has an empty list.
pub(crate) async fn list(
    State(state): State<ApiState>,
    at: AtRecord,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Pairs>,
) -> Answer<Response> {
    let mut params = Params::new(&pairs);
    let size = params.limit();
    let before = params.cursor_as(|id| id.parse().ok());
    params.finish()?;
    let entries = state.backend.history(at.of.table().no, &at.key, before, size + 1).await?;
    Ok(page(&uri, entries, size, |entry| entry.id))
}
