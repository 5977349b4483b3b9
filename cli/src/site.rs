//! `rejoin site`: a site's server.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use conflict_ui_api::server::TlsFiles;
use local_server::cloud_link::LinkError;
use local_server::identity::JoinError;
use local_server::{Site, SiteConfig, SiteError};
use serde_json::json;

use crate::cloud::tls;
use crate::exit::{Exit, Failure, Result};
use crate::settings::Settings;
use crate::{output, signals};

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
    /// Name or address that the own certificate is for, besides this machine's; may be repeated
    #[arg(long, env = "REJOIN_SITE_LAN_NAME", value_name = "NAME")]
    lan_name: Vec<String>,
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

pub(crate) async fn run(matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let settings = Settings::load("site", matches, config)?;
    let site = signals::or_interrupted(async { Site::start(site_config(&settings)?).await.map_err(failure) }).await?;
    let said = announce(&site, json);
    let stopped = match said {
        Ok(()) => signals::stop().await,
        failed => failed,
    };
    signals::unless_again(site.stop()).await?;
    stopped
}

fn site_config(settings: &Settings) -> Result<SiteConfig> {
    let mut config = SiteConfig::new(settings.required_path("data")?);
    config.cloud = settings.text("cloud");
    config.token = settings.text("token");
    config.listen = settings.address("listen")?;
    config.tls = tls(settings)?.map(|(cert, key)| TlsFiles { cert, key });
    config.lan_ca = settings.flag("lan-ca");
    config.lan_names = settings.list("lan-name");
    config.cloud_ca = settings.path("cloud-ca");
    config.allow_http = settings.flag("allow-http");
    config.daemon.interval = settings.seconds("interval")?;
    config.api.origins = settings.list("cors-origin");
    Ok(config)
}

fn announce(site: &Site, json: bool) -> Result {
    let ca = site.own_ca();
    if json {
        let ca = ca.map(|own| json!({ "file": own.ca, "fingerprint": own.fingerprint }));
        return output::json(&json!({ "site": site.name(), "url": site.url(), "ca": ca }));
    }
    output::line(&format!("{} serves at {}", site.name(), site.url()))?;
    match ca {
        Some(own) => output::line(&format!("its certificate authority is {}, SHA-256 {}", own.ca.display(), own.fingerprint)),
        None => Ok(()),
    }
}

fn failure(error: SiteError) -> Failure {
    let exit = match &error {
        SiteError::NoCloud | SiteError::Join(JoinError::NoToken) => Exit::Usage,
        SiteError::Link(LinkError::Config(_)) | SiteError::Join(JoinError::Link(LinkError::Config(_))) => Exit::Config,
        SiteError::Link(LinkError::Offline(_)) | SiteError::Join(JoinError::Link(LinkError::Offline(_))) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
