//! The sites' protocol over HTTP, and what people then see of it through the API. (What a push decides is tried closer to the store.)

use reqwest::StatusCode;
use serde_json::{Value as Json, json};
use sync_core::catalog::Catalog;
use sync_core::change::{At, Edit, Op, RowChange, Stamp, Verdict};
use sync_core::id::{CatalogVersion, ColumnNo, Key, PushNo, RunId, ScopeId, TableNo};
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::{Cursor, Enrol, Enrolled, LogUpload, Page, Pull, Push, PushAnswer, PushResult, Refusal, Run, Speaker};
use uuid::Uuid;

use crate::harness::Server;
use crate::sites::call;

/// A site that speaks by hand.
struct Site {
    url: String,
    joined: Enrolled,
    catalog: Catalog,
    cursors: Vec<Cursor>,
    pushes: Vec<Vec<u8>>,
}

impl Site {
    async fn join(server: &Server, name: &str, scopes: &[&str]) -> Self {
        let invited = server.admin().post("/api/rejoin/sites", json!({ "name": name, "scopes": scopes })).await;
        let enrol = Enrol { token: invited.body["token"].as_str().unwrap().to_owned() };
        let url = server.cloud.url().to_owned();
        let joined: Enrolled = call(&url, "enrol", "", &enrol).await.1.unwrap();
        let speaker = speaker(&joined, CatalogVersion(0));
        let catalog = call(&url, "catalog", &joined.key, &speaker).await.1.unwrap();
        Self { url, joined, catalog, cursors: Vec::new(), pushes: Vec::new() }
    }

    /// Pulls until nothing is new; the rows of one table.
    async fn pull(&mut self, table: &str) -> Vec<Vec<Value>> {
        let no = self.table(table);
        let mut rows = Vec::new();
        let mut next = None;
        loop {
            let speaker = speaker(&self.joined, self.catalog.version);
            let pull = Pull { speaker, answered: None, cursors: self.cursors.clone(), next };
            let page: Page = call(&self.url, "pull", &self.joined.key, &pull).await.1.unwrap();
            let of_table = page.tables.into_iter().filter(|rows| rows.table == no);
            rows.extend(of_table.flat_map(|table| table.rows).map(|row| row.values));
            if page.next.is_none() {
                self.cursors = page.heads;
                return rows;
            }
            next = page.next;
        }
    }

    async fn push(&mut self, row: RowChange) -> (StatusCode, Option<PushAnswer>) {
        let previous = self.pushes.last().map(|body| codec::body_hash(body)).unwrap_or_default();
        let push = Push {
            speaker: speaker(&self.joined, self.catalog.version),
            no: PushNo(self.pushes.len() as i64 + 1),
            previous,
            cursors: self.cursors.clone(),
            commands: Vec::new(),
            reoffer: false,
            rows: vec![row],
        };
        self.pushes.push(codec::encode(&push).unwrap());
        call(&self.url, "push", &self.joined.key, &push).await
    }

    fn table(&self, name: &str) -> TableNo {
        self.catalog.tables.iter().find(|table| table.name == name).unwrap().no
    }

    fn column(&self, table: &str, name: &str) -> ColumnNo {
        self.catalog.by_name(table).unwrap().column_named(name).unwrap().no
    }

    /// A change of a production's venue, made on what the site pulled.
    fn venue(&self, production: &str, base: Value, new: &str) -> RowChange {
        let scope = ScopeId(format!("productions/{production}"));
        let tick = self.cursors.iter().find(|cursor| cursor.scope == scope).unwrap().tick;
        let edit = Edit { column: self.column("productions", "venue"), base, new: Value::Text(new.to_owned()) };
        RowChange {
            table: self.table("productions"),
            key: Key(vec![Value::Uuid(production.parse().unwrap())]),
            stamp: Stamp { version: 2, updated_at: "2026-01-31T12:00:00.000000Z".into(), modified_by: Some("ann".into()), synced_at: None },
            base: Some(At { scope, tick }),
            op: Op::Update(vec![edit]),
            additions: Vec::new(),
            times: Vec::new(),
        }
    }
}

fn speaker(site: &Enrolled, catalog: CatalogVersion) -> Speaker {
    Speaker { replica: site.replica, epoch: site.epoch, cloud_epoch: site.cloud_epoch, catalog }
}

fn verdict(answer: Option<PushAnswer>) -> Verdict {
    match answer.unwrap().result {
        PushResult::Applied { rows, .. } => rows[0].verdict.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_edit_of_a_site_is_a_record_and_a_clash_a_conflict_to_resolve() {
    let server = Server::start().await;
    let admin = server.admin();
    let production = admin.production("Gala").await;
    let path = format!("/api/productions/{production}");
    let mut site = Site::join(&server, "studio", &["*"]).await;
    assert_eq!(site.pull("productions").await.len(), 1);
    assert_eq!(site.pull("productions").await.len(), 0, "nothing new");

    let (status, answer) = site.push(site.venue(&production, Value::Null, "Hall")).await;
    assert_eq!((status, verdict(answer)), (StatusCode::OK, Verdict::Accepted));
    let record = admin.get(&path).await;
    assert_eq!((&record.body["venue"], &record.body["lastModifiedBy"]), (&json!("Hall"), &json!("ann")));

    site.pull("productions").await;
    admin.patch(&path, json!({ "venue": "Arena" })).await;
    let (_, answer) = site.push(site.venue(&production, Value::Text("Hall".into()), "Club")).await;
    assert!(matches!(verdict(answer), Verdict::Parked(_)));
    assert_eq!(admin.get(&path).await.body["venue"], json!("Arena"), "the cloud's state is the truth");

    let listed = admin.get("/api/conflicts").await.body;
    let conflict = &listed["data"][0];
    assert_eq!((&conflict["kind"], &conflict["site"]), (&json!("update_update"), &json!("studio")), "{listed}");
    assert_eq!(admin.get("/api/rejoin/sites/studio").await.body["conflicts"], json!(1));
    let resolve = |etag: &Json, resolution: &str| {
        let body = json!({ "resolution": resolution, "cloudEtag": etag, "revision": conflict["revision"] });
        let (admin, path) = (admin.clone(), format!("/api/conflicts/{}/resolve", conflict["id"].as_str().unwrap()));
        async move { admin.post(&path, body).await }
    };
    assert_eq!(resolve(&json!("\"1-00\""), "LOCAL_WINS").await.problem(), (409, "outdated_resolution"));
    let resolved = resolve(&conflict["cloudEtag"], "LOCAL_WINS").await;
    assert_eq!(resolved.status, StatusCode::OK, "{}", resolved.body);
    assert_eq!(admin.get(&path).await.body["venue"], json!("Club"));
    assert_eq!(resolve(&conflict["cloudEtag"], "CLOUD_WINS").await.problem().0, 409, "decided once");
}

#[tokio::test]
async fn a_push_after_a_column_was_dropped_is_taken_with_the_schema_as_it_is() {
    let server = Server::start().await;
    let admin = server.admin();
    let production = admin.production("Gala").await;
    let mut site = Site::join(&server, "studio", &["*"]).await;
    site.pull("productions").await;
    server.sql("ALTER TABLE productions DROP COLUMN room").await;
    let (status, answer) = site.push(site.venue(&production, Value::Null, "Hall")).await;
    assert_eq!(status, StatusCode::OK);
    let PushResult::Refused(Refusal::Catalog(version)) = answer.unwrap().result else { panic!("not taken with the new catalog") };
    assert!(version > site.catalog.version, "the site asks for it and cuts its push anew");
    assert_eq!(admin.get("/api/conflicts").await.body["data"], json!([]));
    assert_eq!(admin.get(&format!("/api/productions/{production}")).await.status, StatusCode::OK);
    assert_eq!(admin.patch(&format!("/api/productions/{production}"), json!({ "venue": "Arena" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn edits_of_a_scope_being_dropped_still_come_in_until_the_site_has_let_it_go() {
    let server = Server::start().await;
    let admin = server.admin();
    let production = admin.production("Gala").await;
    let scope = format!("productions/{production}");
    let mut site = Site::join(&server, "truck", &[&scope]).await;
    site.pull("productions").await;
    let edit = site.venue(&production, Value::Null, "Hall");
    admin.delete(&format!("/api/rejoin/sites/truck/scopes/productions%2F{production}")).await;
    assert_eq!(verdict(site.push(edit).await.1), Verdict::Accepted, "made before the site knew");
    assert!(site.pull("productions").await.is_empty());
    assert!(site.cursors.iter().all(|cursor| cursor.scope.0 != scope), "the pull leaves it out");
    assert_eq!(admin.get("/api/rejoin/sites/truck").await.body["dropping"], json!([scope]));
    site.pull("productions").await;
    assert_eq!(admin.get("/api/rejoin/sites/truck").await.body["dropping"], json!([]), "the site named it no more");
}

#[tokio::test]
async fn a_sites_runs_are_in_the_log_under_its_own_name_once() {
    let server = Server::start().await;
    let admin = server.admin();
    let site = Site::join(&server, "studio", &["*"]).await;
    let run = Run {
        id: RunId(Uuid::now_v7()),
        direction: Direction::Bidirectional,
        started_at: "2026-01-31T12:00:00.000000Z".into(),
        completed_at: Some("2026-01-31T12:00:01.000000Z".into()),
        status: RunStatus::Failed,
        records_synced: 3,
        conflicts_detected: i64::MAX,
        errors: Some(r#"[{"step":"push","message":"offline"}]"#.into()),
        server_id: "somebody else".into(),
        bytes_up: 1,
        bytes_down: 2,
        cursors_before: None,
        cursors_after: Some("{}".into()),
    };
    let upload = |runs| LogUpload { speaker: speaker(&site.joined, CatalogVersion(0)), runs };
    for _ in 0..2 {
        let (status, _) = send(&site, &upload(vec![run.clone()])).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let log = admin.get("/api/sync/log").await.body;
    let runs = log["data"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{log}");
    assert_eq!((&runs[0]["serverId"], &runs[0]["status"], &runs[0]["recordsSynced"]), (&json!("studio"), &json!("FAILED"), &json!(3)));
    assert_eq!(admin.get("/api/sync").await.body["lastRun"]["status"], json!("FAILED"));
    let broken = Run { id: RunId(Uuid::now_v7()), started_at: "soon".into(), ..run };
    assert_eq!(send(&site, &upload(vec![broken])).await.0, StatusCode::BAD_REQUEST);
}

async fn send(site: &Site, upload: &LogUpload) -> (StatusCode, Vec<u8>) {
    let body = codec::encode(upload).unwrap();
    let request = reqwest::Client::new().post(format!("{}/sync/v1/log", site.url)).bearer_auth(&site.joined.key);
    let response = request.header("content-type", codec::MEDIA_TYPE).body(body).send().await.unwrap();
    (response.status(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_stranger_to_the_cloud_is_told_what_to_do() {
    let server = Server::start().await;
    let site = Site::join(&server, "studio", &["*"]).await;
    let pull = |speaker| Pull { speaker, answered: None, cursors: Vec::new(), next: None };
    let good = speaker(&site.joined, site.catalog.version);
    let clone = Speaker { replica: sync_core::id::ReplicaId(Uuid::now_v7()), ..good };
    let other = Speaker { cloud_epoch: sync_core::id::CloudEpoch(Uuid::now_v7()), ..good };
    for (speaker, code) in [(clone, "unknown_replica"), (other, "cloud_epoch")] {
        let body = codec::encode(&pull(speaker)).unwrap();
        let request = reqwest::Client::new().post(format!("{}/sync/v1/pull", site.url)).bearer_auth(&site.joined.key);
        let response = request.header("content-type", codec::MEDIA_TYPE).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.json::<Json>().await.unwrap()["code"], json!(code));
    }
}
