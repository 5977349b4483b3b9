//! The tables of a file without their rows, in memory, to ask SQLite what it would make of the programs' views, triggers and indexes: whether
//! each works, and how it reads under other names.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::programs::Program;
use crate::store::error::Result;
use crate::store::rows::quoted;

/// A table that gets another name, or columns of which get one.
#[derive(Debug)]
pub(in crate::store) struct Renamed {
    /// The table's name.
    pub(in crate::store) from: String,
    /// Its next one; `None` where it is gone.
    pub(in crate::store) to: Option<String>,
    /// Its columns whose names change; `None` for one that is gone.
    pub(in crate::store) columns: Vec<(String, Option<String>)>,
}

/// How the names of what is on its way, or gone, begin.
const INTERIM: &str = "rejoin_interim_";

/// Whether a text names what is gone.
pub(super) fn is_gone(sql: &str) -> bool {
    sql.contains(INTERIM)
}

/// The tables with the programs' things.
pub(super) struct Scratch {
    connection: Connection,
    /// What is wrong with each thing that does not work, by name.
    problems: HashMap<String, String>,
}

impl Scratch {
    /// A file's tables with these things, backwards in the order in which they can be made.
    pub(super) fn of(file: &Connection, programs: &[Program]) -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        // With a writable schema a rename leaves alone what it cannot read, instead of failing.
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA writable_schema = ON")?;
        let mut statement =
            file.prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL AND name NOT GLOB 'sqlite_*'")?;
        let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for sql in tables {
            // A virtual table of a module that is not here: what reads it does not work here, now or then.
            drop(connection.execute_batch(&sql));
        }
        let mut problems = HashMap::new();
        let make = |program: &&Program| connection.execute_batch(&program.sql).err().map(|error| (program.name.clone(), words(error)));
        problems.extend(programs.iter().rev().filter(|program| program.kind != "trigger").filter_map(|program| make(&program)));
        for program in programs.iter().rev() {
            let problem = match program.kind.as_str() {
                "view" => check(&connection, &format!("SELECT * FROM {} LIMIT 0", quoted(&program.name))),
                // Each by itself, so that no other one is taken for it.
                "trigger" => make(&program).map(|(_, problem)| problem).or(fire(&connection, &program.name)?),
                _ => None,
            };
            problems.extend(problem.map(|problem| (program.name.clone(), problem)));
            if program.kind == "trigger" {
                connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quoted(&program.name)))?;
            }
        }
        programs.iter().rev().filter(|program| program.kind == "trigger").for_each(|program| drop(make(&program)));
        Ok(Self { connection, problems })
    }

    /// What is wrong with a thing.
    pub(super) fn problem(&self, name: &str) -> Option<&String> {
        self.problems.get(name)
    }

    /// Gives tables and columns their next names, over interim ones, which those that are gone keep.
    pub(super) fn rename(&self, renamed: &[Renamed]) {
        let run = |sql: String| {
            if let Err(error) = self.connection.execute_batch(&sql) {
                tracing::debug!(sql, %error, "the programs' views and triggers do not follow this");
            }
        };
        let interim = |at: usize| quoted(&format!("{INTERIM}{at}"));
        for (at, table) in renamed.iter().enumerate() {
            run(format!("ALTER TABLE {} RENAME TO {}", quoted(&table.from), interim(at)));
            for (no, (from, _)) in table.columns.iter().enumerate() {
                run(format!("ALTER TABLE {} RENAME COLUMN {} TO {}", interim(at), quoted(from), interim(no)));
            }
            for (no, (_, to)) in table.columns.iter().enumerate() {
                if let Some(to) = to {
                    run(format!("ALTER TABLE {} RENAME COLUMN {} TO {}", interim(at), interim(no), quoted(to)));
                }
            }
        }
        for (at, table) in renamed.iter().enumerate() {
            if let Some(to) = &table.to {
                run(format!("ALTER TABLE {} RENAME TO {}", interim(at), quoted(to)));
            }
        }
    }

    /// How a thing reads now.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1 AND type <> 'table'";
        self.connection.query_row(sql, [name], |row| row.get(0)).optional().ok().flatten()
    }
}

/// What is wrong with a statement.
fn check(connection: &Connection, sql: &str) -> Option<String> {
    connection.prepare(sql).err().map(words)
}

/// What SQLite says, without the statement.
pub(super) fn words(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    }
}

/// What is wrong with a trigger: every write of its table that may fire it is prepared.
fn fire(connection: &Connection, name: &str) -> Result<Option<String>> {
    let sql = "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?1";
    let Some(table): Option<String> = connection.query_row(sql, [name], |row| row.get(0)).optional()? else { return Ok(None) };
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let columns: Vec<String> = statement.query_map([&table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let same: Vec<_> = columns.iter().map(|column| quoted(column)).map(|column| format!("{column} = {column}")).collect();
    let table = quoted(&table);
    let writes =
        [format!("UPDATE {table} SET {}", same.join(", ")), format!("INSERT INTO {table} DEFAULT VALUES"), format!("DELETE FROM {table}")];
    // A view takes only what it has triggers for.
    let problems = writes.iter().filter_map(|sql| check(connection, sql));
    Ok(problems.into_iter().find(|problem| !problem.starts_with("cannot modify")))
}
