//! Ports that answer what the test wrote down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{
    Accounts, Action, Backend, Besides, BulkDecision, BulkOutcome, Conflict, ConflictCounts, ConflictDetail, ConflictFilter, ConflictGroup,
    ConflictQuery, EditCounts, EditQuery, EditState, Event, HistoryEntry, ListQuery, LocalEdit, LogQuery, Place, PolicyTrial, Principal,
    Record, Result, Role, SyncControl, SyncStatus, Token, User, Write,
};
use conflict_ui_api::conformance::System;
use conflict_ui_api::error::BackendError;
use conflict_ui_api::secret;
use serde_json::json;
use sync_core::catalog::Catalog;
use sync_core::change::Stamp;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ColumnNo, ConflictId, Key, RunId, TableNo};
use sync_core::policy::Policy;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::value::Value;
use sync_core::wire::message::{ResolveCommand, Run};
use tokio::sync::broadcast;
use uuid::Uuid;

/// Since when, and which policies.
type Tried = (DateTime<Utc>, Vec<(TableNo, ColumnNo, Policy)>);

/// A backend with a few rows in every table.
pub(crate) struct Scripted {
    pub(crate) catalog: Arc<Catalog>,
    /// What the next call fails with.
    pub(crate) fail: Mutex<Option<BackendError>>,
    /// The last list that was asked for.
    pub(crate) asked: Mutex<Option<ListQuery>>,
    /// The last list of conflicts, groups or counts that was asked for.
    pub(crate) asked_conflicts: Mutex<Option<ConflictQuery>>,
    /// The last decision that came through.
    pub(crate) decided: Mutex<Option<ResolveCommand>>,
    /// The last decision on many.
    pub(crate) decided_many: Mutex<Option<BulkDecision>>,
    /// How many conflicts a decision on many finds, and how long it takes for each.
    pub(crate) many: (u64, Duration),
    /// How many of them were decided so far.
    pub(crate) done: AtomicU64,
    /// The last list of edits that was asked for.
    pub(crate) asked_edits: Mutex<Option<EditQuery>>,
    /// How many edits there are.
    pub(crate) edits: usize,
    /// The last trial.
    pub(crate) tried: Mutex<Option<Tried>>,
    /// Tells what happens.
    pub(crate) events: broadcast::Sender<Event>,
    /// Rows in every table.
    pub(crate) rows: u128,
    /// How long a sync takes.
    pub(crate) run_takes: Duration,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            catalog: Arc::new(System::VideoProduction.catalog()),
            fail: Mutex::default(),
            asked: Mutex::default(),
            asked_conflicts: Mutex::default(),
            decided: Mutex::default(),
            decided_many: Mutex::default(),
            many: (3, Duration::ZERO),
            done: AtomicU64::new(0),
            asked_edits: Mutex::default(),
            edits: 3,
            tried: Mutex::default(),
            events: broadcast::channel(4).0,
            rows: 3,
            run_takes: Duration::ZERO,
        }
    }
}

impl Scripted {
    pub(crate) fn fail_next(&self, error: BackendError) {
        *self.fail.lock().unwrap() = Some(error);
    }

    fn script(&self) -> Result<()> {
        self.fail.lock().unwrap().take().map_or(Ok(()), Err)
    }

    /// A row: a uuid key, `name`s, NULLs elsewhere.
    pub(crate) fn record(&self, table: TableNo, id: u128) -> Record {
        let table = self.catalog.table(table).unwrap();
        let columns = table.columns.iter();
        let row = columns.map(|column| match column.name.as_str() {
            "id" => Value::Uuid(Uuid::from_u128(id)),
            "name" => Value::Text(format!("row {id}")),
            "is_deleted" => Value::Bool(id == 9),
            _ => Value::Null,
        });
        let stamp = Stamp {
            version: 4,
            updated_at: "2026-11-20T12:00:00.000000Z".to_owned(),
            modified_by: Some("ann".to_owned()),
            synced_at: None,
        };
        Record { row: row.collect(), stamp, place: Place::Here }
    }
}

/// An open conflict over a cloud row.
pub(crate) fn conflict(id: u128) -> Conflict {
    let at: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
    Conflict {
        id: ConflictId(Uuid::from_u128(id)),
        table_name: "sources".into(),
        record_id: Uuid::from_u128(1).to_string(),
        kind: if id == 5 { ConflictKind::Unique } else { ConflictKind::UpdateUpdate },
        reason: "both changed note".into(),
        columns: vec!["note".into()],
        cloud_version: Some(4),
        local_version: Some(3),
        base_data: Some(json!({ "note": "old" })),
        cloud_data: Some(json!({ "note": "cloud's" })),
        local_data: Some(json!({ "note": "mine" })),
        cloud_updated_at: Some(at),
        local_updated_at: Some(at),
        cloud_etag: (id != 2).then(|| "\"4-00\"".to_owned()),
        revision: 1,
        held: false,
        site: "hall".into(),
        push: 7,
        resolution: if id == 6 { Resolution::LocalWins } else { Resolution::Pending },
        resolved_at: None,
        resolved_by: None,
        created_at: at,
        decided_not_sent: false,
        decision: None,
        group: None,
        root: None,
        dependents: 0,
        policy: None,
        cloud_modified_by: None,
        local_modified_by: None,
    }
}

/// The same one with the rows around it.
pub(crate) fn detail(conflict: Conflict) -> ConflictDetail {
    let besides = vec![Besides { table_name: "sends".into(), record_id: "7".into(), effect: "deleted".into() }];
    let current = json!({ "id": Uuid::from_u128(1), "name": "row 1", "note": "the cloud's words", "h_res": 1920, "v_res": 1080 });
    let conflict = Conflict {
        base_data: Some(json!({ "note": "old words", "h_res": 1280 })),
        local_data: Some(json!({ "id": Uuid::from_u128(1), "name": "row 1", "note": "my words", "h_res": 1920, "v_res": 720, "gone": 1 })),
        ..conflict
    };
    ConflictDetail {
        current: Some(current),
        besides,
        besides_digest: Some("d1".into()),
        history: vec![entry(2), entry(1)],
        ..ConflictDetail::alone(conflict)
    }
}

fn group(id: u128) -> ConflictGroup {
    let example = conflict(id);
    ConflictGroup {
        id: Uuid::from_u128(id),
        table_name: example.table_name.clone(),
        kind: example.kind,
        site: example.site.clone(),
        conflicts: 2,
        dependents: 0,
        columns: example.columns.clone(),
        first_at: example.created_at,
        last_at: example.created_at,
        example,
    }
}

fn entry(id: i64) -> HistoryEntry {
    HistoryEntry {
        id,
        op: "update".into(),
        version: id,
        at: "2026-11-20T11:00:00Z".parse().unwrap(),
        author: "ann".into(),
        site: None,
        changes: json!({ "note": ["older", "the cloud's words"] }),
    }
}

fn edit(id: usize) -> LocalEdit {
    LocalEdit {
        table_name: "sources".into(),
        record_id: format!("{id:06}"),
        place: format!("é{id:06}"),
        state: EditState::Waiting,
        op: "update".into(),
        changes: json!({ "note": ["old", "new"] }),
        edited_at: None,
        edited_by: Some("ann".into()),
        conflict: None,
    }
}

fn status(running: bool) -> SyncStatus {
    SyncStatus {
        server: "hall".into(),
        online: true,
        paused: false,
        running,
        pending: 2,
        oldest_pending_at: None,
        held: 0,
        conflicts: 1,
        last_checked_at: None,
        last_run: None,
        next_attempt_at: None,
        last_error: None,
        numbers: Vec::new(),
        one_way: Vec::new(),
        lost_programs: Vec::new(),
    }
}

#[async_trait]
impl Backend for Scripted {
    fn server_name(&self) -> String {
        "hall".into()
    }

    fn catalog(&self) -> Result<Arc<Catalog>> {
        Ok(self.catalog.clone())
    }

    async fn ready(&self) -> Result<()> {
        self.script()
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>> {
        self.script()?;
        *self.asked.lock().unwrap() = Some(query.clone());
        Ok((1..=self.rows).take(query.limit).map(|id| self.record(query.table, id)).collect())
    }

    async fn count(&self, _: &ListQuery) -> Result<u64> {
        self.script()?;
        Ok(u64::try_from(self.rows).unwrap())
    }

    async fn get(&self, table: TableNo, key: &Key) -> Result<Option<Record>> {
        self.script()?;
        let id = match key.0.as_slice() {
            [Value::Uuid(id)] => id.as_u128(),
            _ => 0,
        };
        Ok((id > 0).then(|| self.record(table, id)))
    }

    async fn write(&self, _: &Principal, table: TableNo, _: &Write) -> Result<Record> {
        self.script()?;
        Ok(self.record(table, 1))
    }

    async fn act(&self, by: &Principal, action: Arc<dyn Action>) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (table, write) in action.decide(&[], &[])? {
            records.push(self.write(by, table, &write).await?);
        }
        Ok(records)
    }

    async fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<Conflict>> {
        self.script()?;
        *self.asked_conflicts.lock().unwrap() = Some(query.clone());
        let after = query.after.map_or(0, |after| after.0.as_u128());
        if query.filter.site.as_deref() == Some("full of large rows") {
            let large = |id| Conflict { local_data: Some(json!({ "note": "x".repeat(1 << 20) })), ..conflict(id) };
            return Ok((after + 1..=40).take(query.limit).map(large).collect());
        }
        Ok((1..=3).take(query.limit).map(conflict).collect())
    }

    async fn conflict_groups(&self, query: &ConflictQuery) -> Result<Vec<ConflictGroup>> {
        *self.asked_conflicts.lock().unwrap() = Some(query.clone());
        Ok((1..=3).take(query.limit).map(group).collect())
    }

    async fn knows_site(&self, name: &str) -> Result<bool> {
        Ok(name != "hal")
    }

    async fn conflict_counts(&self, filter: &ConflictFilter) -> Result<ConflictCounts> {
        if filter.table.as_deref() == Some("sourcez") || filter.site.as_deref() == Some("hal") {
            return Ok(ConflictCounts::default());
        }
        *self.asked_conflicts.lock().unwrap() = Some(ConflictQuery { filter: filter.clone(), ..ConflictQuery::default() });
        Ok(ConflictCounts { total: 3, by_kind: [("update_update".to_owned(), 3)].into(), ..ConflictCounts::default() })
    }

    async fn conflict_detail(&self, id: ConflictId) -> Result<Option<ConflictDetail>> {
        Ok(self.conflict(id).await?.map(detail))
    }

    async fn resolve_many(
        &self,
        _: &Principal,
        decision: &BulkDecision,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BulkOutcome> {
        self.script()?;
        *self.decided_many.lock().unwrap() = Some(decision.clone());
        let (many, each) = self.many;
        for done in 1..=many {
            tokio::time::sleep(each).await;
            self.done.store(done, Ordering::SeqCst);
            progress(done, many);
            // Fails under way where the test says so by then.
            self.script()?;
        }
        Ok(BulkOutcome { matched: many, resolved: many, dry_run: decision.dry_run, ..BulkOutcome::default() })
    }

    async fn history(&self, table: TableNo, _: &Key, before: Option<i64>, limit: usize) -> Result<Vec<HistoryEntry>> {
        assert!(self.catalog.table(table).is_some());
        Ok((1..before.unwrap_or(4)).rev().take(limit).map(entry).collect())
    }

    async fn local_edits(&self, query: &EditQuery) -> Result<Vec<LocalEdit>> {
        self.script()?;
        *self.asked_edits.lock().unwrap() = Some(query.clone());
        let behind = |edit: &LocalEdit| query.after.as_ref().is_none_or(|place| edit.place > *place);
        Ok((1..=self.edits).map(edit).filter(behind).take(query.limit).collect())
    }

    async fn edit_counts(&self) -> Result<EditCounts> {
        Ok(EditCounts { waiting: 3, ..EditCounts::default() })
    }

    async fn try_policies(&self, since: DateTime<Utc>, policies: &[(TableNo, ColumnNo, Policy)]) -> Result<PolicyTrial> {
        *self.tried.lock().unwrap() = Some((since, policies.to_vec()));
        Ok(PolicyTrial { looked_at: 2, merged: 1, parked: 1, ..PolicyTrial::default() })
    }

    fn events(&self) -> Option<broadcast::Receiver<Event>> {
        Some(self.events.subscribe())
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<Conflict>> {
        Ok((id.0.as_u128() < 10).then(|| conflict(id.0.as_u128())))
    }

    async fn resolve(&self, _: &Principal, command: &ResolveCommand) -> Result<Conflict> {
        self.script()?;
        *self.decided.lock().unwrap() = Some(command.clone());
        Ok(Conflict { resolution: command.resolution, ..conflict(command.conflict.0.as_u128()) })
    }

    async fn sync_status(&self) -> Result<SyncStatus> {
        self.script()?;
        Ok(status(true))
    }

    async fn sync_log(&self, _: &LogQuery) -> Result<Vec<Run>> {
        Ok(vec![Run {
            id: RunId(Uuid::from_u128(1)),
            direction: Direction::Bidirectional,
            started_at: "2026-11-20T12:00:00.000000Z".into(),
            completed_at: Some("2026-11-20T12:00:01.000000Z".into()),
            status: RunStatus::Partial,
            records_synced: 5,
            conflicts_detected: 1,
            errors: Some(r#"[{"step":"pull","message":"cut off"}]"#.into()),
            server_id: "hall".into(),
            bytes_up: 10,
            bytes_down: 20,
            cursors_before: Some(r#"{"global":1}"#.into()),
            cursors_after: None,
        }])
    }

    async fn sync_control(&self, _: SyncControl) -> Result<SyncStatus> {
        self.script()?;
        tokio::time::sleep(self.run_takes).await;
        Ok(status(false))
    }
}

/// Users and tokens in memory.
#[derive(Default)]
pub(crate) struct Ledger {
    users: Mutex<BTreeMap<String, User>>,
    tokens: Mutex<BTreeMap<String, Token>>,
}

impl Ledger {
    /// The secret of a token of a user of this role; both are made at the first call.
    pub(crate) fn secret_of(&self, role: Role) -> String {
        let (name, secret) = (format!("{role:?}").to_lowercase(), format!("rjt_{role:?}"));
        let user = User { name: name.clone(), role, password_hash: None, one_time_hash: None, disabled: false };
        self.users.lock().unwrap().entry(name.clone()).or_insert(user);
        let secret_hash = secret::hash(&secret);
        let token = Token {
            id: Token::id_of(&secret_hash),
            user: name,
            label: Some("test".into()),
            secret_hash: secret_hash.clone(),
            created_at: Utc::now(),
            expires_at: None,
        };
        self.tokens.lock().unwrap().entry(secret_hash).or_insert(token);
        secret
    }

    /// Revokes it.
    pub(crate) fn forget(&self, role: Role) {
        self.tokens.lock().unwrap().remove(&secret::hash(&format!("rjt_{role:?}")));
    }
}

#[async_trait]
impl Accounts for Ledger {
    async fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(self.users.lock().unwrap().get(name).cloned())
    }

    async fn users(&self) -> Result<Vec<User>> {
        Ok(self.users.lock().unwrap().values().cloned().collect())
    }

    async fn put_user(&self, user: &User) -> Result<()> {
        self.users.lock().unwrap().insert(user.name.clone(), user.clone());
        Ok(())
    }

    async fn remove_user(&self, name: &str) -> Result<()> {
        self.users.lock().unwrap().remove(name);
        self.tokens.lock().unwrap().retain(|_, token| token.user != name);
        Ok(())
    }

    async fn put_token(&self, token: &Token) -> Result<()> {
        self.tokens.lock().unwrap().insert(token.secret_hash.clone(), token.clone());
        Ok(())
    }

    async fn holder(&self, secret_hash: &str) -> Result<Option<Principal>> {
        let token = self.tokens.lock().unwrap().get(secret_hash).filter(|token| token.expires_at.is_none_or(|at| at > Utc::now())).cloned();
        let user = token.and_then(|token| self.users.lock().unwrap().get(&token.user).cloned());
        Ok(user.filter(|user| !user.disabled).map(|user| Principal { name: user.name, role: user.role }))
    }

    async fn tokens(&self, user: Option<&str>) -> Result<Vec<Token>> {
        let listed = |token: &&Token| token.label.is_some() && user.is_none_or(|user| user == token.user);
        Ok(self.tokens.lock().unwrap().values().filter(listed).cloned().collect())
    }

    async fn revoke_token(&self, id: &str) -> Result<bool> {
        let mut tokens = self.tokens.lock().unwrap();
        let before = tokens.len();
        tokens.retain(|_, token| token.id != id);
        Ok(tokens.len() < before)
    }

    async fn revoke_sessions(&self, user: &str, except: Option<&str>) -> Result<()> {
        let stays = |token: &Token| token.user != user || token.label.is_some() || except == Some(token.id.as_str());
        self.tokens.lock().unwrap().retain(|_, token| stays(token));
        Ok(())
    }
}
