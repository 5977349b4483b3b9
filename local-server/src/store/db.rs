//! The database file of a site: one writer thread that owns the only read-write connection, and a few read-only connections.
//!
//! Two kinds of work reach the writer. [`Database::write`] is for people and programs: triggers and foreign keys on, so that every change
//! is captured. [`Database::apply`] is the sync's own: triggers and foreign keys off, since it writes what the cloud said and makes
//! cascades itself; neither switch can survive a crash. Either kind is one transaction; waiting API writes are committed together.

mod folder;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use sync_core::catalog::Catalog;
use sync_core::limits;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use self::folder::{keep_private, lock, make_folder};
use self::writer::{Job, Role, Task, Writer, guarded};

mod migrations {
    refinery::embed_migrations!("../migrations/sqlite");
}

/// The database's file in the data folder.
pub const FILE: &str = "site.db";
/// The file that one process locks while it serves the data folder.
pub const LOCK_FILE: &str = "site.lock";
/// The collation that orders decimals, which are stored as text. Only our own connections know it, so that no index or table may name it.
pub(crate) const DECIMAL: &str = "rejoin_decimal";
/// The first SQLite without the WAL reset bug, which can corrupt a database.
const SQLITE_MIN: i32 = 3_051_003;

/// What can go wrong with the database as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite refused.
    #[error("SQLite: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// Another program holds the database for longer than we wait.
    #[error("another program holds the database: try again")]
    Busy,
    /// The SQLite linked in is too old.
    #[error("SQLite {found} can corrupt a database in WAL mode: 3.51.3 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// Another process serves the data folder.
    #[error("{} is locked: another process serves this data folder", .0.display())]
    InUse(PathBuf),
    /// A file of the data folder cannot be used.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The engine's tables cannot be made, or are those of a newer version.
    #[error("the engine's tables: {0}")]
    Migrate(#[from] Box<refinery::Error>),
    /// The stored catalog cannot be read.
    #[error("the stored catalog cannot be read: {0}")]
    Catalog(#[source] serde_json::Error),
    /// The writer has ended; the server is stopping.
    #[error("the database is closed")]
    Closed,
    /// A job panicked and was rolled back.
    #[error("a database job panicked: {0}")]
    Panicked(String),
    /// SQLite gave up the transaction that this write shared with another one (disk full, IO error): nothing was written.
    #[error("the transaction was rolled back together with another write: try again")]
    RolledBack,
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}

impl DbError {
    /// What to tell the other writes that shared a failed transaction.
    fn for_others(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Closed => Self::Closed,
            _ => Self::RolledBack,
        }
    }
}

/// A site's open database. Cheap to clone; [`Database::close`] ends it for all.
#[derive(Clone)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    changes: Arc<watch::Sender<u64>>,
    catalog: Arc<watch::Sender<Option<Arc<Catalog>>>>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as the database is open.
    _lock: File,
}

struct Readers {
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Database {
    /// Opens the database of a data folder, makes it if there is none, brings the engine's tables up to date, and starts the writer.
    ///
    /// # Errors
    /// Another process serves the folder, the file cannot be opened, or it was made by a newer version.
    pub fn open(folder: &Path) -> Result<Self, DbError> {
        if rusqlite::version_number() < SQLITE_MIN {
            return Err(DbError::TooOld { found: rusqlite::version().to_owned() });
        }
        make_folder(folder).map_err(|error| DbError::Io { path: folder.to_owned(), error })?;
        let lock = lock(&folder.join(LOCK_FILE))?;
        let path = folder.join(FILE);
        keep_private(&path).map_err(|error| DbError::Io { path: path.clone(), error })?;
        let mut writer = open_writer(&path)?;
        migrations::migrations::runner().run(&mut writer).map_err(Box::new)?;
        let free = (0..limits::READERS_MAX).map(|_| open_reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let readers = Arc::new(Readers { free: Mutex::new(free), permits: Arc::new(Semaphore::new(limits::READERS_MAX)) });
        let (jobs, queue) = mpsc::channel(limits::WRITER_QUEUE_MAX);
        let changes = Arc::new(watch::Sender::new(0));
        let catalog = Arc::new(watch::Sender::new(installed(&writer)?));
        let thread = Writer::new(writer, Arc::clone(&changes)).spawn(queue).map_err(|error| DbError::Io { path: path.clone(), error })?;
        Ok(Self { jobs, readers, changes, catalog, shared: Arc::new(Shared { path, thread: Mutex::new(Some(thread)), _lock: lock }) })
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// One transaction of a person or program: triggers and foreign keys on. An error or panic rolls it back.
    ///
    /// # Errors
    /// The job's own, or the database's.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(Role::Api, job).await
    }

    /// One transaction of the sync: triggers and foreign keys off. An error or panic rolls it back.
    ///
    /// # Errors
    /// The job's own, or the database's.
    pub async fn apply<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.run(Role::Sync, job).await
    }

    /// Reads in one read transaction: one state of the whole database.
    ///
    /// # Errors
    /// The job's own, or the database's.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let pool = Arc::clone(&self.readers);
        let permit = Arc::clone(&pool.permits).acquire_owned().await.map_err(|_| DbError::Closed)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end, also when nobody waits for the answer any more: one permit, one connection.
            let _permit = permit;
            let free = pool.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = free.ok_or(DbError::Closed)?;
            let result = read_on(&connection, job);
            pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        done.await.map_err(|error| DbError::Panicked(error.to_string()))?
    }

    /// Counts up with every committed API write, and when another program has written into the file. For whoever wants to sync soon
    /// after a local change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The catalog that the tables are built from; `None` until the cloud was reached for the first time.
    #[must_use]
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.borrow().clone()
    }

    /// Says that tables of another catalog are in force; to be called once the transaction that built them is committed.
    pub fn set_catalog(&self, catalog: Arc<Catalog>) {
        self.catalog.send_replace(Some(catalog));
    }

    /// Ends the writer after the jobs already queued, moves the WAL into the database and gives the data folder free.
    pub async fn close(&self) {
        self.readers.permits.close();
        self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.jobs.send(Job::Close).await);
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the database's writer did not end in order");
        }
        drop(self.shared._lock.unlock());
    }

    async fn run<T, E, F>(&self, role: Role, job: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task::new(job, reply);
        self.jobs.send(Job::Work(role, Box::new(task))).await.map_err(|_| DbError::Closed)?;
        answer.await.map_err(|_| DbError::Closed)?
    }
}

fn read_on<T, E: From<DbError>>(connection: &Connection, job: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
    connection.execute_batch("BEGIN").map_err(DbError::from)?;
    let result = guarded(|| job(connection));
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(DbError::from)?;
    }
    result
}

/// The catalog that the file's tables are built from.
fn installed(connection: &Connection) -> Result<Option<Arc<Catalog>>, DbError> {
    let sql = "SELECT body FROM rejoin_catalog ORDER BY version DESC LIMIT 1";
    let body: Option<String> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    body.map(|body| serde_json::from_str(&body).map(Arc::new).map_err(DbError::Catalog)).transpose()
}

fn open_writer(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With NORMAL a power cut rolls back commits that the cloud has already been told of: a false clone.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "recursive_triggers", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, DbError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    set_up(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), DbError> {
    connection.busy_timeout(limits::SQLITE_BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -limits::SQLITE_CACHE_KIB)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.create_collation(DECIMAL, sync_core::value::compare_decimals)?;
    super::figures::register(connection)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, limits::SQLITE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        db.write(|c| Ok::<_, DbError>(c.execute_batch("CREATE TABLE t (a INTEGER PRIMARY KEY, b REFERENCES t (a))")?)).await.unwrap();
        (folder, db)
    }

    fn insert(a: i64) -> impl FnOnce(&Connection) -> Result<(), DbError> + Send + 'static {
        move |connection| {
            connection.execute("INSERT INTO t (a) VALUES (?1)", [a])?;
            Ok(())
        }
    }

    async fn count(db: &Database) -> i64 {
        db.read(|c| Ok::<_, DbError>(c.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)).await.unwrap()
    }

    #[tokio::test]
    async fn a_job_that_fails_or_panics_leaves_nothing_and_the_next_one_works() {
        let (_folder, db) = opened().await;
        let failed = db.write(|c| insert(1)(c).and_then(|()| insert(1)(c))).await;
        assert!(matches!(failed, Err(DbError::Sqlite(_))), "{failed:?}");
        let panicked: Result<(), DbError> = db
            .write(|c| {
                insert(2)(c)?;
                panic!("on purpose")
            })
            .await;
        assert!(matches!(&panicked, Err(DbError::Panicked(text)) if text == "on purpose"), "{panicked:?}");
        db.write(insert(3)).await.unwrap();
        assert_eq!(count(&db).await, 1);
    }

    #[tokio::test]
    async fn writes_that_wait_are_committed_together_and_fail_alone() {
        let (_folder, db) = opened().await;
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let blocker = tokio::spawn({
            let db = db.clone();
            async move { db.write(move |_| wait.recv().map_err(|_| DbError::Closed)).await }
        });
        let writes: Vec<_> = (0..40)
            .map(|number| {
                let db = db.clone();
                // Every fourth one takes a key that is taken.
                tokio::spawn(async move { db.write(insert(if number % 4 == 3 { number - 1 } else { number })).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let before = *db.changes().borrow();
        go.send(()).unwrap();
        blocker.await.unwrap().unwrap();
        let mut refused = 0;
        for write in writes {
            refused += i32::from(write.await.unwrap().is_err());
        }
        assert_eq!((refused, count(&db).await), (10, 30));
        assert!(*db.changes().borrow() - before < 40, "some of them shared a commit");
    }

    #[tokio::test]
    async fn triggers_and_foreign_keys_are_off_for_the_sync_and_on_again_after_it_failed() {
        let (_folder, db) = opened().await;
        db.write(|c| Ok::<_, DbError>(c.execute_batch("CREATE TRIGGER no BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'captured'); END")?))
            .await
            .unwrap();
        let orphan = |c: &Connection| Ok::<_, DbError>(c.execute("INSERT INTO t (a, b) VALUES (7, 99)", [])?);
        assert!(db.write(orphan).await.is_err());
        db.apply(orphan).await.unwrap();
        let delete = |c: &Connection| Ok::<_, DbError>(c.execute("DELETE FROM t", [])?);
        let failed: Result<(), DbError> = db.apply(move |c| delete(c).and(Err(DbError::Closed))).await;
        assert!(failed.is_err());
        assert!(db.write(delete).await.unwrap_err().to_string().contains("captured"));
        assert!(db.write(orphan).await.is_err());
        assert_eq!(db.apply(delete).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_reader_cannot_write_and_sees_one_state() {
        let (_folder, db) = opened().await;
        let refused: Result<usize, DbError> = db.read(|c| Ok(c.execute("INSERT INTO t (a) VALUES (1)", [])?)).await;
        assert!(refused.is_err());
        let settings: (i64, String) = db
            .write(|c| {
                Ok::<_, DbError>((
                    c.query_row("PRAGMA synchronous", [], |r| r.get(0))?,
                    c.query_row("PRAGMA journal_mode", [], |r| r.get(0))?,
                ))
            })
            .await
            .unwrap();
        assert_eq!(settings, (2, "wal".to_owned()));
    }

    #[tokio::test]
    async fn f19_a_second_process_is_refused_until_the_first_has_closed() {
        let (folder, db) = opened().await;
        assert!(matches!(Database::open(folder.path()), Err(DbError::InUse(_))));
        db.close().await;
        assert!(matches!(db.write(insert(1)).await, Err(DbError::Closed)));
        assert!(!folder.path().join("site.db-wal").exists(), "the WAL is in the database");
        Database::open(folder.path()).unwrap();
    }

    #[tokio::test]
    async fn what_another_program_writes_is_noticed() {
        let (folder, db) = opened().await;
        let mut changes = db.changes();
        changes.mark_unchanged();
        let other = Connection::open(folder.path().join(FILE)).unwrap();
        other.execute("INSERT INTO t (a) VALUES (1)", []).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
    }
}
