//! What an operator decides about a site. Read once at start; the CLI fills it from flags, environment and file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use conflict_ui_api::ApiConfig;
pub use conflict_ui_api::server::TlsFiles;

use crate::daemon::DaemonConfig;

/// The settings of one site's server.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// The site's folder: `site.db`, `site.key`, `server.json`, `tls/`.
    pub data: PathBuf,
    /// The cloud's URL; `None`: the one that the site has known since it joined.
    pub cloud: Option<String>,
    /// The single-use token that `rejoin sites add` or `rejoin sites token` printed. Used where the site has not joined by this one yet.
    pub token: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS by these files; `None`: plain http, or the site's own certificate.
    pub tls: Option<TlsFiles>,
    /// Whether the site makes a certificate authority of its own in `data/tls` and serves TLS by it, where `tls` gives no files.
    /// Once it has, it goes on at every start until `data/tls` is removed.
    pub lan_ca: bool,
    /// Names and addresses that the own certificate is for, besides this machine's name and its address on the network.
    pub lan_names: Vec<String>,
    /// Certificates to trust for the cloud besides the machine's (PEM).
    pub cloud_ca: Option<PathBuf>,
    /// Whether plain http is allowed to a cloud that is not on this machine.
    pub allow_http: bool,
    /// When to sync.
    pub daemon: DaemonConfig,
    /// The API's settings: origins, limits, rates.
    pub api: ApiConfig,
    /// How long a stop waits for requests that are under way.
    pub stop_grace: Duration,
}

impl SiteConfig {
    /// A site in this folder with the defaults: loopback, a free port, plain http, a sync every minute.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            cloud: None,
            token: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            lan_ca: false,
            lan_names: Vec::new(),
            cloud_ca: None,
            allow_http: false,
            daemon: DaemonConfig::default(),
            api: ApiConfig::default(),
            stop_grace: Duration::from_secs(30),
        }
    }
}
