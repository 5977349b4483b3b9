//! Conflicts as both servers show them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::ConflictId;
use sync_core::policy::Policy;
use uuid::Uuid;

/// Which conflicts; every member that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConflictFilter {
    /// Of this resolution.
    #[serde(default)]
    pub resolution: Option<Resolution>,
    /// Of this table (its name).
    #[serde(default)]
    pub table: Option<String>,
    /// Of this kind.
    #[serde(default)]
    pub kind: Option<ConflictKind>,
    /// Of this site (its name).
    #[serde(default)]
    pub site: Option<String>,
    /// Of this group.
    #[serde(default)]
    pub group: Option<Uuid>,
    /// Of the site's push of this number.
    #[serde(default)]
    pub push: Option<i64>,
    /// In which this column clashed (its name).
    #[serde(default)]
    pub column: Option<String>,
    /// Parked at or after this time.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// Parked before this time.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// Of this row (its record id; with `table`).
    #[serde(default)]
    pub record: Option<String>,
    /// Decided by a policy (`true`: losses on record) or not.
    #[serde(default)]
    pub by_policy: Option<bool>,
    /// Hanging from this conflict.
    #[serde(default)]
    pub root: Option<ConflictId>,
}

/// The order of a list of conflicts; between equals the smaller id comes first, and texts are ordered by bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictSort {
    /// By the time of parking, newest first.
    #[default]
    Newest,
    /// By the time of parking, oldest first.
    Oldest,
    /// By table and record.
    Record,
    /// By site, newest first.
    Site,
}

/// A page of conflicts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConflictQuery {
    /// Which.
    pub filter: ConflictFilter,
    /// In which order.
    pub sort: ConflictSort,
    /// Only those after this one in the list's order.
    pub after: Option<ConflictId>,
    /// At most this many; never more than `LIST_ROWS_MAX + 1`.
    pub limit: usize,
}

/// How many conflicts of a filter there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictCounts {
    /// All of them.
    pub total: u64,
    /// By kind.
    pub by_kind: BTreeMap<String, u64>,
    /// By table.
    pub by_table: BTreeMap<String, u64>,
    /// By site.
    pub by_site: BTreeMap<String, u64>,
    /// By resolution.
    pub by_resolution: BTreeMap<String, u64>,
}

/// One line of the inbox: the conflicts of one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictGroup {
    /// Its id; a conflict parked before groups were kept is a group of its own, with its own id.
    pub id: Uuid,
    /// The table's name.
    pub table_name: String,
    /// What clashed.
    pub kind: ConflictKind,
    /// The site's name.
    pub site: String,
    /// Conflicts of the filter in it, without those that hang from others.
    pub conflicts: u64,
    /// Those that hang from them.
    pub dependents: u64,
    /// The columns that clashed in any of them, by name.
    pub columns: Vec<String>,
    /// When the first one was parked.
    pub first_at: DateTime<Utc>,
    /// When the last one was.
    pub last_at: DateTime<Utc>,
    /// The first of them.
    pub example: Conflict,
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
    /// At a site: a decision was made here whose effect has not come back from the cloud yet.
    pub decided_not_sent: bool,
    /// At a site: the last decision made here, until its effect is here. A refused one stays until it is decided anew.
    #[serde(default)]
    pub decision: Option<SiteDecision>,
    /// The conflicts of one cause share it.
    pub group: Option<Uuid>,
    /// The conflict that this one hangs from.
    pub root: Option<ConflictId>,
    /// How many open conflicts hang from this one, to any depth.
    pub dependents: u64,
    /// The policy that decided, where no person did.
    pub policy: Option<Policy>,
    /// Who changed the cloud's row last, when it was parked.
    pub cloud_modified_by: Option<String>,
    /// Who changed the site's row last.
    pub local_modified_by: Option<String>,
}

/// A decision made at a site, as far as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteDecision {
    /// The decision; PENDING takes one back.
    pub resolution: Resolution,
    /// How it is to be carried out.
    pub way: Way,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How far it came.
    pub state: DecisionState,
    /// Why the cloud refused it, in words.
    pub refused: Option<String>,
}

/// How far a decision made at a site came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionState {
    /// Stored: it travels with the next push, and can be replaced or taken back until then.
    Waiting,
    /// Sent, not answered yet.
    Sent,
    /// Carried out by the cloud: its effect comes with the next pull.
    Done,
    /// Refused: the conflict is open as before.
    Refused,
}

/// A conflict with all that is needed to decide it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictDetail {
    /// The conflict.
    #[serde(flatten)]
    pub conflict: Conflict,
    /// The cloud's row as it is now (the one that stands against the site's), under the columns' names; `None` where there is none, or it
    /// is not visible here.
    pub current: Option<Json>,
    /// The record id of that row where it is another one than `record_id`.
    pub against: Option<String>,
    /// The open conflicts that hang from this one, parents first.
    pub dependents_tree: Vec<Dependent>,
    /// The rows that LOCAL_WINS would delete or change besides (what came to refer to a row that is to go); at most `BESIDES_SHOWN_MAX`.
    pub besides: Vec<Besides>,
    /// How many there are.
    pub besides_total: u64,
    /// The digest of `besides`, which a decision must name where there are any.
    pub besides_digest: Option<String>,
    /// What happened to the row around the clash, newest first; empty where this server keeps no history.
    pub history: Vec<HistoryEntry>,
    /// Whether the decision can still be taken back: nobody has edited since. `None`: not decided, or not known here.
    pub undoable: Option<bool>,
}

impl ConflictDetail {
    /// A conflict of which nothing more is known than it says itself: the cloud's row is the one it was parked against.
    #[must_use]
    pub fn alone(conflict: Conflict) -> Self {
        let current = conflict.cloud_data.clone();
        Self {
            conflict,
            current,
            against: None,
            dependents_tree: Vec::new(),
            besides: Vec::new(),
            besides_total: 0,
            besides_digest: None,
            history: Vec::new(),
            undoable: None,
        }
    }
}

/// A conflict that hangs from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependent {
    /// Its id.
    pub id: ConflictId,
    /// The conflict that it hangs from directly, as far as its references say; the root where they do not.
    pub parent: ConflictId,
    /// Levels below the root, from 1.
    pub depth: u32,
    /// The table's name.
    pub table_name: String,
    /// The row's record id.
    pub record_id: String,
    /// What clashed.
    pub kind: ConflictKind,
    /// In words.
    pub reason: String,
}

/// A row that a decision would delete or change besides the conflict's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Besides {
    /// The table's name.
    pub table_name: String,
    /// The row's record id.
    pub record_id: String,
    /// What would happen to it: `deleted`, `cleared` (its reference becomes NULL or the default), `forbids` (its reference forbids the delete).
    pub effect: String,
}

/// What happened to a row once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Its number; grows.
    pub id: i64,
    /// `insert`, `update` or `delete`.
    pub op: String,
    /// The row's version afterwards.
    pub version: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub author: String,
    /// The site whose push wrote it; `None`: it was written at the cloud.
    pub site: Option<String>,
    /// The changed columns by name, each `[old, new]`.
    pub changes: Json,
}
