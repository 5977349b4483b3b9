//! What the API gets of rows that the sync has to do with: where they are, held ones and ghosts, digests, conflicts, users.

use std::sync::Arc;

use chrono::{Duration, Utc};
use conflict_ui_api::backend::{
    Accounts, Backend, Conflict, ConflictFilter, ConflictQuery, Digests, ListQuery, Place, Principal, Record, Role, Sort, SortKey, Token,
    Write,
};
use conflict_ui_api::error::BackendError;
use local_server::backend::SiteBackend;
use local_server::store::install::install;
use local_server::store::{Database, DbError, StoreError};
use sync_core::catalog::{Catalog, Table};
use sync_core::change::{SetDigest, etag};
use sync_core::conflict::Resolution;
use sync_core::id::{ColumnNo, ConflictId, Key};
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;
use sync_core::write::Draft;
use uuid::Uuid;

use crate::fixture::{capture_catalog, engine_tables};

const TIME: &str = "2026-01-01T00:00:00.000000Z";

pub(crate) struct Served {
    _folder: tempfile::TempDir,
    pub(crate) db: Database,
    pub(crate) backend: SiteBackend,
    catalog: Arc<Catalog>,
}

/// A site that holds k1 (1, one), k2 (2, two) and k3 (3, three), confirmed.
pub(crate) async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let mut catalog = capture_catalog();
    catalog.tables.extend(engine_tables());
    let catalog = Arc::new(catalog);
    let built = Arc::clone(&catalog);
    db.apply(move |connection| install(connection, None, &built, "venue")).await.map_err(|error: StoreError| error).unwrap();
    db.set_catalog(Arc::clone(&catalog));
    let served = Served { backend: SiteBackend::new("venue".into(), db.clone(), None), _folder: folder, db, catalog };
    served.sync(crate::capture::CONFIRMED).await;
    served
}

impl Served {
    pub(crate) async fn sync(&self, sql: &str) {
        let sql = sql.to_owned();
        self.db.apply(move |connection| Ok::<_, DbError>(connection.execute_batch(&sql)?)).await.unwrap();
    }

    pub(crate) async fn plain(&self, sql: &str) {
        let sql = sql.to_owned();
        self.db.write(move |connection| Ok::<_, DbError>(connection.execute_batch(&sql)?)).await.unwrap();
    }

    fn table(&self) -> &Table {
        &self.catalog.tables[0]
    }

    async fn get(&self, id: &str) -> Option<Record> {
        self.backend.get(self.table().no, &key(id)).await.unwrap()
    }

    async fn write(&self, write: Write) -> Result<Record, BackendError> {
        self.backend.write(&Principal { name: "bea".into(), role: Role::Editor }, self.table().no, &write).await
    }

    async fn ids(&self) -> Vec<String> {
        let query = ListQuery {
            table: self.table().no,
            filters: vec![],
            sort: vec![Sort { by: SortKey::Column(ColumnNo(1)), descending: false }],
            after: None,
            limit: 100,
            deleted: false,
        };
        self.backend.list(&query).await.unwrap().iter().map(|record| record.row[0].to_text().into_owned()).collect()
    }

    /// The digests and the ones that these rows of `t`, and the children, would have.
    async fn digests(&self, rows: &[Vec<Value>]) -> (Digests, String) {
        let mut set = SetDigest::default();
        rows.iter().for_each(|row| set.add(self.table(), row));
        (self.backend.digests(None).await.unwrap(), set.hex())
    }
}

fn key(id: &str) -> Key {
    Key(vec![Value::Text(id.into())])
}

fn row(id: &str, a: i64, b: &str, u: Option<&str>) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.into());
    vec![text(id), Value::Int(a), text(b), u.map_or(Value::Null, text)]
}

fn confirmed() -> [Vec<Value>; 3] {
    [row("k1", 1, "one", Some("u1")), row("k2", 2, "two", Some("u2")), row("k3", 3, "three", None)]
}

/// k4 is an insert that the cloud refused: it has k9's `u`.
pub(crate) const HELD: &str = "INSERT INTO t (id, a, b, u, rejoin_held) VALUES ('k4', 4, 'mine', 'u9', 1);
    INSERT INTO rejoin_base_1 (rejoin_row, rejoin_kind, id, rejoin_held_conflict) SELECT rejoin_row, 'insert', id, 'c' FROM t WHERE id = 'k4';
    INSERT INTO t (id, a, b, u, synced_at, rejoin_scope, rejoin_tick) VALUES ('k9', 9, 'nine', 'u9', '2026-01-01T00:00:00.000000Z', 'global', 12)";

#[tokio::test]
async fn a_record_says_where_it_is_and_api_writes_are_stamped_once() {
    let site = served().await;
    site.sync(HELD).await;
    assert_eq!(site.get("k1").await.unwrap().place, Place::Cloud);
    assert_eq!(site.get("k4").await.unwrap().place, Place::Held);
    let draft = Draft::from([(ColumnNo(2), Value::Int(10))]);
    let changed = site.write(Write::Update { key: key("k1"), draft: draft.clone(), if_match: None }).await.unwrap();
    let stamp = &changed.stamp;
    assert_eq!((changed.place, stamp.version, stamp.modified_by.as_deref(), &stamp.synced_at), (Place::Here, 6, Some("bea"), &None));
    let same = site.write(Write::Update { key: key("k1"), draft, if_match: None }).await.unwrap();
    assert_eq!(same, changed, "what changes nothing is no change");
    clashed_row(&site, "k2").await;
    let parked = site.get("k2").await.unwrap();
    assert_eq!(parked.place, Place::Parked, "it shows the cloud's state; the edit is in a conflict");
    site.sync("INSERT INTO rejoin_parked (conflict, table_no, record_id, body) VALUES ('c', 1, 'k3', x'')").await;
    assert_eq!(site.get("k3").await.unwrap().place, Place::Parked, "also before its conflict has come");
    let held = Draft::from([(ColumnNo(3), Value::Text("still mine".into()))]);
    let held = site.write(Write::Update { key: key("k4"), draft: held, if_match: None }).await.unwrap();
    assert_eq!(held.place, Place::Held);
    let taken = Draft::from([(ColumnNo(1), Value::Text("k4".into()))]);
    let taken = site.write(Write::Create(taken)).await.unwrap_err();
    assert!(matches!(&taken, BackendError::Duplicate { columns, .. } if columns == &["id"]), "{taken:?}");
    let unique = Draft::from([(ColumnNo(1), Value::Text("k5".into())), (ColumnNo(4), Value::Text("u9".into()))]);
    let unique = site.write(Write::Create(unique)).await.unwrap_err();
    assert!(matches!(&unique, BackendError::Duplicate { columns, .. } if columns == &["u"]), "{unique:?}");
}

#[tokio::test]
async fn a_deleted_record_remembers_who_deleted_it_and_its_version_goes_on() {
    let site = served().await;
    site.write(Write::Delete { key: key("k1"), if_match: None }).await.unwrap();
    let sql = "SELECT group_concat(rejoin_gone_by || ':' || rejoin_gone_version, ',') FROM (
        SELECT rejoin_gone_by, rejoin_gone_version FROM rejoin_base_1 UNION ALL SELECT rejoin_gone_by, rejoin_gone_version FROM rejoin_base_2)";
    let by: String = site.db.read(move |c| Ok::<_, DbError>(c.query_row(sql, [], |row| row.get(0))?)).await.unwrap();
    assert_eq!(by, "bea:6,bea:4", "the record and what went with it");
    let again = Draft::from([(ColumnNo(1), Value::Text("k1".into()))]);
    assert_eq!(site.write(Write::Create(again)).await.unwrap().stamp.version, 7);
}

#[tokio::test]
async fn ghosts_are_hidden_and_keep_their_key() {
    let site = served().await;
    site.sync("UPDATE t SET rejoin_held = 2 WHERE id = 'k2'").await;
    assert_eq!((site.get("k2").await, site.ids().await), (None, vec!["k1".to_owned(), "k3".to_owned()]));
    let gone = site.write(Write::Delete { key: key("k2"), if_match: None }).await.unwrap_err();
    assert!(matches!(gone, BackendError::NotFound(_)), "{gone:?}");
    let taken = site.write(Write::Create(Draft::from([(ColumnNo(1), Value::Text("k2".into()))]))).await.unwrap_err();
    assert!(matches!(taken, BackendError::Duplicate { .. }), "{taken:?}");
    let children = &site.catalog.tables[1];
    let orphan = Draft::from([(ColumnNo(1), Value::Text("c9".into())), (ColumnNo(2), Value::Text("k2".into()))]);
    let by = Principal { name: "bea".into(), role: Role::Editor };
    let orphan = site.backend.write(&by, children.no, &Write::Create(orphan)).await.unwrap_err();
    assert!(matches!(&orphan, BackendError::BadReference { column, .. } if column == "t"), "{orphan:?}");
}

#[tokio::test]
async fn a_digest_is_of_what_the_cloud_has_accepted() {
    let site = served().await;
    let (all, expected) = site.digests(&confirmed()).await;
    assert_eq!((&all.tables[0].digest, all.tables[0].rows, all.rows), (&expected, 3, 5));
    // Edits, deletes and inserts of this site change nothing.
    site.plain("UPDATE t SET a = 50 WHERE id = 'k1'; DELETE FROM t WHERE id = 'k3'; INSERT INTO t (id) VALUES ('k8'); UPDATE t SET id = 'k7' WHERE id = 'k8'")
        .await;
    assert_eq!(site.digests(&confirmed()).await.0.tables[0].digest, expected);
    // News of a dirty row count, a held row does not.
    site.sync(HELD).await;
    let theirs = "(id, a, b, u, rejoin_state, rejoin_version, rejoin_updated_at, rejoin_scope, rejoin_tick)";
    site.sync(&format!(
        "INSERT INTO rejoin_theirs_1 {theirs} VALUES ('k1', 1, 'theirs', 'u1', 'live', 9, '{TIME}', 'global', 20);
         INSERT INTO rejoin_theirs_1 {theirs} VALUES ('k3', NULL, NULL, NULL, 'deleted', 9, '{TIME}', 'global', 20);"
    ))
    .await;
    let rows = [row("k1", 1, "theirs", Some("u1")), row("k2", 2, "two", Some("u2")), row("k9", 9, "nine", Some("u9"))];
    let (now, expected) = site.digests(&rows).await;
    assert_eq!((&now.tables[0].digest, &now.tables[0].held, now.held), (&expected, &vec!["k4".to_owned()], 1));
}

#[tokio::test]
async fn a_value_that_no_column_can_hold_is_reported_and_not_a_panic() {
    let site = served().await;
    site.plain("UPDATE t SET a = 'many' WHERE id = 'k2'").await;
    let error = site.backend.get(site.table().no, &key("k2")).await.unwrap_err();
    assert!(
        matches!(&error, BackendError::Unavailable(text) if text.contains("t/k2: column a cannot be read: expected a 64-bit integer")),
        "{error}"
    );
    assert!(site.get("k1").await.is_some());
}

const CONFLICT: u128 = 7;

/// An open conflict of a row.
async fn clashed_row(site: &Served, record: &str) {
    site.sync(&format!(
        "INSERT INTO sync_conflicts (id, table_name, record_id, resolution, created_at, kind, reason, table_no, site_name, push_no, revision, held)
             VALUES ('{}', 't', '{record}', 'PENDING', '{TIME}', 'update_update', '', 1, 'venue', 3, 1, 0)",
        Uuid::from_u128(70)
    ))
    .await;
}

/// k1's `b` clashed: the cloud has `theirs` at version 8, this site wrote `mine`.
async fn clashed(site: &Served) -> Conflict {
    let id = Uuid::from_u128(CONFLICT);
    site.sync(&format!(
        "UPDATE t SET b = 'theirs', version = 9 WHERE id = 'k1';
         INSERT INTO sync_conflicts (id, table_name, record_id, cloud_version, local_version, cloud_data, local_data, resolution, created_at, kind,
                 reason, columns, base_data, table_no, site_id, site_name, replica, push_no, revision, held, rejoin_synced_at)
             VALUES ('{id}', 't', 'k1', 8, 6, '{{\"id\":\"k1\",\"a\":1,\"b\":\"theirs\",\"u\":\"u1\"}}', '{{\"b\":\"mine\"}}', 'PENDING', '{TIME}',
                 'update_update', 'b changed on both sides', '[\"b\"]', '{{\"b\":\"one\"}}', 1, '{id}', 'venue', '{id}', 3, 1, 0, '{TIME}');"
    ))
    .await;
    site.backend.conflict(ConflictId(id)).await.unwrap().unwrap()
}

fn decision(conflict: &Conflict) -> ResolveCommand {
    ResolveCommand {
        conflict: conflict.id,
        revision: conflict.revision,
        cloud_etag: conflict.cloud_etag.clone(),
        resolution: Resolution::LocalWins,
        values: vec![],
        by: "bea".into(),
        way: sync_core::conflict::Way::Plain,
        besides: None,
    }
}

#[tokio::test]
async fn rb10_a_decision_is_stored_for_the_cloud_and_changes_nothing_here() {
    let site = served().await;
    let by = Principal { name: "bea".into(), role: Role::Admin };
    let conflict = clashed(&site).await;
    let theirs = row("k1", 1, "theirs", Some("u1"));
    assert_eq!(conflict.cloud_etag, Some(etag(site.table(), 8, &theirs)), "the cloud's version, not this site's");
    assert_eq!((conflict.columns.as_slice(), conflict.decided_not_sent), (["b".to_owned()].as_slice(), false));
    assert_eq!(site.backend.sync_status().await.unwrap().conflicts, 1);

    let outdated = ResolveCommand { revision: 0, ..decision(&conflict) };
    assert!(matches!(site.backend.resolve(&by, &outdated).await, Err(BackendError::Outdated(_))));
    let outdated = ResolveCommand { cloud_etag: None, ..decision(&conflict) };
    assert!(matches!(site.backend.resolve(&by, &outdated).await, Err(BackendError::Outdated(_))));

    let decided = site.backend.resolve(&by, &decision(&conflict)).await.unwrap();
    assert_eq!((decided.decided_not_sent, decided.resolution), (true, Resolution::Pending));
    assert_eq!(site.get("k1").await.unwrap().row, theirs);
    let stored: Vec<u8> =
        site.db.read(|c| Ok::<_, DbError>(c.query_row("SELECT body FROM rejoin_commands", [], |row| row.get(0))?)).await.unwrap();
    assert_eq!(codec::decode::<ResolveCommand>(&stored).unwrap(), decision(&conflict));
    let other = ResolveCommand { resolution: Resolution::CloudWins, ..decision(&conflict) };
    assert!(site.backend.resolve(&by, &other).await.unwrap().decided_not_sent, "until it is sent, another decision takes its place");

    site.sync("UPDATE rejoin_commands SET push_no = 4").await;
    assert!(matches!(site.backend.resolve(&by, &decision(&conflict)).await, Err(BackendError::Undecidable(_))), "it is on its way");
    site.sync("UPDATE rejoin_commands SET push_no = NULL, refused = 'the row changed'").await;
    let refused = site.backend.conflict(conflict.id).await.unwrap().unwrap();
    assert!(!refused.decided_not_sent && refused.reason.contains("refused: the row changed"), "{}", refused.reason);
    assert!(site.backend.resolve(&by, &decision(&refused)).await.unwrap().decided_not_sent, "it can be decided anew");
}

#[tokio::test]
async fn conflicts_are_listed_newest_first_and_by_filter() {
    let site = served().await;
    clashed(&site).await;
    let copies = (8..12_u128).map(|no| {
        format!(
            "INSERT INTO sync_conflicts (id, table_name, record_id, resolution, created_at, kind, reason, table_no, site_name, push_no, revision, held)
             SELECT '{}', table_name, 'k{no}', 'CLOUD_WINS', '2026-01-{no:02}T00:00:00.000000Z', kind, reason, table_no, site_name, push_no, 1, 0
             FROM sync_conflicts WHERE record_id = 'k1';",
            Uuid::from_u128(no)
        )
    });
    site.sync(&copies.collect::<String>()).await;
    let list = async |query: ConflictQuery| -> Vec<String> {
        site.backend.conflicts(&query).await.unwrap().into_iter().map(|conflict| conflict.record_id).collect()
    };
    let all = ConflictQuery { limit: 100, ..ConflictQuery::default() };
    assert_eq!(list(all.clone()).await, ["k11", "k10", "k9", "k8", "k1"]);
    let after = ConflictQuery { after: Some(ConflictId(Uuid::from_u128(10))), limit: 2, ..all.clone() };
    assert_eq!(list(after).await, ["k9", "k8"]);
    assert_eq!(
        list(ConflictQuery {
            filter: ConflictFilter { resolution: Some(Resolution::Pending), ..ConflictFilter::default() },
            ..all.clone()
        })
        .await,
        ["k1"]
    );
    assert_eq!(
        list(ConflictQuery { filter: ConflictFilter { table: Some("other".into()), ..ConflictFilter::default() }, ..all }).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn users_of_the_cloud_sign_in_here_offline_until_they_are_disabled() {
    let site = served().await;
    site.sync(&format!(
        "INSERT INTO rejoin_users (name, role, password_hash, disabled) VALUES ('ann', 'editor', 'phc', 0), ('bob', 'admin', NULL, 0);
         INSERT INTO rejoin_tokens (id, user_name, label, secret_hash, created_at, expires_at) VALUES
             ('t1', 'bob', 'export', 'h1', '{TIME}', NULL), ('t2', 'bob', 'old', 'h2', '{TIME}', '{TIME}');"
    ))
    .await;
    let accounts: &dyn Accounts = &site.backend;
    assert_eq!(accounts.user("ann").await.unwrap().unwrap().password_hash.as_deref(), Some("phc"));
    let session = |name: &str, hours: i64| Token {
        id: name.into(),
        user: "ann".into(),
        label: None,
        secret_hash: format!("hash {name}"),
        created_at: Utc::now(),
        expires_at: Some(Utc::now() + Duration::hours(hours)),
    };
    for (name, hours) in [("s1", 1), ("s2", 1), ("s3", -1)] {
        accounts.put_token(&session(name, hours)).await.unwrap();
    }
    let holder = async |hash: &str| accounts.holder(hash).await.unwrap().map(|who| (who.name, who.role));
    assert_eq!(holder("hash s1").await, Some(("ann".into(), Role::Editor)));
    assert_eq!((holder("hash s3").await, holder("h1").await, holder("h2").await), (None, Some(("bob".into(), Role::Admin)), None));
    assert_eq!(accounts.tokens(Some("bob")).await.unwrap().len(), 2);
    assert!(matches!(accounts.revoke_token("t1").await, Err(BackendError::Unsupported(_))), "tokens are the cloud's");
    accounts.revoke_sessions("ann", Some("s2")).await.unwrap();
    assert_eq!((holder("hash s1").await, holder("hash s2").await.is_some()), (None, true));
    site.sync("UPDATE rejoin_users SET disabled = 1 WHERE name = 'ann'").await;
    assert_eq!(holder("hash s2").await, None);
}
