//! Many decisions at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, header};
use conflict_ui_api::ApiConfig;
use conflict_ui_api::error::BackendError;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use sync_core::conflict::Resolution;
use tower::ServiceExt;

use crate::scripted::{Scripted, conflict};
use crate::{Reply, Server};

const MANY: &str = "/api/conflicts/resolve";

fn decision() -> String {
    json!({ "filter": { "table": "sources", "column": "hRes", "site": "hall" }, "resolution": "CLOUD_WINS", "expected": 3 }).to_string()
}

fn request(server: &Server, body: &str) -> axum::http::Request<Body> {
    let request = server.request(Method::POST, MANY).header(header::CONTENT_TYPE, "application/json");
    request.header(header::ACCEPT, "application/x-ndjson, application/json;q=0.5").body(body.to_owned().into()).unwrap()
}

fn lines(reply: &Reply) -> Vec<Json> {
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/x-ndjson"));
    reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn many_are_decided_by_a_filter_in_the_stores_names() {
    let server = Server::new(ApiConfig::default());
    let reply = server.ask(Method::POST, MANY, Some(&decision())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["resolved"]), (200, &json!(3)));
    let decided = server.backend.decided_many.lock().unwrap().take().unwrap();
    assert_eq!((decided.filter.column.as_deref(), decided.resolution, decided.expected), (Some("h_res"), Resolution::CloudWins, Some(3)));
    assert!(!decided.dry_run && !decided.all_or_nothing);
}

#[tokio::test]
async fn what_is_wrong_with_a_decision_on_many_is_said_at_once() {
    let server = Server::new(ApiConfig::default());
    let body = json!({ "filter": { "resolution": "LOCAL_WINS", "record": "1" }, "resolution": "MANUAL" }).to_string();
    let reply = server.ask(Method::POST, MANY, Some(&body)).await;
    assert_eq!(reply.problem(), (422, "invalid_fields".into()));
    let pointers: Vec<_> = reply.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/resolution", "/filter/resolution", "/filter/table"]);
    // A misspelt member must not widen the filter.
    let body = r#"{"filter":{"tabel":"sources"},"resolution":"CLOUD_WINS"}"#;
    assert_eq!(server.ask(Method::POST, MANY, Some(body)).await.problem(), (400, "bad_json".into()));
    assert!(server.backend.decided_many.lock().unwrap().is_none());
}

#[tokio::test]
async fn progress_is_told_line_by_line_and_the_last_line_is_the_outcome() {
    let config = ApiConfig { request_timeout: Duration::from_millis(400), ..ApiConfig::default() };
    let server = Server::with(Scripted { many: (5, Duration::from_millis(150)), ..Scripted::default() }, config, Vec::new());
    let lines = lines(&server.send(request(&server, &decision())).await);
    let (outcome, progress) = lines.split_last().unwrap();
    assert_eq!((&outcome["matched"], &outcome["resolved"]), (&json!(5), &json!(5)), "longer than a request may take");
    assert!(!progress.is_empty() && progress.iter().all(|line| line["of"] == 5 && line["done"].as_u64().unwrap() >= 1));
}

#[tokio::test]
async fn what_is_refused_at_once_has_its_status_and_what_fails_later_its_line() {
    let server = Server::new(ApiConfig::default());
    server.backend.fail_next(BackendError::Outdated(Box::new(conflict(1))));
    let refused = server.send(request(&server, &decision())).await;
    assert_eq!(refused.problem(), (409, "outdated_resolution".into()));

    let server = Server::with(Scripted { many: (5, Duration::from_millis(20)), ..Scripted::default() }, ApiConfig::default(), Vec::new());
    let failing = async {
        while server.backend.done.load(Ordering::SeqCst) < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.backend.fail_next(BackendError::Unavailable("the database went away".into()));
    };
    let (reply, ()) = tokio::join!(server.send(request(&server, &decision())), failing);
    assert_eq!(lines(&reply).last().unwrap()["problem"]["code"], "unavailable");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_it() {
    let server =
        Server::with(Scripted { many: (10_000, Duration::from_millis(5)), ..Scripted::default() }, ApiConfig::default(), Vec::new());
    let response = server.router.clone().oneshot(request(&server, &decision())).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let first: Bytes = body.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"done\":"));
    drop(body);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let done = server.backend.done.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.backend.done.load(Ordering::SeqCst), done);
    assert!(done < 10_000);
}
