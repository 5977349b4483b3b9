//! Resolving: an ordinary write by whoever decided, in one transaction with the conflict's row. The first decision wins; one made against
//! another state than the one in force is refused.

use std::collections::BTreeSet;

use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use sync_core::catalog::Catalog;
use sync_core::change::is_named_by;
use sync_core::conflict::{Resolution, Way};
use sync_core::id::ScopeId;
use sync_core::wire::message::{CommandAnswer, ResolveCommand};

use super::besides::FOREIGN_BESIDES;
use super::journal::tag;
use super::plan::Plan;
use super::settle::Settling;
use super::show;
use super::stored::{Found, Head, Rowless, Stored, read, row_at};
use super::undo;
use crate::store::bulk::Lock;
use crate::store::error::StoreError;
use crate::store::guard;
use crate::store::pool::Database;
use crate::store::push::refusal::refusal;
use crate::store::row::StoredRow;
use crate::store::sites::SiteIdentity;
use crate::store::tx::{Author, Retry, WriteTx};

/// Why a decision was not carried out.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no such conflict.
    Unknown,
    /// It was decided against another state, or somebody decided before.
    Outdated,
    /// It cannot be carried out, in words.
    Undecidable(String),
}

/// What a decision is checked against besides its conflict.
pub(super) enum Judge<'a> {
    /// A person at the cloud, who may write everything.
    Cloud,
    /// A person at this site, who may write what the site may.
    Site(&'a SiteIdentity),
}

impl Judge<'_> {
    pub(super) fn may(&self, scope: &ScopeId) -> bool {
        match self {
            Self::Cloud => true,
            Self::Site(site) => site.holds(scope),
        }
    }
}

/// Resolves a conflict at the cloud. Returns it as it is afterwards.
///
/// # Errors
/// `NotFound`; `Outdated` with the state in force; `Undecidable` with the reason; `Busy`; the store failed.
pub async fn resolve(db: &Database, catalog: &Catalog, by: &str, command: &ResolveCommand) -> Result<Conflict, BackendError> {
    let mut retry = Retry::new();
    let outcome = loop {
        let mut client = db.client().await?;
        match attempt(&mut client, catalog, by, command).await {
            Err(error) if retry.again(&error).await => {}
            outcome => break outcome?,
        }
    };
    let client = db.client().await?;
    let conflict = show::get(&client, catalog, command.conflict).await?;
    let unknown = || BackendError::NotFound(format!("conflict {}", command.conflict));
    let conflict = conflict.ok_or_else(unknown)?;
    match outcome {
        Ok(()) => Ok(conflict),
        Err(Refused::Unknown) => Err(unknown()),
        Err(Refused::Outdated) => Err(BackendError::Outdated(Box::new(conflict))),
        Err(Refused::Undecidable(reason)) => Err(BackendError::Undecidable(reason)),
    }
}

async fn attempt(
    client: &mut deadpool_postgres::Client,
    catalog: &Catalog,
    by: &str,
    command: &ResolveCommand,
) -> Result<Result<(), Refused>, StoreError> {
    let mut tx = WriteTx::begin(client, Author::user(by)).await?;
    guard::hold(&tx, catalog, &guard::all(catalog)).await?;
    let scopes = foresee(&tx, catalog, command).await?;
    tx.hold(&scopes, false).await?;
    let outcome = sorted(catalog, carry_out(&mut tx, catalog, &Judge::Cloud, by, command, &scopes).await)?;
    if outcome.is_ok() {
        tx.commit().await?;
    }
    Ok(outcome)
}

/// The scopes that a push's commands touch: their heads are held with those of its rows.
///
/// # Errors
/// The store failed.
pub(crate) async fn scopes_of(
    tx: &WriteTx<'_>,
    catalog: &Catalog,
    site: &SiteIdentity,
    commands: &[ResolveCommand],
) -> Result<BTreeSet<ScopeId>, StoreError> {
    let mut scopes = BTreeSet::new();
    for command in commands {
        scopes.extend(foresee(tx, catalog, command).await?);
    }
    scopes.retain(|scope| site.holds(scope));
    Ok(scopes)
}

/// Runs one command of a push. `held`: the scopes whose heads are held.
///
/// # Errors
/// Rows are busy and it is not the last attempt; the store failed.
pub(crate) async fn run_command(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    site: &SiteIdentity,
    command: &ResolveCommand,
    held: &BTreeSet<ScopeId>,
    last: bool,
) -> Result<CommandAnswer, StoreError> {
    let ticks = tx.ticks().clone();
    tx.batch_execute("SAVEPOINT rejoin_command").await?;
    let by = format!("{} at {}", command.by, site.name);
    let outcome = match carry_out(tx, catalog, &Judge::Site(site), &by, command, held).await {
        Err(StoreError::Busy(_)) if last => Err(Refused::Undecidable("the rows are busy: decide again".to_owned())),
        outcome => sorted(catalog, outcome)?,
    };
    let refused = match outcome {
        Ok(()) => {
            tx.batch_execute("RELEASE rejoin_command").await?;
            return Ok(CommandAnswer::Done);
        }
        Err(refused) => refused,
    };
    tx.batch_execute("ROLLBACK TO rejoin_command; RELEASE rejoin_command").await?;
    tx.restore_ticks(ticks);
    Ok(CommandAnswer::Refused(match refused {
        Refused::Unknown => "there is no such conflict of this site".to_owned(),
        Refused::Outdated => "the conflict or its row has changed since, or it was resolved already".to_owned(),
        Refused::Undecidable(reason) => reason,
    }))
}

/// What the database refuses of a decision is told to whoever decided; it never fails the push that the decision came with.
fn sorted(catalog: &Catalog, outcome: Result<Result<(), Refused>, StoreError>) -> Result<Result<(), Refused>, StoreError> {
    outcome.or_else(|error| match refusal(catalog, &error) {
        Some(refusal) => Ok(Err(Refused::Undecidable(refusal.reason))),
        None => Err(error),
    })
}

/// The scopes that a decision will touch, looked at without locks.
pub(super) async fn foresee(tx: &WriteTx<'_>, catalog: &Catalog, command: &ResolveCommand) -> Result<BTreeSet<ScopeId>, StoreError> {
    let Some(found) = read(&**tx, catalog, command.conflict.0, "").await? else { return Ok(BTreeSet::new()) };
    let mut scopes = BTreeSet::from([found.head().scope.clone()]);
    if command.way == Way::Undo {
        scopes.extend(undo::scopes(tx, catalog, &found).await?);
    } else if let Found::Whole(stored) = &found {
        let rows = rows(tx, stored, Lock::None).await?;
        if let Ok(plan) = Plan::make(tx, catalog, stored, rows, command, Lock::None).await? {
            scopes.extend(plan.scopes(tx, catalog).await?);
        }
    }
    Ok(scopes)
}

/// The cloud's row of the conflict's key, and the one that stands against it.
async fn rows(tx: &WriteTx<'_>, stored: &Stored<'_>, lock: Lock) -> Result<(Option<StoredRow>, Option<StoredRow>), StoreError> {
    let current = row_at(&**tx, stored.table, &stored.key, lock).await?;
    let against = if stored.against == stored.key { current.clone() } else { row_at(&**tx, stored.table, &stored.against, lock).await? };
    Ok((current, against))
}

/// Checks and carries out one decision.
pub(super) async fn carry_out(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    judge: &Judge<'_>,
    by: &str,
    command: &ResolveCommand,
    held: &BTreeSet<ScopeId>,
) -> Result<Result<(), Refused>, StoreError> {
    let settling = Settling::new(catalog, judge, by, held);
    let Some(found) = read(&**tx, catalog, command.conflict.0, " FOR NO KEY UPDATE NOWAIT").await? else {
        return Ok(Err(Refused::Unknown));
    };
    let head = found.head();
    if matches!(judge, Judge::Site(site) if site.site.0 != head.site) {
        return Ok(Err(Refused::Unknown));
    }
    if head.revision != command.revision || head.pending() == (command.way == Way::Undo) {
        return Ok(Err(Refused::Outdated));
    }
    match (found, command.way) {
        (found, Way::Undo) => settling.undo(tx, &found, command).await,
        (Found::Rowless(head, why), _) => close_rowless(tx, settling, (&head, &why), command).await,
        (Found::Whole(stored), _) => decide(tx, settling, &stored, command).await,
    }
}

async fn close_rowless(
    tx: &mut WriteTx<'_>,
    settling: Settling<'_>,
    (head, why): (&Head, &Rowless),
    command: &ResolveCommand,
) -> Result<Result<(), Refused>, StoreError> {
    if command.resolution != Resolution::CloudWins || command.way != Way::Plain {
        return Ok(Err(Refused::Undecidable(why.to_string())));
    }
    settling.end(tx, head, Resolution::CloudWins).await?;
    Ok(Ok(()))
}

async fn decide(
    tx: &mut WriteTx<'_>,
    settling: Settling<'_>,
    stored: &Stored<'_>,
    command: &ResolveCommand,
) -> Result<Result<(), Refused>, StoreError> {
    let rows = rows(tx, stored, Lock::Delete).await?;
    let named = match (&rows.1, &command.cloud_etag) {
        (Some(row), Some(named)) => is_named_by(&tag(stored.table, row), named),
        (row, named) => row.is_none() && named.is_none(),
    };
    if !named {
        return Ok(Err(Refused::Outdated));
    }
    let plan = match Plan::make(tx, settling.catalog, stored, rows, command, Lock::Delete).await? {
        Ok(plan) => plan,
        Err(reason) => return Ok(Err(Refused::Undecidable(reason))),
    };
    // A site is told nothing of rows that it may not read.
    if plan.besides.scopes().iter().any(|scope| !settling.judge.may(scope)) {
        return Ok(Err(Refused::Undecidable(FOREIGN_BESIDES.to_owned())));
    }
    if let Some(reason) = plan.besides.refusal() {
        return Ok(Err(Refused::Undecidable(reason)));
    }
    // Nobody decides on rows that he was not shown.
    if plan.besides.digest() != command.besides {
        return Ok(Err(Refused::Outdated));
    }
    settling.settle(tx, stored, plan, command.resolution).await
}
