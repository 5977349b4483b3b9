//! Conflicts as both servers show them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::ConflictId;

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
