//! Why a private cluster does not run, and what to do about it.

use std::path::{Path, PathBuf};

/// What kept a private cluster from running or from doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No server binaries anywhere that we look.
    #[error(
        "no PostgreSQL server binaries (initdb, postgres) found: install the package `postgresql` (15 or newer), run scripts/get-postgres.sh, or set PG_BIN to the folder that holds them"
    )]
    BinariesNotFound,
    /// Only versions that we cannot use.
    #[error("PostgreSQL {found} in {} is too old: install {} or newer, or set PG_BIN to the folder that holds it", bin.display(), super::binaries::MAJOR_MIN)]
    TooOld {
        /// Its folder.
        bin: PathBuf,
        /// Its major version.
        found: u32,
    },
    /// The data was made by another major version than the ones installed.
    #[error(
        "the data of this cluster was made by PostgreSQL {made_by}, which is not installed: install it, or set PG_BIN to the folder that holds it"
    )]
    OtherMajor {
        /// The major version that made the data.
        made_by: u32,
    },
    /// Another process runs this cluster.
    #[error("{} is in use: another running process owns this cluster", dir.display())]
    InUse {
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// We are root, PostgreSQL must not be, and there is nobody else.
    #[error("PostgreSQL refuses to run as root, and neither of the users `postgres` and `nobody` exists to run it")]
    NoAccount,
    /// The user that PostgreSQL runs as cannot get to its files.
    #[error("the user `{user}`, as which PostgreSQL runs because we are root, may not enter {}: chmod o+x it, or choose another folder", folder.display())]
    NotSearchable {
        /// The first folder on the way that is closed.
        folder: PathBuf,
        /// That user.
        user: String,
    },
    /// `initdb` failed.
    #[error("initdb of {} failed: {last_line}", bin.display())]
    Initdb {
        /// The folder of the binaries.
        bin: PathBuf,
        /// The last line that it wrote.
        last_line: String,
    },
    /// The postmaster ended, or never answered.
    #[error("PostgreSQL in {} did not start; its log ends with:\n{log}", dir.display())]
    DidNotStart {
        /// The cluster's folder.
        dir: PathBuf,
        /// The last lines of its log.
        log: String,
    },
    /// A postmaster that a former process left behind does not go away.
    #[error("a PostgreSQL left behind in {} (process {pid}) does not stop: stop it by hand and start again", dir.display())]
    DoesNotStop {
        /// The cluster's folder.
        dir: PathBuf,
        /// Its process id.
        pid: u32,
    },
    /// No port on loopback to be had.
    #[error("no free port on 127.0.0.1: {source}")]
    Port {
        /// What the system said.
        source: std::io::Error,
    },
    /// PostgreSQL runs and refused a statement.
    #[error("cannot {action}: {source}")]
    Database {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        source: tokio_postgres::Error,
    },
    /// A file or a process of the cluster.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl PostgresError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}
