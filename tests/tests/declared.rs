//! Rows that refer by their kind, with real servers: comments on assets, work orders and people, which the database does not declare.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::World;
use serde_json::{Value, json};

const SYSTEM: &str = "CREATE TABLE orgs (id uuid PRIMARY KEY, name text NOT NULL);
    CREATE TABLE assets (id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES orgs, name text NOT NULL);
    CREATE TABLE work_orders (id integer PRIMARY KEY, org_id uuid NOT NULL REFERENCES orgs, title text NOT NULL);
    CREATE TABLE people (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE comments (id uuid PRIMARY KEY, entity_type text NOT NULL, entity_id text, author_id text, body text);
    CREATE INDEX ON comments (entity_type, entity_id)";

const SETTINGS: &str = r#"
root = "orgs"
global = ["people"]
[tables.comments]
scope_through = ["entity_id"]
references = [
  { columns = ["entity_id"], kind = "entity_type", tables = { asset = "assets" }, on_delete = "cascade" },
  { columns = ["entity_id"], kind = "entity_type", tables = { work_order = "work_orders" }, on_delete = "set_null" },
  { columns = ["author_id"], table = "people" },
]
"#;

const ORG: &str = "01990000-0000-7000-8000-0000000000f1";

fn id(no: u32) -> String {
    format!("01990000-0000-7000-8000-{no:012}")
}

fn comment(no: u32, kind: &str, entity: &str) -> Value {
    json!({"id": id(no), "entity_type": kind, "entity_id": entity, "author_id": "ann", "body": "b"})
}

async fn one(world: &World, sql: &str) -> String {
    world.postgres().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn comments_follow_what_they_are_about_over_a_long_absence() {
    let world = World::of(SYSTEM, SETTINGS, &["a", "b"]).await;
    let (kept, gone) = (id(1), id(2));
    world
        .psql(&format!(
            "INSERT INTO orgs VALUES ('{ORG}', 'o');
             INSERT INTO assets VALUES ('{kept}', '{ORG}', 'kept'), ('{gone}', '{ORG}', 'gone');
             INSERT INTO work_orders VALUES (7, '{ORG}', 'seven');
             INSERT INTO people VALUES ('ann', 'Ann');
             INSERT INTO comments VALUES ('{}', 'asset', '{gone}', 'ann', 'old'), ('{}', 'work_order', '7', NULL, 'old')",
            id(10),
            id(11)
        ))
        .await;
    world.converge().await;
    let (a, b) = (world.site("a"), world.site("b"));

    // Offline at one site: a new asset with a comment, a comment on the asset that the cloud deletes meanwhile, one that changes its kind.
    world.cut_all();
    a.api.post("/api/assets", json!({"id": id(3), "org_id": ORG, "name": "new"})).await.ok();
    a.api.post("/api/comments", comment(20, "asset", &id(3))).await.ok();
    a.api.post("/api/comments", comment(21, "asset", &gone)).await.ok();
    a.api.post("/api/comments", comment(22, "asset", &id(99))).await.refused(422, "bad_reference");
    a.api.patch(&format!("/api/comments/{}", id(11)), json!({"entity_type": "asset", "entity_id": kept})).await.ok();
    a.api.delete("/api/people/ann").await.refused(409, "restricted");
    world.psql(&format!("DELETE FROM assets WHERE id = '{gone}'")).await;
    assert_eq!(one(&world, "SELECT count(*)::text FROM comments WHERE body = 'old'").await, "1", "the cloud's own trigger cascades");
    world.heal_all();
    world.sync("a").await;
    world.sync("b").await;

    let conflict = world.only_conflict(&id(21)).await;
    assert_eq!(conflict["kind"], "foreign_key", "{conflict}");
    let resolved = world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await;
    assert!(resolved.status.is_success(), "{resolved:?}");
    world.converge().await;
    assert_eq!(one(&world, "SELECT string_agg(DISTINCT rejoin_scope, ' ') FROM comments").await, format!("orgs/{ORG}"));
    let listed = b.api.get(&format!("/api/assets/{}?include=comments.author", id(3))).await.ok();
    assert_eq!(listed["included"]["comments"]["data"][0]["included"]["author"]["name"], "Ann", "{listed}");
    let moved = b.api.get(&format!("/api/assets/{kept}/comments")).await.ok();
    assert_eq!(moved["data"][0]["id"], json!(id(11)), "{moved}");

    // A delete at a site takes the comments along, clears what is only cleared, and both sides are equal afterwards.
    b.api.post("/api/comments", comment(23, "work_order", "7")).await.ok();
    b.api.delete(&format!("/api/assets/{kept}")).await.ok();
    b.api.delete("/api/work_orders/7").await.ok();
    b.api.get(&format!("/api/comments/{}", id(11))).await.refused(404, "not_found");
    assert_eq!(b.api.get(&format!("/api/comments/{}", id(23))).await.ok()["entity_id"], Value::Null);
    world.sync("b").await;
    world.sync("a").await;
    assert_eq!(one(&world, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM comments WHERE rejoin_scope <> 'nowhere'").await, id(20));
    a.api.get(&format!("/api/comments/{}", id(11))).await.refused(404, "not_found");
}
