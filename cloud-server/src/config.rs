//! What an operator decides about a cloud. Read once at start; the CLI fills it from flags, environment and file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use conflict_ui_api::ApiConfig;
pub use conflict_ui_api::server::TlsFiles;

use crate::notify::Pace;
use crate::postgres::Durability;
use crate::systems::VIDEO_PRODUCTION;

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
    /// The file with the key of the MACs, made at the first start; `None`: `data/secret.key`. Servers of one database share it.
    pub secret_file: Option<PathBuf>,
    /// The built-in system to install; `None`: the one that the database has, if any.
    pub system: Option<String>,
    /// The settings (`rejoin.toml`); `None`: the built-in system's.
    pub settings: Option<PathBuf>,
    /// Whether the private PostgreSQL's commits must survive a power cut. Tests need not wait for that.
    pub durability: Durability,
    /// Connections to the database.
    pub pool_size: usize,
    /// The API's settings: origins, limits, rates.
    pub api: ApiConfig,
    /// How patient and how eager the webhook is (`[notify]` in `rejoin.toml`).
    pub notify: Pace,
    /// How long a stop waits for requests that are under way.
    pub stop_grace: Duration,
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
            secret_file: None,
            system: Some(VIDEO_PRODUCTION.name.to_owned()),
            settings: None,
            durability: Durability::Durable,
            pool_size: 16,
            api: ApiConfig::default(),
            notify: Pace::default(),
            stop_grace: Duration::from_secs(30),
        }
    }
}
