//! Carrying a chunk out: rows set by set, what a constraint refuses isolated by halving, then what takes a closer look one by one, then the
//! conflicts closed and the decisions recorded by one statement each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::catalog::Table;
use sync_core::id::{Key, ScopeId, TableNo};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::write::row_to_json;
use uuid::Uuid;

use super::survey::{Change, Survey, What, command};
use super::{BUSY, Deciding, Done, Wanted, Written as WrittenBefore};
use crate::store::bulk::{self, Lock, RowWrite};
use crate::store::conflicts::journal::{self, Record, Written, tag};
use crate::store::conflicts::put::Put;
use crate::store::conflicts::resolve::{self, Judge, Refused};
use crate::store::conflicts::stored::{Head, Stored};
use crate::store::error::StoreError;
use crate::store::push::refusal::refusal;
use crate::store::tombstone;
use crate::store::tx::WriteTx;

const CLOSER: &str = "other rows would go or change with it, or it changed meanwhile: decide it by itself";

impl Deciding<'_> {
    /// Decides a chunk under the heads `held`.
    pub(super) async fn carry_out(
        &self,
        tx: &mut WriteTx<'_>,
        chunk: &[Wanted],
        held: &BTreeSet<ScopeId>,
        written: WrittenBefore<'_>,
    ) -> Result<Done, StoreError> {
        let survey = Survey::make(tx, self, chunk, written, Lock::Delete).await?;
        if let Some(scope) = survey.scopes.difference(held).next() {
            return Err(StoreError::Busy(format!("a row moved to the scope {scope} meanwhile")));
        }
        let mut done = Done { refused: survey.refused, ..Done::default() };
        let accepted = self.write(tx, survey.changes, &mut done.refused).await?;
        for stored in &survey.singles {
            match self.single(tx, stored, held).await? {
                Ok(()) => drop(done.written.insert((stored.table.no, stored.key.clone()))),
                Err(reason) => done.refused.push((stored.head.id, reason)),
            }
        }
        self.close(tx, &survey.closes, &accepted).await?;
        done.written.extend(accepted.into_iter().map(|change| (change.table.no, change.key)));
        done.closed = closed(tx, chunk).await?;
        Ok(done)
    }

    /// Writes and deletes rows; those that a constraint or trigger refuses are told.
    async fn write<'a>(
        &self,
        tx: &mut WriteTx<'_>,
        changes: Vec<Change<'a>>,
        refused: &mut Vec<(Uuid, String)>,
    ) -> Result<Vec<Change<'a>>, StoreError> {
        let mut accepted = Vec::with_capacity(changes.len());
        let mut stack = vec![changes];
        while let Some(mut part) = stack.pop() {
            if part.is_empty() {
                continue;
            }
            let ticks = tx.ticks().clone();
            tx.batch_execute("SAVEPOINT rejoin_many; SET CONSTRAINTS ALL DEFERRED").await?;
            let Err(error) = self.write_part(tx, &part).await else {
                accepted.extend(part);
                continue;
            };
            tx.batch_execute("ROLLBACK TO rejoin_many; RELEASE rejoin_many").await?;
            tx.restore_ticks(ticks);
            let Some(refusal) = refusal(self.catalog, &error) else { return Err(error) };
            if let [alone] = part.as_slice() {
                refused.push((alone.head.id, refusal.reason));
            } else {
                let second = part.split_off(part.len() / 2);
                stack.extend([second, part]);
            }
        }
        Ok(accepted)
    }

    async fn write_part(&self, tx: &mut WriteTx<'_>, part: &[Change<'_>]) -> Result<(), StoreError> {
        let scope = |change: &Change<'_>| match &change.what {
            What::Put(_, scope) => scope.clone(),
            What::Delete(row) => row.at.scope.clone(),
        };
        tx.take(&part.iter().map(scope).collect()).await?;
        let parents_first = self.catalog.parents_first();
        for table in &parents_first {
            self.put(tx, table, part).await?;
        }
        for table in parents_first.iter().rev() {
            let deletes = part.iter().filter(|change| change.table.no == table.no).filter_map(|change| match &change.what {
                What::Delete(row) => Some((&change.key, &row.at.scope)),
                What::Put(..) => None,
            });
            bulk::delete(&**tx, table, &deletes.collect::<Vec<_>>()).await?;
        }
        tx.batch_execute("SET CONSTRAINTS ALL IMMEDIATE; RELEASE rejoin_many").await?;
        Ok(())
    }

    /// One UPDATE for the rows of a table that are there, one INSERT for those that are not and give the same columns.
    async fn put(&self, tx: &WriteTx<'_>, table: &Table, part: &[Change<'_>]) -> Result<(), StoreError> {
        let puts: Vec<(&Change<'_>, &Put<'_>, &ScopeId)> = part
            .iter()
            .filter(|change| change.table.no == table.no)
            .filter_map(|change| if let What::Put(put, scope) = &change.what { Some((change, put, scope)) } else { None })
            .collect();
        let (there, new): (Vec<_>, Vec<_>) = puts.into_iter().partition(|(_, put, _)| put.current.is_some());
        let keys: Vec<&Key> = new.iter().map(|(change, ..)| &change.key).collect();
        let gone = tombstone::load(&**tx, table, &keys).await?;
        let version = |put: &Put<'_>, known: i64| known.max(put.counted.min(known.saturating_add(VERSION_LEAD_MAX))).saturating_add(1);
        let mut updates = Vec::with_capacity(there.len());
        for (change, put, scope) in there {
            let known = put.current.as_ref().map_or(0, |current| current.stamp.version);
            updates.push(self.row_write(tx, change, put, scope, version(put, known))?);
        }
        bulk::update(&**tx, table, false, &updates).await?;
        let mut inserts: BTreeMap<Vec<usize>, Vec<RowWrite<'_>>> = BTreeMap::new();
        for ((change, put, scope), gone) in new.into_iter().zip(gone) {
            let version = version(put, gone.map_or(0, |gone| gone.version));
            inserts.entry(put.given(&put.row)).or_default().push(self.row_write(tx, change, put, scope, version)?);
        }
        for (given, rows) in inserts {
            bulk::insert(&**tx, table, &given, &rows).await?;
        }
        Ok(())
    }

    fn row_write<'w>(
        &'w self,
        tx: &WriteTx<'_>,
        change: &'w Change<'_>,
        put: &'w Put<'_>,
        scope: &'w ScopeId,
        version: i64,
    ) -> Result<RowWrite<'w>, StoreError> {
        let tick = tx.tick(scope)?;
        Ok(RowWrite { key: &change.key, row: &put.row, old_scope: scope, scope, tick, version, updated_at: None, modified_by: self.by })
    }

    /// Decides one conflict as if it were decided alone, against what is there now.
    async fn single(&self, tx: &mut WriteTx<'_>, stored: &Stored<'_>, held: &BTreeSet<ScopeId>) -> Result<Result<(), String>, StoreError> {
        let command = command(tx, stored, self).await?;
        let ticks = tx.ticks().clone();
        tx.batch_execute("SAVEPOINT rejoin_single").await?;
        let refused = match resolve::carry_out(tx, self.catalog, &Judge::Cloud, self.by, &command, held).await? {
            Ok(()) => {
                tx.batch_execute("RELEASE rejoin_single").await?;
                return Ok(Ok(()));
            }
            Err(refused) => refused,
        };
        tx.batch_execute("ROLLBACK TO rejoin_single; RELEASE rejoin_single").await?;
        tx.restore_ticks(ticks);
        Ok(Err(match refused {
            Refused::Unknown => BUSY.to_owned(),
            Refused::Outdated => CLOSER.to_owned(),
            Refused::Undecidable(reason) => reason,
        }))
    }

    /// Closes conflicts and records their decisions.
    async fn close(&self, tx: &mut WriteTx<'_>, closes: &[(Head, Vec<Head>)], changes: &[Change<'_>]) -> Result<(), StoreError> {
        let along = closes.iter().flat_map(|(_, family)| family);
        let heads: Vec<&Head> = closes.iter().map(|(head, _)| head).chain(along).chain(changes.iter().map(|change| &change.head)).collect();
        if heads.is_empty() {
            return Ok(());
        }
        tx.take(&heads.iter().map(|head| head.scope.clone()).collect()).await?;
        let ids: Vec<Uuid> = heads.iter().map(|head| head.id).collect();
        let ticks: Vec<i64> = heads.iter().map(|head| Ok(tx.tick(&head.scope)?.0)).collect::<Result<_, StoreError>>()?;
        let sql =
            "UPDATE rejoin.sync_conflicts c SET resolution = $3::text::rejoin.conflict_resolution, resolved_at = now(), resolved_by = $4,
                       revision = c.revision + 1, rejoin_tick = u.tick, rejoin_version = c.rejoin_version + 1, rejoin_updated_at = now(),
                       rejoin_modified_by = $4, rejoin_synced_at = now()
                   FROM unnest($1::uuid[], $2::bigint[]) AS u(id, tick) WHERE c.id = u.id";
        tx.execute(&tx.prepare_cached(sql).await?, &[&ids, &ticks, &self.resolution.as_str(), &self.by]).await?;
        let after = self.after(tx, changes).await?;
        let record = |head: &Head, writes, dependents| Record {
            conflict: head.id,
            revision: head.revision + 1,
            resolution: self.resolution,
            writes,
            dependents,
        };
        let closed = closes.iter().map(|(head, family)| record(head, Vec::new(), family.iter().map(|head| head.id).collect()));
        let changed = changes.iter().map(|change| record(&change.head, vec![written(change, &after)], Vec::new()));
        journal::record(tx, self.by, &closed.chain(changed).collect::<Vec<_>>()).await
    }

    /// The `ETag`s that the written rows have now.
    async fn after(&self, tx: &WriteTx<'_>, changes: &[Change<'_>]) -> Result<HashMap<(TableNo, Key), String>, StoreError> {
        let mut after = HashMap::new();
        for table in &self.catalog.tables {
            let keys: Vec<&Key> = changes
                .iter()
                .filter(|change| change.table.no == table.no && matches!(change.what, What::Put(..)))
                .map(|change| &change.key)
                .collect();
            for stored in bulk::load(&**tx, table, &keys, &bulk::all_columns(table), Lock::None).await? {
                after.insert((table.no, table.key_of(&stored.row)), tag(table, &stored));
            }
        }
        Ok(after)
    }
}

fn written(change: &Change<'_>, after: &HashMap<(TableNo, Key), String>) -> Written {
    let before = match &change.what {
        What::Put(put, _) => put.current.as_ref(),
        What::Delete(row) => Some(row),
    };
    Written {
        table: change.table.no,
        record: change.key.to_string(),
        before: before.map(|before| row_to_json(change.table, &before.row)),
        after: after.get(&(change.table.no, change.key.clone())).cloned(),
    }
}

/// What this transaction has closed of a chunk, and of what hung from it.
async fn closed(tx: &WriteTx<'_>, chunk: &[Wanted]) -> Result<Vec<Uuid>, StoreError> {
    let ids: Vec<Uuid> = chunk.iter().map(|wanted| wanted.id).collect();
    let sql = "SELECT id FROM rejoin.sync_conflicts
               WHERE (id = ANY ($1) OR root_id = ANY ($1)) AND resolution <> 'PENDING' AND resolved_at = now()";
    let rows = tx.query(&tx.prepare_cached(sql).await?, &[&ids]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
