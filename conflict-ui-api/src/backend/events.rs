//! What pages and programs are told as it happens.

use serde::{Deserialize, Serialize};
use sync_core::id::ConflictId;

/// What happened, for whoever listens at `/api/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// Conflicts were parked, decided or opened again. Only a hint: the list says how they stand.
    Conflicts {
        /// The table's name, where all are of one.
        table_name: Option<String>,
        /// The site, where all are of one.
        site: Option<String>,
        /// The conflict, where it is one.
        conflict: Option<ConflictId>,
        /// `parked`, `decided` (at a site: stored for the cloud), `resolved`, `reopened` or `refused` (the cloud refused a site's decision).
        what: String,
    },
    /// A sync run ended.
    Run {
        /// The site's name.
        site: String,
        /// How: COMPLETED, PARTIAL or FAILED.
        status: String,
    },
    /// The cloud's schema was changed.
    Schema {
        /// `suspended`: it cannot be brought in, and the catalog in force is served on; `published`: it was, after all.
        what: String,
        /// Why it cannot.
        error: Option<String>,
    },
    /// The listener was too slow, and events were dropped: look at everything again.
    Lagged,
}
