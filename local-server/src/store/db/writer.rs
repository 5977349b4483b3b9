//! The writer: the thread that owns the only read-write connection and takes one job after the other, API writes that wait in one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::limits;
use tokio::sync::{mpsc, oneshot, watch};

use super::DbError;

/// Whose work it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Api,
    Sync,
}

/// What the writer is told.
pub(super) enum Job {
    Work(Role, Box<dyn Work>),
    Close,
}

/// A job on its way through the writer.
pub(super) trait Work: Send {
    /// Does the work inside the transaction; whether to keep it.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the owner how the transaction ended.
    fn end(self: Box<Self>, ended: Result<(), DbError>);
}

/// A job with whoever waits for its answer.
pub(super) struct Task<F, T, E> {
    job: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Task<F, T, E> {
    pub(super) fn new(job: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { job: Some(job), result: None, reply }
    }
}

impl<F, T, E> Work for Task<F, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.job.take().map(|job| guarded(|| job(connection)));
        matches!(self.result, Some(Ok(_)))
    }

    fn end(self: Box<Self>, ended: Result<(), DbError>) {
        let answer = match (self.result, ended) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(DbError::Closed.into()),
        };
        // Whoever asked may have gone away; what was written stays written.
        drop(self.reply.send(answer));
    }
}

/// What the writer thread owns.
pub(super) struct Writer {
    connection: Connection,
    /// What the connection is set up for; `None` where that failed half way.
    role: Option<Role>,
    /// SQLite's counter of commits by other connections.
    data_version: i64,
    changes: Arc<watch::Sender<u64>>,
}

impl Writer {
    /// Counts up `changes` with every committed API write, and when another program has written into the file.
    pub(super) fn new(connection: Connection, changes: Arc<watch::Sender<u64>>) -> Self {
        Self { connection, role: None, data_version: 0, changes }
    }

    /// Starts its thread.
    pub(super) fn spawn(mut self, mut queue: mpsc::Receiver<Job>) -> std::io::Result<JoinHandle<()>> {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("sqlite-writer".to_owned()).spawn(move || {
            self.look();
            loop {
                match clock.block_on(async { tokio::time::timeout(limits::FOREIGN_WRITE_POLL, queue.recv()).await }) {
                    Err(_) => self.look(),
                    Ok(Some(Job::Work(Role::Sync, work))) => self.transaction(Role::Sync, vec![work]),
                    Ok(Some(Job::Work(Role::Api, work))) => {
                        if self.group(work, &mut queue) {
                            break;
                        }
                    }
                    Ok(Some(Job::Close) | None) => break,
                }
            }
            self.end();
        })
    }

    /// Commits this API write together with those that wait; whether the writer was told to end.
    fn group(&mut self, first: Box<dyn Work>, queue: &mut mpsc::Receiver<Job>) -> bool {
        let mut group = vec![first];
        let mut after = None;
        while group.len() < limits::GROUP_COMMIT_MAX
            && after.is_none()
            && let Ok(job) = queue.try_recv()
        {
            match job {
                Job::Work(Role::Api, work) => group.push(work),
                other => after = Some(other),
            }
        }
        self.transaction(Role::Api, group);
        match after {
            Some(Job::Work(role, work)) => self.transaction(role, vec![work]),
            Some(Job::Close) => return true,
            None => {}
        }
        false
    }

    /// One transaction; each of several jobs in a savepoint of its own. Nobody is answered before the commit.
    fn transaction(&mut self, role: Role, mut group: Vec<Box<dyn Work>>) {
        let ended = self.begin(role).and_then(|()| self.work(&mut group));
        let ended = match ended {
            Ok(0) => Err(DbError::RolledBack),
            Ok(_) => self.connection.execute_batch("COMMIT").map_err(DbError::from),
            Err(error) => Err(error),
        };
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        match ended {
            Ok(()) => {
                if role == Role::Api {
                    self.changes.send_modify(|count| *count += 1);
                }
                group.into_iter().for_each(|work| work.end(Ok(())));
            }
            Err(error) => {
                let mut first = Some(error);
                let others = first.as_ref().map_or(DbError::RolledBack, DbError::for_others);
                for work in group {
                    work.end(Err(first.take().unwrap_or_else(|| others.for_others())));
                }
            }
        }
    }

    fn begin(&mut self, role: Role) -> Result<(), DbError> {
        self.set_role(role)?;
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Runs the jobs of a transaction; the number of those to keep. An error means that the transaction is lost for all of them.
    fn work(&mut self, group: &mut [Box<dyn Work>]) -> Result<usize, DbError> {
        let alone = group.len() == 1;
        let mut kept = 0;
        for work in group {
            if !alone {
                self.connection.execute_batch("SAVEPOINT job")?;
            }
            let keep = work.run(&self.connection);
            // Disk full, an IO error or a program's RAISE(ROLLBACK) end the whole transaction.
            if self.connection.is_autocommit() {
                return Err(DbError::RolledBack);
            }
            kept += usize::from(keep);
            match (alone, keep) {
                (true, _) => {}
                (false, true) => self.connection.execute_batch("RELEASE job")?,
                (false, false) => self.connection.execute_batch("ROLLBACK TO job; RELEASE job")?,
            }
        }
        Ok(kept)
    }

    /// Sets triggers and foreign keys for the kind of work; outside of a transaction, where alone they take effect.
    fn set_role(&mut self, role: Role) -> Result<(), DbError> {
        if self.role != Some(role) {
            self.role = None;
            let on = role == Role::Api;
            let triggers = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
            let keys = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on)?;
            if triggers != on || keys != on {
                return Err(DbError::Panicked("SQLite did not switch triggers and foreign keys".to_owned()));
            }
            self.role = Some(role);
        }
        Ok(())
    }

    /// Notices what other programs wrote.
    fn look(&mut self) {
        match self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)) {
            Ok(version) if version == self.data_version => {}
            Ok(version) => {
                self.data_version = version;
                self.changes.send_modify(|count| *count += 1);
            }
            Err(error) => tracing::warn!(%error, "cannot see whether another program wrote into the database"),
        }
    }

    fn end(self) {
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the WAL stays beside the database");
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }
}

/// Runs a job; a panic becomes an error, so that the thread lives on.
pub(super) fn guarded<T, E: From<DbError>>(job: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(DbError::Panicked(text.unwrap_or_else(|| "without a message".to_owned())).into())
    })
}
