//! Local edits, the history of a row, and what other policies would have made of the past.

use axum::http::{Method, header};
use conflict_ui_api::ApiConfig;
use conflict_ui_api::backend::EditState;
use conflict_ui_api::error::BackendError;
use serde_json::{Value as Json, json};
use sync_core::limits::LIST_ROWS_MAX;
use sync_core::policy::Policy;

use crate::Server;
use crate::scripted::Scripted;

#[tokio::test]
async fn edits_are_listed_by_what_is_asked() {
    let server = Server::new(ApiConfig::default());
    let page = server.get("/api/rejoin/edits?state=parked&table=sources&record=7&by=ann&limit=2").await;
    let body = page.json();
    assert_eq!((body["data"].as_array().unwrap().len(), &body["data"][0]["state"]), (2, &json!("waiting")));
    let asked = server.backend.asked_edits.lock().unwrap().take().unwrap();
    assert_eq!((asked.state, asked.table.as_deref(), asked.record.as_deref()), (Some(EditState::Parked), Some("sources"), Some("7")));
    assert_eq!((asked.by.as_deref(), asked.limit, asked.after), (Some("ann"), 3, None));
    let next = page.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let rest = server.get(&next).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["hasMore"]), (1, &json!(false)));
    assert_eq!(server.get("/api/rejoin/edits/counts").await.json()["waiting"], 3);
    for wrong in ["state=lost", "record=1", "cursor=zz", "format=xml", "page=2"] {
        assert_eq!(server.get(&format!("/api/rejoin/edits?{wrong}")).await.problem(), (400, "bad_query".into()), "{wrong}");
    }
}

#[tokio::test]
async fn an_export_is_every_edit_a_line_each() {
    let count = LIST_ROWS_MAX * 2 + 7;
    let server = Server::with(Scripted { edits: count, ..Scripted::default() }, ApiConfig::default(), Vec::new());
    let asked = server.get("/api/rejoin/edits?format=ndjson").await;
    let accepts = server.request(Method::GET, "/api/rejoin/edits").header(header::ACCEPT, "application/x-ndjson");
    let accepted = server.send(accepts.body(String::new().into()).unwrap()).await;
    for reply in [asked, accepted] {
        assert_eq!(reply.header("content-type"), "application/x-ndjson");
        let ids: Vec<_> = reply.body.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["recordId"].clone()).collect();
        let expected: Vec<_> = (1..=count).map(|id| json!(format!("{id:06}"))).collect();
        assert_eq!(ids, expected);
    }
    server.backend.fail_next(BackendError::Unsupported("edits are made at sites".into()));
    assert_eq!(server.get("/api/rejoin/edits?format=ndjson").await.problem(), (501, "unsupported".into()));
    let none = Server::with(Scripted { edits: 0, ..Scripted::default() }, ApiConfig::default(), Vec::new());
    let reply = none.get("/api/rejoin/edits?format=ndjson").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
}

#[tokio::test]
async fn the_history_of_a_row_is_paged_by_its_entries() {
    let server = Server::new(ApiConfig::default());
    let path = "/api/rejoin/history/sources/00000000-0000-0000-0000-000000000001";
    let page = server.get(&format!("{path}?limit=2")).await;
    let ids = |body: &Json| body["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!((ids(&page.json()), &page.json()["nextCursor"]), (vec![3, 2], &json!("2")));
    let rest = server.get(&format!("{path}?limit=2&cursor=2")).await.json();
    assert_eq!((ids(&rest), &rest["nextCursor"]), (vec![1], &json!(null)));
    assert_eq!(server.get("/api/rejoin/history/nowhere/1").await.problem(), (404, "unknown_table".into()));
    assert_eq!(server.get("/api/rejoin/history/sources/1").await.problem(), (404, "not_found".into()));
    assert_eq!(server.get(&format!("{path}?cursor=x")).await.problem(), (400, "bad_query".into()));
}

#[tokio::test]
async fn a_trial_names_columns_as_the_store_does() {
    const TRY: &str = "/api/rejoin/policies/try";
    let server = Server::new(ApiConfig::default());
    let body = json!({ "since": "30d", "policies": { "sources.note": "text", "public.sources.hRes": "max" } });
    let reply = server.ask(Method::POST, TRY, Some(&body.to_string())).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["lookedAt"]), (200, &json!(2)), "{}", reply.body);
    let (since, policies) = server.backend.tried.lock().unwrap().take().unwrap();
    let table = server.backend.catalog.by_name("sources").unwrap();
    let no = |name: &str| table.column_named(name).unwrap().no;
    assert_eq!(policies, [(table.no, no("note"), Policy::Text), (table.no, no("h_res"), Policy::Max)]);
    assert_eq!((chrono::Utc::now() - since).num_days(), 30);

    let body =
        json!({ "since": "soon", "policies": { "sources.wheels": "text", "note": "text", "sources.note": "best", "sources.name": "add" } });
    let reply = server.ask(Method::POST, TRY, Some(&body.to_string())).await;
    assert_eq!(reply.problem(), (422, "invalid_fields".into()));
    let faults = reply.json()["errors"].as_array().unwrap().clone();
    let pointers: Vec<_> = faults.iter().map(|fault| fault["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/since", "/policies/sources.wheels", "/policies/note", "/policies/sources.note", "/policies/sources.name"]);
    assert!(faults[3]["detail"].as_str().unwrap().contains("local_wins"), "the ones that there are");
    let nothing = server.ask(Method::POST, TRY, Some(r#"{"since":"1h","policies":{}}"#)).await;
    assert_eq!(nothing.problem(), (422, "invalid_fields".into()));
}
