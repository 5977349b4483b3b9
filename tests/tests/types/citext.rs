//! `citext` keys, unique keys and references: the same whatever the case, on both sides.

use rejoin_tests::World;
use rejoin_tests::world::digests;
use serde_json::{Value as Json, json};

const SYSTEM: &str = "
    CREATE SCHEMA types; CREATE EXTENSION citext SCHEMA types; SET search_path = public, types;
    CREATE TABLE shows (id types.citext PRIMARY KEY, name text);
    CREATE TABLE parts (id types.citext PRIMARY KEY, show_id types.citext NOT NULL REFERENCES shows, email types.citext UNIQUE, note text);
    CREATE TABLE lines (id text PRIMARY KEY, part_id types.citext NOT NULL REFERENCES parts ON DELETE CASCADE, email types.citext REFERENCES parts (email));
    INSERT INTO shows VALUES ('Show', 'A show');
    INSERT INTO parts VALUES ('P1', 'SHOW', 'Ada@x', 'note'), ('P2', 'show', NULL, 'note'), ('P5', 'show', NULL, 'note');
    INSERT INTO lines VALUES ('l1', 'p1', 'ADA@X'), ('l5', 'p5', NULL)";

#[tokio::test(flavor = "multi_thread")]
async fn citext_references_are_the_same_whatever_the_case_on_both_sides() {
    let world = World::of(SYSTEM, "root = \"shows\"\n", &["a"]).await;
    let site = world.site("a");
    let file = rusqlite::Connection::open(site.database()).unwrap();
    let run = |sql: &str| file.execute_batch(sql).map_err(|error| error.to_string());
    // What the cloud takes, in one push: parents and children that name them otherwise.
    run("INSERT INTO parts (id, show_id, email) VALUES ('P3', 'sHOW', 'eve@x'); UPDATE parts SET note = 'mine' WHERE id = 'P1'").unwrap();
    run("INSERT INTO lines (id, part_id, email) VALUES ('l2', 'p3', 'EVE@X'); UPDATE lines SET part_id = 'p2' WHERE id = 'l1'").unwrap();
    // What goes with another row.
    run("DELETE FROM parts WHERE id = 'P5'").unwrap();
    assert_eq!(file.query_row("SELECT count(*) FROM lines WHERE id = 'l5'", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    // What it refuses.
    for refused in ["INSERT INTO lines (id, part_id) VALUES ('l3', 'p9')", "UPDATE parts SET email = NULL WHERE id = 'P1'"] {
        assert!(run(refused).unwrap_err().contains("FOREIGN KEY constraint failed"), "{refused}");
    }
    world.psql("INSERT INTO parts VALUES ('P4', 'SHOW', 'bob@x', 'of the cloud'); INSERT INTO lines VALUES ('l4', 'p4', 'BOB@x')").await;
    for _ in 0..3 {
        world.sync("a").await;
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Json>::new());
    assert_eq!(digests(&site.api).await, digests(&world.cloud).await);
    for api in world.everybody() {
        let get = async |path: &str| api.get(path).await.ok();
        assert_eq!(get("/api/parts/P1").await["note"], "mine");
        assert_eq!(get("/api/parts/P3").await["show_id"], "sHOW");
        assert_eq!(get("/api/parts/P4").await["note"], "of the cloud");
        assert_eq!(get("/api/lines/l1").await["part_id"], "p2");
        assert_eq!(get("/api/lines/l2").await["email"], json!("EVE@X"));
        assert_eq!(get("/api/lines/l4").await["part_id"], "p4");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn citext_keys_that_differ_only_in_case_are_two_rows_at_a_site_and_the_second_parks() {
    let world = World::of(SYSTEM, "root = \"shows\"\n", &["a"]).await;
    let site = world.site("a");
    let file = rusqlite::Connection::open(site.database()).unwrap();
    file.execute_batch(
        "INSERT INTO parts (id, show_id, note) VALUES ('p1', 'Show', 'mine'); UPDATE parts SET email = 'ADA@x', note = 'mine' WHERE id = 'P2'",
    )
    .unwrap();
    for _ in 0..3 {
        world.sync("a").await;
    }
    let mut conflicts: Vec<String> =
        world.pending_conflicts().await.iter().map(|conflict| format!("{} {}", conflict["recordId"], conflict["kind"])).collect();
    conflicts.sort();
    assert_eq!(conflicts, ["\"P2\" \"unique\"", "\"p1\" \"unique\""]);
    let rows: String =
        world.postgres().await.query_one("SELECT string_agg(id || ' ' || note, ', ' ORDER BY id) FROM parts", &[]).await.unwrap().get(0);
    assert_eq!(rows, "P1 note, P2 note, P5 note");
}
