//! Conflicts whose values or columns the schema of now does not have: nothing is half done, and each says why it stays.

use cloud_server::store::conflicts::resolve;
use conflict_ui_api::backend::Conflict;
use serde_json::json;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::decisions::{decide, open_all};
use crate::site::{id, verdict, verdicts};

/// Decides that a conflict's two rows are one.
async fn same_row(cloud: &Cloud, conflict: &Conflict) {
    let command = ResolveCommand {
        conflict: conflict.id,
        revision: conflict.revision,
        cloud_etag: conflict.cloud_etag.clone(),
        resolution: Resolution::CloudWins,
        values: Vec::new(),
        by: "eve".to_owned(),
        way: Way::SameRow,
        besides: None,
    };
    resolve(&cloud.db, &cloud.catalog, "eve", &command).await.unwrap();
}

#[tokio::test]
async fn what_hangs_from_a_row_that_is_another_one_and_no_longer_fits_says_so_and_can_be_decided() {
    let cloud = Cloud::start().await;
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&theirs]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let output = |port: &str, label: &str| site.insert("outputs", &json!({"source_id": mine, "port": port, "label": label}));
    let source = json!({"id": mine, "production_id": p, "name": "mine", "slot": 1, "number": 1});
    let rows = vec![site.insert("sources", &source), output("1", "one"), output("2", "22")];
    assert_eq!(verdicts(&site.push(rows).await), ["held"; 3]);
    cloud.without_triggers("outputs").await;
    cloud.run("ALTER TABLE outputs ALTER label TYPE integer USING label::integer").await;
    let cloud = cloud.prepared_again().await;
    let unique = open_all(&cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    same_row(&cloud, &unique).await;
    let outputs = "SELECT string_agg(concat_ws(' ', source_id, port, label), ', ' ORDER BY port) FROM outputs";
    assert_eq!(cloud.one::<String>(outputs).await, format!("{theirs} 2 22"));
    let left = open_all(&cloud).await;
    let [left] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!((left.kind, left.columns.as_slice()), (ConflictKind::Schema, &["label".to_owned()][..]));
    assert_eq!(left.reason, "label takes an integer from -2147483648 to 2147483647 now");
    assert_eq!(left.local_data.as_ref().unwrap()["source_id"], json!(theirs));
    let refused = decide(&cloud, left.id, left.cloud_etag.clone(), Resolution::LocalWins, Vec::new()).await;
    assert!(refused.unwrap_err().to_string().contains("label cannot hold what the site gave it any more"));
    let label = cloud.table("outputs").column_named("label").unwrap().no;
    decide(&cloud, left.id, left.cloud_etag.clone(), Resolution::Manual, vec![(label, Value::Int(11))]).await.unwrap();
    assert_eq!(cloud.one::<String>(outputs).await, format!("{theirs} 1 11, {theirs} 2 22"));
    assert_eq!(open_all(&cloud).await.len(), 0);
}

#[tokio::test]
async fn what_hangs_from_a_decided_row_and_has_no_key_any_more_says_so() {
    let cloud = Cloud::start().await;
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&theirs]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let source = json!({"id": mine, "production_id": p, "name": "mine", "slot": 1, "number": 1});
    let rows = vec![site.insert("sources", &source), site.insert("outputs", &json!({"source_id": mine, "port": "front", "label": "o"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["held"; 2]);
    cloud.without_triggers("outputs").await;
    cloud.run("ALTER TABLE outputs ALTER port TYPE integer USING port::integer").await;
    let cloud = cloud.prepared_again().await;
    let unique = open_all(&cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    same_row(&cloud, &unique).await;
    let left = open_all(&cloud).await.remove(0);
    assert!(left.reason.contains("is no key of the table by now"), "{}", left.reason);
    assert!(cloud.one::<bool>("SELECT root_id IS NULL FROM rejoin.sync_conflicts WHERE resolution = 'PENDING'").await);
    decide(&cloud, left.id, None, Resolution::CloudWins, Vec::new()).await.unwrap();
    assert_eq!(open_all(&cloud).await.len(), 0);
}

#[tokio::test]
async fn a_delete_is_carried_out_though_a_column_that_the_cloud_had_changed_is_gone() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let delete = site.delete("sources", &s);
    cloud.run("UPDATE sources SET width = 1, height = 1").await;
    assert_eq!(verdict(&site.push_one(delete).await), "parked");
    cloud.run("ALTER TABLE sources DROP COLUMN height").await;
    let cloud = cloud.prepared_again().await;
    let conflict = open_all(&cloud).await.remove(0);
    assert_eq!(conflict.kind, ConflictKind::DeleteUpdate);
    decide(&cloud, conflict.id, conflict.cloud_etag, Resolution::LocalWins, Vec::new()).await.unwrap();
    assert_eq!(cloud.one::<i64>("SELECT count(*) FROM sources").await, 0);
}

#[tokio::test]
async fn a_decision_of_which_a_column_was_dropped_is_refused_and_the_rest_can_be_written() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run("UPDATE sources SET width = 1, height = 1").await;
    let edit = site.update("sources", &s, &json!({"width": 2, "height": 3}));
    assert_eq!(verdict(&site.push_one(edit).await), "parked");
    cloud.run("ALTER TABLE sources DROP COLUMN height").await;
    let cloud = cloud.prepared_again().await;
    let conflict = open_all(&cloud).await.remove(0);
    let refused = decide(&cloud, conflict.id, conflict.cloud_etag.clone(), Resolution::LocalWins, Vec::new()).await;
    let words = "sources has no column height any more: write the site's width alone with MANUAL, or close the conflict with CLOUD_WINS";
    assert!(refused.unwrap_err().to_string().contains(words));
    assert_eq!(cloud.one::<i32>("SELECT width FROM sources").await, 1, "nothing is half done");
    let width = cloud.table("sources").column_named("width").unwrap().no;
    decide(&cloud, conflict.id, conflict.cloud_etag, Resolution::Manual, vec![(width, Value::Int(2))]).await.unwrap();
    assert_eq!(cloud.one::<i32>("SELECT width FROM sources").await, 2);
}
