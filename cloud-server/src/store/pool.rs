//! Connections to PostgreSQL. A broken one is thrown away and made anew, so that a restart of the database is outlived.

use std::time::Duration;

use deadpool_postgres::{Client, Hook, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::StoreError;
use super::tls;

/// How long a request waits for a connection, and a connection for the database to accept it.
const WAIT: Duration = Duration::from_secs(5);

/// Notifications that wait in one process to be handed on.
const HEARD_MAX: usize = 64;

/// The text forms that the row codec reads; and no wait for ever behind a session that forgot to commit.
const SESSION: &str = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; \
     SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = content; SET array_nulls = on; SET standard_conforming_strings = on; SET client_min_messages = warning; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '60s'";

/// The cloud's database.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    config: tokio_postgres::Config,
    connector: MakeRustlsConnect,
}

/// A connection of its own that hears what other sessions `NOTIFY`. Dropping it closes it.
pub(crate) struct Listening {
    client: tokio_postgres::Client,
    heard: mpsc::Receiver<String>,
    driver: JoinHandle<()>,
}

impl Listening {
    /// The next payload; `None` when the connection is lost.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.heard.recv().await
    }

    /// Whether the database still answers on it.
    pub(crate) async fn is_alive(&self) -> bool {
        matches!(tokio::time::timeout(WAIT, self.client.batch_execute("SELECT 1")).await, Ok(Ok(())))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("status", &self.pool.status()).finish()
    }
}

/// A database URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no PostgreSQL URL. The text never repeats the URL: it may hold a password.
    #[error("the database URL is not usable: {0}")]
    Url(String),
    /// Its certificates cannot be used.
    #[error("TLS to the database: {0}")]
    Tls(String),
}

impl Database {
    /// Prepares up to `size` connections to `url`. Connects nothing yet.
    ///
    /// # Errors
    /// The URL or the certificate file that it names is not usable.
    pub fn open(url: &str, size: usize) -> Result<Self, UrlError> {
        let (mut config, connector) = tls::parse(url)?;
        config.connect_timeout(WAIT).keepalives_idle(Duration::from_secs(30));
        if config.get_application_name().is_none() {
            config.application_name("rejoin");
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), connector.clone(), manager))
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(SESSION).await.map_err(deadpool_postgres::HookError::Backend) })
            }))
            .build()
            .map_err(|error| UrlError::Url(error.to_string()))?;
        Ok(Self { pool, config, connector })
    }

    /// A connection whose session speaks our text forms (UTC, ISO dates, hexadecimal bytes).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn client(&self) -> Result<Client, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Lets every connection forget the statements that it has prepared. After a column changed its type, PostgreSQL refuses those that name it
    /// for as long as the connection lives.
    pub(crate) fn forget_statements(&self) {
        self.pool.manager().statement_caches.clear();
    }

    /// Listens on a channel, on a connection outside the pool.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the database refused.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Listening, StoreError> {
        let connecting = async {
            let (client, mut connection) = self.config.connect(self.connector.clone()).await?;
            let (tell, heard) = mpsc::channel(HEARD_MAX);
            let driver = tokio::spawn(async move {
                let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
                // A full channel makes the database wait, not us forget.
                while let Some(Ok(message)) = messages.next().await {
                    if let AsyncMessage::Notification(note) = message
                        && tell.send(note.payload().to_owned()).await.is_err()
                    {
                        return;
                    }
                }
            });
            let listening = Listening { client, heard, driver };
            listening.client.batch_execute(&format!("LISTEN {channel}")).await?;
            Ok(listening)
        };
        let late = |_| StoreError::Unavailable("it does not accept a connection to listen on".to_owned());
        tokio::time::timeout(2 * WAIT, connecting).await.map_err(late)?
    }

    /// Where it connects to, for a person: without user or password.
    #[must_use]
    pub fn place(&self) -> String {
        let host = self.config.get_hosts().first().map_or_else(
            || "?".to_owned(),
            |host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            },
        );
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }

    /// Closes every connection; waiting requests are refused.
    pub fn close(&self) {
        self.pool.close();
    }
}
