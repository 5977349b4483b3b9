//! Foreign keys of programs' own tables whose table is gone, and whose name another one has: SQLite refuses every write that asks for one.

use rusqlite::Connection;

use crate::store::error::Result;
use crate::store::schema::NOW;

/// As what they are told.
pub(in crate::store) const KIND: &str = "foreign_key";

/// Each table with its text and the columns of such a key: it names the table under which the one that is gone was set aside, and that went too.
const ASTRAY: &str = "SELECT m.name || ' (' || group_concat(f.\"from\", ', ') || ')' AS name, m.sql
    FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
    WHERE m.type = 'table' AND m.name NOT GLOB 'rejoin_*' AND f.\"table\" GLOB 'rejoin_interim_[0-9]*'
        AND f.\"table\" NOT IN (SELECT name FROM sqlite_schema)
    GROUP BY m.name, f.id";

/// Keeps them for the status, until their table is made anew.
pub(super) fn note(connection: &Connection) -> Result<()> {
    let sql = format!(
        "INSERT OR IGNORE INTO rejoin_lost_programs (name, kind, body, why, at)
         SELECT name, '{KIND}', sql, 'the table that it refers to is gone, and another one has its name: make the table anew with a foreign key to that one, or without', {NOW}
         FROM ({ASTRAY})"
    );
    let told = connection.execute(&sql, [])?;
    if told > 0 {
        tracing::warn!(told, "foreign keys of other programs refer to a table that the new catalog does not have");
    }
    Ok(())
}

/// The names of those that there are now.
///
/// # Errors
/// The database.
pub(in crate::store) fn names(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(&format!("SELECT name FROM ({ASTRAY})"))?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}
