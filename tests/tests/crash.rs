//! The program, killed in the middle of things: after the restart all converges, nothing twice, nothing lost, every run closed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_server::postgres::Cluster;
use rejoin_tests::Api;
use rejoin_tests::process::Server;
use rejoin_tests::world::digests;
use serde_json::json;

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rejoin-under-test"))
}

struct Pair {
    dir: tempfile::TempDir,
    cloud: Server,
    cloud_listen: String,
    token: String,
}

impl Pair {
    async fn new() -> Self {
        let dir = cloud_server::test_support::cluster_dir();
        // A port that stays the same over restarts, for the site finds the cloud by it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cloud_listen = format!("127.0.0.1:{port}");
        let cloud = Server::start(&program(), &dir.path().join("cloud"), &["cloud", "--listen", &cloud_listen], None).await;
        let added = cloud.api().post("/api/rejoin/sites", json!({"name": "a", "scopes": ["*"]})).await.ok();
        let token = added["token"].as_str().unwrap().to_owned();
        Self { dir, cloud, cloud_listen, token }
    }

    async fn restart_cloud(&mut self) {
        self.cloud.kill();
        let listen = self.cloud_listen.clone();
        self.cloud = Server::start(&program(), &self.dir.path().join("cloud"), &["cloud", "--listen", &listen], None).await;
    }

    fn site_dir(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    /// The site does nothing by itself but what a test asks.
    async fn site(&self, fault: Option<&str>) -> Server {
        let cloud = format!("http://{}", self.cloud_listen);
        let arguments = ["site", "--cloud", &cloud, "--token", &self.token, "--listen", "127.0.0.1:0", "--interval", "86400"];
        let site = Server::start(&program(), &self.site_dir(), &arguments, fault).await;
        site.api().post("/api/sync/pause", json!({})).await.ok();
        site
    }

    async fn assert_converged(&self, site: &Server) {
        for _ in 0..6 {
            site.api().post("/api/sync/run", json!({"direction": "BIDIRECTIONAL"})).await;
        }
        let (cloud, here) = (digests(&self.cloud.api()).await, digests(&site.api()).await);
        assert_eq!(cloud, here);
        let status = site.api().get("/api/sync").await.ok();
        assert_eq!((&status["pending"], &status["held"]), (&json!(0), &json!(0)));
        assert_eq!(started_runs(&self.site_dir()), 0, "a run was left as STARTED");
    }
}

fn started_runs(data: &Path) -> i64 {
    let database = rusqlite::Connection::open(data.join("site.db")).unwrap();
    database.query_row("SELECT count(*) FROM sync_log WHERE status = 'STARTED'", [], |row| row.get(0)).unwrap()
}

async fn make_work(site: &Api) -> usize {
    let production = site.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    for no in 0..50 {
        site.create(&format!("/api/productions/{production}/sources"), json!({"type": "CAMERA", "name": format!("Cam {no}")})).await;
    }
    50
}

/// kill -9 of a site at every step of a push: before it is sent, while it is under way, before its answer is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_in_the_middle_of_a_push() {
    let pair = Pair::new().await;
    for point in ["push-stored", "push-sent", "answer-received"] {
        let mut site = pair.site(Some(point)).await;
        site.api().post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
        let made = make_work(&site.api()).await;
        let before = count(&pair.cloud.api()).await;
        let api = site.api();
        let dying = tokio::spawn(async move { api.try_post("/api/sync/run", json!({"direction": "UPLOAD"})).await });
        assert!(site.ended(Duration::from_secs(30)).await, "{point} was not reached:\n{}", site.log());
        let _ = dying.await;

        let site = pair.site(None).await;
        pair.assert_converged(&site).await;
        assert_eq!(count(&pair.cloud.api()).await, before + made, "{point}");
        assert_eq!(site.terminate().await, Some(0));
    }
}

/// kill -9 of a site in the middle of an apply: all of the pull or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_in_the_middle_of_an_apply() {
    let pair = Pair::new().await;
    let site = pair.site(None).await;
    site.api().post("/api/sync/run", json!({"direction": "BIDIRECTIONAL"})).await.ok();
    site.terminate().await;
    for point in ["apply-middle", "apply-before-commit"] {
        make_work(&pair.cloud.api()).await;
        let mut site = pair.site(Some(point)).await;
        let before = count(&site.api()).await;
        let api = site.api();
        let dying = tokio::spawn(async move { api.try_post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await });
        assert!(site.ended(Duration::from_secs(30)).await, "{point} was not reached:\n{}", site.log());
        let _ = dying.await;

        let site = pair.site(None).await;
        assert_eq!(count(&site.api()).await, before, "{point}: a part of the pull is visible");
        pair.assert_converged(&site).await;
        assert_eq!(site.terminate().await, Some(0));
    }
}

/// kill -9 of a site while it takes another catalog: the old one is whole, and the next run takes the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_in_the_middle_of_a_migration() {
    let mut pair = Pair::new().await;
    let site = pair.site(None).await;
    site.api().post("/api/sync/run", json!({"direction": "BIDIRECTIONAL"})).await.ok();
    site.terminate().await;
    for (point, was, now) in [("migrate-middle", "note", "remark"), ("migrated", "remark", "comment")] {
        let mut site = pair.site(Some(point)).await;
        let made = make_work(&site.api()).await;
        let alter =
            format!("ALTER TABLE sources ADD first_{now} timestamptz NOT NULL DEFAULT now(); ALTER TABLE sources RENAME {was} TO {now}");
        let url = Cluster::url_of_running(&pair.dir.path().join("cloud/postgres"), cloud_server::app::DATABASE).unwrap();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&alter).await.unwrap();
        pair.restart_cloud().await;
        let api = site.api();
        let dying = tokio::spawn(async move { api.try_post("/api/sync/run", json!({"direction": "BIDIRECTIONAL"})).await });
        assert!(site.ended(Duration::from_secs(30)).await, "{point} was not reached:\n{}", site.log());
        let _ = dying.await;

        let site = pair.site(None).await;
        assert!(count(&site.api()).await >= made, "{point}: the old tables are whole");
        pair.assert_converged(&site).await;
        assert_eq!(site.terminate().await, Some(0));
    }
}

/// kill -9 of PostgreSQL in the middle of a push, and of the cloud with it: whatever the site was told holds, the rest comes again.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_in_the_middle_of_a_push() {
    let mut pair = Pair::new().await;
    let site = pair.site(None).await;
    site.api().post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
    for round in 0..3_u64 {
        make_work(&site.api()).await;
        let api = site.api();
        let run = tokio::spawn(async move { api.try_post("/api/sync/run", json!({"direction": "UPLOAD"})).await });
        tokio::time::sleep(Duration::from_millis(5 + 15 * round)).await;
        let pid = std::fs::read_to_string(pair.dir.path().join("cloud/postgres/data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        let _ = run.await;
        pair.restart_cloud().await;
        pair.assert_converged(&site).await;
    }
    assert_eq!(count(&pair.cloud.api()).await, 3 * 50);
    assert_eq!(site.terminate().await, Some(0));
}

async fn count(api: &Api) -> usize {
    api.get("/api/sources?limit=1000").await.ok().as_array().unwrap().len()
}
