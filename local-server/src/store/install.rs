//! Brings a catalog's tables, indexes and triggers into the file.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, DefaultValue, Table};

use crate::store::error::{Result, StoreError};
use crate::store::rows::{base_table, live_table, quoted, theirs_table};
use crate::store::{capture, hidden, noted, references, schema};

/// A catalog that a site's tables cannot be brought to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "table {table}: {what}; this version of Rejoin changes a site's tables only by tables and columns that are dropped, new tables and new nullable columns. Ask for schema motion"
)]
pub struct SchemaError {
    /// The table.
    pub table: String,
    /// What changed.
    pub what: String,
}

/// Builds the tables of a catalog, or changes those of the one before, and stores it. To be run in a transaction of
/// [`Database::apply`](crate::store::Database::apply), and followed by [`Database::set_catalog`](crate::store::Database::set_catalog).
///
/// # Errors
/// The change is one that is not supported yet; nothing was changed then.
pub fn install(connection: &Connection, before: Option<&Catalog>, catalog: &Catalog, site: &str) -> Result<()> {
    let kept = before.map(|before| hidden::without_dropped(before, catalog));
    if let (Some(before), Some(kept)) = (before, &kept) {
        check(kept, catalog)?;
        hidden::hide(connection, before, kept, site)?;
    }
    let before = kept.as_ref();
    for table in &catalog.tables {
        match before.and_then(|before| before.table(table.no)) {
            None => schema::tables(catalog, table, site).iter().try_for_each(|sql| connection.execute_batch(sql))?,
            Some(old) => {
                add_columns(connection, old, table)?;
                noted::follow_policies(connection, table)?;
            }
        }
    }
    refresh(connection, catalog, site)?;
    let body = serde_json::to_string(catalog).map_err(|error| StoreError::Db(crate::store::DbError::Catalog(error)))?;
    connection.execute("DELETE FROM rejoin_catalog", [])?;
    connection.execute("INSERT INTO rejoin_catalog (version, body) VALUES (?1, ?2)", (catalog.version.0, body))?;
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

fn check(before: &Catalog, after: &Catalog) -> std::result::Result<(), SchemaError> {
    for old in &before.tables {
        let refuse = |what: String| SchemaError { table: old.name.clone(), what };
        let new = after.table(old.no).ok_or_else(|| refuse("it is no longer synced".into()))?;
        if new.sqlite_name() != old.sqlite_name() {
            return Err(refuse(format!("it was renamed to {}", new.name)));
        }
        if new.key != old.key || new.stamps != old.stamps {
            return Err(refuse("its key or its versioning columns changed".into()));
        }
        if schema::declared_references(before, old) != schema::declared_references(after, new) {
            return Err(refuse("its references changed".into()));
        }
        for column in &old.columns {
            match new.column(column.no) {
                None => return Err(refuse(format!("column {} was dropped", column.name))),
                Some(now) if schema::live_column(new, now) != schema::live_column(old, column) => {
                    return Err(refuse(format!("column {} changed its name, type, default or NOT NULL", column.name)));
                }
                Some(_) => {}
            }
        }
        if let Some(column) = added(old, new).find(|column| !can_add(column)) {
            return Err(refuse(format!("the new column {} is NOT NULL or has a default that differs by row", column.name)));
        }
    }
    Ok(())
}

fn added<'a>(old: &'a Table, new: &'a Table) -> impl Iterator<Item = &'a Column> {
    new.columns.iter().filter(|column| old.column(column.no).is_none())
}

fn can_add(column: &Column) -> bool {
    match &column.default {
        None | Some(DefaultValue::Cloud | DefaultValue::Leased) => !column.not_null,
        Some(DefaultValue::Constant(value)) => !column.not_null || !value.is_null(),
        Some(DefaultValue::Now | DefaultValue::Uuid) => false,
    }
}

/// A new column has the same value in all images of a row, so that nobody looks like having edited it.
fn add_columns(connection: &Connection, old: &Table, new: &Table) -> Result<()> {
    for column in added(old, new) {
        connection.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {}", live_table(new), schema::live_column(new, column)))?;
        if new.engine {
            continue;
        }
        let name = quoted(&column.name);
        for companion in [base_table(new), theirs_table(new)] {
            connection.execute_batch(&format!("ALTER TABLE {companion} ADD COLUMN {name} {}", schema::storage(&column.ty)))?;
        }
        if let Some(value) = column.default.as_ref().and_then(|default| schema::default_sql(column, default)) {
            connection.execute_batch(&format!(
                "UPDATE {} SET {name} = {value} WHERE rejoin_kind = 'change'; UPDATE {} SET {name} = {value} WHERE rejoin_state = 'live'",
                base_table(new),
                theirs_table(new)
            ))?;
        }
    }
    Ok(())
}
