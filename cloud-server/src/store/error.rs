//! What can go wrong between us and PostgreSQL, sorted by what the caller can do about it.

use conflict_ui_api::error::BackendError;
use sync_core::id::CatalogVersion;
use tokio_postgres::error::SqlState;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, restarts or has no connection left: try again later.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Somebody holds the rows, or the transaction lost a race: roll back and try again.
    #[error("the rows are busy: {0}")]
    Busy(String),
    /// What the database said, when it is neither of these.
    #[error("the database answered: {}", in_words(.0))]
    Database(#[source] tokio_postgres::Error),
    /// A newer catalog than the one that this server goes by is in force: take that one, and try again.
    #[error("the catalog {0} is in force")]
    Outdated(CatalogVersion),
    /// Tables or columns are called otherwise, or have other types, than the catalog in force says: look at the database again.
    #[error("the tables are not those of the catalog {0} any more")]
    Moved(CatalogVersion),
    /// What is stored is not what the engine wrote there.
    #[error("the database holds what cannot be: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// The SQLSTATE, where PostgreSQL answered with one that is neither [`Self::Unavailable`] nor [`Self::Busy`].
    #[must_use]
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            Self::Unavailable(_) | Self::Busy(_) | Self::Outdated(_) | Self::Moved(_) | Self::Corrupt(_) => None,
        }
    }

    /// Whether a statement or a trigger of ours does not fit the database: it names what was dropped or altered since the catalog was made, so
    /// that it fails whatever the row, or the server goes by an old one. The same out of a function of the user's is not ours.
    #[must_use]
    pub fn is_unfit(&self) -> bool {
        if matches!(self, Self::Outdated(_) | Self::Moved(_)) {
            return true;
        }
        let Self::Database(error) = self else { return false };
        let Some(said) = error.as_db_error() else { return false };
        let syntax = ["42", "0A"].iter().any(|class| said.code().code().starts_with(class));
        let of_the_row = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::GENERATED_ALWAYS].contains(said.code());
        syntax && !of_the_row && said.where_().is_none_or(is_within_ours)
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            // No SQLSTATE: the connection broke, or a value could not be sent or read, which is a fault of ours.
            let broke = error.is_closed() || std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
            return if broke { Self::Unavailable(in_words(&error)) } else { Self::Database(error) };
        };
        match code {
            &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::LOCK_NOT_AVAILABLE => {
                Self::Busy(in_words(&error))
            }
            &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS => {
                Self::Unavailable(in_words(&error))
            }
            code if code.code().starts_with("08") => Self::Unavailable(in_words(&error)),
            _ => Self::Database(error),
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::{HookError, PoolError};
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => Self::Unavailable(in_words(&error)),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(what) => Self::Unavailable(format!("the database cannot be reached: {what}")),
            StoreError::Busy(_) => Self::Busy,
            error => Self::internal(error),
        }
    }
}

/// Whether the innermost function of an error's context is one of ours. PostgreSQL's own statement alone has no function at all.
fn is_within_ours(context: &str) -> bool {
    let function = context.lines().find_map(|line| line.split_once("function ")).map(|(_, name)| name);
    function.is_none_or(|name| name.trim_start_matches('"').starts_with("rejoin."))
}

/// PostgreSQL says it in a hint.
const LOCKS: &str = ": there is no room for more locks. A table of many partitions is locked with each of them and their indexes: raise \
     max_locks_per_transaction, and restart PostgreSQL";

/// tokio-postgres shows only "db error"; the words are in the source.
fn in_words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(said), _) => {
            let of_locks = said.hint().is_some_and(|hint| hint.contains("max_locks_per_transaction"));
            format!("{} ({}){}", said.message(), said.code().code(), if of_locks { LOCKS } else { "" })
        }
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
