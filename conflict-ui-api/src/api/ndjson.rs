//! Answers of one JSON value a line, for what is long or takes long.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/x-ndjson";

/// Whether the client asks for it.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or_default().trim());
    types.any(|one| one.eq_ignore_ascii_case(MEDIA_TYPE))
}

/// One value as a line.
///
/// # Errors
/// The value has no JSON form.
pub(crate) fn line(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|mut line| {
        line.push('\n');
        line
    })
}

/// An answer with this body.
pub(crate) fn response(body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)), (header::VARY, HeaderValue::from_static("accept"))];
    (headers, body).into_response()
}
