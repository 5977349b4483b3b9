//! `rejoin site`: a site's server.

use clap::Args;

/// The flags of a site. All are texts here: [`crate::settings`] reads flag, environment and file alike.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin site --data studio-2 --cloud https://cloud.example.org --token rje_...   # joins once\n  \
    rejoin site --data studio-2                                                     # serves ever after")]
pub(crate) struct SiteArgs {
    /// Folder for the site's database, key and server.json
    #[arg(long, env = "REJOIN_SITE_DATA", value_name = "DIR")]
    data: Option<String>,
    /// The cloud's address; kept after joining
    #[arg(long, env = "REJOIN_SITE_CLOUD", value_name = "URL")]
    cloud: Option<String>,
    /// The single-use token that `rejoin sites add` printed
    #[arg(long, env = "REJOIN_SITE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3002]
    #[arg(long, env = "REJOIN_SITE_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Seconds between syncs when nothing happens [default: 60]
    #[arg(long, env = "REJOIN_SITE_INTERVAL", value_name = "SECONDS")]
    interval: Option<String>,
    /// Certificate chain (PEM), with --tls-key
    #[arg(long, env = "REJOIN_SITE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key (PEM), with --tls-cert
    #[arg(long, env = "REJOIN_SITE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
    /// Make a certificate authority of the site's own, and serve TLS by it
    #[arg(long, env = "REJOIN_SITE_LAN_CA", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    lan_ca: Option<String>,
    /// Speak plain http to a cloud that is not on this machine
    #[arg(long, env = "REJOIN_SITE_ALLOW_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_http: Option<String>,
    /// Certificate authority to trust for the cloud, besides the system's (PEM)
    #[arg(long, env = "REJOIN_SITE_CLOUD_CA", value_name = "FILE")]
    cloud_ca: Option<String>,
    /// Origin whose pages may call the API; may be repeated
    #[arg(long, env = "REJOIN_SITE_CORS_ORIGIN", value_name = "ORIGIN")]
    cors_origin: Vec<String>,
}
