//! The site's half: `step(row, event) -> row`. A dirty row has three images: base, live and theirs.

use crate::catalog::Table;
use crate::change::{At, Image, Row, RowAnswer, RowChange, Stamp};
use crate::id::{ConflictId, ScopeId, Tick};

/// One row at a site with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteRow {
    /// The live row; `None` where there is none.
    pub live: Option<Live>,
    /// The base image or insert mark; `None` for a clean row.
    pub base: Option<Base>,
    /// The newest cloud image seen while the row was dirty.
    pub theirs: Option<Image>,
}

/// The live row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The content.
    pub row: Row,
    /// The row's versioning.
    pub stamp: Stamp,
    /// Where the cloud image stands that the row was last made of; `None` for a row that the cloud never sent or confirmed.
    pub at: Option<At>,
}

/// What a dirty row was before its first local change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The image; `None` marks an insert.
    pub row: Option<Row>,
    /// Where that image stands.
    pub at: Option<At>,
    /// Its version.
    pub version: i64,
    /// Whether the row is in a push that is not answered yet.
    pub in_flight: bool,
    /// The conflict that holds this insert, with the digest of what was offered: another digest is offered again.
    pub held: Option<(ConflictId, [u8; 32])>,
}

/// What happens to a row.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A pull brought this image.
    Pulled(&'a Image),
    /// A push of this row was answered.
    Answered(&'a RowChange, &'a RowAnswer),
    /// The conflict that holds this insert was resolved: what the cloud sent, if anything, takes its place.
    Released,
    /// Somebody asks: a push is about to be cut, or an apply begins. A row without a difference becomes clean.
    Asked,
}

/// A row after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// The row.
    pub row: SiteRow,
    /// An edit made while its row's push was clashing, cut against the *pushed* values. It joins the conflict with the next push; its author
    /// never saw the cloud's value, so it never gets that value as its base.
    pub later: Option<RowChange>,
}

/// Moves one row. Pure.
///
/// `cursor` gives the cursor of a scope: for `Pulled` the pull's new one, otherwise the one in force; `None` where the site has none.
#[must_use]
pub fn step(table: &Table, row: SiteRow, event: &Event<'_>, cursor: &dyn Fn(&ScopeId) -> Option<Tick>) -> Stepped {
    let _ = (table, event, cursor);
    Stepped { row, later: None }
}
