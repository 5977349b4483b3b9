//! The page that the `type` of every problem points to.

use axum::http::{HeaderName, header};

/// `GET /docs/errors`: `docs/ERRORS.md`.
pub async fn errors() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], include_str!("../../../docs/ERRORS.md"))
}
