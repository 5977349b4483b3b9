//! The id of each request, its line in the log, and what a problem says of the request it belongs to.

use std::time::Instant;

use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::{Context, Problem};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request, in the request's extensions: the caller's `X-Request-Id` where it is a sane one, else a new one.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub(super) async fn context(mut request: Request, next: Next) -> Response {
    let id = sane(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    let method = request.method().clone();
    let path = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri().path(), |uri| uri.path()).to_owned();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", %id, %method, path);
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = with_context(response, problem, &Context { instance: Some(&path), request_id: Some(&id) });
    }
    let (status, millis) = (response.status().as_u16(), start.elapsed().as_millis());
    span.in_scope(|| match status {
        500.. => tracing::warn!(status, millis, "answered"),
        _ => tracing::debug!(status, millis, "answered"),
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// The same problem with its context; headers that were added on the way out (CORS, `Allow`, ..) stay.
fn with_context(response: Response, problem: Problem, context: &Context<'_>) -> Response {
    let mut whole = problem.respond(context);
    for (name, value) in response.headers() {
        if !whole.headers().contains_key(name) && *name != header::CONTENT_LENGTH && *name != header::CONTENT_ENCODING {
            whole.headers_mut().append(name, value.clone());
        }
    }
    whole
}

fn sane(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    ((1..=128).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}
