//! A decision is stored and travels with the next push; what it does comes back by the feed. Until it is sent it can be replaced and taken
//! back. The first decision that reaches the cloud wins; a refused one leaves the conflict open here, with what the cloud said.

use chrono::Utc;
use conflict_ui_api::backend::{Conflict, DecisionState};
use conflict_ui_api::error::BackendError;
use rusqlite::{Connection, params};
use sync_core::catalog::Catalog;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::limits::PUSH_COMMAND_BYTES_MAX;
use sync_core::value::timestamp_text;
use sync_core::wire::codec;
use sync_core::wire::message::ResolveCommand;

use super::{besides, list};
use crate::store::error::StoreError;

/// Stores a decision, or takes back one that was not sent. It changes no synced row here.
///
/// # Errors
/// There is no such conflict, it has changed since, a decision is on its way, or the decision is none.
pub fn decide(connection: &Connection, catalog: &Catalog, command: &ResolveCommand) -> Result<Conflict, BackendError> {
    let missing = || BackendError::NotFound(format!("conflict {}", command.conflict));
    let conflict = list::get(connection, catalog, command.conflict)?.ok_or_else(missing)?;
    match judge(connection, catalog, &conflict, command)? {
        Verdict::Store => store(connection, command)?,
        Verdict::Withdraw => {
            let sql = "DELETE FROM rejoin_commands WHERE conflict = ?1";
            connection.prepare_cached(sql).and_then(|mut sql| sql.execute([command.conflict.to_string()])).map_err(StoreError::from)?;
        }
    }
    list::get(connection, catalog, command.conflict)?.ok_or_else(missing)
}

/// What is done with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Keep it for the next push.
    Store,
    /// Forget the one that was stored.
    Withdraw,
}

/// Whether a decision can be taken on a conflict as it is here.
pub(super) fn judge(
    connection: &Connection,
    catalog: &Catalog,
    conflict: &Conflict,
    command: &ResolveCommand,
) -> Result<Verdict, BackendError> {
    let undecidable = |why: &str| Err(BackendError::Undecidable(why.to_owned()));
    let outdated = || Err(BackendError::Outdated(Box::new(conflict.clone())));
    if conflict.revision != command.revision {
        return outdated();
    }
    let stored = conflict.decision.as_ref().map(|decision| decision.state);
    if matches!(stored, Some(DecisionState::Sent | DecisionState::Done)) {
        return undecidable("a decision made here is on its way to the cloud already: its effect comes with the next sync");
    }
    let open = conflict.resolution == Resolution::Pending;
    match command.way {
        Way::Undo if stored.is_some() && open => return Ok(Verdict::Withdraw),
        Way::Undo if open => return undecidable("there is no decision to take back"),
        Way::Undo if command.resolution != Resolution::Pending => return undecidable("taking a decision back is PENDING"),
        Way::Undo => return Ok(Verdict::Store),
        Way::Plain | Way::SameRow => {}
    }
    if !open || conflict.cloud_etag != command.cloud_etag {
        return outdated();
    }
    if command.way == Way::SameRow && conflict.kind != ConflictKind::Unique {
        return undecidable("only where a unique value is taken can the two rows be one");
    }
    match command.resolution {
        Resolution::Pending => undecidable("PENDING is no decision: choose CLOUD_WINS, LOCAL_WINS or MANUAL"),
        Resolution::Manual if command.values.is_empty() => undecidable("MANUAL needs the values to write"),
        Resolution::CloudWins | Resolution::LocalWins if !command.values.is_empty() => undecidable("only MANUAL takes values"),
        Resolution::LocalWins if command.way == Way::Plain => {
            let besides = besides::of(connection, catalog, conflict)?;
            match besides.refusal() {
                Some(why) => undecidable(&why),
                // Nobody decides on rows that he was not shown.
                None if besides.digest() != command.besides => outdated(),
                None => Ok(Verdict::Store),
            }
        }
        _ => Ok(Verdict::Store),
    }
}

/// Keeps a decision for the next push, in place of one that was not sent or was refused.
pub(super) fn store(connection: &Connection, command: &ResolveCommand) -> Result<(), BackendError> {
    let body = codec::encode(command).ok().filter(|body| body.len() <= PUSH_COMMAND_BYTES_MAX);
    let body = body.ok_or_else(|| BackendError::Undecidable("the decision's values are too large to be sent".to_owned()))?;
    let sql = "INSERT INTO rejoin_commands (conflict, body, decided_by, decided_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (conflict) DO UPDATE SET body = excluded.body, decided_by = excluded.decided_by, decided_at = excluded.decided_at,
                   push_no = NULL, refused = NULL, done = 0";
    let params = params![command.conflict.to_string(), body, command.by, timestamp_text(Utc::now())];
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(StoreError::from)?;
    Ok(())
}
