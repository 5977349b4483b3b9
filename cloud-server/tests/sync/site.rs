//! A site as small as it can be: what it knows of the cloud's rows, a push chain, cursors. It has no rows of its own; tests write messages.

use std::collections::BTreeMap;

use cloud_server::store::pull::pull;
use cloud_server::store::push::push;
use cloud_server::store::sites::{SiteIdentity, authenticate};
use cloud_server::store::speaker::SyncError;
use serde_json::Value as Json;
use sync_core::change::{At, Confirmed, Edit, Op, Row, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{ColumnNo, Key, PushNo, TableNo};
use sync_core::value::Value;
use sync_core::wire::codec::{body_hash, encode};
use sync_core::wire::message::{
    CommandAnswer, Cursor, Enrolled, Gone, Page, Pull, Push, PushAnswer, PushName, PushResult, ResolveCommand, Speaker,
};

use super::cloud::Cloud;

pub struct Site<'c> {
    pub cloud: &'c Cloud,
    pub enrolled: Enrolled,
    pub last: i64,
    pub previous: String,
    pub answered: Option<PushName>,
    pub cursors: Vec<Cursor>,
    /// What the site knows of the cloud's rows.
    pub rows: BTreeMap<(TableNo, Key), (Row, At)>,
}

/// What a whole pull brought.
#[derive(Debug, Default)]
pub struct Pulled {
    pub pages: usize,
    pub rows: Vec<(String, String)>,
    pub gone: Vec<Gone>,
}

impl<'c> Site<'c> {
    pub fn new(cloud: &'c Cloud, enrolled: Enrolled) -> Self {
        Self { cloud, enrolled, last: 0, previous: String::new(), answered: None, cursors: Vec::new(), rows: BTreeMap::new() }
    }

    /// Another copy of the same site's folder.
    pub fn copy(&self) -> Self {
        Self {
            cloud: self.cloud,
            enrolled: self.enrolled.clone(),
            last: self.last,
            previous: self.previous.clone(),
            answered: self.answered.clone(),
            cursors: self.cursors.clone(),
            rows: self.rows.clone(),
        }
    }

    pub async fn identity(&self) -> SiteIdentity {
        authenticate(&self.cloud.db.client().await.unwrap(), &self.enrolled.key).await.unwrap().unwrap()
    }

    pub fn speaker(&self) -> Speaker {
        Speaker {
            replica: self.enrolled.replica,
            epoch: self.enrolled.epoch,
            cloud_epoch: self.enrolled.cloud_epoch,
            catalog: self.cloud.catalog.version,
        }
    }

    /// The next push of the chain.
    pub fn next_push(&self, rows: Vec<RowChange>) -> Push {
        Push {
            speaker: self.speaker(),
            no: PushNo(self.last + 1),
            previous: self.previous.clone(),
            cursors: Vec::new(),
            commands: Vec::new(),
            reoffer: false,
            rows,
        }
    }

    pub async fn send(&self, body: &[u8]) -> Result<PushAnswer, SyncError> {
        push(&self.cloud.db, &self.cloud.key, &self.cloud.catalog, &self.identity().await, body).await
    }

    /// Sends a push and takes its answer, as a site does.
    pub async fn push_whole(&mut self, push: &Push) -> PushAnswer {
        let body = encode(push).unwrap();
        let answer = self.send(&body).await.unwrap();
        self.take_answer(push, &body, &answer);
        answer
    }

    pub fn take_answer(&mut self, push: &Push, body: &[u8], answer: &PushAnswer) {
        if matches!(answer.result, PushResult::Fork | PushResult::Gap(_)) {
            return;
        }
        (self.last, self.previous) = (push.no.0, body_hash(body));
        self.answered = Some(PushName { no: answer.no, hash: answer.hash.clone(), mac: answer.mac.clone() });
        if let PushResult::Applied { rows, .. } = &answer.result {
            for (change, answer) in push.rows.iter().zip(rows) {
                self.confirm(change, answer);
            }
        }
    }

    fn confirm(&mut self, change: &RowChange, answer: &RowAnswer) {
        let id = (change.table, change.key.clone());
        // A pull that came after the push was taken, and before its answer, knows better.
        let passed = |at: &At| self.cursors.iter().any(|cursor| cursor.scope == at.scope && cursor.tick >= at.tick);
        match &answer.confirmed {
            Confirmed::Exact { at, .. } | Confirmed::Image(sync_core::change::Image { at, .. }) if passed(at) => {}
            Confirmed::Nothing => {}
            Confirmed::Exact { at, .. } => {
                if let Op::Rekey(old, _) = &change.op {
                    let moved = self.rows.remove(&(change.table, old.clone()));
                    self.rows.extend(moved.map(|row| (id.clone(), row)));
                }
                if matches!(change.op, Op::Delete(_)) {
                    self.rows.remove(&id);
                    return;
                }
                let table = self.cloud.catalog.table(change.table).unwrap();
                let blank = || (vec![Value::Null; table.columns.len()], at.clone());
                let known = self.rows.entry(id).or_insert_with(blank);
                for (no, value) in change.values() {
                    known.0[table.position(no).unwrap()] = value.clone();
                }
                table.key_positions().zip(&change.key.0).for_each(|(position, value)| known.0[position] = value.clone());
                known.1 = at.clone();
            }
            Confirmed::Image(image) => match &image.state {
                State::Live(row) => {
                    let key = self.cloud.catalog.table(change.table).unwrap().key_of(row);
                    self.rows.insert((change.table, key), (row.clone(), image.at.clone()));
                }
                State::Deleted | State::Left => {
                    let key = if let Op::Rekey(old, _) = &change.op { old.clone() } else { change.key.clone() };
                    self.rows.remove(&(change.table, key));
                }
            },
        }
    }

    /// Pushes rows; the answers.
    pub async fn push(&mut self, rows: Vec<RowChange>) -> Vec<RowAnswer> {
        let push = self.next_push(rows);
        match self.push_whole(&push).await.result {
            PushResult::Applied { rows, .. } => rows,
            other => panic!("{other:?}"),
        }
    }

    /// The reasons of open conflicts, by table and record.
    pub async fn reasons(&self) -> Vec<String> {
        let sql = "SELECT kind || ' ' || table_name || ' ' || record_id || ': ' || reason FROM rejoin.sync_conflicts
                   WHERE site_name = $1 AND resolution = 'PENDING' ORDER BY table_no, record_id";
        let rows = self.cloud.sql.query(sql, &[&self.enrolled.name]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub async fn push_one(&mut self, row: RowChange) -> RowAnswer {
        self.push(vec![row]).await.remove(0)
    }

    pub async fn command(&mut self, command: ResolveCommand) -> CommandAnswer {
        let push = Push { commands: vec![command], ..self.next_push(Vec::new()) };
        match self.push_whole(&push).await.result {
            PushResult::Applied { mut commands, .. } => commands.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub fn pull_message(&self) -> Pull {
        Pull { speaker: self.speaker(), answered: self.answered.clone(), cursors: self.cursors.clone(), next: None }
    }

    pub async fn page(&self, message: &Pull) -> Result<Page, SyncError> {
        pull(&self.cloud.db, &self.cloud.key, &self.cloud.catalog, &self.identity().await, message).await
    }

    /// Pulls to the end and applies all of it.
    pub async fn pull(&mut self) -> Pulled {
        let mut message = self.pull_message();
        let mut pages = Vec::new();
        loop {
            let page = self.page(&message).await.unwrap();
            message.next = page.next.clone();
            pages.push(page);
            if message.next.is_none() {
                break;
            }
        }
        self.apply(pages)
    }

    pub fn apply(&mut self, pages: Vec<Page>) -> Pulled {
        let mut pulled = Pulled { pages: pages.len(), ..Pulled::default() };
        self.cursors = pages.last().unwrap().heads.clone();
        for page in pages {
            for gone in &page.gone {
                let scope = &page.heads[gone.scope as usize].scope;
                let id = (gone.table, gone.key.clone());
                if self.rows.get(&id).is_some_and(|(_, at)| at.scope == *scope && at.tick < gone.tick) {
                    self.rows.remove(&id);
                }
            }
            pulled.gone.extend(page.gone);
            for rows in page.tables {
                let table = self.cloud.catalog.table(rows.table).unwrap();
                for row in rows.rows {
                    let at = At { scope: page.heads[row.scope as usize].scope.clone(), tick: row.tick };
                    let key = table.key_of(&row.values);
                    pulled.rows.push((table.name.clone(), key.to_string()));
                    self.rows.insert((table.no, key), (row.values, at));
                }
            }
        }
        pulled
    }

    pub fn key(&self, table: &str, id: &str) -> Key {
        self.cloud.table(table).parse_key(id).unwrap().unwrap()
    }

    pub fn has(&self, table: &str, id: &str) -> bool {
        self.rows.contains_key(&(self.cloud.table(table).no, self.key(table, id)))
    }

    /// A row's column as the site knows it.
    pub fn value(&self, table: &str, id: &str, column: &str) -> Json {
        let at = self.cloud.table(table);
        let (row, _) = &self.rows[&(at.no, self.key(table, id))];
        let column = at.column_named(column).unwrap();
        column.ty.to_json(&row[at.position(column.no).unwrap()])
    }

    fn values(&self, table: &str, values: &Json) -> Vec<(ColumnNo, Value)> {
        let table = self.cloud.table(table);
        let read = |(name, json): (&String, &Json)| {
            let column = table.column_named(name).unwrap_or_else(|| panic!("no column {name}"));
            (column.no, column.ty.from_json(json).unwrap())
        };
        values.as_object().unwrap().iter().map(read).collect()
    }

    /// An insert that gives all columns but those that only the cloud fills; those not named are NULL.
    pub fn insert(&self, table: &str, values: &Json) -> RowChange {
        let given = self.values(table, values);
        let at = self.cloud.table(table);
        let value = |no: ColumnNo| given.iter().find(|(given, _)| *given == no).map_or(Value::Null, |(_, value)| value.clone());
        let columns = at
            .columns
            .iter()
            .filter(|column| !["number", "always"].contains(&column.name.as_str()) || given.iter().any(|(no, _)| *no == column.no));
        let all: Vec<(ColumnNo, Value)> = columns.map(|column| (column.no, value(column.no))).collect();
        let key = Key(at.key.iter().map(|no| value(*no)).collect());
        RowChange { table: at.no, key, stamp: stamp(1), base: None, op: Op::Insert(all), additions: Vec::new(), times: Vec::new() }
    }

    /// An edit of a row that the site knows.
    pub fn update(&self, table: &str, id: &str, values: &Json) -> RowChange {
        let (key, row, at) = self.known(table, id);
        let no = self.cloud.table(table).no;
        RowChange {
            table: no,
            key,
            stamp: stamp(2),
            base: Some(at),
            op: Op::Update(self.edits(table, &row, values)),
            additions: Vec::new(),
            times: Vec::new(),
        }
    }

    pub fn rekey(&self, table: &str, id: &str, new: &str, values: &Json) -> RowChange {
        let (key, row, at) = self.known(table, id);
        let no = self.cloud.table(table).no;
        let op = Op::Rekey(key, self.edits(table, &row, values));
        RowChange { table: no, key: self.key(table, new), stamp: stamp(2), base: Some(at), op, additions: Vec::new(), times: Vec::new() }
    }

    pub fn delete(&self, table: &str, id: &str) -> RowChange {
        let (key, row, at) = self.known(table, id);
        let table = self.cloud.table(table);
        let base = table.columns.iter().map(|column| column.no).zip(row).collect();
        RowChange { table: table.no, key, stamp: stamp(2), base: Some(at), op: Op::Delete(base), additions: Vec::new(), times: Vec::new() }
    }

    fn known(&self, table: &str, id: &str) -> (Key, Row, At) {
        let key = self.key(table, id);
        let (row, at) = self.rows[&(self.cloud.table(table).no, key.clone())].clone();
        (key, row, at)
    }

    fn edits(&self, table: &str, row: &Row, values: &Json) -> Vec<Edit> {
        let at = self.cloud.table(table);
        let edit = |(column, new): (ColumnNo, Value)| Edit { column, base: row[at.position(column).unwrap()].clone(), new };
        self.values(table, values).into_iter().map(edit).collect()
    }

    /// What the cloud has in the scopes that this site holds is what the site has, value by value and place by place. What the cloud has is
    /// what a new site gets that holds everything.
    pub async fn assert_same_as_cloud(&self) {
        let mut fresh = self.cloud.site(&format!("fresh-{}", uuid::Uuid::new_v4().simple()), &["*"]).await;
        fresh.pull().await;
        let identity = self.identity().await;
        let users = |site: &Self| {
            let table = |no: TableNo| self.cloud.catalog.table(no).unwrap();
            let rows = site.rows.clone().into_iter().filter(|((no, _), (_, at))| !table(*no).engine && identity.holds(&at.scope));
            rows.map(|((no, key), row)| (format!("{} {key}", table(no).name), row)).collect::<BTreeMap<_, _>>()
        };
        let (here, there) = (users(self), users(&fresh));
        for (row, what) in &there {
            assert_eq!(here.get(row), Some(what), "{row} at {}", self.enrolled.name);
        }
        let surplus: Vec<_> = here.keys().filter(|row| !there.contains_key(*row)).collect();
        assert!(surplus.is_empty(), "{surplus:?} at {}", self.enrolled.name);
    }
}

pub fn stamp(version: i64) -> Stamp {
    let updated_at = "2026-01-31T12:00:00.000000Z".to_owned();
    Stamp { version, updated_at, modified_by: Some("ann".to_owned()), synced_at: None }
}

/// What became of a row, in one word.
pub fn verdict(answer: &RowAnswer) -> &'static str {
    match (&answer.verdict, &answer.confirmed) {
        (Verdict::Accepted, Confirmed::Exact { .. }) => "exact",
        (Verdict::Accepted, _) => "image",
        (Verdict::NoOp, _) => "no-op",
        (Verdict::Deferred, _) => "deferred",
        (Verdict::Parked(_), _) => "parked",
        (Verdict::Held(_), _) => "held",
    }
}

pub fn verdicts(answers: &[RowAnswer]) -> Vec<&'static str> {
    answers.iter().map(verdict).collect()
}

/// Ids of rows, in the order of their letters.
pub fn id(letter: char, no: u32) -> String {
    format!("0198c0de-0000-7000-8000-000000{:02x}{no:04}", u32::from(letter) % 256)
}
