//! This site's parked conflicts, as they came by the feed, and the decisions made here, which are commands for the cloud.
//!
//! Reading: [`list`], [`groups`], [`counts`], [`detail`] over one [`source`]. Deciding: [`decide`] for one, [`bulk`] for many; both only
//! store, and [`news`] says what became of it.

mod bulk;
mod counts;
mod current;
mod decide;
mod detail;
mod filter;
mod groups;
mod list;
pub mod news;
mod show;
mod source;

use rusqlite::Connection;

pub use bulk::decide_many;
pub use counts::counts;
pub use decide::decide;
pub use detail::detail;
pub use groups::groups;
pub use list::{get, list};
pub(super) use source::Source;

use crate::store::error::Result;

/// How many have no decision yet.
///
/// # Errors
/// The database.
pub fn pending(connection: &Connection) -> Result<i64> {
    let Some(source) = Source::of(connection)? else { return Ok(0) };
    let sql = format!("SELECT count(*) FROM {source} c WHERE c.resolution = 'PENDING'");
    Ok(connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?)
}

/// Whether an edit of this row, made here, is in a conflict that is not resolved.
///
/// # Errors
/// The database.
pub fn is_parked(connection: &Connection, table: sync_core::id::TableNo, record: &str) -> Result<bool> {
    let arriving = "SELECT EXISTS (SELECT 1 FROM rejoin_parked WHERE table_no = ?1 AND record_id = ?2)
                        OR EXISTS (SELECT 1 FROM rejoin_later WHERE table_no = ?1 AND record_id = ?2)";
    if connection.prepare_cached(arriving)?.query_row((table.0, record), |row| row.get(0))? {
        return Ok(true);
    }
    let Some(source) = Source::of(connection)? else { return Ok(false) };
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {source} c WHERE c.table_no = ?1 AND c.record_id = ?2 AND c.resolution = 'PENDING')");
    Ok(connection.prepare_cached(&sql)?.query_row((table.0, record), |row| row.get(0))?)
}
