//! What can go wrong behind the port. `problem.rs` is the only place that maps it to HTTP.

use sync_core::write::FieldError;

use crate::backend::{Conflict, Record};

/// A typed failure: what happened, to which row, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no such row, conflict, site, user or token.
    #[error("there is no {0}")]
    NotFound(String),
    /// The draft has faults; nothing was written.
    #[error("{} of the fields cannot be written", .0.len())]
    Invalid(Vec<FieldError>),
    /// A key or unique key is taken.
    #[error("{table} has another row with the same {}", .columns.join(", "))]
    Duplicate {
        /// The table.
        table: String,
        /// The columns of the key.
        columns: Vec<String>,
    },
    /// A row referred to does not exist.
    #[error("{column} names a row of {target} that does not exist")]
    BadReference {
        /// The referring column.
        column: String,
        /// The table referred to.
        target: String,
    },
    /// Rows refer to this one, and their reference forbids its deletion.
    #[error("rows of {table} refer to this row")]
    Restricted {
        /// The table whose rows refer.
        table: String,
    },
    /// A check of the database refused the row.
    #[error("the database refused the row: {0}")]
    Check(String),
    /// No number is left for the key of a new row; the text says why and what to do.
    #[error("{0}")]
    NoNumbers(String),
    /// `If-Match` named another version.
    #[error("the record has changed since it was read")]
    Stale(Box<Record>),
    /// A resolution was decided against another state.
    #[error("the conflict or its row has changed since it was read")]
    Outdated(Box<Conflict>),
    /// A bulk decision on another number of conflicts than there are.
    #[error("there are {matched} such conflicts now, not {expected}: look at them again")]
    Miscounted {
        /// As many as the person was shown.
        expected: u64,
        /// As many as there are.
        matched: u64,
    },
    /// A resolution that cannot be carried out.
    #[error("{0}")]
    Undecidable(String),
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// This server does not do that; the text says where it is done.
    #[error("{0}")]
    Unsupported(String),
    /// Somebody else holds the rows; try again.
    #[error("the rows are busy, try again")]
    Busy,
    /// The server cannot serve now; the text says why.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of the server or its database. Logged in full, shown without SQL.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl BackendError {
    /// Wraps a fault of a driver.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}
