//! The three forms of a list, and single records.

use std::sync::Arc;

use axum::http::{Method, header};
use conflict_ui_api::ApiConfig;
use conflict_ui_api::backend::{Filter, Sort, SortKey};
use serde_json::json;
use sync_core::catalog::{Catalog, ListForm};
use sync_core::value::Value;

use crate::scripted::Scripted;
use crate::{Server, pretty};

const SOURCE: &str = "/api/sources/00000000-0000-0000-0000-000000000001";

fn server(change: impl FnOnce(&mut Catalog)) -> Server {
    let mut backend = Scripted::default();
    change(Arc::make_mut(&mut backend.catalog));
    Server::with(backend, ApiConfig::default(), Vec::new())
}

#[tokio::test]
async fn a_list_has_the_form_of_the_system() {
    for form in [ListForm::Bare, ListForm::Named, ListForm::Page] {
        let server = server(|catalog| catalog.api.list = form);
        let page = server.get("/api/source_outputs?connector=SDI&limit=2").await;
        let rest = server.get("/api/source_outputs?limit=3").await;
        let shown = json!({ "body": page.json(), "link": page.header("link"), "last page's link": rest.header("link") });
        insta::assert_snapshot!(format!("list_{form:?}"), pretty(&shown));
    }
}

#[tokio::test]
async fn the_store_is_asked_for_what_the_query_says() {
    let server = server(|_| ());
    let table = server.backend.catalog.by_name("sources").unwrap();
    let no = |name: &str| table.column_named(name).unwrap().no;
    let asked = async |query: &str| {
        assert_eq!(server.get(&format!("/api/sources?{query}")).await.status, 200, "{query}");
        server.backend.asked.lock().unwrap().take().unwrap()
    };
    let query = asked("type=CAMERA&hRes[null]=true&sort=-updatedAt,name&deleted=true&limit=10").await;
    assert_eq!(query.filters, [Filter::equals(no("type"), Value::Text("CAMERA".into())), Filter::equals(no("h_res"), Value::Null)]);
    let step = |by, descending| Sort { by, descending };
    let sort = [step(SortKey::UpdatedAt, true), step(SortKey::Column(no("name")), false), step(SortKey::Column(no("id")), false)];
    assert_eq!((query.sort.as_slice(), query.deleted, query.limit, query.after), (sort.as_slice(), true, 11, None));
    assert_eq!(asked("sort=-id,version").await.sort, [step(SortKey::Column(no("id")), true), step(SortKey::Version, false)]);
    assert_eq!(asked("").await.limit, 1001, "a bare list's client may not know of pages");

    let first = server.get("/api/sources?sort=-hRes&limit=2&type=a%2Cb").await;
    let next = first.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    assert!(next.starts_with("/api/sources?sort=-hRes&limit=2&type=a%2Cb&cursor="), "{next}");
    assert_eq!(server.get(&next).await.status, 200);
    let after = server.backend.asked.lock().unwrap().take().unwrap().after.unwrap();
    assert_eq!(after, [Value::Null, Value::Uuid(uuid::Uuid::from_u128(2))]);
    let resized = next.replace("limit=2", "limit=7");
    assert_eq!(server.get(&resized).await.status, 200, "pages may change their size");
    assert_eq!(server.get(&next.replace("a%2Cb", "x")).await.problem(), (400, "bad_cursor".into()));
    assert_eq!(server.get(&next.replace("sources", "sends")).await.problem(), (400, "bad_cursor".into()));
}

#[tokio::test]
async fn a_single_record_has_an_etag_and_a_place() {
    let server = server(|_| ());
    let first = server.get(SOURCE).await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("\"4-") && etag.len() == 20, "{etag}");
    assert_eq!(first.header("rejoin-place"), "here");
    assert_eq!(first.json().get("rejoin"), None);
    assert_eq!(server.get(&format!("{SOURCE}?place=true")).await.json()["rejoin"], json!({ "place": "here" }));
    let again = |tag: &str, path: &str| {
        let request = server.request(Method::GET, path).header(header::IF_NONE_MATCH, tag);
        server.send(request.body(String::new().into()).unwrap())
    };
    let known = again(&format!("\"3-x\", W/{etag}"), SOURCE).await;
    assert_eq!((known.status.as_u16(), known.body.as_str(), known.header("etag")), (304, "", etag.as_str()));
    assert_eq!(again("\"3-x\"", SOURCE).await.status, 200);
    assert_eq!(again(&etag, &format!("{SOURCE}?place=true")).await.status, 200, "a place may change without the record");
    let head = server.ask(Method::HEAD, SOURCE, None).await;
    assert_eq!((head.status.as_u16(), head.body.as_str(), head.header("etag")), (200, "", etag.as_str()));
}

#[tokio::test]
async fn a_soft_deleted_record_is_shown_only_when_asked_for() {
    let server = server(|_| ());
    let path = "/api/sources/00000000-0000-0000-0000-000000000009";
    assert_eq!(server.get(path).await.problem(), (404, "not_found".into()));
    assert_eq!(server.get(&format!("{path}?deleted=true")).await.json()["isDeleted"], true);
}

#[tokio::test]
async fn a_table_whose_name_is_taken_answers_under_tables() {
    let server = server(|catalog| {
        for (table, name) in catalog.tables.iter_mut().zip(["conflicts", "rejoin"]) {
            (table.name, table.path) = (name.into(), name.into());
        }
    });
    assert!(server.get("/api/conflicts").await.body.contains("\"kind\""), "the engine's conflicts");
    assert_eq!(server.get("/api/rejoin").await.problem(), (404, "unknown_route".into()));
    assert_eq!(server.get("/api/conflicts/00000000-0000-0000-0000-000000000001/sources").await.problem(), (404, "unknown_table".into()));
    assert_eq!(server.get("/api/tables/public.conflicts").await.json().as_array().unwrap().len(), 3);
    assert_eq!(server.get("/api/tables/conflicts").await.status, 200);
    let made = server.ask(Method::POST, "/api/tables/public.conflicts", Some("{}")).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("location"), "/api/tables/public.conflicts/00000000-0000-0000-0000-000000000001");
    assert_eq!(server.get(made.header("location")).await.status, 200);
    assert_eq!(server.get("/api/tables/public.sources/00000000-0000-0000-0000-000000000001/source_outputs").await.status, 200);
}
