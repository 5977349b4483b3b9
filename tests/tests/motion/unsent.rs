//! What a site has begun and not sent when the schema moves: decisions, held rows with their children, newest edits, rows that only go up,
//! rows that it keeps for a time.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::scene::{SYSTEM, at_site, conflicts, decide, settle, world};

/// Conflicts of these parts on `size` and `note`, known to everybody.
async fn parked(world: &World, ids: &[&str]) {
    for id in ids {
        world.site("a").sqlite3(&format!("UPDATE parts SET size = '33', note = 'mine' WHERE id = '{id}'"));
        world.psql(&format!("UPDATE parts SET size = '44', note = 'theirs' WHERE id = '{id}'")).await;
    }
    settle(world).await;
    assert_eq!(conflicts(world).await.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_taken_offline_follow_the_columns_they_name() {
    let mut world = world().await;
    parked(&world, &["p1", "p2", "p3"]).await;
    world.cut_all();
    let site = &world.site("a").api;
    decide(site, "p1", json!({"resolution": "MANUAL", "values": {"size": "7"}})).await.ok();
    decide(site, "p2", json!({"resolution": "MANUAL", "values": {"size": "8", "note": "decided"}})).await.ok();
    decide(site, "p3", json!({"resolution": "LOCAL_WINS"})).await.ok();
    let sql = "ALTER TABLE parts RENAME TO items; ALTER TABLE items RENAME COLUMN size TO width;
               ALTER TABLE items ALTER width TYPE integer USING width::integer; ALTER TABLE items RENAME COLUMN note TO size";
    world.migrate(sql, Some(&crate::scene::settings("items"))).await;
    world.heal_all();
    settle(&world).await;
    for api in world.everybody() {
        let row = async |id: &str| api.get(&format!("/api/items/{id}")).await.ok();
        let (p1, p2, p3) = (row("p1").await, row("p2").await, row("p3").await);
        assert_eq!([&p1["width"], &p2["width"], &p3["width"]], [7, 8, 33]);
        assert_eq!([&p1["size"], &p2["size"], &p3["size"]], ["theirs", "decided", "mine"]);
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_names_a_column_that_is_gone_is_refused_in_words_and_taken_anew() {
    let mut world = world().await;
    parked(&world, &["p1", "p2"]).await;
    world.cut_all();
    let site = &world.site("a").api;
    decide(site, "p1", json!({"resolution": "MANUAL", "values": {"size": "7", "note": "decided"}})).await.ok();
    decide(site, "p2", json!({"resolution": "CLOUD_WINS"})).await.ok();
    world.migrate("ALTER TABLE parts DROP COLUMN note", None).await;
    world.heal_all();
    settle(&world).await;
    let open = world.only_conflict("p1").await;
    let shown = site.get(&format!("/api/conflicts/{}", open["id"].as_str().unwrap())).await.ok();
    let refused = shown["decision"]["refused"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("no longer") || refused.contains("gone"), "{shown}");
    decide(site, "p1", json!({"resolution": "MANUAL", "values": {"size": "9"}})).await.ok();
    settle(&world).await;
    for api in world.everybody() {
        assert_eq!(api.get("/api/parts/p1").await.ok()["size"], "9");
        assert_eq!(api.get("/api/parts/p2").await.ok()["size"], "44");
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

/// A part that its site holds since its code is taken, with two lines below it.
async fn held() -> World {
    let system = format!("{SYSTEM}; CREATE TABLE lines (id text PRIMARY KEY, part_id text NOT NULL REFERENCES parts, words text)");
    let world = World::of(&system, &crate::scene::settings("parts"), &["a"]).await;
    world.cut_all();
    world.site("a").sqlite3(
        "INSERT INTO parts (id, show_id, label, code) VALUES ('p7', 's', 'held', 'c8');
         INSERT INTO lines (id, part_id, words) VALUES ('l1', 'p7', 'one'), ('l2', 'p7', 'two')",
    );
    world.psql("INSERT INTO parts (id, show_id, label, code) VALUES ('p8', 's', 'theirs', 'c8')").await;
    world.heal_all();
    settle(&world).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_row_and_what_hangs_from_it_come_in_under_the_new_names() {
    let mut world = held().await;
    world.cut_all();
    world.site("a").sqlite3(
        "UPDATE parts SET label = 'held, edited' WHERE id = 'p7'; UPDATE lines SET words = 'ONE' WHERE id = 'l1';
         INSERT INTO lines (id, part_id, words) VALUES ('l3', 'p7', 'three')",
    );
    let sql = "ALTER TABLE lines RENAME COLUMN part_id TO item_id; ALTER TABLE lines RENAME TO words; ALTER TABLE parts RENAME TO items;
               ALTER TABLE items RENAME COLUMN code TO sku; ALTER TABLE words ADD rank integer NOT NULL DEFAULT 1;
               ALTER TABLE items ADD made timestamptz NOT NULL DEFAULT now(), ALTER qty TYPE bigint";
    world.migrate(sql, Some(&crate::scene::settings("items"))).await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(at_site(&world, "SELECT label || rejoin_held FROM items WHERE id = 'p7'"), "held, edited1");
    let root = world.only_conflict("p7").await;
    assert_eq!(
        (&root["tableName"], &root["localData"]["label"], &root["dependents"]),
        (&json!("items"), &json!("held, edited"), &json!(3))
    );
    world.resolve(&root, "MANUAL", &json!({"sku": "free"})).await.ok();
    settle(&world).await;
    for api in world.everybody() {
        let p7 = api.get("/api/items/p7").await.ok();
        assert_eq!((&p7["sku"], &p7["label"]), (&json!("free"), &json!("held, edited")));
        let words = async |id: &str| api.get(&format!("/api/words/{id}")).await.ok();
        let (l1, l3) = (words("l1").await, words("l3").await);
        assert_eq!((&l1["words"], &l1["rank"], &l1["item_id"], &l3["words"]), (&json!("ONE"), &json!(1), &json!("p7"), &json!("three")));
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    assert_eq!(at_site(&world, "SELECT count(*) FROM items WHERE rejoin_held > 0"), "0");
}

const ONE_WAY: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE logs (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, line text, level integer);
    CREATE TABLE states (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label text, size text);
    INSERT INTO shows VALUES ('s', 'Show');
    INSERT INTO states VALUES ('n1', 's', 'old', '1'), ('n2', 's', 'old', '2'), ('n3', 's', 'old', '3')";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_go_up_newest_edits_and_rows_kept_for_a_time_go_on() {
    let settings = |label: &str| {
        format!(
            "root = \"shows\"\n[tables.logs]\ntravel = \"up\"\n[tables.states]\nkeep = \"24h\"\npolicies = {{ {label} = \"newest\" }}\n"
        )
    };
    let mut world = World::of(ONE_WAY, &settings("label"), &["a"]).await;
    world.cut_all();
    world.psql("UPDATE states SET label = 'first' WHERE id = 'n1'").await;
    let site = world.site("a");
    site.sqlite3(
        "UPDATE states SET label = 'second' WHERE id IN ('n1', 'n2');
         INSERT INTO logs (id, show_id, line, level) VALUES ('g1', 's', 'sent', 1)",
    );
    world.psql("UPDATE states SET label = 'third' WHERE id = 'n2'").await;
    // One row was last changed long ago.
    {
        let file = rusqlite::Connection::open(site.database()).unwrap();
        file.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        file.execute("UPDATE states SET rejoin_updated_at = '2020-01-01T00:00:00.000000Z' WHERE id = 'n3'", []).unwrap();
    }
    let sql = "ALTER TABLE states RENAME COLUMN label TO title; ALTER TABLE logs RENAME COLUMN line TO words;
               ALTER TABLE logs ALTER level TYPE bigint, ADD kind text NOT NULL DEFAULT 'log', ADD at timestamptz NOT NULL DEFAULT now()";
    world.migrate(sql, Some(&settings("title"))).await;
    world.heal_all();
    settle(&world).await;
    site.sqlite3("INSERT INTO logs (id, show_id, words, level) VALUES ('g2', 's', 'since', 3000000000)");
    settle(&world).await;
    let logs = "SELECT string_agg(id || words || level || kind, ' ' ORDER BY id) FROM logs";
    let logs: String = world.postgres().await.query_one(logs, &[]).await.unwrap().get(0);
    assert_eq!(logs, "g1sent1log g2since3000000000log");
    assert_eq!(at_site(&world, "SELECT group_concat(id || words || level || kind, ' ' ORDER BY id) FROM logs"), logs);
    assert_eq!(site.api.get("/api/sync").await.ok()["pending"], 0, "all of it is sent");
    for api in world.everybody() {
        assert_eq!(api.get("/api/states/n1").await.ok()["title"], "second");
        assert_eq!(api.get("/api/states/n2").await.ok()["title"], "third");
    }
    assert_eq!(world.cloud.get("/api/states/n3").await.ok()["title"], "old");
    assert_eq!(at_site(&world, "SELECT substr(rejoin_updated_at, 1, 4) FROM states WHERE id = 'n3'"), "2020", "as old as it was");
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}
