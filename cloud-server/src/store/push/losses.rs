//! What a push's policies decided against one side: made into the losses that go on record.

use std::borrow::Cow;
use std::collections::HashMap;

use sync_core::catalog::Table;
use sync_core::change::{Op, etag};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ColumnNo, ConflictId};
use sync_core::policy::Policy;
use sync_core::reconcile::{Loss, Side};
use sync_core::value::Value;
use sync_core::write::{row_from_json, row_to_json};

use super::Taking;
use super::answer::After;
use super::set::{Item, Set};
use crate::store::conflicts::losses::{Lost, Undo, record};
use crate::store::conflicts::park::Parking;
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tombstone::Tombstone;
use crate::store::tx::WriteTx;

/// What a change tells of the site's row, and what else is known of it.
pub(super) struct Told<'s> {
    /// The values that the edit was made on.
    pub(super) base: Vec<(ColumnNo, &'s Value)>,
    /// The values that the site gave; none for a delete.
    pub(super) pushed: Vec<(ColumnNo, &'s Value)>,
    /// The rest of the row.
    pub(super) known: Vec<Option<Value>>,
    /// What was to be added and was not.
    pub(super) added: Vec<(ColumnNo, Value)>,
}

impl<'s> Told<'s> {
    /// `own`: the cloud's row, `gone`: what is left of it, as far as the site may see them.
    pub(super) fn of(set: &Set<'_>, item: &'s Item<'_>, own: Option<&StoredRow>, gone: Option<&Tombstone>) -> Self {
        let mut known: Vec<Option<Value>> = match (own, gone.and_then(|gone| gone.image.as_ref())) {
            (Some(stored), _) if !item.is_insert() => stored.row.iter().cloned().map(Some).collect(),
            (None, Some(image)) if !item.is_insert() => row_from_json(item.table, image),
            _ => vec![None; item.table.columns.len()],
        };
        // The mark of a row that is marked at the cloud alone is not the site's.
        if item.park().is_some_and(|park| park.kind == ConflictKind::UpdateDelete)
            && let Some(mark) = item.table.soft_delete_position()
        {
            known[mark] = known[mark].as_ref().map(|_| Value::Bool(false));
        }
        let mut pushed: Vec<_> = if item.is_delete() { Vec::new() } else { item.change.values().collect() };
        if matches!(item.change.op, Op::Rekey(..)) {
            pushed.extend(item.table.key.iter().copied().zip(&item.change.key.0));
        }
        // Of a column that is gone the sum of the amounts is all there is.
        pushed.extend(item.added_to_gone.iter().map(|(no, sum)| (*no, sum)));
        let base = match &item.change.op {
            Op::Update(edits) | Op::Rekey(_, edits) => edits.iter().map(|edit| (edit.column, &edit.base)).collect(),
            Op::Delete(base) => base.iter().map(|(no, value)| (*no, value)).collect(),
            Op::Insert(_) => Vec::new(),
        };
        Self { base, pushed, known, added: set.left_over(item) }
    }
}

impl Taking<'_> {
    /// Records what lost by a policy. Returns the records of the rows that a policy parked: what the site is answered.
    pub(super) async fn record_losses(
        &self,
        tx: &mut WriteTx<'_>,
        set: &Set<'_>,
        after: &After,
    ) -> Result<HashMap<usize, ConflictId>, StoreError> {
        let mut lost: Vec<Lost<'_>> = Vec::new();
        let mut parked: Vec<(usize, usize)> = Vec::new();
        for (index, item) in set.items.iter().enumerate() {
            lost.extend(item.losses.iter().map(|loss| self.lost(set, item, loss.clone(), after)));
            if let Some((park, policy)) = item.park().and_then(|park| Some((park, park.policy?))) {
                parked.push((index, lost.len()));
                let loss = Loss { kind: park.kind, columns: park.clashed.clone(), policy, lost: Side::Local };
                lost.push(self.lost(set, item, loss, after));
            }
        }
        let ids = record(tx, self.source(), &lost).await?;
        Ok(parked.into_iter().map(|(index, place)| (index, ids[place])).collect())
    }

    fn lost<'s>(&self, set: &'s Set<'_>, item: &'s Item<'_>, loss: Loss, after: &After) -> Lost<'s> {
        let gone = item.tombstone.as_ref().filter(|gone| !gone.left && self.site.holds(&gone.at.scope));
        let told = Told::of(set, item, item.current.as_ref(), gone);
        Lost {
            reason: reason(item.table, &loss),
            policy: loss.policy,
            resolution: if loss.lost == Side::Local { Resolution::CloudWins } else { Resolution::LocalWins },
            undo: (loss.lost == Side::Cloud).then(|| undo(item, &loss, after.row(item.table.no, &item.change.key))),
            parking: Parking {
                table: item.table,
                key: item.cloud_key(),
                kind: loss.kind,
                clashed: Cow::Owned(loss.columns),
                reason: "",
                cloud: item.current.as_ref(),
                blocker: None,
                base: told.base,
                pushed: told.pushed,
                known: told.known,
                added: told.added,
                deleted: item.is_delete(),
                local_version: item.change.stamp.version,
                local_updated_at: &item.change.stamp.updated_at,
                local_modified_by: item.change.stamp.modified_by.as_deref(),
                deleted_at_cloud: gone.map(|gone| (&*gone.when, &*gone.author)),
                held: false,
                root: None,
                gone: None,
            },
        }
    }
}

/// What takes a loss of the cloud's back: the row as it is now, with what the cloud had in the columns that lost.
fn undo(item: &Item<'_>, loss: &Loss, now: Option<&StoredRow>) -> Undo {
    let table = item.table;
    let before = item.current.as_ref().map(|current| {
        let mut row = now.map_or_else(|| current.row.clone(), |now| now.row.clone());
        for (at, column) in table.columns.iter().enumerate() {
            if loss.columns.is_empty() || loss.columns.contains(&column.no) {
                row[at] = current.row[at].clone();
            }
        }
        row_to_json(table, &row)
    });
    let after = now.map(|now| etag(table, now.stamp.version, &now.row));
    Undo { record: item.change.key.to_string(), before, after }
}

/// For the person who looks: what clashed, and why it was decided as it was.
fn reason(table: &Table, loss: &Loss) -> String {
    let (winner, loser) = match loss.lost {
        Side::Local => ("the cloud's", "the site's"),
        Side::Cloud => ("the site's", "the cloud's"),
    };
    let why = match loss.policy {
        Policy::CloudWins => "the cloud always wins",
        Policy::LocalWins => "the site always wins",
        Policy::Newest => "the later edit wins",
        Policy::Max => "the greater value wins",
        Policy::Min => "the smaller value wins",
        Policy::Manual | Policy::Add | Policy::Union | Policy::Text | Policy::Json => "both were merged",
    };
    let what = match loss.kind {
        ConflictKind::UpdateDelete => "the site changed a row that was deleted at the cloud".to_owned(),
        ConflictKind::DeleteUpdate => "the site deleted a row that had changed at the cloud".to_owned(),
        ConflictKind::InsertInsert => "the site and the cloud both made a row with this key".to_owned(),
        _ => {
            let names: Vec<&str> = loss.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
            format!("the site and the cloud both changed {}", names.join(", "))
        }
    };
    format!("{what}; by the policy {} {why}: {winner} side stands, {loser} is kept here", loss.policy.as_str())
}
