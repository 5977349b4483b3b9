//! Filters, orders, pages.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use sync_core::value::{ColumnType, Value};
use sync_core::write::Draft;
use uuid::Uuid;

use super::records::production;
use super::{Client, Fixture, System};
use crate::backend::{Principal, Role, Write};
use crate::error::BackendError;

/// Sources of one production, made one by one in this order: name, type, horizontal resolution.
pub(super) async fn sources(client: &Client, rows: &[(&str, &str, Option<i64>)]) -> String {
    let production = production(client, "Gala").await;
    for (name, ty, width) in rows {
        let body = json!({ "productionId": production, "name": name, "type": ty, "hRes": width });
        client.post("/api/sources", body).await.expect(201);
    }
    production
}

pub(super) fn names(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

pub async fn filters_compare_values_and_find_null(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let rows = [("a", "CAMERA", Some(1920)), ("b", "CAMERA", None), ("c", "PLAYBACK", Some(1920)), ("A", "CAMERA", Some(3840))];
    let production = sources(&client, &rows).await;
    let found = async |query: &str| {
        let list = client.get(&format!("/api/sources?sort=name&{query}")).await.expect(200);
        names(&list).join("")
    };
    assert_eq!(found("type=CAMERA").await, "Aab", "text is ordered by bytes");
    assert_eq!(found("type=CAMERA&hRes=1920").await, "a");
    assert_eq!(found("type=CAMERA&h_res=1920").await, "a", "a column's own name is as good");
    assert_eq!(found("hRes[null]=true").await, "b");
    assert_eq!(found("name[eq]=A").await, "A");
    assert_eq!(found("name=").await, "");
    assert_eq!(found(&format!("productionId={}", production.to_uppercase())).await, "Aabc", "the value counts, not its spelling");
    assert_eq!(found(&format!("productionId={}", Uuid::now_v7())).await, "");
    assert_eq!(client.get("/api/sources?hRes=wide").await.problem(400, "bad_query"), ["hRes"]);
    assert_eq!(client.get("/api/sources?wheels=4&limit=0").await.problem(400, "bad_query"), ["limit", "wheels"]);
}

pub async fn orders_put_nulls_last_and_break_ties_by_key(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", None), ("b", "X", Some(2)), ("c", "X", Some(10)), ("d", "Y", None), ("e", "Y", Some(2))]).await;
    for (sort, expected) in [
        ("name", "abcde"),
        ("-name", "edcba"),
        ("hRes,name", "becad"),
        ("-hRes,name", "adcbe"),
        ("-hRes,-name", "daceb"),
        ("-type,hRes,name", "edbca"),
    ] {
        let whole = client.get(&format!("/api/sources?sort={sort}")).await.expect(200);
        assert_eq!(names(&whole).join(""), expected, "sort={sort}");
        assert_eq!(walk(&client, &format!("/api/sources?sort={sort}&limit=1")).await, ids(&whole), "sort={sort}, one by one");
        assert_eq!(walk(&client, &format!("/api/sources?sort={sort}&limit=2")).await, ids(&whole), "sort={sort}, two by two");
    }
    let by_tie = client.get("/api/sources?sort=type").await.expect(200);
    assert_eq!(walk(&client, "/api/sources?sort=type&limit=1").await, ids(&by_tie));
    assert_eq!(client.get("/api/connections?sort=signalPath").await.problem(400, "bad_query"), ["sort"]);
}

pub async fn lists_are_ordered_by_version_and_time_of_change(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", None), ("b", "X", None), ("c", "X", None)]).await;
    let list = client.get("/api/sources?sort=name").await.expect(200);
    for _ in 0..2 {
        for id in [&ids(&list)[1], &ids(&list)[0]] {
            let before = client.get(&format!("/api/sources/{id}")).await.expect(200)["version"].clone();
            client.patch(&format!("/api/sources/{id}"), json!({ "note": format!("after {before}") })).await.expect(200);
        }
    }
    client.patch(&format!("/api/sources/{}", ids(&list)[1]), json!({ "note": "once more" })).await.expect(200);
    for sort in ["version,name", "-version,name", "updatedAt", "-updatedAt"] {
        let whole = client.get(&format!("/api/sources?sort={sort}")).await.expect(200);
        let expected = if sort.starts_with('-') { ["b", "a", "c"] } else { ["c", "a", "b"] };
        assert_eq!(names(&whole), expected, "sort={sort}");
        assert_eq!(walk(&client, &format!("/api/sources?sort={sort}&limit=1")).await, ids(&whole), "sort={sort}");
    }
}

pub async fn two_thousand_five_hundred_rows_come_once_each(fixture: &dyn Fixture) {
    const ROWS: usize = 2_500;
    let client = Client::open(fixture, System::VideoProduction).await;
    let production = production(&client, "Gala").await;
    let made = fill(&client, &production, ROWS).await;
    for query in ["sort=hRes&limit=1000", "sort=-hRes,type&limit=333", "limit=999", "sort=-name&limit=1000"] {
        let seen = walk(&client, &format!("/api/sources?{query}")).await;
        assert_eq!(seen.len(), ROWS, "{query}: nothing twice");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made, "{query}: nothing lost");
    }
    let nested = walk(&client, &format!("/api/productions/{production}/sources?sort=type&limit=700")).await;
    assert_eq!(nested.into_iter().collect::<BTreeSet<_>>(), made);
    let whole = client.get("/api/sources").await;
    assert!(whole.next().is_some() && whole.ids().len() == 1000, "a bare list is cut at 1,000 and says so");
}

/// Sources with few different widths and types, a third without a width; their ids.
async fn fill(client: &Client, production: &str, rows: usize) -> BTreeSet<String> {
    let catalog = client.store.backend.catalog().unwrap();
    let table = catalog.by_name("sources").unwrap();
    let no = |name: &str| table.column_named(name).unwrap().no;
    let production = ColumnType::Uuid.parse(production).unwrap();
    let draft = |at: usize| {
        let width = if at.is_multiple_of(3) { Value::Null } else { Value::Int(at as i64 % 7) };
        let text = |text: String| Value::Text(text);
        Draft::from([
            (no("id"), Value::Uuid(Uuid::now_v7())),
            (no("production_id"), production.clone()),
            (no("type"), text(format!("T{}", at % 5))),
            (no("name"), text(format!("source {at:04}"))),
            (no("h_res"), width),
        ])
    };
    let drafts: Vec<Draft> = (0..rows).map(draft).collect();
    let by = Principal { name: "importer".to_owned(), role: Role::Admin };
    let pairs: Vec<_> = drafts.iter().map(|draft| (table.no, draft.clone())).collect();
    match client.store.backend.import(&by, &pairs).await {
        Ok(imported) => assert_eq!(imported.created, rows as u64),
        Err(BackendError::Unsupported(_)) => {
            for draft in &drafts {
                client.store.backend.write(&by, table.no, &Write::Create(draft.clone())).await.unwrap();
            }
        }
        Err(error) => panic!("{error}"),
    }
    drafts.iter().map(|draft| draft[&no("id")].to_text().into_owned()).collect()
}

pub async fn rows_that_come_between_pages_do_not_disturb_them(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let production = sources(&client, &[("b", "X", None), ("d", "X", None), ("f", "X", None), ("h", "X", None)]).await;
    let first = client.get("/api/sources?sort=name&limit=2").await;
    assert_eq!(names(&first.body), ["b", "d"]);
    for name in ["a", "c", "e"] {
        client.post("/api/sources", json!({ "productionId": production, "name": name, "type": "X" })).await.expect(201);
    }
    let gone = client.get("/api/sources?name=d").await.ids();
    client.delete(&format!("/api/sources/{}", gone[0])).await.expect(204);
    let second = client.get(&first.next().unwrap()).await;
    assert_eq!(names(&second.body), ["e", "f"], "the list goes on behind a value, also when its row is gone");
    let third = client.get(&second.next().unwrap()).await;
    assert_eq!(names(&third.body), ["h"]);
    assert_eq!(third.next(), None);
    let cursor = first.next().unwrap().rsplit_once("cursor=").unwrap().1.to_owned();
    client.get(&format!("/api/sources?sort=-name&cursor={cursor}")).await.problem(400, "bad_cursor");
    client.get(&format!("/api/sends?sort=name&cursor={cursor}")).await.problem(400, "bad_cursor");
    client.get("/api/sources?cursor=77").await.problem(400, "bad_cursor");
}

fn ids(list: &Json) -> Vec<String> {
    list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of every page from this one on.
async fn walk(client: &Client, path: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = client.get(&path).await;
        seen.extend(page.ids());
        next = page.next();
        assert!(seen.len() <= 100_000, "the pages do not end");
    }
    seen
}
