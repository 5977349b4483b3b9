//! Real sites and a real cloud, asked as programs ask them: thousands of edits pushed and a first sync of as many rows; a cloned site.
//!
//! `REJOIN_ROWS` tries another number and tells the peak memory of this process (cloud, both sites and the test in one).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "a test says what went wrong by panicking")]

use std::path::Path;
use std::time::Instant;

use cloud_server::test_support;
use cloud_server::{Cloud, CloudConfig};
use local_server::{Site, SiteConfig};
use serde_json::{Value, json};
use sync_core::sync_log::{Direction, RunStatus};

struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    fn new(url: &str, token: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(&body).send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn digests(&self) -> Value {
        let answer = self.http.get(format!("{}/api/rejoin/digests", self.url)).bearer_auth(&self.token).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["tables"].clone()
    }
}

async fn cloud() -> (test_support::Database, tempfile::TempDir, Cloud, Api) {
    let database = test_support::database().await;
    let dir = tempfile::tempdir().unwrap();
    let config = CloudConfig { database_url: Some(database.url().to_owned()), ..CloudConfig::new(dir.path().join("cloud")) };
    let server = Cloud::start(config).await.unwrap();
    let api = Api::new(server.url(), server.token());
    (database, dir, server, api)
}

async fn join(cloud: &Api, url: &str, name: &str, data: &Path) -> Site {
    let added = cloud.post("/api/rejoin/sites", json!({"name": name, "scopes": ["*"]})).await;
    let token = added["token"].as_str().unwrap().to_owned();
    let site = Site::start(SiteConfig { cloud: Some(url.to_owned()), token: Some(token), ..SiteConfig::new(data) }).await.unwrap();
    site.daemon().pause().await.unwrap();
    site
}

async fn run(site: &Site, direction: Direction) -> usize {
    let begun = Instant::now();
    let end = site.daemon().run(direction).await.unwrap();
    assert_eq!((end.status, end.error.as_deref()), (RunStatus::Completed, None));
    eprintln!("{} {direction:?}: {} records in {:?}", site.name(), end.records, begun.elapsed());
    end.records
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_go_up_in_bounded_pushes_and_come_down_at_once() {
    let rows: i64 = std::env::var("REJOIN_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(6_000);
    let (_database, dir, server, cloud) = cloud().await;
    let a = join(&cloud, server.url(), "a", &dir.path().join("a")).await;
    run(&a, Direction::Bidirectional).await;
    let production = Api::new(a.url(), a.token()).post("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let production = production["id"].as_str().unwrap().to_owned();

    let file = dir.path().join("a/site.db");
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO sources (production_id, type, name) SELECT '{production}', 'CAMERA', 'Cam ' || i FROM n"
    );
    rusqlite::Connection::open(&file).unwrap().execute_batch(&sql).unwrap();
    let sent = run(&a, Direction::Upload).await;
    assert_eq!(i64::try_from(sent).unwrap(), rows + 1);
    rusqlite::Connection::open(&file).unwrap().execute_batch("UPDATE sources SET name = name || ' B'").unwrap();
    run(&a, Direction::Upload).await;
    let pushes: i64 =
        rusqlite::Connection::open(&file).unwrap().query_row("SELECT max(no) FROM rejoin_pushes", [], |row| row.get(0)).unwrap();
    assert!(pushes <= 2 * (rows / 2_000 + 2), "{pushes} pushes");
    // A scope that is new to the site comes whole, once; after that nobody is sent what he has.
    run(&a, Direction::Download).await;
    rusqlite::Connection::open(&file).unwrap().execute_batch("UPDATE sources SET note = 'x' WHERE name LIKE 'Cam 1%'").unwrap();
    assert!(run(&a, Direction::Upload).await > 1_000);
    assert_eq!(run(&a, Direction::Download).await, 0);

    let b = join(&cloud, server.url(), "b", &dir.path().join("b")).await;
    run(&b, Direction::Download).await;
    let (here, there, other) =
        (cloud.digests().await, Api::new(a.url(), a.token()).digests().await, Api::new(b.url(), b.token()).digests().await);
    assert_eq!((&there, &other), (&here, &here));
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| eprintln!("{line}"));
    }
    a.stop().await;
    b.stop().await;
    server.stop().await;
}

async fn again(data: &Path) -> Site {
    let site = Site::start(SiteConfig::new(data)).await.unwrap();
    site.daemon().pause().await.unwrap();
    site
}

fn sql(data: &Path, sql: &str) {
    rusqlite::Connection::open(data.join("site.db")).unwrap().execute_batch(sql).unwrap();
}

fn fact(data: &Path, sql: &str) -> String {
    rusqlite::Connection::open(data.join("site.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Two copies of one site's folder go on: the second becomes a replica of its own, and no edit of either is lost.
#[tokio::test(flavor = "multi_thread")]
async fn h18_a_cloned_site_becomes_a_replica_of_its_own_and_both_live_on() {
    let (_database, dir, server, cloud) = cloud().await;
    let (first, second) = (dir.path().join("a"), dir.path().join("clone"));
    let site = join(&cloud, server.url(), "a", &first).await;
    run(&site, Direction::Bidirectional).await;
    sql(&first, "INSERT INTO productions (client, show_name) VALUES ('Acme', 'Gala')");
    run(&site, Direction::Bidirectional).await;
    // One edit waits while the copy is made.
    sql(&first, "UPDATE productions SET venue = 'Hall'");
    site.stop().await;
    std::fs::create_dir(&second).unwrap();
    for file in ["site.db", "site.key"] {
        std::fs::copy(first.join(file), second.join(file)).unwrap();
    }

    let site = again(&first).await;
    run(&site, Direction::Bidirectional).await;
    sql(&first, "UPDATE productions SET client = 'Acme AG'");
    run(&site, Direction::Bidirectional).await;
    site.stop().await;

    sql(&second, "UPDATE productions SET room = 'Blue'");
    let copy = again(&second).await;
    run(&copy, Direction::Bidirectional).await;
    let replica = "SELECT value FROM rejoin_state WHERE key = 'replica'";
    assert_ne!(fact(&first, replica), fact(&second, replica));
    let all = "SELECT client || '|' || venue || '|' || room FROM productions";
    assert_eq!(fact(&second, all), "Acme AG|Hall|Blue");

    let site = again(&first).await;
    run(&site, Direction::Bidirectional).await;
    assert_eq!(fact(&first, all), "Acme AG|Hall|Blue");
    let here = cloud.digests().await;
    assert_eq!(Api::new(site.url(), site.token()).digests().await, here);
    assert_eq!(Api::new(copy.url(), copy.token()).digests().await, here);
    site.stop().await;
    copy.stop().await;
    server.stop().await;
}
