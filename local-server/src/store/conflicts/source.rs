//! Where conflicts are read from. The table comes with the catalog, and may be one of an older cloud.

use std::fmt;

use rusqlite::Connection;

use crate::store::error::Result;

/// The table of conflicts as a `FROM` term (its `Display`), with the columns that an older catalog does not have as NULLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Source {
    missing: Vec<&'static str>,
}

/// Columns that came later than the table.
const LATER: [&str; 4] = ["group_id", "policy", "cloud_modified_by", "local_modified_by"];

impl Source {
    /// Whether the cloud's conflicts are among the synced tables yet.
    pub(super) fn arrived(connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sync_conflicts')";
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    /// `None` as long as the cloud's conflicts are not among the synced tables.
    pub(in crate::store) fn of(connection: &Connection) -> Result<Option<Self>> {
        let mut statement = connection.prepare_cached("SELECT name FROM pragma_table_info('sync_conflicts')")?;
        let present: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        if present.is_empty() {
            return Ok(None);
        }
        let missing = LATER.into_iter().filter(|name| !present.iter().any(|present| present == name));
        Ok(Some(Self { missing: missing.collect() }))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.is_empty() {
            return f.write_str("sync_conflicts");
        }
        f.write_str("(SELECT *")?;
        self.missing.iter().try_for_each(|name| write!(f, ", NULL AS {name}"))?;
        f.write_str(" FROM sync_conflicts)")
    }
}
