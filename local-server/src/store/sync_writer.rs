//! How the sync writes rows: what `sync_core::site::step` made of one, with unique keys, ghosts and remembered versions put right.
//!
//! Runs where triggers and foreign keys are off. Cascades need no code: whatever the cloud cascaded arrives in the feed. What this writer
//! adds is what no single row can know:
//! - a row that dirty rows refer to is not removed but becomes a *ghost* until they are settled;
//! - a clean row whose unique values another one holds gets them: a dirty twin is held until it is answered, a clean one is set aside
//!   until the end, when whatever takes its place has been written (a swap);
//! - an image of a key that is taken here by another row waits in theirs until the key is free;
//! - the version of a removed key is remembered, so that it never goes back.

mod companions;

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};
use sync_core::catalog::Table;
use sync_core::change::{At, Image, Stamp, State};
use sync_core::id::{ColumnNo, Key, ScopeId, TableNo, Tick};
use sync_core::site::{Event, Live, SiteRow, step};
use sync_core::value::Value;

use super::entry::{self, AtKey, Entry};
use super::error::{Result, StoreError};
use super::hidden;
use super::plan::{DirtySql, Plan, TableSql};
use super::rows::{Bound, HeldState};

/// One transaction's worth of writing. [`SyncWriter::finish`] must end it.
pub struct SyncWriter<'a> {
    /// The connection, inside the transaction.
    pub connection: &'a Connection,
    /// The catalog with its SQL.
    pub plan: &'a Plan,
    /// Keys that rows under way were given here: an image of one may be that row's.
    pub under_way: HashSet<(TableNo, Key)>,
    aside: Vec<(TableNo, i64)>,
}

/// How a saved row came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because<'a> {
    /// By an image of the cloud; a removed row that must stay as a ghost remembers it.
    Image(&'a Image),
    /// By the cloud's having accepted it, with what the cloud has now where that is told.
    Accepted(Option<&'a Image>),
    /// By itself.
    Step,
}

impl<'a> Because<'a> {
    fn image(self) -> Option<&'a Image> {
        match self {
            Self::Image(image) => Some(image),
            Self::Accepted(image) => image,
            Self::Step => None,
        }
    }
}

impl<'a> SyncWriter<'a> {
    /// A writer inside the transaction of `connection`.
    #[must_use]
    pub fn new(connection: &'a Connection, plan: &'a Plan) -> Self {
        Self { connection, plan, under_way: HashSet::new(), aside: Vec::new() }
    }

    /// Writes what a step made of a row.
    ///
    /// # Errors
    /// The database; two rows that the cloud says are both right and that cannot stand side by side.
    pub fn save(&mut self, table: &Table, sql: &TableSql, before: &Entry, after: &SiteRow, because: Because<'_>) -> Result<()> {
        let key = before.cloud_key(table);
        let mut rejoin_row = before.rejoin_row;
        match (&before.row.live, &after.live) {
            (None, None) => self.remember_delete(sql, before, after)?,
            (Some(_), None) => {
                let ghost = self.remove(table, sql, before, because)?;
                if ghost {
                    // Its image stands in theirs, where `finish` finds it.
                    return self.save_base(table, sql, before, &SiteRow::default(), rejoin_row);
                }
            }
            (had, Some(live)) => {
                let held = held_state(before, after, because);
                let mut live = back_again(before, live);
                if after.base.is_none() {
                    hidden::clear(table, &mut live.row);
                }
                let live = &live;
                if had.as_ref() != Some(live) || before.held != held {
                    rejoin_row = self.write_live(table, sql, (rejoin_row, had.is_some()), live, held, after.base.is_some())?;
                    if rejoin_row.is_none() {
                        return self.wait_for_key(table, sql, before, live);
                    }
                }
                self.leave_keys(table, sql, before, live)?;
            }
        }
        self.save_base(table, sql, before, after, rejoin_row)?;
        self.see(table, &before.row, after, rejoin_row)?;
        if after.theirs != before.row.theirs
            && let (Some(dirty), Some(key)) = (&sql.dirty, key)
        {
            match &after.theirs {
                Some(image) => self.put_theirs(table, dirty, &key, image)?,
                None => self.delete_theirs(dirty, &key)?,
            }
        }
        Ok(())
    }

    /// A base image that has followed the cloud's is known in every column in which it did.
    fn see(&self, table: &Table, before: &SiteRow, after: &SiteRow, rejoin_row: Option<i64>) -> Result<()> {
        let (Some(rejoin_row), Some(was), Some(now), Some(live)) = (rejoin_row, &before.base, &after.base, &after.live) else {
            return Ok(());
        };
        let Some(image) = now.row.as_ref().filter(|_| was.at != now.at) else { return Ok(()) };
        let mut statement =
            self.connection.prepare_cached("SELECT column_no FROM rejoin_unknown WHERE table_no = ?1 AND rejoin_row = ?2")?;
        let unknown: Vec<u32> = statement.query_map((table.no.0, rejoin_row), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for no in unknown {
            if table.position(ColumnNo(no)).is_none_or(|at| live.row[at] == image[at]) {
                let sql = "DELETE FROM rejoin_unknown WHERE table_no = ?1 AND rejoin_row = ?2 AND column_no = ?3";
                self.connection.prepare_cached(sql)?.execute((table.no.0, rejoin_row, no))?;
            }
        }
        Ok(())
    }

    /// Inserts a clean row into a table that was empty when the apply began.
    ///
    /// # Errors
    /// The database.
    pub fn load(&self, sql: &TableSql, live: &Live) -> Result<()> {
        let mut statement = self.connection.prepare_cached(&sql.upsert_live)?;
        bind_live(&mut statement, None, live, HeldState::Normal)?;
        statement.raw_execute()?;
        Ok(())
    }

    /// Keeps an image of a key beside the row, where it waits until the key is free or the row can be read.
    ///
    /// # Errors
    /// The database.
    pub fn keep_theirs(&self, table: &Table, sql: &TableSql, key: &Key, image: &Image) -> Result<()> {
        match &sql.dirty {
            Some(dirty) => self.put_theirs(table, dirty, key, image),
            None => Ok(()),
        }
    }

    /// Another row was given this key here meanwhile: the image waits in theirs until that row is answered.
    fn wait_for_key(&self, table: &Table, sql: &TableSql, before: &Entry, live: &Live) -> Result<()> {
        if let (Some(_), Some(rejoin_row)) = (&before.row.live, before.rejoin_row) {
            self.connection.prepare_cached(&sql.delete_live)?.execute([rejoin_row])?;
        }
        self.save_base(table, sql, before, &SiteRow::default(), before.rejoin_row)?;
        let image = Image { at: place(live), stamp: live.stamp.clone(), state: State::Live(live.row.clone()) };
        self.keep_theirs(table, sql, &table.key_of(&live.row), &image)
    }

    /// Ends the transaction's work: images that waited, ghosts that nothing refers to any more, rows that were set aside.
    ///
    /// # Errors
    /// The database.
    pub fn finish(mut self, cursor: &dyn Fn(&ScopeId) -> Option<Tick>) -> Result<()> {
        // Children first: a ghost may only wait for a ghost below it.
        let plan = self.plan;
        for (table, sql) in plan.parents_first().rev() {
            let Some(dirty) = &sql.dirty else { continue };
            for key in self.theirs_keys(table, dirty)? {
                self.settle(table, sql, dirty, &key, cursor)?;
            }
        }
        for (no, rejoin_row) in std::mem::take(&mut self.aside) {
            let Some((table, sql)) = plan.table(no) else { continue };
            let sql_row: [&dyn ToSql; 2] = [&(HeldState::Normal as i64), &rejoin_row];
            match self.connection.prepare_cached(&sql.set_held)?.execute(sql_row) {
                Ok(_) => {}
                Err(error) if is_unique(&error) => {
                    tracing::warn!(
                        table = table.name,
                        rejoin_row,
                        "two rows of the cloud have the same unique values here; one of them is held"
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether a key that nobody has here any more was given to a row that is under way.
    #[must_use]
    pub fn is_under_way(&self, table: &Table, key: &Key, found: &Entry) -> bool {
        found.rejoin_row.is_none() && !self.under_way.is_empty() && self.under_way.contains(&(table.no, key.clone()))
    }

    /// An image in theirs whose row is not dirty (any more): a ghost, or an image that waits for its key.
    fn settle(
        &mut self,
        table: &Table,
        sql: &TableSql,
        dirty: &DirtySql,
        key: &Key,
        cursor: &dyn Fn(&ScopeId) -> Option<Tick>,
    ) -> Result<()> {
        let before = match entry::by_key(self.connection, table, sql, key) {
            Ok(AtKey::Row(before)) => before,
            // Taken by another row, or not to be read before somebody puts it right: the image waits.
            Ok(AtKey::Taken) | Err(StoreError::Row(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if before.row.base.is_some() || self.is_under_way(table, key, &before) {
            return Ok(());
        }
        let Some(image) = entry::theirs(self.connection, table, dirty, key)? else { return Ok(()) };
        self.delete_theirs(dirty, key)?;
        if before.held == HeldState::Ghost && image.row().is_none() {
            let after = SiteRow { live: None, ..before.row.clone() };
            return self.save(table, sql, &before, &after, Because::Image(&image));
        }
        let after = step(table, before.row.clone(), &Event::Pulled(&image), cursor).row;
        self.save(table, sql, &before, &after, Because::Image(&image))
    }

    /// Removes a live row, or makes it a ghost where dirty rows refer to it. Whether it is a ghost.
    fn remove(&mut self, table: &Table, sql: &TableSql, before: &Entry, because: Because<'_>) -> Result<bool> {
        let (Some(live), Some(rejoin_row)) = (&before.row.live, before.rejoin_row) else { return Ok(false) };
        if let Some(dirty) = &sql.dirty {
            let key = table.key_of(&live.row);
            if self.is_referred_to(table, sql, live, rejoin_row)? {
                self.connection.prepare_cached(&sql.set_held)?.execute([&(HeldState::Ghost as i64) as &dyn ToSql, &rejoin_row])?;
                self.put_theirs(table, dirty, &key, &gone_image(live, because))?;
                return Ok(true);
            }
            let version = because.image().map_or(0, |image| image.stamp.version).max(live.stamp.version);
            self.remember_version(dirty, &key, version)?;
        }
        self.connection.prepare_cached(&sql.delete_live)?.execute([rejoin_row])?;
        Ok(false)
    }

    fn is_referred_to(&self, table: &Table, sql: &TableSql, live: &Live, rejoin_row: i64) -> Result<bool> {
        for referrer in &sql.referrers {
            let Some((from, from_sql)) = self.plan.table(referrer.table) else { continue };
            let any_dirty = match &from_sql.dirty {
                Some(dirty) => self.connection.prepare_cached(&dirty.any_dirty)?.query_row([], |row| row.get(0))?,
                None => false,
            };
            let Some(values) = referrer.referring(from, table, &live.row).filter(|_| any_dirty) else { continue };
            // A row may refer to itself; that does not keep it. In another table the number means nothing.
            let me = if referrer.table == table.no { rejoin_row } else { 0 };
            let bound: Vec<Bound<'_>> = values.iter().map(Bound).collect();
            let params = bound.iter().map(|value| value as &dyn ToSql).chain([&me as &dyn ToSql]);
            if self.connection.prepare_cached(&referrer.any_dirty)?.query_row(params_from_iter(params), |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers the version of a row whose local delete the cloud took.
    fn remember_delete(&self, sql: &TableSql, before: &Entry, after: &SiteRow) -> Result<()> {
        if let (Some(dirty), Some(mark), Some(base), None) = (&sql.dirty, &before.mark, &before.row.base, &after.base) {
            self.remember_version(dirty, &mark.key, base.version.max(mark.gone.0.unwrap_or(0)))?;
        }
        Ok(())
    }

    /// A row that got or lost a key here leaves keys behind; whatever takes one of them later must not begin below it.
    fn leave_keys(&self, table: &Table, sql: &TableSql, before: &Entry, live: &Live) -> Result<()> {
        let (Some(dirty), Some(had)) = (&sql.dirty, &before.row.live) else { return Ok(()) };
        let (key, shown) = (table.key_of(&live.row), table.key_of(&had.row));
        for left in [Some(shown), before.cloud_key(table)].into_iter().flatten().filter(|left| *left != key) {
            self.remember_version(dirty, &left, had.stamp.version)?;
        }
        Ok(())
    }

    fn remember_version(&self, dirty: &DirtySql, key: &Key, version: i64) -> Result<()> {
        let version = self.forget_version(dirty, key)?.unwrap_or(0).max(version);
        let values: Vec<Bound<'_>> = key.0.iter().map(Bound).collect();
        let params = values.iter().map(|value| value as &dyn ToSql).chain([&version as &dyn ToSql]);
        self.connection.prepare_cached(&dirty.put_gone)?.execute(params_from_iter(params))?;
        Ok(())
    }

    /// Takes the version that was remembered of a key.
    fn forget_version(&self, dirty: &DirtySql, key: &Key) -> Result<Option<i64>> {
        let key = || params_from_iter(key.0.iter().map(Bound));
        let version =
            self.connection.prepare_cached(&dirty.gone_version)?.query_row(key(), |row| row.get::<_, Option<i64>>(0)).optional()?;
        if version.is_some() {
            self.connection.prepare_cached(&dirty.delete_gone)?.execute(key())?;
        }
        Ok(version.flatten())
    }

    /// Writes a live row, given its `rejoin_row` and whether it exists. For a clean one those that hold its unique values make way; a dirty
    /// one is held until it is answered. Its `rejoin_row`; `None` where its key is taken.
    fn write_live(
        &mut self,
        table: &Table,
        sql: &TableSql,
        (rejoin_row, exists): (Option<i64>, bool),
        live: &Live,
        mut held: HeldState,
        dirty: bool,
    ) -> Result<Option<i64>> {
        let mut live = live.clone();
        if let (false, Some(dirty)) = (exists, &sql.dirty)
            && let Some(last) = self.forget_version(dirty, &table.key_of(&live.row))?
        {
            live.stamp.version = live.stamp.version.max(last + 1);
        }
        let text = if exists { &sql.update_live } else { &sql.insert_live };
        for attempt in 0..2 {
            let mut statement = self.connection.prepare_cached(text)?;
            bind_live(&mut statement, rejoin_row, &live, held)?;
            match statement.raw_execute() {
                Ok(_) => return Ok(Some(rejoin_row.unwrap_or_else(|| self.connection.last_insert_rowid()))),
                Err(error) if is_unique(&error) => {}
                Err(error) => return Err(error.into()),
            }
            drop(statement);
            match (attempt, dirty) {
                (0, true) => held = HeldState::Held,
                (0, false) => self.make_way(table, sql, &live, rejoin_row.unwrap_or(0))?,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes the unique values of a row from the rows that hold them.
    fn make_way(&mut self, table: &Table, sql: &TableSql, live: &Live, rejoin_row: i64) -> Result<()> {
        for (columns, holders) in &sql.unique_holders {
            let values: Option<Vec<&Value>> = columns.iter().map(|no| live.row.get(table.position(*no)?)).collect();
            let bound: Vec<Bound<'_>> = values.unwrap_or_default().into_iter().map(Bound).collect();
            let params = bound.iter().map(|value| value as &dyn ToSql).chain([&rejoin_row as &dyn ToSql]);
            let mut statement = self.connection.prepare_cached(holders)?;
            let holders: Vec<i64> =
                statement.query_map(params_from_iter(params), |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
            for holder in holders {
                self.connection.prepare_cached(&sql.set_held)?.execute([&(HeldState::Held as i64) as &dyn ToSql, &holder])?;
                let dirty = match &sql.dirty {
                    Some(dirty) => self.connection.prepare_cached(&dirty.base_by_row)?.exists([holder])?,
                    None => false,
                };
                if !dirty {
                    self.aside.push((table.no, holder));
                }
            }
        }
        Ok(())
    }
}

/// A row that was deleted here and is back counts on from where it was deleted.
fn back_again(before: &Entry, live: &Live) -> Live {
    let mut live = live.clone();
    if let (None, Some((Some(version), ..))) = (&before.row.live, before.mark.as_ref().map(|mark| &mark.gone)) {
        live.stamp.version = live.stamp.version.max(version + 1);
    }
    live
}

/// A row held by a conflict is held; one that made way for another stays so until it is accepted or clean; all else is ordinary.
fn held_state(before: &Entry, after: &SiteRow, because: Because<'_>) -> HeldState {
    match &after.base {
        Some(base) if base.held.is_some() => HeldState::Held,
        Some(_) if before.held == HeldState::Held && !matches!(because, Because::Accepted(_)) => HeldState::Held,
        _ => HeldState::Normal,
    }
}

/// The image that a ghost keeps.
fn gone_image(live: &Live, because: Because<'_>) -> Image {
    match because.image() {
        Some(image) if image.row().is_none() => image.clone(),
        _ => Image { at: place(live), stamp: Stamp { version: live.stamp.version + 1, ..live.stamp.clone() }, state: State::Deleted },
    }
}

/// Where a live row stands; a place in no scope for one that the cloud never confirmed.
fn place(live: &Live) -> At {
    live.at.clone().unwrap_or(At { scope: ScopeId(String::new()), tick: Tick::ZERO })
}

/// Binds a live row in the order of [`TableSql`].
fn bind_live(statement: &mut rusqlite::Statement<'_>, rejoin_row: Option<i64>, live: &Live, held: HeldState) -> Result<()> {
    let mut at = 0;
    let mut bind = |value: &dyn ToSql| -> std::result::Result<(), StoreError> {
        at += 1;
        Ok(statement.raw_bind_parameter(at, value)?)
    };
    for value in &live.row {
        bind(&Bound(value))?;
    }
    let stamp = &live.stamp;
    bind(&stamp.version)?;
    bind(&stamp.updated_at)?;
    bind(&stamp.modified_by)?;
    bind(&stamp.synced_at)?;
    bind(&live.at.as_ref().map(|at| at.scope.0.as_str()))?;
    bind(&live.at.as_ref().map(|at| at.tick.0))?;
    bind(&(held as i64))?;
    bind(&rejoin_row)
}

fn is_unique(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}
