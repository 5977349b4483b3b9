//! Policies: what becomes of a column (or a group of columns) that both sides changed. A pure function of base, cloud, local and policy.

mod json;
mod number;
mod text;

use serde::{Deserialize, Serialize};

use crate::sync_log::names;
use crate::value::{ColumnType, Value};

pub use number::{about_equal, add, difference};

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
    /// What either side put in is there, what either took out is gone: of arrays and of JSON arrays, taken as sets.
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

/// The three values of one column.
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
    /// The cloud's value stands; what the site did is lost, or in it already.
    Cloud,
    /// The site's value stands; what the cloud did is lost, or in it already.
    Local,
    /// This value holds what both sides did.
    Both(Value),
}

/// Merges one column. Pure: the same sides give the same result anywhere and at any time.
///
/// Where one side cleared the column, no policy that combines values can say what both meant: it clashes. `add` clashes too: its additions
/// are operations that were counted before, and what is left is an edit from or to NULL.
#[must_use]
pub fn merge(policy: Policy, ty: &ColumnType, sides: Sides<'_>) -> Merged {
    let Sides { base, cloud, local, local_is_newer } = sides;
    if cloud == local || local == base {
        return Merged::Cloud;
    }
    if cloud == base {
        return Merged::Local;
    }
    let side = |local_wins: bool| if local_wins { Merged::Local } else { Merged::Cloud };
    let both = |value: Option<Value>| value.map_or(Merged::Clash, |value| combined(cloud, local, value));
    let cleared = cloud.is_null() || local.is_null();
    match policy {
        Policy::CloudWins => Merged::Cloud,
        Policy::LocalWins => Merged::Local,
        Policy::Newest => local_is_newer.map_or(Merged::Clash, side),
        Policy::Manual | Policy::Add => Merged::Clash,
        _ if cleared => Merged::Clash,
        Policy::Max => number::order(ty, local, cloud).map_or(Merged::Clash, |order| side(order.is_gt())),
        Policy::Min => number::order(ty, local, cloud).map_or(Merged::Clash, |order| side(order.is_lt())),
        Policy::Union => both(json::union(base, cloud, local)),
        Policy::Json => both(json::merge(base, cloud, local)),
        Policy::Text => both(text::merge(base, cloud, local)),
    }
}

/// A combination that is what one side has already needs no writing there.
fn combined(cloud: &Value, local: &Value, value: Value) -> Merged {
    if value == *cloud {
        Merged::Cloud
    } else if value == *local {
        Merged::Local
    } else {
        Merged::Both(value)
    }
}

impl Policy {
    /// Whether one side's value is given up where the policy decides for the other: then it is recorded as a loss. `union`, `text` and `json`
    /// hold what both did even where the result is the same as one side's value.
    #[must_use]
    pub fn loses(self) -> bool {
        matches!(self, Self::CloudWins | Self::LocalWins | Self::Newest | Self::Max | Self::Min)
    }

    /// Whether columns that are compared as one may have it.
    #[must_use]
    pub fn fits_group(self) -> bool {
        matches!(self, Self::Manual | Self::CloudWins | Self::LocalWins | Self::Newest)
    }

    /// Whether a column of this type may have it.
    #[must_use]
    pub fn fits(self, ty: &ColumnType) -> bool {
        match self {
            Self::Manual | Self::CloudWins | Self::LocalWins | Self::Newest => true,
            Self::Add => number::adds(ty),
            Self::Union => matches!(ty, ColumnType::Array(_) | ColumnType::Json),
            Self::Max | Self::Min => number::orders(ty),
            Self::Text => matches!(ty, ColumnType::Text),
            Self::Json => matches!(ty, ColumnType::Json),
        }
    }
}
