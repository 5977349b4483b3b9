//! Resolving: an ordinary write by whoever decided, in one transaction with the conflict's row. The first decision wins; one made against
//! another state than the one in force is refused.

use std::collections::BTreeSet;

use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Table};
use sync_core::change::etag;
use sync_core::conflict::{ConflictKind, Effect, Parked, Resolution, decide};
use sync_core::id::{ColumnNo, ConflictId, Key, ScopeId, TableNo};
use sync_core::value::Value;
use sync_core::wire::message::{CommandAnswer, ResolveCommand};
use sync_core::write::{is_too_large, row_from_json};
use uuid::Uuid;

use super::settle::{Settling, scopes_of_effect};
use super::show;
use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::pool::Database;
use crate::store::row::StoredRow;
use crate::store::sites::SiteIdentity;
use crate::store::tx::{Author, Retry, WriteTx};

/// A conflict as it is stored, with what its decision needs.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) id: Uuid,
    pub(super) table: &'a Table,
    pub(super) key: Key,
    pub(super) kind: ConflictKind,
    pub(super) columns: Vec<ColumnNo>,
    /// The values that the site's edit was made on, as far as it named them.
    pub(super) base: Vec<Option<Value>>,
    pub(super) local: Vec<Option<Value>>,
    /// The columns of the site's edit whose values were too large to be kept.
    pub(super) too_large: Vec<ColumnNo>,
    pub(super) local_version: i64,
    /// The key of the cloud's row that stands against it.
    pub(super) against: Key,
    pub(super) scope: ScopeId,
    pub(super) site: Uuid,
    pub(super) revision: i64,
    pub(super) pending: bool,
    pub(super) held: bool,
}

/// A conflict as it is found.
enum Found<'a> {
    Whole(Stored<'a>),
    /// The schema no longer has its table, the key is none, or the table is the engine's own: nothing of it can ever be written.
    Rowless {
        id: Uuid,
        scope: ScopeId,
        site: Uuid,
        revision: i64,
        pending: bool,
    },
}

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
    let scopes = foresee(&tx, catalog, command).await?;
    tx.hold(&scopes, false).await?;
    let outcome = carry_out(&mut tx, catalog, &Judge::Cloud, by, command, &scopes).await?;
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
        outcome => outcome?,
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

/// The scopes that a decision will touch, looked at without locks.
async fn foresee(tx: &WriteTx<'_>, catalog: &Catalog, command: &ResolveCommand) -> Result<BTreeSet<ScopeId>, StoreError> {
    let mut scopes = BTreeSet::new();
    let stored = match read(&**tx, catalog, command.conflict, "").await? {
        Some(Found::Whole(stored)) => stored,
        Some(Found::Rowless { scope, .. }) => return Ok(BTreeSet::from([scope])),
        None => return Ok(scopes),
    };
    scopes.insert(stored.scope.clone());
    let current = row_at(tx, stored.table, &stored.key, Lock::None).await?;
    scopes.extend(current.iter().map(|current| current.at.scope.clone()));
    if let Ok(effect) = effect(&stored, current.as_ref(), command) {
        scopes.extend(scopes_of_effect(tx, catalog, &stored, &effect).await?);
    }
    Ok(scopes)
}

/// Checks and carries out one decision.
async fn carry_out(
    tx: &mut WriteTx<'_>,
    catalog: &Catalog,
    judge: &Judge<'_>,
    by: &str,
    command: &ResolveCommand,
    held: &BTreeSet<ScopeId>,
) -> Result<Result<(), Refused>, StoreError> {
    let settling = Settling { catalog, judge, by, held, command };
    let stored = match read(&**tx, catalog, command.conflict, " FOR NO KEY UPDATE NOWAIT").await? {
        Some(Found::Whole(stored)) => stored,
        Some(Found::Rowless { id, scope, site, revision, pending }) => {
            if matches!(judge, Judge::Site(by) if by.site.0 != site) {
                return Ok(Err(Refused::Unknown));
            }
            if !pending || revision != command.revision {
                return Ok(Err(Refused::Outdated));
            }
            if command.resolution != Resolution::CloudWins {
                return Ok(Err(Refused::Undecidable(
                    "nothing of this can be written at the cloud: only CLOUD_WINS can be decided".to_owned(),
                )));
            }
            settling.close(tx, id, &scope, Resolution::CloudWins).await?;
            return Ok(Ok(()));
        }
        None => return Ok(Err(Refused::Unknown)),
    };
    if matches!(judge, Judge::Site(site) if site.site.0 != stored.site) {
        return Ok(Err(Refused::Unknown));
    }
    if !stored.pending || stored.revision != command.revision {
        return Ok(Err(Refused::Outdated));
    }
    let current = row_at(tx, stored.table, &stored.key, Lock::Delete).await?;
    let against =
        if stored.against == stored.key { current.clone() } else { row_at(tx, stored.table, &stored.against, Lock::Delete).await? };
    let tag = against.as_ref().map(|row| etag(stored.table, row.stamp.version, &row.row));
    if tag != command.cloud_etag {
        return Ok(Err(Refused::Outdated));
    }
    let effect = match effect(&stored, current.as_ref(), command) {
        Ok(effect) => effect,
        Err(reason) => return Ok(Err(Refused::Undecidable(reason))),
    };
    settling.settle(tx, &stored, current, effect).await
}

fn effect(stored: &Stored<'_>, current: Option<&StoredRow>, command: &ResolveCommand) -> Result<Effect, String> {
    let lost = stored.too_large.first().and_then(|no| stored.table.column(*no));
    if let (Some(column), Resolution::LocalWins) = (lost, command.resolution)
        && stored.kind != ConflictKind::DeleteUpdate
    {
        return Err(format!("the value of column {} was too large to be kept with the conflict: give it with MANUAL", column.name));
    }
    let parked = Parked { kind: stored.kind, clashed: &stored.columns, local: &stored.local, current: current.map(|current| &current.row) };
    let effect = decide(stored.table, &parked, command.resolution, &command.values).map_err(|error| error.to_string())?;
    if let Effect::Write(row) | Effect::Replace(row) = &effect {
        for (column, value) in stored.table.columns.iter().zip(row) {
            let fits = column.ty.accept(value.clone()).is_ok_and(|canonical| canonical == *value);
            if !fits || (value.is_null() && stored.table.key.contains(&column.no)) {
                return Err(format!("{} takes {}", column.name, column.ty.describe()));
            }
        }
    }
    Ok(effect)
}

pub(super) async fn row_at(tx: &WriteTx<'_>, table: &Table, key: &Key, lock: Lock) -> Result<Option<StoredRow>, StoreError> {
    Ok(bulk::load(&**tx, table, &[key], &bulk::all_columns(table), lock).await?.pop())
}

const COLUMNS: &str = "c.id, c.table_no, c.record_id, c.kind, c.columns, c.local_data, c.local_version, c.cloud_record_id, c.rejoin_scope,
    c.site_id, c.revision, c.resolution = 'PENDING', c.held, c.base_data";

async fn read<'a>(db: &impl GenericClient, catalog: &'a Catalog, id: ConflictId, lock: &str) -> Result<Option<Found<'a>>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.id = $1{lock}");
    let Some(row) = db.query_opt(&db.prepare_cached(&sql).await?, &[&id.0]).await? else { return Ok(None) };
    Ok(Some(match stored(catalog, &row)? {
        Some(stored) => Found::Whole(stored),
        None => Found::Rowless {
            id: row.try_get(0)?,
            scope: ScopeId(row.try_get(8)?),
            site: row.try_get(9)?,
            revision: row.try_get(10)?,
            pending: row.try_get(11)?,
        },
    }))
}

/// The open conflicts that hang from this one.
pub(super) async fn dependents<'a>(db: &impl GenericClient, catalog: &'a Catalog, root: Uuid) -> Result<Vec<Stored<'a>>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.root_id = $1 AND c.resolution = 'PENDING' ORDER BY c.created_at, c.id"
    );
    let rows = db.query(&db.prepare_cached(&sql).await?, &[&root]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.extend(stored(catalog, row)?);
    }
    let level = |no: TableNo| catalog.parents_first().iter().position(|table| table.no == no);
    found.sort_by_key(|stored| level(stored.table.no));
    Ok(found)
}

/// `None` where nothing of the row can be written: see [`Found::Rowless`].
fn stored<'a>(catalog: &'a Catalog, row: &tokio_postgres::Row) -> Result<Option<Stored<'a>>, StoreError> {
    let table = u32::try_from(row.try_get::<_, i32>(1)?).ok().and_then(|no| catalog.table(TableNo(no)));
    let Some(table) = table.filter(|table| !table.engine) else { return Ok(None) };
    let Ok(Some(key)) = table.parse_key(row.try_get(2)?) else { return Ok(None) };
    let against = row.try_get::<_, Option<&str>>(7)?.and_then(|record| table.parse_key(record).ok().flatten());
    let kind: &str = row.try_get(3)?;
    let columns: Vec<String> = row.try_get(4)?;
    let local = row.try_get::<_, Option<serde_json::Value>>(5)?.unwrap_or_default();
    let lost =
        |name: &str| local.get(name).is_some_and(is_too_large) && (columns.is_empty() || columns.iter().any(|column| column == name));
    Ok(Some(Stored {
        id: row.try_get(0)?,
        table,
        against: against.unwrap_or_else(|| key.clone()),
        key,
        kind: ConflictKind::from_name(kind).ok_or_else(|| StoreError::Corrupt(format!("sync_conflicts names {kind}")))?,
        too_large: table.columns.iter().filter(|column| lost(&column.name)).map(|column| column.no).collect(),
        columns: columns.iter().filter_map(|name| table.column_named(name)).map(|column| column.no).collect(),
        local: row_from_json(table, &local),
        local_version: row.try_get::<_, Option<i64>>(6)?.unwrap_or_default(),
        scope: ScopeId(row.try_get(8)?),
        site: row.try_get(9)?,
        revision: row.try_get(10)?,
        pending: row.try_get(11)?,
        held: row.try_get(12)?,
        base: row_from_json(table, &row.try_get::<_, Option<serde_json::Value>>(13)?.unwrap_or_default()),
    }))
}
