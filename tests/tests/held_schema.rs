//! The schema moves so that no catalog can be made of it: what is still there goes on, and everybody is told.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::time::{Duration, Instant};

use rejoin_tests::World;
use serde_json::{Value, json};

const SCHEMA: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text);
    CREATE TABLE acts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text);
    CREATE TABLE props (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, note text);
    INSERT INTO shows VALUES ('s', 'Gala'); INSERT INTO acts VALUES ('a', 's', 'first'), ('gone', 's', 'first'); INSERT INTO props VALUES ('p', 's', 'hat');";
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
async fn what_is_still_there_travels_and_what_is_not_is_named_to_everybody() {
    let world = World::of(SCHEMA, SETTINGS, &["a"]).await;
    let site = &world.site("a").api;
    // The way to the root is gone, and with it a column that statements name.
    world.psql("ALTER TABLE acts DROP COLUMN show_id").await;
    until("a notice", async || kinds(&world).await.contains(&"schema".to_owned())).await;
    world.psql("UPDATE props SET note = 'coat'; UPDATE acts SET note = 'second'").await;
    site.post("/api/props", json!({"id": "q", "show_id": "s", "note": "from a"})).await.ok();
    site.patch("/api/acts/a", json!({"note": "of a"})).await.ok();
    let run = world.try_sync("a").await.ok();
    assert_eq!(run["lastRun"]["status"], "PARTIAL", "{run}");
    assert_eq!((note(site, "/api/props/p").await, note(&world.cloud, "/api/props/q").await), (json!("coat"), json!("from a")));
    let status = site.get("/api/sync").await.ok();
    let said = status["lastError"].as_str().unwrap_or_default();
    assert!(said.contains("does not serve acts") && said.contains("left_out"), "{status}");
    // It is said once in the log of runs, and once to those outside.
    let again = world.try_sync("a").await.ok();
    assert_eq!((&again["lastRun"]["id"], &again["lastError"]), (&run["lastRun"]["id"], &run["lastError"]), "{again}");
    assert_eq!(kinds(&world).await.iter().filter(|kind| *kind == "schema").count(), 1);
    // What was written of it is kept.
    let parked = world.only_conflict("a").await;
    assert_eq!((&parked["kind"], &parked["localData"]["note"]), (&json!("schema"), &json!("of a")), "{parked}");
    assert_eq!(note(site, "/api/acts/a").await, "of a");

    world.psql("ALTER TABLE acts ADD show_id text REFERENCES shows; UPDATE acts SET show_id = 's'; ALTER TABLE acts ALTER show_id SET NOT NULL").await;
    until("the table is served again", async || world.cloud.get("/api/acts/a").await.status == 200).await;
    world.resolve(&parked, "CLOUD_WINS", &json!({})).await.ok();
    world.sync("a").await;
    assert_eq!(note(site, "/api/acts/a").await, "second");
    world.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lost_its_key_stops_alone_and_goes_on_when_it_has_one_again() {
    let world = World::of(SCHEMA, SETTINGS, &["a"]).await;
    let site = &world.site("a").api;
    world.psql("ALTER TABLE acts DROP CONSTRAINT acts_pkey; UPDATE acts SET note = 'second'; DELETE FROM acts WHERE id = 'gone'").await;
    until("a notice", async || kinds(&world).await.contains(&"schema".to_owned())).await;
    world.psql("UPDATE props SET note = 'coat'").await;
    let run = world.try_sync("a").await.ok();
    assert_eq!(run["lastRun"]["status"], "PARTIAL", "{run}");
    assert_eq!((note(site, "/api/props/p").await, note(site, "/api/acts/a").await), (json!("coat"), json!("first")));
    assert_eq!(site.get("/api/acts/gone").await.status, 200, "no site loses a copy");
    assert_eq!(world.cloud.get("/api/acts/a").await.status, 404);

    world.psql("ALTER TABLE acts ADD PRIMARY KEY (id)").await;
    until("the table is served again", async || world.cloud.get("/api/acts/a").await.status == 200).await;
    world.sync("a").await;
    assert_eq!((note(site, "/api/acts/a").await, site.get("/api/acts/gone").await.status.as_u16()), (json!("second"), 404));
    world.converge().await;
}
