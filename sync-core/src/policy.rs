//! Policies: what becomes of a column (or a group of columns) that both sides changed. A pure function of base, cloud, local and policy.

use serde::{Deserialize, Serialize};

use crate::sync_log::names;
use crate::value::{ColumnType, Value};

/// What is done where both sides changed the same column to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Park it: a person decides.
    #[default]
    Manual,
    /// The cloud's value stays.
    CloudWins,
    /// The site's value is taken.
    LocalWins,
    /// The later edit is taken.
    Newest,
    /// Both changes count: of numbers, kept as operations and never as values.
    Add,
    /// Both sides' members: of arrays and of JSON arrays, taken as sets.
    Union,
    /// The greater value.
    Max,
    /// The smaller value.
    Min,
    /// Both sides' changes of a text, merged line by line; where they touch, it parks.
    Text,
    /// Both sides' changes of a JSON object, merged key by key to any depth; where they touch, it parks.
    Json,
}

names!(Policy {
    Manual = "manual",
    CloudWins = "cloud_wins",
    LocalWins = "local_wins",
    Newest = "newest",
    Add = "add",
    Union = "union",
    Max = "max",
    Min = "min",
    Text = "text",
    Json = "json",
});

/// The three values of one column that both sides changed; `cloud` and `local` differ from `base` and from each other.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// What the site's edit was made on.
    pub base: &'a Value,
    /// What the cloud has.
    pub cloud: &'a Value,
    /// What the site wrote.
    pub local: &'a Value,
    /// Whether the site's edit is the later one; `None` where that is not known.
    pub local_is_newer: Option<bool>,
}

/// What a policy makes of a clash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// Nobody can say: it parks.
    Clash,
    /// The cloud's value stays, the site's is lost.
    Cloud,
    /// The site's value is taken, the cloud's is lost.
    Local,
    /// This value holds what both sides did.
    Both(Value),
}

/// Merges one column. Pure: the same sides give the same result anywhere and at any time.
#[must_use]
pub fn merge(policy: Policy, ty: &ColumnType, sides: Sides<'_>) -> Merged {
    let _ = ty;
    match policy {
        Policy::CloudWins => Merged::Cloud,
        Policy::LocalWins => Merged::Local,
        Policy::Newest => match sides.local_is_newer {
            Some(true) => Merged::Local,
            Some(false) => Merged::Cloud,
            None => Merged::Clash,
        },
        Policy::Manual | Policy::Add | Policy::Union | Policy::Max | Policy::Min | Policy::Text | Policy::Json => Merged::Clash,
    }
}
