//! `GET /api/rejoin/digests`: what this server holds, in a form that can be compared with another's.

use axum::Json;
use axum::extract::State;

use crate::backend::Digests;
use crate::problem::Answer;
use crate::state::ApiState;

pub(crate) async fn digests(State(state): State<ApiState>) -> Answer<Json<Digests>> {
    Ok(Json(state.backend.digests().await?))
}
