//! The cloud behind the API's ports: each method one use case, delegated to its store. Drivers' errors stop here.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{
    Accounts, Action, Backend, BulkDecision, BulkOutcome, Conflict, ConflictCounts, ConflictDetail, ConflictFilter, ConflictGroup,
    ConflictQuery, Digests, Event, Group, GroupQuery, HistoryEntry, Imported, ListQuery, LogQuery, PolicyTrial, Principal, Record, Result,
    SyncControl, SyncStatus, Token, User, Write,
};
use conflict_ui_api::error::BackendError;
use deadpool_postgres::Client;
use futures_util::future::BoxFuture;
use sync_core::catalog::Catalog;
use sync_core::id::{ColumnNo, ConflictId, Key, TableNo};
use sync_core::policy::Policy;
use sync_core::wire::message::{ResolveCommand, Run};
use sync_core::write::{Draft, FieldError};
use tokio::sync::broadcast;
use tokio_postgres::error::SqlState;

use crate::core::Core;
use crate::store::accounts::{self, Changed};
use crate::store::error::StoreError;
use crate::store::{conflicts, digest, history, records, sites, sync_log};

/// What `sync_log` and the status call the cloud.
const NAME: &str = "cloud";

impl Core {
    async fn client(&self) -> Result<Client> {
        Ok(self.db.client().await?)
    }

    /// A newer catalog, where the one in force turned out not to fit the database any more and whatever was asked means the same under both.
    async fn newer<T>(&self, catalog: &Arc<Catalog>, outcome: &Result<T>) -> Result<Option<Arc<Catalog>>> {
        let Err(BackendError::Internal(error)) = outcome else { return Ok(None) };
        let Some(error) = error.downcast_ref::<StoreError>().filter(|error| error.is_unfit()) else { return Ok(None) };
        let fresh = self.renewed(catalog, error).await?;
        if same_names(catalog, &fresh) {
            return Ok(Some(fresh));
        }
        Err(BackendError::Unavailable("tables or columns were renamed this moment: ask again by the names of now".to_owned()))
    }
}

/// Whether every table and column is called as before: requests come with names, and have become numbers.
fn same_names(before: &Catalog, now: &Catalog) -> bool {
    before.tables.iter().all(|table| {
        now.table(table.no).is_none_or(|now| {
            now.path == table.path && table.columns.iter().all(|was| now.column(was.no).is_none_or(|now| now.name == was.name))
        })
    })
}

/// Once more under a newer catalog, where the one in force does not fit the database any more.
macro_rules! fitting {
    ($core:ident, |$catalog:ident| $asked:expr) => {{
        let $catalog = Self::catalog($core);
        let done = $asked.await;
        match $core.newer(&$catalog, &done).await? {
            Some($catalog) => $asked.await,
            None => done,
        }
    }};
}

#[async_trait]
impl Backend for Core {
    fn server_name(&self) -> String {
        NAME.to_owned()
    }

    fn catalog(&self) -> Result<Arc<Catalog>> {
        Ok(Self::catalog(self))
    }

    async fn ready(&self) -> Result<()> {
        // The answer of a table of the engine's: the database is there and migrated.
        let answer = self.client().await?.query_opt("SELECT 1 FROM rejoin.state LIMIT 1", &[]).await;
        Ok(answer.map(drop).map_err(StoreError::from)?)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>> {
        fitting!(self, |catalog| records::list(&self.db, &catalog, query))
    }

    async fn count(&self, query: &ListQuery) -> Result<u64> {
        fitting!(self, |catalog| records::count(&self.db, &catalog, query))
    }

    async fn groups(&self, query: &GroupQuery) -> Result<Vec<Group>> {
        fitting!(self, |catalog| records::groups(&self.db, &catalog, query))
    }

    async fn get(&self, table: TableNo, key: &Key) -> Result<Option<Record>> {
        fitting!(self, |catalog| records::get(&self.db, &catalog, table, key))
    }

    async fn write(&self, by: &Principal, table: TableNo, write: &Write) -> Result<Record> {
        fitting!(self, |catalog| records::write(&self.db, &catalog, by, table, write))
    }

    async fn act(&self, by: &Principal, action: Arc<dyn Action>) -> Result<Vec<Record>> {
        fitting!(self, |catalog| records::act(&self.db, &catalog, by, action.as_ref()))
    }

    async fn import(&self, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported> {
        fitting!(self, |catalog| records::import(&self.db, &catalog, by, rows))
    }

    async fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<Conflict>> {
        Ok(conflicts::list(&self.client().await?, &Self::catalog(self), query).await?)
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<Conflict>> {
        Ok(conflicts::get(&self.client().await?, &Self::catalog(self), id).await?)
    }

    async fn conflict_detail(&self, id: ConflictId) -> Result<Option<ConflictDetail>> {
        Ok(conflicts::detail(&self.client().await?, &Self::catalog(self), id).await?)
    }

    async fn knows_site(&self, name: &str) -> Result<bool> {
        Ok(sites::is_known(&self.client().await?, name).await?)
    }

    async fn conflict_counts(&self, filter: &ConflictFilter) -> Result<ConflictCounts> {
        Ok(conflicts::counts(&self.client().await?, filter).await?)
    }

    async fn conflict_groups(&self, query: &ConflictQuery) -> Result<Vec<ConflictGroup>> {
        Ok(conflicts::groups(&self.client().await?, &Self::catalog(self), query).await?)
    }

    async fn resolve_many(
        &self,
        by: &Principal,
        decision: &BulkDecision,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BulkOutcome> {
        // Part of them may be decided by then, so not all of it is asked again.
        let renew = |catalog, error| -> BoxFuture<'_, _> { Box::pin(async move { self.renewed(&catalog, &error).await }) };
        conflicts::resolve_many(&self.db, (Self::catalog(self), &renew), &by.name, decision, progress).await
    }

    async fn history(&self, table: TableNo, key: &Key, before: Option<i64>, limit: usize) -> Result<Vec<HistoryEntry>> {
        let catalog = Self::catalog(self);
        let Some(table) = catalog.table(table) else { return Ok(Vec::new()) };
        Ok(history::list(&self.client().await?, table, key, before, limit).await?)
    }

    async fn resolve(&self, by: &Principal, command: &ResolveCommand) -> Result<Conflict> {
        fitting!(self, |catalog| conflicts::resolve(&self.db, &catalog, &by.name, command))
    }

    fn events(&self) -> Option<broadcast::Receiver<Event>> {
        self.events.subscribe()
    }

    async fn try_policies(&self, since: DateTime<Utc>, policies: &[(TableNo, ColumnNo, Policy)]) -> Result<PolicyTrial> {
        conflicts::try_policies(&self.client().await?, &Self::catalog(self), since, policies).await
    }

    async fn digests(&self, site: Option<&str>) -> Result<Digests> {
        fitting!(self, |catalog| async { Ok(digest::digests(&self.db, &catalog, site).await?) })
    }

    async fn sync_status(&self) -> Result<SyncStatus> {
        let client = self.client().await?;
        let open = "SELECT count(*) FROM rejoin.sync_conflicts WHERE resolution = 'PENDING'";
        let seen = "SELECT max(last_seen_at) FROM rejoin.sites";
        let conflicts = client.query_one(open, &[]).await.and_then(|row| row.try_get(0)).map_err(StoreError::from)?;
        let last_checked_at = client.query_one(seen, &[]).await.and_then(|row| row.try_get(0)).map_err(StoreError::from)?;
        Ok(SyncStatus {
            server: NAME.to_owned(),
            online: true,
            paused: false,
            running: false,
            pending: 0,
            oldest_pending_at: None,
            held: 0,
            conflicts,
            last_checked_at,
            last_run: sync_log::last(&client).await?,
            next_attempt_at: None,
            last_error: self.source.complaint(),
            numbers: Vec::new(),
            one_way: Vec::new(),
            lost_programs: Vec::new(),
        })
    }

    async fn sync_log(&self, query: &LogQuery) -> Result<Vec<Run>> {
        Ok(sync_log::list(&self.client().await?, query).await?)
    }

    async fn sync_control(&self, _: SyncControl) -> Result<SyncStatus> {
        Err(BackendError::Unsupported("the cloud has no daemon: sites push and pull; run, pause or resume it at a site".to_owned()))
    }
}

#[async_trait]
impl Accounts for Core {
    async fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(accounts::user(&self.client().await?, name).await?)
    }

    async fn users(&self) -> Result<Vec<User>> {
        Ok(accounts::users(&self.client().await?).await?)
    }

    async fn put_user(&self, user: &User) -> Result<()> {
        let changed = accounts::put_user(&mut self.client().await?, user).await;
        match changed {
            Err(error) if error.sql_state() == Some(&SqlState::CHECK_VIOLATION) => Err(bad_name()),
            changed => done(changed?, &user.name),
        }
    }

    async fn remove_user(&self, name: &str) -> Result<()> {
        done(accounts::remove_user(&mut self.client().await?, name).await?, name)
    }

    async fn put_token(&self, token: &Token) -> Result<()> {
        match accounts::put_token(&self.client().await?, token).await {
            Err(error) if error.sql_state() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => {
                Err(BackendError::NotFound(format!("user {}", token.user)))
            }
            stored => Ok(stored?),
        }
    }

    async fn holder(&self, secret_hash: &str) -> Result<Option<Principal>> {
        Ok(accounts::holder(&self.client().await?, secret_hash).await?)
    }

    async fn tokens(&self, user: Option<&str>) -> Result<Vec<Token>> {
        Ok(accounts::tokens(&self.client().await?, user).await?)
    }

    async fn revoke_token(&self, id: &str) -> Result<bool> {
        Ok(accounts::revoke_token(&self.client().await?, id).await?)
    }

    async fn revoke_sessions(&self, user: &str, except: Option<&str>) -> Result<()> {
        Ok(accounts::revoke_sessions(&self.client().await?, user, except).await?)
    }
}

fn done(changed: Changed, name: &str) -> Result<()> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Unknown => Err(BackendError::NotFound(format!("user {name}"))),
        Changed::LastAdmin => Err(BackendError::Forbidden(format!("{name} is the last admin who can sign in: make another one first"))),
    }
}

fn bad_name() -> BackendError {
    let detail = "a user's name is 1 to 63 of letters, digits, '.', '_', '@' and '-', and starts with a letter or digit".to_owned();
    BackendError::Invalid(vec![FieldError { field: "name".to_owned(), code: "format", detail }])
}
