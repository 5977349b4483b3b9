//! A site on a file of its own, driven step by step.

use std::sync::Arc;

use local_server::store::answers::{self, Outcome};
use local_server::store::apply::{self, Applied};
use local_server::store::outbox::{self, Pass, StoredPush};
use local_server::store::plan::Plan;
use local_server::store::{Database, DbError, StoreError};
use local_server::store::{hidden, install};
use rusqlite::Connection;
use sync_core::catalog::{ApiStyle, Catalog, Column, OnDelete, Reference, ScopeRule, Stamps, Table, TableApi, Travel, Unique};
use sync_core::change::{At, Confirmed, Op, Row, RowAnswer, RowChange, Verdict};
use sync_core::id::{
    CatalogVersion, ChangeId, CloudEpoch, ColumnNo, ConflictId, Key, PushNo, ReplicaEpoch, ReplicaId, ScopeId, TableNo, Tick,
};
use sync_core::value::{ColumnType, Value};
use sync_core::wire::codec;
use sync_core::wire::message::{CommandAnswer, Cursor, Gone, Page, PulledRow, Push, PushAnswer, PushResult, Speaker, TableRows};
use tempfile::TempDir;
use uuid::Uuid;

/// The root rows.
pub(crate) const SHOWS: TableNo = TableNo(1);
/// Their items: unique by (show, slot), may refer to another item.
pub(crate) const ITEMS: TableNo = TableNo(2);
/// The conflicts.
pub(crate) const CONFLICTS: TableNo = TableNo(3);

pub(crate) const NOW: &str = "2026-01-02T00:00:00.000000Z";

pub(crate) fn catalog() -> Arc<Catalog> {
    let column = |no: u32, name: &str, ty: ColumnType| Column {
        no: ColumnNo(no),
        name: name.into(),
        sql_type: "text".into(),
        ty,
        not_null: no == 1,
        default: None,
        max_length: None,
        policy: sync_core::policy::Policy::Manual,
        added: None,
        fixed: false,
    };
    let stamps = || Stamps {
        version: "version".into(),
        updated_at: "updated_at".into(),
        last_modified_by: "modified_by".into(),
        synced_at: "synced_at".into(),
    };
    let table = |no: TableNo, name: &str, columns: Vec<Column>| Table {
        no,
        schema: "public".into(),
        name: name.into(),
        path: name.into(),
        engine: false,
        key: vec![ColumnNo(1)],
        columns,
        uniques: vec![],
        indexes: vec![],
        references: vec![],
        scope: ScopeRule::Root,
        stamps: stamps(),
        soft_delete: None,
        policy: sync_core::policy::Policy::Manual,
        groups: vec![],
        travel: Travel::Both,
        keep_hours: None,
        generation: 0,
        scope_name: String::new(),
        api: TableApi::default(),
        lease: None,
    };
    let refers = |name: &str, column: u32, to: TableNo, on_delete: OnDelete| {
        Reference::foreign_key(name.into(), vec![ColumnNo(column)], to, vec![ColumnNo(1)], on_delete)
    };
    let shows =
        table(SHOWS, "shows", vec![column(1, "id", ColumnType::Text), column(2, "a", ColumnType::Int8), column(3, "b", ColumnType::Text)]);
    let mut items = table(
        ITEMS,
        "items",
        vec![
            column(1, "id", ColumnType::Text),
            column(2, "show", ColumnType::Text),
            column(3, "slot", ColumnType::Int8),
            column(4, "note", ColumnType::Text),
            column(5, "parent", ColumnType::Text),
        ],
    );
    items.scope = ScopeRule::Through(vec![0]);
    items.uniques = vec![Unique { name: "items_slot".into(), columns: vec![ColumnNo(2), ColumnNo(3)] }];
    items.references = vec![refers("items_show", 2, SHOWS, OnDelete::Cascade), refers("items_parent", 5, ITEMS, OnDelete::SetNull)];
    let mut conflicts = table(
        CONFLICTS,
        "sync_conflicts",
        vec![column(1, "id", ColumnType::Uuid), column(2, "resolution", ColumnType::Text), column(3, "revision", ColumnType::Int8)],
    );
    (conflicts.engine, conflicts.schema, conflicts.scope) = (true, "rejoin".into(), ScopeRule::Site);
    let version = CatalogVersion(1);
    Arc::new(Catalog { version, system: "test".into(), api: ApiStyle::default(), tables: vec![shows, items, conflicts] })
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn key(id: &str) -> Key {
    Key(vec![text(id)])
}

pub(crate) fn scope(id: &str) -> ScopeId {
    ScopeId(format!("shows/{id}"))
}

pub(crate) fn show(id: &str, a: i64, b: &str) -> Row {
    vec![text(id), Value::Int(a), text(b)]
}

pub(crate) fn item(id: &str, show: &str, slot: i64, note: &str) -> Row {
    vec![text(id), text(show), Value::Int(slot), text(note), Value::Null]
}

pub(crate) fn head(scope: &ScopeId, tick: i64) -> Cursor {
    Cursor { scope: scope.clone(), tick: Tick(tick), change: ChangeId(Uuid::nil()), mac: "m".into() }
}

/// A page under construction.
pub(crate) fn page(heads: &[(&ScopeId, i64)]) -> Page {
    Page {
        cloud_epoch: CloudEpoch(Uuid::nil()),
        catalog: CatalogVersion(1),
        heads: heads.iter().map(|(scope, tick)| head(scope, *tick)).collect(),
        gone: vec![],
        tables: vec![],
        next: None,
        suspended: None,
    }
}

pub(crate) trait PageExt {
    fn live(self, table: TableNo, scope: u32, tick: i64, version: i64, row: Row) -> Self;
    fn gone(self, table: TableNo, scope: u32, tick: i64, id: &str, left: bool) -> Self;
}

impl PageExt for Page {
    fn live(mut self, table: TableNo, scope: u32, tick: i64, version: i64, row: Row) -> Self {
        let columns = catalog().table(table).unwrap().columns.iter().map(|column| column.no).collect();
        let pulled = PulledRow {
            scope,
            tick: Tick(tick),
            version,
            updated_at: NOW.into(),
            modified_by: Some("cloud".into()),
            synced_at: Some(NOW.into()),
            values: row,
        };
        match self.tables.iter_mut().find(|rows| rows.table == table) {
            Some(rows) => rows.rows.push(pulled),
            None => self.tables.push(TableRows { table, columns, rows: vec![pulled] }),
        }
        self
    }

    fn gone(mut self, table: TableNo, scope: u32, tick: i64, id: &str, left: bool) -> Self {
        self.gone.push(Gone { table, key: key(id), scope, tick: Tick(tick), version: 9, at: NOW.into(), by: None, left });
        self
    }
}

/// A site with its file.
pub(crate) struct Site {
    pub(crate) db: Database,
    pub(crate) plan: Arc<Plan>,
    _folder: TempDir,
    replica: u128,
}

impl Site {
    pub(crate) async fn new(replica: u128) -> Self {
        Self::of(replica, catalog()).await
    }

    /// A site of another catalog.
    pub(crate) async fn of(replica: u128, catalog: Arc<Catalog>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let built = Arc::clone(&catalog);
        db.apply(move |connection| install::install(connection, None, &built, "venue")).await.unwrap();
        db.set_catalog(Arc::clone(&catalog));
        Self { db, plan: Arc::new(Plan::new(catalog)), _folder: folder, replica }
    }

    pub(crate) fn speaker(&self) -> Speaker {
        Speaker {
            replica: ReplicaId(Uuid::from_u128(self.replica)),
            epoch: ReplicaEpoch(Uuid::from_u128(self.replica)),
            cloud_epoch: CloudEpoch(Uuid::nil()),
            catalog: CatalogVersion(1),
        }
    }

    /// Takes a new catalog.
    pub(crate) async fn take(&mut self, after: Catalog) {
        let (before, after) = (self.db.catalog().unwrap(), Arc::new(after));
        let built = Arc::clone(&after);
        self.db.apply(move |connection| install::install(connection, Some(&before), &built, "venue")).await.unwrap();
        self.db.set_catalog(Arc::clone(&after));
        self.plan = Arc::new(self.db.read(move |connection| hidden::plan(connection, after)).await.unwrap());
    }

    /// The site after a restart: all it knows is in its file.
    pub(crate) async fn restarted(self) -> Self {
        let Self { db, plan, _folder: folder, replica } = self;
        drop((db, plan));
        let db = Database::open(folder.path()).unwrap();
        let catalog = db.catalog().unwrap();
        let plan = Arc::new(db.read(move |connection| hidden::plan(connection, catalog)).await.unwrap());
        Self { db, plan, _folder: folder, replica }
    }

    /// A program's SQL, captured.
    pub(crate) async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        self.db.write(move |connection| Ok::<_, DbError>(connection.execute_batch(&sql)?)).await.unwrap();
    }

    /// Rows as text: columns joined by `|`, NULL as `-`, rows in order by `;`.
    pub(crate) async fn rows(&self, sql: &str) -> String {
        let sql = sql.to_owned();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare(&sql)?;
            let width = statement.column_count();
            let lines = statement.query_map([], |row| {
                let values = (0..width).map(|at| {
                    Ok(match row.get::<_, rusqlite::types::Value>(at)? {
                        rusqlite::types::Value::Null => "-".to_owned(),
                        rusqlite::types::Value::Integer(number) => number.to_string(),
                        rusqlite::types::Value::Real(number) => number.to_string(),
                        rusqlite::types::Value::Text(text) => text,
                        rusqlite::types::Value::Blob(bytes) => format!("{} bytes", bytes.len()),
                    })
                });
                Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
            })?;
            Ok::<_, DbError>(lines.collect::<rusqlite::Result<Vec<_>>>()?.join(";"))
        };
        self.db.read(read).await.unwrap()
    }

    pub(crate) async fn next(&self, pass: &mut Pass) -> Option<(StoredPush, Push)> {
        let (plan, speaker, mut moved) = (Arc::clone(&self.plan), self.speaker(), pass.clone());
        let (push, moved) = self
            .db
            .apply(move |connection| {
                let push = outbox::next(connection, &plan, speaker, &mut moved)?;
                Ok::<_, StoreError>((push, moved))
            })
            .await
            .unwrap();
        *pass = moved;
        push.map(|push| {
            let decoded = codec::decode(&push.body).unwrap();
            (push, decoded)
        })
    }

    /// Cuts the next push of a new pass.
    pub(crate) async fn cut(&self) -> Option<Push> {
        self.next(&mut Pass::default()).await.map(|(_, push)| push)
    }

    pub(crate) async fn answer(&self, no: PushNo, result: PushResult) -> Outcome {
        let hash = self.rows(&format!("SELECT hash FROM rejoin_pushes WHERE no = {no}")).await;
        let answer = PushAnswer { no, hash, result, mac: "mac".into() };
        let plan = Arc::clone(&self.plan);
        self.db.apply(move |connection| answers::apply(connection, &plan, no, &answer)).await.unwrap()
    }

    /// Answers a push row by row.
    pub(crate) async fn applied(&self, push: &Push, rows: Vec<RowAnswer>) -> Outcome {
        let commands = push.commands.iter().map(|_| CommandAnswer::Done).collect();
        self.answer(push.no, PushResult::Applied { rows, commands }).await
    }

    pub(crate) async fn pull(&self, page: Page) -> Applied {
        let plan = Arc::clone(&self.plan);
        self.db.apply(move |connection| apply::apply(connection, &plan, Some(&page), NOW)).await.unwrap()
    }

    /// No dirty row, no image beside a row, nothing unanswered.
    pub(crate) async fn assert_clean(&self) {
        for table in [
            "rejoin_base_1 WHERE rejoin_row > 0",
            "rejoin_base_2 WHERE rejoin_row > 0",
            "rejoin_theirs_1",
            "rejoin_theirs_2",
            "rejoin_later",
        ] {
            assert_eq!(self.rows(&format!("SELECT * FROM {table}")).await, "", "{table}");
        }
    }
}

pub(crate) fn exact(scope: &ScopeId, tick: i64, version: i64) -> RowAnswer {
    let confirmed = Confirmed::Exact { at: At { scope: scope.clone(), tick: Tick(tick) }, version, synced_at: NOW.into() };
    RowAnswer { verdict: Verdict::Accepted, clashed: vec![], confirmed, merged: Vec::new() }
}

pub(crate) fn verdict(verdict: Verdict) -> RowAnswer {
    RowAnswer { verdict, clashed: vec![], confirmed: Confirmed::Nothing, merged: Vec::new() }
}

pub(crate) fn conflict(number: u128) -> ConflictId {
    ConflictId(Uuid::from_u128(number))
}

/// A conflict as it is pulled.
pub(crate) fn conflict_row(number: u128, resolution: &str, revision: i64) -> Row {
    vec![Value::Uuid(conflict(number).0), text(resolution), Value::Int(revision)]
}

/// `insert shows/a`, for each row of a push.
pub(crate) fn told(push: &Push) -> String {
    let tell = |row: &RowChange| {
        let name = &catalog().table(row.table).unwrap().name.clone();
        match &row.op {
            Op::Insert(_) => format!("insert {name}/{}", row.key),
            Op::Update(edits) => {
                let edits: Vec<_> =
                    edits.iter().map(|edit| format!("{}:{}>{}", edit.column, edit.base.to_text(), edit.new.to_text())).collect();
                format!("update {name}/{} {}", row.key, edits.join(","))
            }
            Op::Rekey(old, _) => format!("rekey {name}/{old}>{}", row.key),
            Op::Delete(_) => format!("delete {name}/{}", row.key),
        }
    };
    push.rows.iter().map(tell).collect::<Vec<_>>().join("; ")
}
