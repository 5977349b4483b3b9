//! The cloud's half of the merge: `(current, incoming) -> decision`, by value, three ways, column by column.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::catalog::{DefaultValue, Table};
use crate::change::{At, Edit, Op, Row, RowChange};
use crate::conflict::ConflictKind;
use crate::id::ColumnNo;
use crate::policy::Policy;
use crate::value::Value;

/// What the cloud has under the key that a change names (for a rekey: the old key), read under the locks.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// The live row.
    pub row: Option<&'a Row>,
    /// Where the live row stands.
    pub at: Option<&'a At>,
    /// Whether there is a tombstone of this key.
    pub tombstone: bool,
    /// When the row's `newest` columns were last edited, as far as that is known, as canonical timestamptz text.
    pub times: &'a [(ColumnNo, String)],
    /// Which of the change's additions were counted before.
    pub counted: &'a BTreeSet<Uuid>,
    /// When the push was received, as canonical timestamptz text: no edit counts as later than this.
    pub received: &'a str,
}

impl<'a> Current<'a> {
    /// What the cloud has, without edit times and additions.
    #[must_use]
    pub fn new(row: Option<&'a Row>, at: Option<&'a At>, tombstone: bool) -> Self {
        static NONE: BTreeSet<Uuid> = BTreeSet::new();
        Self { row, at, tombstone, times: &[], counted: &NONE, received: "" }
    }
}

/// A decision with what the policies had a part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// What to do.
    pub decision: Decision,
    /// The columns that a policy decided otherwise than pushed; see `RowAnswer::merged`.
    pub merged: Vec<ColumnNo>,
    /// What lost by a policy: to be recorded with its full image.
    pub losses: Vec<Loss>,
}

/// One column, group or row of which one side lost by a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The kind of clash that the policy decided.
    pub kind: ConflictKind,
    /// The columns; empty where the row as a whole clashed.
    pub columns: Vec<ColumnNo>,
    /// The policy.
    pub policy: Policy,
    /// Who lost.
    pub lost: Side,
}

/// A side of a clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The cloud.
    Cloud,
    /// The site.
    Local,
}

/// What to do with one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write this whole row: an insert where there was none, else an update.
    Write(Row),
    /// Delete the row.
    Delete,
    /// The cloud has this content already.
    NoOp,
    /// Keep the change in a conflict. `write` is the row with the columns that did not clash, if that differs from the current one.
    Park {
        /// The kind.
        kind: ConflictKind,
        /// The columns that clashed; empty where the row as a whole did.
        clashed: Vec<ColumnNo>,
        /// What may be written all the same.
        write: Option<Row>,
        /// In words for the person who decides.
        reason: String,
    },
}

/// Decides one change of a push. Pure; constraints are the database's to judge afterwards.
///
/// `reoffer`: the row was dirty when its replica's epoch began, so that an insert onto a tombstone parks (it may have been taken and deleted since).
#[must_use]
pub fn reconcile(table: &Table, current: Current<'_>, change: &RowChange, reoffer: bool) -> Reconciled {
    Reconciled { decision: decide(table, current, change, reoffer), merged: Vec::new(), losses: Vec::new() }
}

fn decide(table: &Table, current: Current<'_>, change: &RowChange, reoffer: bool) -> Decision {
    if let Some(decision) = unreadable(table, change) {
        return decision;
    }
    match &change.op {
        Op::Insert(values) => insert(table, current, values, reoffer),
        Op::Update(edits) => update(table, current, change, edits),
        Op::Rekey(_, edits) => match update(table, current, change, edits) {
            Decision::NoOp => rekeyed(table, current.row, change).map_or(Decision::NoOp, Decision::Write),
            Decision::Write(row) => Decision::Write(with_key(table, row, change)),
            Decision::Park { kind, clashed, write, reason } => {
                let write = write.map(|row| with_key(table, row, change)).or_else(|| rekeyed(table, current.row, change));
                Decision::Park { kind, clashed, write: write.filter(|_| kind == ConflictKind::UpdateUpdate), reason }
            }
            Decision::Delete => Decision::Delete,
        },
        Op::Delete(base) => delete(table, current.row, base),
    }
}

/// Parks what names a column that the table does not have, or gives a value that its column cannot hold.
fn unreadable(table: &Table, change: &RowChange) -> Option<Decision> {
    let park = |kind, clashed, reason| Some(Decision::Park { kind, clashed, write: None, reason });
    for (no, value) in change.values() {
        match table.column(no) {
            None => return park(ConflictKind::Schema, vec![no], format!("{} no longer has column number {no}", table.name)),
            Some(column) => match column.ty.accept(value.clone()) {
                Ok(canonical) if canonical == *value => {}
                Ok(_) => return park(ConflictKind::Rejected, vec![no], format!("{}: the value is not in canonical form", column.name)),
                Err(error) => return park(ConflictKind::Rejected, vec![no], format!("{}: {error}", column.name)),
            },
        }
    }
    None
}

fn insert(table: &Table, current: Current<'_>, values: &[(ColumnNo, Value)], reoffer: bool) -> Decision {
    let row: Row = table
        .columns
        .iter()
        .map(|column| match (values.iter().find(|(no, _)| *no == column.no), &column.default) {
            (Some((_, value)), _) | (None, Some(DefaultValue::Constant(value))) => value.clone(),
            (None, _) => Value::Null,
        })
        .collect();
    match current.row {
        Some(present) if *present == row => Decision::NoOp,
        Some(_) => Decision::Park {
            kind: ConflictKind::InsertInsert,
            clashed: Vec::new(),
            write: None,
            reason: format!("{} has another row with this key", table.name),
        },
        None if reoffer && current.tombstone => Decision::Park {
            kind: ConflictKind::UpdateDelete,
            clashed: Vec::new(),
            write: None,
            reason: "the row was deleted at the cloud, and this copy of the site cannot tell whether its insert came before".to_owned(),
        },
        None => Decision::Write(row),
    }
}

fn update(table: &Table, current: Current<'_>, change: &RowChange, edits: &[Edit]) -> Decision {
    let edited = || edits.iter().filter(|edit| edit.base != edit.new).map(|edit| edit.column).collect::<Vec<_>>();
    let park = |kind, clashed, write, reason: &str| Decision::Park { kind, clashed, write, reason: reason.to_owned() };
    let Some(present) = current.row else {
        return park(ConflictKind::UpdateDelete, edited(), None, "the row was deleted at the cloud");
    };
    // The site's base is this very image, mark and all. (Its values are compared all the same: a base can hold older ones, site::pull.)
    let same_image = change.base.is_some() && change.base.as_ref() == current.at;
    let marks_deleted = table.soft_delete.is_some_and(|mark| edits.iter().any(|edit| edit.column == mark && edit.new == Value::Bool(true)));
    let touches_mark = table.soft_delete.is_some_and(|mark| edits.iter().any(|edit| edit.column == mark));
    if !same_image && table.is_soft_deleted(present) && !touches_mark {
        return park(ConflictKind::UpdateDelete, edited(), None, "the row was marked as deleted at the cloud");
    }

    let mut row = present.clone();
    let mut clashed = Vec::new();
    for edit in edits {
        let Some(at) = table.position(edit.column) else { continue };
        // What a mark asserts of the other columns does not matter where the row is marked already.
        if present[at] == edit.base {
            row[at] = edit.new.clone();
        } else if present[at] != edit.new && (edit.base != edit.new || !table.is_soft_deleted(present)) {
            clashed.push(edit.column);
        }
    }
    if clashed.is_empty() {
        return if row == *present { Decision::NoOp } else { Decision::Write(row) };
    }
    if marks_deleted && !table.is_soft_deleted(present) {
        return park(
            ConflictKind::DeleteUpdate,
            clashed,
            None,
            "the row changed at the cloud after the site read it and marked it as deleted",
        );
    }
    let names: Vec<_> = clashed.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
    let reason = format!("the site and the cloud both changed {}", names.join(", "));
    Decision::Park { kind: ConflictKind::UpdateUpdate, clashed, write: Some(row).filter(|row| row != present), reason }
}

/// The current row under its new key.
fn rekeyed(table: &Table, present: Option<&Row>, change: &RowChange) -> Option<Row> {
    present.map(|row| with_key(table, row.clone(), change))
}

fn with_key(table: &Table, mut row: Row, change: &RowChange) -> Row {
    for (at, value) in table.key_positions().zip(&change.key.0) {
        row[at] = value.clone();
    }
    row
}

fn delete(table: &Table, present: Option<&Row>, base: &[(ColumnNo, Value)]) -> Decision {
    let Some(present) = present else {
        return Decision::NoOp;
    };
    let changed: Vec<ColumnNo> = table
        .columns
        .iter()
        .zip(present)
        .filter(|(column, value)| base.iter().find(|(no, _)| *no == column.no).is_none_or(|(_, seen)| seen != *value))
        .map(|(column, _)| column.no)
        .collect();
    if changed.is_empty() {
        return Decision::Delete;
    }
    Decision::Park {
        kind: ConflictKind::DeleteUpdate,
        clashed: changed,
        write: None,
        reason: "the row changed at the cloud after the site read it and deleted it".to_owned(),
    }
}
