//! How tables in use are altered: locks are asked for briefly and again, so that nobody queues behind us for long; and who is told of it.

use std::time::{Duration, Instant};

use sync_core::backoff::Backoff;
use sync_core::limits::{ALTER_LOCK_WAIT, ALTER_PATIENCE};
use tokio_postgres::Client;

use super::error::StoreError;

/// What is done at the moment, to be shown to somebody who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A table's turn has come.
    Table {
        /// Its name.
        table: &'a str,
        /// Its place in the order, from 1.
        at: usize,
        /// How many there are.
        of: usize,
    },
    /// Its rows are stamped.
    Rows {
        /// Its name.
        table: &'a str,
        /// Rows stamped so far, by this run.
        rows: u64,
        /// Pages of the table gone through.
        pages: u64,
        /// Pages that it has.
        of: u64,
    },
    /// The space of its rows' old versions is given back to it.
    Vacuum {
        /// Its name.
        table: &'a str,
    },
    /// Its feed index is built, beside its users.
    Index {
        /// Its name.
        table: &'a str,
    },
    /// Somebody holds a lock that is needed; it will be tried again.
    Waiting {
        /// What is waited for.
        table: &'a str,
        /// For how long so far.
        since: Duration,
    },
    /// Another session is waited for.
    Held {
        /// Its process id at the server.
        pid: i32,
        /// Whose it is, and what it does.
        what: &'a str,
        /// For how long so far.
        since: Duration,
    },
}

/// How long busy tables are waited for, and who is told what is done.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    /// How long a lock is tried for.
    pub patience: Duration,
    /// Told of each step.
    pub watch: &'a (dyn Fn(Progress<'_>) + Send + Sync),
}

impl std::fmt::Debug for Pace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Pace<'_> {
    /// A server's: it waits a while and tells nobody.
    #[must_use]
    pub fn quiet() -> Self {
        Self { patience: ALTER_PATIENCE, watch: &|_| {} }
    }

    pub(crate) fn tell(&self, progress: Progress<'_>) {
        (self.watch)(progress);
    }

    /// Counts attempts at something that somebody may hold.
    pub(crate) fn attempts<'a>(&'a self, table: &'a str) -> Attempts<'a> {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), rand::random());
        Attempts { pace: self, table, backoff, since: Instant::now() }
    }

    /// Runs statements that alter `table` in one transaction. Each waits for its lock only briefly, and all of it is tried again.
    ///
    /// # Errors
    /// Somebody held the table all the time; the store failed.
    pub(crate) async fn alter(&self, client: &mut Client, table: &str, sql: &str) -> Result<(), StoreError> {
        let mut attempts = self.attempts(table);
        loop {
            match altered(client, sql).await {
                Ok(()) => return Ok(()),
                Err(error) => attempts.again(error).await?,
            }
        }
    }
}

async fn altered(client: &mut Client, sql: &str) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(&wait_briefly()).await?;
    transaction.batch_execute(sql).await?;
    Ok(transaction.commit().await?)
}

/// For this transaction.
pub(crate) fn wait_briefly() -> String {
    format!("SET LOCAL lock_timeout = {}", ALTER_LOCK_WAIT.as_millis())
}

/// Attempts at what somebody may hold.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    pace: &'a Pace<'a>,
    table: &'a str,
    backoff: Backoff,
    since: Instant,
}

impl Attempts<'_> {
    /// After a failure: waits, where another attempt is worth it.
    pub(crate) async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Busy(_) if self.since.elapsed() < self.pace.patience => {}
            StoreError::Busy(what) => {
                let waited = self.since.elapsed().as_secs();
                return Err(StoreError::Busy(format!(
                    "{}: somebody has held it for {waited} s (pg_locks says who): {what}; the next run goes on from here",
                    self.table
                )));
            }
            error => return Err(error),
        }
        self.pace.tell(Progress::Waiting { table: self.table, since: self.since.elapsed() });
        tokio::time::sleep(self.backoff.next_wait()).await;
        Ok(())
    }
}
