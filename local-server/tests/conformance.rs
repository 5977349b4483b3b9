//! The suite that every backend must pass, over a site that has never seen its cloud but for the catalog.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use conflict_ui_api::backend::Place;
use conflict_ui_api::conformance::{Fixture, Opened, System};
use local_server::backend::SiteBackend;
use local_server::store::install::install;
use local_server::store::{Database, StoreError};

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
        let backend = Arc::new(SiteBackend::new("venue".to_owned(), db, None));
        Opened { backend: backend.clone(), accounts: backend, here: Place::Here, manages_users: false, keep: Box::new(folder) }
    }
}

conflict_ui_api::conformance_suite!(Site);
