//! Parked conflicts: what clashed, and the decisions.

mod bulk;
mod decide;
mod diff;
mod fields;
pub(crate) mod filter;
mod missing;
mod pieces;

use axum::Json;
use axum::extract::{OriginalUri, Query, State};
use axum::response::Response;
use sync_core::id::ConflictId;
use uuid::Uuid;

pub use bulk::resolve_many;
pub use decide::{resolve, undo};
pub use fields::Detail;
pub use missing::Missing;
use pieces::Pieces;

use super::params::{Params, refuse};
use super::path::Named;
use super::records::query::Pairs;
use crate::backend::{ConflictCounts, ConflictQuery, ConflictSort};
use crate::problem::{Answer, Problem};
use crate::state::ApiState;

/// Reads a page of conflicts as it is asked for, and its size.
async fn query(state: &ApiState, pairs: &Pairs) -> Answer<(ConflictQuery, usize)> {
    let mut params = Params::new(pairs);
    let filter = filter::read(&mut params);
    let sort = params.read("sort", "newest, oldest, record or site", |name| match name {
        "newest" => Some(ConflictSort::Newest),
        "oldest" => Some(ConflictSort::Oldest),
        "record" => Some(ConflictSort::Record),
        "site" => Some(ConflictSort::Site),
        _ => None,
    });
    let size = params.limit();
    let after = params.cursor().map(ConflictId);
    params.finish()?;
    refuse(filter::unknown(state, &filter).await?)?;
    let filter = filter::in_the_stores_names(filter, &*state.backend.catalog()?);
    Ok((ConflictQuery { filter, sort: sort.unwrap_or_default(), after, limit: size + 1 }, size))
}

/// `GET /api/conflicts`: those of the filter, newest first where nothing is asked.
pub async fn list(State(state): State<ApiState>, OriginalUri(uri): OriginalUri, Query(pairs): Query<Pairs>) -> Answer<Response> {
    let (query, size) = query(&state, &pairs).await?;
    let mut pieces = Pieces::new(query, size);
    while let Some(query) = pieces.wanted() {
        let piece = state.backend.conflicts(query).await?;
        pieces.take(piece, |conflict| conflict.id)?;
    }
    Ok(pieces.page(&uri))
}

/// `GET /api/conflicts/groups`: the inbox, those of one cause folded into one line.
pub async fn groups(State(state): State<ApiState>, OriginalUri(uri): OriginalUri, Query(pairs): Query<Pairs>) -> Answer<Response> {
    let (query, size) = query(&state, &pairs).await?;
    let mut pieces = Pieces::new(query, size);
    while let Some(query) = pieces.wanted() {
        let piece = state.backend.conflict_groups(query).await?;
        pieces.take(piece, |group| group.example.id)?;
    }
    Ok(pieces.page(&uri))
}

/// `GET /api/conflicts/counts`: how many, by kind, table, site and resolution.
pub async fn counts(State(state): State<ApiState>, Query(pairs): Query<Pairs>) -> Answer<Json<ConflictCounts>> {
    let mut params = Params::new(&pairs);
    let filter = filter::read(&mut params);
    params.finish()?;
    refuse(filter::unknown(&state, &filter).await?)?;
    let filter = filter::in_the_stores_names(filter, &*state.backend.catalog()?);
    Ok(Json(state.backend.conflict_counts(&filter).await?))
}

/// `GET /api/conflicts/{id}`: with all that is needed to decide it.
pub async fn get(State(state): State<ApiState>, Named(id): Named) -> Answer<Json<Detail>> {
    let known = match Uuid::try_parse(&id) {
        Ok(uuid) => state.backend.conflict_detail(ConflictId(uuid)).await?,
        Err(_) => None,
    };
    let detail = known.ok_or_else(|| Problem::not_found(format!("conflict {id}")))?;
    let catalog = state.backend.catalog()?;
    let missing = missing::of(&*state.backend, &catalog, &detail.conflict).await?;
    Ok(Json(Detail::new(&catalog, detail, missing)))
}
