//! Where an edit stands in the list.

use std::fmt;

use sync_core::id::{ConflictId, TableNo};
use uuid::Uuid;

/// A place, as the list tells it and is told to go on behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A dirty row, by its `rejoin_row`.
    Row(TableNo, i64),
    /// A later edit, by its record id.
    Later(TableNo, String),
    /// An edit that an answer parked, by its number.
    Answered(i64),
    /// A conflict.
    Conflict(ConflictId),
}

impl Place {
    /// `None` where it is none of ours: the list then begins anew.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "answered" => rest.parse().ok().map(Self::Answered),
            "conflict" => Uuid::try_parse(rest).ok().map(|id| Self::Conflict(ConflictId(id))),
            _ => {
                let (table, rest) = rest.split_once(' ')?;
                let table = TableNo(table.parse().ok()?);
                match kind {
                    "row" => rest.parse().ok().map(|row| Self::Row(table, row)),
                    "later" => Some(Self::Later(table, rest.to_owned())),
                    _ => None,
                }
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(table, row) => write!(f, "row {table} {row}"),
            Self::Later(table, record) => write!(f, "later {table} {record}"),
            Self::Answered(no) => write!(f, "answered {no}"),
            Self::Conflict(id) => write!(f, "conflict {id}"),
        }
    }
}
