//! Whoever may write into a site's file: our driver, or the `sqlite3` program, with either setting of the pragmas that matter.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use rusqlite::Connection;

/// A program that runs SQL on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The SQLite that we link.
    Linked,
    /// The machine's `sqlite3`, 3.40 or newer.
    Sqlite3,
}

/// How it runs SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shell {
    pub(crate) program: Program,
    pub(crate) recursive_triggers: bool,
    pub(crate) foreign_keys: bool,
}

impl Shell {
    /// Every combination.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for program in [Program::Linked, Program::Sqlite3] {
            for recursive_triggers in [false, true] {
                all.extend([false, true].map(|foreign_keys| Self { program, recursive_triggers, foreign_keys }));
            }
        }
        all
    }

    /// Runs a script; the error of the first statement that fails.
    pub(crate) fn run(self, file: &Path, sql: &str) -> Result<(), String> {
        let flag = |on: bool| if on { "ON" } else { "OFF" };
        let pragmas =
            format!("PRAGMA recursive_triggers = {};\nPRAGMA foreign_keys = {};\n", flag(self.recursive_triggers), flag(self.foreign_keys));
        match self.program {
            Program::Linked => {
                let connection = Connection::open(file).map_err(|error| error.to_string())?;
                connection.execute_batch(&format!("{pragmas}{sql}")).map_err(|error| error.to_string())
            }
            Program::Sqlite3 => {
                let mut child = Command::new("sqlite3")
                    .args(["-batch", "-bail"])
                    .arg(file)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the sqlite3 program is installed");
                child.stdin.take().unwrap().write_all(format!("{pragmas}{sql};\n").as_bytes()).unwrap();
                let output = child.wait_with_output().unwrap();
                if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
            }
        }
    }
}

/// One of these statements, or several in a savepoint that is kept or rolled back.
pub(crate) fn step(statement: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let statement = statement.boxed();
    prop_oneof![
        6 => statement.clone(),
        1 => (prop::collection::vec(statement, 1..4), any::<bool>()).prop_map(|(all, keep)| {
            let end = if keep { "RELEASE s" } else { "ROLLBACK TO s; RELEASE s" };
            format!("SAVEPOINT s; {}; {end}", all.join("; "))
        }),
    ]
}

/// A file of its own with the capture catalog built and some rows confirmed by the cloud.
pub(crate) struct Site {
    _folder: tempfile::TempDir,
    pub(crate) file: PathBuf,
}

impl Site {
    /// `rows`: statements run as the sync writer does.
    pub(crate) fn with(rows: &str) -> Self {
        Self::of(&crate::fixture::capture_catalog(), rows)
    }

    /// The same of another catalog.
    pub(crate) fn of(catalog: &sync_core::catalog::Catalog, rows: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("site.db");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY").unwrap();
        crate::fixture::build(&connection, catalog);
        crate::fixture::as_sync(&connection, rows);
        Self { _folder: folder, file }
    }

    pub(crate) fn open(&self) -> Connection {
        Connection::open(&self.file).unwrap()
    }
}
