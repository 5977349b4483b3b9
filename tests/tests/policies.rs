//! Policies with real servers: what sites did without the link counts as its policy says, however often the link breaks on the way.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::World;
use serde_json::{Value, json};

const SYSTEM: &str = "CREATE TABLE shops (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE goods (id text PRIMARY KEY, shop text NOT NULL REFERENCES shops, stock integer NOT NULL DEFAULT 0, label text, note text,
        width integer, height integer);
    INSERT INTO shops VALUES ('s', 'Shop');
    INSERT INTO goods VALUES ('g', 's', 100, 'old', E'one\ntwo\nthree\n', 4, 3)";

const SETTINGS: &str = r#"root = "shops"
[tables.goods]
policies = { stock = "add", label = "newest", note = "text" }
groups = [["width", "height"]]
"#;

const PATH: &str = "/api/goods/g";

async fn world() -> World {
    World::of(SYSTEM, SETTINGS, &["a", "b"]).await
}

/// Runs a site over a link that breaks after ever more bytes of the answers, until it is whole at last.
async fn sync_badly(world: &World, name: &str) {
    let link = &world.site(name).link;
    for bytes in [0, 20, 150, 400, 900] {
        link.cut_after(bytes);
        world.try_sync(name).await;
    }
    link.heal();
    world.sync(name).await;
}

async fn everywhere(world: &World, column: &str, expected: Value) {
    for api in world.everybody() {
        assert_eq!(api.get(PATH).await.ok()[column], expected, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_from_one_stock_are_all_counted_once() {
    let world = world().await;
    world.cut_all();
    let (a, b) = (world.site("a"), world.site("b"));
    for _ in 0..3 {
        a.sqlite3("UPDATE goods SET stock = stock - 2 WHERE id = 'g'");
    }
    // Equal amounts are sales of their own; by the API too.
    b.sqlite3("UPDATE goods SET stock = stock - 2 WHERE id = 'g'");
    b.api.patch(PATH, json!({"stock": 91})).await.ok();
    world.psql("UPDATE goods SET stock = stock + 50 WHERE id = 'g'").await;
    sync_badly(&world, "a").await;
    world.psql("UPDATE goods SET stock = stock - 1 WHERE id = 'g'").await;
    sync_badly(&world, "b").await;
    a.sqlite3("UPDATE goods SET stock = stock - 10 WHERE id = 'g'");
    world.converge().await;
    everywhere(&world, "stock", json!(100 - 6 - 9 + 50 - 1 - 10)).await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_edit_counts_whoever_comes_first() {
    let world = world().await;
    world.cut_all();
    world.site("a").api.patch(PATH, json!({"label": "first"})).await.ok();
    world.psql("UPDATE goods SET label = 'second' WHERE id = 'g'").await;
    world.site("b").api.patch(PATH, json!({"label": "third"})).await.ok();
    sync_badly(&world, "b").await;
    sync_badly(&world, "a").await;
    world.converge().await;
    everywhere(&world, "label", json!("third")).await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    let lost = world.cloud.get("/api/conflicts?resolution=CLOUD_WINS&limit=10").await.ok();
    assert_eq!(
        (&lost["data"][0]["localData"]["label"], &lost["data"][0]["resolvedBy"]),
        (&json!("first"), &json!("policy:newest")),
        "{lost}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_text_merge_and_park_where_they_touch() {
    let world = world().await;
    world.cut_all();
    world.site("a").api.patch(PATH, json!({"note": "ONE\ntwo\nthree\n"})).await.ok();
    world.site("b").api.patch(PATH, json!({"note": "one\ntwo\nthree\nfour\n"})).await.ok();
    sync_badly(&world, "a").await;
    sync_badly(&world, "b").await;
    world.converge().await;
    everywhere(&world, "note", json!("ONE\ntwo\nthree\nfour\n")).await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());

    world.cut_all();
    world.site("a").api.patch(PATH, json!({"note": "uno\ntwo\nthree\nfour\n"})).await.ok();
    world.site("b").api.patch(PATH, json!({"note": "eins\ntwo\nthree\nfour\n"})).await.ok();
    sync_badly(&world, "a").await;
    sync_badly(&world, "b").await;
    world.converge().await;
    everywhere(&world, "note", json!("uno\ntwo\nthree\nfour\n")).await;
    assert_eq!(world.only_conflict("g").await["localData"]["note"], "eins\ntwo\nthree\nfour\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_never_mixed_of_two_edits() {
    let world = world().await;
    world.cut_all();
    world.site("a").api.patch(PATH, json!({"width": 16})).await.ok();
    world.site("b").api.patch(PATH, json!({"height": 9, "label": "wide"})).await.ok();
    sync_badly(&world, "a").await;
    sync_badly(&world, "b").await;
    world.converge().await;
    everywhere(&world, "width", json!(16)).await;
    everywhere(&world, "height", json!(3)).await;
    // What is not of the group went in.
    everywhere(&world, "label", json!("wide")).await;
    let conflict = world.only_conflict("g").await;
    assert_eq!(conflict["columns"], json!(["height", "width"]), "{conflict}");
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;
    everywhere(&world, "width", json!(4)).await;
    everywhere(&world, "height", json!(9)).await;
}
