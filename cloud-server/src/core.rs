//! What every part of a running cloud shares.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conflict_ui_api::config::Rate;
use conflict_ui_api::limiter::Limiter;
use conflict_ui_api::problem::{Answer, Problem};
use sync_core::catalog::Catalog;
use sync_core::id::{CloudEpoch, SiteId};

use crate::events::Events;
use crate::secret::SecretKey;
use crate::source::Source;
use crate::store::pace::Pace;
use crate::store::pool::Database;
use crate::store::prepare::{self, PrepareError};

/// How often one peer may show a site key or token that opens nothing.
const REFUSALS: Rate = Rate::new(60, Duration::from_secs(1));

/// How often one site may ask.
const REQUESTS: Rate = Rate::new(1_000, Duration::from_millis(5));

/// The database, the catalog in force, and the cloud's identity.
pub(crate) struct Core {
    pub(crate) db: Database,
    /// For MACs.
    pub(crate) key: SecretKey,
    pub(crate) epoch: CloudEpoch,
    pub(crate) events: Events,
    pub(crate) source: Source,
    has_webhook: bool,
    catalog: RwLock<Arc<Catalog>>,
    refusals: Limiter<IpAddr>,
    requests: Limiter<SiteId>,
}

impl Core {
    pub(crate) fn new(db: Database, key: SecretKey, epoch: CloudEpoch, source: Source, catalog: Arc<Catalog>) -> Self {
        Self {
            db,
            key,
            epoch,
            events: Events::new(),
            has_webhook: source.settings().notify.is_some(),
            source,
            catalog: RwLock::new(catalog),
            refusals: Limiter::new(REFUSALS),
            requests: Limiter::new(REQUESTS),
        }
    }

    /// Whether somebody outside is told of what happens.
    pub(crate) fn has_webhook(&self) -> bool {
        self.has_webhook
    }

    /// The catalog in force.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the settings' file and the database again and puts the catalog that it makes in force.
    ///
    /// # Errors
    /// The database and the settings do not fit; the store failed.
    pub(crate) async fn refresh_catalog(&self) -> Result<Arc<Catalog>, PrepareError> {
        self.source.reread().await;
        let Source { system, start, .. } = &self.source;
        let catalog = prepare::enforce(&self.db, &self.source.settings(), *system, &Pace::quiet(), start).await?;
        let mut current = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        if catalog.version > current.version {
            tracing::info!(version = %catalog.version, "a new catalog is in force");
            *current = catalog;
        }
        Ok(current.clone())
    }

    /// Counts a refused credential.
    ///
    /// # Errors
    /// This peer was refused too often.
    pub(crate) fn refuse_often(&self, peer: IpAddr) -> Answer<()> {
        let limited = |wait| Problem::rate_limited("Too many refused credentials from this address.", wait);
        self.refusals.check(&peer).map_err(limited)
    }

    /// Counts a site's request.
    ///
    /// # Errors
    /// The site asks too often.
    pub(crate) fn limit(&self, site: SiteId) -> Answer<()> {
        let limited = |wait| Problem::rate_limited("This site asks too often.", wait);
        self.requests.check(&site).map_err(limited)
    }
}
