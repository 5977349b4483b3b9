//! Conflicts and the log of runs over HTTP.

use axum::http::Method;
use conflict_ui_api::ApiConfig;
use serde_json::json;
use sync_core::conflict::Resolution;
use sync_core::value::Value;

use crate::Server;

const RESOLVE: &str = "/api/conflicts/00000000-0000-0000-0000-000000000001/resolve";

#[tokio::test]
async fn a_decision_reaches_the_store_in_its_own_terms() {
    let server = Server::new(ApiConfig::default());
    let body = json!({ "resolution": "MANUAL", "cloudEtag": "\"4-00\"", "revision": 1, "values": { "note": "both", "hRes": 1920 } });
    let reply = server.ask(Method::POST, RESOLVE, Some(&body.to_string())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["resolution"]), (200, &json!("MANUAL")));
    let command = server.backend.decided.lock().unwrap().take().unwrap();
    let table = server.backend.catalog.by_name("sources").unwrap();
    let no = |name: &str| table.column_named(name).unwrap().no;
    assert_eq!((command.resolution, command.revision, command.by.as_str()), (Resolution::Manual, 1, "admin"));
    assert_eq!(command.cloud_etag.as_deref(), Some("\"4-00\""));
    assert_eq!(command.values, [(no("h_res"), Value::Int(1920)), (no("note"), Value::Text("both".into()))]);
}

#[tokio::test]
async fn a_decision_names_what_was_seen() {
    let server = Server::new(ApiConfig::default());
    let places = async |path: &str, body: serde_json::Value| {
        let reply = server.ask(Method::POST, path, Some(&body.to_string())).await;
        assert_eq!(reply.problem(), (422, "invalid_fields".into()));
        let errors = reply.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(places(RESOLVE, json!({ "resolution": "PENDING" })).await, ["/resolution", "/revision", "/cloudEtag"]);
    let seen = |extra: serde_json::Value| {
        let mut body = json!({ "cloudEtag": "\"4-00\"", "revision": 1 });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    assert_eq!(places(RESOLVE, seen(json!({ "resolution": "MANUAL" }))).await, ["/values"]);
    assert_eq!(places(RESOLVE, seen(json!({ "resolution": "LOCAL_WINS", "values": { "note": "x" } }))).await, ["/values"]);
    let wrong = json!({ "resolution": "MANUAL", "values": { "hRes": "wide", "wheels": 4 } });
    assert_eq!(places(RESOLVE, seen(wrong)).await, ["/values/hRes", "/values/wheels"]);
    // Where the cloud has no row, there is no ETag to name.
    let without = RESOLVE.replace("0001/", "0002/");
    let reply = server.ask(Method::POST, &without, Some(r#"{"resolution":"CLOUD_WINS","revision":1}"#)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[tokio::test]
async fn conflicts_are_paged_and_filters_are_checked() {
    let server = Server::new(ApiConfig::default());
    let page = server.get("/api/conflicts?resolution=PENDING&table=sources&limit=2").await;
    let body = page.json();
    assert_eq!((body["data"].as_array().unwrap().len(), &body["hasMore"]), (2, &json!(true)));
    let next = page.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    assert_eq!(next, format!("/api/conflicts?resolution=PENDING&table=sources&limit=2&cursor={}", body["nextCursor"].as_str().unwrap()));
    assert_eq!(server.get(&next).await.status, 200);
    for wrong in ["resolution=OPEN", "kind=clash", "limit=5000", "cursor=x", "state=open", "site=a&site=b"] {
        assert_eq!(server.get(&format!("/api/conflicts?{wrong}")).await.problem(), (400, "bad_query".into()), "{wrong}");
    }
    assert_eq!(server.get("/api/conflicts/%FF").await.problem(), (404, "not_found".into()));
    assert_eq!(server.get("/api/conflicts/seven").await.problem(), (404, "not_found".into()));
    assert_eq!(server.get("/api/conflicts/00000000-0000-0000-0000-0000000000ff").await.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_run_is_shown_under_the_names_of_its_columns() {
    let server = Server::new(ApiConfig::default());
    insta::assert_json_snapshot!("sync_log", server.get("/api/sync/log?server=hall").await.json());
    insta::assert_json_snapshot!("conflict", server.get("/api/conflicts/00000000-0000-0000-0000-000000000001").await.json());
    insta::assert_json_snapshot!("sync_status", server.get("/api/sync").await.json());
}
