//! The write transaction: who writes is said, heads are taken in ascending order, ticks are read back, nobody is waited for long.
//!
//! A writer that lost a race or found somebody else at work rolls back and tries again after a while ([`Retry`]); what is still busy then
//! is reported as such. All of it at READ COMMITTED: rows are read after the heads are taken, so a head is all the snapshot one needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{Client, Transaction};
use sync_core::backoff::Backoff;
use sync_core::id::{PushNo, ReplicaId, ScopeId, Tick};
use sync_core::limits::BUSY_RETRIES_MAX;
use tokio_postgres::Statement;

use super::error::StoreError;
use super::events;

/// How long somebody who holds nothing waits for a head.
const HEAD_WAIT: &str = "500ms";

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author<'a> {
    /// The user, or `site:NAME`: goes into `rejoin.ticks` and where a row's own author is not known.
    pub(crate) name: &'a str,
    /// The push that writes, if one does.
    pub(crate) push: Option<(ReplicaId, PushNo)>,
}

impl<'a> Author<'a> {
    /// A person or program at the cloud.
    pub(crate) fn user(name: &'a str) -> Self {
        Self { name, push: None }
    }
}

/// A transaction that writes synced rows. Dropped without [`WriteTx::commit`] it rolls back.
pub(crate) struct WriteTx<'c> {
    transaction: Transaction<'c>,
    ticks: BTreeMap<ScopeId, Tick>,
}

impl std::fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTx").field("ticks", &self.ticks).finish_non_exhaustive()
    }
}

impl<'c> WriteTx<'c> {
    /// Begins, with the author's name for ticks, tombstones and history.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn begin(client: &'c mut Client, author: Author<'_>) -> Result<Self, StoreError> {
        let transaction = client.transaction().await?;
        let sql = "SELECT set_config('rejoin.author', $1, true), set_config('rejoin.replica', $2, true),
                          set_config('rejoin.push_no', $3, true), set_config('lock_timeout', $4, true)";
        let (replica, no) = author.push.map_or_else(Default::default, |(replica, no)| (replica.to_string(), no.to_string()));
        // A push sent twice waits for the first one's answer; whoever holds no head yet may wait for one.
        let wait = if author.push.is_some() { "30s" } else { HEAD_WAIT };
        transaction.execute(&transaction.prepare_cached(sql).await?, &[&author.name, &replica, &no, &wait]).await?;
        Ok(Self { transaction, ticks: BTreeMap::new() })
    }

    /// Takes the heads of scopes, in ascending order. Those already taken keep their tick. Take all of them at once: a second call could
    /// take them in another order than somebody else does.
    ///
    /// # Errors
    /// Somebody holds one of them ([`StoreError::Busy`]); the store failed.
    pub(crate) async fn take(&mut self, scopes: &BTreeSet<ScopeId>) -> Result<(), StoreError> {
        let wanted: Vec<&str> = scopes.iter().filter(|scope| !self.ticks.contains_key(scope)).map(|scope| scope.0.as_str()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // Whoever holds one head keeps nobody waiting for long.
        let sql = "SELECT u.scope, rejoin.take_one(u.scope), set_config('lock_timeout', '100ms', true) FROM unnest($1::text[]) AS u(scope)";
        let rows = self.transaction.query(&self.transaction.prepare_cached(sql).await?, &[&wanted]).await?;
        for row in rows {
            self.ticks.insert(ScopeId(row.try_get(0)?), Tick(row.try_get(1)?));
        }
        Ok(())
    }

    /// Locks the heads of scopes, in ascending order, without raising them: what is read from now on stays, and [`WriteTx::take`] of those that
    /// are written does not wait. `skip_busy`: heads that somebody holds are returned instead of waited for.
    ///
    /// # Errors
    /// As [`WriteTx::take`].
    pub(crate) async fn hold(&self, scopes: &BTreeSet<ScopeId>, skip_busy: bool) -> Result<BTreeSet<ScopeId>, StoreError> {
        let wanted: Vec<&str> = scopes.iter().map(|scope| scope.0.as_str()).collect();
        let wait = if skip_busy { "SKIP LOCKED" } else { "" };
        let lock = format!(
            "SELECT scope, set_config('lock_timeout', '100ms', true) FROM rejoin.scopes WHERE scope = ANY($1)
             ORDER BY scope COLLATE \"C\" FOR NO KEY UPDATE {wait}"
        );
        let lock = self.transaction.prepare_cached(&lock).await?;
        let mut held = self.lock_heads(&lock, &wanted).await?;
        if held.len() < wanted.len() && self.make_heads(&wanted, skip_busy).await? {
            held = self.lock_heads(&lock, &wanted).await?;
        }
        Ok(scopes.difference(&held).cloned().collect())
    }

    /// Makes the heads of scopes that are new. Those that are there are left out beforehand: ON CONFLICT would wait for whoever holds them.
    /// `skip_busy`: somebody may be about to make one of them; then none is made.
    async fn make_heads(&self, wanted: &[&str], skip_busy: bool) -> Result<bool, StoreError> {
        let sql = "INSERT INTO rejoin.scopes (scope) SELECT u.scope FROM unnest($1::text[]) AS u(scope)
                   WHERE NOT EXISTS (SELECT 1 FROM rejoin.scopes s WHERE s.scope = u.scope) ORDER BY u.scope COLLATE \"C\"
                   ON CONFLICT (scope) DO NOTHING";
        let make = self.transaction.prepare_cached(sql).await?;
        if !skip_busy {
            return Ok(self.transaction.execute(&make, &[&wanted]).await? > 0);
        }
        self.transaction.batch_execute("SAVEPOINT rejoin_heads").await?;
        let (made, end) = match self.transaction.execute(&make, &[&wanted]).await.map_err(StoreError::from) {
            Ok(made) => (made > 0, "RELEASE rejoin_heads"),
            Err(StoreError::Busy(_)) => (false, "ROLLBACK TO rejoin_heads; RELEASE rejoin_heads"),
            Err(error) => return Err(error),
        };
        self.transaction.batch_execute(end).await?;
        Ok(made)
    }

    async fn lock_heads(&self, lock: &Statement, wanted: &[&str]) -> Result<BTreeSet<ScopeId>, StoreError> {
        let rows = self.transaction.query(lock, &[&wanted]).await?;
        rows.iter().map(|row| Ok(ScopeId(row.try_get(0)?))).collect()
    }

    /// The tick that this transaction's changes of a scope carry.
    ///
    /// # Errors
    /// The head was not taken: a fault of ours, or the row moved since the scopes were derived ([`StoreError::Busy`]: start over).
    pub(crate) fn tick(&self, scope: &ScopeId) -> Result<Tick, StoreError> {
        self.ticks.get(scope).copied().ok_or_else(|| StoreError::Busy(format!("a row moved to the scope {scope} meanwhile")))
    }

    /// Every tick taken so far.
    pub(crate) fn ticks(&self) -> &BTreeMap<ScopeId, Tick> {
        &self.ticks
    }

    /// After a rollback to a savepoint: the ticks taken before it. The others went back with their heads.
    pub(crate) fn restore_ticks(&mut self, ticks: BTreeMap<ScopeId, Tick>) {
        self.ticks = ticks;
    }

    /// Commits, and tells of the conflicts that changed.
    ///
    /// # Errors
    /// The store failed; nothing is written then, or nobody knows (the connection broke).
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        events::of_conflicts(&self.transaction, &self.ticks).await?;
        Ok(self.transaction.commit().await?)
    }
}

impl<'c> Deref for WriteTx<'c> {
    type Target = Transaction<'c>;

    fn deref(&self) -> &Self::Target {
        &self.transaction
    }
}

/// Tries again what found the rows busy, a bounded number of times.
#[derive(Debug)]
pub(crate) struct Retry {
    backoff: Backoff,
}

impl Retry {
    /// Starts to count.
    pub(crate) fn new() -> Self {
        Self { backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(200), rand::random()) }
    }

    /// Whether no further attempt follows: what is busy now is reported as such.
    pub(crate) fn is_last(&self) -> bool {
        self.backoff.attempts() >= BUSY_RETRIES_MAX
    }

    /// After a failure: waits and says `true` where another attempt is worth it.
    pub(crate) async fn again(&mut self, error: &StoreError) -> bool {
        let worth = matches!(error, StoreError::Busy(_)) && self.backoff.attempts() < BUSY_RETRIES_MAX;
        if worth {
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
        worth
    }
}
