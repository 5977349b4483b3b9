//! The schema moves so that no catalog can be made of it: what is still there goes on, and everybody is told.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::time::{Duration, Instant};

use rejoin_tests::World;
use serde_json::{Value, json};

const SCHEMA: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text);
    CREATE TABLE acts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text);
    CREATE TABLE props (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text);
    CREATE TABLE cues (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, act_id text REFERENCES acts);
    INSERT INTO shows VALUES ('s', 'Gala'); INSERT INTO acts SELECT id, 's', 'first' FROM unnest('{a,b,gone,old}'::text[]) id; INSERT INTO props VALUES ('p', 's', 'hat');";
const SETTINGS: &str = "root = 'shows'\n[notify]\nurl = 'http://127.0.0.1:9/'\nsecret = 'sixteen bytes at least'\nallow_private = true\n";

/// Asks until the answer is as it should be.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ask().await {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn kinds(world: &World) -> Vec<String> {
    let notices = world.cloud.get("/api/rejoin/notices").await.ok();
    notices.as_array().unwrap().iter().filter_map(|notice| notice["kind"].as_str().map(str::to_owned)).collect()
}

async fn note(api: &rejoin_tests::Api, path: &str) -> Value {
    api.get(path).await.ok()["note"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_there_travels_and_what_is_not_is_named_to_everybody_and_waits() {
    let settings = format!("{SETTINGS}[tables.acts]\nscope_through = ['show_id']\n");
    let world = World::of(SCHEMA, &settings, &["a"]).await;
    let site = &world.site("a").api;
    // The way to the root is gone, and with it a column that statements name.
    world.psql("ALTER TABLE acts DROP COLUMN show_id").await;
    until("a notice", async || kinds(&world).await.contains(&"schema".to_owned())).await;
    world.psql("UPDATE props SET note = 'coat'; UPDATE acts SET note = 'second' WHERE id = 'b'; DELETE FROM acts WHERE id = 'gone'").await;
    site.post("/api/props", json!({"id": "q", "show_id": "s", "note": "from a"})).await.ok();
    let run = world.try_sync("a").await.ok();
    assert_eq!(run["lastRun"]["status"], "PARTIAL", "{run}");
    assert_eq!((note(site, "/api/props/p").await, note(&world.cloud, "/api/props/q").await), (json!("coat"), json!("from a")));
    let status = site.get("/api/sync").await.ok();
    let said = status["lastError"].as_str().unwrap_or_default();
    assert!(said.contains("does not serve acts") && said.contains("show_id"), "{status}");
    // It is said once in the log of runs, and once to those outside.
    let again = world.try_sync("a").await.ok();
    assert_eq!((&again["lastRun"]["id"], &again["lastError"]), (&run["lastRun"]["id"], &run["lastError"]), "{again}");
    assert_eq!(kinds(&world).await.iter().filter(|kind| *kind == "schema").count(), 1);
    // What is written of it waits, with what hangs from it; nothing else does.
    site.patch("/api/acts/a", json!({"note": "of a"})).await.ok();
    site.delete("/api/acts/old").await.ok();
    site.post("/api/acts", json!({"id": "new", "show_id": "s", "note": "of a"})).await.ok();
    site.post("/api/cues", json!({"id": "c", "show_id": "s", "act_id": "new"})).await.ok();
    site.post("/api/cues", json!({"id": "d", "show_id": "s", "act_id": "a"})).await.ok();
    let run = world.try_sync("a").await.ok();
    assert_eq!((run["lastRun"]["status"].as_str(), run["pending"].as_i64()), (Some("PARTIAL"), Some(4)), "{run}");
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    assert_eq!(
        [world.cloud.get("/api/cues/c").await.status, world.cloud.get("/api/cues/d").await.status].map(|status| status.as_u16()),
        [404, 200]
    );
    for (path, status) in [("a", 200), ("new", 200), ("old", 404), ("b", 200), ("gone", 200)] {
        assert_eq!(site.get(&format!("/api/acts/{path}")).await.status.as_u16(), status, "{path}");
    }
    // A site that comes now gets the rest.
    let late = &world.enrol("late", &["*"]).await.api;
    world.try_sync("late").await.ok();
    assert_eq!((note(late, "/api/props/q").await, late.get("/api/acts/b").await.status.as_u16()), (json!("from a"), 404));

    world.psql("ALTER TABLE acts ADD show_id text REFERENCES shows; UPDATE acts SET show_id = 's'; ALTER TABLE acts ALTER show_id SET NOT NULL").await;
    until("the table is served again", async || world.cloud.get("/api/acts/a").await.status == 200).await;
    world.converge().await;
    for api in [site, late, &world.cloud] {
        assert_eq!((note(api, "/api/acts/a").await, note(api, "/api/acts/b").await), (json!("of a"), json!("second")));
        assert_eq!((note(api, "/api/acts/new").await, api.get("/api/cues/c").await.status.as_u16()), (json!("of a"), 200));
        assert_eq!(
            ["gone", "old"].map(|_| 404),
            [api.get("/api/acts/gone").await, api.get("/api/acts/old").await].map(|row| row.status.as_u16())
        );
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lost_its_key_stops_alone_and_goes_on_when_it_has_one_again() {
    let mut world = World::of(SCHEMA, SETTINGS, &["a"]).await;
    let site = &world.site("a").api;
    world
        .psql("ALTER TABLE acts DROP CONSTRAINT acts_pkey CASCADE; UPDATE acts SET note = 'second'; DELETE FROM acts WHERE id = 'gone'")
        .await;
    until("a notice", async || kinds(&world).await.contains(&"schema".to_owned())).await;
    world.psql("UPDATE props SET note = 'coat'").await;
    let run = world.try_sync("a").await.ok();
    assert_eq!(run["lastRun"]["status"], "PARTIAL", "{run}");
    assert_eq!((note(site, "/api/props/p").await, note(site, "/api/acts/a").await), (json!("coat"), json!("first")));
    assert_eq!(site.get("/api/acts/gone").await.status, 200, "no site loses a copy");
    assert_eq!(world.cloud.get("/api/acts/a").await.status, 404);
    // A cloud that starts now serves as much.
    world.stop().await;
    world.start_again().await;
    world.psql("UPDATE props SET note = 'cape'; UPDATE acts SET note = 'third' WHERE id = 'b'").await;
    assert_eq!(world.try_sync("a").await.ok()["lastRun"]["status"], "PARTIAL");
    assert_eq!((note(site, "/api/props/p").await, note(site, "/api/acts/b").await), (json!("cape"), json!("first")));

    world.psql("ALTER TABLE acts ADD PRIMARY KEY (id)").await;
    until("the table is served again", async || world.cloud.get("/api/acts/a").await.status == 200).await;
    world.sync("a").await;
    assert_eq!((note(site, "/api/acts/a").await, note(site, "/api/acts/b").await), (json!("second"), json!("third")));
    assert_eq!(site.get("/api/acts/gone").await.status, 404);
    world.converge().await;
}
