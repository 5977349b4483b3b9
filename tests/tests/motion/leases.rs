//! Numbers that were leased before the schema moved: good as long as their sequence goes on, let go where another one gives them again.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::scene::{at_site, conflicts, settle};

const SYSTEM: &str = "CREATE TABLE shows (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE devices (id serial PRIMARY KEY, show_id text NOT NULL REFERENCES shows, name text);
    INSERT INTO shows VALUES ('s', 'Show'); INSERT INTO devices (show_id, name) SELECT 's', 'first' FROM generate_series(1, 3)";

fn settings(table: &str) -> String {
    format!("root = \"shows\"\n[tables.{table}]\nlease = 10\n")
}

/// Ten numbers here, one of which a row has that is not sent.
async fn leased() -> World {
    let world = World::of(SYSTEM, &settings("devices"), &["a"]).await;
    assert_eq!(at_site(&world, "SELECT min(next) || '-' || max(last) FROM rejoin_leases"), "4-13");
    world.cut_all();
    make(&world, "devices", "unsent");
    world
}

fn make(world: &World, table: &str, name: &str) {
    world.site("a").sqlite3(&format!("INSERT INTO {table} (show_id, name) VALUES ('s', '{name}')"));
}

async fn names(world: &World, table: &str) -> String {
    let sql = format!("SELECT string_agg(id || name, ' ' ORDER BY id) FROM {table}");
    world.postgres().await.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_go_on_over_a_wider_type_and_other_names() {
    let mut world = leased().await;
    let sql = "ALTER TABLE devices ALTER id TYPE bigint; ALTER TABLE devices RENAME id TO no; ALTER TABLE devices RENAME no TO id;
               ALTER TABLE devices RENAME TO machines";
    world.migrate(sql, Some(&settings("machines"))).await;
    world.heal_all();
    settle(&world).await;
    make(&world, "machines", "since");
    settle(&world).await;
    assert_eq!(names(&world, "machines").await, "1first 2first 3first 4unsent 5since");
    world.psql("INSERT INTO machines (show_id, name) VALUES ('s', 'own')").await;
    settle(&world).await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_anew_gives_its_numbers_again_and_the_old_ones_are_let_go() {
    let mut world = leased().await;
    let sql = "DROP TABLE devices; CREATE TABLE devices (id serial PRIMARY KEY, show_id text NOT NULL REFERENCES shows, name text);
               INSERT INTO devices (show_id, name) SELECT 's', 'anew' FROM generate_series(1, 2)";
    world.migrate(sql, None).await;
    // Offline it gives the old numbers still.
    make(&world, "devices", "unsent too");
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    let kept: Vec<_> = found.iter().map(|(id, kind, data)| (id.as_str(), kind.as_str(), data["name"].as_str().unwrap())).collect();
    assert_eq!(kept, [("4", "rejected", "unsent"), ("5", "rejected", "unsent too")], "{found:#?}");
    // Ten new ones, without those that the held rows have.
    assert_eq!(at_site(&world, "SELECT group_concat(next || '-' || last, ' ' ORDER BY next) FROM rejoin_leases"), "3-3 6-12");
    for name in ["x", "y"] {
        make(&world, "devices", name);
        world.psql(&format!("INSERT INTO devices (show_id, name) VALUES ('s', 'own {name}')")).await;
    }
    settle(&world).await;
    assert_eq!(conflicts(&world).await.len(), 2, "nobody meets anybody's number");
    let here = at_site(&world, "SELECT group_concat(name, ' ' ORDER BY name) FROM devices WHERE rejoin_held = 0");
    assert_eq!(here, "anew anew own x own y x y");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_key_is_no_longer_leased_its_numbers_go() {
    let mut world = leased().await;
    let sql = "ALTER TABLE devices DROP COLUMN id, ADD COLUMN id uuid PRIMARY KEY DEFAULT gen_random_uuid()";
    world.migrate(sql, Some("root = \"shows\"\n")).await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_leases"), "0");
    let found = conflicts(&world).await;
    assert_eq!((found.len(), &found[0].1, &found[0].2["name"]), (1, &"rejected".to_owned(), &json!("unsent")), "{found:#?}");
    let made = world.site("a").api.post("/api/devices", json!({"show_id": "s", "name": "by its own id"})).await.ok();
    settle(&world).await;
    let there = world.cloud.get(&format!("/api/devices/{}", made["id"].as_str().unwrap())).await.ok();
    assert_eq!(there["name"], "by its own id");
}
