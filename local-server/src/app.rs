//! The composition root: one site's server, from its settings to its last request. The CLI, the demo and the tests all start it here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use conflict_ui_api::ApiState;
use conflict_ui_api::middleware::stack;
use conflict_ui_api::private_file::{self, SERVER_FILE};
use conflict_ui_api::secret::{SecretKind, generate, hash};
use conflict_ui_api::server::{Server, local_url};

use crate::backend::SiteBackend;
use crate::cloud_link::{CloudLink, LinkConfig, LinkError};
use crate::config::SiteConfig;
use crate::daemon::Daemon;
use crate::identity::{JoinError, join};
use crate::lan_ca::{self, LanCa, LanCaError};
use crate::run::Syncer;
use crate::store::{Database, DbError, StoreError, identity, install};

/// The fact of `rejoin_state` that keeps the cloud's URL.
const CLOUD_URL: &str = "cloud_url";

/// A site's server that serves.
pub struct Site {
    name: String,
    url: String,
    token: String,
    own_ca: Option<LanCa>,
    server_file: PathBuf,
    stop_grace: Duration,
    server: Server,
    running: Running,
}

/// What runs behind the server.
#[derive(Clone)]
struct Running {
    db: Database,
    daemon: Arc<Daemon>,
}

/// Why a site could not start.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The database cannot be opened, or another process serves the folder.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No cloud is named.
    #[error("this site does not know its cloud yet: start it once with the cloud's URL and the token that `rejoin sites add NAME` prints")]
    NoCloud,
    /// The settings of the link to the cloud cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It could not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its own certificate cannot be made.
    #[error(transparent)]
    LanCa(#[from] LanCaError),
    /// A file or the socket could not be used.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl SiteError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl Site {
    /// Starts a site and returns once it serves. It joins its cloud where it has not yet, which alone needs the link; a site that has joined
    /// starts without, and one that has not fetched its catalog yet serves `/health` until it has.
    ///
    /// # Errors
    /// See [`SiteError`]. What was started before the error is stopped.
    pub async fn start(config: SiteConfig) -> Result<Self, SiteError> {
        // Somebody else may have installed one already; any provider will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let db = Database::open(&config.data)?;
        let started = match Self::join_and_sync(&config, &db).await {
            Ok((name, daemon)) => {
                let running = Running { db: db.clone(), daemon: Arc::new(daemon) };
                let serving = Self::serve(&config, name, running.clone()).await;
                if serving.is_err() {
                    running.daemon.stop().await;
                }
                serving
            }
            Err(error) => Err(error),
        };
        if started.is_err() {
            db.close().await;
        }
        started
    }

    /// Joins, brings an older program's triggers up to date, and starts the sync.
    async fn join_and_sync(config: &SiteConfig, db: &Database) -> Result<(String, Daemon), SiteError> {
        let known: Option<String> = db.read(|connection| identity::fact(connection, CLOUD_URL)).await?;
        let url = config.cloud.clone().or_else(|| known.clone()).ok_or(SiteError::NoCloud)?;
        let mut link = LinkConfig::new(url.clone());
        link.allow_http = config.allow_http;
        link.extra_ca = config.cloud_ca.as_deref().map(read).transpose()?;
        let (who, link) = join(db, &CloudLink::new(&link)?, &config.data, config.token.as_deref()).await?;
        if known.as_ref() != Some(&url) {
            db.apply(move |connection| identity::set_fact(connection, CLOUD_URL, &url)).await?;
        }
        if let Some(catalog) = db.catalog() {
            let name = who.name.clone();
            db.apply(move |connection| install::refresh(connection, &catalog, &name)).await?;
        }
        let name = who.name.clone();
        let syncer = Syncer::new(db.clone(), link, who).await?;
        Ok((name, Daemon::start(db.clone(), syncer, config.daemon.clone()).await?))
    }

    async fn serve(config: &SiteConfig, name: String, running: Running) -> Result<Self, SiteError> {
        let tls = config.data.join("tls");
        let has_served_tls = lan_ca::exists(&tls);
        let own_ca = match &config.tls {
            None if config.lan_ca || has_served_tls => {
                Some(lan_ca::load_or_make(&tls, &name, config.listen, &config.lan_names, Utc::now())?)
            }
            _ => None,
        };
        if own_ca.is_some() && !config.lan_ca {
            tracing::info!(folder = %tls.display(), "TLS by the site's own certificate authority, as before; remove the folder for plain http");
        }
        let files = config.tls.as_ref().or_else(|| own_ca.as_ref().map(|own| &own.files));
        let token = generate(SecretKind::Token);
        let mut api = config.api.clone();
        api.tls = files.is_some();
        api.admin_token_hash = Some(hash(&token));
        let backend = Arc::new(SiteBackend::new(name.clone(), running.db.clone(), Some(Arc::clone(&running.daemon))));
        let router = stack(conflict_ui_api::router(ApiState::new(backend.clone(), backend, api.clone()), Vec::new()), &api);
        let listening = Server::start(config.listen, files, router).await;
        let server = listening.map_err(SiteError::io(format!("cannot listen on {}", config.listen)))?;
        let url = local_url(server.address(), files.is_some());
        let ca = own_ca.as_ref().map(|own| own.ca.as_path());
        let server_file = match private_file::announce(&config.data, &url, &token, ca) {
            Ok(file) => file,
            Err(error) => {
                server.stop(Duration::ZERO).await;
                return Err(SiteError::Io { what: config.data.join(SERVER_FILE).display().to_string(), error });
            }
        };
        tracing::info!(site = name, url, "the site serves");
        Ok(Self { name, url, token, own_ca, server_file, stop_grace: config.stop_grace, server, running })
    }

    /// The site's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves, as seen from this machine.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// This start's admin token, which `server.json` holds for programs on this machine.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The site's own certificate authority, where it serves by one.
    #[must_use]
    pub fn own_ca(&self) -> Option<&LanCa> {
        self.own_ca.as_ref()
    }

    /// The sync daemon.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.running.daemon
    }

    /// Breaks a run of the sync off, accepts nothing more, lets requests under way end for a while, and moves the WAL into the database.
    pub async fn stop(self) {
        drop(std::fs::remove_file(&self.server_file));
        self.running.daemon.stop().await;
        self.server.stop(self.stop_grace).await;
        self.running.db.close().await;
        tracing::info!(site = self.name, "the site has stopped");
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SiteError> {
    std::fs::read(path).map_err(SiteError::io(path.display().to_string()))
}
