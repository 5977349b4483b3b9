//! Records: any table of the catalog by its path.

pub mod cursor;
pub mod draft;
pub mod etag;
pub(crate) mod filter;
mod groups;
pub mod include;
pub mod nested;
pub(crate) mod page;
pub mod query;
pub mod shape;

use axum::extract::{OriginalUri, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

pub use self::filter::OPERATORS;
use self::include::{Include, Including};
pub use self::query::PARAMETERS;
use self::query::Pairs;
use self::shape::{Fields, fields_json, record_json};
use super::body::Object;
use super::path::{AtRecord, InTable};
use crate::backend::{Place, Record, Write};
use crate::door::Caller;
use crate::problem::{Answer, Problem};
use crate::state::ApiState;

/// `GET /api/{table}`.
pub async fn list(
    State(state): State<ApiState>,
    of: InTable,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Pairs>,
) -> Answer<Response> {
    if groups::are_asked(&pairs) {
        return groups::answer(&state, &of, &pairs, Vec::new()).await;
    }
    let listing = query::read(&of.catalog, of.table(), &pairs, Vec::new())?;
    page::answer(&state, &of, listing, &uri).await
}

/// `POST /api/{table}`: 201 with the record, its ETag and where it is.
pub async fn create(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    of: InTable,
    Query(pairs): Query<Pairs>,
    Object(body): Object,
) -> Answer<Response> {
    query::read_single(&pairs, &[])?;
    let draft = draft::of_create(&of.catalog, of.table(), &body, &[])?;
    written(&state, &caller, &of, &Write::Create(draft), StatusCode::CREATED).await
}

/// `GET /api/{table}/{id}`.
pub async fn get(State(state): State<ApiState>, at: AtRecord, Query(pairs): Query<Pairs>, headers: HeaderMap) -> Answer<Response> {
    let flags = query::read_single(&pairs, &["deleted", "place", "include", "fields"])?;
    let fields = Fields::read(&at.of.catalog, at.of.table(), flags.fields)?;
    let include = Include::read(&at.of.catalog, at.of.table(), flags.include.unwrap_or_default())?;
    let found = state.backend.get(at.of.table().no, &at.key).await?;
    let record = found.filter(|record| flags.deleted || !at.of.table().is_soft_deleted(&record.row));
    let record = record.ok_or_else(|| Problem::not_found(at.of.call(&at.key)))?;
    // Where a record is, and what is included, can change while it stays the same.
    if !flags.place && include.is_empty() && etag::is_known(&headers, &etag::of(at.of.table(), &record)) {
        return Ok((StatusCode::NOT_MODIFIED, record_headers(&at.of, &record)).into_response());
    }
    let mut json = fields_json(&at.of.catalog, at.of.table(), &record, &fields, flags.place);
    if !include.is_empty() {
        Including::new(&state, &at.of.catalog, flags.deleted).put(at.of.table(), &record.row, &include, &mut json).await?;
    }
    Ok((record_headers(&at.of, &record), Json(json)).into_response())
}

/// `PATCH /api/{table}/{id}`, and PUT alike: columns that the body does not name stay as they are.
pub async fn update(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    at: AtRecord,
    Query(pairs): Query<Pairs>,
    headers: HeaderMap,
    Object(body): Object,
) -> Answer<Response> {
    query::read_single(&pairs, &[])?;
    let draft = draft::of_update(&at.of.catalog, at.of.table(), &body, &at.key)?;
    let write = Write::Update { key: at.key, draft, if_match: etag::if_match(&headers) };
    written(&state, &caller, &at.of, &write, StatusCode::OK).await
}

/// `DELETE /api/{table}/{id}`: soft where the table has a mark, else real.
pub async fn remove(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    at: AtRecord,
    Query(pairs): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    query::read_single(&pairs, &[])?;
    let write = Write::Delete { key: at.key, if_match: etag::if_match(&headers) };
    write_record(&state, &caller, &at.of, &write).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/{table}/{id}/restore`: brings back a soft-deleted record and what went with it.
pub async fn restore(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    at: AtRecord,
    Query(pairs): Query<Pairs>,
) -> Answer<Response> {
    query::read_single(&pairs, &[])?;
    written(&state, &caller, &at.of, &Write::Restore { key: at.key }, StatusCode::OK).await
}

async fn write_record(state: &ApiState, caller: &Caller, of: &InTable, write: &Write) -> Answer<Record> {
    let record = state.backend.write(&caller.principal, of.table().no, write).await;
    let draft = match write {
        Write::Create(draft) | Write::Update { draft, .. } => Some(draft),
        Write::Delete { .. } | Write::Restore { .. } => None,
    };
    record.map_err(|error| Problem::of_record(error, &of.catalog, of.table(), draft))
}

async fn written(state: &ApiState, caller: &Caller, of: &InTable, write: &Write, status: StatusCode) -> Answer<Response> {
    let record = write_record(state, caller, of, write).await?;
    let mut response = (status, record_headers(of, &record), Json(record_json(&of.catalog, of.table(), &record, false))).into_response();
    if status == StatusCode::CREATED {
        let path = of.record_path(&of.table().key_of(&record.row));
        if let Ok(location) = HeaderValue::from_str(&path) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    Ok(response)
}

/// `ETag`, and `Rejoin-Place`: where the record is.
fn record_headers(of: &InTable, record: &Record) -> HeaderMap {
    let place = match record.place {
        Place::Cloud => "cloud",
        Place::Here => "here",
        Place::Held => "held",
        Place::Parked => "parked",
    };
    let mut headers = HeaderMap::from_iter([(HeaderName::from_static("rejoin-place"), HeaderValue::from_static(place))]);
    if let Ok(etag) = HeaderValue::from_str(&etag::of(of.table(), record)) {
        headers.insert(header::ETAG, etag);
    }
    headers
}
