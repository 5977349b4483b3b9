//! The schema changes at the cloud while a site is away with unsent edits of what is gone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::path::{Path, PathBuf};

use cloud_server::test_support::{self, Database};
use cloud_server::{Cloud, CloudConfig};
use local_server::{Site, SiteConfig};
use rejoin_tests::Api;
use serde_json::{Value, json};
use sync_core::sync_log::{Direction, RunStatus};

struct Setup {
    database: Database,
    dir: tempfile::TempDir,
    cloud: Option<Cloud>,
    config: CloudConfig,
}

impl Setup {
    async fn new() -> Self {
        Self::start_with(test_support::database().await, None).await
    }

    /// With a system of the test's own, which `shows` is the root of.
    async fn of(sql: &str) -> Self {
        let database = test_support::database().await;
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        Self::start_with(database, Some("root = \"shows\"\n")).await
    }

    async fn start_with(database: Database, settings: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = CloudConfig { database_url: Some(database.url().to_owned()), ..CloudConfig::new(dir.path().join("cloud")) };
        if let Some(settings) = settings {
            let file = dir.path().join("rejoin.toml");
            std::fs::write(&file, settings).unwrap();
            (config.settings, config.system) = (Some(file), None);
        }
        let cloud = Cloud::start(config.clone()).await.unwrap();
        // Sites find it there again.
        config.listen = cloud.url().rsplit('/').next().unwrap().parse().unwrap();
        Self { database, dir, cloud: Some(cloud), config }
    }

    fn api(&self) -> Api {
        let cloud = self.cloud.as_ref().unwrap();
        Api::new(cloud.url(), cloud.token())
    }

    async fn stop(&mut self) {
        self.cloud.take().unwrap().stop().await;
    }

    async fn start(&mut self) {
        self.cloud = Some(Cloud::start(self.config.clone()).await.unwrap());
    }

    async fn join(&self, name: &str) -> (Site, PathBuf) {
        let added = self.api().post("/api/rejoin/sites", json!({"name": name, "scopes": ["*"]})).await.ok();
        let token = added["token"].as_str().unwrap().to_owned();
        let data = self.dir.path().join(name);
        let url = self.cloud.as_ref().unwrap().url().to_owned();
        let site = Site::start(SiteConfig { cloud: Some(url), token: Some(token), ..SiteConfig::new(&data) }).await.unwrap();
        site.daemon().pause().await.unwrap();
        sync(&site).await;
        (site, data.join("site.db"))
    }

    async fn psql(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    }

    async fn conflicts(&self) -> Vec<Value> {
        let list = self.api().get("/api/conflicts?resolution=PENDING&limit=1000").await.ok();
        list["data"].as_array().unwrap().clone()
    }
}

/// The digests of the cloud and of these sites are the same, but for held rows.
async fn assert_equal(setup: &Setup, sites: &[&Site]) {
    let digests = rejoin_tests::world::digests(&setup.api()).await;
    for site in sites {
        assert_eq!(rejoin_tests::world::digests(&Api::new(site.url(), site.token())).await, digests, "{}", site.name());
    }
}

async fn sync(site: &Site) {
    let end = site.daemon().run(Direction::Bidirectional).await.unwrap();
    assert_eq!((end.status, end.error.as_deref()), (RunStatus::Completed, None));
}

fn columns(file: &Path, like: &str) -> i64 {
    let sql = "SELECT count(*) FROM sqlite_schema s, pragma_table_info(s.name) c WHERE s.name LIKE ?1 OR c.name LIKE ?1";
    rusqlite::Connection::open(file).unwrap().query_row(sql, [like], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_a_dropped_column_and_table_park_under_their_names_and_the_rest_converges() {
    let mut setup = Setup::new().await;
    let cloud = setup.api();
    let production = cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let source = |name: &str| json!({"productionId": production, "type": "CAMERA", "name": name, "note": "from the cloud", "rate": 50});
    let (edited, other) = (cloud.create("/api/sources", source("Cam 1")).await, cloud.create("/api/sources", source("Cam 2")).await);
    let link = cloud
        .create("/api/connections", json!({"productionId": production, "sourceId": edited, "destinationType": "SEND", "note": "a"}))
        .await;
    let ((a, a_file), (b, b_file)) = (setup.join("a").await, setup.join("b").await);
    let at_a = Api::new(a.url(), a.token());

    setup.stop().await;
    at_a.patch(&format!("/api/sources/{edited}"), json!({"note": "typed offline", "rate": 59.94})).await.ok();
    at_a.patch(&format!("/api/sources/{other}"), json!({"name": "Cam 2b"})).await.ok();
    let made = at_a.create("/api/sources", json!({"productionId": production, "type": "CAMERA", "name": "Cam 3", "note": "new"})).await;
    at_a.patch(&format!("/api/connections/{link}"), json!({"note": "b"})).await.ok();
    let made_link = at_a.create("/api/connections", json!({"productionId": production, "destinationType": "SEND", "note": "c"})).await;
    setup.psql("ALTER TABLE sources DROP COLUMN note; DROP TABLE connections; ALTER TABLE sources ADD COLUMN remark text").await;
    setup.start().await;

    for _ in 0..3 {
        sync(&a).await;
        sync(&b).await;
    }
    let cloud = setup.api();
    let digests = cloud.get("/api/rejoin/digests").await.ok()["tables"].clone();
    for site in [&a, &b] {
        assert_eq!(Api::new(site.url(), site.token()).get("/api/rejoin/digests").await.ok()["tables"], digests, "{}", site.name());
    }
    let row = cloud.get(&format!("/api/sources/{edited}")).await.ok();
    assert_eq!((row["rate"].as_f64(), row.get("note")), (Some(59.94), None), "{row}");
    assert_eq!(cloud.get(&format!("/api/sources/{other}")).await.ok()["name"], "Cam 2b");
    assert_eq!(cloud.get(&format!("/api/sources/{made}")).await.ok()["name"], "Cam 3");

    let conflicts = setup.conflicts().await;
    let shown = |id: &str| {
        let conflict = conflicts.iter().find(|conflict| conflict["recordId"] == id).unwrap_or_else(|| panic!("{id}: {conflicts:#?}"));
        let note = |side: &str| conflict[side]["note"].as_str().unwrap_or("-").to_owned();
        (conflict["kind"].as_str().unwrap().to_owned(), conflict["columns"].clone(), note("baseData"), note("localData"))
    };
    let of = |columns: Value, base: &str, local: &str| ("schema".to_owned(), columns, base.to_owned(), local.to_owned());
    assert_eq!(conflicts.len(), 4, "{conflicts:#?}");
    assert_eq!(shown(&edited), of(json!(["note"]), "from the cloud", "typed offline"));
    assert_eq!(shown(&made), of(json!(["note"]), "-", "new"));
    assert_eq!(shown(&link), of(json!([]), "a", "b"));
    assert_eq!(shown(&made_link), of(json!([]), "-", "c"));
    for file in [&a_file, &b_file] {
        assert_eq!(columns(file, "rejoin_hidden_%"), 0, "nothing is hidden any more");
        assert_eq!(columns(file, "connections"), 0);
    }

    // The value is written where it belongs now; what has nowhere to go is closed.
    for conflict in &conflicts {
        let id = conflict["id"].as_str().unwrap();
        let mut body = json!({"resolution": "CLOUD_WINS", "revision": conflict["revision"]});
        if conflict["recordId"] == edited.as_str() {
            let refused = json!({"resolution": "LOCAL_WINS", "revision": conflict["revision"], "cloudEtag": conflict["cloudEtag"]});
            let refused = cloud.post(&format!("/api/conflicts/{id}/resolve"), refused).await;
            assert!(refused.status.is_client_error() && refused.body.to_string().contains("no longer has"), "{}", refused.body);
            body["resolution"] = json!("MANUAL");
            body["values"] = json!({"remark": conflict["localData"]["note"]});
        }
        if !conflict["cloudEtag"].is_null() {
            body["cloudEtag"] = conflict["cloudEtag"].clone();
        }
        cloud.post(&format!("/api/conflicts/{id}/resolve"), body).await.ok();
    }
    sync(&b).await;
    let at_b = Api::new(b.url(), b.token());
    assert_eq!(at_b.get(&format!("/api/sources/{edited}")).await.ok()["remark"], "typed offline");
    assert!(setup.conflicts().await.is_empty());
}

const PARTS: &str = "
    CREATE TABLE shows (id text PRIMARY KEY, name text NOT NULL);
    CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label varchar(20), size text, note text,
        code text NOT NULL UNIQUE, qty bigint);
    INSERT INTO shows VALUES ('s', 'Show');
    INSERT INTO parts SELECT 'p' || n, 's', 'label ' || n, n::text, 'note', 'c' || n, n FROM generate_series(1, 6) n";

/// A row that is held at a site: another one has its code at the cloud.
async fn hold(setup: &Setup, site: &Site) {
    setup.api().create("/api/parts", json!({"id": "p8", "show_id": "s", "code": "taken"})).await;
    Api::new(site.url(), site.token()).create("/api/parts", json!({"id": "p7", "show_id": "s", "label": "held", "code": "taken"})).await;
    sync(site).await;
    let held = setup.conflicts().await;
    assert_eq!((held.len(), &held[0]["recordId"], &held[0]["kind"]), (1, &json!("p7"), &json!("unique")), "{held:#?}");
}

fn conflict<'a>(conflicts: &'a [Value], record: &str) -> &'a Value {
    conflicts.iter().find(|conflict| conflict["recordId"] == record).unwrap_or_else(|| panic!("{record}: {conflicts:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_land_in_renamed_columns_and_what_no_longer_fits_parks() {
    let mut setup = Setup::of(PARTS).await;
    let ((a, a_file), (b, b_file)) = (setup.join("a").await, setup.join("b").await);
    hold(&setup, &a).await;
    let at_a = Api::new(a.url(), a.token());
    setup.stop().await;
    for (id, edit) in [
        ("p1", json!({"label": "edited"})),
        ("p2", json!({"size": "12"})),
        ("p3", json!({"size": "big"})),
        ("p4", json!({"qty": 3_000_000_000_i64})),
        ("p5", json!({"note": null})),
    ] {
        at_a.patch(&format!("/api/parts/{id}"), edit).await.ok();
    }
    at_a.create("/api/parts", json!({"id": "p9", "show_id": "s", "label": "new", "size": "9", "code": "c9", "note": "n"})).await;
    setup
        .psql(
            "UPDATE parts SET note = coalesce(note, '');
             ALTER TABLE parts RENAME TO items; ALTER TABLE items RENAME COLUMN label TO title; ALTER TABLE items RENAME COLUMN note TO label;
             ALTER TABLE items ALTER title TYPE text, ALTER size TYPE integer USING size::integer, ALTER qty TYPE integer,
                 ALTER label SET NOT NULL, ADD made timestamptz NOT NULL DEFAULT now(), ADD kind text NOT NULL DEFAULT 'part'",
        )
        .await;
    setup.start().await;
    for _ in 0..3 {
        sync(&a).await;
        sync(&b).await;
    }
    assert_equal(&setup, &[&a, &b]).await;
    let cloud = setup.api();
    let get = async |id: &str| cloud.get(&format!("/api/items/{id}")).await.ok();
    assert_eq!(get("p1").await["title"], "edited");
    assert_eq!(get("p2").await["size"], 12);
    let made = get("p9").await;
    assert_eq!((&made["title"], &made["size"], &made["kind"]), (&json!("new"), &json!(9), &json!("part")));
    let conflicts = setup.conflicts().await;
    assert_eq!(conflict(&conflicts, "p3")["localData"]["size"], "big");
    assert_eq!(conflict(&conflicts, "p4")["localData"]["qty"].to_string().trim_matches('"'), "3000000000");
    assert!(conflict(&conflicts, "p5")["localData"]["label"].is_null());
    assert_eq!((conflicts.len(), &conflict(&conflicts, "p7")["kind"]), (4, &json!("unique")), "{conflicts:#?}");
    let held = rusqlite::Connection::open(&a_file).unwrap();
    let held: String = held.query_row("SELECT title FROM items WHERE id = 'p7' AND rejoin_held = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(held, "held");
    for file in [&a_file, &b_file] {
        assert_eq!(columns(file, "rejoin_hidden_%"), 0, "nothing is hidden any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_go_on_under_a_new_key() {
    let mut setup = Setup::of(PARTS).await;
    let ((a, _), (b, _)) = (setup.join("a").await, setup.join("b").await);
    let at_a = Api::new(a.url(), a.token());
    setup.stop().await;
    at_a.patch("/api/parts/p1", json!({"label": "edited"})).await.ok();
    at_a.create("/api/parts", json!({"id": "p9", "show_id": "s", "code": "c9"})).await;
    at_a.delete("/api/parts/p2").await.ok();
    setup.psql("ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (code)").await;
    setup.start().await;
    for _ in 0..3 {
        sync(&a).await;
        sync(&b).await;
    }
    assert_eq!(setup.conflicts().await, Vec::<Value>::new());
    assert_equal(&setup, &[&a, &b]).await;
    assert_eq!(setup.api().get("/api/parts/c1").await.ok()["label"], "edited");
    assert_eq!(setup.api().get("/api/parts/c9").await.ok()["id"], "p9");
    setup.api().get("/api/parts/c2").await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_anew_lets_go_of_what_did_not_come_back() {
    let mut setup = Setup::of(PARTS).await;
    let ((a, _), (b, _)) = (setup.join("a").await, setup.join("b").await);
    let at_a = Api::new(a.url(), a.token());
    setup.stop().await;
    at_a.patch("/api/parts/p1", json!({"label": "edited"})).await.ok();
    at_a.patch("/api/parts/p2", json!({"label": "its row is gone"})).await.ok();
    setup
        .psql(
            "DROP TABLE parts;
             CREATE TABLE parts (id text PRIMARY KEY, show_id text NOT NULL REFERENCES shows, label varchar(20), size text, note text,
                 code text NOT NULL UNIQUE, qty bigint);
             INSERT INTO parts VALUES ('p1', 's', 'label 1', '1', 'note', 'c1', 1), ('p5', 's', 'another', '5', 'note', 'c5', 5)",
        )
        .await;
    setup.start().await;
    for _ in 0..3 {
        sync(&a).await;
        sync(&b).await;
    }
    assert_equal(&setup, &[&a, &b]).await;
    let conflicts = setup.conflicts().await;
    assert_eq!((conflicts.len(), &conflict(&conflicts, "p2")["localData"]["label"]), (1, &json!("its row is gone")), "{conflicts:#?}");
    assert_eq!(setup.api().get("/api/parts/p1").await.ok()["label"], "edited");
    for site in [&a, &b] {
        Api::new(site.url(), site.token()).get("/api/parts/p3").await.refused(404, "not_found");
    }
}
