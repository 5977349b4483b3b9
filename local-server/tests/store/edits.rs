//! "My edits": everything that is only here, in pages that miss none.

use std::sync::Arc;

use conflict_ui_api::backend::{Backend, EditCounts, EditQuery, EditState, LocalEdit};
use local_server::store::StoreError;
use local_server::store::install::install;
use sync_core::change::{Edit, Op, RowChange, Stamp};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::value::Value;
use sync_core::wire::codec;

use crate::serving::{Served, served};

async fn edits(site: &Served, query: EditQuery) -> Vec<LocalEdit> {
    // In pages of one, and all at once: the same list.
    let whole = site.backend.local_edits(&EditQuery { limit: 1000, ..query.clone() }).await.unwrap();
    let mut paged = Vec::new();
    let mut query = EditQuery { limit: 1, ..query };
    while let Some(edit) = site.backend.local_edits(&query).await.unwrap().pop() {
        query.after = Some(edit.place.clone());
        if edit.state == EditState::Cloud {
            return vec![edit];
        }
        paged.push(edit);
        assert!(paged.len() <= whole.len(), "pages end: {paged:?}");
    }
    assert_eq!(paged, whole);
    whole
}

fn told(edits: &[LocalEdit]) -> Vec<String> {
    let line = |edit: &LocalEdit| {
        let changes = sync_core::json::canonical(&edit.changes.to_string()).unwrap();
        format!("{} {} {}/{} {changes}", format!("{:?}", edit.state).to_lowercase(), edit.op, edit.table_name, edit.record_id)
    };
    edits.iter().map(line).collect()
}

fn later(id: &str) -> String {
    let edit = Edit { column: ColumnNo(3), base: Value::Text("two".into()), new: Value::Text("late".into()) };
    let change = RowChange {
        table: TableNo(1),
        key: Key(vec![Value::Text(id.into())]),
        stamp: Stamp { version: 3, updated_at: "2026-01-01T00:00:00.000000Z".into(), modified_by: Some("ann".into()), synced_at: None },
        base: None,
        op: Op::Update(vec![edit]),
        additions: vec![],
        times: vec![],
    };
    hex::encode(codec::encode(&change).unwrap())
}

#[tokio::test]
async fn every_edit_is_shown_where_it_stands_and_no_clean_row_is() {
    let site = served().await;
    assert_eq!(edits(&site, EditQuery::default()).await, []);
    site.plain(
        "UPDATE t SET a = 10, b = 'mine' WHERE id = 'k1'; UPDATE t SET a = 20 WHERE id = 'k2'; UPDATE t SET a = 2 WHERE id = 'k2';
         DELETE FROM t WHERE id = 'k3'; INSERT INTO t (id, a) VALUES ('k5', 'many'); INSERT INTO t (id) VALUES ('k6'); DELETE FROM t WHERE id = 'k6';
         INSERT INTO t (id, a) VALUES ('k7', 7);",
    )
    .await;
    site.sync(crate::serving::HELD).await;
    site.sync("UPDATE rejoin_base_1 SET rejoin_push_no = 4 WHERE id = 'k7'; UPDATE rejoin_base_1 SET rejoin_held_conflict = '00000000-0000-0000-0000-000000000005' WHERE id = 'k4'").await;
    site.sync(&format!(
        "INSERT INTO rejoin_later (table_no, record_id, body) VALUES (1, 'k2', x'{}');
         INSERT INTO rejoin_parked (conflict, table_no, record_id, body) VALUES ('00000000-0000-0000-0000-000000000009', 1, 'k9', x'{}');",
        later("k2"),
        later("k9"),
    ))
    .await;
    let conflict = "(id, table_name, record_id, table_no, kind, columns, base_data, local_data, resolution, reason, created_at, revision, held, site_name, push_no)";
    site.sync(&format!(
        r#"INSERT INTO sync_conflicts {conflict} VALUES
            ('00000000-0000-0000-0000-000000000001', 't', 'k1', 1, 'update_update', '["u"]', '{{"u":"u1"}}', '{{"id":"k1","u":"mine"}}', 'PENDING', '', '', 1, 0, 'venue', 1),
            ('00000000-0000-0000-0000-000000000002', 'gone', 'g', 9, 'schema', '[]', NULL, '{{"id":"g"}}', 'PENDING', '', '', 1, 0, 'venue', 1),
            ('00000000-0000-0000-0000-000000000003', 't', 'k9', 1, 'delete_update', '[]', '{{"id":"k9","a":9}}', NULL, 'PENDING', '', '', 1, 0, 'venue', 1),
            ('00000000-0000-0000-0000-000000000004', 't', 'k2', 1, 'update_update', '["a"]', '{{"a":1}}', '{{"a":2}}', 'CLOUD_WINS', '', '', 2, 0, 'venue', 1),
            ('00000000-0000-0000-0000-000000000005', 't', 'k4', 1, 'unique', '[]', NULL, '{{"id":"k4"}}', 'PENDING', '', '', 1, 1, 'venue', 1);"#
    ))
    .await;
    let all = edits(&site, EditQuery::default()).await;
    let expected = [
        r#"waiting update t/k1 {"a":[1,10],"b":["one","mine"]}"#,
        r#"waiting delete t/k3 {"a":[3,null],"b":["three",null],"id":["k3",null],"u":[null,null]}"#,
        r#"waiting insert t/k5 {"a":[null,"many"],"b":[null,null],"id":[null,"k5"],"u":[null,null]}"#,
        r#"sent insert t/k7 {"a":[null,7],"b":[null,null],"id":[null,"k7"],"u":[null,null]}"#,
        r#"held insert t/k4 {"a":[null,4],"b":[null,"mine"],"id":[null,"k4"],"u":[null,"u9"]}"#,
        r#"waiting update t/k2 {"b":["two","late"]}"#,
        r#"parked update t/k9 {"b":["two","late"]}"#,
        r#"parked insert gone/g {"id":[null,"g"]}"#,
        r#"parked update t/k1 {"u":["u1","mine"]}"#,
        r#"parked delete t/k9 {"a":[9,null],"id":["k9",null]}"#,
    ];
    let mut shown = told(&all);
    let rows = shown.iter().position(|line| line.ends_with("late\"]}")).unwrap();
    shown[..rows].sort_by_key(|line| expected.iter().position(|expected| expected == line));
    assert_eq!(shown, expected);
    let counts = site.backend.edit_counts().await.unwrap();
    // k2, put back by hand, and k6, made and removed, count until somebody looks.
    assert_eq!(counts, EditCounts { waiting: 6, sent: 1, held: 1, parked: 4 });

    let by_state = async |state| told(&edits(&site, EditQuery { state: Some(state), ..EditQuery::default() }).await).len();
    assert_eq!(
        (
            by_state(EditState::Waiting).await,
            by_state(EditState::Sent).await,
            by_state(EditState::Held).await,
            by_state(EditState::Parked).await
        ),
        (4, 1, 1, 4)
    );
    let of = async |record: &str| {
        told(&edits(&site, EditQuery { table: Some("t".into()), record: Some(record.into()), ..EditQuery::default() }).await)
    };
    assert_eq!(of("k1").await, [expected[0], expected[8]], "one that waits, and one in a conflict");
    assert_eq!(of("k5").await, [expected[2]]);
    assert_eq!(of("k6").await, [""; 0]);
    let ann = edits(&site, EditQuery { by: Some("ann".into()), ..EditQuery::default() }).await;
    assert_eq!(told(&ann), [expected[5], expected[6]]);
    assert_eq!(ann[1].conflict.unwrap().0.as_u128(), 9);
    assert_eq!(all[0].edited_by.as_deref(), Some("site:venue"));
    assert!(all.iter().filter(|edit| edit.op == "delete" && edit.state == EditState::Waiting).all(|edit| edit.edited_at.is_some()));
}

#[tokio::test]
async fn a_record_that_is_in_the_cloud_says_so_when_it_is_asked() {
    let site = served().await;
    let of = async |record: &str| {
        let query = EditQuery { table: Some("t".into()), record: Some(record.into()), ..EditQuery::default() };
        told(&edits(&site, query).await)
    };
    assert_eq!(of("k1").await, ["cloud update t/k1 {}"]);
    assert_eq!(of("nobody").await, [""; 0]);
    site.plain("UPDATE t SET a = 5 WHERE id = 'k1'").await;
    assert_eq!(of("k1").await, [r#"waiting update t/k1 {"a":[1,5]}"#]);
}

#[tokio::test]
async fn an_edit_of_thousands_of_rows_is_read_in_pages_past_those_that_are_none() {
    let site = served().await;
    site.plain(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) INSERT INTO t (id, a) SELECT printf('n%05d', i), i FROM n;
         DELETE FROM t WHERE id BETWEEN 'n00100' AND 'n00900'; UPDATE c SET x = 5;",
    )
    .await;
    let mut query = EditQuery { limit: 150, ..EditQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = site.backend.local_edits(&query).await.unwrap();
        seen.extend(page.iter().map(|edit| edit.record_id.clone()));
        if page.len() < query.limit {
            break;
        }
        query.after = page.last().map(|edit| edit.place.clone());
    }
    let number = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((number, seen.len()), (399 + 2, 401));
}

#[tokio::test]
async fn an_edit_of_what_the_schema_no_longer_has_is_shown_by_its_old_name() {
    let site = served().await;
    site.plain(
        "UPDATE t SET a = 10 WHERE id = 'k1'; UPDATE t SET a = 20, b = 'kept' WHERE id = 'k2'; INSERT INTO t (id, a) VALUES ('k5', 5);
         INSERT INTO c (id, t, x) VALUES ('g', 'k1', 7); UPDATE c SET x = 3 WHERE id = 'c2'",
    )
    .await;
    let before = site.db.catalog().unwrap();
    let mut after = (*before).clone();
    after.version.0 += 1;
    after.tables[0].columns.remove(1);
    after.tables.remove(1);
    let (built, after) = (after.clone(), Arc::new(after));
    site.db.apply(move |connection| install(connection, Some(&before), &built, "venue")).await.map_err(|error: StoreError| error).unwrap();
    site.db.set_catalog(after);
    let mut shown = told(&edits(&site, EditQuery::default()).await);
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            r#"waiting insert c/g {"id":[null,"g"],"t":[null,"k1"],"x":[null,7]}"#,
            r#"waiting insert t/k5 {"a":[null,5],"b":[null,null],"id":[null,"k5"],"u":[null,null]}"#,
            r#"waiting update c/c2 {"x":[2,3]}"#,
            r#"waiting update t/k1 {"a":[1,10]}"#,
            r#"waiting update t/k2 {"a":[2,20],"b":["two","kept"]}"#,
        ]
    );
    assert_eq!(site.backend.edit_counts().await.unwrap().waiting, 5);
    assert_eq!(edits(&site, EditQuery { table: Some("c".into()), ..EditQuery::default() }).await.len(), 2);
    let k1 = EditQuery { table: Some("t".into()), record: Some("k1".into()), ..EditQuery::default() };
    assert_eq!(told(&edits(&site, k1).await), [r#"waiting update t/k1 {"a":[1,10]}"#]);
}
