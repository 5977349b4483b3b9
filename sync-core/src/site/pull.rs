//! What a pulled image does to a row.

use super::{Base, Cursors, Made, SiteRow, additions, become_image, deleted_here, group, settle, supersedes};
use crate::catalog::{Column, Table};
use crate::change::{At, Image, State};
use crate::policy::Policy;

/// A pull brought an image: clean rows take it, dirty ones keep it as `theirs` and take what the local edit did not touch.
pub(super) fn pulled(table: &Table, row: &mut SiteRow, image: &Image, cursor: Cursors<'_>) {
    let Some(base) = &row.base else {
        let held = row.live.as_ref().and_then(|live| live.at.as_ref());
        if takes_place(image, held, cursor) {
            row.live = become_image(image);
        }
        return;
    };
    let newest = newest(row, base);
    // The cloud may have taken an insert whose answer is still under way, and lost the row again: that is news of this row too.
    let taken_and_gone = base.in_flight && newest.is_none() && image.row().is_none();
    if !taken_and_gone && !takes_place(image, newest, cursor) {
        return;
    }
    row.theirs = Some(image.clone());
    if !row.base.as_ref().is_some_and(|base| base.in_flight) {
        rebase(table, row);
        settle(row);
    }
}

/// The image is of the very write that the base is of, and comes again because the schema moved: what only the site made of a column was no
/// value of the cloud's, so the base takes the cloud's. An edit of it, or the row's delete, then holds against that one.
pub(super) fn fed(table: &Table, row: &mut SiteRow, image: &Image, made: &[Made]) {
    let Some(base) = row.base.as_mut().filter(|base| !base.in_flight) else { return };
    let same = base.version == image.stamp.version && base.synced_at.is_some() && base.synced_at == image.stamp.synced_at;
    let here = base.at.as_ref().is_some_and(|at| at.scope == image.at.scope && at.tick < image.at.tick);
    let (Some(before), Some(now)) = (base.row.as_mut().filter(|_| same && here), image.row()) else { return };
    for (at, new) in made.iter().filter_map(|made| Some((table.position(made.column)?, made.new))) {
        let live = row.live.as_mut().map(|live| &mut live.row[at]);
        let typed = live.as_ref().is_some_and(|live| **live != before[at]);
        if table.columns[at].policy == Policy::Add || typed && !new {
            continue;
        }
        if let Some(live) = live.filter(|_| !typed) {
            *live = now[at].clone();
        }
        before[at] = now[at].clone();
    }
}

/// The newest cloud image that a dirty row knows of.
fn newest<'a>(row: &'a SiteRow, base: &'a Base) -> Option<&'a At> {
    row.theirs.as_ref().map(|theirs| &theirs.at).or(base.at.as_ref())
}

/// Whether an incoming image counts against the one held. A tombstone or mark counts only in the scope that the row still belongs to, and
/// only over an older image: in one transaction a row can be deleted and inserted again, and rows apply after what is gone.
fn takes_place(image: &Image, held: Option<&At>, cursor: Cursors<'_>) -> bool {
    match (&image.state, held) {
        (State::Live(_), None) => true,
        (State::Live(_), Some(held)) => supersedes(&image.at, held, cursor),
        (State::Deleted | State::Left, None) => false,
        (State::Deleted | State::Left, Some(held)) => image.at.scope == held.scope && image.at.tick > held.tick,
    }
}

/// Lets the columns that the local edit did not touch follow `theirs`, live and base alike.
///
/// A row deleted here is never rebased: its delete holds only against the image that its author saw. Nor does an edit follow a row that
/// was marked as deleted at the cloud: it would be accepted without anybody having seen that.
pub(super) fn rebase(table: &Table, row: &mut SiteRow) {
    if deleted_here(table, row) {
        return;
    }
    let (Some(theirs), Some(live), Some(base)) = (&row.theirs, &mut row.live, &mut row.base) else { return };
    let (Some(image), Some(before)) = (theirs.row(), &mut base.row) else { return };
    if table.is_soft_deleted(image) && !table.is_soft_deleted(before) && live.row != *before {
        return;
    }
    for (at, column) in table.columns.iter().enumerate() {
        if additions::explain(column, &before[at], &live.row[at], &row.additions) && !image[at].is_null() {
            live.row[at] = additions::on(column, &image[at], &row.additions);
            before[at] = image[at].clone();
        }
    }
    // A group is untouched as a whole or not at all.
    let untouched = |column: &Column| group(table, column).all(|at| live.row[at] == before[at]);
    let follow: Vec<usize> = table.columns.iter().enumerate().filter(|(_, column)| untouched(column)).map(|(at, _)| at).collect();
    for at in follow {
        live.row[at] = image[at].clone();
        before[at] = image[at].clone();
    }
    live.stamp.version = theirs.stamp.version.max(live.stamp.version);
    base.at = Some(theirs.at.clone());
    base.version = theirs.stamp.version;
    base.synced_at = theirs.stamp.synced_at.clone();
}
