//! What every part of a running cloud shares.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conflict_ui_api::config::Rate;
use conflict_ui_api::error::BackendError;
use conflict_ui_api::limiter::Limiter;
use conflict_ui_api::problem::{Answer, Problem};
use sync_core::catalog::Catalog;
use sync_core::id::{CloudEpoch, SiteId, TableNo};

use crate::events::Events;
use crate::secret::SecretKey;
use crate::source::Source;
use crate::store::error::StoreError;
use crate::store::pace::Pace;
use crate::store::pool::Database;
use crate::store::prepare::{self, PrepareError};
use crate::store::{events, notices};

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
    in_force: RwLock<InForce>,
    refusals: Limiter<IpAddr>,
    requests: Limiter<SiteId>,
}

/// The catalog, and what of it is served.
#[derive(Clone)]
struct InForce {
    published: Arc<Catalog>,
    /// Without the tables that are suspended.
    served: Arc<Catalog>,
    suspended: Option<Arc<Suspended>>,
}

/// The schema moved, and no catalog can be made of it.
#[derive(Debug, PartialEq, Eq)]
struct Suspended {
    /// Why not; names the line of `rejoin.toml`.
    reason: String,
    /// The tables that are not served meanwhile.
    tables: Vec<String>,
}

impl Suspended {
    /// What sites are told; nothing where they miss nothing.
    fn words(&self) -> Option<String> {
        let tables = self.tables.join(", ");
        (!self.tables.is_empty())
            .then(|| format!("the cloud does not serve {tables} until its schema and rejoin.toml fit again: {}", self.reason))
    }
}

impl InForce {
    fn whole(catalog: Arc<Catalog>) -> Self {
        Self { published: Arc::clone(&catalog), served: catalog, suspended: None }
    }

    fn without(published: Arc<Catalog>, suspended: &BTreeSet<TableNo>, reason: String) -> Self {
        let (gone, tables): (Vec<_>, Vec<_>) = published.tables.iter().cloned().partition(|table| suspended.contains(&table.no));
        let names = gone.into_iter().map(|table| table.name).collect();
        let served = Arc::new(Catalog { tables, ..Catalog::clone(&published) });
        Self { published, served, suspended: Some(Arc::new(Suspended { reason, tables: names })) }
    }
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
            in_force: RwLock::new(InForce::whole(catalog)),
            refusals: Limiter::new(REFUSALS),
            requests: Limiter::new(REQUESTS),
        }
    }

    /// Whether somebody outside is told of what happens.
    pub(crate) fn has_webhook(&self) -> bool {
        self.has_webhook
    }

    /// The catalog in force, as far as it can be served.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.in_force().served
    }

    /// The catalog in force, whole: what sites build.
    pub(crate) fn published(&self) -> Arc<Catalog> {
        self.in_force().published
    }

    /// What sites are told where they are not served all of it.
    pub(crate) fn suspended(&self) -> Option<String> {
        self.in_force().suspended.and_then(|suspended| suspended.words())
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the settings' file and the database again and puts the catalog that it makes in force. Where it makes none the one in force is
    /// served on, as far as its tables are there; that is told once.
    ///
    /// # Errors
    /// The database and the settings do not fit; the store failed.
    pub(crate) async fn refresh_catalog(&self) -> Result<Arc<Catalog>, PrepareError> {
        self.source.reread().await;
        let Source { system, start, .. } = &self.source;
        match prepare::enforce(&self.db, &self.source.settings(), *system, &Pace::quiet(), start).await {
            Ok(catalog) => {
                self.put_in_force(catalog).await?;
                Ok(self.catalog())
            }
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.suspend(&error).await?;
                Err(error)
            }
        }
    }

    async fn put_in_force(&self, catalog: Arc<Catalog>) -> Result<(), StoreError> {
        // Who only follows has not looked whether the tables fit again.
        let looked = !self.source.start.follows();
        let is_news = |now: &InForce| {
            let again = looked && now.suspended.is_some() && catalog.version == now.published.version;
            again || catalog.version > now.published.version
        };
        let before = self.in_force();
        if before.suspended.is_some() && is_news(&before) {
            // Told before it is remembered: what fails here is done again at the next look.
            events::of_schema(&self.db.client().await?, None).await?;
        }
        let mut now = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        if is_news(&now) {
            tracing::info!(version = %catalog.version, "a new catalog is in force");
            *now = InForce::whole(catalog);
        }
        Ok(())
    }

    /// Serves on under the catalog in force, without the tables that are not there as it says.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn suspend(&self, error: &PrepareError) -> Result<(), PrepareError> {
        let published = self.published();
        // What cannot be kept up is tried again at the next look, and keeps nothing from being suspended.
        if let Err(error) = prepare::keep(&self.db, &self.source.settings()).await {
            tracing::warn!(%error, "capture cannot be kept up");
        }
        let Some(tables) = prepare::suspend(&self.db, &published).await? else { return Ok(()) };
        let next = InForce::without(published, &tables, error.to_string());
        let before = self.in_force();
        if before.published.version != next.published.version || before.suspended == next.suspended {
            return Ok(());
        }
        if let Some(suspended) = &next.suspended {
            let Suspended { reason, tables } = &**suspended;
            tracing::error!(
                reason, suspended = ?tables,
                "the schema changed and cannot be brought in; serving goes on under the catalog in force: see rejoin doctor"
            );
            // Told before it is remembered: what fails here is done again at the next look.
            let mut client = self.db.client().await?;
            let transaction = client.transaction().await?;
            notices::of_schema(&transaction, next.published.version, reason, tables).await?;
            events::of_schema(&transaction, Some(reason)).await?;
            transaction.commit().await?;
        }
        let mut now = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        if now.published.version == next.published.version {
            *now = next;
        }
        Ok(())
    }

    /// The catalog of now, where this one does not fit the database any more: somebody altered a table and did not say so. The tables that are as
    /// they were are served in any case.
    ///
    /// # Errors
    /// `Unavailable`: there is no other; what was asked cannot be served for now.
    pub(crate) async fn renewed(&self, than: &Arc<Catalog>, error: &StoreError) -> Result<Arc<Catalog>, BackendError> {
        tracing::warn!(%error, "the catalog does not fit the database any more: looking at the database again");
        let refreshed = self.refresh_catalog().await;
        let fresh = self.catalog();
        if Arc::ptr_eq(&fresh, than) {
            let why = refreshed.err().map_or_else(|| error.to_string(), |error| error.to_string());
            return Err(BackendError::Unavailable(format!("the schema was changed and cannot be served as it is: {why}")));
        }
        Ok(fresh)
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
