//! What programs of this machine keep in the file: their own views, triggers and indexes. SQLite refuses to rename a table while one of
//! them says what is not there, and drops the indexes of a table with it; so all go aside, our triggers too, which are made anew anyway.

use rusqlite::Connection;

use crate::store::error::Result;
use crate::store::rows::quoted;

/// One of them: kind, name and text.
pub(super) struct Program(String, String, String);

/// Drops every trigger and view; the programs' own, and their indexes, are returned.
pub(super) fn set_aside(connection: &Connection) -> Result<Vec<Program>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger', 'index') AND sql IS NOT NULL
         ORDER BY type = 'trigger' DESC, type = 'view' DESC, name",
    )?;
    let all = statement.query_map([], |row| Ok(Program(row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let all: Vec<Program> = all.collect::<rusqlite::Result<_>>()?;
    for Program(kind, name, _) in all.iter().filter(|program| program.0 != "index") {
        // A trigger goes with its view.
        connection.execute_batch(&format!("DROP {kind} IF EXISTS {}", quoted(name)))?;
    }
    Ok(all.into_iter().filter(|Program(_, name, _)| !name.starts_with("rejoin_") && !name.starts_with("sync_log_")).collect())
}

/// Makes them again, as far as they still mean something.
pub(super) fn put_back(connection: &Connection, programs: &[Program]) -> Result<()> {
    for Program(kind, name, sql) in programs.iter().rev() {
        let present = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
        if connection.query_row(present, [name], |row| row.get(0))? {
            continue;
        }
        if let Err(error) = connection.execute_batch(sql) {
            tracing::warn!(kind, name, %error, "of another program; it says what the new catalog does not have, and is gone");
        }
    }
    Ok(())
}
