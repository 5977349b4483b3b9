//! The order inside a push: swaps, replaced rows, moved children, renamed keys, circles.

use serde_json::json;
use sync_core::change::{Confirmed, RowChange, Verdict};

use crate::cloud::Cloud;
use crate::site::{Site, id, verdict, verdicts};

fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

#[tokio::test]
async fn h16a_swapped_unique_values_are_no_conflict() {
    let cloud = Cloud::start().await;
    let (p, a, b, c) = (id('p', 1), id('s', 1), id('s', 2), id('s', 3));
    cloud.production(&p, &[&a, &b, &c]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // A swap by a NOT NULL integer (slot), round three rows, and one by a text that may be NULL (code).
    let rows = vec![
        site.update("sources", &a, &json!({"slot": 2})),
        site.update("sources", &b, &json!({"slot": 3})),
        site.update("sources", &c, &json!({"slot": 1})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "exact"], "{:?}", site.reasons().await);
    let (p2, p3) = (id('p', 2), id('p', 3));
    let rows = vec![
        site.insert("productions", &json!({"id": p2, "name": "two", "code": "B"})),
        site.insert("productions", &json!({"id": p3, "name": "three", "code": "C"})),
    ];
    site.push(rows).await;
    let rows = vec![site.update("productions", &p2, &json!({"code": "C"})), site.update("productions", &p3, &json!({"code": "B"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"], "{:?}", site.reasons().await);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h16b_a_row_replaced_by_another_with_its_unique_value_is_no_conflict_and_the_tombstone_keeps_it() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&a]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![source(&site, &b, &p, 1), site.delete("sources", &a)];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"], "{:?}", site.reasons().await);
    assert_eq!(cloud.one::<i32>("SELECT (image ->> 'slot')::integer FROM rejoin.tombstones").await, 1);
}

#[tokio::test]
async fn h16b_where_the_replaced_row_has_to_stay_its_value_stays_taken() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&a]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', 'SDI', 'unseen')")).await;
    let rows = vec![source(&site, &b, &p, 1), site.delete("sources", &a)];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "parked"]);
    assert_eq!(cloud.one::<i32>("SELECT slot FROM sources").await, 1, "what was set aside is put right again");
    let reasons = site.reasons().await;
    assert!(reasons.iter().any(|reason| reason.starts_with("unique") && reason.contains("slot")), "{reasons:?}");
}

#[tokio::test]
async fn h16c_a_child_moved_away_outlives_its_deleted_parent() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&a, &b]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', 'SDI', 'out'); UPDATE sources SET above = '{a}' WHERE id = '{b}'")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        site.delete("sources", &a),
        site.rekey("outputs", &format!("{a},SDI"), &format!("{b},SDI"), &json!({})),
        site.update("sources", &b, &json!({"above": null})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "exact"], "{:?}", site.reasons().await);
    assert_eq!(cloud.one::<String>("SELECT source_id::text FROM outputs").await, b);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h16d_a_delete_is_not_cascaded_over_rows_its_author_never_saw() {
    let cloud = Cloud::start().await;
    let (p, a) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&a]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '1', 'one'), ('{a}', '2', 'two')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '3', 'unseen')")).await;
    let rows = vec![site.delete("outputs", &format!("{a},1")), site.delete("outputs", &format!("{a},2")), site.delete("sources", &a)];
    let answers = site.push(rows).await;
    // rb08: the children come back with their parent, as one conflict.
    assert_eq!(verdicts(&answers), ["parked", "parked", "parked"]);
    assert!(answers.iter().all(|answer| answer.verdict == answers[0].verdict), "{answers:?}");
    assert!(matches!(&answers[0].confirmed, Confirmed::Image(image) if image.row().is_some()));
    assert_eq!((cloud.count("outputs").await, cloud.count("rejoin.sync_conflicts").await), (3, 1));
    assert_eq!(
        site.reasons().await,
        [format!("delete_update sources {a}: 1 row of outputs that this delete does not name refer to the row")]
    );
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_delete_with_all_that_refers_to_the_row_is_taken_children_first() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&a, &b]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '1', 'one'); UPDATE sources SET above = '{a}' WHERE id = '{b}'")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        site.delete("productions", &p),
        site.delete("sources", &a),
        site.delete("outputs", &format!("{a},1")),
        site.delete("sources", &b),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "exact", "exact"], "{:?}", site.reasons().await);
    assert_eq!(cloud.count("productions").await, 0);
    assert_eq!(site.pull().await.gone.len(), 0, "the site has these deletes already");
}

#[tokio::test]
async fn a_child_that_changed_at_the_cloud_keeps_its_parent_too() {
    let cloud = Cloud::start().await;
    let (p, a) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&a]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '1', 'one'), ('{a}', '2', 'two')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run("UPDATE outputs SET label = 'changed' WHERE port = '1'").await;
    let rows = vec![site.delete("outputs", &format!("{a},1")), site.delete("outputs", &format!("{a},2")), site.delete("sources", &a)];
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), ["parked", "parked", "parked"]);
    assert_eq!(answers[1].verdict, answers[2].verdict, "the unchanged child stays with its parent");
    assert_eq!((cloud.count("outputs").await, cloud.count("sources").await), (2, 1));
}

#[tokio::test]
async fn h16e_a_changed_key_is_one_update_and_references_follow() {
    let cloud = Cloud::start().await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 9));
    cloud.production(&p, &[&a]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '1', 'one'), ('{a}', '2', 'two'), ('{a}', '3', 'three')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // Ports 1, 2 and 3 change places in a circle; a fourth row comes under a key that was given up.
    let key = |port: &str| format!("{a},{port}");
    let rows = vec![
        site.rekey("outputs", &key("1"), &key("2"), &json!({"label": "was one"})),
        site.rekey("outputs", &key("2"), &key("3"), &json!({})),
        site.rekey("outputs", &key("3"), &key("1"), &json!({})),
    ];
    let answers = site.push(rows).await;
    assert!(answers.iter().all(|answer| answer.verdict == Verdict::Accepted), "{answers:?} {:?}", site.reasons().await);
    let labels: Vec<String> = cloud.one("SELECT array_agg(label ORDER BY port) FROM outputs").await;
    assert_eq!(labels, ["three", "was one", "two"]);

    site.pull().await;
    let rows = vec![site.rekey("sources", &a, &b, &json!({"name": "new key"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact"], "{:?}", site.reasons().await);
    assert_eq!(cloud.one::<String>("SELECT DISTINCT source_id::text FROM outputs").await, b, "ON UPDATE CASCADE");
    assert_eq!(cloud.one::<String>("SELECT key[1] FROM rejoin.tombstones WHERE NOT left_scope AND cardinality(key) = 1").await, a);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h16f_rows_that_refer_to_each_other_in_a_circle_come_in_together() {
    let cloud = Cloud::start().await;
    let mut site = cloud.site("a", &[]).await;
    let (p, a, b) = (id('p', 1), id('s', 1), id('s', 2));
    let rows = vec![
        site.insert("productions", &json!({"id": p, "name": "p", "main_source": a})),
        site.insert("sources", &json!({"id": a, "production_id": p, "name": "a", "slot": 1, "above": b, "number": 1})),
        site.insert("sources", &json!({"id": b, "production_id": p, "name": "b", "slot": 2, "above": a, "number": 2})),
        // Its reference is checked at the end only.
        site.insert("marks", &json!({"id": "m", "production_id": p})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "exact", "exact"], "{:?}", site.reasons().await);
    assert_eq!(cloud.one::<String>("SELECT main_source::text FROM productions").await, a);
    // The other way round: an existing row is made to refer to a new one.
    let c = id('s', 3);
    let rows = vec![site.update("productions", &p, &json!({"main_source": c})), source(&site, &c, &p, 3)];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"], "{:?}", site.reasons().await);
}

#[tokio::test]
async fn a_rekey_onto_a_key_that_somebody_has_is_parked() {
    let cloud = Cloud::start().await;
    let (p, a) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&a]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '1', 'one')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{a}', '2', 'theirs')")).await;
    let answer = site.push_one(site.rekey("outputs", &format!("{a},1"), &format!("{a},2"), &json!({}))).await;
    assert_eq!(verdict(&answer), "parked");
    let Confirmed::Image(image) = &answer.confirmed else { panic!("{answer:?}") };
    assert_eq!(cloud.table("outputs").key_of(image.row().unwrap()).to_string(), format!("{a},1"), "the row itself, not the stranger's");
    assert_eq!(cloud.count("outputs").await, 2);
    assert!(site.reasons().await[0].starts_with("unique outputs"), "{:?}", site.reasons().await);
}
