//! What is HTTP and nothing else: the door, problem bodies, list forms, CORS, limits. The store behind it is a script; everything about
//! storing is asked of the real stores by the conformance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod access;
mod bodies;
mod bulk;
mod conflicts;
mod cors;
mod edits;
mod events;
mod lists;
mod openapi;
mod pages;
mod problems;
mod scripted;
mod sign_in;
mod stack;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use conflict_ui_api::backend::Role;
use conflict_ui_api::{ApiConfig, ApiState, Route, middleware, router};
use serde_json::Value as Json;
use tower::ServiceExt;

use scripted::{Ledger, Scripted};

/// JSON for a snapshot. (insta's own form of it knows nothing of numbers that keep their digits.)
pub(crate) fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap()
}

/// A server of scripted ports.
struct Server {
    router: Router,
    backend: std::sync::Arc<Scripted>,
    ledger: std::sync::Arc<Ledger>,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Server {
    fn new(config: ApiConfig) -> Self {
        Self::with(Scripted::default(), config, Vec::new())
    }

    fn with(backend: Scripted, config: ApiConfig, own: Vec<Route>) -> Self {
        let (backend, ledger) = (std::sync::Arc::new(backend), std::sync::Arc::new(Ledger::default()));
        let state = ApiState::new(backend.clone(), ledger.clone(), config.clone());
        Self { router: middleware::stack(router(state, own), &config), backend, ledger }
    }

    /// The secret of a user of this role.
    fn secret(&self, role: Role) -> String {
        self.ledger.secret_of(role)
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // Events never end.
        let endless = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "text/event-stream");
        let bytes = if endless { Bytes::new() } else { to_bytes(body, 64 << 20).await.unwrap() };
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// Asks as an admin.
    async fn ask(&self, method: Method, path: &str, body: Option<&str>) -> Reply {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.send(request.body(body.unwrap_or_default().to_owned().into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, None).await
    }

    /// An admin's request with a fixed id.
    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let secret = format!("Bearer {}", self.secret(Role::Admin));
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, secret).header("x-request-id", "test")
    }
}

impl Reply {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of a problem.
    #[track_caller]
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.body);
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }
}
