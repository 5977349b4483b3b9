//! Each failure as a client sees it.

use axum::http::Method;
use conflict_ui_api::ApiConfig;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::write::FieldError;

use crate::scripted::conflict;
use crate::{Reply, Server};

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
        insta::assert_json_snapshot!(format!("store_{name}"), failed(error).await);
    }
}

#[tokio::test]
async fn an_outdated_decision_shows_the_conflict_as_it_is() {
    let server = Server::new(ApiConfig::default());
    server.backend.fail_next(BackendError::Outdated(Box::new(conflict(1))));
    let body = r#"{"resolution":"CLOUD_WINS","revision":1,"cloudEtag":"\"4-00\""}"#;
    let path = "/api/conflicts/00000000-0000-0000-0000-000000000001/resolve";
    insta::assert_json_snapshot!(shown(&server.ask(Method::POST, path, Some(body)).await));
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
        insta::assert_json_snapshot!(format!("request_{name}"), shown(&server.ask(method, path, body).await));
    }
}
