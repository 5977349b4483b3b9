//! The records behind the API: lists, single records, and writes with their cascades. Every write goes through the capture triggers and
//! sets the row's stamps in the same statement, so that they have nothing left to do.

mod closure;
mod groups;
mod import;
mod list;
mod refusal;
mod write;

use chrono::Utc;
use conflict_ui_api::backend::{Action, Group, GroupQuery, Imported, ListQuery, Place, Principal, Record, Write};
use conflict_ui_api::error::BackendError;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{Key, TableNo};
use sync_core::value::timestamp_text;
use sync_core::write::Draft;

use crate::store::conflicts::ParkedRows;
use crate::store::error::StoreError;
use crate::store::rows::{Bound, HeldState, LiveRow, base_table, key_condition, live_list, live_table, live_width, read_live};

/// What these functions return: the API's own words.
pub type Result<T> = std::result::Result<T, BackendError>;

/// A row with all that the API says of it.
struct Found {
    live: LiveRow,
    place: Place,
}

/// At most `query.limit` records in the order asked.
///
/// # Errors
/// There is no such table; the store failed.
pub fn list(connection: &Connection, catalog: &Catalog, query: &ListQuery) -> Result<Vec<Record>> {
    let table = user_table(catalog, query.table)?;
    let built = list::build(table, query);
    let parked = ParkedRows::of(connection, table.no)?;
    let mut statement = connection.prepare_cached(&built.sql).map_err(StoreError::from)?;
    let mut rows = statement.query(params_from_iter(built.params.iter().map(Bound))).map_err(StoreError::from)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(StoreError::from)? {
        let mut found = found(table, row)?;
        found.look_for_conflict(connection, table, &parked)?;
        records.push(record(found));
    }
    Ok(records)
}

/// How many records there are of this query.
///
/// # Errors
/// There is no such table; the store failed.
pub fn count(connection: &Connection, catalog: &Catalog, query: &ListQuery) -> Result<u64> {
    let built = list::count(user_table(catalog, query.table)?, query);
    let mut statement = connection.prepare_cached(&built.sql).map_err(StoreError::from)?;
    let count: i64 = statement.query_row(params_from_iter(built.params.iter().map(Bound)), |row| row.get(0)).map_err(StoreError::from)?;
    Ok(count.unsigned_abs())
}

/// The groups of records, with figures over each.
///
/// # Errors
/// There is no such table; the store failed.
pub fn groups(connection: &Connection, catalog: &Catalog, query: &GroupQuery) -> Result<Vec<Group>> {
    let table = user_table(catalog, query.table)?;
    let built = groups::build(table, query);
    let mut statement = connection.prepare_cached(&built.sql).map_err(StoreError::from)?;
    let mut rows = statement.query(params_from_iter(built.params.iter().map(Bound))).map_err(StoreError::from)?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next().map_err(StoreError::from)? {
        groups.push(groups::read(table, query, row)?);
    }
    Ok(groups)
}

/// One record; a soft-deleted one too, a ghost not.
///
/// # Errors
/// There is no such table; the store failed.
pub fn get(connection: &Connection, catalog: &Catalog, table: TableNo, key: &Key) -> Result<Option<Record>> {
    let table = user_table(catalog, table)?;
    Ok(read(connection, table, key)?.map(record))
}

/// One write, inside a transaction of [`Database::write`](crate::store::Database::write).
///
/// # Errors
/// What the draft, the table's constraints or the rows' state forbid; the store failed.
pub fn write(connection: &Connection, catalog: &Catalog, by: &Principal, table: TableNo, write: &Write) -> Result<Record> {
    let table = user_table(catalog, table)?;
    write::Writer { connection, catalog, by, now: timestamp_text(Utc::now()) }.run(table, write)
}

/// Several writes, decided over what is read for them, inside a transaction of [`Database::write`](crate::store::Database::write), where nobody
/// else writes.
///
/// # Errors
/// As [`write`](fn@write), of the first one that cannot be done; what the action itself refuses. Nothing is written then.
pub fn act(connection: &Connection, catalog: &Catalog, by: &Principal, action: &dyn Action) -> Result<Vec<Record>> {
    let locked = action.locks().iter().map(|(no, key)| get(connection, catalog, *no, key)).collect::<Result<Vec<_>>>()?;
    let listed = action.lists(&locked).iter().map(|query| list(connection, catalog, query)).collect::<Result<Vec<_>>>()?;
    let writer = write::Writer { connection, catalog, by, now: timestamp_text(Utc::now()) };
    let writes = action.decide(&locked, &listed)?;
    writes.iter().map(|(no, write)| writer.run(user_table(catalog, *no)?, write)).collect()
}

/// A whole data set, inside a transaction of [`Database::write`](crate::store::Database::write).
///
/// # Errors
/// As [`write`](fn@write), of the first row that cannot be written.
pub fn import(connection: &Connection, catalog: &Catalog, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported> {
    import::run(&write::Writer { connection, catalog, by, now: timestamp_text(Utc::now()) }, rows)
}

fn user_table(catalog: &Catalog, no: TableNo) -> Result<&Table> {
    catalog.table(no).filter(|table| !table.engine).ok_or_else(|| BackendError::NotFound(format!("table number {no}")))
}

/// The select list of what [`found`] reads of each row `t`.
fn found_list(table: &Table) -> String {
    let base = base_table(table);
    format!("{}, (SELECT b.rejoin_held_conflict IS NOT NULL FROM {base} b WHERE b.rejoin_row = t.rejoin_row)", live_list(table, "t."))
}

fn found(table: &Table, row: &rusqlite::Row<'_>) -> std::result::Result<Found, StoreError> {
    let place = match row.get(live_width(table))? {
        Some(true) => Place::Held,
        // Also a changed row that made way for another one with its unique value: nobody has judged it yet.
        Some(false) => Place::Here,
        None => Place::Cloud,
    };
    Ok(Found { live: read_live(table, row, 0)?, place })
}

impl Found {
    /// A clean row shows the cloud's state; an edit of it may be in a conflict all the same.
    fn look_for_conflict(&mut self, connection: &Connection, table: &Table, parked: &ParkedRows) -> std::result::Result<(), StoreError> {
        if self.place == Place::Cloud && parked.has(connection, &table.key_of(&self.live.live.row).to_string())? {
            self.place = Place::Parked;
        }
        Ok(())
    }
}

/// The row of this key, unless it is a ghost.
fn read(connection: &Connection, table: &Table, key: &Key) -> std::result::Result<Option<Found>, StoreError> {
    let sql = format!(
        "SELECT {} FROM {} t WHERE {} AND t.rejoin_held <> {}",
        found_list(table),
        live_table(table),
        key_condition(table, "t.", 1),
        HeldState::Ghost as i64
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row(params_from_iter(key.0.iter().map(Bound)), |row| Ok(found(table, row))).optional()?.transpose()?;
    let Some(mut found) = found else { return Ok(None) };
    found.look_for_conflict(connection, table, &ParkedRows::of(connection, table.no)?)?;
    Ok(Some(found))
}

fn record(found: Found) -> Record {
    Record { row: found.live.live.row, stamp: found.live.live.stamp, place: found.place }
}
