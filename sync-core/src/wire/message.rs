//! The messages of `/sync/v1/*`. Structs travel as MessagePack arrays by position: new fields come last, with a default.

use serde::{Deserialize, Serialize};

use crate::change::{Row, RowAnswer, RowChange};
use crate::conflict::{Resolution, Way};
use crate::id::{
    CatalogVersion, ChangeId, CloudEpoch, ColumnNo, ConflictId, Key, PushNo, ReplicaEpoch, ReplicaId, RunId, ScopeId, SiteId, TableNo, Tick,
};
use crate::sync_log::{Direction, RunStatus};
use crate::value::Value;

/// `POST /sync/v1/enrol`: a site joins with a single-use token. The only message without a site key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The token that `rejoin sites add` printed.
    pub token: String,
}

/// What a site is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The site.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// This copy of it.
    pub replica: ReplicaId,
    /// The replica's life.
    pub epoch: ReplicaEpoch,
    /// The site's key: the bearer token of every later request. Kept outside the database.
    pub key: String,
    /// The cloud's life.
    pub cloud_epoch: CloudEpoch,
}

/// Who speaks: every message but `Enrol` starts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// The replica.
    pub replica: ReplicaId,
    /// Its life.
    pub epoch: ReplicaEpoch,
    /// The cloud's life as the replica knows it.
    pub cloud_epoch: CloudEpoch,
    /// The catalog that the replica has built; 0 for none.
    pub catalog: CatalogVersion,
}

/// A replica's place in one scope's feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The scope.
    pub scope: ScopeId,
    /// The last tick that it has applied.
    pub tick: Tick,
    /// What that tick was; nil at tick 0.
    pub change: ChangeId,
    /// The cloud's MAC over cloud epoch, scope, tick and change, in hexadecimal digits.
    pub mac: String,
}

/// The answer to `POST /sync/v1/replica`, whose body is a [`Speaker`]: this copy is a clone or was restored, and is a replica of its own from
/// now on. Its push chain starts at 1; the old replica lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The new replica.
    pub replica: ReplicaId,
    /// Its life.
    pub epoch: ReplicaEpoch,
    /// The cloud's life.
    pub cloud_epoch: CloudEpoch,
}

/// `POST /sync/v1/push`: one change set. Its bytes are stored at the site before they are sent; a retry sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Who.
    pub speaker: Speaker,
    /// The number in the replica's chain, from 1.
    pub no: PushNo,
    /// The SHA-256 of the previous push's body, in hexadecimal digits; empty for the first.
    pub previous: String,
    /// The cursors of the scopes that the rows touch, as far as the site has one.
    pub cursors: Vec<Cursor>,
    /// Resolutions made at the site; run before the rows.
    pub commands: Vec<ResolveCommand>,
    /// Whether the rows were dirty when the replica's epoch began: then any clash parks, whatever the policy.
    pub reoffer: bool,
    /// The changed rows.
    pub rows: Vec<RowChange>,
}

/// A resolution on its way: never merged, the first one wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveCommand {
    /// The conflict.
    pub conflict: ConflictId,
    /// Its revision that the person saw.
    pub revision: i64,
    /// The cloud row's ETag that the person saw; `None` where there was no row.
    pub cloud_etag: Option<String>,
    /// The decision.
    pub resolution: Resolution,
    /// The merged values for MANUAL.
    pub values: Vec<(ColumnNo, Value)>,
    /// Who decided.
    pub by: String,
    /// How it is carried out.
    #[serde(default)]
    pub way: Way,
    /// The digest of the rows that the person saw would go or be changed besides (`ConflictDetail::besides`); `None`: none were shown.
    #[serde(default)]
    pub besides: Option<String>,
}

/// The answer to a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushAnswer {
    /// The push's number.
    pub no: PushNo,
    /// The SHA-256 of the push's body, in hexadecimal digits.
    pub hash: String,
    /// What became of it.
    pub result: PushResult,
    /// The cloud's MAC over replica, epoch, number and hash, in hexadecimal digits.
    pub mac: String,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushResult {
    /// Taken; one answer for each row and each command, in their order.
    Applied {
        /// The rows' answers.
        rows: Vec<RowAnswer>,
        /// The commands' answers.
        commands: Vec<CommandAnswer>,
    },
    /// Refused as a whole, its number consumed: cut it anew under the next number.
    Refused(Refusal),
    /// The number holds another push (or an answer no longer kept): a clone or a restored copy. Nothing was taken.
    Fork,
    /// The number is not the next one: the cloud has this many. Nothing was taken, the number is not consumed.
    Gap(PushNo),
}

/// Why a push was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It was cut under another catalog than the cloud's: pull first.
    Catalog(CatalogVersion),
    /// Over a limit or malformed, in words.
    Malformed(String),
}

/// What became of a resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandAnswer {
    /// Done.
    Done,
    /// Refused, in words: outdated, resolved already, or what a constraint said. The conflict is open again at the site.
    Refused(String),
}

/// `POST /sync/v1/pull`: what is new in the site's scopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Who.
    pub speaker: Speaker,
    /// The last push that this replica has an answer for.
    pub answered: Option<PushName>,
    /// Where the replica stands; a scope without one is new to it.
    pub cursors: Vec<Cursor>,
    /// Where to go on; `None` for the first page.
    pub next: Option<Window>,
}

/// The name of an answered push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushName {
    /// Its number.
    pub no: PushNo,
    /// Its body's SHA-256.
    pub hash: String,
    /// The MAC of its answer.
    pub mac: String,
}

/// The part of the feed that a pull is in: everything up to `heads`, of which everything up to `after` was delivered.
///
/// The cloud makes it, the site only hands it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The ticks that earlier, finished windows reached; where a scope is missing, the cursor holds.
    pub from: Vec<(ScopeId, Tick)>,
    /// The heads when the window began.
    pub heads: Vec<(ScopeId, Tick)>,
    /// The last entry delivered.
    pub after: Option<Position>,
}

/// A place inside a window: scopes in order, in a scope the gone rows (table 0) first, then tables by number, then (tick, key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The scope.
    pub scope: ScopeId,
    /// The table; 0 for gone rows.
    pub table: TableNo,
    /// The tick.
    pub tick: Tick,
    /// The key; for a gone row its table's number and its key.
    pub key: Key,
}

/// One page of a pull. Pages are spooled at the site and applied together when the last one (`next` is `None`) is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The cloud's life. Another one than the spool's: the spool is thrown away.
    pub cloud_epoch: CloudEpoch,
    /// The cloud's catalog. Another one than the site's: fetch it, migrate, start over.
    pub catalog: CatalogVersion,
    /// Every scope the site holds with its head in this page's snapshot: the new cursors once all is applied.
    pub heads: Vec<Cursor>,
    /// Rows that are gone; they apply before this page's rows.
    pub gone: Vec<Gone>,
    /// Live rows, by table.
    pub tables: Vec<TableRows>,
    /// Where to go on; `None` when this page reached the heads of its own snapshot.
    pub next: Option<Window>,
    /// Which tables the cloud does not serve for now, and why, for people: its schema was changed and does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
}

/// Live rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// The table.
    pub table: TableNo,
    /// The columns, in the order of every row's values.
    pub columns: Vec<ColumnNo>,
    /// The rows.
    pub rows: Vec<PulledRow>,
}

/// A live row on its way to a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledRow {
    /// An index into the page's `heads`: the scope.
    pub scope: u32,
    /// The tick.
    pub tick: Tick,
    /// The cloud's version.
    pub version: i64,
    /// When it was changed.
    pub updated_at: String,
    /// By whom.
    pub modified_by: Option<String>,
    /// When the cloud accepted it.
    pub synced_at: Option<String>,
    /// The values, in the order of the table's `columns`.
    pub values: Row,
}

/// A row that is gone from a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The table.
    pub table: TableNo,
    /// The row's key.
    pub key: Key,
    /// An index into the page's `heads`: the scope.
    pub scope: u32,
    /// The tick.
    pub tick: Tick,
    /// The version after the delete.
    pub version: i64,
    /// When.
    pub at: String,
    /// By whom.
    pub by: Option<String>,
    /// Whether the row lives on in another scope (a left mark) and is not deleted (a tombstone).
    pub left: bool,
}

/// `POST /sync/v1/lease`: numbers for the keys of rows to be made at the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who.
    pub speaker: Speaker,
    /// The number of the last answer that this replica has stored; 0 for none. What later answers held got lost, and is given again.
    pub answered: i64,
    /// What is asked for.
    pub wants: Vec<LeaseWant>,
}

/// Numbers wanted for one key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWant {
    /// The table.
    pub table: TableNo,
    /// The column.
    pub column: ColumnNo,
    /// How many. The answer may hold fewer, or more where an earlier answer got lost.
    pub count: u32,
}

/// The answer to a [`LeaseRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Its number; grows with every answer that gives numbers to this replica. 0 where it gives none.
    pub no: i64,
    /// The numbers.
    pub leases: Vec<Lease>,
    /// What was asked for and cannot be given, in words.
    pub refused: Vec<LeaseRefusal>,
}

/// Numbers that are the replica's own from now on: `first`, `first + step`, .. `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The table.
    pub table: TableNo,
    /// The column.
    pub column: ColumnNo,
    /// The first number.
    pub first: i64,
    /// The last number.
    pub last: i64,
    /// From one to the next; below 0 where the sequence counts down.
    pub step: i64,
}

/// Why no numbers were given for a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRefusal {
    /// The table.
    pub table: TableNo,
    /// The column.
    pub column: ColumnNo,
    /// In words.
    pub reason: String,
}

/// `POST /sync/v1/log`: the site's runs, so that an admin sees what failed while the link was down. Answered by an empty body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUpload {
    /// Who.
    pub speaker: Speaker,
    /// Ended runs that the cloud has not confirmed yet.
    pub runs: Vec<Run>,
}

/// One row of `sync_log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id, made at the site.
    pub id: RunId,
    /// What it was to do.
    pub direction: Direction,
    /// When it began.
    pub started_at: String,
    /// When it ended; `None` only while it runs.
    pub completed_at: Option<String>,
    /// How it ended.
    pub status: RunStatus,
    /// Rows sent and accepted plus rows received.
    pub records_synced: i64,
    /// Conflicts that this run's push parked.
    pub conflicts_detected: i64,
    /// What went wrong, as a JSON array of `{"step","message"}`; `None` where nothing did.
    pub errors: Option<String>,
    /// The site's name.
    pub server_id: String,
    /// Bytes sent.
    pub bytes_up: i64,
    /// Bytes received.
    pub bytes_down: i64,
    /// The cursors when it began, as JSON `{"scope":tick}`.
    pub cursors_before: Option<String>,
    /// The cursors when it ended.
    pub cursors_after: Option<String>,
}
