//! The daemon with the link down. With a real cloud it runs in the whole-system tests.

use std::time::Duration;

use conflict_ui_api::backend::Event;
use local_server::cloud_link::{CloudLink, LinkConfig};
use local_server::daemon::{Daemon, DaemonConfig};
use local_server::run::Syncer;
use local_server::store::identity::Identity;
use local_server::store::run_log;
use sync_core::id::{CloudEpoch, ReplicaEpoch, ReplicaId, RunId, SiteId};
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::message::Run;
use uuid::Uuid;

use crate::bench::*;

async fn syncer(site: &Site) -> Syncer {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    syncer_of(site, format!("http://{}", gone.local_addr().unwrap())).await
}

/// A syncer of a site with a cloud at this URL.
pub(crate) async fn syncer_of(site: &Site, cloud: String) -> Syncer {
    let identity = Identity {
        site: SiteId(Uuid::from_u128(1)),
        name: "venue".into(),
        replica: ReplicaId(Uuid::from_u128(1)),
        epoch: ReplicaEpoch(Uuid::from_u128(1)),
        cloud_epoch: CloudEpoch(Uuid::nil()),
    };
    let link = CloudLink::new(&LinkConfig::new(cloud)).unwrap();
    Syncer::new(site.db.clone(), link, identity).await.unwrap()
}

async fn daemon(site: &Site) -> Daemon {
    let config = DaemonConfig { interval: Duration::from_millis(50), retry: Duration::from_millis(5), seed: 7, ..DaemonConfig::default() };
    Daemon::start(site.db.clone(), syncer(site).await, config).await.unwrap()
}

#[tokio::test]
async fn a_site_without_a_link_says_so_keeps_trying_and_logs_it_once() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a')").await;
    let daemon = daemon(&site).await;
    let mut status = daemon.watch();
    for _ in 0..20 {
        status.changed().await.unwrap();
    }
    let now = daemon.status();
    assert!(!now.online && now.last_error.as_ref().is_some_and(|error| error.contains("out of reach")), "{now:?}");
    assert_eq!(site.rows("SELECT status, count(*) FROM sync_log").await, "FAILED|1", "not one row for each attempt");
    let mut events = daemon.events().subscribe();
    let end = daemon.run(Direction::Upload).await.unwrap();
    assert_eq!(events.try_recv().unwrap(), Event::Run { site: "venue".into(), status: "FAILED".into() });
    assert_eq!((end.status, end.run.is_some()), (RunStatus::Failed, true), "who asks gets an answer and a row");
    daemon.stop().await;
    assert_eq!(site.rows("SELECT sync_direction, status FROM sync_log ORDER BY started_at").await, "BIDIRECTIONAL|FAILED;UPLOAD|FAILED");
    // The push waits, and the edit is there.
    assert_eq!(site.rows("SELECT no, answered FROM rejoin_pushes").await, "1|0");
}

#[tokio::test]
async fn a_paused_daemon_stays_paused_over_a_restart_and_still_obeys() {
    let site = Site::new(1).await;
    let first = daemon(&site).await;
    first.pause().await.unwrap();
    assert!(first.status().paused && first.status().next_attempt_at.is_none());
    first.stop().await;
    let again = daemon(&site).await;
    assert!(again.status().paused);
    assert_eq!(again.run(Direction::Download).await.unwrap().status, RunStatus::Failed);
    let before = site.rows("SELECT count(*) FROM sync_log").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(site.rows("SELECT count(*) FROM sync_log").await, before);
    again.resume().await.unwrap();
    assert!(!again.status().paused);
    again.stop().await;
}

#[tokio::test]
async fn a_run_that_a_crash_cut_off_is_closed_at_the_next_start() {
    let site = Site::new(1).await;
    let run = Run {
        id: RunId(Uuid::from_u128(1)),
        direction: Direction::Bidirectional,
        started_at: NOW.into(),
        completed_at: None,
        status: RunStatus::Started,
        records_synced: 0,
        conflicts_detected: 0,
        errors: None,
        server_id: "venue".into(),
        bytes_up: 0,
        bytes_down: 0,
        cursors_before: None,
        cursors_after: None,
    };
    site.db.apply(move |connection| run_log::put(connection, &run, NOW)).await.unwrap();
    drop(syncer(&site).await);
    assert_eq!(site.rows("SELECT status, completed_at IS NOT NULL FROM sync_log").await, "FAILED|1");
}
