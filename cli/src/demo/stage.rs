//! The servers of the demo: one cloud with a private PostgreSQL, two sites, and a link between each site and the cloud.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cloud_server::{Cloud, CloudConfig};
use local_server::{Site, SiteConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::data::Production;
use super::link::Link;
use super::tell::Tell;
use crate::client::Client;
use crate::exit::Result;
use crate::import::{self, ImportRow};
use crate::output::cell;

/// A server as the story sees it.
pub(crate) struct Server {
    /// Its name.
    pub(crate) name: &'static str,
    /// The way to speak to it.
    pub(crate) client: Client,
    /// Its data folder.
    pub(crate) data: PathBuf,
}

/// All of them. They share one folder, which goes with [`Stage::stop`].
pub(crate) struct Stage {
    /// The cloud.
    pub(crate) cloud: Server,
    /// The cloud's database, for programs that write past Rejoin.
    pub(crate) database_url: String,
    /// A site.
    pub(crate) site_a: Server,
    /// Another one, with the same scopes.
    pub(crate) site_b: Server,
    links: [Link; 2],
    running_sites: [Site; 2],
    running_cloud: Cloud,
    folder: TempDir,
}

impl Stage {
    /// Starts the cloud, fills it, and lets two sites join that hold the production.
    pub(crate) async fn start(equipment: &[ImportRow], made: &Production, tell: &Tell) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rejoin-demo-").tempdir()?;
        let data = folder.path().join("cloud");
        let running_cloud = Cloud::start(CloudConfig::new(&data)).await.context("the cloud")?;
        let cloud = Server { name: "cloud", client: Client::new(running_cloud.url(), running_cloud.token(), None)?, data };
        let database_url = running_cloud.private_database_url().context("the cloud has no PostgreSQL of its own")?.to_owned();
        tell.line(&format!("a cloud at {}, with a PostgreSQL of its own", running_cloud.url()))?;
        let written = import::send(&cloud.client, &[equipment, made.rows.as_slice()].concat()).await?;
        tell.line(&format!("{} rows: equipment, and a production with sources, sends and connections", written.created))?;

        let address = address(running_cloud.url())?;
        let scope = format!("productions/{}", made.id);
        let (link_a, running_a, site_a) = join("site-a", &cloud.client, address, &scope, folder.path()).await?;
        let (link_b, running_b, site_b) = join("site-b", &cloud.client, address, &scope, folder.path()).await?;
        tell.line("two sites have joined and hold the production and the equipment")?;
        let (links, running_sites) = ([link_a, link_b], [running_a, running_b]);
        Ok(Self { cloud, database_url, site_a, site_b, links, running_sites, running_cloud, folder })
    }

    /// Both sites.
    pub(crate) fn sites(&self) -> [&Server; 2] {
        [&self.site_a, &self.site_b]
    }

    /// All servers, the cloud first.
    pub(crate) fn servers(&self) -> [&Server; 3] {
        [&self.cloud, &self.site_a, &self.site_b]
    }

    /// Cuts both links.
    pub(crate) fn cut(&self) {
        self.links.iter().for_each(Link::cut);
    }

    /// Mends both links.
    pub(crate) fn mend(&self) {
        self.links.iter().for_each(Link::mend);
    }

    /// Shows that a sync fails now, and what waits at each site.
    pub(crate) async fn see_offline(&self, tell: &Tell) -> Result {
        for site in self.sites() {
            let status = site.client.post(&["api", "sync", "run"], &json!({ "direction": "BIDIRECTIONAL" })).await?;
            let online = status.get("online").and_then(Value::as_bool).unwrap_or(true);
            if online {
                return Err(crate::exit::Failure::failed(format!("{} says that it reached the cloud over a cut link", site.name)));
            }
            tell.line(&format!("{} cannot reach the cloud; {} edits wait there", site.name, cell(&status, "pending")))?;
        }
        Ok(())
    }

    /// Lets the sites sync by themselves again.
    pub(crate) async fn resume(&self) -> Result {
        for site in self.sites() {
            site.client.post(&["api", "sync", "resume"], &json!({})).await?;
        }
        Ok(())
    }

    /// Says where everything is.
    pub(crate) fn show(&self, tell: &Tell) -> Result {
        for server in self.servers() {
            tell.line(&format!("{} at {}: rejoin status --data {}", server.name, server.client.url(), server.data.display()))?;
        }
        tell.line(&format!("rejoin conflicts list --resolution all --data {}", self.cloud.data.display()))
    }

    /// Stops everything and removes the folder.
    pub(crate) async fn stop(self) -> Result {
        for site in self.running_sites {
            site.stop().await;
        }
        self.running_cloud.stop().await;
        Ok(self.folder.close()?)
    }
}

/// Adds a site at the cloud, starts it behind a link, and makes it wait for orders: the story decides who syncs when.
async fn join(name: &'static str, cloud: &Client, address: SocketAddr, scope: &str, folder: &Path) -> Result<(Link, Site, Server)> {
    let invited = cloud.post(&["api", "rejoin", "sites"], &json!({ "name": name, "scopes": [scope] })).await?;
    let link = Link::start(address).await?;
    let data = folder.join(name);
    let mut config = SiteConfig::new(&data);
    config.cloud = Some(link.url());
    config.token = Some(cell(&invited, "token"));
    let site = Site::start(config).await.context(name)?;
    let client = Client::new(site.url(), site.token(), None)?;
    client.post(&["api", "sync", "pause"], &json!({})).await?;
    Ok((link, site, Server { name, client, data }))
}

fn address(url: &str) -> Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").parse().with_context(|| format!("{url} has no address"))?)
}
