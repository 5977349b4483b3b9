//! What an operator decides about a cloud. Read once at start; the CLI fills it from flags, environment and file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use conflict_ui_api::ApiConfig;

use crate::secret::SecretKey;

/// The settings of one cloud server.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// The server's folder: `secret.key`, `server.json`, and the private PostgreSQL where no URL is given.
    pub data: PathBuf,
    /// The database, any PostgreSQL from 15 on; `None`: a private one in `data/postgres`.
    pub database_url: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS; `None`: plain http.
    pub tls: Option<TlsFiles>,
    /// The key of the MACs; `None`: the one in `data/secret.key`, made at the first start. Servers of one database share it.
    pub secret_key: Option<SecretKey>,
    /// The settings of the system (`rejoin.toml`), or the name of a built-in one.
    pub system: SystemSource,
    /// Connections to the database.
    pub pool_size: usize,
    /// The API's settings: origins, limits, rates.
    pub api: ApiConfig,
    /// How long a stop waits for requests that are under way.
    pub stop_grace: Duration,
}

/// A certificate chain and its key, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Where the system's settings come from.
#[derive(Debug, Clone, Default)]
pub enum SystemSource {
    /// The built-in system for live video production: its tables are made, its settings used.
    #[default]
    VideoProduction,
    /// A `rejoin.toml` over tables that the user's own migrations make.
    File(PathBuf),
}

impl CloudConfig {
    /// A cloud in this folder with the defaults: private PostgreSQL, loopback, a free port, plain http, the built-in system.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            database_url: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            secret_key: None,
            system: SystemSource::default(),
            pool_size: 16,
            api: ApiConfig::default(),
            stop_grace: Duration::from_secs(30),
        }
    }
}
