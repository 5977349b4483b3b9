//! A site that speaks by hand.

use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sync_core::catalog::Catalog;
use sync_core::change::{At, Edit, Op, RowChange, Stamp};
use sync_core::id::{CatalogVersion, Key, PushNo, RunId, ScopeId};
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::value::Value;
use sync_core::wire::codec::{self, MEDIA_TYPE};
use sync_core::wire::message::{Cursor, Enrol, Enrolled, LogUpload, Page, Pull, Push, PushAnswer, PushResult, Run, Speaker};
use uuid::Uuid;

use crate::harness::Client;

pub(crate) struct Site {
    url: String,
    pub(crate) joined: Enrolled,
    catalog: Catalog,
    cursors: Vec<Cursor>,
    last: Vec<u8>,
    no: i64,
}

impl Site {
    /// Joins a cloud and pulls.
    pub(crate) async fn join(url: &str, admin: &Client, name: &str) -> Self {
        let invited = admin.post("/api/rejoin/sites", json!({ "name": name, "scopes": ["*"] })).await;
        let enrol = Enrol { token: invited.body["token"].as_str().unwrap().to_owned() };
        let joined: Enrolled = call(url, "enrol", "", &enrol).await.unwrap();
        let speaker = speaker(&joined, CatalogVersion(0));
        let catalog = call(url, "catalog", &joined.key, &speaker).await.unwrap();
        let mut site = Self { url: url.to_owned(), joined, catalog, cursors: Vec::new(), last: Vec::new(), no: 0 };
        site.pull().await;
        site
    }

    pub(crate) async fn pull(&mut self) {
        let mut next = None;
        loop {
            let speaker = speaker(&self.joined, self.catalog.version);
            let pull = Pull { speaker, answered: None, cursors: self.cursors.clone(), next };
            let page: Page = call(&self.url, "pull", &self.joined.key, &pull).await.unwrap();
            if page.next.is_none() {
                self.cursors = page.heads;
                return;
            }
            next = page.next;
        }
    }

    /// Pushes a new venue for each of these productions, made on `base`.
    pub(crate) async fn push_venues(&mut self, productions: &[String], base: Value, new: &str) {
        let rows = productions.iter().map(|production| self.venue(production, base.clone(), new)).collect();
        self.no += 1;
        let previous = if self.last.is_empty() { String::new() } else { codec::body_hash(&self.last) };
        let speaker = speaker(&self.joined, self.catalog.version);
        let push =
            Push { speaker, no: PushNo(self.no), previous, cursors: self.cursors.clone(), commands: Vec::new(), reoffer: false, rows };
        self.last = codec::encode(&push).unwrap();
        let answer: PushAnswer = call(&self.url, "push", &self.joined.key, &push).await.unwrap();
        assert!(matches!(answer.result, PushResult::Applied { .. }), "{:?}", answer.result);
    }

    fn venue(&self, production: &str, base: Value, new: &str) -> RowChange {
        let table = self.catalog.by_name("productions").unwrap();
        let scope = ScopeId(format!("productions/{production}"));
        let tick = self.cursors.iter().find(|cursor| cursor.scope == scope).unwrap().tick;
        let edit = Edit { column: table.column_named("venue").unwrap().no, base, new: Value::Text(new.to_owned()) };
        RowChange {
            table: table.no,
            key: Key(vec![Value::Uuid(production.parse().unwrap())]),
            stamp: Stamp { version: 2, updated_at: "2026-01-31T12:00:00.000000Z".into(), modified_by: Some("ann".into()), synced_at: None },
            base: Some(At { scope, tick }),
            op: Op::Update(vec![edit]),
            additions: Vec::new(),
            times: Vec::new(),
        }
    }

    /// Uploads runs.
    pub(crate) async fn upload(&self, runs: &[Run]) {
        let upload = LogUpload { speaker: speaker(&self.joined, self.catalog.version), runs: runs.to_vec() };
        let (status, _) = send(&self.url, "log", &self.joined.key, &upload).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
}

/// A run that ended so.
pub(crate) fn run(status: RunStatus, error: &str) -> Run {
    Run {
        id: RunId(Uuid::now_v7()),
        direction: Direction::Bidirectional,
        started_at: "2026-01-31T12:00:00.000000Z".into(),
        completed_at: Some("2026-01-31T12:00:01.000000Z".into()),
        status,
        records_synced: 0,
        conflicts_detected: 0,
        errors: Some(json!([{ "step": "push", "message": error }]).to_string()),
        server_id: String::new(),
        bytes_up: 0,
        bytes_down: 0,
        cursors_before: None,
        cursors_after: None,
    }
}

fn speaker(site: &Enrolled, catalog: CatalogVersion) -> Speaker {
    Speaker { replica: site.replica, epoch: site.epoch, cloud_epoch: site.cloud_epoch, catalog }
}

async fn call<M: Serialize, A: DeserializeOwned>(url: &str, path: &str, key: &str, message: &M) -> Option<A> {
    let (status, body) = send(url, path, key, message).await;
    assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
    codec::decode(&body).ok()
}

async fn send<M: Serialize>(url: &str, path: &str, key: &str, message: &M) -> (StatusCode, Vec<u8>) {
    let request = reqwest::Client::new().post(format!("{url}/sync/v1/{path}")).header("content-type", MEDIA_TYPE).bearer_auth(key);
    let response = request.body(codec::encode(message).unwrap()).send().await.unwrap();
    (response.status(), response.bytes().await.unwrap().to_vec())
}
