//! Applies a whole pull in one transaction with its new cursors: readers see whole states only.
//!
//! Pages apply in the order they were read, so that of two images of a row the later one stays; in a page gone rows come first. Rows are
//! decided by `sync_core::site::step`; only tables that were empty take rows as they come.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;
use sync_core::catalog::{Column, Table};
use sync_core::change::{At, Image, Row, Stamp, State};
use sync_core::id::{ConflictId, Key, ScopeId, TableNo, Tick};
use sync_core::site::{Event, Live, Made, step};
use sync_core::value::{ColumnType, Value};
use sync_core::wire::message::{Cursor, Gone, Page, PulledRow, TableRows};

use super::answers::ECHO;
use super::conflicts::news::{self, News};
use super::cursors::{self, Moved};
use super::entry::{self, AtKey};
use super::error::{Result, StoreError};
use super::fresh::Fresh;
use super::motion::made;
use super::plan::{Plan, TableSql};
use super::released;
use super::rows::HeldState;
use super::sync_writer::{Because, SyncWriter};
use super::unheard::Unheard;
use super::{dropping, hidden, identity, outbox, spool};
use crate::fault;

/// The fact that a catalog was built of which nothing was pulled yet: a push cut now would carry its placeholders as base values.
pub const PULL_FIRST: &str = "pull_first";
/// The fact when the cloud was last asked with success.
pub const LAST_CHECKED: &str = "last_checked_at";

/// What a pull brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows and gone rows received.
    pub received: usize,
    /// The cursors that moved.
    pub moved: Moved,
    /// What it said of conflicts.
    pub news: News,
    /// Rows that could not be merged because their local values cannot be read; the cloud's image is kept beside them.
    pub problems: Vec<String>,
}

/// Applies the spooled pages and, if given, one more that was not spooled. The last page must have reached its heads. `now` is canonical
/// timestamptz text.
///
/// # Errors
/// The database; a page that is not one of this catalog.
pub fn apply(connection: &Connection, plan: &Plan, last: Option<&Page>, now: &str) -> Result<Applied> {
    let heads = match last {
        Some(page) => page.heads.clone(),
        None => spool::last_page(connection)?.map(|(_, page)| page.heads).unwrap_or_default(),
    };
    let mut apply = Apply::new(connection, plan, &heads)?;
    let mut pages = 0_u32;
    spool::each(connection, |page| {
        pages += 1;
        apply.page(&page, pages > 1 || page.next.is_some())
    })?;
    if let Some(page) = last {
        apply.page(page, pages > 0)?;
    }
    fault::point("apply-middle");
    let applied = apply.finish(&heads)?;
    spool::discard(connection)?;
    identity::set_fact(connection, LAST_CHECKED, now)?;
    identity::clear_fact(connection, PULL_FIRST)?;
    connection.execute("DELETE FROM rejoin_generations", [])?;
    fault::point("apply-before-commit");
    Ok(applied)
}

/// Notes that this pull named no push, so that whatever the cloud had left out before has come now.
///
/// # Errors
/// The database.
pub fn heard_everything(connection: &Connection) -> Result<()> {
    Ok(identity::clear_fact(connection, ECHO)?)
}

struct Apply<'a> {
    plan: &'a Plan,
    writer: SyncWriter<'a>,
    fresh: Fresh<'a>,
    /// Tables with dirty rows, or images kept beside rows.
    dirty: HashSet<TableNo>,
    cursors: HashMap<ScopeId, Tick>,
    resolved: HashSet<ConflictId>,
    /// What the site made itself when the schema moved.
    made: BTreeMap<TableNo, Vec<Made>>,
    unheard: Unheard,
    applied: Applied,
}

impl<'a> Apply<'a> {
    fn new(connection: &'a Connection, plan: &'a Plan, heads: &[Cursor]) -> Result<Self> {
        let mut dirty = HashSet::new();
        for (table, sql) in plan.parents_first() {
            if let Some(companions) = &sql.dirty
                && connection.prepare_cached(&companions.any_dirty)?.query_row([], |row| row.get(0))?
            {
                dirty.insert(table.no);
            }
        }
        let mut writer = SyncWriter::new(connection, plan);
        writer.under_way = outbox::keys_under_way(connection)?;
        Ok(Self {
            plan,
            writer,
            fresh: Fresh::new(connection, plan)?,
            dirty,
            cursors: heads.iter().map(|head| (head.scope.clone(), head.tick)).collect(),
            resolved: HashSet::new(),
            made: made::columns(connection)?,
            unheard: Unheard::new(connection, plan, heads)?,
            applied: Applied::default(),
        })
    }

    fn page(&mut self, page: &Page, large: bool) -> Result<()> {
        for gone in &page.gone {
            self.gone(page, gone)?;
        }
        for rows in &page.tables {
            self.rows(page, rows, large)?;
        }
        Ok(())
    }

    fn finish(mut self, heads: &[Cursor]) -> Result<Applied> {
        let mut unheard = std::mem::take(&mut self.unheard);
        loop {
            let gone = unheard.gone(self.writer.connection, self.plan, &self.cursors)?;
            if gone.is_empty() {
                break;
            }
            for (no, key, image) in gone {
                let (table, sql) = self.table(no)?;
                self.image(table, sql, &key, &image)?;
            }
        }
        let cursors = std::mem::take(&mut self.cursors);
        let cursor = |scope: &ScopeId| cursors.get(scope).copied();
        let connection = self.writer.connection;
        released::release(&mut self.writer, &self.resolved, &cursor)?;
        self.applied.moved = cursors::advance(connection, heads)?;
        self.writer.finish(&cursor)?;
        news::heard(connection)?;
        dropping::drop_scopes(connection, self.plan)?;
        self.fresh.finish()?;
        Ok(self.applied)
    }

    /// The scope that a page names by number; `None` where the site does not hold it (any more).
    fn scope(&self, page: &Page, index: u32) -> Result<Option<ScopeId>> {
        let head =
            page.heads.get(index as usize).ok_or_else(|| StoreError::Answer("a page names a scope that it does not have".to_owned()))?;
        Ok(self.cursors.contains_key(&head.scope).then(|| head.scope.clone()))
    }

    fn gone(&mut self, page: &Page, gone: &Gone) -> Result<()> {
        let Some(scope) = self.scope(page, gone.scope)? else { return Ok(()) };
        let (table, sql) = self.table(gone.table)?;
        let key = canonical_key(table, &gone.key)?;
        self.applied.received += 1;
        let stamp =
            Stamp { version: gone.version, updated_at: gone.at.clone(), modified_by: gone.by.clone(), synced_at: Some(gone.at.clone()) };
        let state = if gone.left { State::Left } else { State::Deleted };
        self.image(table, sql, &key, &Image { at: At { scope, tick: gone.tick }, stamp, state })
    }

    fn rows(&mut self, page: &Page, rows: &TableRows, large: bool) -> Result<()> {
        let (table, sql) = self.table(rows.table)?;
        let places = places(table, rows)?;
        let load = self.fresh.takes(table, sql, large || rows.rows.len() > Fresh::WORTH)?;
        let conflicts = released::conflicts_table(self.plan).is_some_and(|conflicts| conflicts.no == table.no);
        for pulled in &rows.rows {
            let Some(scope) = self.scope(page, pulled.scope)? else { continue };
            let row = canonical_row(table, &places, pulled)?;
            self.applied.received += 1;
            if conflicts {
                self.resolved.extend(released::resolved(table, &row));
                self.applied.news.note(self.writer.connection, table, &row)?;
            }
            let at = At { scope, tick: pulled.tick };
            let stamp = Stamp {
                version: pulled.version,
                updated_at: pulled.updated_at.clone(),
                modified_by: pulled.modified_by.clone(),
                synced_at: pulled.synced_at.clone(),
            };
            if load {
                self.writer.load(sql, &Live { row, stamp, at: Some(at) })?;
            } else {
                let key = table.key_of(&row);
                self.image(table, sql, &key, &Image { at, stamp, state: State::Live(row) })?;
            }
        }
        Ok(())
    }

    /// One image of the cloud meets what is here.
    fn image(&mut self, table: &Table, sql: &TableSql, key: &Key, image: &Image) -> Result<()> {
        if image.row().is_some() {
            self.unheard.heard(self.writer.connection, table.no, key)?;
        }
        let connection = self.writer.connection;
        let found = if self.dirty.contains(&table.no) {
            entry::by_key(connection, table, sql, key)
        } else {
            entry::clean_by_key(connection, table, sql, key).map(|entry| AtKey::Row(Box::new(entry)))
        };
        let before = match found {
            Ok(AtKey::Row(entry)) if self.writer.is_under_way(table, key, &entry) => {
                return self.writer.keep_theirs(table, sql, key, image);
            }
            Ok(AtKey::Row(entry)) => *entry,
            // The row here that has this key is another one, or has it at the cloud too by now: the image waits until that one is answered.
            Ok(AtKey::Taken) => return self.writer.keep_theirs(table, sql, key, image),
            Err(StoreError::Row(error)) => {
                // Somebody wrote what no merge can read: nothing is overwritten, and the cloud's image is there once it is put right.
                self.applied.problems.push(error.to_string());
                return self.writer.keep_theirs(table, sql, key, image);
            }
            Err(error) => return Err(error),
        };
        let cursor = |scope: &ScopeId| self.cursors.get(scope).copied();
        let mut row = before.row.clone();
        if before.held == HeldState::Ghost && row.base.is_none() {
            // What counts of a ghost is when it went.
            let went = sql.dirty.as_ref().map(|dirty| entry::theirs(connection, table, dirty, key)).transpose()?.flatten();
            match (went, &mut row.live) {
                (Some(went), Some(live)) if image.row().is_some() => live.at = Some(went.at),
                (Some(_), _) => return Ok(()),
                (None, _) => {}
            }
        }
        if row.base.is_some() {
            row = step(table, row, &Event::Asked, &cursor).row;
        }
        let event = self.made.get(&table.no).map_or(Event::Pulled(image), |made| Event::Fed(image, made));
        let after = step(table, row, &event, &cursor).row;
        if after == before.row && (before.held == HeldState::Normal || after.base.is_some()) {
            return Ok(());
        }
        self.writer.save(table, sql, &before, &after, Because::Image(image))
    }

    fn table(&self, no: TableNo) -> Result<(&'a Table, &'a TableSql)> {
        let plan: &'a Plan = self.plan;
        plan.table(no).ok_or_else(|| StoreError::Answer(format!("a page has rows of a table number {no}, which the catalog does not have")))
    }
}

/// Where each column of the table stands in a page's rows; nowhere for a hidden one.
fn places(table: &Table, rows: &TableRows) -> Result<Vec<Option<usize>>> {
    let place = |no| rows.columns.iter().position(|column| *column == no);
    let known = |column: &Column| if hidden::is_hidden(column) { Some(None) } else { place(column.no).map(Some) };
    let places: Option<Vec<Option<usize>>> = table.columns.iter().map(known).collect();
    places.ok_or_else(|| StoreError::Answer(format!("a page has rows of {} without all of its columns", table.name)))
}

fn canonical_row(table: &Table, places: &[Option<usize>], pulled: &PulledRow) -> Result<Row> {
    let mut row = Vec::with_capacity(places.len());
    for (column, place) in table.columns.iter().zip(places) {
        let Some(place) = place else {
            row.push(Value::Null);
            continue;
        };
        let value = pulled.values.get(*place).ok_or_else(|| StoreError::Answer(format!("a row of {} is too short", table.name)))?;
        row.push(canonical(table, &column.name, &column.ty, value)?);
    }
    Ok(row)
}

fn canonical_key(table: &Table, key: &Key) -> Result<Key> {
    if key.0.len() != table.key.len() {
        return Err(StoreError::Answer(format!("a key of {} has {} values", table.name, key.0.len())));
    }
    let values = table.key_columns().zip(&key.0).map(|(column, value)| canonical(table, &column.name, &column.ty, value));
    values.collect::<Result<Vec<_>>>().map(Key)
}

/// A label of an enum that this catalog does not know is kept: only the cloud can say that it is wrong.
fn canonical(table: &Table, column: &str, ty: &ColumnType, value: &Value) -> Result<Value> {
    match ty {
        ColumnType::Enum(_) if matches!(value, Value::Text(_)) => Ok(value.clone()),
        ty => ty.accept(value.clone()).map_err(|error| StoreError::Answer(format!("a row of {}, column {column}: {error}", table.name))),
    }
}
