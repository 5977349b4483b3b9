//! Brings a catalog's tables, indexes and triggers into the file.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sync_core::catalog::Catalog;
use sync_core::catalog::names::folded;

use crate::store::db::DbError;
use crate::store::error::{Result, StoreError};
use crate::store::rows::quoted;
use crate::store::{capture, motion, references, schema};

/// A catalog that a site's tables cannot be brought to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}: {what}. Until then this site keeps the catalog that it has, and pulls nothing")]
pub struct SchemaError {
    /// The table, as it would be named here.
    pub table: String,
    /// What is in the way, and what to do.
    pub what: String,
}

/// Builds the tables of a catalog, or migrates those of the one before, and stores it. To be run in a transaction of
/// [`Database::apply`](crate::store::Database::apply), and followed by [`Database::set_catalog`](crate::store::Database::set_catalog).
///
/// # Errors
/// A table of another program has a name that the catalog needs; the database. The transaction must be rolled back then.
pub fn install(connection: &Connection, before: Option<&Catalog>, catalog: &Catalog, site: &str) -> Result<()> {
    check_names(connection, before, catalog)?;
    match before {
        Some(before) => motion::migrate(connection, before, catalog, site)?,
        None => {
            for table in &catalog.tables {
                schema::tables(catalog, table, site).iter().try_for_each(|sql| connection.execute_batch(sql))?;
            }
        }
    }
    refresh(connection, catalog, site)?;
    let body = serde_json::to_string(catalog).map_err(|error| StoreError::Db(DbError::Catalog(error)))?;
    connection.execute("DELETE FROM rejoin_catalog", [])?;
    connection.execute("INSERT INTO rejoin_catalog (version, body) VALUES (?1, ?2)", (catalog.version.0, body))?;
    Ok(())
}

/// Whether the tables are still those of this catalog, which the caller looked up before its transaction began.
///
/// # Errors
/// [`DbError::Busy`]: another one was taken meanwhile, under which names may mean something else; the database.
pub fn check_current(connection: &Connection, catalog: &Catalog) -> std::result::Result<(), DbError> {
    let version: i64 = connection.prepare_cached("SELECT version FROM rejoin_catalog")?.query_row([], |row| row.get(0))?;
    if version == catalog.version.0 { Ok(()) } else { Err(DbError::Busy) }
}

/// Whether SQLite can hold the names. Programs of this machine may have tables of their own in the file.
fn check_names(connection: &Connection, before: Option<&Catalog>, catalog: &Catalog) -> Result<()> {
    let ours: Vec<String> = before.iter().flat_map(|before| &before.tables).map(|table| folded(&table.sqlite_name())).collect();
    if let Some((table, clash)) = catalog.name_clash() {
        let what = format!("{clash}. Rename it at the cloud, or leave it out there in rejoin.toml");
        return Err(SchemaError { table: table.sqlite_name(), what }.into());
    }
    for table in &catalog.tables {
        let name = table.sqlite_name();
        let taken = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = ?1)";
        if !ours.contains(&folded(&name)) && connection.query_row(taken, [folded(&name)], |row| row.get(0))? {
            let what = "the cloud has a table of this name now, and a program here has made one that is not synced. Rename that one in the site's database";
            return Err(SchemaError { table: name, what: what.to_owned() }.into());
        }
    }
    Ok(())
}

/// Makes the indexes and triggers what this program's text says: also when a newer program finds those of an older one.
///
/// # Errors
/// The database.
pub fn refresh(connection: &Connection, catalog: &Catalog, site: &str) -> Result<()> {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for table in &catalog.tables {
        wanted.extend(schema::indexes(table));
        wanted.extend(capture::triggers(table, site));
        wanted.extend(references::triggers(catalog, table));
    }
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND name LIKE 'rejoin\\_%' ESCAPE '\\' AND sql IS NOT NULL",
    )?;
    let present = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let present: Vec<(String, String, String)> = present.collect::<rusqlite::Result<_>>()?;
    for (kind, name, sql) in present {
        if wanted.get(&name) == Some(&sql) {
            wanted.remove(&name);
        } else {
            connection.execute_batch(&format!("DROP {kind} {}", quoted(&name)))?;
        }
    }
    wanted.values().try_for_each(|sql| connection.execute_batch(sql))?;
    Ok(())
}
