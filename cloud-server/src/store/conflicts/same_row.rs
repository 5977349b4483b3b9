//! A site's row and the cloud's row that has its unique value are one: what refers to the site's row refers to the cloud's from now on.

use std::collections::HashSet;

use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::change::Row;
use sync_core::conflict::{ConflictKind, merged_row, repoint};
use sync_core::id::{Key, TableNo};
use sync_core::limits::BESIDES_ROWS_MAX;
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use super::besides::referring;
use super::plan::{Fate, Plan, Planned, fits};
use super::put::Put;
use super::stored::{Stored, row_at};
use crate::store::bulk::Lock;
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;

impl<'a> Plan<'a> {
    /// Plans the merge of two rows. A site's row that was never at the cloud is dropped there; one that is, is deleted once nothing refers
    /// to it any more.
    pub(super) async fn same_row(
        tx: &WriteTx<'_>,
        catalog: &'a Catalog,
        stored: &Stored<'a>,
        (current, against): (Option<StoredRow>, Option<StoredRow>),
        command: &ResolveCommand,
        lock: Lock,
    ) -> Result<Planned<'a>, StoreError> {
        let table = stored.table;
        let into = match against {
            Some(into) if stored.kind == ConflictKind::Unique && stored.against != stored.key => into,
            _ => {
                return Ok(Err(
                    "only a row that was refused for its unique values, and whose rival is shown, can be the same as that one".to_owned()
                ));
            }
        };
        if current.is_some() && stored.insert {
            return Ok(Err(format!("{} {} came to be at the cloud since: it is a row of its own", table.name, stored.key)));
        }
        // The site's edit over the row as it is by now.
        let local: Vec<Option<Value>> = match &current {
            Some(now) => match stored.parked(Some(&now.row)).over(table, now.row.clone()) {
                Ok(row) => row.into_iter().map(Some).collect(),
                Err(error) => return Ok(Err(error.to_string())),
            },
            None => stored.local.clone(),
        };
        let mut row = match merged_row(table, &into.row, &local, command.resolution, &command.values) {
            Ok(row) => row,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let lost: Row = current.as_ref().map_or_else(|| stored.local_row(), |now| now.row.clone());
        not_itself(table, &mut row, &lost, &into.row);

        let mut plan = Self::empty(tx, catalog, stored).await?;
        if let Some(current) = current {
            if let Err(reason) = plan.repoint_living(tx, catalog, table, (&current, &into, &row), lock).await? {
                return Ok(Err(reason));
            }
            plan.deletes.push((table, current));
        }
        plan.fate = Fate::Released;
        plan.wait(tx, lock).await?;
        plan.repoint_waiting(catalog, table, (&lost, &row));
        let root = Put { table, current: Some(into), row, counted: 0, inserted_by: None };
        if let Err(reason) = fits(&root, stored) {
            return Ok(Err(reason));
        }
        plan.root = Some(root);
        plan.merged = Some((stored.key.clone(), stored.against.clone()));
        Ok(Ok(plan))
    }

    /// The rows at the cloud that refer to the one that goes, and those whose key follows.
    async fn repoint_living(
        &mut self,
        tx: &WriteTx<'_>,
        catalog: &'a Catalog,
        table: &'a Table,
        (lost, into, to): (&StoredRow, &StoredRow, &Row),
        lock: Lock,
    ) -> Result<Result<(), String>, StoreError> {
        let own = [table.key_of(&lost.row), table.key_of(&into.row)];
        let mut seen: HashSet<(TableNo, Key)> = own.into_iter().map(|key| (table.no, key)).collect();
        let mut found: Vec<(&'a Table, StoredRow)> = Vec::new();
        let mut level: Vec<(&'a Table, StoredRow)> = vec![(table, lost.clone())];
        let mut direct = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (parent, stored) in &level {
                for (child, reference) in catalog.referrers(parent.no) {
                    for row in referring(&**tx, parent, child, reference, &[stored]).await? {
                        if !seen.insert((child.no, child.key_of(&row.row))) {
                            continue;
                        }
                        // What refers to a row follows it where what it refers by changes.
                        if in_own_key(catalog, child, reference) {
                            next.push((child, row.clone()));
                        }
                        found.push((child, row));
                    }
                }
            }
            direct = if direct == 0 { found.len() } else { direct };
            if found.len() > BESIDES_ROWS_MAX {
                return Ok(Err(format!("more than {BESIDES_ROWS_MAX} rows refer to {} {}", table.name, table.key_of(&lost.row))));
            }
            level = next;
        }
        let mut rows: Vec<(TableNo, Row)> = found.iter().map(|(child, stored)| (child.no, stored.row.clone())).collect();
        for place in repoint(catalog, &mut rows, table.no, &lost.row, to) {
            let (child, stored) = found[place].clone();
            let row = std::mem::take(&mut rows[place].1);
            if place >= direct {
                self.follow.push((child, stored, child.key_of(&row)));
                continue;
            }
            let Some(current) = row_at(&**tx, child, &child.key_of(&stored.row), lock).await? else { continue };
            if current.row != stored.row {
                return Err(StoreError::Busy(format!("a row of {} was changed meanwhile", child.name)));
            }
            self.repointed.push(Put { table: child, current: Some(current), row, counted: 0, inserted_by: None });
        }
        Ok(Ok(()))
    }

    /// What waited for the row waits for the other one no longer.
    fn repoint_waiting(&mut self, catalog: &Catalog, table: &Table, (lost, to): (&Row, &Row)) {
        // What stays parked refers to the other one as well, once it can be decided.
        let row = |place: usize| self.waiting[place].as_ref().map_or_else(|| self.family.below[place].local_row(), |put| put.row.clone());
        let before: Vec<Row> = (0..self.waiting.len()).map(row).collect();
        let mut rows: Vec<(TableNo, Row)> =
            self.family.below.iter().map(|dependent| dependent.table.no).zip(before.iter().cloned()).collect();
        for place in repoint(catalog, &mut rows, table.no, lost, to) {
            let row = std::mem::take(&mut rows[place].1);
            match &mut self.waiting[place] {
                Some(put) => put.row = row,
                None => {
                    let columns = self.family.below[place].table.columns.iter().zip(before[place].iter().zip(row));
                    self.carried[place] =
                        columns.filter(|(_, (was, now))| **was != *now).map(|(column, (_, now))| (column.no, now)).collect();
                }
            }
        }
    }
}

/// The row that stays does not come to refer to itself because two rows became one.
fn not_itself(table: &Table, row: &mut Row, lost: &Row, before: &Row) {
    for reference in table.references.iter().filter(|reference| reference.table == table.no) {
        let names = |row: &Row, other: &Row| {
            let named = table.referred(reference, table, row);
            named.is_some() && named == table.named_by(reference, other)
        };
        let itself = names(row, row) && !names(before, before);
        if !names(row, lost) && !itself {
            continue;
        }
        let Some(own) = table.named_by(reference, row) else { continue };
        for (no, value) in reference.columns.iter().zip(table.referring(reference, table, &own)) {
            let Some(at) = table.position(*no) else { continue };
            row[at] = if table.columns[at].not_null || table.key.contains(no) { value } else { Value::Null };
        }
    }
}

/// Whether others refer to the columns by which this row refers.
fn in_own_key(catalog: &Catalog, child: &Table, reference: &Reference) -> bool {
    catalog.referrers(child.no).any(|(_, other)| other.target.iter().any(|no| reference.columns.contains(no)))
}

/// Keeps that a row is another one, for what still names it by a later push.
pub(super) async fn keep_merged(tx: &WriteTx<'_>, table: &Table, from: &Key, into: &Key) -> Result<(), StoreError> {
    forget_merged(tx, table, into).await?;
    let sql = "INSERT INTO rejoin.merged_rows (table_no, key, into_key) VALUES ($1, $2, $3)
               ON CONFLICT (table_no, key) DO UPDATE SET into_key = excluded.into_key, at = now()";
    tx.execute(&tx.prepare_cached(sql).await?, &[&number(table), &key_text(from), &key_text(into)]).await?;
    Ok(())
}

/// As [`keep_merged`], where a row's key changed with a reference that it holds.
pub(super) async fn keep_moved(tx: &WriteTx<'_>, table: &Table, from: Option<&Key>, into: &Key) -> Result<(), StoreError> {
    match from {
        Some(from) if from != into => keep_merged(tx, table, from, into).await,
        _ => Ok(()),
    }
}

/// The row is one of its own again.
pub(super) async fn forget_merged(tx: &WriteTx<'_>, table: &Table, from: &Key) -> Result<(), StoreError> {
    let sql = "DELETE FROM rejoin.merged_rows WHERE table_no = $1 AND key = $2";
    tx.execute(&tx.prepare_cached(sql).await?, &[&number(table), &key_text(from)]).await?;
    Ok(())
}

fn number(table: &Table) -> i32 {
    i32::try_from(table.no.0).unwrap_or_default()
}

/// The key as `rejoin.tombstones` keeps it.
fn key_text(key: &Key) -> Vec<String> {
    key.0.iter().map(|value| value.to_text().into_owned()).collect()
}
