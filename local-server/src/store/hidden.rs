//! Columns and tables that the cloud no longer has, kept out of sight as long as an unsent edit is of them.
//!
//! To the sync a hidden column is a column like any other, under its old number: `extend` puts it back into the catalog, so that the edit is
//! cut, pushed and answered as any edit, and parks at the cloud. In the file it is `rejoin_hidden_<no>`, NULL but in the rows (live and base)
//! whose edit is of it; so neither the capture triggers nor what a program inserts need to know it. Of a hidden table,
//! `rejoin_hidden_table_<no>`, only the dirty rows are left. [`tidy`] removes both once nothing waits any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use sync_core::catalog::{Catalog, Column, DefaultValue, Reference, Table};
use sync_core::change::{Edit, Op, RowChange};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::policy::Policy;
use sync_core::value::Value;

use super::error::{Result, StoreError};
use super::plan::Plan;
use super::rows::{base_table, live_table, quoted, theirs_table};
use super::schema;

/// How the names of hidden columns and tables begin.
const PREFIX: &str = "rejoin_hidden_";

/// Whether a column of an extended catalog is hidden.
#[must_use]
pub fn is_hidden(column: &Column) -> bool {
    column.name.starts_with(PREFIX)
}

/// Whether a table of an extended catalog is hidden.
#[must_use]
pub fn is_hidden_table(table: &Table) -> bool {
    table.name.starts_with(PREFIX)
}

fn hide_column(column: &Column) -> Column {
    let name = format!("{PREFIX}{}", column.no);
    Column { name, not_null: false, default: None, max_length: None, policy: Policy::Manual, ..column.clone() }
}

fn hide_table(table: &Table) -> Table {
    let columns = table.columns.iter().map(|column| Column { policy: Policy::Manual, default: None, ..column.clone() });
    Table {
        schema: "public".to_owned(),
        name: format!("{PREFIX}table_{}", table.no),
        columns: columns.collect(),
        uniques: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        groups: Vec::new(),
        ..table.clone()
    }
}

/// The plan of a catalog with what is hidden.
///
/// # Errors
/// The database.
pub fn plan(connection: &Connection, catalog: Arc<Catalog>) -> Result<Plan> {
    let extended = extended(connection, &catalog)?;
    Ok(Plan::new(extended.map_or(catalog, Arc::new)))
}

/// The catalog with what is hidden; `None` where nothing is.
///
/// # Errors
/// The database.
pub fn extended(connection: &Connection, catalog: &Catalog) -> Result<Option<Catalog>> {
    let hidden = stored(connection)?;
    Ok((!hidden.is_empty()).then(|| extend(catalog, &hidden)))
}

type Stored = BTreeMap<(TableNo, ColumnNo), String>;

fn stored(connection: &Connection) -> Result<Stored> {
    let mut statement = connection.prepare_cached("SELECT table_no, column_no, body FROM rejoin_hidden")?;
    let rows = statement.query_map([], |row| Ok(((TableNo(row.get(0)?), ColumnNo(row.get(1)?)), row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn extend(catalog: &Catalog, hidden: &Stored) -> Catalog {
    let mut extended = catalog.clone();
    for ((table, column), body) in hidden {
        if column.0 == 0 {
            if let Ok(table) = serde_json::from_str::<Table>(body) {
                extended.tables.push(hide_table(&table));
            }
        } else if let Some(table) = extended.tables.iter_mut().find(|known| known.no == *table)
            && let Ok(column) = serde_json::from_str::<Column>(body)
        {
            table.columns.push(hide_column(&column));
            table.columns.sort_by_key(|column| column.no);
        }
    }
    extended.tables.sort_by_key(|table| table.no);
    extended
}

/// Leaves out of a change what it does not say of hidden columns.
pub fn strip(table: &Table, change: &mut RowChange) {
    if !table.columns.iter().any(is_hidden) {
        return;
    }
    let hidden = |no: ColumnNo| table.column(no).is_some_and(is_hidden);
    match &mut change.op {
        Op::Insert(values) => values.retain(|(no, value): &(ColumnNo, Value)| !hidden(*no) || !value.is_null()),
        Op::Delete(values) => values.retain(|(no, _)| !hidden(*no)),
        Op::Update(edits) | Op::Rekey(_, edits) => edits.retain(|edit: &Edit| !hidden(edit.column) || edit.base != edit.new),
    }
}

/// The catalog before, without what the new one no longer has.
pub fn without_dropped(before: &Catalog, after: &Catalog) -> Catalog {
    let mut kept = before.clone();
    kept.tables.retain(|table| table.engine || after.table(table.no).is_some());
    let has = |table: TableNo, column: &ColumnNo| after.table(table).is_some_and(|table| table.column(*column).is_some());
    for table in &mut kept.tables {
        let no = table.no;
        // A key is never dropped: the check says so.
        table.columns.retain(|column| table.key.contains(&column.no) || has(no, &column.no));
        table.uniques.retain(|unique| unique.columns.iter().all(|column| has(no, column)));
        table.indexes.retain(|index| index.columns.iter().all(|column| has(no, column)));
        let stays = |reference: &Reference| {
            reference.columns.iter().all(|column| has(no, column)) && reference.target.iter().all(|column| has(reference.table, column))
        };
        table.references.retain(stays);
    }
    kept
}

/// Takes columns and tables that the new catalog no longer has out of sight, or away where no unsent edit is of them. `kept`: the catalog
/// before without them.
///
/// # Errors
/// The database.
pub fn hide(connection: &Connection, before: &Catalog, kept: &Catalog, site: &str) -> Result<()> {
    let gone = |old: &Table| match kept.table(old.no) {
        Some(table) => table.columns.len() < old.columns.len(),
        None => true,
    };
    let changed: Vec<&Table> = before.tables.iter().filter(|old| gone(old)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    // They are made anew at the end; meanwhile they would name what is not there.
    drop_triggers(connection)?;
    let extended = extend(before, &stored(connection)?);
    for old in changed {
        let Some(extended) = extended.table(old.no) else { continue };
        match kept.table(old.no) {
            Some(table) => hide_columns(connection, kept, old, extended, table, site)?,
            None => hide_whole(connection, kept, extended, site)?,
        }
    }
    Ok(())
}

fn drop_triggers(connection: &Connection) -> Result<()> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'rejoin\\_%' ESCAPE '\\'")?;
    let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names.iter().try_for_each(|name| connection.execute_batch(&format!("DROP TRIGGER {}", quoted(name))))?)
}

/// `old`: the table as it was, `extended`: with what was hidden before, `table`: without what is dropped.
fn hide_columns(connection: &Connection, kept: &Catalog, old: &Table, extended: &Table, table: &Table, site: &str) -> Result<()> {
    let dropped: Vec<&Column> = old.columns.iter().filter(|column| table.column(column.no).is_none()).collect();
    let mut rebuilt = table.clone();
    rebuilt.columns.extend(extended.columns.iter().filter(|column| is_hidden(column)).cloned());
    let mut values: Vec<(String, String)> =
        rebuilt.columns.iter().map(|column| quoted(&column.name)).map(|name| (name.clone(), name)).collect();
    connection
        .execute_batch("CREATE TEMP TABLE rejoin_edited (column_no INTEGER, rejoin_row INTEGER, PRIMARY KEY (column_no, rejoin_row))")?;
    let companions = if table.engine { vec![] } else { vec![base_table(old), theirs_table(old)] };
    for column in dropped {
        let name = quoted(&column.name);
        let edited = if table.engine { 0 } else { connection.execute(&edited(old, column), [])? };
        if edited == 0 {
            companions.iter().try_for_each(|companion| connection.execute_batch(&format!("ALTER TABLE {companion} DROP COLUMN {name}")))?;
            continue;
        }
        let hidden = hide_column(column);
        let new = quoted(&hidden.name);
        let mine = format!("SELECT rejoin_row FROM temp.rejoin_edited WHERE column_no = {}", column.no);
        connection.execute_batch(&format!(
            "UPDATE {base} SET {name} = NULL WHERE rejoin_row NOT IN ({mine}); UPDATE {theirs} SET {name} = NULL;
             ALTER TABLE {base} RENAME COLUMN {name} TO {new}; ALTER TABLE {theirs} RENAME COLUMN {name} TO {new}",
            base = base_table(old),
            theirs = theirs_table(old),
        ))?;
        values.push((new, format!("CASE WHEN rejoin_row IN ({mine}) THEN {name} END")));
        store(connection, old.no, column.no, column)?;
        tracing::info!(table = old.name, column = column.name, edited, "the cloud dropped a column of which edits are not sent yet");
        rebuilt.columns.push(hidden);
    }
    rebuilt.columns.sort_by_key(|column| column.no);
    rebuild(connection, kept, &rebuilt, &live_table(old), &values, "", site)?;
    Ok(connection.execute_batch("DROP TABLE temp.rejoin_edited")?)
}

/// Notes the rows that hold an unsent edit of a column.
fn edited(table: &Table, column: &Column) -> String {
    let (base, live, name) = (base_table(table), live_table(table), quoted(&column.name));
    let default = match &column.default {
        Some(DefaultValue::Constant(value)) => schema::literal(value),
        _ => "NULL".to_owned(),
    };
    format!(
        "INSERT INTO temp.rejoin_edited SELECT {}, l.rejoin_row FROM {base} b JOIN {live} l ON l.rejoin_row = b.rejoin_row
         WHERE b.rejoin_kind = 'change' AND l.{name} IS NOT b.{name}
            OR b.rejoin_kind = 'insert' AND l.{name} IS NOT NULL AND l.{name} IS NOT {default}",
        column.no
    )
}

fn hide_whole(connection: &Connection, kept: &Catalog, table: &Table, site: &str) -> Result<()> {
    let (base, theirs, live) = (base_table(table), theirs_table(table), live_table(table));
    connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1", [table.no.0])?;
    let dirty: bool = connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {base} WHERE rejoin_row > 0)"), [], |row| row.get(0))?;
    if !dirty {
        connection.execute_batch(&format!("DROP TABLE {live}; DROP TABLE {base}; DROP TABLE {theirs}"))?;
    } else {
        let hidden = hide_table(table);
        let values: Vec<_> = hidden.columns.iter().map(|column| quoted(&column.name)).map(|name| (name.clone(), name)).collect();
        let dirty = format!(" WHERE rejoin_row IN (SELECT rejoin_row FROM {base})");
        rebuild(connection, kept, &hidden, &live, &values, &dirty, site)?;
        store(connection, table.no, ColumnNo(0), table)?;
        tracing::info!(table = table.name, "the cloud dropped a table of which edits are not sent yet");
    }
    for notes in ["rejoin_additions", "rejoin_times"] {
        connection.execute(&format!("DELETE FROM {notes} WHERE table_no = ?1"), [table.no.0])?;
    }
    Ok(())
}

fn store(connection: &Connection, table: TableNo, column: ColumnNo, body: &impl serde::Serialize) -> Result<()> {
    let body = serde_json::to_string(body).map_err(|error| StoreError::Stored(error.to_string()))?;
    connection.execute("INSERT INTO rejoin_hidden (table_no, column_no, body) VALUES (?1, ?2, ?3)", (table.0, column.0, body))?;
    Ok(())
}

/// Makes the live table anew as `table` says, with the rows of `old`. `values`: each column with what it takes.
fn rebuild(
    connection: &Connection,
    catalog: &Catalog,
    table: &Table,
    old: &str,
    values: &[(String, String)],
    which: &str,
    site: &str,
) -> Result<()> {
    let aside = Table { schema: "public".to_owned(), name: format!("rejoin_rebuilt_{}", table.no), engine: false, ..table.clone() };
    let new = live_table(&aside);
    connection.execute_batch(&schema::live(catalog, &aside, site))?;
    let stamps = &table.stamps;
    let mut into: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
    let mut from: Vec<String> = values.iter().map(|(_, value)| value.clone()).collect();
    let own = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quoted(name));
    for name in own.into_iter().chain(["rejoin_row", "rejoin_scope", "rejoin_tick", "rejoin_held"].map(str::to_owned)) {
        into.push(name.clone());
        from.push(name);
    }
    connection.execute_batch(&format!("INSERT INTO {new} ({}) SELECT {} FROM {old}{which}", into.join(", "), from.join(", ")))?;
    // A row number is never used again.
    let names = (unquoted(&new), unquoted(old));
    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&names.0])?;
    connection
        .execute("INSERT INTO sqlite_sequence (name, seq) SELECT ?1, seq FROM sqlite_sequence WHERE name = ?2", (&names.0, &names.1))?;
    Ok(connection.execute_batch(&format!("DROP TABLE {old}; ALTER TABLE {new} RENAME TO {}", live_table(table)))?)
}

fn unquoted(name: &str) -> String {
    name.trim_matches('"').replace("\"\"", "\"")
}

/// Removes what is hidden and of which no edit waits any more; whether anything was, so that the plan must be made anew.
///
/// # Errors
/// The database.
pub fn tidy(connection: &Connection, plan: &Plan) -> Result<bool> {
    let mut removed = false;
    for table in plan.catalog.tables.iter().filter(|table| !table.engine) {
        let (base, theirs, live) = (base_table(table), theirs_table(table), live_table(table));
        let any = |sql: &str| connection.query_row(&format!("SELECT EXISTS ({sql})"), [], |row| row.get::<_, bool>(0));
        if is_hidden_table(table) {
            if !any(&format!("SELECT 1 FROM {base} WHERE rejoin_row > 0"))? {
                connection.execute_batch(&format!("DROP TABLE {live}; DROP TABLE {base}; DROP TABLE {theirs}"))?;
                connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1", [table.no.0])?;
                removed = true;
            }
            continue;
        }
        for column in table.columns.iter().filter(|column| is_hidden(column)) {
            let name = quoted(&column.name);
            let waits = format!(
                "SELECT 1 FROM {base} b JOIN {live} l ON l.rejoin_row = b.rejoin_row
                 WHERE b.rejoin_kind = 'change' AND l.{name} IS NOT b.{name} OR b.rejoin_kind = 'insert' AND l.{name} IS NOT NULL"
            );
            if any(&waits)? {
                // What is accepted with it is nobody's edit any more.
                let clean = format!("NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = {live}.rejoin_row)");
                connection.execute(&format!("UPDATE {live} SET {name} = NULL WHERE {name} IS NOT NULL AND {clean}"), [])?;
                continue;
            }
            for holder in [&live, &base, &theirs] {
                connection.execute_batch(&format!("ALTER TABLE {holder} DROP COLUMN {name}"))?;
            }
            connection.execute("DELETE FROM rejoin_hidden WHERE table_no = ?1 AND column_no = ?2", (table.no.0, column.no.0))?;
            tracing::info!(table = table.name, column = column.no.0, "a dropped column is gone here too");
            removed = true;
        }
    }
    Ok(removed)
}
