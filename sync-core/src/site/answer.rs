//! What the answer to a push does to a row: live is compared with the *pushed* image, column by column.

use super::pull::rebase;
use super::{Base, Cursors, SiteRow, additions, become_image, group, settle};
use crate::catalog::Table;
use crate::change::{Confirmed, Edit, Image, Op, Row, RowAnswer, RowChange, Stamp, State, Verdict, row_digest};
use crate::id::ColumnNo;
use crate::policy::add;
use crate::value::Value;

/// A push of this row was answered. Returns the edit that must join the conflict, if one was made meanwhile.
pub(super) fn answered(table: &Table, row: &mut SiteRow, change: &RowChange, answer: &RowAnswer, cursor: Cursors<'_>) -> Option<RowChange> {
    let Some(base) = row.base.as_mut().filter(|base| base.in_flight) else {
        // The row was released or dropped meanwhile: nothing waits for this answer.
        return None;
    };
    base.in_flight = false;
    let pushed = pushed_row(table, base, change);
    let insert = matches!(change.op, Op::Insert(_));
    match &answer.verdict {
        Verdict::Deferred | Verdict::Held(_) => {
            if let Verdict::Held(conflict) = answer.verdict {
                base.held = Some((conflict, row_digest(table, &pushed)));
            } else {
                rebase(table, row);
            }
            // The values of an insert travel whole with its next offer.
            row.additions.retain_mut(|one| {
                one.in_flight = false;
                !insert
            });
            settle(row);
            None
        }
        Verdict::Accepted | Verdict::NoOp => {
            answered_for(row, change);
            let confirmed = confirmed_image(answer, change, &pushed);
            confirm(table, row, change, confirmed.as_ref(), &pushed, &answer.merged, &[]);
            carry(table, row, confirmed.as_ref());
            follow_theirs(table, row, confirmed.as_ref(), cursor);
            None
        }
        Verdict::Parked(_) => {
            answered_for(row, change);
            let confirmed = confirmed_image(answer, change, &pushed);
            let gone = confirmed.as_ref().is_none_or(|image| image.row().is_none());
            let later = later_edit(table, row, change, answer, &pushed, gone);
            if later.is_some() && (gone || is_whole(change, answer)) {
                // They are in the edit that joins the conflict.
                row.additions.clear();
            }
            park(table, row, change, answer, confirmed.as_ref(), &pushed);
            carry(table, row, confirmed.as_ref());
            follow_theirs(table, row, confirmed.as_ref(), cursor);
            later
        }
    }
}

/// The additions of a push were answered for: counted, or kept in a conflict.
fn answered_for(row: &mut SiteRow, change: &RowChange) {
    row.additions.retain(|one| !change.additions.iter().any(|sent| sent.id == one.addition.id));
}

/// What was added since the push goes on top of what the answer confirmed, where that made the row clean; without a row there is nothing to
/// add to.
fn carry(table: &Table, row: &mut SiteRow, confirmed: Option<&Image>) {
    match (&mut row.live, &row.base, confirmed) {
        (None, _, _) if row.base.is_none() => row.additions.clear(),
        (Some(live), None, Some(image)) if !row.additions.is_empty() => {
            row.base = Some(base_of(image, live.row.clone()));
            for (at, column) in table.columns.iter().enumerate() {
                live.row[at] = additions::on(column, &live.row[at], &row.additions);
            }
        }
        _ => {}
    }
}

/// Whether the row as a whole was not taken.
fn is_whole(change: &RowChange, answer: &RowAnswer) -> bool {
    answer.clashed.is_empty() || !matches!(change.op, Op::Update(_) | Op::Rekey(..))
}

/// The row as it was pushed: its base image with the new values and additions; for a delete the base image itself.
fn pushed_row(table: &Table, base: &Base, change: &RowChange) -> Row {
    let mut row = base.row.clone().unwrap_or_else(|| vec![Value::Null; table.columns.len()]);
    for (no, value) in change.values() {
        if let Some(at) = table.position(no) {
            row[at] = value.clone();
        }
    }
    for addition in &change.additions {
        if let Some((at, column)) = table.position(addition.column).map(|at| (at, &table.columns[at])) {
            row[at] = add(&column.ty, &row[at], &addition.amount).unwrap_or_else(|| row[at].clone());
        }
    }
    if matches!(change.op, Op::Rekey(..)) {
        for (at, value) in table.key_positions().zip(&change.key.0) {
            row[at] = value.clone();
        }
    }
    row
}

/// What the cloud has now; `None` where the site may not see it.
fn confirmed_image(answer: &RowAnswer, change: &RowChange, pushed: &Row) -> Option<Image> {
    match &answer.confirmed {
        Confirmed::Nothing => None,
        Confirmed::Image(image) => Some(image.clone()),
        Confirmed::Exact { at, version, synced_at } => Some(Image {
            at: at.clone(),
            stamp: Stamp { version: *version, synced_at: Some(synced_at.clone()), ..change.stamp.clone() },
            state: if matches!(change.op, Op::Delete(_)) { State::Deleted } else { State::Live(pushed.clone()) },
        }),
    }
}

/// Columns that are as pushed take the confirmed value; those edited since keep the edit. Its base is the confirmed value where the column was
/// in the push, and stays as it was where it was not: an edit made without sight of a value never gets that value as its base.
/// So does a `merged` one: the edit merges again, three ways, with what its author saw. `clashed` columns take the cloud's value whatever
/// was typed. Groups go as one.
fn confirm(
    table: &Table,
    row: &mut SiteRow,
    change: &RowChange,
    confirmed: Option<&Image>,
    pushed: &Row,
    merged_by_policy: &[ColumnNo],
    clashed: &[ColumnNo],
) {
    let Some(image) = confirmed else {
        // Accepted into a place that this site may not see: the row is gone here, unless it was edited since.
        if row.live.as_ref().is_none_or(|live| live.row == *pushed) {
            (row.live, row.base) = (None, None);
        }
        return;
    };
    // The columns whose confirmed value the author may take as known: he gave them, and they were taken.
    let settled = |no: ColumnNo| {
        !clashed.contains(&no) && !merged_by_policy.contains(&no) && table.group_of(no).into_iter().any(|member| change.gives(member))
    };
    let (Some(content), Some(live)) = (image.row(), &mut row.live) else {
        return confirm_without_row(table, row, image, pushed, &settled);
    };
    let (mut merged, mut base) = (content.clone(), content.clone());
    let mut unseen = table.is_soft_deleted(content) && !table.is_soft_deleted(pushed);
    let marked_since = table.is_soft_deleted(&live.row) && !table.is_soft_deleted(pushed);
    for (at, column) in table.columns.iter().enumerate() {
        if additions::explain(column, &pushed[at], &live.row[at], &row.additions) {
            merged[at] = additions::on(column, &content[at], &row.additions);
        } else if marked_since || group(table, column).any(|at| live.row[at] != pushed[at]) && !clashed.contains(&column.no) {
            merged[at] = live.row[at].clone();
            if !settled(column.no) {
                unseen |= base[at] != pushed[at];
                base[at] = pushed[at].clone();
            }
        }
    }
    if merged == base && row.additions.is_empty() {
        // Nothing is unsent any more.
        row.live = become_image(image);
        row.base = None;
        return;
    }
    live.row = merged;
    live.stamp.version = image.stamp.version.max(live.stamp.version);
    let before = row.base.take().unwrap_or_default();
    // Times are kept of what is still edited.
    let edited = |no: ColumnNo| table.position(no).is_some_and(|at| live.row[at] != base[at]);
    let times = before.times.into_iter().filter(|(no, _)| edited(*no)).collect();
    let next = Base { times, ..base_of(image, base) };
    row.base = Some(if unseen { Base { at: before.at, ..next } } else { next });
}

/// Either side has no row: the row was deleted at the cloud, or here while the push was under way.
fn confirm_without_row(table: &Table, row: &mut SiteRow, image: &Image, pushed: &Row, settled: &dyn Fn(ColumnNo) -> bool) {
    match (image.row(), &row.live) {
        // Deleted here meanwhile: the delete holds against the confirmed row, as far as its author saw it.
        (Some(content), _) => {
            let columns = table.columns.iter().zip(content.iter().zip(pushed));
            let seen = columns.map(|(column, (confirmed, pushed))| if settled(column.no) { confirmed } else { pushed }.clone());
            row.base = Some(base_of(image, seen.collect()));
        }
        (None, None) => row.base = None,
        // Inserted again after the delete that was just accepted.
        (None, Some(_)) => row.base = Some(Base { version: image.stamp.version, ..Base::default() }),
    }
}

fn base_of(image: &Image, row: Row) -> Base {
    Base {
        row: Some(row),
        at: Some(image.at.clone()),
        version: image.stamp.version,
        synced_at: image.stamp.synced_at.clone(),
        ..Base::default()
    }
}

/// The clashed part shows the cloud's state; what did not clash is confirmed as usual.
fn park(table: &Table, row: &mut SiteRow, change: &RowChange, answer: &RowAnswer, confirmed: Option<&Image>, pushed: &Row) {
    let whole = is_whole(change, answer);
    match confirmed {
        Some(image) if !whole && image.row().is_some() => confirm(table, row, change, confirmed, pushed, &answer.merged, &answer.clashed),
        Some(image) => {
            row.base = None;
            row.live = become_image(image);
        }
        None => (row.live, row.base) = (None, None),
    }
}

/// What was typed into clashed columns while the push was under way; into any column where the row is `gone` at the cloud.
/// A row that was marked as deleted meanwhile stays dirty instead (see `confirm`).
fn later_edit(table: &Table, row: &SiteRow, change: &RowChange, answer: &RowAnswer, pushed: &Row, gone: bool) -> Option<RowChange> {
    let live = row.live.as_ref()?;
    let whole = gone || answer.clashed.is_empty() || matches!(change.op, Op::Delete(_));
    let marked_since = table.is_soft_deleted(&live.row) && !table.is_soft_deleted(pushed);
    if marked_since && !whole {
        return None;
    }
    let edits: Vec<Edit> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| (whole || answer.clashed.contains(&column.no)) && !table.key.contains(&column.no))
        // A mark carries every column, as in any push.
        .filter(|(_, column)| marked_since || group(table, column).any(|at| live.row[at] != pushed[at]))
        .map(|(at, column)| Edit { column: column.no, base: pushed[at].clone(), new: live.row[at].clone() })
        .collect();
    if edits.iter().all(|edit| edit.base == edit.new) {
        return None;
    }
    Some(RowChange {
        table: table.no,
        key: change.key.clone(),
        stamp: live.stamp.clone(),
        base: None,
        op: Op::Update(edits),
        additions: Vec::new(),
        times: Vec::new(),
    })
}

/// Applies `theirs` as if just pulled where it is newer than what the answer confirmed. Else the confirmed image takes its place as long as the
/// base holds another value than it: a row whose edit is taken back must find it.
fn follow_theirs(table: &Table, row: &mut SiteRow, confirmed: Option<&Image>, cursor: Cursors<'_>) {
    let newer = |theirs: &Image| {
        let Some(at) = confirmed.map(|image| &image.at) else { return true };
        match cursor(&at.scope) {
            _ if theirs.at.scope == at.scope => theirs.at.tick > at.tick,
            // That pull had seen the confirmed image.
            Some(tick) => tick >= at.tick,
            // A scope made here, of which nothing was pulled yet: what is gone from another scope says nothing of the row in this one.
            None => theirs.row().is_some(),
        }
    };
    match (row.theirs.take().filter(newer), &row.base) {
        (Some(theirs), Some(_)) => {
            row.theirs = Some(theirs);
            rebase(table, row);
            settle(row);
        }
        (Some(theirs), None) => row.live = become_image(&theirs),
        (None, Some(base)) => row.theirs = confirmed.filter(|image| image.row() != base.row.as_ref()).cloned(),
        (None, None) => {}
    }
}
