//! The cloud's half of the merge: `(current, incoming) -> decision`, by value, three ways, column by column.

mod columns;
mod gone;

use std::collections::BTreeSet;

use uuid::Uuid;

use self::columns::Settled;
use crate::catalog::{DefaultValue, Table};
use crate::change::{At, Edit, Op, Row, RowChange};
use crate::conflict::ConflictKind;
use crate::id::ColumnNo;
use crate::policy::{Policy, add};
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
    /// The deleted row's last image, where it is known whole.
    pub image: Option<&'a Row>,
    /// When the row's `newest` columns were last edited, as far as that is known, as canonical timestamptz text.
    pub times: &'a [(ColumnNo, String)],
    /// Which of the change's additions were counted before.
    pub counted: &'a BTreeSet<Uuid>,
    /// When the push was received, as canonical timestamptz text: no edit counts as later than this.
    pub received: &'a str,
    /// Columns of which the change gives values that they held under an older catalog and cannot hold any more.
    pub outgrown: &'a [ColumnNo],
}

impl<'a> Current<'a> {
    /// What the cloud has, without edit times and additions.
    #[must_use]
    pub fn new(row: Option<&'a Row>, at: Option<&'a At>, tombstone: bool) -> Self {
        static NONE: BTreeSet<Uuid> = BTreeSet::new();
        Self { row, at, tombstone, image: None, times: &[], counted: &NONE, received: "", outgrown: &[] }
    }
}

/// A decision with what the policies had a part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// What to do. The additions of the change that were not counted before are in the row that it writes.
    pub decision: Decision,
    /// The columns that a policy decided otherwise than pushed; see `RowAnswer::merged`. Only where there are none can the site know the row
    /// without being told (`Confirmed::Exact`).
    pub merged: Vec<ColumnNo>,
    /// What lost by a policy: to be recorded with its full image, resolved. A row-level loss of the site is in the decision (`Park::policy`).
    pub losses: Vec<Loss>,
}

/// Columns of which one side lost by a policy, or the cloud's whole row.
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
    /// Keep the change in a conflict. `write` is the row with what may be written all the same, if that differs from the current one.
    Park {
        /// The kind.
        kind: ConflictKind,
        /// The columns that clashed; empty where the row as a whole did.
        clashed: Vec<ColumnNo>,
        /// What may be written all the same.
        write: Option<Row>,
        /// In words for the person who decides.
        reason: String,
        /// The policy that decided for the cloud, where one did: the conflict is recorded resolved, and the answer is that of a parked row.
        policy: Option<Policy>,
    },
}

impl From<Decision> for Reconciled {
    fn from(decision: Decision) -> Self {
        Self { decision, merged: Vec::new(), losses: Vec::new() }
    }
}

fn park(kind: ConflictKind, clashed: Vec<ColumnNo>, reason: impl Into<String>) -> Decision {
    Decision::Park { kind, clashed, write: None, reason: reason.into(), policy: None }
}

/// Decides one change of a push. Pure; constraints are the database's to judge afterwards.
///
/// `reoffer`: the row was dirty when its replica's epoch began, so that every clash parks, whatever the policy, and so does an insert onto a
/// tombstone (it may have been taken and deleted since). Additions count all the same: each has its id.
#[must_use]
pub fn reconcile(table: &Table, current: Current<'_>, change: &RowChange, reoffer: bool) -> Reconciled {
    let (known, gone) = gone::split(table, change, current.outgrown);
    let reconciled = reconcile_known(table, current, &known, reoffer);
    if gone.is_empty() { reconciled } else { gone::keep(table, reconciled, gone) }
}

fn reconcile_known(table: &Table, current: Current<'_>, change: &RowChange, reoffer: bool) -> Reconciled {
    if let Some(decision) = unreadable(table, change) {
        return decision.into();
    }
    let judge = Judge { table, current, change, reoffer };
    match &change.op {
        Op::Insert(values) => judge.insert(values),
        Op::Update(edits) => judge.update(edits),
        Op::Rekey(_, edits) => {
            let mut reconciled = judge.update(edits);
            reconciled.decision = match reconciled.decision {
                Decision::NoOp => rekeyed(table, current.row, change).map_or(Decision::NoOp, Decision::Write),
                Decision::Write(row) => Decision::Write(with_key(table, row, change)),
                Decision::Park { kind, clashed, write, reason, policy } => {
                    let write = write.map(|row| with_key(table, row, change)).or_else(|| rekeyed(table, current.row, change));
                    Decision::Park { kind, clashed, write: write.filter(|_| kind == ConflictKind::UpdateUpdate), reason, policy }
                }
                Decision::Delete => Decision::Delete,
            };
            reconciled
        }
        Op::Delete(base) => judge.delete(base),
    }
}

/// Parks what names a column that the table does not have, or gives a value that its column cannot hold.
fn unreadable(table: &Table, change: &RowChange) -> Option<Decision> {
    // Nothing of the change is written: all that it gave is parked.
    let park = |kind, clashed: Vec<ColumnNo>, reason: String| {
        let mut columns = given(change);
        if !columns.is_empty() {
            columns.extend(clashed.iter().filter(|no| !columns.contains(no)).copied().collect::<Vec<_>>());
        }
        Some(park(kind, if columns.is_empty() { clashed } else { columns }, reason))
    };
    let amounts = change.additions.iter().map(|addition| (addition.column, &addition.amount));
    if let Some((no, _)) = amounts.clone().find(|(no, _)| table.column(*no).is_some_and(|column| column.policy != Policy::Add)) {
        return park(ConflictKind::Rejected, vec![no], format!("{} column number {no} takes no additions", table.name));
    }
    for (no, value) in change.values().chain(amounts) {
        match table.column(no) {
            None => return park(ConflictKind::Schema, vec![no], gone::reason(table, &[no])),
            Some(column) => match column.ty.accept(value.clone()) {
                Ok(canonical) if canonical == *value => {}
                Ok(_) => return park(ConflictKind::Rejected, vec![no], format!("{}: the value is not in canonical form", column.name)),
                Err(error) => return park(ConflictKind::Rejected, vec![no], format!("{}: {error}", column.name)),
            },
        }
    }
    None
}

/// The columns of a row that was there already that the change gave something, in their order.
fn given(change: &RowChange) -> Vec<ColumnNo> {
    let (Op::Update(edits) | Op::Rekey(_, edits)) = &change.op else { return Vec::new() };
    let edited = edits.iter().filter(|edit| edit.base != edit.new).map(|edit| edit.column);
    let columns: BTreeSet<ColumnNo> = edited.chain(change.additions.iter().map(|addition| addition.column)).collect();
    columns.into_iter().collect()
}

/// One change being decided.
struct Judge<'a> {
    table: &'a Table,
    current: Current<'a>,
    change: &'a RowChange,
    reoffer: bool,
}

impl Judge<'_> {
    /// The policy for the row as a whole.
    fn row_policy(&self) -> Policy {
        if self.reoffer { Policy::Manual } else { self.table.policy }
    }

    /// A clash of the row as a whole, which the table's policy may decide. `local`: what to do where the site wins; `lost`: whether that
    /// gives up something that the cloud has.
    fn clash(&self, kind: ConflictKind, clashed: Vec<ColumnNo>, reason: &str, local: Option<Decision>, lost: bool) -> Reconciled {
        match (self.row_policy(), local) {
            (Policy::CloudWins, _) => {
                Decision::Park { kind, clashed, write: None, reason: reason.to_owned(), policy: Some(Policy::CloudWins) }.into()
            }
            (Policy::LocalWins, Some(decision)) => {
                let losses =
                    if lost { vec![Loss { kind, columns: Vec::new(), policy: Policy::LocalWins, lost: Side::Cloud }] } else { Vec::new() };
                Reconciled { decision, merged: Vec::new(), losses }
            }
            _ => park(kind, clashed, reason).into(),
        }
    }

    fn insert(&self, values: &[(ColumnNo, Value)]) -> Reconciled {
        let row: Row = self
            .table
            .columns
            .iter()
            .map(|column| match (values.iter().find(|(no, _)| *no == column.no), &column.default) {
                (Some((_, value)), _) | (None, Some(DefaultValue::Constant(value))) => value.clone(),
                (None, _) => Value::Null,
            })
            .collect();
        match self.current.row {
            Some(present) if *present == row => Decision::NoOp.into(),
            Some(_) => {
                let reason = format!("{} has another row with this key", self.table.name);
                self.clash(ConflictKind::InsertInsert, Vec::new(), &reason, Some(Decision::Write(row)), true)
            }
            None if self.reoffer && self.current.tombstone => {
                let reason = "the row was deleted at the cloud, and this copy of the site cannot tell whether its insert came before";
                park(ConflictKind::UpdateDelete, Vec::new(), reason).into()
            }
            None => Decision::Write(row).into(),
        }
    }

    fn update(&self, edits: &[Edit]) -> Reconciled {
        let table = self.table;
        let Some(current) = self.current.row else {
            let revived = self.current.image.and_then(|image| self.revived(image, edits)).map(Decision::Write);
            return self.clash(ConflictKind::UpdateDelete, given(self.change), "the row was deleted at the cloud", revived, false);
        };
        // Additions are counted before any other rule, and whatever becomes of the rest.
        let Some(present) = self.with_additions(current) else {
            return park(ConflictKind::Check, given(self.change), "the sum is more than the column can hold").into();
        };
        // They are written where the rest parks, and so no part of what does.
        let edited = || edits.iter().filter(|edit| edit.base != edit.new).map(|edit| edit.column).collect::<Vec<_>>();
        let added = || Some(present.clone()).filter(|row| row != current);
        // The site's base is this very image, mark and all. (Its values are compared all the same: a base can hold older ones, site::pull.)
        let same_image = self.change.base.is_some() && self.change.base.as_ref() == self.current.at;
        let marks_deleted =
            table.soft_delete.is_some_and(|mark| edits.iter().any(|edit| edit.column == mark && edit.new == Value::Bool(true)));
        let touches_mark = table.soft_delete.is_some_and(|mark| edits.iter().any(|edit| edit.column == mark));
        if !same_image && table.is_soft_deleted(current) && !touches_mark && edits.iter().any(|edit| edit.base != edit.new) {
            let revived = self.revived(&present, edits).map(Decision::Write);
            let clash = self.clash(ConflictKind::UpdateDelete, edited(), "the row was marked as deleted at the cloud", revived, false);
            return with_write(clash, added());
        }

        let clashing = || self.groups(edits).into_iter().filter(|group| self.clashes(&present, group));
        if marks_deleted && !table.is_soft_deleted(current) && clashing().next().is_some() {
            let reason = "the row changed at the cloud after the site read it and marked it as deleted";
            let clashed: BTreeSet<ColumnNo> = clashing().flatten().map(|edit| edit.column).chain(edited()).collect();
            let mut marked = present.clone();
            for edit in edits.iter().filter(|edit| edit.base != edit.new) {
                if let Some(at) = table.position(edit.column) {
                    marked[at] = edit.new.clone();
                }
            }
            let merged = self.otherwise(edits, &marked);
            let clash = self.clash(ConflictKind::DeleteUpdate, clashed.into_iter().collect(), reason, Some(Decision::Write(marked)), true);
            return Reconciled { merged, ..with_write(clash, added()) };
        }
        let Settled { row, clashed, losses } = self.settle(&present, edits);
        let mut merged = self.otherwise(edits, &row);
        merged.retain(|no| !clashed.contains(no));
        let decision = if clashed.is_empty() {
            if row == *current { Decision::NoOp } else { Decision::Write(row) }
        } else {
            let names: Vec<_> = clashed.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
            let reason = format!("the site and the cloud both changed {}", names.join(", "));
            Decision::Park {
                kind: ConflictKind::UpdateUpdate,
                clashed,
                write: Some(row).filter(|row| row != current),
                reason,
                policy: None,
            }
        };
        Reconciled { decision, merged, losses }
    }

    /// The row with the additions that were not counted before; `None` where a sum is out of its type's range.
    fn with_additions(&self, row: &Row) -> Option<Row> {
        let mut row = row.clone();
        for addition in self.change.additions.iter().filter(|addition| !self.current.counted.contains(&addition.id)) {
            if let (Some(at), Some(column)) = (self.table.position(addition.column), self.table.column(addition.column)) {
                row[at] = add(&column.ty, &row[at], &addition.amount)?;
            }
        }
        Some(row)
    }

    /// A row that is deleted at the cloud, with the site's edits, not marked as deleted.
    fn revived(&self, image: &Row, edits: &[Edit]) -> Option<Row> {
        let mut row = if self.current.row.is_some() { image.clone() } else { self.with_additions(image)? };
        for edit in edits.iter().filter(|edit| edit.base != edit.new) {
            row[self.table.position(edit.column)?] = edit.new.clone();
        }
        if let Some(at) = self.table.soft_delete_position() {
            row[at] = Value::Bool(false);
        }
        Some(row)
    }

    fn delete(&self, base: &[(ColumnNo, Value)]) -> Reconciled {
        let Some(present) = self.current.row else {
            return Decision::NoOp.into();
        };
        let changed: Vec<ColumnNo> = self
            .table
            .columns
            .iter()
            .zip(present)
            // What its author never saw is not asserted. Somebody else's additions are no reason to keep a row that somebody wants to be gone.
            .filter(|(column, _)| column.policy != Policy::Add)
            .filter(|(column, value)| base.iter().find(|(no, _)| *no == column.no).is_some_and(|(_, seen)| seen != *value))
            .map(|(column, _)| column.no)
            .collect();
        if changed.is_empty() {
            return Decision::Delete.into();
        }
        let reason = "the row changed at the cloud after the site read it and deleted it";
        self.clash(ConflictKind::DeleteUpdate, changed, reason, Some(Decision::Delete), true)
    }
}

/// What may be written all the same where a row parks.
fn with_write(mut reconciled: Reconciled, row: Option<Row>) -> Reconciled {
    if let Decision::Park { write, .. } = &mut reconciled.decision {
        *write = row;
    }
    reconciled
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
