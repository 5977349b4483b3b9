//! Many decisions at once: the open conflicts of a filter, as they were when it was asked, in chunks of a transaction each.
//!
//! Reading order: this file, `survey` (a chunk, sorted by what has to be done), `carry` (doing it). What a chunk can do set by set it does by one
//! statement for each table; what needs more (dependents that come in, rows in the way) is decided one by one, by `resolve` itself.

mod carry;
mod survey;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use conflict_ui_api::backend::{BulkDecision, BulkOutcome, BulkReason};
use conflict_ui_api::error::BackendError;
use deadpool_postgres::{Client, GenericClient};
use futures_util::future::BoxFuture;
use sync_core::catalog::Catalog;
use sync_core::conflict::Resolution;
use sync_core::id::{ConflictId, Key, ScopeId, TableNo};
use sync_core::limits::{BULK_AT_ONCE_MAX, BULK_CHUNK_BYTES, BULK_CHUNK_ROWS, BULK_CONFLICTS_MAX, BULK_REASONS_MAX};
use uuid::Uuid;

use self::survey::Survey;
use super::filter::Conditions;
use crate::store::bulk::Lock;
use crate::store::error::StoreError;
use crate::store::guard;
use crate::store::pool::Database;
use crate::store::tx::{Author, Retry, WriteTx};

const BUSY: &str = "the rows are busy: decide again";
const HANGS: &str = "it hangs from a conflict and could not be decided with it: decide it by itself";

/// A conflict to decide, as it was when the decision was made.
#[derive(Debug, Clone)]
struct Wanted {
    id: Uuid,
    revision: i64,
    root: Option<Uuid>,
    /// Bytes that its images take in the database.
    weight: usize,
}

/// What became of some of them.
#[derive(Debug, Default)]
struct Done {
    /// Decided, with those that went along.
    closed: Vec<Uuid>,
    refused: Vec<(Uuid, String)>,
    /// The rows that were written.
    written: HashSet<(TableNo, Key)>,
}

/// Rows that were written for other conflicts: one of the same row was not decided on what is there now.
type Written<'s> = &'s (dyn Fn(&(TableNo, Key)) -> bool + Sync);

/// The catalog of now, where one does not fit the database any more.
pub type Renew<'a> = dyn Fn(Arc<Catalog>, StoreError) -> BoxFuture<'a, Result<Arc<Catalog>, BackendError>> + Send + Sync + 'a;

/// One decision on many conflicts.
struct Deciding<'a> {
    catalog: &'a Catalog,
    by: &'a str,
    resolution: Resolution,
    dry_run: bool,
}

/// Decides all open conflicts of a filter. Nothing that is parked, joined or decided by others meanwhile is decided unseen.
///
/// # Errors
/// `Miscounted`; `Undecidable`: too many, or no decision for many; the store failed (what was committed stays).
pub async fn resolve_many(
    db: &Database,
    (mut catalog, renew): (Arc<Catalog>, &Renew<'_>),
    by: &str,
    decision: &BulkDecision,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<BulkOutcome, BackendError> {
    if !matches!(decision.resolution, Resolution::CloudWins | Resolution::LocalWins) {
        return Err(BackendError::Undecidable("many at once are decided by CLOUD_WINS or LOCAL_WINS".to_owned()));
    }
    let wanted = wanted(&db.client().await?, decision).await?;
    let matched = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
    if let Some(expected) = decision.expected.filter(|expected| *expected != matched) {
        return Err(BackendError::Miscounted { expected, matched });
    }
    let most = if decision.all_or_nothing { BULK_AT_ONCE_MAX } else { BULK_CONFLICTS_MAX };
    if wanted.len() > most {
        let what = if decision.all_or_nothing { "all or nothing" } else { "by one action" };
        return Err(BackendError::Undecidable(format!(
            "there are more than {most} such conflicts, too many for {what}: narrow the filter"
        )));
    }
    let all: HashSet<Uuid> = wanted.iter().map(|wanted| wanted.id).collect();
    let (hanging, tops): (Vec<Wanted>, Vec<Wanted>) =
        wanted.into_iter().partition(|wanted| wanted.root.is_some_and(|root| all.contains(&root)));
    let mut tally = Tally::new(matched, progress);
    let mut left = chunks(&tops);
    left.reverse();
    loop {
        let deciding = Deciding { catalog: &catalog, by, resolution: decision.resolution, dry_run: decision.dry_run };
        let done = if decision.all_or_nothing {
            deciding.at_once(db, &tops, &hanging, &mut tally).await
        } else {
            deciding.in_chunks(db, &mut left, &mut tally).await
        };
        match done {
            // What is decided stays so; the rest is decided in the tables of now.
            Err(error) if error.is_unfit() => catalog = renew(catalog, error).await?,
            done => break done?,
        }
    }
    if !decision.all_or_nothing {
        tally.count_hanging(&hanging);
    }
    Ok(tally.outcome(decision.dry_run))
}

/// The conflicts of the filter that are open now, in the order in which they were parked.
async fn wanted(db: &impl GenericClient, decision: &BulkDecision) -> Result<Vec<Wanted>, StoreError> {
    let mut conditions = Conditions::open(&decision.filter);
    let limit = conditions.bind(i64::try_from(BULK_CONFLICTS_MAX + 1).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT c.id, c.revision, c.root_id, (coalesce(pg_column_size(c.base_data), 0) + coalesce(pg_column_size(c.cloud_data), 0)
                + coalesce(pg_column_size(c.local_data), 0))::bigint
         FROM rejoin.sync_conflicts c WHERE {} ORDER BY c.created_at, c.id LIMIT {limit}",
        conditions.sql()
    );
    let rows = db.query(&sql, &conditions.params()).await?;
    let wanted = rows.iter().map(|row| {
        let weight = usize::try_from(row.try_get::<_, i64>(3)?).unwrap_or_default();
        Ok(Wanted { id: row.try_get(0)?, revision: row.try_get(1)?, root: row.try_get(2)?, weight })
    });
    wanted.collect()
}

/// Parts that one transaction takes at once, by rows and by bytes.
fn chunks(wanted: &[Wanted]) -> Vec<&[Wanted]> {
    let (mut chunks, mut first, mut weight) = (Vec::new(), 0, 0);
    for (at, next) in wanted.iter().enumerate() {
        if at > first && (at - first == BULK_CHUNK_ROWS || weight + next.weight > BULK_CHUNK_BYTES) {
            chunks.push(&wanted[first..at]);
            (first, weight) = (at, 0);
        }
        weight += next.weight;
    }
    chunks.push(&wanted[first..]);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

impl Deciding<'_> {
    /// A transaction for each chunk, until none is left; what stays busy is told so, as few conflicts as possible.
    async fn in_chunks(&self, db: &Database, stack: &mut Vec<&[Wanted]>, tally: &mut Tally<'_>) -> Result<(), StoreError> {
        while let Some(chunk) = stack.pop() {
            let written = &tally.written;
            match self.chunk(db, chunk, &|row| written.contains(row)).await {
                Ok(done) => tally.add(chunk.len(), done),
                Err(StoreError::Busy(_)) if chunk.len() > 1 => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    stack.extend([second, first]);
                }
                Err(StoreError::Busy(_)) => {
                    let refused = chunk.iter().map(|wanted| (wanted.id, BUSY.to_owned())).collect();
                    tally.add(chunk.len(), Done { refused, ..Done::default() });
                }
                Err(error) => {
                    stack.push(chunk);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn begin<'c>(&self, client: &'c mut Client) -> Result<WriteTx<'c>, StoreError> {
        let tx = WriteTx::begin(client, Author::user(self.by)).await?;
        guard::hold(&tx, self.catalog, &guard::all(self.catalog)).await?;
        Ok(tx)
    }

    async fn chunk(&self, db: &Database, chunk: &[Wanted], written: Written<'_>) -> Result<Done, StoreError> {
        let mut retry = Retry::new();
        loop {
            let mut client = db.client().await?;
            let mut tx = self.begin(&mut client).await?;
            let outcome = self.attempt(&mut tx, &[chunk], written).await;
            match outcome {
                Ok(done) => {
                    if !self.dry_run {
                        tx.commit().await?;
                    }
                    return Ok(done);
                }
                Err(error) => {
                    drop(tx);
                    if !retry.again(&error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Takes the heads of all that these chunks touch, then decides them one after the other.
    async fn attempt(&self, tx: &mut WriteTx<'_>, chunks: &[&[Wanted]], written: Written<'_>) -> Result<Done, StoreError> {
        let mut scopes: BTreeSet<ScopeId> = BTreeSet::new();
        for chunk in chunks {
            scopes.extend(Survey::make(tx, self, chunk, written, Lock::None).await?.scopes);
        }
        tx.hold(&scopes, false).await?;
        let mut all = Done::default();
        for chunk in chunks {
            let before = &all.written;
            let done = self.carry_out(tx, chunk, &scopes, &|row| written(row) || before.contains(row)).await?;
            all.closed.extend(done.closed);
            all.refused.extend(done.refused);
            all.written.extend(done.written);
        }
        Ok(all)
    }

    /// All in one transaction, or nothing.
    async fn at_once(&self, db: &Database, tops: &[Wanted], hanging: &[Wanted], tally: &mut Tally<'_>) -> Result<(), StoreError> {
        let mut retry = Retry::new();
        let chunks = chunks(tops);
        loop {
            let mut client = db.client().await?;
            let mut tx = self.begin(&mut client).await?;
            match self.attempt(&mut tx, &chunks, &|_| false).await {
                Ok(done) => {
                    tally.add(tops.len(), done);
                    tally.count_hanging(hanging);
                    if tally.refused > 0 {
                        tally.resolved = 0;
                    } else if !self.dry_run {
                        tx.commit().await?;
                    }
                    return Ok(());
                }
                Err(error) => {
                    drop(tx);
                    if !retry.again(&error).await {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// What became of all of them so far.
struct Tally<'a> {
    matched: u64,
    seen: u64,
    resolved: u64,
    refused: u64,
    reasons: BTreeMap<String, (u64, Uuid)>,
    closed: HashSet<Uuid>,
    written: HashSet<(TableNo, Key)>,
    progress: &'a (dyn Fn(u64, u64) + Send + Sync),
}

impl<'a> Tally<'a> {
    fn new(matched: u64, progress: &'a (dyn Fn(u64, u64) + Send + Sync)) -> Self {
        let (reasons, closed, written) = (BTreeMap::new(), HashSet::new(), HashSet::new());
        Self { matched, seen: 0, resolved: 0, refused: 0, reasons, closed, written, progress }
    }

    fn add(&mut self, seen: usize, done: Done) {
        self.seen += u64::try_from(seen).unwrap_or_default();
        self.resolved += u64::try_from(done.closed.len()).unwrap_or_default();
        self.closed.extend(done.closed);
        self.written.extend(done.written);
        for (id, reason) in done.refused {
            self.refuse(id, reason);
        }
        (self.progress)(self.seen, self.matched);
    }

    fn refuse(&mut self, id: Uuid, reason: String) {
        self.refused += 1;
        // Reasons that name a row each are many: the rest is told together.
        let full = self.reasons.len() >= BULK_REASONS_MAX - 1 && !self.reasons.contains_key(&reason);
        let reason = if full { "other reasons".to_owned() } else { reason };
        self.reasons.entry(reason).or_insert((0, id)).0 += 1;
    }

    /// Those that hang from others of the filter: decided with them, or not.
    fn count_hanging(&mut self, hanging: &[Wanted]) {
        for wanted in hanging.iter().filter(|wanted| !self.closed.contains(&wanted.id)).map(|wanted| wanted.id).collect::<Vec<_>>() {
            self.refuse(wanted, HANGS.to_owned());
        }
        if !hanging.is_empty() {
            (self.progress)(self.matched, self.matched);
        }
    }

    fn outcome(self, dry_run: bool) -> BulkOutcome {
        let reason = |(reason, (conflicts, example))| BulkReason { reason, conflicts, example: ConflictId(example) };
        let mut reasons: Vec<BulkReason> = self.reasons.into_iter().map(reason).collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.conflicts));
        BulkOutcome { matched: self.matched, resolved: self.resolved, refused: self.refused, reasons, dry_run }
    }
}
