//! The composition root: one cloud server, from its settings to its last request. The CLI, the demo and the tests all start it here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use conflict_ui_api::ApiState;
use conflict_ui_api::private_file::{self, SERVER_FILE};
use conflict_ui_api::secret::{SecretKind, generate, hash};
use conflict_ui_api::server::{Server, local_url};
use sync_core::limits::HISTORY_PRUNE_EVERY;

use crate::background::Background;
use crate::config::CloudConfig;
use crate::core::Core;
use crate::http;
use crate::postgres::{Cluster, PostgresError};
use crate::private::Private;
use crate::secret::SecretKey;
use crate::settings::{LoadError, Settings};
use crate::source::Source;
use crate::store::error::StoreError;
use crate::store::pace::Pace;
use crate::store::pool::{Database, UrlError};
use crate::store::prepare::lead::Start;
use crate::store::prepare::{self, PrepareError};
use crate::store::{accounts, history, state};
use crate::systems::BuiltIn;
use crate::watch::Seen;

/// The database inside a private cluster.
pub const DATABASE: &str = "rejoin";

/// The first user.
pub const FIRST_ADMIN: &str = "admin";

/// A cloud server that serves.
#[derive(Debug)]
pub struct Cloud {
    url: String,
    token: String,
    first_admin_secret: Option<String>,
    server_file: PathBuf,
    stop_grace: Duration,
    server: Server,
    background: Background,
    db: Database,
    private: Option<Private>,
}

/// What a start brings about: the server, what works beside it, where it serves, and the secrets of this start.
type Serving = (Server, Background, String, String, Option<String>);

/// Why a cloud could not start.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The private PostgreSQL could not start.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The database could not be made ready: migrated, introspected, stamped.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// `rejoin.toml` cannot be read.
    #[error(transparent)]
    Settings(#[from] LoadError),
    /// There is no such built-in system.
    #[error("there is no built-in system {0}; there is {known}", known = BuiltIn::ALL.map(|system| system.name).join(", "))]
    UnknownSystem(String),
    /// Nothing says what is to be synced.
    #[error("nothing says what is to be synced: name a built-in system, or the settings of your own (rejoin.toml)")]
    NoSystem,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files of the certificate and its key cannot be used.
    #[error("the TLS files cannot be used: {0}")]
    Tls(#[source] io::Error),
    /// Notices cannot be sent.
    #[error("the webhook cannot be used: {0}")]
    Webhook(#[source] reqwest::Error),
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

impl CloudError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

impl Cloud {
    /// Starts a cloud and returns once it serves: database found or made, migrated, its catalog published, the first admin there.
    ///
    /// # Errors
    /// See [`CloudError`]. What was started before the error is stopped.
    pub async fn start(config: CloudConfig) -> Result<Self, CloudError> {
        // Somebody else may have installed one already; any provider will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        // What can be seen to be wrong is said before anything is made.
        if let Some(tls) = &config.tls {
            tls.check().await.map_err(CloudError::Tls)?;
        }
        if let Some(file) = &config.settings {
            Settings::load(file)?.webhook().map_err(LoadError::from)?;
        }
        match &config.database_url {
            Some(_) => make_folder(&config.data)?,
            None => Cluster::make_folder(&config.data)?,
        }
        let secret_file = config.secret_file.clone().unwrap_or_else(|| config.data.join("secret.key"));
        let key = SecretKey::load_or_make(&secret_file).map_err(CloudError::io(secret_file.display().to_string()))?;
        let private = match &config.database_url {
            Some(_) => None,
            None => Some(Private::start(&config.data.join("postgres"), config.durability, DATABASE).await?),
        };
        let url = config.database_url.clone().or_else(|| private.as_ref().map(|private| private.url().to_owned()));
        let db = Database::open(&url.unwrap_or_default(), config.pool_size)?;
        match Self::serve(&config, key, db.clone()).await {
            Ok((server, background, url, token, first_admin_secret)) => {
                let server_file = config.data.join(SERVER_FILE);
                Ok(Self { url, token, first_admin_secret, server_file, stop_grace: config.stop_grace, server, background, db, private })
            }
            Err(error) => {
                db.close();
                if let Some(private) = private {
                    private.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn serve(config: &CloudConfig, key: SecretKey, db: Database) -> Result<Serving, CloudError> {
        let (system, settings) = chosen(config, &db).await?;
        let webhook = settings.webhook().map_err(LoadError::from)?;
        let seen = Seen::now(&db).await?;
        let start = Start::default();
        let (catalog, moved) = match prepare::enforce(&db, &settings, system, &Pace::quiet(), &start).await {
            Ok(catalog) => (catalog, None),
            Err(error) => match prepare::to_go_on_under(&db, &error).await? {
                Some(catalog) => (catalog, Some(error)),
                None => return Err(error.into()),
            },
        };
        let epoch = state::begin_epoch(&db.client().await?).await?;
        let token = generate(SecretKind::Token);
        let keep = settings.history.keep();
        let source = Source::new(settings, system, config.settings.clone(), start);
        let core = Arc::new(Core::new(db.clone(), key, epoch, source, catalog));
        if let Some(error) = moved {
            core.suspend(&error).await?;
        }
        tokio::spawn(prune_history(Arc::downgrade(&core), keep));
        let mut api = config.api.clone();
        api.tls = config.tls.is_some();
        api.admin_token_hash = Some(hash(&token));
        let router = http::router(&core, ApiState::new(core.clone(), core.clone(), api));
        let background = Background::start(config, &core, webhook, seen).await?;
        let listening = Server::start(config.listen, config.tls.as_ref(), router).await;
        let server = listening.map_err(CloudError::io(format!("cannot listen on {}", config.listen)))?;
        match Self::introduce(config, &server, &db, &token).await {
            Ok((url, first_admin_secret)) => Ok((server, background, url, token, first_admin_secret)),
            Err(error) => {
                server.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Tells the programs of this machine, and makes the first admin: last of all, since a start that fails would take the secret with it.
    async fn introduce(config: &CloudConfig, server: &Server, db: &Database, token: &str) -> Result<(String, Option<String>), CloudError> {
        let url = local_url(server.address(), config.tls.is_some());
        // A certificate that only its operator knows is trusted by programs that may read the file.
        let ca = config.tls.as_ref().map(|tls| tls.cert.as_path());
        let announced = private_file::announce(&config.data, &url, token, ca);
        announced.map_err(CloudError::io(config.data.join(SERVER_FILE).display().to_string()))?;
        let first_admin_secret = first_admin(db).await?;
        tracing::info!(url, "the cloud serves");
        Ok((url, first_admin_secret))
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

    /// The one-time sign-in secret of [`FIRST_ADMIN`], where this start made the user. It is kept nowhere else.
    #[must_use]
    pub fn first_admin_secret(&self) -> Option<&str> {
        self.first_admin_secret.as_deref()
    }

    /// The URL of the private PostgreSQL, where the cloud runs one. It holds a password: not for logs.
    #[must_use]
    pub fn private_database_url(&self) -> Option<&str> {
        self.private.as_ref().map(Private::url)
    }

    /// The process id of the private PostgreSQL, where the cloud runs one.
    #[must_use]
    pub fn private_database_pid(&self) -> Option<u32> {
        self.private.as_ref().map(Private::pid)
    }

    /// Accepts nothing more, lets requests under way end for a while, then stops the private PostgreSQL if there is one.
    pub async fn stop(self) {
        drop(std::fs::remove_file(&self.server_file));
        // Listeners for events come to their end first: their requests would never end by themselves.
        self.background.stop().await;
        self.server.stop(self.stop_grace).await;
        self.db.close();
        if let Some(private) = self.private {
            private.stop().await;
        }
        tracing::info!("the cloud has stopped");
    }
}

/// Removes what is too old from the history of rows, now and then, as long as the cloud is there; in small transactions.
async fn prune_history(core: Weak<Core>, keep: Duration) {
    while let Some(db) = core.upgrade().map(|core| core.db.clone()) {
        match prune_once(&db, keep).await {
            // There may be more of it.
            Ok(removed) if removed > 0 => {}
            Ok(_) => tokio::time::sleep(HISTORY_PRUNE_EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "the history of rows was not looked through for what is too old");
                tokio::time::sleep(HISTORY_PRUNE_EVERY).await;
            }
        }
    }
}

async fn prune_once(db: &Database, keep: Duration) -> Result<u64, StoreError> {
    let client = db.client().await?;
    Ok(history::prune(&client, keep).await? + history::prune_records(&client).await?)
}

/// The built-in system and the settings: as configured, else those of the system that the database has.
async fn chosen(config: &CloudConfig, db: &Database) -> Result<(Option<BuiltIn>, Settings), CloudError> {
    settings_for(db, config.system.as_deref(), config.settings.as_deref()).await
}

/// The built-in system and the settings that a cloud on this database would go by: `file`, else those of the system that is named, else those of
/// the system that the database holds.
///
/// # Errors
/// The file or the system cannot be had; nothing says what is synced.
pub async fn settings_for(db: &Database, system: Option<&str>, file: Option<&Path>) -> Result<(Option<BuiltIn>, Settings), CloudError> {
    let named = |name: &str| BuiltIn::named(name).ok_or_else(|| CloudError::UnknownSystem(name.to_owned()));
    let system = system.map(named).transpose()?;
    if let Some(file) = file {
        return Ok((system, Settings::load(file)?));
    }
    let system = match system {
        Some(system) => system,
        None => state::system(&db.client().await?).await?.as_deref().map(named).transpose()?.ok_or(CloudError::NoSystem)?,
    };
    Ok((Some(system), system.settings().map_err(LoadError::from)?))
}

fn make_folder(folder: &Path) -> Result<(), CloudError> {
    std::fs::create_dir_all(folder).map_err(CloudError::io(folder.display().to_string()))
}

/// Makes the first user, an admin with a one-time secret, where there is no user at all.
async fn first_admin(db: &Database) -> Result<Option<String>, StoreError> {
    let secret = generate(SecretKind::OneTime);
    let made = accounts::make_first(&db.client().await?, FIRST_ADMIN, &hash(&secret)).await?;
    Ok(made.then_some(secret))
}
