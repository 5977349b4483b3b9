//! The webhook: who is told what, how often, and where it may not go.

use std::time::Duration;

use cloud_server::Cloud;
use cloud_server::notify::Pace;
use reqwest::StatusCode;
use serde_json::{Value as Json, json};
use sync_core::sync_log::RunStatus;
use sync_core::value::Value;

use crate::clouds::{Running, database, pace, settings};
use crate::harness::Client;
use crate::receiver::Receiver;
use crate::site::{Site, run};

const PRIVATE: &str = "allow_private = true";

/// Productions that the site knows without a venue, while the cloud has one by now.
async fn clashing(admin: &Client, site: &mut Site, count: usize) -> Vec<String> {
    let mut productions = Vec::new();
    for number in 0..count {
        productions.push(admin.production(&format!("Gala {number}")).await);
    }
    site.pull().await;
    for production in &productions {
        admin.patch(&format!("/api/productions/{production}"), json!({ "venue": "Arena" })).await;
    }
    productions
}

#[tokio::test]
async fn a_group_of_many_conflicts_is_one_signed_notice_with_their_number() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    // So that both pushes have come before it is composed.
    let running = Running::start(&database, &[receiver.url()], PRIVATE, Pace { settle: Duration::from_secs(3), ..pace() }).await;
    let admin = running.admin();
    let mut site = Site::join(running.cloud.url(), &admin, "studio").await;
    let productions = clashing(&admin, &mut site, 5).await;
    site.push_venues(&productions[..3], Value::Null, "Club").await;
    site.push_venues(&productions[3..], Value::Null, "Club").await;

    let message = receiver.wait_for(1).await.remove(0).json;
    let data = &message["data"];
    assert_eq!(message["type"], json!("conflicts.new"));
    assert_eq!((&data["site"], &data["table"], &data["kind"]), (&json!("studio"), &json!("productions"), &json!("update_update")));
    assert_eq!((&data["conflicts"], &data["open"], &data["dependents"]), (&json!(5), &json!(5), &json!(0)));
    assert!(data["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let groups = admin.get("/api/conflicts/groups").await.body;
    assert_eq!(data["path"], json!(format!("/conflicts?group={}", groups["data"][0]["id"].as_str().unwrap())));

    let shown = running.wait_for_state("delivered").await;
    assert_eq!((&shown["attempts"], &shown["message"]), (&json!(1), &message));
    assert_eq!((running.notices().await.len(), receiver.received().len()), (1, 1));
    assert_eq!(admin.with("").get("/api/rejoin/notices").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_push_without_conflicts_and_a_run_that_succeeded_tell_nobody() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    let running = Running::start(&database, &[receiver.url()], "allow_private = true\nevents = ['conflicts', 'failure']", pace()).await;
    let admin = running.admin();
    let production = admin.production("Gala").await;
    let mut site = Site::join(running.cloud.url(), &admin, "studio").await;
    site.push_venues(&[production], Value::Null, "Hall").await;
    site.upload(&[run(RunStatus::Completed, ""), run(RunStatus::Partial, "")]).await;
    assert!(running.notices().await.is_empty());
}

#[tokio::test]
async fn what_failed_is_sent_again_as_it_was_also_by_the_next_start() {
    let (database, receiver) = (database().await, Receiver::start(&[500, 302, 429]).await);
    let running = Running::start(&database, &[receiver.url()], PRIVATE, pace()).await;
    let site = Site::join(running.cloud.url(), &running.admin(), "studio").await;
    site.upload(&[run(RunStatus::Failed, "the disk is full")]).await;
    let received = receiver.wait_for(4).await;
    assert_eq!(received[0].json["data"]["error"], json!("the disk is full"));
    assert!(received.iter().all(|one| (&one.id, &one.body) == (&received[0].id, &received[0].body)), "{received:?}");
    let shown = running.wait_for_state("delivered").await;
    assert_eq!((&shown["attempts"], &shown["id"]), (&json!(4), &json!(received[0].id)));
    assert_eq!(shown["lastError"], Json::Null);

    // Sent again on demand, and the cloud stops before it succeeds.
    receiver.answer(&[500; 1_000]);
    let path = format!("/api/rejoin/notices/{}/redeliver", received[0].id);
    assert_eq!(running.admin().post(&path, Json::Null).await.status, StatusCode::OK);
    receiver.wait_for(6).await;
    let Running { cloud, folder } = running;
    cloud.stop().await;
    let before = receiver.received().len();
    receiver.answer(&[]);
    let cloud = Cloud::start(settings(&folder, &database, &[receiver.url()], PRIVATE, pace())).await.unwrap();
    let again = receiver.wait_for(before + 1).await;
    assert_eq!((&again[before].id, &again[before].body), (&received[0].id, &received[0].body));
    let running = Running { cloud, folder };
    let shown = running.wait_for_state("delivered").await;
    assert!(shown["attempts"].as_i64().unwrap() >= 2, "the count outlives the restart: {shown}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_or_never_answers_is_given_up_and_can_be_tried_again() {
    let (database, receiver) = (database().await, Receiver::start(&[410]).await);
    let running = Running::start(&database, &[receiver.url()], PRIVATE, Pace { give_up_after: Duration::ZERO, ..pace() }).await;
    let admin = running.admin();
    let site = Site::join(running.cloud.url(), &admin, "studio").await;
    site.upload(&[run(RunStatus::Failed, "x")]).await;
    let shown = running.wait_for_state("givenUp").await;
    assert_eq!(shown["attempts"], json!(1));
    assert!(shown["lastError"].as_str().unwrap().contains("410"), "{shown}");
    assert!(shown["refusedBy"][0].as_str().unwrap().starts_with("127.0.0.1#"), "{shown}");

    receiver.answer(&[503]);
    let path = format!("/api/rejoin/notices/{}/redeliver", shown["id"].as_str().unwrap());
    assert_eq!(admin.post(&path, Json::Null).await.body["state"], json!("waiting"));
    receiver.wait_for(2).await;
    let shown = running.wait_for_state("givenUp").await;
    assert!(shown["lastError"].as_str().unwrap().contains("503"), "its time was over: {shown}");

    assert_eq!(admin.post(&path, Json::Null).await.status, StatusCode::OK);
    running.wait_for_state("delivered").await;
    let other = format!("/api/rejoin/notices/{}/redeliver", uuid::Uuid::now_v7());
    assert_eq!(admin.post(&other, Json::Null).await.problem(), (404, "not_found"));
    let plain = Running::plain(&database).await;
    assert_eq!(plain.admin().post(&path, Json::Null).await.problem(), (501, "unsupported"));
}

#[tokio::test]
async fn each_of_several_receivers_gets_it_once_though_another_one_fails() {
    let (database, good, bad) = (database().await, Receiver::start(&[]).await, Receiver::start(&[500, 500, 500]).await);
    let running = Running::start(&database, &[good.url(), bad.url()], PRIVATE, pace()).await;
    let site = Site::join(running.cloud.url(), &running.admin(), "studio").await;
    site.upload(&[run(RunStatus::Failed, "x")]).await;
    let shown = running.wait_for_state("delivered").await;
    assert_eq!((good.received().len(), bad.received().len()), (1, 4));
    assert_eq!(shown["acceptedBy"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn two_clouds_of_one_database_deliver_once() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    let first = Running::start(&database, &[receiver.url()], PRIVATE, pace()).await;
    let second = Running::start(&database, &[receiver.url()], PRIVATE, pace()).await;
    let admin = first.admin();
    for number in 0..12 {
        let site = Site::join(second.cloud.url(), &admin, &format!("site-{number}")).await;
        site.upload(&[run(RunStatus::Failed, "x")]).await;
    }
    receiver.wait_for(12).await;
    for _ in 0..200 {
        if first.notices().await.iter().all(|notice| notice["state"] == "delivered") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let notices = second.notices().await;
    assert!(notices.iter().all(|notice| notice["state"] == "delivered" && notice["attempts"] == 1), "{notices:?}");
    assert_eq!((notices.len(), receiver.received().len()), (12, 12));
    first.cloud.stop().await;
    second.cloud.stop().await;
}

#[tokio::test]
async fn failed_runs_of_a_site_are_told_at_most_once_an_hour_with_their_number() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    let running = Running::start(&database, &[receiver.url()], PRIVATE, pace()).await;
    let admin = running.admin();
    let site = Site::join(running.cloud.url(), &admin, "studio").await;
    let failed = run(RunStatus::Failed, "the link broke");
    site.upload(&[failed.clone(), run(RunStatus::Completed, "")]).await;
    let first = receiver.wait_for(1).await.remove(0).json;
    assert_eq!((&first["type"], &first["data"]["site"], &first["data"]["failed"]), (&json!("run.failed"), &json!("studio"), &json!(1)));
    running.wait_for_state("delivered").await;

    // The same run again is no news; three further ones wait for the hour, and another site does not.
    site.upload(&[failed]).await;
    assert_eq!(running.notices().await.len(), 1);
    site.upload(&[run(RunStatus::Failed, "a"), run(RunStatus::Failed, "b")]).await;
    site.upload(&[run(RunStatus::Failed, "the last")]).await;
    let other = Site::join(running.cloud.url(), &admin, "truck").await;
    other.upload(&[run(RunStatus::Failed, "c")]).await;
    assert_eq!(receiver.wait_for(2).await[1].json["data"]["site"], json!("truck"));
    let notices = running.notices().await;
    let waiting: Vec<&Json> = notices.iter().filter(|notice| notice["state"] == "waiting" && notice["attempts"] == 0).collect();
    assert_eq!((notices.len(), waiting.len()), (3, 1), "{notices:?}");
    let next: chrono::DateTime<chrono::Utc> = waiting[0]["nextAt"].as_str().unwrap().parse().unwrap();
    let created: chrono::DateTime<chrono::Utc> = notices[2]["createdAt"].as_str().unwrap().parse().unwrap();
    assert_eq!((next - created).num_minutes(), 60);

    sql(&database, "UPDATE rejoin.notices SET next_at = now() WHERE body IS NULL").await;
    let third = receiver.wait_for(3).await.remove(2).json;
    assert_eq!((&third["data"]["failed"], &third["data"]["error"]), (&json!(3), &json!("the last")));
}

#[tokio::test]
async fn a_private_address_is_never_connected_to_unless_it_is_allowed() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    // A name that leads to this machine: the settings cannot know, the connection does.
    let url = format!("https://localhost:{}/hook", receiver.port);
    let running = Running::start(&database, &[url], "", pace()).await;
    let site = Site::join(running.cloud.url(), &running.admin(), "studio").await;
    site.upload(&[run(RunStatus::Failed, "x")]).await;
    let mut shown = Json::Null;
    for _ in 0..200 {
        shown = running.notices().await[0].clone();
        if shown["attempts"].as_i64() >= Some(2) && shown["lastError"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = shown["lastError"].as_str().unwrap();
    assert!(error.contains("leads to a private address only"), "{shown}");
    assert!(!error.contains("/hook"), "a URL may hold a secret: {shown}");
    running.cloud.stop().await;

    // The same name, allowed.
    let url = format!("http://localhost:{}/hook", receiver.port);
    let running = Running::start(&database, &[url], PRIVATE, pace()).await;
    receiver.wait_for(1).await;
    running.wait_for_state("delivered").await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_is_said_before_the_cloud_starts() {
    let database = database().await;
    let folder = tempfile::tempdir().unwrap();
    for (url, words) in [
        ("https://169.254.169.254/latest", "notify.url: URL 1: 169.254.169.254 is a private address"),
        ("http://hooks.example.org/", "notify.url: URL 1: https is needed"),
    ] {
        let error = Cloud::start(settings(&folder, &database, &[url.to_owned()], "", pace())).await.unwrap_err().to_string();
        assert!(error.contains("rejoin.toml, line ") && error.contains(words), "{error}");
    }
    let lines = "silent_after = 'soon'";
    let error = Cloud::start(settings(&folder, &database, &["https://a.example".to_owned()], lines, pace())).await.unwrap_err();
    assert!(error.to_string().contains("notify.silent_after"), "{error}");
}

#[tokio::test]
async fn old_notices_are_forgotten() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    let pace = Pace { silence_every: Duration::from_millis(50), ..pace() };
    let running = Running::start(&database, &[receiver.url()], PRIVATE, pace).await;
    let admin = running.admin();
    for name in ["old", "new"] {
        Site::join(running.cloud.url(), &admin, name).await.upload(&[run(RunStatus::Failed, "x")]).await;
    }
    receiver.wait_for(2).await;
    sql(&database, "UPDATE rejoin.notices SET created_at = now() - interval '31 days' WHERE about ->> 'site' = 'old'").await;
    for _ in 0..200 {
        if running.notices().await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left = running.notices().await;
    assert_eq!((left.len(), &left[0]["message"]["data"]["site"]), (1, &json!("new")), "{left:?}");
}

/// Runs plain SQL.
pub(crate) async fn sql(database: &cloud_server::test_support::Database, sql: &str) {
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_schema_that_cannot_be_brought_in_is_told_also_where_that_could_not_be_stored_at_first() {
    let (database, receiver) = (database().await, Receiver::start(&[]).await);
    let running = Running::start(&database, &[receiver.url()], PRIVATE, pace()).await;
    sql(
        &database,
        "ALTER TABLE rejoin.notices ADD CONSTRAINT no_room CHECK (kind <> 'schema'); ALTER TABLE sources DROP CONSTRAINT sources_pkey CASCADE",
    )
    .await;
    let refresh = async || running.admin().post("/api/rejoin/catalog/refresh", json!({})).await.status;
    assert!(refresh().await.is_server_error());
    sql(&database, "ALTER TABLE rejoin.notices DROP CONSTRAINT no_room").await;
    assert_eq!(refresh().await, StatusCode::UNPROCESSABLE_ENTITY);
    let message = receiver.wait_for(1).await.remove(0).json;
    assert_eq!((&message["type"], &message["data"]["tables"]), (&json!("schema.suspended"), &json!(["source_outputs", "sources"])));
}
