//! Lists, in pages by key.

use conflict_ui_api::backend::{Conflict, ConflictQuery, ConflictSort};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::Catalog;
use sync_core::id::ConflictId;

use super::filter::Conditions;
use super::{Source, show};
use crate::store::error::Result;

/// At most `query.limit` conflicts in the order asked.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn list(connection: &Connection, catalog: &Catalog, query: &ConflictQuery) -> Result<Vec<Conflict>> {
    let Some(source) = Source::of(connection)? else { return Ok(Vec::new()) };
    let mut conditions = Conditions::of(&query.filter);
    if let Some(after) = query.after
        && !behind(connection, &source, &mut conditions, query.sort, after)?
    {
        return Ok(Vec::new());
    }
    let order = match query.sort {
        ConflictSort::Newest => "c.created_at DESC, c.id",
        ConflictSort::Oldest => "c.created_at, c.id",
        ConflictSort::Record => "c.table_name, c.record_id, c.id",
        ConflictSort::Site => "c.site_name, c.created_at DESC, c.id",
    };
    let rest = format!("WHERE {} ORDER BY {order} LIMIT {}", conditions.sql(), query.limit);
    show::select(connection, catalog, &source, &rest, params_from_iter(conditions.values))
}

/// One conflict.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn get(connection: &Connection, catalog: &Catalog, id: ConflictId) -> Result<Option<Conflict>> {
    let Some(source) = Source::of(connection)? else { return Ok(None) };
    Ok(show::select(connection, catalog, &source, "WHERE c.id = ?1", [id.to_string()])?.pop())
}

/// Keeps what stands behind a conflict; whether there is that conflict.
fn behind(connection: &Connection, source: &Source, conditions: &mut Conditions, sort: ConflictSort, after: ConflictId) -> Result<bool> {
    let sql = format!("SELECT c.created_at, c.id, c.table_name, c.record_id, c.site_name FROM {source} c WHERE c.id = ?1");
    let read = |row: &rusqlite::Row<'_>| (0..5).map(|at| row.get::<_, Sql>(at)).collect::<rusqlite::Result<Vec<Sql>>>();
    let Some(place) = connection.prepare_cached(&sql)?.query_row([after.to_string()], read).optional()? else { return Ok(false) };
    // A value that is bound must be used.
    let mut value = |at: usize| place.get(at).cloned().map(|value| conditions.bind(value)).unwrap_or_default();
    let term = match sort {
        ConflictSort::Newest => newest(&value(0), &value(1)),
        ConflictSort::Oldest => format!("(c.created_at, c.id) > ({}, {})", value(0), value(1)),
        ConflictSort::Record => format!("(c.table_name, c.record_id, c.id) > ({}, {}, {})", value(2), value(3), value(1)),
        ConflictSort::Site => {
            let site = value(4);
            format!("(c.site_name > {site} OR c.site_name = {site} AND {})", newest(&value(0), &value(1)))
        }
    };
    conditions.add(term);
    Ok(true)
}

/// What stands behind a time and id where the newest come first.
fn newest(at: &str, id: &str) -> String {
    format!("(c.created_at < {at} OR c.created_at = {at} AND c.id > {id})")
}
