//! What a delete takes besides its own row, so that nobody decides on rows that he was not shown.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::Table;
use crate::change::row_digest;
use crate::sync_log::names;
use crate::value::Value;

/// What happens to a row that refers to one which is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BesidesEffect {
    /// It is deleted too.
    Deleted,
    /// Its reference becomes NULL or the default.
    Cleared,
    /// Its reference forbids the delete.
    Forbids,
}

names!(BesidesEffect { Deleted = "deleted", Cleared = "cleared", Forbids = "forbids" });

/// The digest of such rows, in hexadecimal digits; `None` where there are none. Neither order nor versions matter, content does.
#[must_use]
pub fn besides_digest<'a>(rows: impl IntoIterator<Item = (&'a Table, &'a [Value], BesidesEffect)>) -> Option<String> {
    let mut lines: Vec<Vec<u8>> = rows
        .into_iter()
        .map(|(table, row, effect)| {
            let mut line = table.no.0.to_be_bytes().to_vec();
            line.extend(effect.as_str().as_bytes());
            line.extend(row_digest(table, row));
            line
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    lines.sort_unstable();
    lines.dedup();
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(u64::try_from(line.len()).unwrap_or_default().to_be_bytes());
        hash.update(line);
    }
    Some(hex::encode(&hash.finalize()[..16]))
}
