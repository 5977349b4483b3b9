//! References that only `rejoin.toml` declares: comments on assets, work orders and people, told apart by their kind, with the key as text.

use cloud_server::store::conflicts::{besides, resolve};
use conflict_ui_api::backend::Conflict;
use serde_json::json;
use sync_core::change::RowChange;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::deciding::{command, open};
use crate::site::{Site, id, verdict, verdicts};

const SCHEMA: &str = "
    CREATE TABLE assets (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, name text UNIQUE);
    CREATE TABLE work_orders (id integer PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, title text);
    CREATE TABLE people (id text PRIMARY KEY, name text);
    CREATE TABLE comments (id text PRIMARY KEY, entity_type text NOT NULL, entity_id text, author_id text, note text);
    CREATE INDEX ON comments (entity_type, entity_id);
";

/// Comments on an asset go with it, those on a work order lose it, and of a person no comment may be left.
const SETTINGS: &str = r#"
root = "productions"
global = ["kinds", "people"]
[tables.comments]
scope_through = ["entity_id"]
references = [
  { columns = ["entity_id"], kind = "entity_type", tables = { asset = "assets" }, on_delete = "cascade" },
  { columns = ["entity_id"], kind = "entity_type", tables = { work_order = "work_orders" }, on_delete = "set_null" },
  { columns = ["author_id"], table = "people" },
]
"#;

async fn start() -> Cloud {
    let cloud = Cloud::start().await;
    cloud.run(SCHEMA).await;
    let cloud = cloud.prepared_with(SETTINGS).await;
    cloud.production(&id('p', 1), &[]).await;
    cloud.production(&id('p', 2), &[]).await;
    cloud
}

async fn rows(cloud: &Cloud) {
    let (p1, p2, a1, a2) = (id('p', 1), id('p', 2), id('a', 1), id('a', 2));
    cloud
        .run(&format!(
            "INSERT INTO assets VALUES ('{a1}', '{p1}', 'one'), ('{a2}', '{p2}', 'two');
             INSERT INTO work_orders VALUES (7, '{p1}', 'seven');
             INSERT INTO people VALUES ('ann', 'Ann'), ('7', 'Seven');
             INSERT INTO comments VALUES ('a', 'asset', '{a1}', 'ann', 'x'), ('o', 'work_order', '7', NULL, 'y')"
        ))
        .await;
}

fn comment(site: &Site<'_>, id: &str, kind: &str, entity: &str) -> RowChange {
    site.insert("comments", &json!({"id": id, "entity_type": kind, "entity_id": entity, "note": "hi"}))
}

async fn scope(cloud: &Cloud, comment: &str) -> String {
    cloud.one(&format!("SELECT rejoin_scope FROM comments WHERE id = '{comment}'")).await
}

/// The comments as `id=entity`.
async fn left(cloud: &Cloud) -> String {
    cloud.one("SELECT coalesce(string_agg(id || '=' || coalesce(entity_id, '-'), ' ' ORDER BY id), '') FROM comments").await
}

async fn only(cloud: &Cloud) -> Conflict {
    let mut all = open(cloud).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test]
async fn rows_of_a_kind_come_after_the_row_that_they_name_and_stand_in_its_scope() {
    let cloud = start().await;
    let p = id('p', 1);
    let mut site = cloud.site("a", &[&p]).await;
    let asset = site.insert("assets", &json!({"id": id('a', 5), "production_id": p, "name": "new"}));
    let order = site.insert("work_orders", &json!({"id": 12, "production_id": p, "title": "new"}));
    let rows = vec![comment(&site, "c1", "asset", &id('a', 5)), comment(&site, "c2", "work_order", "12"), asset, order];
    assert_eq!(verdicts(&site.push(rows).await), ["exact"; 4], "{:?}", site.reasons().await);
    for comment in ["c1", "c2"] {
        assert_eq!(scope(&cloud, comment).await, format!("productions/{p}"));
    }
    // Another kind is another row, in another scope; the site does not hold that one.
    rows_of_two(&cloud).await;
    let moved = site.update("comments", "c1", &json!({"entity_id": id('a', 2)}));
    assert_eq!(verdict(&site.push_one(moved).await), "parked");
    let moved = site.update("comments", "c1", &json!({"entity_type": "work_order", "entity_id": "12"}));
    assert_eq!(verdict(&site.push_one(moved).await), "exact", "{:?}", site.reasons().await);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

async fn rows_of_two(cloud: &Cloud) {
    cloud.run(&format!("INSERT INTO assets VALUES ('{}', '{}', 'two')", id('a', 2), id('p', 2))).await;
}

#[tokio::test]
async fn what_names_a_row_that_was_refused_hangs_from_its_conflict() {
    let cloud = start().await;
    rows(&cloud).await;
    let p = id('p', 1);
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let twin = site.insert("assets", &json!({"id": id('a', 9), "production_id": p, "name": "one"}));
    let rows = vec![comment(&site, "c1", "asset", &id('a', 9)), twin, comment(&site, "c2", "asset", &id('a', 1))];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "exact"], "{:?}", site.reasons().await);
    // One that comes later hangs from it too.
    let later = comment(&site, "c3", "asset", &id('a', 9).to_uppercase());
    assert_eq!(verdict(&site.push_one(later).await), "held");
    let root = open(&cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    assert_eq!(root.dependents, 2, "{:?}", site.reasons().await);
    let values = vec![(cloud.table("assets").column_named("name").unwrap().no, Value::Text("free".to_owned()))];
    let manual = ResolveCommand { values, ..command(&root, Resolution::Manual) };
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!((open(&cloud).await.len(), cloud.count("comments WHERE id IN ('c1', 'c3')").await), (0, 2));
    assert_eq!(scope(&cloud, "c1").await, format!("productions/{p}"));
}

#[tokio::test]
async fn what_names_no_row_is_refused_only_where_its_scope_hangs_from_it() {
    let cloud = start().await;
    rows(&cloud).await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    cloud.run(&format!("DELETE FROM assets WHERE id = '{}'", id('a', 1))).await;
    let rows = vec![
        comment(&site, "c1", "asset", &id('a', 1)),
        comment(&site, "c2", "other", "7"),
        site.insert("comments", &json!({"id": "c3", "entity_type": "work_order", "entity_id": "7", "author_id": "nobody"})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "exact"]);
    let reasons = site.reasons().await;
    assert!(
        reasons.iter().any(|reason| reason.starts_with("foreign_key") && reason.contains("entity_id names a row of assets")),
        "{reasons:?}"
    );
    assert!(reasons.iter().any(|reason| reason.starts_with("rejected")), "{reasons:?}");
    assert_eq!(cloud.count("comments WHERE rejoin_scope = 'nowhere'").await, 0);
}

#[tokio::test]
async fn a_row_that_unseen_rows_name_is_not_deleted_and_neither_are_those_that_go_with_it() {
    let cloud = start().await;
    rows(&cloud).await;
    let (p, a) = (id('p', 1), id('a', 1));
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run(&format!("INSERT INTO comments VALUES ('late', 'asset', '{}', NULL, 'z')", a.to_uppercase())).await;
    let answers = site.push(vec![site.delete("assets", &a), site.delete("comments", "a")]).await;
    assert_eq!(verdicts(&answers), ["parked", "parked"]);
    assert_eq!(answers[0].verdict, answers[1].verdict, "one conflict");
    let conflict = only(&cloud).await;
    assert_eq!(conflict.kind, ConflictKind::DeleteUpdate);
    // Decided for the site, it goes with all that hangs from it.
    let shown = besides(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap();
    assert_eq!(shown.total, 2, "{shown:?}");
    let whole = ResolveCommand { besides: shown.digest, ..command(&conflict, Resolution::LocalWins) };
    resolve(&cloud.db, &cloud.catalog, "eve", &whole).await.unwrap();
    assert_eq!(left(&cloud).await, "o=7");
    site.pull().await;
    site.assert_same_as_cloud().await;
    // With all that names it, in one push, children first.
    assert_eq!(verdicts(&site.push(vec![site.delete("work_orders", "7"), site.delete("comments", "o")]).await), ["exact", "exact"]);
}

#[tokio::test]
async fn plain_sql_keeps_their_delete_rules_and_they_follow_a_changed_key() {
    let cloud = start().await;
    rows(&cloud).await;
    let mut site = cloud.site("a", &["*"]).await;
    site.pull().await;
    cloud.run(&format!("INSERT INTO comments VALUES ('A', 'asset', '{}', NULL, 'z')", id('a', 1).to_uppercase())).await;
    let error = cloud.sql.batch_execute("DELETE FROM people WHERE id IN ('ann', '7')").await.unwrap_err();
    let said = error.as_db_error().unwrap();
    assert_eq!((said.code().code(), said.table()), ("23503", Some("comments")));
    assert!(said.message().starts_with("update or delete on table \"people\" violates foreign key constraint"), "{said:?}");
    assert_eq!(said.detail(), Some("Key (id)=(ann) is still referenced from table \"comments\"."));

    cloud.run("UPDATE work_orders SET id = CASE id WHEN 7 THEN 70 ELSE id END; UPDATE people SET id = id || '!'").await;
    assert_eq!(cloud.one::<String>("SELECT author_id FROM comments WHERE id = 'a'").await, "ann!");
    assert_eq!(cloud.one::<String>("SELECT entity_id FROM comments WHERE id = 'o'").await, "70");

    // Keys that change places in one statement are followed all the same.
    cloud
        .run(&format!(
            "INSERT INTO work_orders VALUES (80, '{}', 'eighty'); INSERT INTO comments VALUES ('e', 'work_order', '80')",
            id('p', 2)
        ))
        .await;
    cloud.run("ALTER TABLE work_orders DROP CONSTRAINT work_orders_pkey, ADD PRIMARY KEY (id) DEFERRABLE").await;
    cloud.run("UPDATE work_orders SET id = 150 - id").await;
    assert_eq!(
        cloud.one::<String>("SELECT string_agg(id || entity_id, ' ' ORDER BY id) FROM comments WHERE entity_type = 'work_order'").await,
        "e70 o80"
    );
    assert_eq!(scope(&cloud, "e").await, format!("productions/{}", id('p', 2)));

    cloud.run("DELETE FROM work_orders").await;
    cloud.run("DELETE FROM assets").await;
    assert_eq!(left(&cloud).await, "e=- o=-");
    assert_eq!(cloud.one::<String>("SELECT string_agg(DISTINCT entity_type, ' ') FROM comments").await, "work_order", "the kind stays");
    assert_eq!(scope(&cloud, "o").await, "nowhere");
    site.pull().await;
    site.assert_same_as_cloud().await;
    assert!(!site.has("comments", "o") && !site.has("comments", "a"));
}

#[tokio::test]
async fn rows_that_became_one_take_what_names_them_along() {
    let cloud = start().await;
    rows(&cloud).await;
    let (p, mine) = (id('p', 1), id('a', 9));
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![site.insert("assets", &json!({"id": mine, "production_id": p, "name": "one"})), comment(&site, "c1", "asset", &mine)];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held"]);
    let root = open(&cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    let same = ResolveCommand { way: Way::SameRow, ..command(&root, Resolution::CloudWins) };
    resolve(&cloud.db, &cloud.catalog, "eve", &same).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT entity_id FROM comments WHERE id = 'c1'").await, id('a', 1));
    // What still names the lost row by a later push is taken as if it named that one; one of another kind is not.
    let late = site.push(vec![comment(&site, "c2", "asset", &mine)]).await;
    assert_eq!(verdicts(&late), ["image"], "{:?}", site.reasons().await);
    assert_eq!(cloud.one::<String>("SELECT entity_id FROM comments WHERE id = 'c2'").await, id('a', 1));
}
