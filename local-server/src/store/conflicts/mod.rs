//! This site's parked conflicts, as they came by the feed, and the decisions made here, which are commands for the cloud.
//!
//! Reading: `list`, `groups`, `counts` and `detail`, over one `source`. Deciding: `decide` for one, `bulk` for many; both only store, and
//! [`news`] says what became of it.

mod besides;
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
use sync_core::id::TableNo;

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

/// The rows of one table of which an edit made here is in a conflict that is not resolved, or on its way into one.
#[derive(Debug)]
pub struct ParkedRows {
    table: TableNo,
    /// `None` where there are none at all.
    sql: Option<String>,
}

impl ParkedRows {
    /// Those of a table.
    ///
    /// # Errors
    /// The database.
    pub fn of(connection: &Connection, table: TableNo) -> Result<Self> {
        let mut terms =
            vec!["SELECT record_id FROM rejoin_parked WHERE table_no = ?1", "SELECT record_id FROM rejoin_later WHERE table_no = ?1"];
        let arrived = "SELECT record_id FROM sync_conflicts WHERE table_no = ?1 AND resolution = 'PENDING'";
        if Source::arrived(connection)? {
            terms.push(arrived);
        }
        let any: Vec<_> = terms.iter().map(|term| format!("EXISTS ({term})")).collect();
        let any: bool = connection.prepare_cached(&format!("SELECT {}", any.join(" OR ")))?.query_row([table.0], |row| row.get(0))?;
        let one: Vec<_> = terms.iter().map(|term| format!("EXISTS ({term} AND record_id = ?2)")).collect();
        Ok(Self { table, sql: any.then(|| format!("SELECT {}", one.join(" OR "))) })
    }

    /// Whether this row is one of them.
    ///
    /// # Errors
    /// The database.
    pub fn has(&self, connection: &Connection, record: &str) -> Result<bool> {
        let Some(sql) = &self.sql else { return Ok(false) };
        Ok(connection.prepare_cached(sql)?.query_row((self.table.0, record), |row| row.get(0))?)
    }
}
