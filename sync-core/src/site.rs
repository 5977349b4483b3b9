//! The site's half: `step(row, event) -> row`, and `cut(row) -> change`. A dirty row has three images: base, live and theirs.

mod additions;
mod answer;
mod later;
mod pull;

pub use later::merge_later;

use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table};
use crate::change::{Addition, At, Edit, Image, Op, Row, RowAnswer, RowChange, Stamp};
use crate::id::{ColumnNo, ConflictId, Key, ScopeId, Tick};
use crate::policy::Policy;
use crate::value::Value;

/// One row at a site with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteRow {
    /// The live row; `None` where there is none.
    pub live: Option<Live>,
    /// The base image or insert mark; `None` for a clean row.
    pub base: Option<Base>,
    /// The newest cloud image seen while the row was dirty.
    pub theirs: Option<Image>,
    /// What was added to its `add` columns and is not answered yet, oldest first. None of a row that is an insert nobody answered for:
    /// there the values themselves travel.
    pub additions: Vec<Unanswered>,
}

/// An addition that the cloud has not answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The addition.
    pub addition: Addition,
    /// Whether it is in the push that waits for its answer.
    pub in_flight: bool,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// The image; `None` marks an insert.
    pub row: Option<Row>,
    /// Where that image stands.
    pub at: Option<At>,
    /// Its version.
    pub version: i64,
    /// When the cloud had accepted it.
    pub synced_at: Option<String>,
    /// Whether the row is in a push that is not answered yet.
    pub in_flight: bool,
    /// When its `newest` columns were last changed here, as canonical timestamptz text.
    pub times: Vec<(ColumnNo, String)>,
    /// The conflict that holds this insert, with the digest of what was offered: another digest is offered again.
    pub held: Option<(ConflictId, [u8; 32])>,
}

/// What happens to a row.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A pull brought this image.
    Pulled(&'a Image),
    /// The same after the schema moved, where in these columns the base may hold what the site made of them, which the cloud never had.
    Fed(&'a Image, &'a [Made]),
    /// A push of this row was answered.
    Answered(&'a RowChange, &'a RowAnswer),
    /// The conflict that holds this insert was resolved: what the cloud sent, if anything, takes its place, unless it was edited since.
    Released,
    /// The conflict that holds this insert was resolved for it, in a table that no pull brings: it stands as it is, accepted at this time.
    Kept(&'a str),
    /// Somebody asks: a push is about to be cut, or an apply begins. A row without a difference becomes clean.
    Asked,
}

/// A column in which the site made something of its rows itself when the schema moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The column.
    pub column: ColumnNo,
    /// Whether it was new: what somebody typed into it he typed over what was made. Into one that was there before he may have typed what the
    /// migration gave another meaning since.
    pub new: bool,
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

/// The cursors that a step compares with: of a scope, for `Pulled` the pull's new one, otherwise the one in force; `None` where the site has none.
pub type Cursors<'a> = &'a dyn Fn(&ScopeId) -> Option<Tick>;

/// Moves one row. Pure. The version of a row that lives before and after never goes back: another content counts on, the same keeps the higher one.
#[must_use]
pub fn step(table: &Table, mut row: SiteRow, event: &Event<'_>, cursor: Cursors<'_>) -> Stepped {
    let mut later = None;
    let before = row.live.clone();
    match event {
        Event::Pulled(image) => pull::pulled(table, &mut row, image, cursor),
        Event::Fed(image, made) => {
            pull::fed(table, &mut row, image, made);
            pull::pulled(table, &mut row, image, cursor);
        }
        Event::Answered(change, answer) => later = answer::answered(table, &mut row, change, answer, cursor),
        Event::Released => release(table, &mut row, None),
        Event::Kept(synced_at) => release(table, &mut row, Some(synced_at)),
        Event::Asked => {
            // A column put back by hand is untouched again, and follows.
            if row.base.as_ref().is_some_and(|base| !base.in_flight) {
                pull::rebase(table, &mut row);
            }
            settle(&mut row);
        }
    }
    // A row can go and come back within one step; its version counts on all the same.
    if let (Some(before), Some(live)) = (before, &mut row.live) {
        let least = if before.row == live.row { before.stamp.version } else { before.stamp.version + 1 };
        live.stamp.version = live.stamp.version.max(least);
    }
    Stepped { row, later }
}

/// Lets go of a held insert. One that was edited since it was offered is an insert of its own again: nobody has decided on that edit.
/// `kept`: it was accepted at this time, and nothing comes to take its place.
fn release(table: &Table, row: &mut SiteRow, kept: Option<&str>) {
    let offered = row.base.as_ref().and_then(|base| base.held).map(|(_, digest)| digest);
    let edited =
        row.live.as_ref().is_some_and(|live| offered.is_some_and(|offered| offered != crate::change::row_digest(table, &live.row)));
    if let (true, Some(base)) = (edited, &mut row.base) {
        base.held = None;
        return;
    }
    row.base = None;
    row.additions.clear();
    match (kept, &mut row.live, row.theirs.take()) {
        (Some(synced_at), Some(live), None) => live.stamp.synced_at = Some(synced_at.to_owned()),
        (_, live, theirs) => *live = theirs.as_ref().and_then(become_image),
    }
}

/// What the next push says of this row: the net difference between base and live, and its additions. `None` where there is none, where the row waits for an
/// answer, or where a held insert was not touched since it was offered.
#[must_use]
pub fn cut(table: &Table, row: &SiteRow) -> Option<RowChange> {
    let base = row.base.as_ref().filter(|base| !base.in_flight)?;
    let pairs = |row: &[Value]| table.columns.iter().map(|column| column.no).zip(row.iter().cloned()).collect::<Vec<_>>();
    let change = |key: Key, stamp: Stamp, op| {
        Some(RowChange { table: table.no, key, stamp, base: base.at.clone(), op, additions: Vec::new(), times: Vec::new() })
    };
    match (&base.row, &row.live) {
        (None, None) => None,
        (None, Some(live)) => {
            let offered = base.held.is_some_and(|(_, digest)| digest == crate::change::row_digest(table, &live.row));
            if offered { None } else { change(table.key_of(&live.row), live.stamp.clone(), Op::Insert(pairs(&live.row))) }
        }
        (Some(image), None) => {
            let stamp = Stamp { version: base.version + 1, ..Stamp::default() };
            change(table.key_of(image), stamp, Op::Delete(pairs(image)))
        }
        (Some(image), Some(live)) => {
            let (from, key) = (table.key_of(image), table.key_of(&live.row));
            let edits = edits(table, image, &live.row, &row.additions);
            let additions: Vec<Addition> = row.additions.iter().map(|one| one.addition.clone()).collect();
            if from == key && edits.is_empty() && additions.is_empty() {
                return None;
            }
            let times = times(table, base, live, &edits);
            let op = if from == key { Op::Update(edits) } else { Op::Rekey(from, edits) };
            change(key, live.stamp.clone(), op).map(|change| RowChange { additions, times, ..change })
        }
    }
}

/// The changed columns but those of the key, each with its whole group. Marking a row as deleted carries every column, the unchanged ones as
/// assertions (base = new): like a delete it is accepted only over the row that its author saw.
fn edits(table: &Table, base: &[Value], live: &[Value], unanswered: &[Unanswered]) -> Vec<Edit> {
    let marks_deleted = table.is_soft_deleted(live) && !table.is_soft_deleted(base);
    let changed = |at: usize| base[at] != live[at] && !additions::explain(&table.columns[at], &base[at], &live[at], unanswered);
    let columns = table.columns.iter().enumerate().filter(|(_, column)| !table.key.contains(&column.no));
    columns
        .filter(|(at, column)| match column.policy {
            Policy::Add => changed(*at),
            _ => marks_deleted || group(table, column).any(changed),
        })
        .map(|(at, column)| {
            let new = if column.policy == Policy::Add { additions::without(column, &live[at], unanswered) } else { live[at].clone() };
            Edit { column: column.no, base: base[at].clone(), new }
        })
        .collect()
}

/// When the `newest` columns among the edits were changed; the row's own time where nobody noted it.
fn times(table: &Table, base: &Base, live: &Live, edits: &[Edit]) -> Vec<(ColumnNo, String)> {
    let newest = edits.iter().filter(|edit| table.column(edit.column).is_some_and(|column| column.policy == Policy::Newest));
    let noted = |no: ColumnNo| base.times.iter().find(|(column, _)| *column == no).map(|(_, time)| time.clone());
    newest.map(|edit| (edit.column, noted(edit.column).unwrap_or_else(|| live.stamp.updated_at.clone()))).collect()
}

/// The positions of the columns that are compared as one with this one.
fn group<'a>(table: &'a Table, column: &Column) -> impl Iterator<Item = usize> + use<'a> {
    table.group_of(column.no).into_iter().filter_map(|no| table.position(no))
}

/// Whether the row was deleted here, for real or by its mark, since its base.
fn deleted_here(table: &Table, row: &SiteRow) -> bool {
    match (&row.live, row.base.as_ref().and_then(|base| base.row.as_ref())) {
        (None, _) => true,
        (Some(live), Some(base)) => table.is_soft_deleted(&live.row) && !table.is_soft_deleted(base),
        (Some(_), None) => false,
    }
}

/// A dirty row without a difference becomes clean, and takes `theirs` where that is newer than its base.
fn settle(row: &mut SiteRow) {
    let Some(base) = row.base.as_ref().filter(|base| !base.in_flight && row.additions.is_empty()) else { return };
    let same = match (&base.row, &row.live) {
        (None, None) => true,
        (Some(image), Some(live)) => *image == live.row,
        _ => false,
    };
    if !same {
        return;
    }
    let (at, synced_at) = (base.at.clone(), base.synced_at.clone());
    row.base = None;
    if let Some(live) = &mut row.live {
        live.at = at;
        live.stamp.synced_at = synced_at;
    }
    if let Some(theirs) = row.theirs.take() {
        row.live = become_image(&theirs);
    }
}

/// The live row that a cloud image makes; none where the image is a tombstone or mark.
fn become_image(image: &Image) -> Option<Live> {
    let row = image.row()?.clone();
    Some(Live { row, stamp: image.stamp.clone(), at: Some(image.at.clone()) })
}

/// Whether an image that a pull brings may take the place of one that stands at `held`.
///
/// In one scope ticks decide. Otherwise the pull's snapshot has seen the held image if its new cursor of that image's scope is at or above
/// the image's tick, or if the site does not hold that scope (any more).
fn supersedes(incoming: &At, held: &At, cursor: Cursors<'_>) -> bool {
    if incoming.scope == held.scope {
        return incoming.tick >= held.tick;
    }
    cursor(&held.scope).is_none_or(|tick| tick >= held.tick)
}
