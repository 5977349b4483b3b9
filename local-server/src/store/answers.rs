//! What the answer to a push does: one transaction over all its rows, each by `sync_core::site::step`.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::catalog::{Table, Travel};
use sync_core::change::{At, Confirmed, Image, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{ConflictId, Key, PushNo, ScopeId, Tick};
use sync_core::site::{Event, SiteRow, merge_later, step};
use sync_core::wire::codec;
use sync_core::wire::message::{CommandAnswer, Push, PushAnswer, PushResult, Refusal};

use super::conflicts::news;
use super::cursors;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::outbox;
use super::plan::{Plan, TableSql};
use super::released;
use super::seats::{self, Seat, Seats};
use super::sync_writer::{Because, SyncWriter};
use super::{identity, noted};

mod today;

/// The fact that the next pull must name no push: the cloud then sends everything, also what it takes this replica to have.
pub const ECHO: &str = "echo";

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows are where the answer put them.
    Applied(Counts),
    /// Refused as a whole; its rows are free to be cut anew.
    Refused(Refusal, usize),
    /// This copy is a clone or was restored: it must become a replica of its own.
    Fork,
    /// The cloud has only this many pushes of this replica.
    Gap(PushNo),
}

/// The rows of an answered push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted, or there already.
    pub accepted: usize,
    /// Parked or held.
    pub parked: usize,
    /// Deferred.
    pub deferred: usize,
}

/// Whether an answer refuses a decision made here.
#[must_use]
pub fn refused(answer: &PushAnswer) -> bool {
    matches!(&answer.result, PushResult::Applied { commands, .. } if commands.iter().any(|answer| matches!(answer, CommandAnswer::Refused(_))))
}

/// Applies an answer.
///
/// # Errors
/// The database; an answer that is not one to this push.
pub fn apply(connection: &Connection, plan: &Plan, no: PushNo, answer: &PushAnswer) -> Result<Outcome> {
    let Some((push, seats, hash)) = outbox::sent(connection, no)? else {
        return Err(StoreError::Answer(format!("push {no} is not waiting for an answer")));
    };
    if let PushResult::Fork = answer.result {
        return Ok(Outcome::Fork);
    }
    if let PushResult::Gap(have) = answer.result {
        return Ok(Outcome::Gap(have));
    }
    if answer.no != no || answer.hash != hash {
        return Err(StoreError::Answer(format!("the answer to push {no} is one to push {} of other bytes", answer.no)));
    }
    let outcome = match &answer.result {
        PushResult::Applied { rows, commands } => {
            if rows.len() != push.rows.len() || commands.len() != push.commands.len() {
                return Err(StoreError::Answer(format!("push {no} had {} rows; {} are answered", push.rows.len(), rows.len())));
            }
            let mut counts = Counts::default();
            rows.iter().for_each(|row| counts.count(&row.verdict));
            take_rows(connection, plan, &push, rows, &seats)?;
            take_commands(connection, &seats.commands, commands)?;
            Outcome::Applied(counts)
        }
        PushResult::Refused(refusal) => {
            outbox::release(connection, plan, &push, &seats)?;
            if let (Refusal::Malformed(why), 0 | 1) = (refusal, push.rows.len()) {
                // Rows are cut ever smaller until what is wrong stands alone; decisions that are left then are what is wrong, and must not be
                // sent for ever.
                for conflict in &seats.commands {
                    let sql = "UPDATE rejoin_commands SET refused = ?2 WHERE conflict = ?1";
                    connection.prepare_cached(sql)?.execute(params![conflict.to_string(), why])?;
                }
            }
            Outcome::Refused(refusal.clone(), push.rows.len())
        }
        PushResult::Fork | PushResult::Gap(_) => return Ok(Outcome::Fork),
    };
    outbox::close(connection, no, &answer.mac)?;
    Ok(outcome)
}

impl Counts {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Accepted | Verdict::NoOp => self.accepted += 1,
            Verdict::Parked(_) | Verdict::Held(_) => self.parked += 1,
            Verdict::Deferred => self.deferred += 1,
        }
    }
}

fn take_rows(connection: &Connection, plan: &Plan, push: &Push, answers: &[RowAnswer], seats: &Seats) -> Result<()> {
    let ticks = cursors::ticks(connection)?;
    let moved = push.speaker.catalog != plan.catalog.version;
    let mut writer = SyncWriter::new(connection, plan);
    let mut lost = false;
    for (at, ((change, answer), seat)) in push.rows.iter().zip(answers).zip(&seats.rows).enumerate() {
        news::keep_parked(connection, change, answer)?;
        match seat {
            Seat::Row(rejoin_row) => {
                let found = find(connection, plan, push.no, (change, seats.key(at, change)), *rejoin_row);
                // Nothing of it is left to compare with, or somebody wrote what cannot be read: whatever the cloud has now must come by the feed.
                let (table, sql, found) = match found {
                    Ok(Some(found)) => found,
                    Ok(None) | Err(StoreError::Row(_)) => {
                        lost = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let place = (seats, at, found.rejoin_row.unwrap_or(*rejoin_row));
                let (change, answer) = today::of_today(connection, table, place, moved, change, answer)?;
                take_row(&mut writer, table, sql, found, &change, &answer, &ticks)?;
            }
            Seat::Later(record) => take_later(connection, push.no, change, record, answer)?,
        }
    }
    if lost {
        seats::free(connection, plan, push)?;
        identity::set_fact(connection, ECHO, "1")?;
    }
    writer.finish(&|scope| ticks.get(scope).copied())
}

fn take_row(
    writer: &mut SyncWriter<'_>,
    table: &Table,
    sql: &TableSql,
    mut before: Entry,
    change: &RowChange,
    answer: &RowAnswer,
    ticks: &HashMap<ScopeId, Tick>,
) -> Result<()> {
    let cursor = |scope: &ScopeId| ticks.get(scope).copied();
    if sql.noted {
        noted::explain(table, &mut before.row, Some(change));
    }
    let mut stepped = step(table, before.row.clone(), &Event::Answered(change, answer), &cursor);
    if table.travel != Travel::Up
        && let Some(gone) = gone_unheard(&before.row, answer, &cursor)
    {
        stepped.row = step(table, stepped.row, &Event::Pulled(&gone), &cursor).row;
    }
    if let Some(later) = &stepped.later {
        keep_later(writer.connection, later)?;
    }
    // The conflict may have been resolved before its answer arrived.
    if let Some((conflict, _)) = stepped.row.base.as_ref().and_then(|base| base.held)
        && let Some(resolved) = released::resolution(writer.connection, writer.plan, conflict)?
    {
        stepped = step(table, stepped.row, &resolved.event(table), &cursor);
    }
    let image = if let Confirmed::Image(image) = &answer.confirmed { Some(image) } else { None };
    let because = match (&answer.verdict, image) {
        (Verdict::Accepted | Verdict::NoOp, image) => Because::Accepted(image),
        (_, Some(image)) => Because::Image(image),
        (_, None) => Because::Step,
    };
    writer.save(table, sql, &before, &stepped.row, because)
}

/// The answer says that the row was written at a tick that a pull has passed already, and that pull brought nothing of it. So the row is gone
/// again: the first pull of a scope, which is one that this very push made, has live rows only. (Of a table that only goes up no pull brings any.)
fn gone_unheard(before: &SiteRow, answer: &RowAnswer, cursor: &dyn Fn(&ScopeId) -> Option<Tick>) -> Option<Image> {
    let at = match (&answer.verdict, &answer.confirmed) {
        (Verdict::Accepted, Confirmed::Exact { at, .. }) => at,
        (Verdict::Accepted, Confirmed::Image(image)) if image.row().is_some() => &image.at,
        _ => return None,
    };
    let known = before.theirs.is_some() || before.base.as_ref().and_then(|base| base.at.as_ref()) == Some(at);
    let passed = cursor(&at.scope).filter(|tick| *tick > at.tick && !known)?;
    Some(Image { at: At { scope: at.scope.clone(), tick: passed }, stamp: Stamp::default(), state: State::Deleted })
}

/// The row that a push carried: by its number, or, where it was deleted and inserted again meanwhile, by its key at the cloud.
fn find<'p>(
    connection: &Connection,
    plan: &'p Plan,
    no: PushNo,
    (change, key): (&RowChange, &Key),
    rejoin_row: i64,
) -> Result<Option<(&'p Table, &'p TableSql, Entry)>> {
    let Some((table, sql)) = seats::holder(connection, plan, no, change.table, rejoin_row)? else { return Ok(None) };
    let waits = |entry: &Entry| entry.mark.as_ref().is_some_and(|mark| mark.push_no == Some(no.0));
    if let Some(entry) = entry::by_row(connection, table, sql, rejoin_row)?.filter(waits) {
        return Ok(Some((table, sql, entry)));
    }
    let Some(rejoin_row) = seats::by_key(connection, table, no, key)? else { return Ok(None) };
    Ok(entry::by_row(connection, table, sql, rejoin_row)?.filter(waits).map(|entry| (table, sql, entry)))
}

fn keep_later(connection: &Connection, later: &RowChange) -> Result<()> {
    let record = later.key.to_string();
    let sql = "SELECT body FROM rejoin_later WHERE table_no = ?1 AND record_id = ?2";
    let before: Option<Vec<u8>> = connection.prepare_cached(sql)?.query_row(params![later.table.0, record], |row| row.get(0)).optional()?;
    let stored = |error: codec::CodecError| StoreError::Stored(error.to_string());
    let later = match before {
        Some(before) => merge_later(&codec::decode(&before).map_err(stored)?, later.clone()),
        None => later.clone(),
    };
    let body = codec::encode(&later).map_err(stored)?;
    let sql = "INSERT OR REPLACE INTO rejoin_later (table_no, record_id, body) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![later.table.0, record, body])?;
    Ok(())
}

fn take_later(connection: &Connection, no: PushNo, change: &RowChange, record: &str, answer: &RowAnswer) -> Result<()> {
    if answer.verdict == Verdict::Deferred {
        let sql = "UPDATE rejoin_later SET push_no = NULL WHERE table_no = ?1 AND record_id = ?2 AND push_no = ?3";
        connection.prepare_cached(sql)?.execute(params![change.table.0, record, no.0])?;
        return Ok(());
    }
    let sql = "DELETE FROM rejoin_later WHERE table_no = ?1 AND record_id = ?2 AND push_no = ?3";
    connection.prepare_cached(sql)?.execute(params![change.table.0, record, no.0])?;
    if let Confirmed::Exact { .. } = answer.confirmed {
        // The cloud takes this replica to have the row as pushed; it has another one under it.
        identity::set_fact(connection, ECHO, "1")?;
    }
    Ok(())
}

fn take_commands(connection: &Connection, conflicts: &[ConflictId], answers: &[CommandAnswer]) -> Result<()> {
    for (conflict, answer) in conflicts.iter().zip(answers) {
        let conflict = conflict.to_string();
        match answer {
            // Its effect, and the resolved conflict, come by the feed.
            CommandAnswer::Done => connection.execute("UPDATE rejoin_commands SET done = 1 WHERE conflict = ?1", [conflict])?,
            CommandAnswer::Refused(why) => {
                connection.execute("UPDATE rejoin_commands SET push_no = NULL, refused = ?2 WHERE conflict = ?1", params![conflict, why])?
            }
        };
    }
    Ok(())
}
