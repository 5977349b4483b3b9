//! The port between HTTP and a server's store. Each method is one use case and one transaction; every argument and result is a
//! sync-core or API type; drivers' errors stop behind it. Both servers implement it, one conformance suite runs against both.

mod action;
mod conflicts;
mod edits;
mod events;
mod groups;
mod many;
mod people;
mod records;
mod sync;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sync_core::catalog::Catalog;
use sync_core::id::{ColumnNo, ConflictId, Key, TableNo};
use sync_core::policy::Policy;
use sync_core::wire::message::{ResolveCommand, Run};
use sync_core::write::Draft;
use tokio::sync::broadcast;

pub use action::Action;
pub use conflicts::{
    Besides, Conflict, ConflictCounts, ConflictDetail, ConflictFilter, ConflictGroup, ConflictQuery, ConflictSort, DecisionState,
    Dependent, HistoryEntry, SiteDecision,
};
pub use edits::{EditCounts, EditQuery, EditState, LocalEdit};
pub use events::Event;
pub use groups::{Figure, Figured, Group, GroupBy, GroupQuery};
pub use many::{BulkDecision, BulkOutcome, BulkReason, PolicyExample, PolicyTrial};
pub use people::{Principal, Role, Token, User};
pub use records::{Comparison, Digests, Filter, Imported, ListQuery, Place, Record, Sort, SortKey, TableDigest, Test, Write};
pub use sync::{LogQuery, LostProgram, NumbersLeft, OneWay, RunSummary, SyncControl, SyncStatus};

use crate::error::BackendError;

fn unsupported<T>(what: &str) -> Result<T> {
    Err(BackendError::Unsupported(format!("this server has no {what}")))
}

/// What a method returns.
pub type Result<T> = std::result::Result<T, BackendError>;

/// The records, the conflicts and the sync of one server.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The name that `sync_log` calls this server: `cloud`, or the site's name.
    fn server_name(&self) -> String;

    /// The catalog in force. A site that has never reached the cloud has none: `Unavailable`.
    fn catalog(&self) -> Result<Arc<Catalog>>;

    /// Whether there is or was a site of this name, as far as this server knows.
    async fn knows_site(&self, name: &str) -> Result<bool>;

    /// Whether the server can serve: database answers, migrations done. An unreachable cloud does not fail a site.
    async fn ready(&self) -> Result<()>;

    /// At most `query.limit` records in the order asked.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>>;

    /// How many records there are of this query, wherever its page begins and ends.
    async fn count(&self, query: &ListQuery) -> Result<u64>;

    /// The groups of records, with figures over each, in the order of their columns.
    async fn groups(&self, query: &GroupQuery) -> Result<Vec<Group>> {
        let _ = query;
        unsupported("groups of records")
    }

    /// One record; soft-deleted ones too.
    async fn get(&self, table: TableNo, key: &Key) -> Result<Option<Record>>;

    /// One write by a person or program: load, decide, write, in one transaction.
    async fn write(&self, by: &Principal, table: TableNo, write: &Write) -> Result<Record>;

    /// Several writes by a person or program, all or none, in one transaction: their records, in order.
    async fn act(&self, by: &Principal, action: Arc<dyn Action>) -> Result<Vec<Record>>;

    /// Writes the rows of a data set in one transaction, all or none, in the order given (parents before children). A row whose given
    /// columns have these values already is not written, so that a second import changes nothing.
    async fn import(&self, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported> {
        let _ = (by, rows);
        Err(BackendError::Unsupported("this server takes no imports: import at the cloud".to_owned()))
    }

    /// At most `query.limit` conflicts in the order asked.
    async fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<Conflict>>;

    /// One conflict.
    async fn conflict(&self, id: ConflictId) -> Result<Option<Conflict>>;

    /// One conflict with all that is needed to decide it.
    async fn conflict_detail(&self, id: ConflictId) -> Result<Option<ConflictDetail>> {
        Ok(self.conflict(id).await?.map(ConflictDetail::alone))
    }

    /// How many conflicts of this filter there are, by kind, table, site and resolution.
    async fn conflict_counts(&self, filter: &ConflictFilter) -> Result<ConflictCounts> {
        let _ = filter;
        unsupported("counts of conflicts")
    }

    /// The inbox: conflicts of this query folded by group, newest group first. `query.after` is the `example` of the last group seen.
    async fn conflict_groups(&self, query: &ConflictQuery) -> Result<Vec<ConflictGroup>> {
        let _ = query;
        unsupported("groups of conflicts")
    }

    /// Decides all open conflicts of a filter. `progress` is called with (done, of) every now and then. `Miscounted` where `expected` says
    /// another number. Dropping the future stops it: what was committed stays, nothing is left half done.
    async fn resolve_many(
        &self,
        by: &Principal,
        decision: &BulkDecision,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<BulkOutcome> {
        let _ = (by, decision, progress);
        unsupported("bulk decisions")
    }

    /// What happened to a row, newest first, older than the entry `before`.
    async fn history(&self, table: TableNo, key: &Key, before: Option<i64>, limit: usize) -> Result<Vec<HistoryEntry>> {
        let _ = (table, key, before, limit);
        unsupported("history")
    }

    /// The edits of this server that are not in the cloud as they are here. The cloud has none: `Unsupported`.
    async fn local_edits(&self, query: &EditQuery) -> Result<Vec<LocalEdit>> {
        let _ = query;
        unsupported("local edits")
    }

    /// How many of them there are.
    async fn edit_counts(&self) -> Result<EditCounts> {
        unsupported("local edits")
    }

    /// What the conflicts and losses on record since then would have become under these policies (table, column, policy).
    async fn try_policies(&self, since: DateTime<Utc>, policies: &[(TableNo, ColumnNo, Policy)]) -> Result<PolicyTrial> {
        let _ = (since, policies);
        unsupported("trials of policies")
    }

    /// What happens from now on; `None` where this server tells nothing.
    fn events(&self) -> Option<broadcast::Receiver<Event>> {
        None
    }

    /// Resolves a conflict. At a site the decision is stored and travels with the next push (`decision_sent` is then false).
    async fn resolve(&self, by: &Principal, command: &ResolveCommand) -> Result<Conflict>;

    /// The digests of what this server holds as accepted: every synced table of the user's, live rows, without held ones. Two servers that
    /// hold the same scopes agree in them when nothing is on its way. Reads every row, in one snapshot.
    /// `site`: only the rows that this site should hold; a site has no others.
    async fn digests(&self, site: Option<&str>) -> Result<Digests> {
        let _ = site;
        Err(BackendError::Unsupported("this server makes no digests".to_owned()))
    }

    /// How the sync stands.
    async fn sync_status(&self) -> Result<SyncStatus>;

    /// Runs, newest first.
    async fn sync_log(&self, query: &LogQuery) -> Result<Vec<Run>>;

    /// Runs now, pauses or resumes the daemon. The cloud has no daemon: `Unsupported`.
    async fn sync_control(&self, control: SyncControl) -> Result<SyncStatus>;
}

/// Who may: users, sessions and tokens, as both servers keep them.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// The user of this name.
    async fn user(&self, name: &str) -> Result<Option<User>>;
    /// Every user.
    async fn users(&self) -> Result<Vec<User>>;
    /// Creates or changes a user. At a site: `Unsupported`, users are managed at the cloud.
    async fn put_user(&self, user: &User) -> Result<()>;
    /// Removes a user with his sessions and tokens.
    async fn remove_user(&self, name: &str) -> Result<()>;
    /// Stores a session (without label; kept by the server that made it) or an API token (at a site: `Unsupported`).
    async fn put_token(&self, token: &Token) -> Result<()>;
    /// Who holds the secret of this SHA-256; `None` where nobody does, or it ran out, or its user is disabled.
    async fn holder(&self, secret_hash: &str) -> Result<Option<Principal>>;
    /// API tokens of one user or of all, without sessions.
    async fn tokens(&self, user: Option<&str>) -> Result<Vec<Token>>;
    /// Revokes a token or session by its id; whether there was one. Effective at the next request.
    async fn revoke_token(&self, id: &str) -> Result<bool>;
    /// Ends a user's sessions at this server, but for the one of this id.
    async fn revoke_sessions(&self, user: &str, except: Option<&str>) -> Result<()>;
}
