//! The sync of a server: how it stands, its log, what it is told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sync_core::catalog::Travel;
use sync_core::id::RunId;
use sync_core::sync_log::{Direction, RunStatus};

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
    /// The numbers that this server has left for the keys of new rows, by table; empty at the cloud, which takes them from its sequences.
    #[serde(default)]
    pub numbers: Vec<NumbersLeft>,
    /// The tables that travel one way only or are kept at sites for a time only; empty at the cloud.
    #[serde(default)]
    pub one_way: Vec<OneWay>,
    /// Views, triggers and indexes of other programs in a site's file that a new catalog left without a meaning; empty at the cloud.
    #[serde(default)]
    pub lost_programs: Vec<LostProgram>,
}

/// A view, trigger or index of another program that is gone from a site's file, since it says what the catalog no longer has; or a foreign key of
/// a table of one that refers to a table which is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LostProgram {
    /// Its name; of a foreign key its table with its columns, `notes (show_id)`.
    pub name: String,
    /// `view`, `trigger`, `index` or `foreign_key`.
    pub kind: String,
    /// Its text (of a foreign key its table's), to be put right and made again; it is no longer told of then.
    pub sql: String,
    /// What SQLite says.
    pub why: String,
    /// When it went.
    pub at: Option<DateTime<Utc>>,
}

/// A table that travels one way only, or is kept at sites for a time only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OneWay {
    /// The table's name in API paths.
    pub table: String,
    /// Which way: `down` is written at the cloud only; of `up`, a site has what it wrote itself and nothing else.
    pub travel: Travel,
    /// After how many hours without a change a row goes from here; `None`: never.
    pub keep_hours: Option<u32>,
}

/// The numbers left for one identity or serial key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumbersLeft {
    /// The table's name in API paths.
    pub table: String,
    /// The column's name.
    pub column: String,
    /// How many rows can still be made.
    pub left: u64,
    /// How many there are after a refill.
    pub of: u64,
}

/// The end of a run in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Which.
    pub id: RunId,
    /// How it ended.
    pub status: RunStatus,
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
