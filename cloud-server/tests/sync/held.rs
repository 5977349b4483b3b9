//! Rows that the cloud could not take: held at their site with what hangs from them, offered again, decided.

use cloud_server::store::conflicts::resolve;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::change::Verdict;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::deciding::{clashed, column, command, decide, open, source};
use crate::site::{id, verdict, verdicts};

#[tokio::test]
async fn local_wins_on_a_unique_clash_replaces_the_cloud_row() {
    let cloud = Cloud::start().await;
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&theirs]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![source(&site, &mine, &p, 1), site.insert("outputs", &json!({"source_id": mine, "port": "7", "label": "hangs"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held"]);
    let conflicts = open(&cloud).await;
    let unique = conflicts.iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    assert_eq!(unique.cloud_data.as_ref().unwrap()["id"], json!(theirs));
    decide(&cloud, unique, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT id::text FROM sources").await, mine);
    // What was held because of it came in with it.
    assert_eq!(cloud.one::<String>("SELECT label FROM outputs").await, "hangs");
    assert_eq!(open(&cloud).await.len(), 0);
}

#[tokio::test]
async fn local_wins_deletes_no_row_but_the_one_that_the_conflict_shows() {
    let mut cloud = Cloud::start().await;
    cloud.run("ALTER TABLE sources ADD CONSTRAINT sources_name UNIQUE (name)").await;
    cloud = cloud.prepared_again().await;
    let (p, shown, unseen, mine) = (id('p', 1), id('s', 1), id('s', 2), id('s', 3));
    cloud.production(&p, &[&shown, &unseen]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let row = json!({"id": mine, "production_id": p, "name": "s2", "slot": 1, "number": 1});
    let row = site.insert("sources", &row);
    assert_eq!(verdict(&site.push_one(row).await), "held");
    let conflict = open(&cloud).await.remove(0);
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    let Err(BackendError::Undecidable(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("MANUAL"), "{reason}");
    assert_eq!(cloud.count("sources").await, 2, "neither is deleted");

    // A row of another tenant has the value: its site may not read it, so its conflict names none.
    let (q, other) = (id('p', 2), id('p', 3));
    cloud.run(&format!("INSERT INTO productions (id, name, code) VALUES ('{other}', 'theirs', 'X')")).await;
    let mut site = cloud.site("b", &[]).await;
    let row = site.insert("productions", &json!({"id": q, "name": "mine", "code": "X"}));
    assert_eq!(verdict(&site.push_one(row).await), "held");
    let conflict = open(&cloud).await.into_iter().find(|conflict| conflict.site == "b").unwrap();
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    assert!(matches!(refused, Err(BackendError::Undecidable(_))), "{refused:?}");
    assert_eq!(cloud.count(&format!("productions WHERE id = '{other}'")).await, 1);
}

#[tokio::test]
async fn manual_on_a_unique_clash_renames_mine_and_a_new_root_is_granted_then() {
    let cloud = Cloud::start().await;
    cloud.production(&id('p', 1), &[]).await;
    cloud.run("UPDATE productions SET code = 'X'").await;
    let mut site = cloud.site("a", &[]).await;
    let (p, s) = (id('p', 2), id('s', 1));
    let rows = vec![site.insert("productions", &json!({"id": p, "name": "mine", "code": "X"})), source(&site, &s, &p, 1)];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held"]);
    let conflicts = open(&cloud).await;
    let unique = conflicts.iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    let mut manual = command(unique, Resolution::Manual);
    manual.values = vec![(cloud.table("productions").column_named("code").unwrap().no, Value::Text("Y".into()))];
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.count("sources").await, 1, "its source came in with it");
    let pulled = site.pull().await;
    assert!(pulled.rows.contains(&("productions".to_owned(), p)), "{pulled:?}");
}

#[tokio::test]
async fn a_held_row_offered_again_closes_its_conflict_when_it_is_accepted() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 2));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, 1)).await), "held");
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, -1)).await), "held");
    assert_eq!(open(&cloud).await[0].revision, 2);
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, 2)).await), "exact");
    assert_eq!(open(&cloud).await.len(), 0);
    let closed = cloud.one::<String>("SELECT resolution || ' ' || resolved_by FROM rejoin.sync_conflicts").await;
    assert_eq!(closed, "LOCAL_WINS site:a");
}

#[tokio::test]
async fn h23_rows_that_hang_from_a_held_row_are_held_too_also_where_a_stranger_has_its_key() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    // The cloud has another row under this key; a plain look at the reference would find it.
    let rows = vec![source(&site, &s, &p, 2), site.insert("outputs", &json!({"source_id": s, "port": "1", "label": "mine"}))];
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), ["parked", "held"], "the cloud's row takes the key, mine is kept in the conflict");
    assert_eq!(cloud.count("outputs").await, 0);
    let kinds: Vec<String> = cloud.one("SELECT array_agg(kind ORDER BY kind) FROM rejoin.sync_conflicts").await;
    assert_eq!(kinds, ["foreign_key", "insert_insert"]);
    // An existing row that is made to refer to a held one waits with it.
    site.pull().await;
    let rows = vec![
        site.insert("kinds", &json!({"id": "k", "label": "x"})),
        source(&site, &id('s', 5), &p, 1),
        site.update("sources", &s, &json!({"above": id('s', 5)})),
    ];
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), ["exact", "held", "parked"]);
}

#[tokio::test]
async fn a_decision_that_a_constraint_refuses_changes_nothing() {
    let cloud = Cloud::start().await;
    let (_, conflict) = clashed(&cloud).await;
    let mut manual = command(&conflict, Resolution::Manual);
    manual.values = vec![(column(&cloud, "slot"), Value::Int(-1))];
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &manual).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("check")), "{refused:?}");
    manual.values = vec![(column(&cloud, "slot"), Value::Text("seven".into()))];
    assert!(matches!(resolve(&cloud.db, &cloud.catalog, "eve", &manual).await, Err(BackendError::Undecidable(_))));
    let none = ResolveCommand { conflict: sync_core::id::ConflictId(uuid::Uuid::nil()), ..manual };
    assert!(matches!(resolve(&cloud.db, &cloud.catalog, "eve", &none).await, Err(BackendError::NotFound(_))));
    assert_eq!(open(&cloud).await[0].revision, 1);
}

#[tokio::test]
async fn rh18_a_reoffered_insert_onto_a_tombstone_parks() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    cloud.run("DELETE FROM sources").await;
    let mut push = site.next_push(vec![source(&site, &s, &p, 1)]);
    push.reoffer = true;
    let answer = site.push_whole(&push).await;
    let sync_core::wire::message::PushResult::Applied { rows, .. } = answer.result else { panic!() };
    assert!(matches!(rows[0].verdict, Verdict::Held(_)));
    assert_eq!(cloud.count("sources").await, 0);
}
