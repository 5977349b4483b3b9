//! Conflicts: their kinds, the decisions a person can take, and what a decision writes.

use serde::{Deserialize, Serialize};

use crate::catalog::{Column, DefaultValue, Table};
use crate::change::Row;
use crate::id::ColumnNo;
use crate::policy::{Policy, add, difference};
use crate::sync_log::names;
use crate::value::Value;

mod besides;
mod same_row;
mod units;

pub use besides::{BesidesEffect, besides_digest};
pub use same_row::{merged_row, repoint};
pub use units::units;

/// What clashed. The site's edit is named first, the cloud's second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// Both changed the same column to different values.
    UpdateUpdate,
    /// The site changed a row that is deleted at the cloud.
    UpdateDelete,
    /// The site deleted a row that changed at the cloud, or that rows it never saw refer to.
    DeleteUpdate,
    /// Both inserted the same key with different content.
    InsertInsert,
    /// A secondary unique key is taken.
    Unique,
    /// A row referred to does not exist at the cloud.
    ForeignKey,
    /// A check, NOT NULL or the user's trigger refused the row.
    Check,
    /// The edit is of a column or table that the schema no longer has.
    Schema,
    /// Not allowed, or too large.
    Rejected,
}

names!(ConflictKind {
    UpdateUpdate = "update_update",
    UpdateDelete = "update_delete",
    DeleteUpdate = "delete_update",
    InsertInsert = "insert_insert",
    Unique = "unique",
    ForeignKey = "foreign_key",
    Check = "check",
    Schema = "schema",
    Rejected = "rejected",
});

/// The decision on a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// None yet.
    Pending,
    /// The cloud's state stays.
    CloudWins,
    /// The site's edit is applied.
    LocalWins,
    /// The values given are written.
    Manual,
}

names!(Resolution { Pending = "PENDING", CloudWins = "CLOUD_WINS", LocalWins = "LOCAL_WINS", Manual = "MANUAL" });

/// How a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As the resolution says.
    #[default]
    Plain,
    /// The site's row and the cloud's row that has its unique value are one: what refers to the site's row refers to the cloud's afterwards.
    /// With LOCAL_WINS the cloud's row takes the site's values, with MANUAL the given ones, with CLOUD_WINS it stays as it is.
    SameRow,
    /// Takes a decision back (with PENDING): what it wrote is written back, and the conflict is open again.
    Undo,
}

names!(Way { Plain = "plain", SameRow = "same_row", Undo = "undo" });

/// What is known of a conflict when it is decided.
#[derive(Debug, Clone)]
pub struct Parked<'a> {
    /// Its kind.
    pub kind: ConflictKind,
    /// The columns that clashed; empty where the row as a whole did.
    pub clashed: &'a [ColumnNo],
    /// The values that the site's edit was made on, as far as they are known: one entry for each column of the table.
    pub base: &'a [Option<Value>],
    /// The site's row, as far as it is known: one entry for each column of the table.
    pub local: &'a [Option<Value>],
    /// Whether the site deleted the row.
    pub deleted: bool,
    /// The row of this key at the cloud now.
    pub current: Option<&'a Row>,
}

impl Parked<'_> {
    /// The site's edit laid over a row: the clashed columns, or all that are known where the row as a whole clashed. To a column of the policy
    /// `add` it adds what the site added, where its base is known.
    ///
    /// # Errors
    /// A sum that its column cannot hold.
    pub fn over(&self, table: &Table, mut row: Row) -> Result<Row, DecideError> {
        for (at, (column, local)) in table.columns.iter().zip(self.local).enumerate() {
            let Some(local) = local.as_ref().filter(|_| self.clashed.is_empty() || self.clashed.contains(&column.no)) else { continue };
            let base = self.base.get(at).and_then(Option::as_ref).filter(|_| column.policy == Policy::Add);
            row[at] = match base.and_then(|base| difference(&column.ty, base, local)) {
                Some(amount) if !row[at].is_null() => {
                    add(&column.ty, &row[at], &amount).ok_or_else(|| DecideError::OutOfRange(column.name.clone()))?
                }
                _ => local.clone(),
            };
        }
        Ok(row)
    }
}

/// What a decision writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the cloud's state stays. A held row is dropped at its site.
    Nothing,
    /// This row, inserted or over the current one.
    Write(Row),
    /// This row is inserted after the rows that hold its unique keys were deleted.
    Replace(Row),
    /// The current row is deleted.
    Delete,
}

/// Why a decision cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// PENDING is not a decision.
    #[error("PENDING is no decision: choose CLOUD_WINS, LOCAL_WINS or MANUAL")]
    NoDecision,
    /// MANUAL came without values, or values came with another decision.
    #[error("MANUAL needs the values to write, and only MANUAL takes any")]
    Values,
    /// The site's row is not known in full.
    #[error("the value of column {0} was never sent: give it with MANUAL")]
    Incomplete(String),
    /// A column that the table does not have, or no longer.
    #[error("the table no longer has a column that the decision gives a value (number {0}): decide again")]
    UnknownColumn(ColumnNo),
    /// What the site added to a column is too much by now.
    #[error("{0} cannot hold what the site added to it: give a value with MANUAL")]
    OutOfRange(String),
    /// The site's edit is only of what the schema no longer has.
    #[error(
        "the schema no longer has what the site edited: close the conflict with CLOUD_WINS, or write the value into another column with MANUAL"
    )]
    Gone,
    /// What the site gave a column is nothing that it can hold any more.
    #[error("{0} cannot hold what the site gave it any more: give a value with MANUAL, or close the conflict with CLOUD_WINS")]
    Outgrown(String),
    /// A value of the key of a row that is there.
    #[error("{0} is part of the row's key, which no decision changes")]
    ReadOnly(String),
}

/// The first clashed column whose value can be read no more.
fn outgrown(table: &Table, parked: &Parked<'_>) -> Option<String> {
    let unread = |column: &&Column| {
        let at = table.position(column.no);
        parked.clashed.contains(&column.no) && at.is_some_and(|at| parked.local.get(at).is_none_or(Option::is_none))
    };
    table.columns.iter().find(unread).map(|column| column.name.clone())
}

/// What a decision writes, given the row as it is at the cloud now. Pure: the caller has compared ETag and revision before.
///
/// # Errors
/// See [`DecideError`].
pub fn decide(table: &Table, parked: &Parked<'_>, resolution: Resolution, values: &[(ColumnNo, Value)]) -> Result<Effect, DecideError> {
    if (resolution == Resolution::Manual) == values.is_empty() {
        return Err(if resolution == Resolution::Pending { DecideError::NoDecision } else { DecideError::Values });
    }
    // What only the database can make a site leaves out of an insert; the database makes it when the row comes in.
    let made = |column: &Column| column.default == Some(DefaultValue::Cloud) && parked.kind != ConflictKind::UpdateDelete;
    let known = |column: &Column, value: Option<&Value>| match value {
        None if made(column) => Ok(Value::Null),
        value => value.cloned().ok_or_else(|| DecideError::Incomplete(column.name.clone())),
    };
    let whole = || -> Result<Row, DecideError> {
        table.columns.iter().zip(parked.local).map(|(column, value)| known(column, value.as_ref())).collect()
    };
    // An edit of a row that was only marked as deleted revives it.
    let revive = |mut row: Row| -> Row {
        if let (ConflictKind::UpdateDelete, Some(at)) = (parked.kind, table.soft_delete_position()) {
            row[at] = Value::Bool(false);
        }
        row
    };
    let overlay = |row: Row| -> Result<Row, DecideError> {
        let mut row = revive(row);
        for (no, value) in values {
            let at = table.position(*no).ok_or(DecideError::UnknownColumn(*no))?;
            if table.key.contains(no) && row[at] != *value {
                return Err(DecideError::ReadOnly(table.columns[at].name.clone()));
            }
            row[at] = value.clone();
        }
        Ok(row)
    };
    match (resolution, parked.current) {
        (Resolution::Pending, _) => Err(DecideError::NoDecision),
        (Resolution::CloudWins, _) => Ok(Effect::Nothing),
        (Resolution::Manual, Some(current)) => overlay(current.clone()).map(Effect::Write),
        (Resolution::Manual, None) => {
            let mut row = Vec::with_capacity(table.columns.len());
            for (column, local) in table.columns.iter().zip(parked.local) {
                let manual = values.iter().find(|(no, _)| *no == column.no).map(|(_, value)| value);
                row.push(known(column, manual.or(local.as_ref()))?);
            }
            Ok(Effect::Write(row))
        }
        (Resolution::LocalWins, _) if parked.kind == ConflictKind::Schema && parked.clashed.is_empty() => Err(DecideError::Gone),
        (Resolution::LocalWins, Some(_))
            if (parked.kind == ConflictKind::Schema || !parked.deleted && parked.kind != ConflictKind::DeleteUpdate)
                && outgrown(table, parked).is_some() =>
        {
            Err(DecideError::Outgrown(outgrown(table, parked).unwrap_or_default()))
        }
        (Resolution::LocalWins, Some(current)) if parked.deleted || parked.kind == ConflictKind::DeleteUpdate => {
            Ok(match table.soft_delete_position() {
                // The site only marked the row as deleted: so does the decision.
                Some(at) if parked.local[at] == Some(Value::Bool(true)) => {
                    let mut row = current.clone();
                    row[at] = Value::Bool(true);
                    Effect::Write(row)
                }
                _ => Effect::Delete,
            })
        }
        (Resolution::LocalWins, None) if parked.deleted || parked.kind == ConflictKind::DeleteUpdate => Ok(Effect::Nothing),
        (Resolution::LocalWins, Some(current)) => {
            let row = parked.over(table, revive(current.clone()))?;
            Ok(if parked.kind == ConflictKind::Unique { Effect::Replace(row) } else { Effect::Write(row) })
        }
        (Resolution::LocalWins, None) if parked.kind == ConflictKind::Schema && outgrown(table, parked).is_some() => {
            Err(DecideError::Outgrown(outgrown(table, parked).unwrap_or_default()))
        }
        (Resolution::LocalWins, None) if parked.kind == ConflictKind::Unique => whole().map(Effect::Replace),
        (Resolution::LocalWins, None) => whole().map(Effect::Write),
    }
}
