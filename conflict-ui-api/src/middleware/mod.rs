//! What stands around every route of a server, the API's and its own.
//!
//! From outside in: request id, log line and the last touch to problems; security headers; CORS; compression; a caught
//! panic; the timeout; the limit on bodies. Rate limits need to know who asks, so they are the [door](crate::door)'s.

mod context;
mod cors;
mod headers;

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Response as HttpResponse;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use sync_core::wire::codec::MEDIA_TYPE;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub use context::RequestId;

use crate::api::ndjson::MEDIA_TYPE as NDJSON;
use crate::config::ApiConfig;
use crate::problem::{Code, Problem};

/// Puts the stack around a server's routes. Call it last, once, and serve the result with
/// `into_make_service_with_connect_info::<SocketAddr>()`: rate limits of strangers go by the peer's address.
///
/// A route that takes larger bodies sets its own `DefaultBodyLimit`, which replaces this one.
pub fn stack(routes: Router, config: &ApiConfig) -> Router {
    // The sites' protocol is compressed inside its messages; events and progress must not wait for a compressor.
    let worth_it = SizeAbove::new(860)
        .and(NotForContentType::new(MEDIA_TYPE))
        .and(NotForContentType::new("text/event-stream"))
        .and(NotForContentType::new(NDJSON))
        .and(NotForContentType::IMAGES);
    routes
        .layer(DefaultBodyLimit::max(config.body_bytes_max))
        .layer(from_fn_with_state(config.request_timeout, timeout))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new().compress_when(worth_it))
        .layer(from_fn_with_state(cors::Cors::new(&config.origins), cors::cors))
        .layer(from_fn_with_state(config.tls, headers::security))
        .layer(from_fn(context::context))
}

/// Bounds the time until an answer begins. A stream that has begun (events, progress, an export) goes on for as long as it takes.
async fn timeout(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail =
                format!("The request was given up after {} seconds; what it wrote may or may not have taken effect.", limit.as_secs());
            Problem::new(Code::TimedOut, detail).retry_after(Duration::from_secs(5)).into_response()
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send>) -> HttpResponse<axum::body::Body> {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = words.unwrap_or("of unknown type"), "a handler panicked");
    Problem::new(Code::Internal, "The fault is in the server's log under this request's id.").into_response()
}
