//! The inbox: conflicts of one cause are one line, however many they are.

use conflict_ui_api::backend::{ConflictGroup, ConflictQuery};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::Catalog;
use sync_core::id::ConflictId;
use sync_core::limits::GROUP_COLUMNS_MAX;
use uuid::Uuid;

use super::filter::{Conditions, GROUP};
use super::{Source, show};
use crate::store::error::Result;

/// Whether a conflict is shown inside another one: while both are open, and ever after where it is decided.
const HANGS: &str = "(c.root_id IS NOT NULL AND (c.resolution <> 'PENDING' OR EXISTS (
    SELECT 1 FROM sync_conflicts r WHERE r.id = c.root_id AND r.resolution = 'PENDING')))";

/// What a group's line says without looking into it.
struct Line {
    id: String,
    conflicts: i64,
    dependents: i64,
    first_at: String,
    last_at: String,
}

/// At most `query.limit` groups, the newest first.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn groups(connection: &Connection, catalog: &Catalog, query: &ConflictQuery) -> Result<Vec<ConflictGroup>> {
    let Some(source) = Source::of(connection)? else { return Ok(Vec::new()) };
    let mut groups = Vec::new();
    for line in lines(connection, &source, query)? {
        let mut conditions = Conditions::of(&query.filter);
        conditions.in_group(&line.id);
        let columns = columns(connection, &source, &conditions)?;
        let rest = format!("WHERE {} ORDER BY {HANGS}, c.created_at, c.id LIMIT 1", conditions.sql());
        let Some(example) = show::select(connection, catalog, &source, &rest, params_from_iter(conditions.values))?.pop() else { continue };
        groups.push(ConflictGroup {
            id: Uuid::try_parse(&line.id).unwrap_or_default(),
            table_name: example.table_name.clone(),
            kind: example.kind,
            site: example.site.clone(),
            conflicts: u64::try_from(line.conflicts).unwrap_or_default(),
            dependents: u64::try_from(line.dependents).unwrap_or_default(),
            columns,
            first_at: line.first_at.parse().unwrap_or(example.created_at),
            last_at: line.last_at.parse().unwrap_or(example.created_at),
            example,
        });
    }
    Ok(groups)
}

/// A group stands where its first clash put it, whatever joins it or is decided meanwhile.
fn lines(connection: &Connection, source: &Source, query: &ConflictQuery) -> Result<Vec<Line>> {
    let mut conditions = Conditions::of(&query.filter);
    let matching = conditions.sql();
    let mut behind = "1".to_owned();
    if let Some(after) = query.after {
        let Some((group, began)) = place(connection, source, after)? else { return Ok(Vec::new()) };
        let (group, began) = (conditions.bind(Sql::Text(group)), conditions.bind(Sql::Text(began)));
        behind = format!("(b.began < {began} OR b.began = {began} AND g.id > {group})");
    }
    let sql = format!(
        "SELECT g.* FROM (
             SELECT {GROUP} AS id, count(*) FILTER (WHERE NOT {HANGS}), count(*) FILTER (WHERE {HANGS}), min(c.created_at), max(c.created_at)
             FROM {source} c WHERE {matching} GROUP BY 1
         ) g JOIN (SELECT {GROUP} AS id, min(c.created_at) AS began FROM {source} c GROUP BY 1) b ON b.id = g.id
         WHERE {behind} ORDER BY b.began DESC, g.id LIMIT {}",
        query.limit
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let lines = statement.query_map(params_from_iter(conditions.values), |row| {
        Ok(Line { id: row.get(0)?, conflicts: row.get(1)?, dependents: row.get(2)?, first_at: row.get(3)?, last_at: row.get(4)? })
    })?;
    Ok(lines.collect::<rusqlite::Result<_>>()?)
}

/// The group of a conflict, and when its first one was parked.
fn place(connection: &Connection, source: &Source, conflict: ConflictId) -> Result<Option<(String, String)>> {
    let sql = format!("SELECT {GROUP} FROM {source} c WHERE c.id = ?1");
    let group: Option<String> = connection.prepare_cached(&sql)?.query_row([conflict.to_string()], |row| row.get(0)).optional()?;
    let Some(group) = group else { return Ok(None) };
    let mut conditions = Conditions::default();
    conditions.in_group(&group);
    let sql = format!("SELECT min(c.created_at) FROM {source} c WHERE {}", conditions.sql());
    let began = connection.prepare_cached(&sql)?.query_row(params_from_iter(conditions.values), |row| row.get(0))?;
    Ok(Some((group, began)))
}

/// The columns that clashed, the most frequent ones, by name.
fn columns(connection: &Connection, source: &Source, conditions: &Conditions) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT j.value FROM {source} c, json_each(c.columns) j WHERE {} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {GROUP_COLUMNS_MAX}",
        conditions.sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let columns = statement.query_map(params_from_iter(conditions.values.iter()), |row| row.get(0))?;
    let mut columns: Vec<String> = columns.collect::<rusqlite::Result<_>>()?;
    columns.sort_unstable();
    Ok(columns)
}
