//! Cuts pushes from the dirty rows, and keeps the chain of pushes.
//!
//! A [`Pass`] goes once over all dirty rows: rekeys, inserts (parents first), updates, deletes (children first). Each push takes up where
//! the one before it ended, so that a cut costs by the size of the push, not by the number of dirty rows. Rows that come back deferred lie
//! behind the pass and wait for the next one: a busy scope never blocks the rows of another.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::catalog::Table;
use sync_core::change::{Op, RowChange};
use sync_core::id::{ColumnNo, Key, PushNo, ScopeId, TableNo};
use sync_core::limits::{MESSAGE_ELEMENTS_MAX, PUSH_BYTES_MAX, PUSH_COMMAND_BYTES_MAX, PUSH_COMMANDS_MAX, PUSH_ROWS_MAX};
use sync_core::wire::codec;
use sync_core::wire::message::{Push, PushName, ResolveCommand, Speaker};

use super::cursors;
use super::cut::{Cut, Limits, Step};
use super::db::DbError;
use super::error::{Result, StoreError};
use super::plan::Plan;
use super::rows::base_table;
use super::seats::{self, Seat, Seats};
use super::{hidden, identity, noted, settle};

/// Candidates looked at in one scan.
const SCAN_ROWS: i64 = 500;

/// A push as it is stored: these bytes are sent, and sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPush {
    /// Its number.
    pub no: PushNo,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether it was cut just now, and not left from an attempt before.
    pub fresh: bool,
}

/// Where one pass over the dirty rows stands.
#[derive(Debug, Clone)]
pub struct Pass {
    step: Option<Step>,
    /// How many tables of this step are done.
    table: usize,
    /// The last `rejoin_row` looked at in the next one.
    after: i64,
    /// The last later edit taken, by table and record id: what comes back deferred waits for the next pass.
    later: (u32, String),
    rows_max: usize,
    /// Whether this pass left rows behind that want to be sent: their parent is held, or a child's edit was not taken.
    pub blocked: bool,
    /// Rows that cannot be sent as they are, in words.
    pub problems: Vec<String>,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            step: Some(Step::FIRST),
            table: 0,
            after: 0,
            later: (0, String::new()),
            rows_max: PUSH_ROWS_MAX,
            blocked: false,
            problems: Vec::new(),
        }
    }
}

impl Pass {
    fn is_at_its_beginning(&self) -> bool {
        (self.step, self.table, self.after) == (Some(Step::FIRST), 0, 0)
    }

    /// The last push, of this many rows, could not be taken as a whole: cuts smaller ones from the beginning, until what is wrong stands
    /// alone, is noted and passed by.
    pub fn refused(&mut self, rows: usize, why: &str) {
        if rows > 1 {
            self.rows_max = (rows / 8).max(1);
            (self.step, self.table, self.after) = (Some(Step::FIRST), 0, 0);
            self.later = (0, String::new());
        } else {
            self.problems.push(why.to_owned());
        }
    }
}

/// The next push to send: the one that is not answered yet, else a new one, stored. `None` at the end of the pass.
///
/// # Errors
/// The database.
pub fn next(connection: &Connection, plan: &Plan, speaker: Speaker, pass: &mut Pass) -> Result<Option<StoredPush>> {
    if let Some(push) = unanswered(connection)? {
        return Ok(Some(push));
    }
    if pass.is_at_its_beginning() {
        for (table, _) in plan.parents_first() {
            settle::trade_keys(connection, table)?;
        }
    }
    loop {
        let (no, previous) = chain_end(connection)?;
        let (commands, weight) = commands(connection)?;
        let limits = Limits { rows: pass.rows_max, bytes: PUSH_BYTES_MAX.saturating_sub(weight), elements: MESSAGE_ELEMENTS_MAX / 2 };
        let mut cut = Cut::new(connection, plan, no, limits)?;
        take_later(connection, pass, &mut cut)?;
        take_rows(connection, plan, pass, &mut cut)?;
        pass.blocked |= cut.blocked;
        pass.problems.append(&mut cut.problems);
        let (rows, seats, aliases) = cut.finish()?;
        if rows.is_empty() && commands.is_empty() {
            return Ok(None);
        }
        let cursors = cursors_of(connection, &rows)?;
        let reoffer = identity::fact(connection, REOFFER)?.is_some();
        let commanded = commands.iter().map(|command| command.conflict).collect();
        let seats = Seats {
            rows: seats,
            commands: commanded,
            columns: columns_of(plan, &rows),
            aliases,
            key_columns: key_columns(plan, &rows),
            keys: Vec::new(),
        };
        let push = Push { speaker, no, previous, cursors, commands, reoffer, rows };
        if let Some(body) = store(connection, &push, &seats)? {
            return Ok(Some(StoredPush { no, body, fresh: true }));
        }
        // Over a limit in spite of the estimates.
        release(connection, plan, &push, &seats)?;
        let which = push.rows.first().and_then(|row| Some(label(plan.table(row.table)?.0, &row.key)));
        pass.refused(push.rows.len(), &format!("{}: the row is too large to be sent", which.unwrap_or_default()));
    }
}

/// Stores a push before it is sent; `None` where it is over a limit of the wire.
fn store(connection: &Connection, push: &Push, seats: &Seats) -> Result<Option<Vec<u8>>> {
    let Ok(body) = codec::encode(push) else { return Ok(None) };
    for conflict in &seats.commands {
        let sql = "UPDATE rejoin_commands SET push_no = ?1 WHERE conflict = ?2";
        connection.prepare_cached(sql)?.execute(params![push.no.0, conflict.to_string()])?;
    }
    for (row, seat) in push.rows.iter().zip(&seats.rows) {
        if let Seat::Later(record) = seat {
            let sql = "UPDATE rejoin_later SET push_no = ?1 WHERE table_no = ?2 AND record_id = ?3";
            connection.prepare_cached(sql)?.execute(params![push.no.0, row.table.0, record])?;
        }
    }
    let seats = codec::encode(seats).map_err(|error| StoreError::Stored(error.to_string()))?;
    connection.execute(
        "INSERT INTO rejoin_pushes (no, hash, body, seats) VALUES (?1, ?2, ?3, ?4)",
        params![push.no.0, codec::body_hash(&body), body, seats],
    )?;
    Ok(Some(body))
}

fn unanswered(connection: &Connection) -> Result<Option<StoredPush>> {
    let sql = "SELECT no, body FROM rejoin_pushes WHERE answered = 0 ORDER BY no LIMIT 1";
    let push =
        connection.query_row(sql, [], |row| Ok(StoredPush { no: PushNo(row.get(0)?), body: row.get(1)?, fresh: false })).optional()?;
    Ok(push)
}

/// The next push's number and the hash of the last one.
fn chain_end(connection: &Connection) -> Result<(PushNo, String)> {
    let last = connection
        .query_row("SELECT no, hash FROM rejoin_pushes ORDER BY no DESC LIMIT 1", [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
        .optional()?;
    Ok(last.map_or_else(|| (PushNo(1), String::new()), |(no, hash)| (PushNo(no + 1), hash)))
}

fn take_rows(connection: &Connection, plan: &Plan, pass: &mut Pass, cut: &mut Cut<'_>) -> Result<()> {
    while let Some(step) = pass.step {
        let table = match step {
            Step::Deletes => plan.parents_first().rev().nth(pass.table),
            _ => plan.parents_first().nth(pass.table),
        };
        let Some((table, sql)) = table else {
            (pass.step, pass.table, pass.after) = (step.next(), 0, 0);
            continue;
        };
        let Some(dirty) = &sql.dirty else { continue };
        let mut scan = connection.prepare_cached(step.scan(&dirty.scans))?;
        loop {
            let found: Vec<i64> =
                scan.query_map([pass.after, SCAN_ROWS], |row| row.get(0))?.collect::<std::result::Result<_, _>>().map_err(DbError::from)?;
            let Some(last) = found.last().copied() else { break };
            for rejoin_row in found {
                if !cut.take(table, sql, rejoin_row, step)? {
                    return Ok(());
                }
                pass.after = rejoin_row;
            }
            pass.after = last;
        }
        (pass.table, pass.after) = (pass.table + 1, 0);
    }
    Ok(())
}

/// Edits made while their row's push was clashing; they go first, since their conflict waits for them. Each once in a pass.
fn take_later(connection: &Connection, pass: &mut Pass, cut: &mut Cut<'_>) -> Result<()> {
    let sql = "SELECT table_no, record_id, body FROM rejoin_later WHERE push_no IS NULL AND (table_no, record_id) > (?1, ?2)
               ORDER BY table_no, record_id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![pass.later.0, pass.later.1, SCAN_ROWS])?;
    while let Some(row) = rows.next()? {
        let (table, record, body): (u32, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let change: std::result::Result<RowChange, _> = codec::decode(&body);
        match change {
            Ok(change) if !cut.has_room(&change) => return Ok(()),
            Ok(change) => cut.add(change, Seat::Later(record.clone())),
            // One edit that cannot be read must not hold up the others.
            Err(error) => pass.problems.push(format!("a later edit of record {record} cannot be sent: {error}")),
        }
        pass.later = (table, record);
    }
    Ok(())
}

/// The decisions that go along, oldest first, as many as a push takes, with their bytes.
fn commands(connection: &Connection) -> Result<(Vec<ResolveCommand>, usize)> {
    let sql = "SELECT conflict, body FROM rejoin_commands WHERE push_no IS NULL AND refused IS NULL AND done = 0
               ORDER BY decided_at, conflict LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let stored: Vec<(String, Vec<u8>)> = statement
        .query_map([PUSH_COMMANDS_MAX as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()
        .map_err(DbError::from)?;
    let (mut commands, mut bytes) = (Vec::new(), 0);
    for (conflict, body) in stored {
        if !commands.is_empty() && bytes + body.len() > PUSH_COMMAND_BYTES_MAX {
            break;
        }
        match codec::decode(&body) {
            Ok(command) => {
                bytes += body.len();
                commands.push(command);
            }
            // One decision that cannot be read must not hold up the others, and whoever took it must hear of it.
            Err(error) => {
                let why = format!("it cannot be read any more ({error}): decide again");
                let sql = "UPDATE rejoin_commands SET refused = ?2 WHERE conflict = ?1";
                connection.prepare_cached(sql)?.execute(params![conflict, why])?;
            }
        }
    }
    Ok((commands, bytes))
}

/// The cursors of the scopes that the rows touch.
fn cursors_of(connection: &Connection, rows: &[RowChange]) -> Result<Vec<sync_core::wire::message::Cursor>> {
    let touched: HashSet<&ScopeId> = rows.iter().filter_map(|row| row.base.as_ref()).map(|at| &at.scope).collect();
    let mut all = cursors::all(connection)?;
    all.retain(|cursor| touched.contains(&cursor.scope));
    Ok(all)
}

/// The columns that the cloud has of the tables of these rows.
fn columns_of(plan: &Plan, rows: &[RowChange]) -> Vec<(TableNo, Vec<ColumnNo>)> {
    let tables: BTreeSet<TableNo> = rows.iter().map(|row| row.table).collect();
    let known = tables.into_iter().filter_map(|no| plan.table(no)).map(|(table, _)| table);
    let visible = |table: &Table| table.columns.iter().filter(|column| !hidden::is_hidden(column)).map(|column| column.no).collect();
    known.map(|table| (table.no, visible(table))).collect()
}

/// The key columns of the tables of these rows, by the number that the cloud knows.
fn key_columns(plan: &Plan, rows: &[RowChange]) -> Vec<(TableNo, Vec<ColumnNo>)> {
    let tables: BTreeSet<TableNo> = rows.iter().map(|row| row.table).collect();
    tables.into_iter().filter_map(|no| plan.table(no)).map(|(table, _)| (table.no, table.key.clone())).collect()
}

/// The push that has no answer yet, as it was sent, with its seats.
///
/// # Errors
/// The database, or what it holds cannot be read.
pub fn under_way(connection: &Connection) -> Result<Option<(Push, Seats)>> {
    let Some(StoredPush { no, .. }) = unanswered(connection)? else { return Ok(None) };
    Ok(sent(connection, no)?.map(|(push, seats, _)| (push, seats)))
}

/// The bytes of a push as they were sent, with its seats; `None` where it is answered or was never cut.
///
/// # Errors
/// The database, or what it holds cannot be read.
pub fn sent(connection: &Connection, no: PushNo) -> Result<Option<(Push, Seats, String)>> {
    let sql = "SELECT body, seats, hash FROM rejoin_pushes WHERE no = ?1 AND answered = 0";
    let row =
        connection.query_row(sql, [no.0], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?))).optional()?;
    let Some((body, seats, hash)) = row else { return Ok(None) };
    let stored = |error: codec::CodecError| StoreError::Stored(error.to_string());
    Ok(Some((codec::decode(&body).map_err(stored)?, codec::decode(&seats).map_err(stored)?, hash)))
}

/// The keys that the rows of an unanswered push were given: at the cloud they may be those rows' keys by now.
///
/// # Errors
/// The database, or what it holds cannot be read.
pub fn keys_under_way(connection: &Connection) -> Result<HashSet<(TableNo, Key)>> {
    let Some(StoredPush { body, .. }) = unanswered(connection)? else { return Ok(HashSet::new()) };
    let push: Push = codec::decode(&body).map_err(|error| StoreError::Stored(error.to_string()))?;
    let rekeyed = push.rows.into_iter().filter(|row| matches!(row.op, Op::Rekey(..)));
    Ok(rekeyed.map(|row| (row.table, row.key)).collect())
}

/// Ends a push: its bytes go, its name stays as the chain's end.
///
/// # Errors
/// The database.
pub fn close(connection: &Connection, no: PushNo, mac: &str) -> Result<()> {
    connection.execute("UPDATE rejoin_pushes SET answered = 1, mac = ?2, body = NULL, seats = NULL WHERE no = ?1", params![no.0, mac])?;
    connection.execute("DELETE FROM rejoin_pushes WHERE no < ?1", [no.0])?;
    Ok(())
}

/// Takes the rows and commands of a push out of it: they are cut anew.
///
/// # Errors
/// The database.
pub fn release(connection: &Connection, plan: &Plan, push: &Push, seats: &Seats) -> Result<()> {
    seats::free(connection, plan, push)?;
    for (row, seat) in push.rows.iter().zip(&seats.rows) {
        if let Seat::Later(record) = seat {
            let sql = "UPDATE rejoin_later SET push_no = NULL WHERE table_no = ?1 AND record_id = ?2";
            connection.prepare_cached(sql)?.execute(params![row.table.0, record])?;
        }
    }
    connection.execute("UPDATE rejoin_commands SET push_no = NULL WHERE push_no = ?1", [push.no.0])?;
    noted::leave_pushes(connection)
}

/// The fact that the rows now dirty are re-offers: this replica began with them.
pub const REOFFER: &str = "reoffer";

/// Begins a new chain, for a new replica: nothing is in a push any more, and what is dirty now is offered anew.
///
/// # Errors
/// The database.
pub fn start_chain_anew(connection: &Connection, plan: Option<&Plan>) -> Result<()> {
    for (table, _) in plan.iter().flat_map(|plan| plan.parents_first()) {
        let base = base_table(table);
        connection.execute(&format!("UPDATE {base} SET rejoin_push_no = NULL WHERE rejoin_push_no IS NOT NULL"), [])?;
    }
    connection.execute_batch(
        "DELETE FROM rejoin_pushes; DELETE FROM rejoin_spool;
         UPDATE rejoin_later SET push_no = NULL; UPDATE rejoin_commands SET push_no = NULL WHERE refused IS NULL;",
    )?;
    noted::leave_pushes(connection)?;
    identity::set_fact(connection, REOFFER, "1")?;
    Ok(())
}

/// The name of the last answered push, for the next pull.
///
/// # Errors
/// The database.
pub fn answered_name(connection: &Connection) -> Result<Option<PushName>> {
    let sql = "SELECT no, hash, mac FROM rejoin_pushes WHERE answered = 1 AND mac IS NOT NULL ORDER BY no DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok(PushName { no: PushNo(row.get(0)?), hash: row.get(1)?, mac: row.get(2)? });
    Ok(connection.query_row(sql, [], read).optional()?)
}

/// Whether there is anything that a push would carry, or one that waits for its answer. May say yes for rows without a difference.
///
/// # Errors
/// The database.
pub fn anything(connection: &Connection, plan: &Plan) -> Result<bool> {
    let waiting = "SELECT EXISTS (SELECT 1 FROM rejoin_pushes WHERE answered = 0) OR EXISTS (SELECT 1 FROM rejoin_later)
                       OR EXISTS (SELECT 1 FROM rejoin_commands WHERE refused IS NULL AND done = 0)";
    if connection.query_row(waiting, [], |row| row.get(0))? {
        return Ok(true);
    }
    for (_, sql) in plan.parents_first() {
        if let Some(dirty) = &sql.dirty
            && connection.prepare_cached(&dirty.any_dirty)?.query_row([], |row| row.get(0))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What waits to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Rows changed here and not accepted yet, without held ones.
    pub rows: i64,
    /// Inserts held here.
    pub held: i64,
    /// When the oldest of the rows was changed, as canonical timestamptz text.
    pub oldest: Option<String>,
}

/// Counts what waits to be sent.
///
/// # Errors
/// The database.
pub fn pending(connection: &Connection, plan: &Plan) -> Result<Pending> {
    let mut pending = Pending::default();
    for (_, sql) in plan.parents_first() {
        let (rows, held, oldest): (i64, i64, Option<String>) =
            connection.prepare_cached(&sql.pending)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        pending.rows += rows;
        pending.held += held;
        pending.oldest = [pending.oldest, oldest].into_iter().flatten().min();
    }
    Ok(pending)
}

/// Names a table for a person.
pub(super) fn label(table: &Table, key: &Key) -> String {
    format!("{}/{key}", table.name)
}
