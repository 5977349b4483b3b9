//! Events: what one process does, listeners of another one hear.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use sync_core::sync_log::RunStatus;
use sync_core::value::Value;
use tokio::sync::mpsc;

use crate::clouds::{Running, database};
use crate::delivery::sql;
use crate::site::{Site, run};

/// A listener at `/api/events`.
struct Listener {
    heard: mpsc::UnboundedReceiver<Json>,
}

impl Listener {
    /// Listens; the stream has begun when this returns.
    async fn start(running: &Running) -> Self {
        let request = reqwest::Client::new().get(format!("{}/api/events", running.cloud.url())).bearer_auth(running.cloud.token());
        let mut stream = request.send().await.unwrap().error_for_status().unwrap().bytes_stream();
        let (tell, heard) = mpsc::unbounded_channel();
        let mut text = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        tokio::spawn(async move {
            while let Some(Ok(bytes)) = stream.next().await {
                text.push_str(std::str::from_utf8(&bytes).unwrap());
                while let Some((block, rest)) = text.split_once("\n\n") {
                    let data = block.lines().find_map(|line| line.strip_prefix("data:")).map(|data| serde_json::from_str(data).unwrap());
                    let rest = rest.to_owned();
                    if let Some(data) = data
                        && tell.send(data).is_err()
                    {
                        return;
                    }
                    text = rest;
                }
            }
        });
        Self { heard }
    }

    async fn next(&mut self) -> Option<Json> {
        tokio::time::timeout(Duration::from_secs(30), self.heard.recv()).await.unwrap()
    }

    async fn next_conflicts(&mut self) -> (Json, Json, Json, Json) {
        let event = self.next().await.unwrap();
        assert_eq!(event["event"], json!("conflicts"), "{event}");
        (event["what"].clone(), event["tableName"].clone(), event["site"].clone(), event["conflict"].clone())
    }
}

#[tokio::test]
async fn what_is_parked_resolved_and_opened_again_in_one_process_is_heard_in_another_once() {
    let database = database().await;
    let (one, two) = (Running::plain(&database).await, Running::plain(&database).await);
    let admin = one.admin();
    let mut site = Site::join(one.cloud.url(), &admin, "studio").await;
    let production = admin.production("Gala").await;
    let other = admin.production("Ball").await;
    site.pull().await;
    let mut there = Listener::start(&two).await;
    let mut here = Listener::start(&one).await;

    // Taken without a conflict: nobody is told.
    site.push_venues(std::slice::from_ref(&production), Value::Null, "Hall").await;
    site.pull().await;
    for production in [&production, &other] {
        admin.patch(&format!("/api/productions/{production}"), json!({ "venue": "Arena" })).await;
    }
    site.push_venues(std::slice::from_ref(&production), Value::Text("Hall".into()), "Club").await;
    let listed = admin.get("/api/conflicts").await.body;
    let id = &listed["data"][0]["id"];
    let parked = (json!("parked"), json!("productions"), json!("studio"), id.clone());
    assert_eq!(there.next_conflicts().await, parked);
    assert_eq!(here.next_conflicts().await, parked);

    let path = format!("/api/conflicts/{}/resolve", id.as_str().unwrap());
    let body = json!({ "resolution": "CLOUD_WINS", "cloudEtag": listed["data"][0]["cloudEtag"], "revision": 1 });
    let decided = two.admin().post(&path, body).await;
    assert_eq!(decided.status, 200, "{}", decided.body);
    for listener in [&mut here, &mut there] {
        assert_eq!(listener.next_conflicts().await, (json!("resolved"), json!("productions"), json!("studio"), id.clone()));
    }

    let undone = one.admin().post(&format!("/api/conflicts/{}/undo", id.as_str().unwrap()), json!({ "revision": 2 })).await;
    assert_eq!(undone.status, 200, "{}", undone.body);
    for listener in [&mut here, &mut there] {
        assert_eq!(listener.next_conflicts().await, (json!("reopened"), json!("productions"), json!("studio"), id.clone()));
    }

    site.upload(&[run(RunStatus::Completed, ""), run(RunStatus::Started, ""), run(RunStatus::Completed, "")]).await;
    assert_eq!(there.next().await.unwrap(), json!({ "event": "run", "site": "studio", "status": "COMPLETED" }));
    assert_eq!(here.next().await.unwrap()["event"], json!("run"), "one event for both runs");
    assert!(here.heard.try_recv().is_err() && there.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_push_of_many_conflicts_is_one_event() {
    let database = database().await;
    let running = Running::plain(&database).await;
    let admin = running.admin();
    let mut productions = Vec::new();
    for number in 0..4 {
        productions.push(admin.production(&format!("Gala {number}")).await);
    }
    let mut site = Site::join(running.cloud.url(), &admin, "studio").await;
    sql(&database, "UPDATE productions SET venue = 'Arena'").await;
    let mut listener = Listener::start(&running).await;
    site.push_venues(&productions, Value::Null, "Club").await;
    assert_eq!(listener.next_conflicts().await, (json!("parked"), json!("productions"), json!("studio"), Json::Null));
    assert!(listener.heard.try_recv().is_err());
}

#[tokio::test]
async fn after_a_lost_connection_listeners_are_told_to_look_again_and_hear_on() {
    let database = database().await;
    let running = Running::plain(&database).await;
    let site = Site::join(running.cloud.url(), &running.admin(), "studio").await;
    let mut listener = Listener::start(&running).await;
    sql(&database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'")
        .await;
    assert_eq!(listener.next().await.unwrap(), json!({ "event": "lagged" }));
    site.upload(&[run(RunStatus::Partial, "")]).await;
    assert_eq!(listener.next().await.unwrap(), json!({ "event": "run", "site": "studio", "status": "PARTIAL" }));

    // Whoever listens does not keep the server from stopping.
    let stopped = tokio::time::timeout(Duration::from_secs(20), running.cloud.stop()).await;
    assert!(stopped.is_ok());
    assert_eq!(listener.next().await, None);
}
