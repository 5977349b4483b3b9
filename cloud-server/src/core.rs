//! What every part of a running cloud shares.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conflict_ui_api::config::Rate;
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
    held: Option<Arc<Held>>,
}

/// The schema moved, and no catalog can be made of it.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Why not; names the line of `rejoin.toml`.
    reason: String,
    /// The tables that are not served meanwhile.
    tables: Vec<String>,
}

impl Held {
    /// What sites are told; nothing where they miss nothing.
    fn words(&self) -> Option<String> {
        let tables = self.tables.join(", ");
        (!self.tables.is_empty())
            .then(|| format!("the cloud does not serve {tables} until its schema and rejoin.toml fit again: {}", self.reason))
    }
}

impl InForce {
    fn whole(catalog: Arc<Catalog>) -> Self {
        Self { published: Arc::clone(&catalog), served: catalog, held: None }
    }

    fn held(published: Arc<Catalog>, suspended: &BTreeSet<TableNo>, reason: String) -> Self {
        let (gone, tables): (Vec<_>, Vec<_>) = published.tables.iter().cloned().partition(|table| suspended.contains(&table.no));
        let names = gone.into_iter().map(|table| table.name).collect();
        let served = Arc::new(Catalog { tables, ..Catalog::clone(&published) });
        Self { published, served, held: Some(Arc::new(Held { reason, tables: names })) }
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
    pub(crate) fn held(&self) -> Option<String> {
        self.in_force().held.and_then(|held| held.words())
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
                self.hold(&error).await?;
                Err(error)
            }
        }
    }

    async fn put_in_force(&self, catalog: Arc<Catalog>) -> Result<(), StoreError> {
        // Who only follows has not looked whether the tables fit again.
        let looked = !self.source.start.follows();
        let was_held = {
            let mut now = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
            let again = now.held.is_some() && looked && catalog.version == now.published.version;
            let was_held = now.held.is_some() && (again || catalog.version > now.published.version);
            if again || catalog.version > now.published.version {
                tracing::info!(version = %catalog.version, "a new catalog is in force");
                *now = InForce::whole(catalog);
            }
            was_held
        };
        if was_held {
            events::of_schema(&self.db.client().await?, None).await?;
        }
        Ok(())
    }

    /// Serves on under the catalog in force.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn hold(&self, error: &PrepareError) -> Result<(), PrepareError> {
        let published = self.published();
        let Some(suspended) = prepare::suspend(&self.db, &published).await? else { return Ok(()) };
        let held = InForce::held(Arc::clone(&published), &suspended, error.to_string());
        {
            let mut now = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
            if now.published.version != published.version || now.held == held.held {
                return Ok(());
            }
            *now = held.clone();
        }
        let Some(held) = held.held else { return Ok(()) };
        let Held { reason, tables } = &*held;
        tracing::error!(
            reason, suspended = ?tables,
            "the schema changed and cannot be brought in; serving goes on under the catalog in force: see rejoin doctor"
        );
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        notices::of_schema(&transaction, published.version, reason, tables).await?;
        events::of_schema(&transaction, Some(reason)).await?;
        transaction.commit().await?;
        Ok(())
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
