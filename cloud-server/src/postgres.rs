//! A private PostgreSQL cluster: one folder, one postmaster on loopback, gone with this process.
//!
//! What the folder holds: `data/` (PostgreSQL's own), `password` (0600), `port` (the last one, tried first next time so
//! that URLs survive a restart), `postgres.log`, and `lock`, which a living owner holds.
//!
//! Reading order: this file, then `folder` (the folder and who owns it), `postmaster` (one child process and its
//! watchdog), `binaries` (which PostgreSQL), `account` (whom it runs as when we are root).
//!
//! Access: TCP on 127.0.0.1 with SCRAM and a random password. `trust` would let in every local user of the machine, and
//! a Unix socket would add a path limit and lock files of its own without letting anybody in who has no password.

mod account;
mod binaries;
mod error;
mod folder;
mod postmaster;

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::error::SqlState;

pub use binaries::Binaries;
pub use error::PostgresError;

use account::Account;
use folder::Folder;
use postmaster::Postmaster;

/// The role that owns every database of a private cluster: a plain one, as at a user's own PostgreSQL. Not called like the engine's
/// schema: by PostgreSQL's default search_path (`"$user", public`) its unqualified names would mean the engine's tables.
pub const OWNER_ROLE: &str = "rejoin_owner";
/// The cluster's superuser, used to create databases and by nothing else.
pub const SUPERUSER_ROLE: &str = "postgres";

/// How long a postmaster that says nothing at all may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How long one that says "starting up" may take: it replays its log after a crash.
const RECOVERY_WAIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(20);

/// Whether a cluster's commits must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk before it is answered.
    Durable,
    /// For tests: nothing is flushed, a crash of the machine may lose everything.
    Throwaway,
}

/// A running private cluster. Dropping it stops PostgreSQL; so does the end of this process, however it ends.
#[derive(Debug)]
pub struct Cluster {
    folder: Folder,
    port: u16,
    postmaster: Postmaster,
}

impl Cluster {
    /// Starts the cluster of `dir`, made on the first call and found again ever after, also after a crash.
    ///
    /// # Errors
    /// See [`PostgresError`]; in particular when no server binaries are found or another process owns the folder.
    pub async fn start(dir: &Path, durability: Durability) -> Result<Self, PostgresError> {
        let account = Account::for_server()?;
        let folder = Folder::open(dir, account)?;
        let binaries = Binaries::find(folder.major()?)?;
        folder.account.check_reaches(&binaries.dir)?;
        folder.settle_last_postmaster().await?;
        folder.initialize(&binaries, durability).await?;
        let password = folder.password()?;

        let mut port = folder.last_port();
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let candidate = match port.take() {
                Some(port) => port,
                None => free_port()?,
            };
            let mut postmaster = Postmaster::spawn(&folder, &binaries, candidate, durability)?;
            match until_answering(&mut postmaster, candidate, &password).await? {
                Answer::Ready => {
                    folder.remember_port(candidate)?;
                    let cluster = Self { folder, port: candidate, postmaster };
                    cluster.ensure_owner_role(&password).await?;
                    tracing::info!(dir = %cluster.folder.dir.display(), port = cluster.port, major = binaries.major, "private PostgreSQL runs");
                    return Ok(cluster);
                }
                Answer::Exited => {
                    let log = folder.log_tail();
                    // Backends of a killed postmaster let go of its memory a moment after it; a port may have been taken meanwhile.
                    let lingering = log.contains("pre-existing shared memory block");
                    let port_taken = log.contains("could not create any TCP/IP sockets");
                    // The postmaster that a killed process had just begun to start wrote its lock file after we looked.
                    let overtaken = log.contains("lock file \"postmaster.pid\" already exists");
                    if Instant::now() > deadline || !(lingering || port_taken || overtaken) {
                        return Err(PostgresError::DidNotStart { dir: folder.dir.clone(), log });
                    }
                    if overtaken {
                        folder.settle_last_postmaster().await?;
                    }
                    port = if lingering { Some(candidate) } else { None };
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Answer::Silent => {
                    let log = folder.log_tail();
                    postmaster.kill()?;
                    return Err(PostgresError::DidNotStart { dir: folder.dir.clone(), log });
                }
            }
        }
    }

    /// Makes a folder, unless it is there, in which or below which a cluster can live, whatever the umask says.
    ///
    /// # Errors
    /// [`PostgresError::Io`] when it cannot be made.
    pub(crate) fn make_folder(dir: &Path) -> Result<(), PostgresError> {
        Account::for_server()?.make(dir)
    }

    /// Whether a cluster was made in `dir`.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join("data").join("PG_VERSION").exists()
    }

    /// The URL of a database of the cluster that another process runs in `dir`, as its owner. It holds the password: not for logs.
    ///
    /// # Errors
    /// [`PostgresError::Io`] when the files of the folder cannot be read.
    pub fn url_of_running(dir: &Path, database: &str) -> Result<String, PostgresError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(PostgresError::io("read", &path))
        };
        Ok(url_of(OWNER_ROLE, &read("password")?, &read("port")?, database))
    }

    /// The URL of a database, as its owner. It holds the password: not for logs.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as(OWNER_ROLE, database)
    }

    /// The URL of a database as the cluster's superuser, for tests that make roles of their own.
    #[must_use]
    pub fn superuser_url(&self, database: &str) -> String {
        self.url_as(SUPERUSER_ROLE, database)
    }

    fn url_as(&self, role: &str, database: &str) -> String {
        url_of(role, self.postmaster.password(), &self.port.to_string(), database)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.postmaster.pid()
    }

    /// Whether PostgreSQL has ended by itself, e.g. because somebody killed it.
    ///
    /// # Errors
    /// [`PostgresError::Io`] when the process cannot be asked.
    pub fn has_exited(&mut self) -> Result<bool, PostgresError> {
        self.postmaster.has_exited()
    }

    /// Creates a database owned by [`OWNER_ROLE`], as a copy of `template` where one is named. The template must have no sessions.
    ///
    /// # Errors
    /// [`PostgresError::Database`] when PostgreSQL refuses, e.g. because the name is taken.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), PostgresError> {
        let template = template.map(|template| format!(" TEMPLATE {}", quote(template))).unwrap_or_default();
        self.execute(&format!("CREATE DATABASE {} OWNER {OWNER_ROLE}{template}", quote(name)), "create the database").await
    }

    /// Creates a database unless it is there.
    ///
    /// # Errors
    /// [`PostgresError::Database`] when PostgreSQL refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<(), PostgresError> {
        match self.create_database(name, None).await {
            Err(PostgresError::Database { source, .. }) if source.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
            other => other,
        }
    }

    /// Drops a database if it is there, ending its sessions.
    ///
    /// # Errors
    /// [`PostgresError::Database`] when PostgreSQL refuses.
    pub async fn drop_database(&self, name: &str) -> Result<(), PostgresError> {
        self.execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name)), "drop the database").await
    }

    /// Stops PostgreSQL the orderly way: sessions end, everything is written, the next start needs no recovery.
    ///
    /// # Errors
    /// [`PostgresError::Io`] when the process cannot be waited for.
    pub async fn stop(self) -> Result<(), PostgresError> {
        self.postmaster.stop().await
    }

    /// Kills the postmaster at once, as a crash would (SIGKILL); its sessions go with it. For crash tests.
    ///
    /// # Errors
    /// [`PostgresError::Io`] when the process cannot be killed or waited for.
    pub fn kill(mut self) -> Result<(), PostgresError> {
        self.postmaster.kill()
    }

    /// Removes `folder` once PostgreSQL is gone, also when this process did not live to see it.
    #[cfg(any(test, feature = "test-support"))]
    pub(crate) fn remove_afterwards(&mut self, folder: &Path) -> Result<(), PostgresError> {
        self.postmaster.remove_afterwards(folder)
    }

    async fn ensure_owner_role(&self, password: &str) -> Result<(), PostgresError> {
        // The password is hex, so it needs no quoting.
        let sql = format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER_ROLE}') THEN \
             CREATE ROLE {OWNER_ROLE} LOGIN PASSWORD '{password}'; END IF; END $$"
        );
        self.execute(&sql, "create the owner role").await
    }

    async fn execute(&self, sql: &str, action: &'static str) -> Result<(), PostgresError> {
        let (client, connection) = tokio_postgres::connect(&self.superuser_url("postgres"), tokio_postgres::NoTls)
            .await
            .map_err(|source| PostgresError::Database { action, source })?;
        let driver = tokio::spawn(connection);
        let result = client.batch_execute(sql).await.map_err(|source| PostgresError::Database { action, source });
        drop(client);
        // Wait until the session is closed: a template with a session cannot be copied. How it ended does not matter here.
        let _ = driver.await;
        result
    }
}

fn url_of(role: &str, password: &str, port: &str, database: &str) -> String {
    let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}")
}

enum Answer {
    Ready,
    Exited,
    Silent,
}

async fn until_answering(postmaster: &mut Postmaster, port: u16, password: &str) -> Result<Answer, PostgresError> {
    let started = Instant::now();
    let mut wait = ANSWER_WAIT;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(SUPERUSER_ROLE).password(password).dbname("postgres");
    loop {
        let mut session = pin!(config.connect(tokio_postgres::NoTls));
        // Whoever holds the port may accept and then say nothing, so our own process is watched meanwhile.
        let answer = loop {
            if postmaster.has_exited()? {
                return Ok(Answer::Exited);
            }
            if started.elapsed() > wait {
                return Ok(Answer::Silent);
            }
            if let Ok(answer) = tokio::time::timeout(POLL, &mut session).await {
                break answer;
            }
        };
        match answer {
            Ok(_session) => return Ok(Answer::Ready),
            Err(error) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => wait = RECOVERY_WAIT,
            // Not listening yet, or a stranger on the port that we asked for: then ours is about to exit and say so.
            Err(_) => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

fn free_port() -> Result<u16, PostgresError> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|source| PostgresError::Port { source })?;
    Ok(listener.local_addr().map_err(|source| PostgresError::Port { source })?.port())
}

/// An SQL identifier.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
