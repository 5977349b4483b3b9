//! Clones, restored copies and foreign clouds are noticed, each for the site that shows it alone.

use cloud_server::store::speaker::SyncError;
use serde_json::json;
use sync_core::id::{ChangeId, CloudEpoch, PushNo, ReplicaEpoch, ReplicaId, Tick};
use sync_core::wire::codec::encode;
use sync_core::wire::message::Cursor;
use uuid::Uuid;

use crate::cloud::Cloud;
use crate::site::{id, verdict};

#[tokio::test]
async fn a_cursor_that_this_cloud_never_handed_out_is_refused() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let honest = site.cursors.clone();
    let tampered: [fn(&mut Cursor); 3] =
        [|cursor| cursor.tick = Tick(1), |cursor| cursor.mac = "00".repeat(16), |cursor| cursor.change = ChangeId(Uuid::nil())];
    for (no, tamper) in tampered.into_iter().enumerate() {
        site.cursors.clone_from(&honest);
        site.cursors.iter_mut().filter(|cursor| cursor.scope.0.ends_with(&p)).for_each(tamper);
        assert!(matches!(site.page(&site.pull_message()).await, Err(SyncError::ForeignCursor(_))), "{no}");
        let push = sync_core::wire::message::Push { cursors: site.cursors.clone(), ..site.next_push(vec![]) };
        assert!(matches!(site.send(&encode(&push).unwrap()).await, Err(SyncError::ForeignCursor(_))), "{no}");
    }
    site.cursors = honest;
    assert_eq!(site.pull().await.rows.len(), 0);
}

#[tokio::test]
async fn a_cloud_that_was_restored_does_not_know_what_it_handed_out() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    site.push_one(site.update("sources", &id('s', 1), &json!({"name": "x"}))).await;
    site.pull().await;
    // As if a backup from before the push had been restored.
    cloud
        .run(&format!(
            "DELETE FROM rejoin.ticks WHERE push_no = 1; UPDATE rejoin.scopes SET head = head - 1 WHERE scope = 'productions/{p}'"
        ))
        .await;
    assert!(matches!(site.page(&site.pull_message()).await, Err(SyncError::Restored(_))));
    let mut fresh = site.copy();
    fresh.cursors.clear();
    cloud.run("UPDATE rejoin.replicas SET last_push = 0, last_hash = ''; DELETE FROM rejoin.pushes").await;
    assert!(matches!(fresh.page(&fresh.pull_message()).await, Err(SyncError::Restored(_))), "an answer of a push that is not there");
}

#[tokio::test]
async fn rc4_a_pull_that_names_another_push_of_the_same_number_is_a_fork() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    site.push_one(site.update("sources", &s, &json!({"name": "x"}))).await;
    site.push_one(site.update("sources", &s, &json!({"name": "y"}))).await;
    let mut message = site.pull_message();
    let answered = message.answered.as_mut().unwrap();
    answered.hash = "ab".repeat(32);
    assert!(matches!(site.page(&message).await, Err(SyncError::Fork(2))));
    message.answered.as_mut().unwrap().no = PushNo(1);
    assert!(matches!(site.page(&message).await, Err(SyncError::Fork(1))));
}

#[tokio::test]
async fn h06_a_restored_or_cloned_copy_gets_what_the_other_one_pushed() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    site.push_one(site.update("sources", &s, &json!({"name": "before"}))).await;
    site.pull().await;
    let mut restored = site.copy();
    site.push_one(site.update("sources", &s, &json!({"name": "after"}))).await;
    site.pull().await;
    assert_eq!(restored.pull().await.rows.len(), 1, "a push that this copy has no answer of is delivered");
    assert_eq!(restored.value("sources", &s, "name"), json!("after"));
}

#[tokio::test]
async fn strangers_are_refused() {
    let cloud = Cloud::start().await;
    let site = cloud.site("a", &[]).await;
    let other = cloud.site("b", &[]).await;
    let refused = async |speaker: sync_core::wire::message::Speaker| {
        let mut push = site.next_push(vec![]);
        push.speaker = speaker;
        let pushed = site.send(&encode(&push).unwrap()).await.unwrap_err();
        let mut pull = site.pull_message();
        pull.speaker = speaker;
        let pulled = site.page(&pull).await.unwrap_err();
        assert_eq!(std::mem::discriminant(&pushed), std::mem::discriminant(&pulled));
        pushed
    };
    let speaker = site.speaker();
    let with = |replica, epoch, cloud_epoch| sync_core::wire::message::Speaker { replica, epoch, cloud_epoch, catalog: speaker.catalog };
    let (replica, epoch, now) = (speaker.replica, speaker.epoch, speaker.cloud_epoch);
    assert!(matches!(refused(with(other.speaker().replica, other.speaker().epoch, now)).await, SyncError::Replica(_)));
    assert!(matches!(refused(with(ReplicaId(Uuid::from_u128(1)), epoch, now)).await, SyncError::Replica(_)));
    assert!(matches!(refused(with(replica, ReplicaEpoch(Uuid::from_u128(1)), now)).await, SyncError::Replica(_)));
    assert!(matches!(refused(with(replica, epoch, CloudEpoch(Uuid::from_u128(1)))).await, SyncError::CloudEpoch { .. }));
    assert!(matches!(site.send(b"<html>a portal</html>").await, Err(SyncError::Unreadable(_))));
}

#[tokio::test]
async fn exact_rows_are_forgotten_once_every_cursor_has_passed() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    assert_eq!(verdict(&site.push_one(site.update("sources", &s, &json!({"name": "x"}))).await), "exact");
    assert_eq!(cloud.count("rejoin.pushes WHERE exact IS NOT NULL").await, 1);
    site.pull().await;
    site.pull().await;
    assert_eq!(cloud.count("rejoin.pushes WHERE exact IS NOT NULL").await, 0);
    assert_eq!(cloud.count(&format!("rejoin.cursors WHERE scope = 'productions/{p}' AND tick = 3")).await, 1);
}
