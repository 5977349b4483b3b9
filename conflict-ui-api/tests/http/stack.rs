//! What stands around every route.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::routing;
use conflict_ui_api::backend::Role;
use conflict_ui_api::config::Rate;
use conflict_ui_api::error::BackendError;
use conflict_ui_api::{Access, ApiConfig, Route};
use sync_core::wire::codec::MEDIA_TYPE;

use crate::Server;
use crate::scripted::Scripted;

#[tokio::test]
async fn every_answer_carries_its_request_id_and_the_security_headers() {
    let server = Server::new(ApiConfig { tls: true, ..ApiConfig::default() });
    for path in ["/health", "/nowhere", "/api/sources"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("x-request-id"), "test");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("x-frame-options"), "DENY");
        assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
        assert_ne!(reply.header("cache-control"), "");
    }
    let own = Request::builder().uri("/nowhere").header("x-request-id", "a\"b<script>").body(Body::empty()).unwrap();
    let reply = server.send(own).await;
    assert_eq!(reply.header("x-request-id").len(), 36, "an id that is not sane is replaced");
    assert_eq!(reply.json()["requestId"], reply.header("x-request-id"));
    assert_eq!(Server::new(ApiConfig::default()).get("/health").await.header("strict-transport-security"), "");
}

#[tokio::test]
async fn health_says_when_and_ready_says_no_more_than_yes_or_no() {
    let server = Server::new(ApiConfig::default());
    let open = |path: &str| server.send(Request::builder().uri(path).body(Body::empty()).unwrap());
    let health = open("/health").await.json();
    assert_eq!(health["status"], "ok");
    assert!(health["timestamp"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_ok());
    assert_eq!(open("/ready").await.json()["status"], "ready");
    server.backend.fail_next(BackendError::Unavailable("postgres://user:hunter2@db is down".into()));
    let reply = open("/ready").await;
    assert_eq!((reply.problem(), reply.header("retry-after")), ((503, "unavailable".into()), "5"));
    assert!(!reply.body.contains("hunter2"));
}

async fn never() -> &'static str {
    std::future::pending::<()>().await;
    "never"
}

async fn breaks() -> &'static str {
    panic!("hunter2")
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_ends_as_a_problem() {
    let route = |path, handler| Route::new(Method::GET, path, Access::Viewer, handler);
    let own = vec![route("/own/breaks", routing::get(breaks)), route("/own/hangs", routing::get(never))];
    let config = ApiConfig { request_timeout: Duration::from_millis(50), ..ApiConfig::default() };
    let server = Server::with(Scripted::default(), config, own);
    let broken = server.get("/own/breaks").await;
    assert_eq!((broken.problem(), broken.body.contains("hunter2")), ((500, "internal".into()), false));
    assert_eq!(broken.json()["instance"], "/own/breaks");
    assert_eq!(server.get("/own/hangs").await.problem(), (503, "timed_out".into()));
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_run_that_outlasts_its_request_goes_on_by_itself() {
    let slow = Scripted { run_takes: Duration::from_secs(600), ..Scripted::default() };
    let config = ApiConfig { request_timeout: Duration::from_millis(60), ..ApiConfig::default() };
    let server = Server::with(slow, config, Vec::new());
    let reply = server.ask(Method::POST, "/api/sync/run", None).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["running"]), (202, &true.into()));
    let quick = Server::new(ApiConfig::default());
    let reply = quick.ask(Method::POST, "/api/sync/run", Some(r#"{"direction":"UPLOAD"}"#)).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["running"]), (200, &false.into()));
    let sideways = quick.ask(Method::POST, "/api/sync/run", Some(r#"{"direction":"SIDEWAYS"}"#)).await;
    assert_eq!(sideways.problem(), (400, "bad_json".into()));
}

#[tokio::test]
async fn large_answers_are_compressed_but_not_the_sites_protocol() {
    async fn messages() -> ([(header::HeaderName, &'static str); 1], String) {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], "x".repeat(10_000))
    }
    let own = vec![Route::new(Method::GET, "/sync/v1/messages", Access::Viewer, routing::get(messages))];
    let server = Server::with(Scripted { rows: 100, ..Scripted::default() }, ApiConfig::default(), own);
    let encoding = async |path: &str| {
        let request = server.request(Method::GET, path).header(header::ACCEPT_ENCODING, "gzip");
        server.send(request.body(Body::empty()).unwrap()).await.header("content-encoding").to_owned()
    };
    assert_eq!(encoding("/api/sources").await, "gzip");
    assert_eq!(encoding("/health").await, "");
    assert_eq!(encoding("/sync/v1/messages").await, "");
}

#[tokio::test]
async fn who_asks_too_often_waits_and_others_do_not() {
    let config = ApiConfig { requests: Rate::new(3, Duration::from_secs(60)), ..ApiConfig::default() };
    let server = Server::new(config);
    for _ in 0..3 {
        assert_eq!(server.get("/api/sync").await.status, 200);
    }
    let limited = server.get("/api/sync").await;
    assert_eq!(limited.problem(), (429, "rate_limited".into()));
    assert!((50..=60).contains(&limited.header("retry-after").parse::<u64>().unwrap()));
    let viewer = format!("Bearer {}", server.secret(Role::Viewer));
    let other = Request::builder().uri("/api/sync").header(header::AUTHORIZATION, viewer).body(Body::empty()).unwrap();
    assert_eq!(server.send(other).await.status, 200);
}

#[tokio::test]
async fn strangers_are_limited_by_address_without_touching_users() {
    let server = Server::new(ApiConfig { strangers: Rate::new(2, Duration::from_secs(60)), ..ApiConfig::default() });
    let stranger = || server.send(Request::builder().uri("/api/sync").body(Body::empty()).unwrap());
    assert_eq!(stranger().await.status, 401);
    assert_eq!(stranger().await.status, 401);
    assert_eq!(stranger().await.problem(), (429, "rate_limited".into()));
    assert_eq!(server.get("/api/sync").await.status, 200);
}
