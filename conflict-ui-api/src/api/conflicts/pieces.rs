//! A page read piece by piece, so that it ends where it would become too large: each side of a conflict may be megabytes.

use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sync_core::id::ConflictId;
use sync_core::limits::{CONFLICT_PAGE_BYTES, CONFLICT_PAGE_ROWS};

use crate::api::params::page;
use crate::backend::{ConflictQuery, Result};
use crate::error::BackendError;

/// The page so far.
pub(super) struct Pieces {
    query: ConflictQuery,
    /// How many rows the page shows at most; one more says that there are more.
    size: usize,
    rows: Vec<Line>,
    bytes: usize,
    done: bool,
}

/// A line that is written already, so that its bytes can be counted.
#[derive(Serialize)]
#[serde(transparent)]
struct Line {
    #[serde(skip)]
    id: ConflictId,
    json: Box<RawValue>,
}

impl Pieces {
    pub(super) fn new(query: ConflictQuery, size: usize) -> Self {
        Self { query, size, rows: Vec::new(), bytes: 0, done: false }
    }

    /// The next piece to read; `None` once the page is full or there is no more.
    pub(super) fn wanted(&mut self) -> Option<&ConflictQuery> {
        self.query.limit = (self.size + 1).saturating_sub(self.rows.len()).min(CONFLICT_PAGE_ROWS);
        (!self.done && self.query.limit > 0).then_some(&self.query)
    }

    /// Takes what was read.
    pub(super) fn take<T: Serialize>(&mut self, piece: Vec<T>, id: impl Fn(&T) -> ConflictId) -> Result<()> {
        self.done = piece.len() < self.query.limit;
        for row in piece {
            if self.bytes >= CONFLICT_PAGE_BYTES {
                self.size = self.rows.len();
                self.done = true;
            }
            let line = Line { id: id(&row), json: to_raw_value(&row).map_err(BackendError::internal)? };
            self.bytes += line.json.get().len();
            self.query.after = Some(line.id);
            self.rows.push(line);
            if self.rows.len() > self.size {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn page(self, uri: &Uri) -> Response {
        page(uri, self.rows, self.size, |line| line.id.0)
    }
}
