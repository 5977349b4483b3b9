//! What becomes of the labels of an enum, and of the rows that hold them.

use crate::catalog::Column;
use crate::value::ColumnType;

/// The rows that may have had another label before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relabelled {
    /// Those with one of these labels.
    Some(Vec<String>),
    /// Every row: it is another type under the name, to which rows came by whatever `USING` said.
    All,
}

impl Relabelled {
    /// What follows for the rows where a column, of an enum or of an array of one, has other labels than before; `None`: it has the same, or none.
    /// `rewritten`: PostgreSQL wrote the table anew; `filed`: it has a file of its own, as a partitioned table has not.
    ///
    /// RENAME VALUE leaves a label where it stands, ADD VALUE puts one between the others, and no label of a type ever goes or moves.
    #[must_use]
    pub fn between(old: &Column, now: &Column, rewritten: bool, filed: bool) -> Option<Self> {
        let (before, now) = labels_of(&old.ty).zip(labels_of(&now.ty)).filter(|(before, now)| before != now)?;
        let mut rest = now.iter();
        let only_added = before.iter().all(|label| rest.any(|other| other == label));
        Some(match (only_added, before.len() == now.len()) {
            (true, _) if !(rewritten && filed) => Self::Some(now.iter().filter(|label| !before.contains(label)).cloned().collect()),
            (false, true) if !rewritten => {
                Self::Some(before.iter().zip(now).filter(|(before, now)| before != now).map(|(_, now)| now.clone()).collect())
            }
            _ => Self::All,
        })
    }
}

/// The labels of an enum, or of the enum that an array is of.
pub(super) fn labels_of(ty: &ColumnType) -> Option<&[String]> {
    match ty {
        ColumnType::Enum(labels) => Some(labels),
        ColumnType::Array(element) => labels_of(element),
        _ => None,
    }
}
