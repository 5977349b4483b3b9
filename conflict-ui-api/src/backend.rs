//! The port between HTTP and a server's store. Each method is one use case and one transaction; every argument and result is a
//! sync-core or API type; drivers' errors stop behind it. Both servers implement it, one conformance suite runs against both.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sync_core::catalog::Catalog;
use sync_core::change::{Row, Stamp};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ColumnNo, ConflictId, Key, RunId, TableNo};
use sync_core::sync_log::Direction;
use sync_core::value::Value;
use sync_core::wire::message::{ResolveCommand, Run};
use sync_core::write::Draft;

use crate::error::BackendError;

/// What a method returns.
pub type Result<T> = std::result::Result<T, BackendError>;

/// The records, the conflicts and the sync of one server.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The name that `sync_log` calls this server: `cloud`, or the site's name.
    fn server_name(&self) -> String;

    /// The catalog in force. A site that has never reached the cloud has none: `Unavailable`.
    fn catalog(&self) -> Result<Arc<Catalog>>;

    /// Whether the server can serve: database answers, migrations done. An unreachable cloud does not fail a site.
    async fn ready(&self) -> Result<()>;

    /// At most `query.limit` records in the order asked.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Record>>;

    /// One record; soft-deleted ones too.
    async fn get(&self, table: TableNo, key: &Key) -> Result<Option<Record>>;

    /// One write by a person or program: load, decide, write, in one transaction.
    async fn write(&self, by: &Principal, table: TableNo, write: &Write) -> Result<Record>;

    /// Writes the rows of a data set in one transaction, all or none, in the order given (parents before children). A row whose given
    /// columns have these values already is not written, so that a second import changes nothing.
    async fn import(&self, by: &Principal, rows: &[(TableNo, Draft)]) -> Result<Imported> {
        let _ = (by, rows);
        Err(BackendError::Unsupported("this server takes no imports: import at the cloud".to_owned()))
    }

    /// At most `query.limit` conflicts, newest first.
    async fn conflicts(&self, query: &ConflictQuery) -> Result<Vec<Conflict>>;

    /// One conflict.
    async fn conflict(&self, id: ConflictId) -> Result<Option<Conflict>>;

    /// Resolves a conflict. At a site the decision is stored and travels with the next push (`decision_sent` is then false).
    async fn resolve(&self, by: &Principal, command: &ResolveCommand) -> Result<Conflict>;

    /// The digests of what this server holds as accepted: every synced table of the user's, live rows, without held ones. Two servers that
    /// hold the same scopes agree in them when nothing is on its way. Reads every row, in one snapshot.
    async fn digests(&self) -> Result<Digests> {
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

/// Somebody who passed the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The user's name; goes into `last_modified_by`.
    pub name: String,
    /// What he may.
    pub role: Role,
}

/// What somebody may do; each role may what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read records, conflicts and the log.
    Viewer,
    /// Write records, run syncs.
    Editor,
    /// Resolve conflicts, manage sites, users and tokens.
    Admin,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// Argon2id in PHC form; `None` until the first password is set.
    #[serde(skip)]
    pub password_hash: Option<String>,
    /// A one-time secret's SHA-256 (hexadecimal digits): signs in once, to set a password.
    #[serde(skip)]
    pub one_time_hash: Option<String>,
    /// Whether sign-in is refused.
    pub disabled: bool,
}

/// A session or an API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id, shown in lists: see [`Token::id_of`].
    pub id: String,
    /// Whose.
    pub user: String,
    /// What it is for; `None` for a session.
    pub label: Option<String>,
    /// Its secret's SHA-256, hexadecimal digits.
    #[serde(skip)]
    pub secret_hash: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it runs out.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Token {
    /// The id of a token or session, from its secret's SHA-256: the first 16 of its hexadecimal digits. Whoever holds the secret knows the id,
    /// nobody comes from the id to the secret.
    #[must_use]
    pub fn id_of(secret_hash: &str) -> String {
        secret_hash.chars().take(16).collect()
    }
}

/// A record as a server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The values of the table's columns.
    pub row: Row,
    /// The versioning.
    pub stamp: Stamp,
    /// Where it is.
    pub place: Place,
}

/// Where a record is, as a technician asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Accepted by the cloud.
    Cloud,
    /// Changed here, not sent or not answered yet.
    Here,
    /// An insert that the cloud could not accept, kept here until its conflict is resolved.
    Held,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The table.
    pub table: TableNo,
    /// Columns that must equal a value; NULL asks for NULL.
    pub filters: Vec<(ColumnNo, Value)>,
    /// The order. Whoever builds the query appends the key columns that are missing, so that it is total.
    ///
    /// NULLs come last ascending and first descending. Text, enums and uuids are ordered by bytes (`COLLATE "C"`, BINARY), all else by value.
    pub sort: Vec<Sort>,
    /// One value for each of `sort`, those of the last record seen; the list goes on behind it. May be NULL where the column may.
    pub after: Option<Vec<Value>>,
    /// At most this many; never more than `LIST_ROWS_MAX + 1` (one more than a page tells whether there is another).
    pub limit: usize,
    /// Whether soft-deleted records are listed too.
    pub deleted: bool,
}

/// One step of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortKey,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What a list can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// A column.
    Column(ColumnNo),
    /// The stamp `version`; in `after` an integer.
    Version,
    /// The stamp `updated_at`; in `after` canonical timestamptz text.
    UpdatedAt,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A new record.
    Create(Draft),
    /// Changed columns; never the key's and never the soft-delete mark. A soft-deleted record is `NotFound`.
    Update {
        /// Which record.
        key: Key,
        /// The new values.
        draft: Draft,
        /// The ETags one of which the record must have; `None`: any.
        if_match: Option<Vec<String>>,
    },
    /// A delete: soft where the table has a mark, else real. The record returned is the one deleted. A soft-deleted record is `NotFound`.
    Delete {
        /// Which record.
        key: Key,
        /// As above.
        if_match: Option<Vec<String>>,
    },
    /// Brings back a soft-deleted record and what was deleted with it; a live one is returned as it is.
    Restore {
        /// Which record.
        key: Key,
    },
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// New rows.
    pub created: u64,
    /// Rows of which a column was changed.
    pub updated: u64,
    /// Rows that were there as given.
    pub unchanged: u64,
}

/// Which conflicts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictQuery {
    /// Only of this resolution.
    pub resolution: Option<Resolution>,
    /// Only of this table (its name).
    pub table: Option<String>,
    /// Only of this kind.
    pub kind: Option<ConflictKind>,
    /// Only of this site (its name).
    pub site: Option<String>,
    /// Only older than this conflict in the list's order (created_at, then id, both descending).
    pub after: Option<ConflictId>,
    /// At most this many; never more than `LIST_ROWS_MAX + 1`.
    pub limit: usize,
}

/// A conflict as the API shows it: the seed's columns and ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// Its id.
    pub id: ConflictId,
    /// The table's name.
    pub table_name: String,
    /// The row's record id.
    pub record_id: String,
    /// What clashed.
    pub kind: ConflictKind,
    /// In words.
    pub reason: String,
    /// The columns that clashed, by name; empty where the row as a whole did.
    pub columns: Vec<String>,
    /// The cloud row's version; `None` where there is none.
    pub cloud_version: Option<i64>,
    /// The site's version.
    pub local_version: Option<i64>,
    /// The base values that the site's edit was made on.
    pub base_data: Option<serde_json::Value>,
    /// The cloud's row when it was parked; `None` where there was none, or it is not visible to this site.
    pub cloud_data: Option<serde_json::Value>,
    /// The site's row.
    pub local_data: Option<serde_json::Value>,
    /// When the cloud's row was changed.
    pub cloud_updated_at: Option<DateTime<Utc>>,
    /// When the site's was.
    pub local_updated_at: Option<DateTime<Utc>>,
    /// The cloud row's ETag now: what a resolution must name. `None` where there is no row.
    pub cloud_etag: Option<String>,
    /// Grows when a later clash of the same row joins; a resolution must name it.
    pub revision: i64,
    /// Whether the row is an insert held at its site.
    pub held: bool,
    /// The site's name.
    pub site: String,
    /// The push that brought it.
    pub push: i64,
    /// The decision.
    pub resolution: Resolution,
    /// When.
    pub resolved_at: Option<DateTime<Utc>>,
    /// By whom.
    pub resolved_by: Option<String>,
    /// When it was parked.
    pub created_at: DateTime<Utc>,
    /// At a site: a decision was made here that the cloud has not confirmed yet.
    pub decided_not_sent: bool,
}

/// What a server holds, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digests {
    /// Over all tables, in hexadecimal digits.
    pub digest: String,
    /// The rows in it.
    pub rows: u64,
    /// Held rows, which are not in it.
    pub held: u64,
    /// Each table by itself, in order of their numbers.
    pub tables: Vec<TableDigest>,
}

/// The digest of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDigest {
    /// The table, `schema.name`.
    pub table: String,
    /// Over its accepted rows, in hexadecimal digits.
    pub digest: String,
    /// The rows in it.
    pub rows: u64,
    /// The record ids of held rows, which are not in it.
    pub held: Vec<String>,
}

/// How a server's sync stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// `cloud`, or the site's name.
    pub server: String,
    /// Whether the cloud answered last time; always true at the cloud.
    pub online: bool,
    /// Whether the daemon is paused.
    pub paused: bool,
    /// Whether a run is under way.
    pub running: bool,
    /// Rows changed here and not accepted yet.
    pub pending: i64,
    /// When the oldest of them was changed.
    pub oldest_pending_at: Option<DateTime<Utc>>,
    /// Inserts held here.
    pub held: i64,
    /// Conflicts without a decision.
    pub conflicts: i64,
    /// When the cloud was last asked with success, also when nothing moved.
    pub last_checked_at: Option<DateTime<Utc>>,
    /// The last run in the log.
    pub last_run: Option<RunSummary>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What went wrong last, until a run succeeds.
    pub last_error: Option<String>,
}

/// The end of a run in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Which.
    pub id: RunId,
    /// How it ended.
    pub status: sync_core::sync_log::RunStatus,
    /// When.
    pub completed_at: Option<DateTime<Utc>>,
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only of this server.
    pub server: Option<String>,
    /// Only older than this run in the list's order (started_at, then id, both descending).
    pub after: Option<RunId>,
    /// At most this many; never more than `LIST_ROWS_MAX + 1`.
    pub limit: usize,
}

/// What the daemon is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncControl {
    /// Run now and wait for the end.
    Run(Direction),
    /// Do nothing by yourself until resumed.
    Pause,
    /// Go on.
    Resume,
}
