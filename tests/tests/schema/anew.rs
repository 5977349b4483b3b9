//! A table whose key is another one, and one that is made anew.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::{PARTS, conflict};

#[tokio::test(flavor = "multi_thread")]
async fn edits_go_on_under_a_new_key() {
    let mut world = World::of(PARTS, "root = \"shows\"\n", &["a", "b"]).await;
    let at_a = &world.site("a").api;
    world.stop().await;
    at_a.patch("/api/parts/p1", json!({"label": "edited"})).await.ok();
    at_a.create("/api/parts", json!({"id": "p9", "show_id": "s", "code": "c9"})).await;
    at_a.delete("/api/parts/p2").await.ok();
    world.psql("ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (code)").await;
    world.start_again().await;
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    assert_eq!(world.cloud.get("/api/parts/c1").await.ok()["label"], "edited");
    assert_eq!(world.cloud.get("/api/parts/c9").await.ok()["id"], "p9");
    world.cloud.get("/api/parts/c2").await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_anew_lets_go_of_what_did_not_come_back() {
    let mut world = World::of(PARTS, "root = \"shows\"\n", &["a", "b"]).await;
    let at_a = &world.site("a").api;
    world.stop().await;
    at_a.patch("/api/parts/p1", json!({"label": "edited"})).await.ok();
    at_a.patch("/api/parts/p2", json!({"label": "its row is gone"})).await.ok();
    world
        .psql(
            "DROP TABLE parts;
             CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label varchar(20), size text, note text,
                 code text NOT NULL UNIQUE, qty bigint);
             INSERT INTO parts VALUES ('p1', 's', 'label 1', '1', 'note', 'c1', 1), ('p5', 's', 'another', '5', 'note', 'c5', 5)",
        )
        .await;
    world.start_again().await;
    world.converge().await;
    let conflicts = world.pending_conflicts().await;
    assert_eq!((conflicts.len(), &conflict(&conflicts, "p2")["localData"]["label"]), (1, &json!("its row is gone")), "{conflicts:#?}");
    assert_eq!(world.cloud.get("/api/parts/p1").await.ok()["label"], "edited");
    for site in ["a", "b"] {
        world.site(site).api.get("/api/parts/p3").await.refused(404, "not_found");
    }
}
