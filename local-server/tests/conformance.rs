//! The suite that every backend must pass, over a site that has never seen its cloud but for the catalog.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use conflict_ui_api::backend::Place;
use conflict_ui_api::conformance::{Fixture, Opened, System};
use local_server::backend::{Daemon, DaemonState, SiteBackend};
use local_server::store::install::install;
use local_server::store::{Database, StoreError};
use sync_core::sync_log::Direction;

/// Nothing in the suite syncs.
struct Asleep;

#[async_trait]
impl Daemon for Asleep {
    async fn run(&self, _direction: Direction) {}
    async fn pause(&self, _paused: bool) {}
    fn state(&self) -> DaemonState {
        DaemonState::default()
    }
}

struct Site;

#[async_trait]
impl Fixture for Site {
    async fn open(&self, system: System) -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let catalog = Arc::new(system.catalog());
        let built = Arc::clone(&catalog);
        db.apply(move |connection| install(connection, None, &built, "venue")).await.map_err(|error: StoreError| error).unwrap();
        db.set_catalog(catalog);
        let backend = Arc::new(SiteBackend::new("venue".to_owned(), db, Arc::new(Asleep)));
        Opened { backend: backend.clone(), accounts: backend, here: Place::Here, manages_users: false, keep: Box::new(folder) }
    }
}

conflict_ui_api::conformance_suite!(Site);
