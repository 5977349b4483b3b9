//! Additions, through real pushes: each counts once, whoever sends it again, whatever else parks.

use serde_json::{Value as Json, json};
use sync_core::change::{Addition, RowChange};
use sync_core::value::Value;
use sync_core::wire::codec::encode;
use sync_core::wire::message::Push;
use uuid::Uuid;

use crate::cloud::Cloud;
use crate::deciding::column;
use crate::policies::{ALL, GENERAL, cloud, losses, one};
use crate::site::{Site, id, verdict, verdicts};

fn adding(cloud: &Cloud, mut change: RowChange, additions: &[(&Uuid, i64)]) -> RowChange {
    let addition = |(id, amount): &(&Uuid, i64)| Addition { id: **id, column: column(cloud, "stock"), amount: Value::Int(*amount) };
    change.additions = additions.iter().map(addition).collect();
    change
}

/// An edit that only adds.
pub fn add(cloud: &Cloud, site: &Site<'_>, s: &str, additions: &[(&Uuid, i64)]) -> RowChange {
    adding(cloud, site.update("sources", s, &json!({})), additions)
}

pub async fn stock(cloud: &Cloud) -> i32 {
    cloud.one("SELECT stock FROM sources").await
}

#[tokio::test]
async fn an_addition_counts_once_whoever_sends_it_again() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "stock = 10").await;
    let restored = site.copy();
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let push = site.next_push(vec![add(&cloud, &site, &s, &[(&first, -3)])]);
    let body = encode(&push).unwrap();
    cloud.run("UPDATE sources SET stock = stock + 100").await;
    let before: i64 = cloud.one("SELECT rejoin_version FROM sources").await;
    let answer = site.send(&body).await.unwrap();
    assert_eq!(site.send(&body).await.unwrap(), answer);
    site.take_answer(&push, &body, &answer);
    assert_eq!(stock(&cloud).await, 107);
    assert!(cloud.one::<i64>("SELECT rejoin_version FROM sources").await > before, "a change like any other");
    assert_eq!(site.value("sources", &s, "stock"), json!(107));

    // A copy of the site's folder from before, as a new replica: the same addition, and another one.
    let mut copy = cloud.site("b", &[&id('p', 1)]).await;
    copy.rows = restored.rows;
    let rows = vec![add(&cloud, &copy, &s, &[(&first, -3), (&second, -5)])];
    let reoffer = Push { reoffer: true, ..copy.next_push(rows) };
    copy.push_whole(&reoffer).await;
    assert_eq!(stock(&cloud).await, 102);
    assert_eq!(copy.value("sources", &s, "stock"), json!(102), "it is told how much there is, since it cannot know");
    let rows = vec![add(&cloud, &copy, &s, &[(&first, -3), (&second, -5)])];
    let answers = copy.push(rows).await;
    assert_eq!((verdicts(&answers), stock(&cloud).await), (vec!["no-op"], 102));
    assert_eq!(losses(&cloud).await.len(), 0);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn an_addition_counts_though_other_columns_park() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "stock = 10, height = 1").await;
    let change = adding(&cloud, site.update("sources", &s, &json!({"height": 2})), &[(&Uuid::new_v4(), -4)]);
    cloud.run("UPDATE sources SET height = 3, stock = 11").await;
    let answer = site.push_one(change).await;
    assert_eq!((verdict(&answer), answer.clashed), ("parked", vec![column(&cloud, "height")]));
    assert_eq!(stock(&cloud).await, 7);
    let data: Json = cloud.one("SELECT base_data FROM rejoin.sync_conflicts").await;
    assert_eq!(data, json!({"height": 1}), "what was counted is not in the conflict");
}

#[tokio::test]
async fn an_addition_that_cannot_be_counted_stays_in_the_conflict_once() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "stock = 10").await;
    let images =
        "SELECT jsonb_build_array(base_data -> 'stock', local_data -> 'stock', columns, revision, kind) FROM rejoin.sync_conflicts";
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    // Less than nothing: the check refuses it.
    let answer = site.push_one(add(&cloud, &site, &s, &[(&first, -12)])).await;
    assert_eq!((verdict(&answer), stock(&cloud).await), ("parked", 10));
    assert_eq!(cloud.one::<Json>(images).await, json!([10, -2, ["stock"], 1, "check"]));
    // Sent again by a copy, it is in the conflict already; another one joins it.
    let change = add(&cloud, &site, &s, &[(&first, -12), (&second, -13)]);
    let answer = site.push_one(change).await;
    assert_eq!((verdict(&answer), stock(&cloud).await), ("parked", 10));
    assert_eq!(cloud.one::<Json>(images).await, json!([10, -15, ["stock"], 2, "check"]));
    let change = add(&cloud, &site, &s, &[(&first, -12)]);
    assert_eq!(verdict(&site.push_one(change).await), "no-op");

    // The row is gone at the cloud: the last image says what it was added to.
    let change = add(&cloud, &site, &s, &[(&Uuid::new_v4(), 5)]);
    cloud.run("DELETE FROM rejoin.sync_conflicts; DELETE FROM sources").await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    assert_eq!(cloud.one::<Json>(images).await, json!([10, 15, ["stock"], 1, "update_delete"]));
}

#[tokio::test]
async fn a_message_that_adds_nonsense_is_refused_or_parked() {
    let cloud = cloud(ALL).await;
    let (mut site, s) = one(&cloud, "stock = 10").await;
    let twice = Uuid::new_v4();
    let push = site.next_push(vec![add(&cloud, &site, &s, &[(&twice, 1), (&twice, 1)])]);
    let answer = site.push_whole(&push).await;
    assert!(format!("{:?}", answer.result).contains("comes twice"), "{answer:?}");
    // Its ids would be noted as counted, and nothing added.
    let push = site.next_push(vec![adding(&cloud, site.delete("sources", &s), &[(&Uuid::new_v4(), 1)])]);
    let answer = site.push_whole(&push).await;
    assert!(format!("{:?}", answer.result).contains("adds to a row"), "{answer:?}");
    // Text added to a number, and more than the column can hold.
    for amount in [Value::Text("x".to_owned()), Value::Int(i64::MAX), Value::Null] {
        let mut change = add(&cloud, &site, &s, &[(&Uuid::new_v4(), 1)]);
        change.additions[0].amount = amount;
        assert_eq!(verdict(&site.push_one(change).await), "parked");
    }
    assert_eq!(stock(&cloud).await, 10);
}

#[tokio::test]
async fn what_was_to_be_added_to_a_dropped_column_is_kept_as_a_sum() {
    let cloud = cloud(ALL).await;
    let change = {
        let (site, s) = one(&cloud, "stock = 10").await;
        add(&cloud, &site, &s, &[(&Uuid::new_v4(), 2), (&Uuid::new_v4(), 3)])
    };
    cloud.run("ALTER TABLE sources DROP COLUMN stock").await;
    let cloud = cloud.prepared_with(&format!("{GENERAL}{}", ALL.replace("stock = \"add\"\n", ""))).await;
    let mut site = cloud.site("b", &[&id('p', 1)]).await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    assert_eq!(cloud.one::<Json>("SELECT local_data -> 'stock' FROM rejoin.sync_conflicts WHERE kind = 'schema'").await, json!(5));
}
