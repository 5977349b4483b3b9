//! What becomes of parked edits and decisions between a push's answer and the pull that brings their conflicts, and what a pull tells of
//! conflicts.

use conflict_ui_api::backend::Event;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::catalog::Table;
use sync_core::change::{Op, RowAnswer, RowChange, Verdict};
use sync_core::conflict::{Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;

use super::Source;
use crate::store::error::{Result, StoreError};

/// What a pull said of conflicts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    parked: Told,
    resolved: Told,
    reopened: Told,
}

/// Some conflicts, as far as an event names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    count: usize,
    conflict: Option<ConflictId>,
    table: Option<String>,
}

impl News {
    /// Notes a row of `sync_conflicts`, before it is written.
    ///
    /// # Errors
    /// The database.
    pub fn note(&mut self, connection: &Connection, table: &Table, row: &[Value]) -> Result<()> {
        let value = |name: &str| table.columns.iter().position(|column| column.name == name).and_then(|at| row.get(at));
        let (Some(Value::Uuid(id)), Some(Value::Text(now))) = (value("id"), value("resolution")) else { return Ok(()) };
        let sql = "SELECT resolution FROM sync_conflicts WHERE id = ?1";
        let before: Option<String> = connection.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get(0)).optional()?;
        let pending = |resolution: &str| resolution == Resolution::Pending.as_str();
        let told = match (before.as_deref(), pending(now)) {
            (Some(before), true) if !pending(before) => &mut self.reopened,
            (_, true) => &mut self.parked,
            (Some(before), false) if !pending(before) => return Ok(()),
            (_, false) => &mut self.resolved,
        };
        let name = value("table_name").and_then(|name| if let Value::Text(name) = name { Some(name.clone()) } else { None });
        told.table = if told.count == 0 || told.table == name { name } else { None };
        told.conflict = (told.count == 0).then_some(ConflictId(*id));
        told.count += 1;
        Ok(())
    }

    /// As events of this site.
    #[must_use]
    pub fn events(&self, site: &str) -> Vec<Event> {
        let all = [(&self.parked, "parked"), (&self.resolved, "resolved"), (&self.reopened, "reopened")];
        let told = all.into_iter().filter(|(told, _)| told.count > 0);
        told.map(|(told, what)| Event::Conflicts {
            table_name: told.table.clone(),
            site: Some(site.to_owned()),
            conflict: told.conflict,
            what: what.to_owned(),
        })
        .collect()
    }
}

/// Keeps what was pushed of a row that an answer parked, until its conflict arrives: the row shows the cloud's state from now on.
///
/// # Errors
/// The database.
pub(in crate::store) fn keep_parked(connection: &Connection, change: &RowChange, answer: &RowAnswer) -> Result<()> {
    let Verdict::Parked(conflict) = &answer.verdict else { return Ok(()) };
    let body = codec::encode(change).map_err(|error| StoreError::Stored(error.to_string()))?;
    // The cloud knows the row by the key that it had.
    let key = if let Op::Rekey(old, _) = &change.op { old } else { &change.key };
    let sql = "INSERT INTO rejoin_parked (conflict, table_no, record_id, body) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![conflict.to_string(), change.table.0, key.to_string(), body])?;
    Ok(())
}

/// A pull has brought what earlier answers had announced: conflicts, and the effects of decisions.
///
/// # Errors
/// The database.
pub fn heard(connection: &Connection) -> Result<()> {
    if !Source::arrived(connection)? {
        return Ok(());
    }
    forget_decisions(connection)?;
    connection.execute("DELETE FROM rejoin_parked WHERE conflict IN (SELECT id FROM sync_conflicts)", [])?;
    Ok(())
}

/// Forgets the decisions that have nothing left to say. The pull may have read the cloud before the push that carried a decision: one that
/// was taken stays until its conflict shows the effect, and one that was refused until the conflict no longer needs it.
fn forget_decisions(connection: &Connection) -> Result<()> {
    let sql = "SELECT d.conflict, d.body, d.refused IS NOT NULL, c.revision, c.resolution
               FROM rejoin_commands d LEFT JOIN sync_conflicts c ON c.id = d.conflict WHERE d.done = 1 OR d.refused IS NOT NULL";
    let mut spoken = Vec::new();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, body, refused): (String, Vec<u8>, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let now = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<String>>(4)?);
        let command: Option<ResolveCommand> = codec::decode(&body).ok();
        if now.is_none_or(|(revision, resolution)| is_spoken(command.as_ref(), refused, revision, &resolution)) {
            spoken.push(id);
        }
    }
    for id in spoken {
        connection.prepare_cached("DELETE FROM rejoin_commands WHERE conflict = ?1")?.execute([id])?;
    }
    Ok(())
}

/// Whether a decision has nothing left to say of its conflict as it is now.
fn is_spoken(command: Option<&ResolveCommand>, refused: bool, revision: i64, resolution: &str) -> bool {
    let pending = resolution == Resolution::Pending.as_str();
    let moved_on = |command: &ResolveCommand| revision > command.revision;
    match command {
        Some(command) if !refused || command.way == Way::Undo => moved_on(command),
        // Still open, be it as another revision: whoever decided must hear why that did not count.
        _ => !pending,
    }
}
