//! One decision on all open conflicts of a filter: a command for each, in one transaction.

use std::collections::{BTreeMap, HashSet};

use conflict_ui_api::backend::{BulkDecision, BulkOutcome, BulkReason, Conflict, ConflictFilter, ConflictQuery, ConflictSort};
use conflict_ui_api::error::BackendError;
use rusqlite::{Connection, params_from_iter};
use sync_core::catalog::Catalog;
use sync_core::conflict::{Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::limits::BULK_REASONS_MAX;
use sync_core::wire::message::ResolveCommand;
use uuid::Uuid;

use super::decide::{Verdict, judge, store};
use super::filter::Conditions;
use super::{Source, list};
use crate::store::error::StoreError;

/// Conflicts read at a time.
const CHUNK: usize = 500;

/// What the loop found so far.
#[derive(Default)]
struct Tally {
    outcome: BulkOutcome,
    /// Why, with how many and the first one.
    reasons: BTreeMap<String, (u64, ConflictId)>,
    commands: Vec<ResolveCommand>,
}

/// Stores a decision for each open conflict of the filter that hangs from none of the others: those are decided with it. `progress` is
/// called with (done, of).
///
/// # Errors
/// `Miscounted`; a decision that is none; the database.
pub fn decide_many(
    connection: &Connection,
    catalog: &Catalog,
    by: &str,
    decision: &BulkDecision,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BulkOutcome, BackendError> {
    if !matches!(decision.resolution, Resolution::CloudWins | Resolution::LocalWins) {
        return Err(BackendError::Undecidable("many at once are decided by CLOUD_WINS or LOCAL_WINS".to_owned()));
    }
    let filter = ConflictFilter { resolution: Some(Resolution::Pending), ..decision.filter.clone() };
    let matched = if decision.filter.resolution.is_none_or(|asked| asked == Resolution::Pending) {
        matching(connection, &filter)?
    } else {
        HashSet::new()
    };
    let of = u64::try_from(matched.len()).unwrap_or(u64::MAX);
    if let Some(expected) = decision.expected.filter(|expected| *expected != of) {
        return Err(BackendError::Miscounted { expected, matched: of });
    }
    let mut tally = Tally { outcome: BulkOutcome { matched: of, dry_run: decision.dry_run, ..BulkOutcome::default() }, ..Tally::default() };
    let mut query = ConflictQuery { filter, sort: ConflictSort::Oldest, after: None, limit: CHUNK };
    let mut done = 0;
    while done < of {
        let chunk = list(connection, catalog, &query)?;
        let Some(last) = chunk.last() else { break };
        query.after = Some(last.id);
        done += u64::try_from(chunk.len()).unwrap_or_default();
        chunk.iter().for_each(|conflict| {
            if let Some(command) = Tally::command(conflict, &matched, by, decision) {
                let judged = judge(connection, catalog, conflict, &command);
                tally.take(conflict, command, judged);
            }
        });
        let keep = !decision.dry_run && !decision.all_or_nothing;
        if keep {
            tally.store(connection)?;
        }
        progress(done, of);
    }
    if !decision.dry_run && decision.all_or_nothing && tally.outcome.refused == 0 {
        tally.store(connection)?;
    }
    Ok(tally.end(decision))
}

fn matching(connection: &Connection, filter: &ConflictFilter) -> Result<HashSet<ConflictId>, StoreError> {
    let Some(source) = Source::of(connection)? else { return Ok(HashSet::new()) };
    let conditions = Conditions::of(filter);
    let mut statement = connection.prepare_cached(&format!("SELECT c.id FROM {source} c WHERE {}", conditions.sql()))?;
    let ids = statement.query_map(params_from_iter(conditions.values), |row| row.get::<_, String>(0))?;
    let ids = ids.map(|id| id.map(|id| ConflictId(Uuid::try_parse(&id).unwrap_or_default())));
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

impl Tally {
    /// The decision on one conflict; `None` where it is decided with the one that it hangs from, or refused with it, and counted there.
    fn command(conflict: &Conflict, matched: &HashSet<ConflictId>, by: &str, decision: &BulkDecision) -> Option<ResolveCommand> {
        let alone = !conflict.root.is_some_and(|root| matched.contains(&root));
        alone.then(|| ResolveCommand {
            conflict: conflict.id,
            revision: conflict.revision,
            cloud_etag: conflict.cloud_etag.clone(),
            resolution: decision.resolution,
            values: Vec::new(),
            by: by.to_owned(),
            way: Way::Plain,
            besides: None,
        })
    }

    fn take(&mut self, conflict: &Conflict, command: ResolveCommand, judged: Result<Verdict, BackendError>) {
        let rows = 1 + if conflict.root.is_none() { conflict.dependents } else { 0 };
        let why = match judged {
            Ok(_) => {
                self.outcome.resolved += rows;
                self.commands.push(command);
                return;
            }
            // It was read just now: only what would go besides was not named.
            Err(BackendError::Outdated(_)) => "rows that refer to it would go with it: decide it by itself".to_owned(),
            Err(error) => error.to_string(),
        };
        self.outcome.refused += rows;
        self.reasons.entry(why).or_insert((0, conflict.id)).0 += rows;
    }

    fn store(&mut self, connection: &Connection) -> Result<(), BackendError> {
        self.commands.drain(..).try_for_each(|command| store(connection, &command))
    }

    fn end(mut self, decision: &BulkDecision) -> BulkOutcome {
        if decision.all_or_nothing && self.outcome.refused > 0 {
            self.outcome.resolved = 0;
        }
        let mut reasons: Vec<BulkReason> =
            self.reasons.into_iter().map(|(reason, (conflicts, example))| BulkReason { reason, conflicts, example }).collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.conflicts));
        reasons.truncate(BULK_REASONS_MAX);
        BulkOutcome { reasons, ..self.outcome }
    }
}
