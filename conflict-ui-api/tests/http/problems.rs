//! Each failure as a client sees it.

use axum::http::Method;
use conflict_ui_api::error::BackendError;
use conflict_ui_api::routes::Access;
use conflict_ui_api::{ApiConfig, Route};
use serde_json::json;
use sync_core::write::FieldError;

use crate::scripted::conflict;
use crate::{Reply, Server, pretty};

const SOURCE: &str = "/api/sources/00000000-0000-0000-0000-000000000001";

/// Status, the headers that matter, and the body.
fn shown(reply: &Reply) -> serde_json::Value {
    let mut shown = json!({ "status": reply.status.as_u16(), "body": reply.json() });
    for name in ["retry-after", "www-authenticate", "allow"] {
        if reply.headers.contains_key(name) {
            shown[name] = reply.header(name).into();
        }
    }
    shown
}

async fn failed(error: BackendError) -> serde_json::Value {
    let server = Server::new(ApiConfig::default());
    server.backend.fail_next(error);
    shown(&server.ask(Method::PATCH, SOURCE, Some("{}")).await)
}

#[tokio::test]
async fn failures_of_the_store() {
    let server = Server::new(ApiConfig::default());
    let sources = server.backend.catalog.by_name("sources").unwrap().no;
    let internal: Box<dyn std::error::Error + Send + Sync> = "password=hunter2".into();
    for (name, error) in [
        ("not_found", BackendError::NotFound("source 1".into())),
        ("invalid", BackendError::Invalid(vec![FieldError { field: "hRes".into(), code: "type", detail: "expected a number".into() }])),
        ("duplicate", BackendError::Duplicate { table: "sources".into(), columns: vec!["production_id".into(), "name".into()] }),
        ("bad_reference", BackendError::BadReference { column: "production_id".into(), target: "productions".into() }),
        ("restricted", BackendError::Restricted { table: "connections".into() }),
        ("check", BackendError::Check("rate must be positive".into())),
        ("stale", BackendError::Stale(Box::new(server.backend.record(sources, 1)))),
        ("undecidable", BackendError::Undecidable("the value of column note was never sent".into())),
        ("forbidden", BackendError::Forbidden("the site does not hold this scope".into())),
        ("unsupported", BackendError::Unsupported("users are managed at the cloud".into())),
        ("busy", BackendError::Busy),
        ("unavailable", BackendError::Unavailable("the database does not answer".into())),
        ("internal", BackendError::Internal(internal)),
    ] {
        insta::assert_snapshot!(format!("store_{name}"), pretty(&failed(error).await));
    }
}

#[tokio::test]
async fn an_outdated_decision_shows_the_conflict_as_it_is() {
    let server = Server::new(ApiConfig::default());
    server.backend.fail_next(BackendError::Outdated(Box::new(conflict(1))));
    let body = r#"{"resolution":"CLOUD_WINS","revision":1,"cloudEtag":"\"4-00\""}"#;
    let path = "/api/conflicts/00000000-0000-0000-0000-000000000001/resolve";
    insta::assert_snapshot!(pretty(&shown(&server.ask(Method::POST, path, Some(body)).await)));
}

#[tokio::test]
async fn faults_of_the_request() {
    let server = Server::new(ApiConfig::default());
    for (name, method, path, body) in [
        ("unknown_route", Method::GET, "/nowhere", None),
        ("unknown_table", Method::GET, "/api/wheels", None),
        ("unknown_children", Method::GET, "/api/sources/00000000-0000-0000-0000-000000000001/sends", None),
        ("not_a_key", Method::GET, "/api/sources/seven", None),
        ("method_not_allowed", Method::DELETE, "/api/sources", None),
        ("bad_query", Method::GET, "/api/sources?hRes=wide&wheels=4&limit=0&place=x&name[like]=a&name=a&name=b", None),
        ("bad_sort", Method::GET, "/api/connections?sort=signalPath", None),
        ("bad_cursor", Method::GET, "/api/sources?cursor=beef", None),
        ("bad_json", Method::POST, "/api/sources", Some(r#"{"name": }"#)),
        ("not_an_object", Method::POST, "/api/sources", Some("[1]")),
        ("empty_body", Method::POST, "/api/sources", Some("")),
        ("invalid_fields", Method::POST, "/api/sources", Some(r#"{"hRes":"wide","wheels":4,"type":7,"isDeleted":true}"#)),
        ("changed_key", Method::PATCH, SOURCE, Some(r#"{"id":"00000000-0000-0000-0000-000000000002"}"#)),
        ("unknown_parameter", Method::DELETE, "/api/sources/00000000-0000-0000-0000-000000000001?force=true", None),
    ] {
        insta::assert_snapshot!(format!("request_{name}"), pretty(&shown(&server.ask(method, path, body).await)));
    }
}

#[tokio::test]
async fn what_the_engine_does_not_have_is_no_table() {
    let code = |reply: &Reply| (reply.status.as_u16(), reply.json()["code"].as_str().unwrap().to_owned());
    let site = Server::new(ApiConfig::default());
    let cloud = Server::with(
        crate::scripted::Scripted::default(),
        ApiConfig::default(),
        vec![
            Route::get("/api/rejoin/sites", Access::Admin, async || "[]"),
            Route::get("/api/rejoin/sites/{name}", Access::Admin, async || "{}"),
        ],
    );
    for server in [&site, &cloud] {
        for path in ["/api/rejoin", "/api/rejoin/wheels", "/api/rejoin/wheels/1", "/api/rejoin/wheels/1/2/3", "/api/rejoin/sitesmap"] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                assert_eq!(code(&server.ask(method, path, None).await), (404, "unknown_route".to_owned()), "{path}");
            }
        }
        assert_eq!(code(&server.ask(Method::DELETE, "/api/rejoin/users", None).await), (405, "method_not_allowed".to_owned()));
        assert_eq!(server.ask(Method::GET, "/api/rejoin/users", None).await.status, 200);
    }
    for path in ["/api/rejoin/sites", "/api/rejoin/sites/venue", "/api/rejoin/sites/venue/scopes/x"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let reply = site.ask(method, path, None).await;
            assert_eq!(code(&reply), (501, "unsupported".to_owned()), "{path}");
            assert!(reply.json()["detail"].as_str().unwrap().contains("managed at the cloud"), "{}", reply.body);
        }
    }
    assert_eq!(cloud.ask(Method::GET, "/api/rejoin/sites/venue", None).await.body, "{}");
    assert_eq!(code(&cloud.ask(Method::GET, "/api/rejoin/sites/venue/2/3", None).await), (404, "unknown_route".to_owned()));
}
