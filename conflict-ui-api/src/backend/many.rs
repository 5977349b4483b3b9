//! Many conflicts at once: decided by one action, or tried under other policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sync_core::conflict::Resolution;
use sync_core::id::ConflictId;

use super::conflicts::ConflictFilter;

/// A decision on all conflicts of a filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BulkDecision {
    /// Which; only open ones count.
    pub filter: ConflictFilter,
    /// CLOUD_WINS or LOCAL_WINS.
    pub resolution: Resolution,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// All of them or none; else each one by itself.
    #[serde(default)]
    pub all_or_nothing: bool,
    /// How many the person was shown: another number is refused as outdated, so that nothing is decided unseen.
    #[serde(default)]
    pub expected: Option<u64>,
}

/// What became of a bulk decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkOutcome {
    /// Conflicts of the filter.
    pub matched: u64,
    /// Decided (in a dry run: that could be), with those that hung from them.
    pub resolved: u64,
    /// Not decided.
    pub refused: u64,
    /// Why, by reason, with one conflict each as an example; at most `BULK_REASONS_MAX` reasons.
    pub reasons: Vec<BulkReason>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// Why conflicts of a bulk decision were not decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkReason {
    /// In words.
    pub reason: String,
    /// How many.
    pub conflicts: u64,
    /// One of them.
    pub example: ConflictId,
}

/// What the conflicts and losses on record would have become under other policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTrial {
    /// Conflicts and losses looked at: those in which one of the columns clashed.
    pub looked_at: u64,
    /// Would have been merged with both sides kept.
    pub merged: u64,
    /// Would have been decided for the cloud.
    pub cloud_wins: u64,
    /// Would have been decided for the site.
    pub local_wins: u64,
    /// Would still have been parked.
    pub parked: u64,
    /// Too little of them is on record to tell.
    pub unknown: u64,
    /// By site.
    pub by_site: BTreeMap<String, u64>,
    /// A few of them: what each would have become.
    pub examples: Vec<PolicyExample>,
}

/// One conflict or loss under another policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyExample {
    /// The conflict.
    pub conflict: ConflictId,
    /// The column's name.
    pub column: String,
    /// `merged`, `cloud_wins`, `local_wins` or `parked`.
    pub outcome: String,
    /// The value that would stand; `None` where it would be parked.
    pub value: Option<Json>,
}
