//! A cloud and some sites in this process, over real sockets, a real PostgreSQL and SQLite files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cloud_server::test_support::{self, Database};
use cloud_server::{Cloud, CloudConfig};
use local_server::SiteConfig;

use serde_json::{Value, json};

use crate::Api;
use crate::api::Answer;
use crate::fault_proxy::FaultProxy;

/// How many rounds of sync make the world equal once writes have stopped (K of invariant I1).
const ROUNDS: usize = 5;

/// A cloud and its sites.
pub struct World {
    /// The cloud's API, as an admin.
    pub cloud: Api,
    server: Option<Cloud>,
    config: CloudConfig,
    sites: std::sync::Mutex<BTreeMap<String, &'static Site>>,
    database: Database,
    dir: tempfile::TempDir,
}

/// A site of a [`World`]. Its daemon does nothing by itself.
pub struct Site {
    /// The site's API, as an admin.
    pub api: Api,
    /// The link to the cloud.
    pub link: FaultProxy,
    data: PathBuf,
    _server: local_server::Site,
}

impl World {
    /// A cloud with the built-in system, and sites of these names that hold every scope.
    pub async fn new(sites: &[&str]) -> Self {
        let database = test_support::database().await;
        let dir = tempfile::tempdir().unwrap();
        let config = CloudConfig::new(dir.path().join("cloud"));
        Self::start(database, dir, config, sites).await
    }

    /// A cloud with a system of the test's own: what its database has before it starts, and its `rejoin.toml`.
    pub async fn of(sql: &str, settings: &str, sites: &[&str]) -> Self {
        let database = test_support::database().await;
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        Self::on(database, settings, sites).await
    }

    /// A cloud on a database that is there, with its `rejoin.toml`.
    pub async fn on(database: Database, settings: &str, sites: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rejoin.toml");
        std::fs::write(&file, settings).unwrap();
        let config = CloudConfig { settings: Some(file), system: None, ..CloudConfig::new(dir.path().join("cloud")) };
        Self::start(database, dir, config, sites).await
    }

    async fn start(database: Database, dir: tempfile::TempDir, config: CloudConfig, sites: &[&str]) -> Self {
        let config = CloudConfig { database_url: Some(database.url().to_owned()), ..config };
        let server = Cloud::start(config.clone()).await.unwrap();
        let cloud = Api::new(server.url(), server.token());
        // Sites find it there again after a restart.
        let config = CloudConfig { listen: server.url().rsplit('/').next().unwrap().parse().unwrap(), ..config };
        let world = Self { cloud, server: Some(server), config, sites: std::sync::Mutex::default(), database, dir };
        for name in sites {
            world.join(name, &["*"]).await;
        }
        world
    }

    /// Stops the cloud, migrates its database, and starts it again, with other settings where they are given.
    pub async fn migrate(&mut self, sql: &str, settings: Option<&str>) {
        self.stop().await;
        self.psql(sql).await;
        if let Some(settings) = settings {
            std::fs::write(self.config.settings.as_ref().unwrap(), settings).unwrap();
        }
        self.start_again().await;
    }

    /// Stops the cloud.
    pub async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// Starts the cloud that was stopped, where its sites find it.
    pub async fn start_again(&mut self) {
        let server = Cloud::start(self.config.clone()).await.unwrap();
        self.cloud = Api::new(server.url(), server.token());
        self.server = Some(server);
    }

    /// A new site that holds these scopes, synced once.
    pub async fn join(&self, name: &str, scopes: &[&str]) -> &'static Site {
        let site = self.enrol(name, scopes).await;
        self.sync(name).await;
        site
    }

    /// A new site that holds these scopes, not synced yet.
    pub async fn enrol(&self, name: &str, scopes: &[&str]) -> &'static Site {
        let added = self.cloud.post("/api/rejoin/sites", json!({"name": name, "scopes": scopes})).await.ok();
        let link = FaultProxy::start(self.server.as_ref().unwrap().url()).await;
        let data = self.dir.path().join(name);
        let config =
            SiteConfig { cloud: Some(link.url()), token: Some(added["token"].as_str().unwrap().to_owned()), ..SiteConfig::new(&data) };
        let server = local_server::Site::start(config).await.unwrap();
        let api = Api::new(server.url(), server.token());
        api.post("/api/sync/pause", json!({})).await.ok();
        // Sites live as long as the test process: a test's sites are few, and a reference is easier to hold.
        let site: &'static Site = Box::leak(Box::new(Site { api, link, data, _server: server }));
        self.sites.lock().unwrap().insert(name.to_owned(), site);
        site
    }

    /// The site of this name.
    #[must_use]
    pub fn site(&self, name: &str) -> &'static Site {
        self.sites.lock().unwrap()[name]
    }

    fn each(&self) -> Vec<(String, &'static Site)> {
        self.sites.lock().unwrap().iter().map(|(name, site)| (name.clone(), *site)).collect()
    }

    /// The APIs of the cloud and of every site.
    #[must_use]
    pub fn everybody(&self) -> Vec<Api> {
        std::iter::once(self.cloud.clone()).chain(self.each().into_iter().map(|(_, site)| site.api.clone())).collect()
    }

    /// Cuts every link.
    pub fn cut_all(&self) {
        self.each().iter().for_each(|(_, site)| site.link.cut());
    }

    /// Heals every link.
    pub fn heal_all(&self) {
        self.each().iter().for_each(|(_, site)| site.link.heal());
    }

    /// One run of a site, whatever comes of it.
    pub async fn try_sync(&self, name: &str) -> Answer {
        self.site(name).api.post("/api/sync/run", json!({"direction": "BIDIRECTIONAL"})).await
    }

    /// One run of a site, which must succeed.
    pub async fn sync(&self, name: &str) {
        let answer = self.try_sync(name).await;
        assert!(answer.status.is_success() && answer.body["lastError"].is_null(), "{name}: {}", answer.body);
    }

    /// Runs every site until nothing moves any more, and proves that cloud and sites are equal.
    pub async fn converge(&self) {
        for _ in 0..ROUNDS {
            for (name, _) in self.each() {
                self.sync(&name).await;
            }
        }
        let cloud = digests(&self.cloud).await;
        for (name, site) in self.each() {
            if self.holds_everything(&name).await {
                assert_eq!(digests(&site.api).await, cloud, "{name} differs from the cloud");
            }
        }
    }

    /// The site `a` and the cloud write the `note` of the record at this path without a link, so that everybody knows a conflict of it.
    pub async fn clash(&self, path: &str) {
        self.cut_all();
        self.site("a").api.patch(path, json!({"note": "by the site"})).await.ok();
        self.cloud.patch(path, json!({"note": "by the cloud"})).await.ok();
        self.heal_all();
        self.converge().await;
    }

    async fn holds_everything(&self, name: &str) -> bool {
        let sites = self.cloud.get("/api/rejoin/sites").await.ok();
        let sites = sites.as_array().or(sites["sites"].as_array()).or(sites["data"].as_array()).unwrap();
        sites.iter().any(|site| site["name"] == name && site["scopes"].as_array().is_some_and(|scopes| scopes.contains(&json!("*"))))
    }

    /// The conflicts without a decision.
    pub async fn pending_conflicts(&self) -> Vec<Value> {
        let list = self.cloud.get("/api/conflicts?resolution=PENDING&limit=1000").await.ok();
        list["data"].as_array().unwrap().clone()
    }

    /// The one open conflict of this row.
    pub async fn only_conflict(&self, record_id: &str) -> Value {
        let open: Vec<_> = self.pending_conflicts().await.into_iter().filter(|conflict| conflict["recordId"] == record_id).collect();
        assert_eq!(open.len(), 1, "{open:?}");
        open[0].clone()
    }

    /// Resolves a conflict as it was read.
    pub async fn resolve(&self, conflict: &Value, resolution: &str, values: &Value) -> Answer {
        let mut body = json!({"resolution": resolution, "revision": conflict["revision"]});
        if !conflict["cloudEtag"].is_null() {
            body["cloudEtag"] = conflict["cloudEtag"].clone();
        }
        if !values.is_null() {
            body["values"] = values.clone();
        }
        self.cloud.post(&format!("/api/conflicts/{}/resolve", conflict["id"].as_str().unwrap()), body).await
    }

    /// A session of another program on the cloud's database, as the role that owns it.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Plain SQL on the cloud's database.
    pub async fn psql(&self, sql: &str) {
        self.postgres().await.batch_execute(sql).await.unwrap();
    }

    /// Plain SQL on the cloud's database by the program `psql`.
    pub fn psql_program(&self, sql: &str) {
        run(Command::new("psql").args(["-v", "ON_ERROR_STOP=1", "-q", "-c", sql, self.database.url()])).unwrap();
    }

    /// The role that signs in to the cloud's database.
    #[must_use]
    pub fn database_role(&self) -> String {
        self.database.url().parse::<tokio_postgres::Config>().unwrap().get_user().unwrap().to_owned()
    }
}

impl Site {
    /// Plain SQL on the site's database by the program `sqlite3`.
    pub fn sqlite3(&self, sql: &str) {
        sqlite3(&self.database(), sql).unwrap();
    }

    /// The site's database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data.join("site.db")
    }

    /// The newest run in the site's log.
    pub async fn last_run(&self) -> Value {
        let log = self.api.get("/api/sync/log?limit=1").await.ok();
        log["data"][0].clone()
    }
}

/// Plain SQL on a file by the program `sqlite3`: what it printed, or said where it refused.
///
/// # Errors
/// What `sqlite3` said.
pub fn sqlite3(file: &Path, sql: &str) -> Result<String, String> {
    run(Command::new("sqlite3").arg(file).args(["-cmd", ".timeout 30000", "-bail", sql]))
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}; `make test` installs it"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The digests of a server's accepted rows, by table.
pub async fn digests(api: &Api) -> BTreeMap<String, (String, u64)> {
    let digests = api.get("/api/rejoin/digests").await.ok();
    let table = |table: &Value| {
        let text = |name: &str| table[name].as_str().unwrap().to_owned();
        (text("table"), (text("digest"), table["rows"].as_u64().unwrap()))
    };
    digests["tables"].as_array().unwrap().iter().map(table).collect()
}
