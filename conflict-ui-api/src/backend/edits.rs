//! What was changed at a site and is not in the cloud as it is there.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sync_core::id::ConflictId;

/// Where a row stands that was changed at this site and is not in the cloud as it is here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalEdit {
    /// The table's name.
    pub table_name: String,
    /// The row's record id.
    pub record_id: String,
    /// Where it stands in the list: to be given as `after`, and nothing else.
    pub place: String,
    /// Where it stands.
    pub state: EditState,
    /// `insert`, `update` or `delete`.
    pub op: String,
    /// The changed columns under the names that records have, each `[base, local]`; of an insert every column with `null` as base, of a
    /// delete every column with `null` as local. A row has an entry for each edit of it: one that waits, and one for each open conflict.
    pub changes: Json,
    /// When it was edited last.
    pub edited_at: Option<DateTime<Utc>>,
    /// By whom.
    pub edited_by: Option<String>,
    /// Its conflict, where it is parked or held.
    pub conflict: Option<ConflictId>,
}

/// Where an edit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditState {
    /// Only at this site so far.
    Waiting,
    /// Sent, not answered yet.
    Sent,
    /// An insert that the cloud could not take: kept here, and in a conflict.
    Held,
    /// Kept in a conflict; the row shows the cloud's state.
    Parked,
    /// In the cloud as it is here: told only where one record is asked for.
    Cloud,
}

/// Which local edits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditQuery {
    /// Only of this state.
    pub state: Option<EditState>,
    /// Only of this table (its name).
    pub table: Option<String>,
    /// Only of this row.
    pub record: Option<String>,
    /// Only by this user.
    pub by: Option<String>,
    /// Behind the edit of this `place`. The order is: what waits or is held, parents' tables first, then what is parked.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// How many edits stand where. Cheap, and never too few: a row that was put back by hand may count until the next push is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EditCounts {
    /// Only at this site so far.
    pub waiting: u64,
    /// Sent, not answered yet.
    pub sent: u64,
    /// Inserts held here.
    pub held: u64,
    /// In open conflicts.
    pub parked: u64,
}
