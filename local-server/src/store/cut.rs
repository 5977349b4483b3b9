//! One push as it is being cut: which rows go into it, and which must go along, before or not at all.

mod twins;
mod weight;

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use sync_core::catalog::Table;
use sync_core::change::{Op, RowChange};
use sync_core::id::{ColumnNo, Key, PushNo, ScopeId, Tick};
use sync_core::limits::{PUSH_BYTES_MAX, REFERENCE_DEPTH_MAX, VALUE_BYTES_MAX};
use sync_core::site::{self, Event, SiteRow};

use self::twins::Twins;
pub use self::weight::Limits;
use self::weight::{value_bytes, weigh};
use super::cursors;
use super::db::DbError;
use super::entry::{self, Entry};
use super::error::{Result, StoreError};
use super::hidden;
use super::noted;
use super::outbox::label;
use super::plan::{Plan, Scans, TableSql};
use super::rows::Bound;
use super::seats::{Alias, Seat};
use super::sync_writer::{Because, SyncWriter};

/// The steps of a pass, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Changed keys: before anybody takes the old one.
    Rekeys,
    /// New rows, parents first.
    Inserts,
    /// Changed rows; they may refer to new ones.
    Updates,
    /// Deleted rows, children first.
    Deletes,
}

impl Step {
    /// Where a pass begins.
    pub const FIRST: Self = Self::Rekeys;

    /// The step after this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Rekeys => Some(Self::Inserts),
            Self::Inserts => Some(Self::Updates),
            Self::Updates => Some(Self::Deletes),
            Self::Deletes => None,
        }
    }

    /// What finds its candidates.
    #[must_use]
    pub fn scan(self, scans: &Scans) -> &str {
        match self {
            Self::Rekeys => &scans.rekeys,
            Self::Inserts => &scans.inserts,
            Self::Updates => &scans.updates,
            Self::Deletes => &scans.deletes,
        }
    }

    fn of(op: &Op) -> Self {
        match op {
            Op::Rekey(..) => Self::Rekeys,
            Op::Insert(_) => Self::Inserts,
            Op::Update(_) => Self::Updates,
            Op::Delete(_) => Self::Deletes,
        }
    }
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is in the push.
    In,
    /// It has nothing to send, or not in this step.
    Nothing,
    /// It must wait for another row.
    Blocked,
    /// The push is full.
    Full,
}

/// A push being cut.
pub struct Cut<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    no: PushNo,
    limits: Limits,
    cursors: HashMap<ScopeId, Tick>,
    /// The records, by table and id, of which a later edit waits.
    later: HashSet<(u32, String)>,
    writer: SyncWriter<'a>,
    rows: Vec<RowChange>,
    seats: Vec<Seat>,
    aliases: Vec<Alias>,
    twins: Twins,
    /// Columns that base images say nothing of, by table and row.
    unknown: HashMap<(u32, i64), Vec<ColumnNo>>,
    bytes: usize,
    elements: usize,
    /// Whether a row had to wait for another one.
    pub blocked: bool,
    /// Rows that cannot be sent as they are.
    pub problems: Vec<String>,
}

impl<'a> Cut<'a> {
    /// An empty push of this number.
    ///
    /// # Errors
    /// The database.
    pub fn new(connection: &'a Connection, plan: &'a Plan, no: PushNo, limits: Limits) -> Result<Self> {
        Ok(Self {
            connection,
            plan,
            no,
            limits,
            cursors: cursors::ticks(connection)?,
            later: later_edits(connection)?,
            writer: SyncWriter::new(connection, plan),
            rows: Vec::new(),
            seats: Vec::new(),
            aliases: Vec::new(),
            twins: Twins::of(&plan.catalog),
            unknown: unknown(connection)?,
            bytes: 0,
            elements: 0,
            blocked: false,
            problems: Vec::new(),
        })
    }

    /// Looks at a candidate of a step; `false` where the push is full and the candidate is the first of the next one.
    ///
    /// # Errors
    /// The database.
    pub fn take(&mut self, table: &Table, sql: &TableSql, rejoin_row: i64, step: Step) -> Result<bool> {
        let taken = self.take_one(table, sql, rejoin_row, Some(step), 0)?;
        self.blocked |= taken == Taken::Blocked;
        Ok(taken != Taken::Full)
    }

    /// Adds a change as it is.
    pub fn add(&mut self, change: RowChange, seat: Seat) {
        let (bytes, elements) = weigh(&change);
        self.bytes += bytes;
        self.elements += elements;
        self.twins.take(&change);
        self.rows.push(change);
        self.seats.push(seat);
    }

    /// Whether this change has room in the push; the first one always has.
    pub fn has_room(&self, change: &RowChange) -> bool {
        let (bytes, elements) = weigh(change);
        self.rows.is_empty()
            || self.rows.len() < self.limits.rows
                && self.bytes + bytes <= self.limits.bytes
                && self.elements + elements <= self.limits.elements
    }

    /// The rows with their seats, and the columns that stand here under another number than in the rows.
    ///
    /// # Errors
    /// The database.
    pub fn finish(self) -> Result<(Vec<RowChange>, Vec<Seat>, Vec<Alias>)> {
        let cursors = self.cursors;
        self.writer.finish(&|scope| cursors.get(scope).copied())?;
        Ok((self.rows, self.seats, self.aliases))
    }

    fn take_one(&mut self, table: &Table, sql: &TableSql, rejoin_row: i64, step: Option<Step>, depth: usize) -> Result<Taken> {
        let Some(entry) = self.asked(table, sql, rejoin_row)? else { return Ok(Taken::Nothing) };
        let Some(base) = &entry.row.base else { return Ok(Taken::Nothing) };
        if entry.mark.as_ref().is_some_and(|mark| mark.push_no.is_some()) {
            return Ok(Taken::In);
        }
        let offered = site::cut(table, &entry.row);
        let held = base.held.is_some();
        // A held row that nobody touched goes along with a new offer of the row it depends on, and only then.
        let change = match offered {
            None if held => site::cut(table, &unheld(&entry.row)),
            ref change => change.clone(),
        };
        let Some(mut change) = change else { return Ok(Taken::Nothing) };
        hidden::strip(table, &mut change);
        if let Some(unknown) = self.unknown.get(&(table.no.0, rejoin_row)) {
            leave_unknown(unknown, &mut change);
        }
        if step.is_some_and(|step| step != Step::of(&change.op)) {
            return Ok(Taken::Nothing);
        }
        if self.awaits_later(&change) {
            return Ok(Taken::Blocked);
        }
        let parents = self.take_parents(table, sql, &entry, &change, depth)?;
        match parents {
            Parents::Full => return Ok(Taken::Full),
            Parents::Blocked => return Ok(Taken::Blocked),
            Parents::None if offered.is_none() => return Ok(Taken::Nothing),
            Parents::None | Parents::In => {}
        }
        if let Op::Delete(_) = change.op {
            match self.take_former_children(table, sql, &entry, depth)? {
                Taken::Full => return Ok(Taken::Full),
                Taken::Blocked => return Ok(Taken::Blocked),
                Taken::In | Taken::Nothing => {}
            }
            if let Some((version, at, by)) = entry.mark.as_ref().map(|mark| mark.gone.clone()) {
                change.stamp.version = version.unwrap_or(change.stamp.version);
                change.stamp.updated_at = at.unwrap_or_default();
                change.stamp.modified_by = by;
            }
        }
        self.seat(table, sql, rejoin_row, change)
    }

    /// Whether an edit of the row waits for its conflict: a push has one change of a row, and that one goes first.
    fn awaits_later(&self, change: &RowChange) -> bool {
        let waits = |key: &Key| self.later.contains(&(change.table.0, key.to_string()));
        !self.later.is_empty() && (waits(&change.key) || matches!(&change.op, Op::Rekey(old, _) if waits(old)))
    }

    /// Gives a change its place; the row is in this push from now on.
    fn seat(&mut self, table: &Table, sql: &TableSql, rejoin_row: i64, mut change: RowChange) -> Result<Taken> {
        let (bytes, _) = weigh(&change);
        if bytes > 2 * PUSH_BYTES_MAX || change.values().any(|(_, value)| value_bytes(value) > VALUE_BYTES_MAX) {
            self.problems.push(format!("{}: a value of the row, or the row, is too large to be sent", label(table, &change.key)));
            return Ok(Taken::Blocked);
        }
        // To the cloud a row of a table and a hidden row of the same key are one: the second one waits for the next push.
        if self.twins.holds(&change) {
            return Ok(Taken::Blocked);
        }
        if !self.has_room(&change) {
            return Ok(Taken::Full);
        }
        let Some(dirty) = &sql.dirty else { return Ok(Taken::Nothing) };
        self.connection.prepare_cached(&dirty.set_push)?.execute(params![self.no.0, rejoin_row])?;
        if sql.noted {
            noted::enter(self.connection, table, rejoin_row, self.no, &change)?;
        }
        let seat = self.rows.len();
        self.aliases.extend(hidden::to_wire(&mut change).into_iter().map(|(there, here)| Alias { seat, there, here }));
        self.add(change, Seat::Row(rejoin_row));
        Ok(Taken::In)
    }

    /// Loads a row; one without a difference becomes clean, and what cannot be read is a problem of its own.
    fn asked(&mut self, table: &Table, sql: &TableSql, rejoin_row: i64) -> Result<Option<Entry>> {
        let before = match entry::by_row(self.connection, table, sql, rejoin_row) {
            Ok(entry) => entry,
            Err(StoreError::Row(error)) => {
                self.problems.push(error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(mut before) = before else { return Ok(None) };
        let cursor = |scope: &ScopeId| self.cursors.get(scope).copied();
        let after = site::step(table, before.row.clone(), &Event::Asked, &cursor).row;
        if after != before.row {
            self.writer.save(table, sql, &before, &after, Because::Step)?;
            before.row = after;
        }
        Ok(Some(before))
    }

    /// Takes the new rows that a change refers to, before it.
    fn take_parents(&mut self, table: &Table, sql: &TableSql, entry: &Entry, change: &RowChange, depth: usize) -> Result<Parents> {
        let mut any = Parents::None;
        let Some(live) = &entry.row.live else { return Ok(any) };
        for parent in &sql.parents {
            let touched = match &change.op {
                Op::Insert(_) | Op::Rekey(..) => true,
                Op::Update(edits) => edits.iter().any(|edit| parent.reference.deciding().any(|no| no == edit.column)),
                Op::Delete(_) => false,
            };
            let Some((parent_table, parent_sql)) = self.plan.table(parent.table) else { continue };
            let Some(values) = table.referred(&parent.reference, parent_table, &live.row).filter(|_| touched) else { continue };
            let found: Option<(i64, Option<i64>)> = self
                .connection
                .prepare_cached(&parent.pending_insert)?
                .query_row(params_from_iter(values.iter().map(Bound)), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((parent_row, push)) = found.filter(|(row, _)| parent.table != table.no || Some(*row) != entry.rejoin_row) else {
                continue;
            };
            if push.is_some() {
                any = Parents::In;
                continue;
            }
            // Deeper than any reference goes there is a circle of new rows; the cloud cuts it.
            if depth >= REFERENCE_DEPTH_MAX {
                continue;
            }
            match self.take_one(parent_table, parent_sql, parent_row, None, depth + 1)? {
                Taken::In => any = Parents::In,
                Taken::Full => return Ok(Parents::Full),
                Taken::Nothing | Taken::Blocked => return Ok(Parents::Blocked),
            }
        }
        Ok(any)
    }

    /// Takes the edits that took rows away from under a row that is to be deleted: sent after it, they would look as if the row were still
    /// referred to.
    fn take_former_children(&mut self, table: &Table, sql: &TableSql, entry: &Entry, depth: usize) -> Result<Taken> {
        let Some(base) = entry.row.base.as_ref().and_then(|base| base.row.as_ref()) else { return Ok(Taken::Nothing) };
        for referrer in &sql.referrers {
            // Where no circle is possible, all such edits come before in the pass's order, unless one had to wait.
            if !(referrer.circular || self.blocked) || depth >= REFERENCE_DEPTH_MAX {
                continue;
            }
            let Some((from, from_sql)) = self.plan.table(referrer.table) else { continue };
            let Some(values) = referrer.referring(from, table, base) else { continue };
            let children: Vec<i64> = self
                .connection
                .prepare_cached(&referrer.referred_before)?
                .query_map(params_from_iter(values.iter().map(Bound)), |row| row.get(0))?
                .collect::<std::result::Result<_, _>>()
                .map_err(DbError::from)?;
            for child in children {
                if referrer.table == table.no && Some(child) == entry.rejoin_row {
                    continue;
                }
                match self.take_one(from, from_sql, child, None, depth + 1)? {
                    Taken::Full => return Ok(Taken::Full),
                    Taken::Blocked => return Ok(Taken::Blocked),
                    Taken::In | Taken::Nothing => {}
                }
            }
        }
        Ok(Taken::Nothing)
    }
}

/// The new rows that a change refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parents {
    /// There are none.
    None,
    /// They are in the push.
    In,
    /// One of them cannot be sent: it is held.
    Blocked,
    /// They do not fit.
    Full,
}

fn later_edits(connection: &Connection) -> Result<HashSet<(u32, String)>> {
    let mut statement = connection.prepare_cached("SELECT table_no, record_id FROM rejoin_later")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn unknown(connection: &Connection) -> Result<HashMap<(u32, i64), Vec<ColumnNo>>> {
    let mut statement = connection.prepare_cached("SELECT table_no, rejoin_row, column_no FROM rejoin_unknown")?;
    let mut rows = statement.query([])?;
    let mut unknown: HashMap<_, Vec<ColumnNo>> = HashMap::new();
    while let Some(row) = rows.next()? {
        unknown.entry((row.get(0)?, row.get(1)?)).or_default().push(ColumnNo(row.get(2)?));
    }
    Ok(unknown)
}

/// Leaves out what would be asserted of columns that the row's author never saw.
fn leave_unknown(unknown: &[ColumnNo], change: &mut RowChange) {
    match &mut change.op {
        Op::Insert(_) => {}
        Op::Delete(values) => values.retain(|(no, _)| !unknown.contains(no)),
        Op::Update(edits) | Op::Rekey(_, edits) => edits.retain(|edit| edit.base != edit.new || !unknown.contains(&edit.column)),
    }
}

fn unheld(row: &SiteRow) -> SiteRow {
    let mut row = row.clone();
    if let Some(base) = &mut row.base {
        base.held = None;
    }
    row
}
