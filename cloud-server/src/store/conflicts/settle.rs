//! What a decision writes: the row, the rows that stood in its way, the dependents that can come in now, and the conflict itself.

use std::collections::BTreeSet;

use sync_core::catalog::{Catalog, ScopeRule, Table};
use sync_core::change::Row;
use sync_core::conflict::{ConflictKind, Effect, Resolution};
use sync_core::id::{Key, ScopeId};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;
use uuid::Uuid;

use super::resolve::{Judge, Refused, Stored, dependents, row_at};
use crate::store::bulk::{self, Lock, RowWrite};
use crate::store::error::StoreError;
use crate::store::push::refusal::refusal;
use crate::store::row::{StoredRow, read_row, select_list};
use crate::store::scope;
use crate::store::tombstone;
use crate::store::tx::WriteTx;

/// A decision being carried out.
pub(super) struct Settling<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) judge: &'a Judge<'a>,
    pub(super) by: &'a str,
    pub(super) held: &'a BTreeSet<ScopeId>,
    pub(super) command: &'a ResolveCommand,
}

impl Settling<'_> {
    pub(super) async fn settle(
        &self,
        tx: &mut WriteTx<'_>,
        stored: &Stored<'_>,
        current: Option<StoredRow>,
        effect: Effect,
    ) -> Result<Result<(), Refused>, StoreError> {
        let came_in = matches!(effect, Effect::Write(_) | Effect::Replace(_));
        let dropped = effect == Effect::Nothing;
        if let Err(reason) = self.try_effect(tx, stored, current, effect).await? {
            return Ok(Err(Refused::Undecidable(reason)));
        }
        if came_in {
            self.bring_dependents(tx, stored).await?;
        } else if dropped {
            self.drop_dependents(tx, stored).await?;
        }
        self.close(tx, stored.id, &stored.scope, self.command.resolution).await?;
        Ok(Ok(()))
    }

    /// `Err` in words where a constraint or right refuses it.
    async fn try_effect(
        &self,
        tx: &mut WriteTx<'_>,
        stored: &Stored<'_>,
        current: Option<StoredRow>,
        effect: Effect,
    ) -> Result<Result<(), String>, StoreError> {
        let outcome = match effect {
            Effect::Nothing => Ok(Ok(())),
            Effect::Delete => self.delete(tx, stored.table, current.as_ref()).await,
            Effect::Write(row) => self.write(tx, stored, current.as_ref(), row).await,
            Effect::Replace(row) => match self.clear_the_way(tx, stored, &row).await {
                Ok(Ok(())) => self.write(tx, stored, current.as_ref(), row).await,
                refused => refused,
            },
        };
        let outcome = match outcome {
            Ok(Ok(())) => tx.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await.map(Ok).map_err(StoreError::from),
            other => other,
        };
        match outcome {
            Err(error) => match refusal(self.catalog, &error) {
                Some(refusal) => Ok(Err(refusal.reason)),
                None => Err(error),
            },
            outcome => outcome,
        }
    }

    async fn write(
        &self,
        tx: &mut WriteTx<'_>,
        stored: &Stored<'_>,
        current: Option<&StoredRow>,
        row: Row,
    ) -> Result<Result<(), String>, StoreError> {
        let table = stored.table;
        let key = table.key_of(&row);
        let Some(to) = scope_of(tx, self.catalog, table, &row).await? else {
            return Ok(Err(format!("the row of {} that its scope hangs from does not exist", table.name)));
        };
        let from = current.map_or(&to, |current| &current.at.scope);
        if let Err(reason) = self.take(tx, &[from, &to], table.scope == ScopeRule::Root && current.is_none()).await? {
            return Ok(Err(reason));
        }
        let gone = match current {
            Some(_) => None,
            None => tombstone::load(&**tx, table, &[&key]).await?.pop().flatten(),
        };
        let known = current.map(|current| current.stamp.version).or(gone.map(|gone| gone.version)).unwrap_or(0);
        let counted = stored.local_version.min(known.saturating_add(VERSION_LEAD_MAX));
        let write = RowWrite {
            key: current.map_or(&key, |_| &stored.key),
            row: &row,
            old_scope: from,
            scope: &to,
            tick: tx.tick(&to)?,
            version: known.max(counted).saturating_add(1),
            updated_at: None,
            modified_by: self.by,
        };
        if current.is_some() {
            bulk::update(&**tx, table, key != stored.key, &[write]).await?;
        } else {
            bulk::insert(&**tx, table, &bulk::all_columns(table), &[write]).await?;
            if table.scope == ScopeRule::Root && stored.held {
                self.grant(tx, stored, &to).await?;
            }
        }
        Ok(Ok(()))
    }

    /// The site whose new root row came in holds its scope from now on.
    async fn grant(&self, tx: &WriteTx<'_>, stored: &Stored<'_>, scope: &ScopeId) -> Result<(), StoreError> {
        let sql = "INSERT INTO rejoin.subscriptions (site_id, scope) SELECT id, $2 FROM rejoin.sites WHERE id = $1 AND NOT all_scopes
                   ON CONFLICT (site_id, scope) DO UPDATE SET dropped_at = NULL";
        tx.execute(&tx.prepare_cached(sql).await?, &[&stored.site, &scope.0]).await?;
        Ok(())
    }

    /// Takes the heads of the scopes that are written now; they are held already. `new`: the scope may be one that nobody holds yet.
    async fn take(&self, tx: &mut WriteTx<'_>, scopes: &[&ScopeId], new: bool) -> Result<Result<(), String>, StoreError> {
        for scope in scopes {
            if !self.judge.may(scope) && !new {
                return Ok(Err("the row belongs to a scope that this site does not hold: decide at the cloud".to_owned()));
            }
            if !self.held.contains(scope) {
                return match self.judge {
                    Judge::Site(_) if new => Ok(Err("the row makes a new scope: decide at the cloud".to_owned())),
                    _ => Err(StoreError::Busy(format!("a row moved to the scope {scope} meanwhile"))),
                };
            }
        }
        tx.take(&scopes.iter().map(|scope| (*scope).clone()).collect()).await?;
        Ok(Ok(()))
    }

    async fn delete(&self, tx: &mut WriteTx<'_>, table: &Table, row: Option<&StoredRow>) -> Result<Result<(), String>, StoreError> {
        let Some(row) = row else { return Ok(Ok(())) };
        if let Err(reason) = self.take(tx, &[&row.at.scope], false).await? {
            return Ok(Err(reason));
        }
        bulk::delete(&**tx, table, &[(&table.key_of(&row.row), &row.at.scope)]).await?;
        Ok(Ok(()))
    }

    /// Deletes the row that holds a unique value of the one that is to come in: only the one that whoever decides has seen, which is the one
    /// whose `ETag` was compared. Nor is a row deleted that others refer to.
    async fn clear_the_way(&self, tx: &mut WriteTx<'_>, stored: &Stored<'_>, row: &Row) -> Result<Result<(), String>, StoreError> {
        let table = stored.table;
        for blocker in blockers(tx, table, row).await? {
            if table.key_of(&blocker.row) != stored.against {
                return Ok(Err(format!(
                    "another row of {} than the one that the conflict shows has one of its unique values: decide MANUAL with other values",
                    table.name
                )));
            }
            for (child, reference) in self.catalog.referrers(table.no) {
                let values: Vec<Value> =
                    reference.target.iter().filter_map(|no| table.position(*no)).map(|at| blocker.row[at].clone()).collect();
                let positions: Vec<usize> = reference.columns.iter().filter_map(|no| child.position(*no)).collect();
                if !scope::find(&**tx, child, &positions, &[&values], "1").await?.is_empty() {
                    let key = table.key_of(&blocker.row);
                    return Ok(Err(format!(
                        "rows of {} refer to {} {key}, which stands in the way: it cannot be deleted",
                        child.name, table.name
                    )));
                }
            }
            let key = table.key_of(&blocker.row);
            let Some(locked) = row_at(tx, table, &key, Lock::Delete).await? else { continue };
            if let Err(reason) = self.delete(tx, table, Some(&locked)).await? {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }

    /// An insert that is dropped takes the rows with it that were held because of it, to any depth; each one's image stays in its conflict.
    async fn drop_dependents(&self, tx: &mut WriteTx<'_>, root: &Stored<'_>) -> Result<(), StoreError> {
        let mut open = vec![root.id];
        while let Some(above) = open.pop() {
            for dependent in dependents(&**tx, self.catalog, above).await?.into_iter().filter(|dependent| dependent.held) {
                self.close(tx, dependent.id, &dependent.scope, Resolution::CloudWins).await?;
                open.push(dependent.id);
            }
        }
        Ok(())
    }

    /// Tries the rows that were held because this one was, parents first, to any depth. Those that are refused still stay parked.
    async fn bring_dependents(&self, tx: &mut WriteTx<'_>, root: &Stored<'_>) -> Result<(), StoreError> {
        let mut open = vec![root.id];
        while let Some(above) = open.pop() {
            self.bring_dependents_of(tx, above, &mut open).await?;
        }
        Ok(())
    }

    async fn bring_dependents_of(&self, tx: &mut WriteTx<'_>, above: Uuid, brought: &mut Vec<Uuid>) -> Result<(), StoreError> {
        for dependent in dependents(&**tx, self.catalog, above).await? {
            let current = row_at(tx, dependent.table, &dependent.key, Lock::Update).await?;
            let whole: Option<Row> = match &current {
                None => dependent.local.iter().cloned().collect(),
                Some(current) => laid_over(&dependent, &current.row),
            };
            let Some(row) = whole.filter(|_| dependent.kind == ConflictKind::ForeignKey && dependent.too_large.is_empty()) else {
                continue;
            };
            let ticks = tx.ticks().clone();
            tx.batch_execute("SAVEPOINT rejoin_dependent").await?;
            if self.try_effect(tx, &dependent, current, Effect::Write(row)).await?.is_ok() {
                self.close(tx, dependent.id, &dependent.scope, Resolution::LocalWins).await?;
                brought.push(dependent.id);
                tx.batch_execute("RELEASE rejoin_dependent").await?;
            } else {
                tx.batch_execute("ROLLBACK TO rejoin_dependent; RELEASE rejoin_dependent").await?;
                tx.restore_ticks(ticks);
            }
        }
        Ok(())
    }

    pub(super) async fn close(&self, tx: &mut WriteTx<'_>, id: Uuid, scope: &ScopeId, resolution: Resolution) -> Result<(), StoreError> {
        tx.take(&BTreeSet::from([scope.clone()])).await?;
        let sql =
            "UPDATE rejoin.sync_conflicts SET resolution = $2::text::rejoin.conflict_resolution, resolved_at = now(), resolved_by = $3,
                       revision = revision + 1, rejoin_tick = $4, rejoin_version = rejoin_version + 1, rejoin_updated_at = now(),
                       rejoin_modified_by = $3, rejoin_synced_at = now()
                   WHERE id = $1";
        let tick = tx.tick(scope)?.0;
        tx.execute(&tx.prepare_cached(sql).await?, &[&id, &resolution.as_str(), &self.by, &tick]).await?;
        Ok(())
    }
}

/// A waiting edit laid over the current row; `None` where the cloud's values moved on since it was made, or its key was taken: nobody has
/// decided between those, so it stays parked.
fn laid_over(dependent: &Stored<'_>, current: &Row) -> Option<Row> {
    if dependent.held {
        return None;
    }
    let mut row = current.clone();
    for (at, column) in dependent.table.columns.iter().enumerate() {
        if let Some(local) = dependent.local[at].as_ref().filter(|_| dependent.columns.contains(&column.no)) {
            if row[at] != *local && dependent.base[at].as_ref() != Some(&row[at]) {
                return None;
            }
            row[at] = local.clone();
        }
    }
    Some(row)
}

/// The scopes that an effect will touch, and those of the dependents that it brings in.
pub(super) async fn scopes_of_effect(
    tx: &WriteTx<'_>,
    catalog: &Catalog,
    stored: &Stored<'_>,
    effect: &Effect,
) -> Result<BTreeSet<ScopeId>, StoreError> {
    let mut scopes = BTreeSet::new();
    let (Effect::Write(row) | Effect::Replace(row)) = effect else { return Ok(scopes) };
    scopes.extend(scope_of(tx, catalog, stored.table, row).await?);
    if matches!(effect, Effect::Replace(_)) {
        scopes.extend(blockers(tx, stored.table, row).await?.into_iter().map(|blocker| blocker.at.scope));
    }
    for dependent in dependents(&**tx, catalog, stored.id).await? {
        let current = row_at(tx, dependent.table, &dependent.key, Lock::None).await?;
        scopes.extend(current.map(|current| current.at.scope));
        let row: Row = dependent.local.iter().map(|value| value.clone().unwrap_or(Value::Null)).collect();
        scopes.extend(scope_of(tx, catalog, dependent.table, &row).await?);
    }
    Ok(scopes)
}

/// The scope that a row belongs to, given its values; `None` where it names no row that is there.
async fn scope_of(tx: &WriteTx<'_>, catalog: &Catalog, table: &Table, row: &[Value]) -> Result<Option<ScopeId>, StoreError> {
    let ScopeRule::Through(at) = table.scope else { return Ok(table.own_scope(&table.key_of(row))) };
    let Some(reference) = table.references.get(at) else { return Ok(None) };
    let Some(target) = catalog.table(reference.table) else { return Ok(None) };
    let values: Vec<Value> = reference.columns.iter().filter_map(|no| table.position(*no)).map(|at| row[at].clone()).collect();
    let positions: Vec<usize> = reference.target.iter().filter_map(|no| target.position(*no)).collect();
    Ok(scope::of_rows(&**tx, target, &positions, &[&values]).await?.pop().flatten())
}

/// The other rows that have the unique values of this one.
async fn blockers(tx: &WriteTx<'_>, table: &Table, row: &[Value]) -> Result<Vec<StoredRow>, StoreError> {
    let own: Key = table.key_of(row);
    let mut found: Vec<StoredRow> = Vec::new();
    for unique in &table.uniques {
        let positions: Vec<usize> = unique.columns.iter().filter_map(|no| table.position(*no)).collect();
        let values: Vec<Value> = positions.iter().map(|at| row[*at].clone()).collect();
        for (_, row) in scope::find(&**tx, table, &positions, &[&values], &select_list(table, "t")).await? {
            let stored = read_row(table, &row, 1)?;
            let key = table.key_of(&stored.row);
            if key != own && !found.iter().any(|other| table.key_of(&other.row) == key) {
                found.push(stored);
            }
        }
    }
    Ok(found)
}
