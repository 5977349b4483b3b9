//! `rejoin cloud`: the cloud server.

use clap::Args;

/// The flags of the cloud. All are texts here: [`crate::settings`] reads flag, environment and file alike.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin cloud --data rejoin-cloud                        # a private PostgreSQL in rejoin-cloud/\n  \
    rejoin cloud --database-url postgres://app@db/app --system video-production\n  \
    rejoin cloud --database-url postgres://app@db/app?sslmode=require --settings rejoin.toml --listen 0.0.0.0:3001 --tls-cert cert.pem --tls-key key.pem")]
pub(crate) struct CloudArgs {
    /// PostgreSQL (15 or newer) to work on; without it a private one runs in the data folder
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Folder for the private PostgreSQL, the server's secret and its server.json [default: rejoin-cloud]
    #[arg(long, env = "REJOIN_CLOUD_DATA", value_name = "DIR")]
    data: Option<String>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3001]
    #[arg(long, env = "REJOIN_CLOUD_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Certificate chain (PEM), with --tls-key
    #[arg(long, env = "REJOIN_CLOUD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key (PEM), with --tls-cert
    #[arg(long, env = "REJOIN_CLOUD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
    /// Built-in system to install into an empty database
    #[arg(long, env = "REJOIN_CLOUD_SYSTEM", value_name = "NAME")]
    system: Option<String>,
    /// What introspection cannot see: scope root, tables left out, policies, JSON case (rejoin.toml)
    #[arg(long, env = "REJOIN_CLOUD_SETTINGS", value_name = "FILE")]
    settings: Option<String>,
    /// Origin whose pages may call the API; may be repeated
    #[arg(long, env = "REJOIN_CLOUD_CORS_ORIGIN", value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// File with the key that signs cursors and answers [default: DIR/secret]
    #[arg(long, env = "REJOIN_CLOUD_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<String>,
}
