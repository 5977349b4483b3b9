//! Tables that travel one way only, and rows that are kept at a site for a time: with real servers.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::path::Path;
use std::time::Instant;

use local_server::{Site, SiteConfig};
use rejoin_tests::world::{digests, sqlite3};
use rejoin_tests::{Api, World};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use sync_core::sync_log::{Direction, RunStatus};

const SYSTEM: &str = "CREATE TABLE plants (id integer PRIMARY KEY, name text NOT NULL);
    CREATE TABLE limits (plant_id integer PRIMARY KEY REFERENCES plants, high double precision NOT NULL);
    CREATE TABLE measurements (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, plant_id integer NOT NULL REFERENCES plants,
        at timestamptz NOT NULL DEFAULT now(), value double precision NOT NULL);
    INSERT INTO plants VALUES (1, 'north'); INSERT INTO limits VALUES (1, 80)";

const SETTINGS: &str = "root = \"plants\"\n[tables.limits]\ntravel = \"down\"\n
    [tables.measurements]\ntravel = \"up\"\nkeep = \"24h\"\nlease = 100000\n";

fn count(file: &Path, what: &str) -> i64 {
    Connection::open(file).unwrap().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// How many rows have edits that are not in the cloud.
fn dirty(file: &Path) -> i64 {
    let connection = Connection::open(file).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'rejoin\\_base\\_%' ESCAPE '\\'";
    let tables: Vec<String> = connection.prepare(tables).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables.iter().map(|table| count(file, &format!("{table} WHERE rejoin_kind <> 'gone'"))).sum()
}

async fn sync(site: &Site) {
    let end = site.daemon().run(Direction::Bidirectional).await.unwrap();
    assert_eq!((end.status, end.error.as_deref()), (RunStatus::Completed, None));
}

/// How many measurements are made; `ROWS` says otherwise, for a measurement by hand.
fn rows() -> i64 {
    std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(3_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_go_up_and_are_let_go_and_limits_come_down_and_are_not_written_here() {
    let world = World::of(SYSTEM, SETTINGS, &["other"]).await;
    let added = world.cloud.post("/api/rejoin/sites", json!({"name": "plant", "scopes": ["*"]})).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let start = async |token: Option<&Value>| {
        let token = token.map(|token| token.as_str().unwrap().to_owned());
        let config = SiteConfig { cloud: Some(world.cloud.url().to_owned()), token, ..SiteConfig::new(folder.path()) };
        let site = Site::start(config).await.unwrap();
        site.daemon().pause().await.unwrap();
        site
    };
    let file = folder.path().join("site.db");
    let site = start(Some(&added["token"])).await;
    sync(&site).await;
    let api = Api::new(site.url(), site.token());

    // Down: neither program nor person writes it here.
    let refused = api.patch("/api/limits/1", json!({"high": 90})).await.refused(501, "unsupported");
    assert!(refused["detail"].as_str().unwrap().contains("Write it at the cloud"), "{refused}");
    assert!(sqlite3(&file, "UPDATE limits SET high = 90").unwrap_err().contains("limits is not written at sites"));
    world.psql("UPDATE limits SET high = 70").await;
    sync(&site).await;
    assert_eq!(api.get("/api/limits/1").await.ok()["high"].as_f64(), Some(70.0));

    // Up: it stays here, and comes to no other site.
    let rows = rows();
    let began = Instant::now();
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO measurements (plant_id, value) SELECT 1, i FROM n"
    );
    sqlite3(&file, &sql).unwrap();
    let inserted = began.elapsed();
    sync(&site).await;
    let pushed = began.elapsed() - inserted;
    world.sync("other").await;
    let there: i64 = world.postgres().await.query_one("SELECT count(*) FROM measurements", &[]).await.unwrap().get(0);
    assert_eq!((there, count(&file, "measurements"), count(&world.site("other").database(), "measurements")), (rows, rows, 0));
    assert_eq!(dirty(&file), 0);
    let status = api.get("/api/sync").await.ok();
    let told =
        json!([{"table": "limits", "travel": "down", "keepHours": null}, {"table": "measurements", "travel": "up", "keepHours": 24}]);
    assert_eq!(status["oneWay"], told);
    let cloud = digests(&world.cloud).await;
    assert!(!cloud.keys().any(|table| table.ends_with("measurements")), "{cloud:?}");
    assert_eq!(digests(&api).await, cloud);
    site.stop().await;

    // Two days later, but for one row that was measured just now and one that is not sent yet.
    let connection = Connection::open(&file).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    let aged = "UPDATE measurements SET rejoin_updated_at = '2020-01-01T00:00:00.000000Z' WHERE value <> 1";
    connection.execute(aged, []).unwrap();
    drop(connection);
    sqlite3(&file, "UPDATE measurements SET value = -2, rejoin_updated_at = '2020-01-02T00:00:00.000000Z' WHERE value = 2").unwrap();
    let site = start(None).await;
    let began = Instant::now();
    let before = count(&file, "measurements");
    // The clean ones go; the changed one is sent, and is young again since.
    sync(&site).await;
    let purged = began.elapsed();
    assert_eq!(before, rows);
    assert!((1..=2).contains(&count(&file, "measurements")), "{}", count(&file, "measurements"));
    let there: i64 = world.postgres().await.query_one("SELECT count(*) FROM measurements WHERE value <> 0", &[]).await.unwrap().get(0);
    assert_eq!(there, rows, "the cloud has them all");
    sync(&site).await;
    assert_eq!(dirty(&file), 0, "nobody takes that for a delete");
    assert!(world.pending_conflicts().await.is_empty());
    println!("{rows} rows: inserted by sqlite3 in {inserted:?}, pushed in {pushed:?}, restart and purge in {purged:?}");
}
