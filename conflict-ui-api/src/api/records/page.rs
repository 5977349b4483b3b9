//! A page of records in the form that the system asks for.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use sync_core::catalog::ListForm;

use super::cursor;
use super::include::Including;
use super::query::Listing;
use super::shape::fields_json;
use crate::api::path::InTable;
use crate::problem::Answer;
use crate::state::ApiState;

/// How many records there are in all, where `total=true` asks.
const TOTAL: HeaderName = HeaderName::from_static("rejoin-total");

/// Asks for one record more than the page holds, to know whether there is another page.
pub(super) async fn answer(state: &ApiState, of: &InTable, mut listing: Listing, uri: &Uri) -> Answer<Response> {
    let size = listing.query.limit;
    let total = if listing.total { Some(state.backend.count(&listing.query).await?) } else { None };
    listing.query.limit = size + 1;
    let mut records = state.backend.list(&listing.query).await?;
    let more = records.len() > size;
    records.truncate(size);
    let last = records.last().filter(|_| more);
    let next = last.map(|record| cursor::behind(of.table(), &listing.query, record));
    let shown = |record| fields_json(&of.catalog, of.table(), record, &listing.fields, listing.place);
    let mut rows: Vec<Value> = records.iter().map(shown).collect();
    if !listing.include.is_empty() {
        let mut including = Including::new(state, &of.catalog, listing.query.deleted);
        for (record, json) in records.iter().zip(&mut rows) {
            including.put(of.table(), &record.row, &listing.include, json).await?;
        }
    }
    let mut response = Json(form(of, rows, next.as_deref(), total)).into_response();
    if let Some(total) = total {
        response.headers_mut().insert(TOTAL, total.into());
    }
    if let Some(link) = next.and_then(|next| next_link(uri, &next)) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

pub(super) fn form(of: &InTable, rows: Vec<Value>, next: Option<&str>, total: Option<u64>) -> Value {
    match of.catalog.api.list {
        ListForm::Bare => Value::Array(rows),
        ListForm::Named => Value::Object(Map::from_iter([(of.catalog.list_name(of.table()), Value::Array(rows))])),
        ListForm::Page => {
            let mut page = json!({ "data": rows, "has_more": next.is_some(), "next_cursor": next });
            if let Some(total) = total {
                page["total"] = total.into();
            }
            page
        }
    }
}

/// `</path?..&cursor=..>; rel="next"`: the same query with another cursor, relative to this server.
pub(crate) fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: Vec<_> = kept.chain([format!("cursor={cursor}").as_str()]).map(str::to_owned).collect();
    HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
}
