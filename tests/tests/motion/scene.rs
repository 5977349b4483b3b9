//! Parts of a show, a site that writes them, and what one asks of them.

use rejoin_tests::world::digests;
use rejoin_tests::{Answer, Api, World};
use serde_json::{Value, json};

pub(crate) const SYSTEM: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label text, size text, note text,
        code text NOT NULL UNIQUE, qty integer NOT NULL DEFAULT 0);
    INSERT INTO shows VALUES ('s', 'Show');
    INSERT INTO parts SELECT 'p' || n, 's', 'label ' || n, n::text, 'note', 'c' || n, n FROM generate_series(1, 6) n";

/// `parts` under this name, whose amounts add up.
pub(crate) fn settings(table: &str) -> String {
    format!("root = \"shows\"\n[tables.{table}]\npolicies = {{ qty = \"add\" }}\n")
}

/// A cloud with parts and the site `a`.
pub(crate) async fn world() -> World {
    World::of(SYSTEM, &settings("parts"), &["a"]).await
}

/// One run of the site, of one direction, that the link breaks in its first answer.
pub(crate) async fn lose_the_answer(world: &World, direction: &str) {
    let site = world.site("a");
    site.link.cut_after(20);
    site.api.post("/api/sync/run", json!({"direction": direction})).await;
    site.link.cut();
}

/// A value that SQL on the site's file gives, as text.
pub(crate) fn at_site(world: &World, sql: &str) -> String {
    let file = rusqlite::Connection::open(world.site("a").database()).unwrap();
    let value: rusqlite::types::Value = file.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{error}: {sql}"));
    match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    }
}

/// The open conflicts, by record: kind, columns, and what the site wrote.
pub(crate) async fn conflicts(world: &World) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<_> = world
        .pending_conflicts()
        .await
        .into_iter()
        .map(|conflict| (text(&conflict["recordId"]), text(&conflict["kind"]), conflict["localData"].clone()))
        .collect();
    all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    all
}

/// Decides an open conflict at a server, as it shows it.
pub(crate) async fn decide(api: &Api, record: &str, body: Value) -> Answer {
    let open = api.get("/api/conflicts?resolution=PENDING&limit=1000").await.ok();
    let conflict = open["data"].as_array().unwrap().iter().find(|conflict| conflict["recordId"] == record);
    let conflict = conflict.unwrap_or_else(|| panic!("{record}: {open}"));
    let mut whole = json!({"revision": conflict["revision"], "cloudEtag": conflict["cloudEtag"]});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    api.post(&format!("/api/conflicts/{}/resolve", conflict["id"].as_str().unwrap()), whole).await
}

/// Runs the site three times and proves that it and the cloud are equal.
pub(crate) async fn settle(world: &World) {
    for _ in 0..3 {
        world.sync("a").await;
    }
    assert_eq!(digests(&world.site("a").api).await, digests(&world.cloud).await);
}
