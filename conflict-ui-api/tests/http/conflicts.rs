//! Conflicts and the log of runs over HTTP.

use axum::http::Method;
use conflict_ui_api::ApiConfig;
use conflict_ui_api::backend::{ConflictFilter, ConflictSort};
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::value::Value;
use uuid::Uuid;

use crate::scripted::conflict;
use crate::{Server, pretty};

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
async fn a_page_of_large_conflicts_ends_early_and_says_how_to_go_on() {
    let server = Server::new(ApiConfig::default());
    let (mut next, mut seen, mut pages) = (String::from("/api/conflicts?site=full%20of%20large%20rows&limit=1000"), Vec::new(), 0);
    while !next.is_empty() {
        let page = server.get(&next).await;
        assert!(page.body.len() < 12 << 20, "{} bytes", page.body.len());
        let body = page.json();
        seen.extend(body["data"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap().to_owned()));
        let cursor = body["nextCursor"].as_str().map(str::to_owned);
        assert_eq!(cursor.is_some(), body["hasMore"] == json!(true));
        next = cursor.map(|cursor| format!("/api/conflicts?site=full%20of%20large%20rows&limit=1000&cursor={cursor}")).unwrap_or_default();
        pages += 1;
    }
    let all: Vec<String> = (1..=40).map(|id| Uuid::from_u128(id).to_string()).collect();
    assert_eq!((seen, pages), (all, 5));
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
    for wrong in
        ["since=yesterday", "until=5y", "record=1", "byPolicy=maybe", "group=1", "push=x", "root=1", "sort=oldest&sort=newest", "sort=best"]
    {
        for list in ["conflicts", "conflicts/groups", "conflicts/counts"] {
            assert_eq!(server.get(&format!("/api/{list}?{wrong}")).await.problem(), (400, "bad_query".into()), "{list} {wrong}");
        }
    }
    for wrong in ["resolution=OPEN", "kind=clash", "limit=5000", "cursor=x", "state=open", "site=a&site=b"] {
        assert_eq!(server.get(&format!("/api/conflicts?{wrong}")).await.problem(), (400, "bad_query".into()), "{wrong}");
    }
    for (wrong, said) in [("table=sourcez", "there is no table sourcez; there are: "), ("site=hal", "no site hal is known here")] {
        for list in ["conflicts", "conflicts/groups", "conflicts/counts"] {
            let answer = server.get(&format!("/api/{list}?{wrong}")).await;
            assert_eq!(answer.problem(), (400, "bad_query".into()), "{list} {wrong}");
            let fault = &answer.json()["errors"][0];
            assert!(fault["code"] == "unknown" && fault["detail"].as_str().unwrap().starts_with(said), "{fault}");
        }
    }
    assert_eq!(server.get("/api/conflicts/%FF").await.problem(), (404, "not_found".into()));
    assert_eq!(server.get("/api/conflicts/seven").await.problem(), (404, "not_found".into()));
    assert_eq!(server.get("/api/conflicts/00000000-0000-0000-0000-0000000000ff").await.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn the_store_is_asked_with_its_own_names_and_times() {
    let server = Server::new(ApiConfig::default());
    let id = Uuid::from_u128(7);
    let query = format!(
        "resolution=LOCAL_WINS&table=sources&kind=unique&site=hall&group={id}&push=3&column=hRes&since=2026-11-01T00:00:00Z&until=24h\
         &record=r1&byPolicy=true&root={id}"
    );
    let expected = |until| ConflictFilter {
        resolution: Some(Resolution::LocalWins),
        table: Some("sources".into()),
        kind: Some(ConflictKind::Unique),
        site: Some("hall".into()),
        group: Some(id),
        push: Some(3),
        column: Some("h_res".into()),
        since: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        until,
        record: Some("r1".into()),
        by_policy: Some(true),
        root: Some(ConflictId(id)),
    };
    for list in ["conflicts", "conflicts/groups", "conflicts/counts"] {
        assert_eq!(server.get(&format!("/api/{list}?{query}")).await.status, 200, "{list}");
        let filter = server.backend.asked_conflicts.lock().unwrap().take().unwrap().filter;
        let hours = (chrono::Utc::now() - filter.until.unwrap()).num_minutes();
        assert_eq!((&filter, hours), (&expected(filter.until), 24 * 60), "{list}");
    }
    let cursor = Uuid::from_u128(2);
    assert_eq!(server.get(&format!("/api/conflicts/groups?sort=oldest&limit=2&cursor={cursor}")).await.status, 200);
    let asked = server.backend.asked_conflicts.lock().unwrap().take().unwrap();
    assert_eq!((asked.sort, asked.after, asked.limit), (ConflictSort::Oldest, Some(ConflictId(cursor)), 3));
    // A table that the catalog does not have (any more) may have conflicts still.
    assert_eq!(server.get("/api/conflicts?table=gone&column=lost").await.status, 200);
    let asked = server.backend.asked_conflicts.lock().unwrap().take().unwrap().filter;
    assert_eq!((asked.table.as_deref(), asked.column.as_deref()), (Some("gone"), Some("lost")));
}

#[tokio::test]
async fn a_conflict_is_shown_field_by_field() {
    let server = Server::new(ApiConfig::default());
    let body = server.get("/api/conflicts/00000000-0000-0000-0000-000000000001").await.json();
    assert_eq!((&body["id"], &body["besidesDigest"]), (&json!("00000000-0000-0000-0000-000000000001"), &json!("d1")));
    let fields = body["fields"].as_array().unwrap();
    let table = server.backend.catalog.by_name("sources").unwrap();
    assert_eq!(fields.len(), table.columns.len() + 1, "every column, and one that is there no more");
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    let note = field("note");
    assert_eq!((&note["verdict"], &note["editable"], &note["cloudBy"]), (&json!("clash"), &json!(true), &json!("ann")));
    let part = |op: &str, text: &str| json!({ "op": op, "text": text });
    assert_eq!(note["diff"], json!([part("cloud", "the cloud's"), part("local", "my"), part("same", " words")]));
    let verdicts = ["h_res", "v_res", "name", "id", "gone"].map(|name| field(name)["verdict"].as_str().unwrap().to_owned());
    assert_eq!(verdicts, ["both_same", "cloud_only", "same", "same", "local_only"]);
    assert_eq!((&field("h_res")["field"], &field("id")["editable"]), (&json!("hRes"), &json!(false)));
    assert_eq!((&field("gone")["type"], &field("gone")["editable"]), (&json!(null), &json!(false)));
}

#[tokio::test]
async fn two_rows_are_made_one_and_decisions_are_taken_back() {
    let server = Server::new(ApiConfig::default());
    let unique = RESOLVE.replace("0001/", "0005/");
    let body = json!({ "resolution": "LOCAL_WINS", "cloudEtag": "\"4-00\"", "revision": 1, "way": "same_row", "besides": "d1" });
    assert_eq!(server.ask(Method::POST, &unique, Some(&body.to_string())).await.status, 200);
    let command = server.backend.decided.lock().unwrap().take().unwrap();
    assert_eq!((command.way, command.besides.as_deref()), (Way::SameRow, Some("d1")));
    let other = server.ask(Method::POST, RESOLVE, Some(&body.to_string())).await;
    assert_eq!((other.problem(), &other.json()["errors"][0]["pointer"]), ((422, "invalid_fields".into()), &json!("/way")));

    let undo = |id: &str| RESOLVE.replace("0001/resolve", &format!("{id}/undo"));
    assert_eq!(server.ask(Method::POST, &undo("0006"), Some(r#"{"revision":4}"#)).await.status, 200);
    let command = server.backend.decided.lock().unwrap().take().unwrap();
    assert_eq!((command.way, command.resolution, command.revision), (Way::Undo, Resolution::Pending, 4));
    assert_eq!(server.ask(Method::POST, &undo("0006"), Some("{}")).await.problem(), (422, "invalid_fields".into()));
    assert_eq!(server.ask(Method::POST, &undo("0001"), Some(r#"{"revision":1}"#)).await.problem(), (422, "undecidable".into()));
    assert_eq!(server.ask(Method::POST, &undo("00ff"), Some(r#"{"revision":1}"#)).await.problem(), (404, "not_found".into()));
    server.backend.fail_next(BackendError::Outdated(Box::new(conflict(6))));
    let stale = server.ask(Method::POST, &undo("0006"), Some(r#"{"revision":4}"#)).await;
    assert_eq!((stale.problem(), &stale.json()["current"]["revision"]), ((409, "outdated_resolution".into()), &json!(1)));
}

#[tokio::test]
async fn a_run_is_shown_under_the_names_of_its_columns() {
    let server = Server::new(ApiConfig::default());
    insta::assert_snapshot!("sync_log", pretty(&server.get("/api/sync/log?server=hall").await.json()));
    insta::assert_snapshot!("conflict", pretty(&server.get("/api/conflicts/00000000-0000-0000-0000-000000000001").await.json()));
    insta::assert_snapshot!("sync_status", pretty(&server.get("/api/sync").await.json()));
}
