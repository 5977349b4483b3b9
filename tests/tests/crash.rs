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

    /// Plain SQL at the cloud.
    async fn psql(&self, sql: &str) {
        let url = Cluster::url_of_running(&self.dir.path().join("cloud/postgres"), cloud_server::app::DATABASE).unwrap();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    }

    /// Plain SQL at the site; the value that it gives, as text.
    fn sqlite(&self, sql: &str) -> Option<String> {
        let file = rusqlite::Connection::open(self.site_dir().join("site.db")).unwrap();
        file.busy_timeout(Duration::from_secs(5)).unwrap();
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// A site that dies at this point of a run.
    async fn dies(&self, mut site: Server, point: &str, direction: &'static str) {
        let api = site.api();
        let dying = tokio::spawn(async move { api.try_post("/api/sync/run", json!({"direction": direction})).await });
        assert!(site.ended(Duration::from_secs(30)).await, "{point} was not reached:\n{}", site.log());
        let _ = dying.await;
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
        let site = pair.site(Some(point)).await;
        site.api().post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
        let made = make_work(&site.api()).await;
        let before = count(&pair.cloud.api()).await;
        pair.dies(site, point, "UPLOAD").await;

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
        let site = pair.site(Some(point)).await;
        let before = count(&site.api()).await;
        pair.dies(site, point, "DOWNLOAD").await;

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
        let site = pair.site(Some(point)).await;
        let made = make_work(&site.api()).await;
        let alter =
            format!("ALTER TABLE sources ADD first_{now} timestamptz NOT NULL DEFAULT now(); ALTER TABLE sources RENAME {was} TO {now}");
        pair.psql(&alter).await;
        pair.restart_cloud().await;
        pair.dies(site, point, "BIDIRECTIONAL").await;

        let site = pair.site(None).await;
        assert!(count(&site.api()).await >= made, "{point}: the old tables are whole");
        pair.assert_converged(&site).await;
        assert_eq!(site.terminate().await, Some(0));
    }
}

/// kill -9 of a site whose push was taken before the answer came, and again while it takes the next catalog, or right after: the push is not
/// taken twice, and what was typed meanwhile lands or parks.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_killed_over_a_migration_while_its_push_has_no_answer() {
    let mut pair = Pair::new().await;
    for (at, point) in ["migrate-middle", "migrated", "catalog-taken"].into_iter().enumerate() {
        let add = ["renamed", "dropped", "narrowed", "wanted"].map(|name| format!("ADD {name}_{at} text DEFAULT '1'"));
        pair.psql(&format!("ALTER TABLE sources {}", add.join(", "))).await;
        pair.restart_cloud().await;
        let site = pair.site(Some("answer-received")).await;
        site.api().post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
        let made = make_work(&site.api()).await;
        let before = count(&pair.cloud.api()).await;
        let first = pair.sqlite("SELECT id FROM sources WHERE name = 'Cam 0' AND rejoin_tick IS NULL").unwrap();
        let write = |words: &str| {
            let sets = ["renamed", "dropped", "narrowed"].map(|name| format!("{name}_{at} = {words}"));
            pair.sqlite(&format!("UPDATE sources SET {} WHERE id = '{first}' RETURNING id", sets.join(", ")));
        };
        write("'12'");
        pair.dies(site, "answer-received", "UPLOAD").await;
        assert_eq!(count(&pair.cloud.api()).await, before + made, "the cloud took it");
        write("'later'");
        pair.psql(&format!(
            "ALTER TABLE sources RENAME renamed_{at} TO named_{at}; ALTER TABLE sources DROP dropped_{at},
                 ALTER narrowed_{at} DROP DEFAULT, ALTER narrowed_{at} TYPE integer USING narrowed_{at}::integer, ALTER wanted_{at} SET NOT NULL"
        ))
        .await;
        pair.restart_cloud().await;
        let site = pair.site(Some(point)).await;
        pair.dies(site, point, "DOWNLOAD").await;

        let site = pair.site(None).await;
        pair.assert_converged(&site).await;
        assert_eq!(count(&pair.cloud.api()).await, before + made, "{point}");
        let row = pair.cloud.api().get(&format!("/api/sources/{first}")).await.ok();
        assert_eq!((&row[format!("named{at}")], &row[format!("narrowed{at}")]), (&json!("later"), &json!(12)), "{row}");
        let parked = pair.cloud.api().get("/api/conflicts?resolution=PENDING").await.ok()["data"].clone();
        let parked: Vec<_> = parked.as_array().unwrap().iter().filter(|one| one["recordId"] == first.as_str()).collect();
        assert_eq!(parked.len(), 1, "{parked:#?}");
        let local = &parked[0]["localData"];
        assert_eq!((&parked[0]["kind"], &local[format!("dropped_{at}")]), (&json!("schema"), &json!("later")), "{parked:#?}");
        assert_eq!(local[format!("narrowed_{at}")], "later");
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
