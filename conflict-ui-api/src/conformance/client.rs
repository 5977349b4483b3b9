//! A client of the router, without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value as Json;
use tower::ServiceExt;

use super::{Fixture, Opened, System};
use crate::config::ApiConfig;
use crate::state::ApiState;
use crate::{middleware, routes, secret};

/// The secret of the test's admin.
const ADMIN: &str = "rjt_conformance";

/// A store behind the router, and who asks.
pub struct Client {
    /// The store itself.
    pub store: Opened,
    router: Router,
    secret: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Json,
}

impl Client {
    /// An admin at a fresh store.
    pub async fn open(fixture: &dyn Fixture, system: System) -> Self {
        let store = fixture.open(system).await;
        let config = ApiConfig { admin_token_hash: Some(secret::hash(ADMIN)), ..ApiConfig::default() };
        let state = ApiState::new(store.backend.clone(), store.accounts.clone(), config.clone());
        let router = middleware::stack(routes::router(state, Vec::new()), &config);
        Self { store, router, secret: Some(ADMIN.to_owned()) }
    }

    /// Asks with this credential from now on.
    pub fn sign(&mut self, secret: Option<&str>) {
        self.secret = secret.map(str::to_owned);
    }

    pub fn sign_as_admin(&mut self) {
        self.sign(Some(ADMIN));
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: Json) -> Reply {
        self.send(Method::POST, path, Some(body), None).await
    }

    pub async fn patch(&self, path: &str, body: Json) -> Reply {
        self.send(Method::PATCH, path, Some(body), None).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None, None).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Json>, if_match: Option<&str>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(secret) = &self.secret {
            request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
        }
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let request = match body {
            Some(json) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(json.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let body = if bytes.is_empty() {
            Json::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Json::from(&*String::from_utf8_lossy(&bytes)))
        };
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

impl Reply {
    /// The body of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The problem of this code, with the pointers of its faults.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Vec<String> {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let place = |error: &Json| error["pointer"].as_str().or_else(|| error["parameter"].as_str()).unwrap_or_default().to_owned();
        let mut places: Vec<_> = errors.iter().map(place).collect();
        places.sort();
        places
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The path of the next page.
    pub fn next(&self) -> Option<String> {
        let link = self.header("link")?;
        Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
    }

    /// The ids of a list, in its order.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let rows = self.body.as_array().or_else(|| self.body["data"].as_array());
        rows.unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}
