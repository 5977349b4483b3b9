//! Versioned, forward-only migrations: the engine's own tables, then those of a built-in system. Each set keeps its history in the
//! schema `rejoin`. Two servers that start at once do not meet: whoever prepares the database holds an advisory lock.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use refinery::{Migration, Runner};
use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::StoreError;
use super::pool::Database;
use crate::systems::BuiltIn;

/// The engine's migrations: file name without `.sql`, and text.
const ENGINE: &[(&str, &str)] = &[
    ("V1__engine", include_str!("../../../migrations/postgres/V1__engine.sql")),
    ("V2__conflicts", include_str!("../../../migrations/postgres/V2__conflicts.sql")),
    ("V3__schema", include_str!("../../../migrations/postgres/V3__schema.sql")),
];

/// Where the engine's are written down, in the schema `rejoin`.
const HISTORY: &str = "migrations";

/// The oldest PostgreSQL that we run on.
const SERVER_VERSION_MIN: i32 = 150_000;

/// The advisory lock's number: "Rejoin" in ASCII.
const LOCK: i64 = 0x5265_6a6f_696e;

/// The number of the one under which rows are fed.
pub(super) const FEED_LOCK: i64 = LOCK + 1;

/// How often it is asked for while somebody else has it.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// One migration, and whether it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Whose: `engine`, or the built-in system's name.
    pub set: String,
    /// Its number in the set, from 1.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was applied (RFC 3339); `None` while it is pending.
    pub applied_on: Option<String>,
}

/// Why the database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// PostgreSQL is too old.
    #[error("PostgreSQL {0} is too old: Rejoin needs 15 or newer")]
    ServerTooOld(String),
    /// A newer program was here.
    #[error("the database is newer than this program: {set} is at version {found}, this program knows {known}; run the newer program")]
    Newer {
        /// Whose migrations.
        set: String,
        /// The newest applied.
        found: i32,
        /// The newest known.
        known: i32,
    },
    /// The role may not make what the engine needs.
    #[error("the role {role} may not create the schema rejoin in this database: connect as the role that owns it ({error})")]
    NotOwner {
        /// The role.
        role: String,
        /// What PostgreSQL said.
        error: String,
    },
    /// The database holds another built-in system.
    #[error("the database holds the system {found}, not {wanted}")]
    OtherSystem {
        /// The one that it holds.
        found: String,
        /// The one asked for.
        wanted: String,
    },
    /// Tables that the engine's migrations made are gone.
    #[error("{}: {LOST}", lost_words(.0))]
    Lost(Vec<String>),
    /// A migration failed; it left nothing behind.
    #[error("{0}")]
    Failed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to do where tables of ours are gone: what they held is nowhere else.
pub(super) const LOST: &str = "restore the schema rejoin from a backup, with the cloud stopped; without one rejoin detach --yes and rejoin attach begin anew: \
     users, conflicts and history are gone then, and every site has to be enrolled again";

/// "rejoin.users is gone".
pub(super) fn lost_words(tables: &[String]) -> String {
    format!("{} {} gone", tables.join(", "), if tables.len() == 1 { "is" } else { "are" })
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<refinery::Error> for MigrateError {
    fn from(error: refinery::Error) -> Self {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(words, ": {cause}");
            source = cause.source();
        }
        Self::Failed(words)
    }
}

/// A set of migrations with a history of its own.
struct Set {
    name: String,
    runner: Runner,
    history: String,
}

/// A connection of its own that holds the lock until it is dropped.
pub(crate) async fn locked(db: &Database) -> Result<ClientWrapper, MigrateError> {
    Ok(locked_by(db, LOCK).await?)
}

/// The same with another lock.
pub(super) async fn locked_by(db: &Database, lock: i64) -> Result<ClientWrapper, StoreError> {
    let client = Object::take(db.client().await?);
    client.batch_execute("SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
    let mut told = false;
    // Not by waiting in the database: an index built concurrently waits for whoever waits there, who waits for the lock.
    while !client.query_one("SELECT pg_try_advisory_lock($1)", &[&lock]).await?.get::<_, bool>(0) {
        if !std::mem::replace(&mut told, true) {
            tracing::info!("another server is at this database; waiting for it");
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
    client.batch_execute("SET lock_timeout = '10s'").await?;
    Ok(client)
}

/// Every migration, applied or not.
///
/// # Errors
/// The store failed, or was migrated by a newer program.
pub async fn status(db: &Database, system: Option<BuiltIn>) -> Result<Vec<Step>, MigrateError> {
    let client = db.client().await?;
    let mut steps = Vec::new();
    for set in sets(system)? {
        let mut applied = applied(&client, &set).await?;
        for migration in set.runner.get_migrations() {
            steps.push(step(&set, migration, applied.remove(&migration.version())));
        }
    }
    Ok(steps)
}

/// Applies what is pending; returns what was applied.
///
/// # Errors
/// See [`MigrateError`]. What was applied before the error stays.
pub async fn up(db: &Database, system: Option<BuiltIn>) -> Result<Vec<Step>, MigrateError> {
    up_on(&mut locked(db).await?, system).await
}

/// The SQL that [`up`] would run; empty when nothing is pending.
///
/// # Errors
/// The store failed, or was migrated by a newer program.
pub async fn dry_run(db: &Database, system: Option<BuiltIn>) -> Result<String, MigrateError> {
    let client = db.client().await?;
    let mut sql = String::new();
    for set in sets(system)? {
        let applied = applied(&client, &set).await?;
        let is_pending = |migration: &&Migration| !applied.contains_key(&migration.version());
        for migration in set.runner.get_migrations().iter().filter(is_pending) {
            let _ = writeln!(sql, "-- {} {migration}\n{}", set.name, migration.sql().unwrap_or_default().trim_end());
        }
    }
    Ok(sql)
}

pub(super) async fn up_on(client: &mut ClientWrapper, system: Option<BuiltIn>) -> Result<Vec<Step>, MigrateError> {
    check_server(client).await?;
    // Whatever the role's own search_path: a system's tables stand in public.
    client.batch_execute("SET search_path = public").await?;
    let lost = lost(client).await?;
    if !lost.is_empty() {
        return Err(MigrateError::Lost(lost));
    }
    let mut steps = Vec::new();
    for set in sets(system)? {
        let before = applied(client, &set).await?;
        if set.name != "engine" {
            claim_system(client, &set.name).await?;
        }
        set.runner.run_async(&mut **client).await?;
        for (version, applied_on) in applied(client, &set).await?.into_iter().filter(|(version, _)| !before.contains_key(version)) {
            if let Some(migration) = set.runner.get_migrations().iter().find(|migration| migration.version() == version) {
                tracing::info!(set = %set.name, %migration, "migrated");
                steps.push(step(&set, migration, Some(applied_on)));
            }
        }
    }
    client.batch_execute("RESET search_path").await?;
    Ok(steps)
}

async fn check_server(client: &ClientWrapper) -> Result<(), MigrateError> {
    let row = client.query_one("SELECT current_setting('server_version_num')::integer, version(), session_user::text", &[]).await?;
    if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
        return Err(MigrateError::ServerTooOld(row.get(1)));
    }
    client.batch_execute("CREATE SCHEMA IF NOT EXISTS rejoin").await.map_err(|error| match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => MigrateError::NotOwner { role: row.get(2), error: StoreError::from(error).to_string() },
        _ => error.into(),
    })
}

/// Remembers the built-in system, or finds that it is another one.
async fn claim_system(client: &ClientWrapper, name: &str) -> Result<(), MigrateError> {
    client.execute("INSERT INTO rejoin.state (key, value) VALUES ('system', $1) ON CONFLICT (key) DO NOTHING", &[&name]).await?;
    let found: String = client.query_one("SELECT value FROM rejoin.state WHERE key = 'system'", &[]).await?.get(0);
    if found == name { Ok(()) } else { Err(MigrateError::OtherSystem { found, wanted: name.to_owned() }) }
}

fn sets(system: Option<BuiltIn>) -> Result<Vec<Set>, MigrateError> {
    let engine = ("engine", format!("rejoin.{HISTORY}"), ENGINE);
    let system = system.map(|system| (system.name, format!("rejoin.migrations_{}", system.name.replace('-', "_")), system.migrations));
    std::iter::once(engine)
        .chain(system)
        .map(|(name, history, files)| {
            let migrations: Result<Vec<_>, _> = files.iter().map(|(name, sql)| Migration::unapplied(name, sql)).collect();
            let mut runner = Runner::new(&migrations?);
            runner.set_migration_table_name(&history);
            Ok(Set { name: name.to_owned(), runner, history })
        })
        .collect()
}

/// What was applied of a set: versions, and when.
async fn applied(client: &ClientWrapper, set: &Set) -> Result<BTreeMap<i32, String>, MigrateError> {
    let there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&set.history]).await?.get(0);
    if !there {
        return Ok(BTreeMap::new());
    }
    let rows = client.query(&format!("SELECT version, applied_on FROM {}", set.history), &[]).await?;
    let applied: BTreeMap<i32, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let found = applied.keys().last().copied().unwrap_or(0);
    let known = set.runner.get_migrations().iter().map(Migration::version).max().unwrap_or(0);
    if found > known {
        return Err(MigrateError::Newer { set: set.name.clone(), found, known });
    }
    Ok(applied)
}

/// The tables of the engine that should be there, by the migrations that were applied, and are not: somebody dropped them.
///
/// # Errors
/// The store failed.
pub(super) async fn lost(client: &Client) -> Result<Vec<String>, StoreError> {
    let there: Vec<String> = client
        .query("SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('rejoin') AND relkind IN ('r', 'p')", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let is_there = |name: &str| there.iter().any(|table| table == name);
    let newest: i32 = match is_there(HISTORY) {
        true => client.query_one(&format!("SELECT coalesce(max(version), 0) FROM rejoin.{HISTORY}"), &[]).await?.get(0),
        // Every other would be made anew beside what is left.
        false if there.iter().any(|table| made_by(i32::MAX).any(|made| made == table)) => i32::MAX,
        false => return Ok(Vec::new()),
    };
    let lost = std::iter::once(HISTORY).chain(made_by(newest)).filter(|name| !is_there(name));
    Ok(lost.map(|name| format!("rejoin.{name}")).collect())
}

/// The tables that the engine's migrations up to this version make; none of them drops or renames one.
fn made_by(version: i32) -> impl Iterator<Item = &'static str> {
    let applied = ENGINE.iter().zip(1..).filter(move |(_, number)| *number <= version);
    applied.flat_map(|((_, sql), _)| sql.lines()).filter_map(|line| line.strip_prefix("CREATE TABLE rejoin.")?.split([' ', '(']).next())
}

fn step(set: &Set, migration: &Migration, applied_on: Option<String>) -> Step {
    Step { set: set.name.clone(), version: migration.version(), name: migration.name().to_owned(), applied_on }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_migration_file_of_the_engine_is_built_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/postgres");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        let built_in: Vec<std::ffi::OsString> = super::ENGINE.iter().map(|(name, _)| format!("{name}.sql").into()).collect();
        assert_eq!(files, built_in);
    }

    #[test]
    fn every_table_that_the_migrations_make_is_known() {
        let made: Vec<_> = super::made_by(i32::MAX).collect();
        let written: usize = super::ENGINE.iter().map(|(_, sql)| sql.matches("CREATE TABLE").count()).sum();
        assert_eq!(made.len(), written, "{made:?}");
        assert!(super::ENGINE.iter().all(|(_, sql)| !sql.contains("DROP TABLE") && !sql.contains(" RENAME TO ")));
    }
}
