//! `rejoin cloud`: the cloud server.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use cloud_server::app::FIRST_ADMIN;
use cloud_server::config::TlsFiles;
use cloud_server::systems::{BuiltIn, VIDEO_PRODUCTION};
use cloud_server::{Cloud, CloudConfig, CloudError};
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::settings::Settings;
use crate::{output, signals};

/// The flags of the cloud. All are texts here: [`crate::settings`] reads flag, environment and file alike.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin cloud --data rejoin-cloud                        # a private PostgreSQL in rejoin-cloud/\n  \
    rejoin cloud --database-url postgres://app@db/app --system video-production\n  \
    rejoin cloud --database-url postgres://app@db/app?sslmode=require --settings rejoin.toml --listen 0.0.0.0:3001 --tls-cert cert.pem --tls-key key.pem")]
pub(crate) struct CloudArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:3001]
    #[arg(long, env = "REJOIN_CLOUD_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Certificate chain (PEM), with --tls-key
    #[arg(long, env = "REJOIN_CLOUD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key (PEM), with --tls-cert
    #[arg(long, env = "REJOIN_CLOUD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<String>,
    /// Origin whose pages may call the API; may be repeated
    #[arg(long, env = "REJOIN_CLOUD_CORS_ORIGIN", value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// File with the key that signs cursors and answers [default: DIR/secret.key]
    #[arg(long, env = "REJOIN_CLOUD_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<String>,
}

/// Which database, and what is in it.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// PostgreSQL (15 or newer) to work on; without it a private one runs in the data folder
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Folder for the private PostgreSQL, the server's secret and its server.json [default: rejoin-cloud]
    #[arg(long, env = "REJOIN_CLOUD_DATA", value_name = "DIR")]
    data: Option<String>,
    /// Built-in system to install into an empty database
    #[arg(long, env = "REJOIN_CLOUD_SYSTEM", value_name = "NAME")]
    system: Option<String>,
    /// What introspection cannot see: scope root, tables left out, policies, JSON case (rejoin.toml)
    #[arg(long, env = "REJOIN_CLOUD_SETTINGS", value_name = "FILE")]
    settings: Option<String>,
}

pub(crate) async fn run(matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let settings = Settings::load("cloud", matches, config)?;
    let cloud = signals::or_interrupted(async { Cloud::start(cloud_config(&settings)?).await.map_err(failure) }).await?;
    let said = announce(&cloud, json);
    let stopped = match said {
        Ok(()) => signals::stop().await,
        failed => failed,
    };
    signals::unless_again(cloud.stop()).await?;
    stopped
}

fn cloud_config(settings: &Settings) -> Result<CloudConfig> {
    let mut config = CloudConfig::new(settings.required_path("data")?);
    config.database_url = settings.text("database-url");
    config.listen = settings.address("listen")?;
    config.tls = tls(settings)?.map(|(cert, key)| TlsFiles { cert, key });
    config.secret_file = settings.path("secret-file");
    config.system = system(settings)?.map(|system| system.name.to_owned());
    config.settings = settings.path("settings");
    config.api.origins = settings.list("cors-origin");
    Ok(config)
}

/// The built-in system: the one asked for; without a database and settings of one's own, video production.
pub(crate) fn system(settings: &Settings) -> Result<Option<BuiltIn>> {
    let Some(name) = settings.text("system") else {
        let own = settings.text("database-url").is_some() || settings.text("settings").is_some();
        return Ok((!own).then_some(VIDEO_PRODUCTION));
    };
    let names = || BuiltIn::ALL.iter().map(|system| system.name).collect::<Vec<_>>().join(", ");
    let found = BuiltIn::named(&name).ok_or_else(|| Failure::new(Exit::Config, format!("there is no system {name}; there is {}", names())));
    found.map(Some)
}

/// Certificate and key: both or none.
pub(crate) fn tls(settings: &Settings) -> Result<Option<(PathBuf, PathBuf)>> {
    match (settings.path("tls-cert"), settings.path("tls-key")) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => Err(Failure::new(Exit::Config, "tls-cert and tls-key go together")),
    }
}

fn announce(cloud: &Cloud, json: bool) -> Result {
    let secret = cloud.first_admin_secret();
    if json {
        return output::json(&json!({ "url": cloud.url(), "admin": secret.map(|_| FIRST_ADMIN), "oneTimeSecret": secret }));
    }
    output::line(&format!("the cloud serves at {}", cloud.url()))?;
    match secret {
        Some(secret) => output::line(&format!("first start: sign in once as {FIRST_ADMIN} with {secret} and set a password")),
        None => Ok(()),
    }
}

fn failure(error: CloudError) -> Failure {
    let exit = match &error {
        CloudError::Settings(_) => Exit::Usage,
        CloudError::Prepare(error) => error.into(),
        CloudError::Url(_) | CloudError::Tls(_) => Exit::Config,
        CloudError::Store(error) => error.into(),
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
