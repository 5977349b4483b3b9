//! What hangs from a held row: trees, circles, long chains, and what becomes of it when its root is decided.

use cloud_server::store::conflicts::{dependents, resolve};
use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::change::RowChange;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::deciding::{column, command, decide, open, source};
use crate::site::{Site, id, verdicts};
use crate::undo::undo;

fn below(site: &Site<'_>, production: &str, no: u32, above: u32) -> RowChange {
    let values = json!({"id": id('s', no), "production_id": production, "name": format!("s{no}"), "slot": no, "number": no, "above": id('s', above)});
    site.insert("sources", &values)
}

async fn root(cloud: &Cloud) -> Conflict {
    open(cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap()
}

/// The root decided with another slot.
async fn moved(cloud: &Cloud, root: &Conflict, slot: i64) -> Conflict {
    let values = vec![(column(cloud, "slot"), Value::Int(slot))];
    let manual = ResolveCommand { values, ..command(root, Resolution::Manual) };
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap()
}

#[tokio::test]
async fn a_long_chain_comes_in_with_its_root_and_goes_with_it() {
    const LENGTH: u32 = 60;
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // The last one first, so that no order of arrival helps; the root wants a slot that is taken.
    let mut rows: Vec<RowChange> = (11..10 + LENGTH).rev().map(|no| below(&site, &p, no, no - 1)).collect();
    rows.push(source(&site, &id('s', 10), &p, 1));
    assert!(verdicts(&site.push(rows).await).iter().all(|verdict| *verdict == "held"));
    let top = root(&cloud).await;
    assert_eq!(top.dependents, u64::from(LENGTH) - 1);
    let tree = dependents(&cloud.db.client().await.unwrap(), &cloud.catalog, top.id).await.unwrap();
    assert_eq!(tree.iter().map(|dependent| dependent.depth).collect::<Vec<_>>(), (1..LENGTH).collect::<Vec<_>>());
    assert_eq!((tree[0].parent, tree[1].parent), (top.id, tree[0].id));

    let done = moved(&cloud, &top, 500).await;
    assert_eq!((cloud.count("sources").await, open(&cloud).await.len()), (i64::from(LENGTH) + 1, 0));
    site.pull().await;
    site.assert_same_as_cloud().await;
    let again = undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.count("sources").await, open(&cloud).await.len()), (1, 60));
    decide(&cloud, &again, Resolution::CloudWins).await;
    assert_eq!(open(&cloud).await.len(), 0);
    assert_eq!(cloud.count("rejoin.sync_conflicts WHERE resolution = 'CLOUD_WINS' AND local_data ->> 'name' LIKE 's%'").await, 60);
}

#[tokio::test]
async fn rows_that_refer_to_each_other_come_in_together() {
    let cloud = Cloud::start().await;
    cloud.production(&id('p', 1), &[]).await;
    cloud.run("UPDATE productions SET code = 'X'").await;
    let mut site = cloud.site("a", &[]).await;
    let (p, s, t) = (id('p', 2), id('s', 1), id('s', 2));
    // The production's main source is one of its own, and two sources stand above each other.
    let twin = |own: &str, above: &str, slot: i64| json!({"id": own, "production_id": p, "name": "x", "slot": slot, "number": slot, "above": above});
    let rows = vec![
        site.insert("productions", &json!({"id": p, "name": "mine", "code": "X", "main_source": s})),
        site.insert("sources", &twin(&s, &t, 1)),
        site.insert("sources", &twin(&t, &s, 2)),
        site.insert("outputs", &json!({"source_id": t, "port": "1", "label": "o"})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held", "held"]);
    let top = root(&cloud).await;
    let tree = dependents(&cloud.db.client().await.unwrap(), &cloud.catalog, top.id).await.unwrap();
    assert_eq!(tree.iter().map(|dependent| dependent.depth).collect::<Vec<_>>(), [1, 1, 2]);
    let code = cloud.table("productions").column_named("code").unwrap().no;
    let manual = ResolveCommand { values: vec![(code, Value::Text("Y".into()))], ..command(&top, Resolution::Manual) };
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!((cloud.count("sources WHERE above IS NOT NULL").await, cloud.count("outputs").await, open(&cloud).await.len()), (2, 1, 0));
    assert_eq!(cloud.count(&format!("productions WHERE main_source = '{s}'")).await, 1);
    site.pull().await;
    site.assert_same_as_cloud().await;
    undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.count("productions").await, cloud.count("sources").await, open(&cloud).await.len()), (1, 0, 4));
}

#[tokio::test]
async fn what_still_does_not_fit_becomes_a_conflict_of_its_own_with_all_that_hangs_from_it() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1), &id('s', 2)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // 10 wants slot 1; below it 11, which wants slot 2, with an output, and 12, which is fine.
    let mut eleven = below(&site, &p, 11, 10);
    if let sync_core::change::Op::Insert(values) = &mut eleven.op {
        values.iter_mut().find(|(no, _)| *no == column(&cloud, "slot")).unwrap().1 = Value::Int(2);
    }
    let output = site.insert("outputs", &json!({"source_id": id('s', 11), "port": "1", "label": "o"}));
    let rows = vec![source(&site, &id('s', 10), &p, 1), eleven, output, below(&site, &p, 12, 10)];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held", "held"]);
    moved(&cloud, &root(&cloud).await, 10).await;
    let rest = open(&cloud).await;
    assert_eq!(rest.len(), 2);
    let (mine, hanging): (Vec<_>, Vec<_>) = rest.into_iter().partition(|conflict| conflict.root.is_none());
    assert_eq!((mine[0].kind, mine[0].record_id.as_str()), (ConflictKind::Unique, id('s', 11).as_str()));
    assert!(mine[0].reason.contains("slot"), "{}", mine[0].reason);
    assert_eq!(mine[0].cloud_data.as_ref().unwrap()["id"], json!(id('s', 2)));
    assert!(mine[0].cloud_etag.is_some());
    assert_eq!(hanging[0].root, Some(mine[0].id));
    assert_eq!(mine[0].dependents, 1);
    moved(&cloud, &mine[0], 11).await;
    assert_eq!((open(&cloud).await.len(), cloud.count("outputs").await), (0, 1));
}

#[tokio::test]
async fn a_dropped_root_leaves_edits_of_other_rows_as_conflicts_of_their_own() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![source(&site, &id('s', 5), &p, 1), site.update("sources", &s, &json!({"above": id('s', 5), "name": "mine"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "parked"]);
    decide(&cloud, &root(&cloud).await, Resolution::CloudWins).await;
    let rest = open(&cloud).await;
    assert_eq!((rest.len(), rest[0].root, rest[0].local_data.as_ref().unwrap()["name"].clone()), (1, None, json!("mine")));
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&rest[0], Resolution::LocalWins)).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("above")), "{refused:?}");
    let above = vec![(column(&cloud, "above"), Value::Null), (column(&cloud, "name"), Value::Text("mine".into()))];
    let manual = ResolveCommand { values: above, ..command(&rest[0], Resolution::Manual) };
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "mine");
}

#[tokio::test]
async fn of_two_who_decide_at_once_one_wins() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.push_one(source(&site, &id('s', 5), &p, 1)).await;
    let conflict = open(&cloud).await.remove(0);
    let choice =
        |slot: i64| ResolveCommand { values: vec![(column(&cloud, "slot"), Value::Int(slot))], ..command(&conflict, Resolution::Manual) };
    let (seven, eight) = (choice(7), choice(8));
    let (left, right) = tokio::join!(resolve(&cloud.db, &cloud.catalog, "ann", &seven), resolve(&cloud.db, &cloud.catalog, "eve", &eight));
    let (won, lost) = if left.is_ok() { (left, right) } else { (right, left) };
    let won = won.unwrap();
    assert!(matches!(&lost, Err(BackendError::Outdated(now)) if now.resolved_by == won.resolved_by), "{lost:?}");
    assert_eq!((cloud.count("sources").await, cloud.count("rejoin.resolutions").await), (2, 1));
}

#[tokio::test]
async fn what_was_refused_for_its_scope_or_a_check_comes_in_once_the_cause_is_gone() {
    let cloud = Cloud::start().await;
    let (p, q) = (id('p', 1), id('p', 2));
    cloud.production(&p, &[]).await;
    cloud.production(&q, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let orphan = source(&site, &id('s', 3), &id('p', 9), 3);
    let rows = vec![source(&site, &id('s', 1), &q, 1), source(&site, &id('s', 2), &p, -2), orphan];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held"]);
    let find = async |kind| open(&cloud).await.into_iter().find(|conflict| conflict.kind == kind).unwrap();
    // Not allowed for the site, allowed for a person at the cloud.
    let rejected = find(ConflictKind::Rejected).await;
    assert!(matches!(site.command(command(&rejected, Resolution::LocalWins)).await, sync_core::wire::message::CommandAnswer::Refused(_)));
    decide(&cloud, &rejected, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT production_id::text FROM sources").await, q);
    // Refused again: told why, nothing is lost.
    let check = find(ConflictKind::Check).await;
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&check, Resolution::LocalWins)).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("slot")), "{refused:?}");
    cloud.run("ALTER TABLE sources DROP CONSTRAINT sources_slot_check").await;
    decide(&cloud, &check, Resolution::LocalWins).await;
    let missing = find(ConflictKind::ForeignKey).await;
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&missing, Resolution::LocalWins)).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(_))), "{refused:?}");
    cloud.production(&id('p', 9), &[]).await;
    decide(&cloud, &missing, Resolution::LocalWins).await;
    assert_eq!((cloud.count("sources").await, open(&cloud).await.len()), (3, 0));
}

#[tokio::test]
async fn values_that_the_table_cannot_hold_are_told_by_column() {
    let cloud = Cloud::start().await;
    let (_, conflict) = crate::deciding::clashed(&cloud).await;
    let refused = async |name: &str, value: Value| {
        let manual = ResolveCommand { values: vec![(column(&cloud, name), value)], ..command(&conflict, Resolution::Manual) };
        match resolve(&cloud.db, &cloud.catalog, "eve", &manual).await {
            Err(BackendError::Undecidable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused("name", Value::Null).await.contains("name is required"));
    assert!(refused("name", Value::Text("x".repeat(41))).await.contains("name holds at most 40"));
    assert!(refused("slot", Value::Bool(true)).await.contains("slot takes"));
    assert!(refused("id", Value::Uuid(uuid::Uuid::nil())).await.contains("id is part of the row's key"));
    assert!(refused("kind", Value::Text("none".into())).await.contains("kind names a row of kinds"));
    assert_eq!(open(&cloud).await[0].revision, 1);
}
