//! What can go wrong in the site's store.

use crate::store::db::DbError;
use crate::store::install::SchemaError;
use crate::store::rows::RowError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A stored value that is not of its column's type.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A catalog that the site's tables cannot be brought to.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What the sync itself had stored cannot be read.
    #[error("the sync's own notes cannot be read: {0}")]
    Stored(String),
    /// The cloud said what cannot be.
    #[error("the cloud's answer cannot be: {0}")]
    Answer(String),
    /// A page that was kept from an earlier attempt cannot be read.
    #[error(transparent)]
    Spool(#[from] super::spool::SpoolError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error.into())
    }
}

/// What a query function returns.
pub type Result<T> = std::result::Result<T, StoreError>;
