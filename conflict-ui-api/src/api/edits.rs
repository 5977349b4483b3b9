//! `GET /api/rejoin/edits`: what was changed at this site and is not in the cloud as it is here.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{Stream, stream};
use sync_core::limits::LIST_ROWS_MAX;

use super::ndjson;
use super::params::{Params, no_table, page, refuse};
use super::records::query::Pairs;
use crate::backend::{EditCounts, EditQuery, EditState, LocalEdit};
use crate::error::BackendError;
use crate::problem::Answer;
use crate::state::ApiState;

/// The list, a page at a time; all of it as NDJSON with `?format=ndjson` or `Accept: application/x-ndjson`.
pub(crate) async fn list(
    State(state): State<ApiState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Answer<Response> {
    let mut params = Params::new(&pairs);
    let text = |name: &str| Some(name.to_owned());
    let edit_state = params.read("state", "waiting, sent, held, parked or cloud", edit_state);
    let table = params.read("table", "a table's path or name", text);
    let record = params.read("record", "a record's id", text);
    let by = params.read("by", "a user's name", text);
    let format = params.read("format", "json or ndjson", |name| match name {
        "json" => Some(false),
        "ndjson" => Some(true),
        _ => None,
    });
    let size = params.limit();
    let after = params.cursor_as(place_of);
    if record.is_some() && table.is_none() {
        params.fault("record", "required", "record goes with table: say of which table the record is");
    }
    params.finish()?;
    let catalog = state.backend.catalog()?;
    if let Some(name) = table.as_ref().filter(|name| catalog.by_name(name).is_none()) {
        // Edits outlive their tables.
        let of = EditQuery { table: Some(name.clone()), limit: 1, ..EditQuery::default() };
        if state.backend.local_edits(&of).await?.is_empty() {
            refuse(vec![("table", no_table(&catalog, name))])?;
        }
    }
    let table = table.map(|name| catalog.by_name(&name).map_or(name, |table| table.name.clone()));
    let query = EditQuery { state: edit_state, table, record, by, after, limit: size + 1 };
    if format.unwrap_or_else(|| ndjson::accepted(&headers)) {
        return export(state, EditQuery { limit: LIST_ROWS_MAX, ..query }).await;
    }
    let edits = state.backend.local_edits(&query).await?;
    Ok(page(&uri, edits, size, cursor))
}

fn edit_state(name: &str) -> Option<EditState> {
    serde_json::from_value(name.into()).ok()
}

/// The place of an edit in the list, in hexadecimal digits: it may hold anything.
fn cursor(edit: &LocalEdit) -> String {
    hex::encode(&edit.place)
}

fn place_of(cursor: &str) -> Option<String> {
    String::from_utf8(hex::decode(cursor).ok()?).ok()
}

/// `GET /api/rejoin/edits/counts`: how many stand where.
pub(crate) async fn counts(State(state): State<ApiState>) -> Answer<Json<EditCounts>> {
    Ok(Json(state.backend.edit_counts().await?))
}

/// All edits, a line each, read page by page as the client takes them. A failure under way cuts the answer off, so that no part of it is
/// taken for all.
async fn export(state: ApiState, query: EditQuery) -> Answer<Response> {
    let first = state.backend.local_edits(&query).await?;
    Ok(ndjson::response(Body::from_stream(pages(state, query, first))))
}

fn pages(state: ApiState, query: EditQuery, first: Vec<LocalEdit>) -> impl Stream<Item = Result<Bytes, BackendError>> {
    stream::unfold(Some((state, query, Some(first))), |rest| async {
        let (state, mut query, read) = rest?;
        let edits = match read {
            Some(edits) => Ok(edits),
            None => state.backend.local_edits(&query).await,
        };
        match edits.and_then(|edits| Ok((lines(&edits)?, edits))) {
            Ok((_, edits)) if edits.is_empty() => None,
            Ok((lines, edits)) => {
                query.after = edits.last().map(|edit| edit.place.clone());
                let more = edits.len() >= query.limit;
                Some((Ok(lines), more.then_some((state, query, None))))
            }
            Err(error) => {
                tracing::warn!(%error, "an export of local edits broke off");
                Some((Err(error), None))
            }
        }
    })
}

fn lines(edits: &[LocalEdit]) -> Result<Bytes, BackendError> {
    let lines: Result<String, _> = edits.iter().map(ndjson::line).collect();
    Ok(lines.map_err(BackendError::internal)?.into())
}
