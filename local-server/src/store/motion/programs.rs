//! What programs of this machine keep in the file: their own views, triggers and indexes. SQLite refuses to alter a table while one of them
//! says what is not there, takes one back without a look at what it says, and drops the indexes of a table with it. So all go aside, are
//! told the new names (by SQLite itself, in a [`Scratch`]), and come back as far as they still mean something.

use rusqlite::Connection;

use super::scratch::{Renamed, Scratch, is_gone, words};
use crate::store::error::Result;
use crate::store::rows::quoted;
use crate::store::schema::NOW;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// `view`, `trigger` or `index`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) sql: String,
}

/// What was set aside, with the tables as they were then. Nothing where programs keep nothing, which is usual.
pub(in crate::store) struct Aside {
    programs: Vec<Program>,
    before: Option<Scratch>,
}

/// Drops the views and triggers of programs. [`Aside::put_back`] must follow.
pub(in crate::store) fn set_aside(connection: &Connection) -> Result<Aside> {
    // Backwards, a trigger comes after its view.
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger', 'index') AND sql IS NOT NULL
         AND name NOT GLOB 'rejoin_*' AND name NOT GLOB 'sync_log_*' ORDER BY type = 'index', type = 'view', rowid",
    )?;
    let all = statement.query_map([], |row| Ok(Program { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? }))?;
    let programs: Vec<Program> = all.collect::<rusqlite::Result<_>>()?;
    if programs.is_empty() {
        return Ok(Aside { programs, before: None });
    }
    let before = Scratch::of(connection, &programs)?;
    for Program { kind, name, .. } in programs.iter().filter(|program| program.kind != "index") {
        connection.execute_batch(&format!("DROP {kind} IF EXISTS {}", quoted(name)))?;
    }
    Ok(Aside { programs, before: Some(before) })
}

/// Drops our triggers, which are made anew anyway.
pub(super) fn drop_ours(connection: &Connection) -> Result<()> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'rejoin_*'")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names.iter().try_for_each(|name| connection.execute_batch(&format!("DROP TRIGGER {}", quoted(name))))?)
}

impl Aside {
    /// Makes them again under the new names. What no longer means anything stays away; its text is kept for whoever made it.
    pub(in crate::store) fn put_back(self, connection: &Connection, renamed: &[Renamed]) -> Result<()> {
        let Some(before) = self.before else { return Ok(()) };
        before.rename(renamed);
        let programs: Vec<(&Program, Program)> = self
            .programs
            .iter()
            .rev()
            .map(|program| (program, Program { sql: before.text(&program.name).unwrap_or_else(|| program.sql.clone()), ..program.clone() }))
            .collect();
        for (was, program) in programs.iter().filter(|(was, _)| was.kind == "index") {
            let present = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
            if connection.query_row(present, [&program.name], |row| row.get(0))? {
                continue;
            }
            let made = if is_gone(&program.sql) { Err(GONE.to_owned()) } else { try_out(connection, &program.sql) };
            if let Err(why) = made {
                lose(connection, was, &why)?;
            }
        }
        let mut whole: Vec<(&Program, Program)> = programs.into_iter().filter(|(was, _)| was.kind != "index").collect();
        // What does not work now and did before; a view may go with another one.
        loop {
            let after = Scratch::of(connection, &whole.iter().rev().map(|(_, program)| program.clone()).collect::<Vec<_>>())?;
            let broken = whole.iter().position(|(was, program)| why_not(&before, &after, was, program).is_some());
            let Some(at) = broken else { break };
            let (was, program) = whole.remove(at);
            lose(connection, was, &why_not(&before, &after, was, &program).unwrap_or_default())?;
        }
        for (was, program) in &whole {
            if let Err(why) = try_out(connection, &program.sql) {
                lose(connection, was, &why)?;
            }
        }
        let sql = "DELETE FROM rejoin_lost_programs WHERE name IN (SELECT name FROM sqlite_schema)";
        connection.execute(sql, [])?;
        Ok(())
    }
}

/// Why something names what is not in the catalog any more.
const GONE: &str = "it names a table or column that the cloud no longer has";

/// Why a program cannot come back, if it worked before or fails in another way now: what only its own program can run stays.
fn why_not(before: &Scratch, after: &Scratch, was: &Program, now: &Program) -> Option<String> {
    if is_gone(&now.sql) {
        return Some(GONE.to_owned());
    }
    after.problem(&now.name).filter(|problem| before.problem(&was.name) != Some(problem)).cloned()
}

/// Makes it, or leaves everything as it was.
fn try_out(connection: &Connection, sql: &str) -> std::result::Result<(), String> {
    connection.execute_batch(sql).map_err(words)
}

/// It stays away: its text is in the log and in the status.
fn lose(connection: &Connection, program: &Program, why: &str) -> Result<()> {
    let Program { kind, name, sql } = program;
    tracing::warn!(kind, name, why, sql, "of another program; it says what the new catalog does not have, and is gone");
    let insert = format!("INSERT OR REPLACE INTO rejoin_lost_programs (name, kind, body, why, at) VALUES (?1, ?2, ?3, ?4, {NOW})");
    connection.execute(&insert, (name, kind, sql, why))?;
    Ok(())
}
