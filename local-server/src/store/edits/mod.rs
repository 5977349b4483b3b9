//! "My edits": every row changed at this site that is not in the cloud as it is here, whole enough to be entered again.
//!
//! An edit moves on through the places it is looked for in, in this order: the dirty rows (waiting, sent, held), later edits of rows that
//! clashed under way, what an answer parked, and open conflicts. So whoever goes through the list page by page while the sync works may
//! meet an edit twice, but misses none.

mod cell;
mod conflicts;
mod place;
mod pushed;
mod rows;

use conflict_ui_api::backend::{EditCounts, EditQuery, EditState, LocalEdit};
use rusqlite::Connection;
use sync_core::catalog::{Catalog, Table};

use self::cell::Names;
use self::place::Place;
use super::conflicts::Source;
use super::error::Result;
use super::hidden;
use super::rows::base_table;

/// Candidates read at a time.
const SCAN_ROWS: usize = 500;

/// A page being filled.
struct Filling<'a> {
    connection: &'a Connection,
    catalog: &'a Catalog,
    names: Names,
    query: &'a EditQuery,
    found: Vec<LocalEdit>,
}

impl Filling<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.query.limit
    }

    fn wants(&self, states: &[EditState]) -> bool {
        self.query.state.is_none_or(|state| states.contains(&state))
    }

    fn wants_table(&self, name: &str) -> bool {
        self.query.table.as_ref().is_none_or(|wanted| wanted == name)
    }

    /// Takes an edit that the query's other members are about; those of the row in question are asked in SQL where that is cheaper.
    fn take(&mut self, edit: LocalEdit) {
        let wanted = self.query.state.is_none_or(|state| state == edit.state)
            && self.wants_table(&edit.table_name)
            && self.query.record.as_ref().is_none_or(|record| *record == edit.record_id)
            && self.query.by.as_ref().is_none_or(|by| edit.edited_by.as_ref() == Some(by));
        if wanted && !self.is_full() {
            self.found.push(edit);
        }
    }
}

/// At most `query.limit` edits. A page with fewer is the last one.
///
/// # Errors
/// The database.
pub fn edits(connection: &Connection, catalog: &Catalog, query: &EditQuery) -> Result<Vec<LocalEdit>> {
    let start = query.after.as_deref().and_then(Place::parse);
    let names = Names::of(connection, catalog)?;
    let extended = hidden::extended(connection, catalog)?;
    let catalog = extended.as_ref().unwrap_or(catalog);
    let mut filling = Filling { connection, catalog, names, query, found: Vec::new() };
    if start.as_ref().is_none_or(|place| matches!(place, Place::Row(..))) {
        rows::fill(&mut filling, start.as_ref())?;
    }
    if start.as_ref().is_none_or(|place| *place < Place::Answered(0)) {
        pushed::fill_later(&mut filling, start.as_ref())?;
    }
    if start.as_ref().is_none_or(|place| !matches!(place, Place::Conflict(_))) {
        pushed::fill_parked(&mut filling, start.as_ref())?;
    }
    conflicts::fill(&mut filling, start.as_ref())?;
    if filling.found.is_empty() && start.is_none() {
        rows::in_cloud(&mut filling)?;
    }
    Ok(filling.found)
}

/// How many edits stand where.
///
/// # Errors
/// The database.
pub fn counts(connection: &Connection, catalog: &Catalog) -> Result<EditCounts> {
    let mut counts = EditCounts::default();
    let extended = hidden::extended(connection, catalog)?;
    let catalog = extended.as_ref().unwrap_or(catalog);
    for table in tables(catalog) {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE rejoin_held_conflict IS NULL AND rejoin_push_no IS NULL),
                    count(*) FILTER (WHERE rejoin_held_conflict IS NULL AND rejoin_push_no IS NOT NULL), count(rejoin_held_conflict)
             FROM {} WHERE rejoin_row > 0",
            base_table(table)
        );
        let row = connection.prepare_cached(&sql)?.query_row([], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
        (counts.waiting, counts.sent, counts.held) = (counts.waiting + row.0, counts.sent + row.1, counts.held + row.2);
    }
    let sql = "SELECT count(*) FILTER (WHERE push_no IS NULL), count(push_no), (SELECT count(*) FROM rejoin_parked) FROM rejoin_later";
    let row = connection.prepare_cached(sql)?.query_row([], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
    (counts.waiting, counts.sent, counts.parked) = (counts.waiting + row.0, counts.sent + row.1, row.2);
    if let Some(source) = Source::of(connection)? {
        let sql = format!("SELECT count(*) FROM {source} c WHERE {}", conflicts::PARKED);
        counts.parked += connection.prepare_cached(&sql)?.query_row([], |row| number(row, 0))?;
    }
    Ok(counts)
}

fn number(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default())
}

/// The user's tables, parents first: in this order their inserts can be entered again.
fn tables(catalog: &Catalog) -> impl Iterator<Item = &Table> {
    catalog.parents_first().into_iter().filter(|table| !table.engine)
}
