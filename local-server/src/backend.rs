//! The API's ports over this site's store: each method one use case and one transaction. Nothing here needs the cloud.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use conflict_ui_api::backend::{
    Accounts, Action, Backend, BulkDecision, BulkOutcome, Conflict, ConflictCounts, ConflictDetail, ConflictFilter, ConflictGroup,
    ConflictQuery, Digests, EditCounts, EditQuery, Event, Group, GroupQuery, Imported, ListQuery, LocalEdit, LogQuery, Principal, Record,
    Result, SyncControl, SyncStatus, Token, User, Write,
};
use conflict_ui_api::error::BackendError;
use sync_core::catalog::Catalog;
use sync_core::id::{ConflictId, Key, TableNo};
use sync_core::wire::message::{ResolveCommand, Run};
use sync_core::write::Draft;
use tokio::sync::{broadcast, watch};

use crate::daemon::Daemon;
use crate::store::{Database, DbError, StoreError, accounts, conflicts, digests, edits, install, records, status};

/// The site behind the API.
#[derive(Clone)]
pub struct SiteBackend {
    name: String,
    db: Database,
    daemon: Option<Arc<Daemon>>,
}

impl SiteBackend {
    /// The backend of the site of this name. Without a daemon it serves what it has and cannot sync.
    #[must_use]
    pub fn new(name: String, db: Database, daemon: Option<Arc<Daemon>>) -> Self {
        Self { name, db, daemon }
    }

    /// Tells listeners that something was decided here: one conflict, or many.
    fn decided(&self, conflict: Option<&Conflict>) {
        if let Some(daemon) = &self.daemon {
            let event = Event::Conflicts {
                table_name: conflict.map(|conflict| conflict.table_name.clone()),
                site: Some(self.name.clone()),
                conflict: conflict.map(|conflict| conflict.id),
                what: "decided".to_owned(),
            };
            // Nobody may listen.
            drop(daemon.events().send(event));
        }
    }

    async fn read<T, E, F>(&self, job: F) -> Result<T>
    where
        F: FnOnce(&rusqlite::Connection) -> std::result::Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Into<BackendError> + Send + 'static,
    {
        self.db.read(job).await.map_err(Into::into)
    }
}

#[async_trait]
impl Backend for SiteBackend {
    fn server_name(&self) -> String {
        self.name.clone()
    }

    fn catalog(&self) -> Result<Arc<Catalog>> {
        let none = "this site has not reached the cloud yet and knows no tables: it serves as soon as it has";
        self.db.catalog().ok_or_else(|| BackendError::Unavailable(none.to_owned()))
    }

    async fn ready(&self) -> Result<()> {
        self.catalog()?;
        self.read(|connection| Ok::<_, StoreError>(connection.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| {
            install::check_current(connection, &catalog)?;
            records::list(connection, &catalog, &query)
        })
        .await
    }

    async fn count(&self, query: &ListQuery) -> Result<u64> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| {
            install::check_current(connection, &catalog)?;
            records::count(connection, &catalog, &query)
        })
        .await
    }

    async fn groups(&self, query: &GroupQuery) -> Result<Vec<Group>> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| {
            install::check_current(connection, &catalog)?;
            records::groups(connection, &catalog, &query)
        })
        .await
    }

    async fn get(&self, table: TableNo, key: &Key) -> Result<Option<Record>> {
        let (catalog, key) = (self.catalog()?, key.clone());
        self.read(move |connection| {
            install::check_current(connection, &catalog)?;
            records::get(connection, &catalog, table, &key)
        })
        .await
    }

    async fn write(&self, by: &Principal, table: TableNo, write: &Write) -> Result<Record> {
        let (catalog, by, write) = (self.catalog()?, by.clone(), write.clone());
        self.db
            .write(move |connection| {
                install::check_current(connection, &catalog)?;
                records::write(connection, &catalog, &by, table, &write)
            })
            .await
    }

    async fn act(&self, by: &Principal, action: Arc<dyn Action>) -> Result<Vec<Record>> {
        let (catalog, by) = (self.catalog()?, by.clone());
        self.db
            .write(move |connection| {
                install::check_current(connection, &catalog)?;
                records::act(connection, &catalog, &by, action.as_ref())
            })
            .await
    }

    async fn import(&self, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported> {
        let (catalog, by, rows) = (self.catalog()?, by.clone(), rows.to_vec());
        self.db
            .write(move |connection| {
                install::check_current(connection, &catalog)?;
                records::import(connection, &catalog, &by, &rows)
            })
            .await
    }

    async fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<Conflict>> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| conflicts::list(connection, &catalog, &query)).await
    }

    async fn conflict(&self, id: ConflictId) -> Result<Option<Conflict>> {
        let catalog = self.catalog()?;
        self.read(move |connection| conflicts::get(connection, &catalog, id)).await
    }

    async fn conflict_detail(&self, id: ConflictId) -> Result<Option<ConflictDetail>> {
        let catalog = self.catalog()?;
        self.read(move |connection| conflicts::detail(connection, &catalog, id)).await
    }

    async fn knows_site(&self, name: &str) -> Result<bool> {
        Ok(name == self.server_name())
    }

    async fn conflict_counts(&self, filter: &ConflictFilter) -> Result<ConflictCounts> {
        let filter = filter.clone();
        self.read(move |connection| conflicts::counts(connection, &filter)).await
    }

    async fn conflict_groups(&self, query: &ConflictQuery) -> Result<Vec<ConflictGroup>> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| conflicts::groups(connection, &catalog, &query)).await
    }

    async fn resolve(&self, by: &Principal, command: &ResolveCommand) -> Result<Conflict> {
        let (catalog, command) = (self.catalog()?, ResolveCommand { by: by.name.clone(), ..command.clone() });
        let conflict: Conflict = self
            .db
            .write(move |connection| {
                install::check_current(connection, &catalog)?;
                conflicts::decide(connection, &catalog, &command)
            })
            .await?;
        self.decided(Some(&conflict));
        Ok(conflict)
    }

    async fn resolve_many(
        &self,
        by: &Principal,
        decision: &BulkDecision,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BulkOutcome> {
        let (catalog, by, decision) = (self.catalog()?, by.name.clone(), decision.clone());
        let dry_run = decision.dry_run;
        let (tell, mut told) = watch::channel((0, 0));
        let job = self.db.write(move |connection| {
            install::check_current(connection, &catalog)?;
            let mut progress = |done, of| {
                tell.send_replace((done, of));
            };
            conflicts::decide_many(connection, &catalog, &by, &decision, &mut progress)
        });
        tokio::pin!(job);
        let outcome = loop {
            tokio::select! {
                outcome = &mut job => break outcome?,
                Ok(()) = told.changed() => {
                    let (done, of) = *told.borrow_and_update();
                    progress(done, of);
                }
            }
        };
        let (done, of) = *told.borrow_and_update();
        progress(done, of);
        if !dry_run && outcome.resolved > 0 {
            self.decided(None);
        }
        Ok(outcome)
    }

    async fn local_edits(&self, query: &EditQuery) -> Result<Vec<LocalEdit>> {
        let (catalog, query) = (self.catalog()?, query.clone());
        self.read(move |connection| edits::edits(connection, &catalog, &query)).await
    }

    async fn edit_counts(&self) -> Result<EditCounts> {
        let catalog = self.catalog()?;
        self.read(move |connection| edits::counts(connection, &catalog)).await
    }

    fn events(&self) -> Option<broadcast::Receiver<Event>> {
        self.daemon.as_ref().map(|daemon| daemon.events().subscribe())
    }

    async fn digests(&self, _: Option<&str>) -> Result<Digests> {
        let catalog = self.catalog()?;
        self.read(move |connection| digests::digests(connection, &catalog)).await
    }

    async fn sync_status(&self) -> Result<SyncStatus> {
        let daemon = self.daemon.as_ref().map(|daemon| daemon.status()).unwrap_or_default();
        let (catalog, name) = (self.db.catalog(), self.name.clone());
        self.read(move |connection| status::status(connection, catalog, name, daemon)).await
    }

    async fn sync_log(&self, query: &LogQuery) -> Result<Vec<Run>> {
        let query = query.clone();
        self.read(move |connection| status::log(connection, &query)).await
    }

    async fn sync_control(&self, control: SyncControl) -> Result<SyncStatus> {
        let none = || BackendError::Unavailable("this server does not sync".to_owned());
        let daemon = self.daemon.as_ref().ok_or_else(none)?;
        let done = match control {
            // How it ended stands in the log and in the status.
            SyncControl::Run(direction) => daemon.run(direction).await.map(drop),
            SyncControl::Pause => daemon.pause().await,
            SyncControl::Resume => daemon.resume().await,
        };
        done.map_err(|ended| BackendError::Unavailable(ended.to_string()))?;
        self.sync_status().await
    }
}

fn at_the_cloud<T>(what: &str) -> Result<T> {
    Err(BackendError::Unsupported(format!("{what} are managed at the cloud; changes reach this site by themselves")))
}

#[async_trait]
impl Accounts for SiteBackend {
    async fn user(&self, name: &str) -> Result<Option<User>> {
        let name = name.to_owned();
        self.read(move |connection| accounts::user(connection, &name)).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.read(accounts::users).await
    }

    async fn put_user(&self, _user: &User) -> Result<()> {
        at_the_cloud("users")
    }

    async fn remove_user(&self, _name: &str) -> Result<()> {
        at_the_cloud("users")
    }

    async fn put_token(&self, token: &Token) -> Result<()> {
        if token.label.is_some() {
            return at_the_cloud("API tokens");
        }
        let session = token.clone();
        Ok(self.db.apply(move |connection| accounts::put_session(connection, &session, Utc::now())).await?)
    }

    async fn holder(&self, secret_hash: &str) -> Result<Option<Principal>> {
        let hash = secret_hash.to_owned();
        self.read(move |connection| accounts::holder(connection, &hash, Utc::now())).await
    }

    async fn tokens(&self, user: Option<&str>) -> Result<Vec<Token>> {
        let user = user.map(str::to_owned);
        self.read(move |connection| accounts::tokens(connection, user.as_deref())).await
    }

    async fn revoke_token(&self, id: &str) -> Result<bool> {
        let wanted = id.to_owned();
        let ended: bool = self.db.apply(move |connection| accounts::end_session(connection, &wanted)).await?;
        if !ended && self.tokens(None).await?.iter().any(|token| token.id == id) {
            return at_the_cloud("API tokens");
        }
        Ok(ended)
    }

    async fn revoke_sessions(&self, user: &str, except: Option<&str>) -> Result<()> {
        let (user, except) = (user.to_owned(), except.map(str::to_owned));
        Ok(self.db.apply(move |connection| accounts::end_sessions(connection, &user, except.as_deref())).await?)
    }
}
