//! A chunk of conflicts, sorted by what has to be done: closed, written or deleted set by set, or decided one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sync_core::catalog::{ScopeRule, Table};
use sync_core::conflict::{Effect, Resolution, Way, decide};
use sync_core::id::{ConflictId, Key, ScopeId, TableNo};
use sync_core::wire::message::ResolveCommand;
use uuid::Uuid;

use super::{Deciding, Wanted, Written};
use crate::store::bulk::{self, Lock};
use crate::store::conflicts::besides;
use crate::store::conflicts::journal::tag;
use crate::store::conflicts::plan::{fits, known, put_of};
use crate::store::conflicts::put::{self, Put};
use crate::store::conflicts::resolve::foresee;
use crate::store::conflicts::stored::{Found, Head, Stored, read_many, row_at, under_roots};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;

const MEANWHILE: &str = "it was decided or changed meanwhile: look at it again";
const ANOTHER: &str = "another conflict of the same row was decided: look at this one again";
const TAKES_ALONG: &str = "its delete would take other rows along, which nobody was shown: decide it by itself";

/// What is to be done with one row.
#[derive(Debug, Clone)]
pub(super) struct Change<'a> {
    pub(super) head: Head,
    pub(super) table: &'a Table,
    pub(super) key: Key,
    pub(super) what: What<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum What<'a> {
    /// Written, into this scope.
    Put(Put<'a>, ScopeId),
    Delete(StoredRow),
}

/// A chunk, sorted.
#[derive(Debug, Default)]
pub(super) struct Survey<'a> {
    /// Nothing is written; each with what is dropped with it.
    pub(super) closes: Vec<(Head, Vec<Head>)>,
    pub(super) changes: Vec<Change<'a>>,
    pub(super) singles: Vec<Stored<'a>>,
    /// Whole rows that come in, until their scopes are known.
    inserts: Vec<(Box<Stored<'a>>, Put<'a>)>,
    pub(super) refused: Vec<(Uuid, String)>,
    /// Every scope that all of it touches.
    pub(super) scopes: BTreeSet<ScopeId>,
}

impl<'a> Survey<'a> {
    /// `lock`: none to foresee the scopes; under their heads [`Lock::Delete`].
    pub(super) async fn make(
        tx: &WriteTx<'_>,
        deciding: &Deciding<'a>,
        chunk: &[Wanted],
        written: Written<'_>,
        lock: Lock,
    ) -> Result<Self, StoreError> {
        let ids: Vec<Uuid> = chunk.iter().map(|wanted| wanted.id).collect();
        let lock_clause = if lock == Lock::None { "" } else { " FOR NO KEY UPDATE NOWAIT" };
        let mut found: HashMap<Uuid, Found<'a>> =
            read_many(&**tx, deciding.catalog, &ids, lock_clause).await?.into_iter().map(|found| (found.head().id, found)).collect();
        let mut families: HashMap<Uuid, Vec<Found<'a>>> = HashMap::new();
        for member in under_roots(&**tx, deciding.catalog, &ids).await? {
            families.entry(member.head().root.unwrap_or_default()).or_default().push(member);
        }
        let mut rows = rows(tx, found.values(), lock).await?;
        let mut survey = Self::default();
        let mut taken = HashSet::new();
        for wanted in chunk {
            let found = found.remove(&wanted.id).filter(|found| found.head().pending() && found.head().revision == wanted.revision);
            let family = families.remove(&wanted.id).unwrap_or_default();
            match found {
                None => survey.refused.push((wanted.id, MEANWHILE.to_owned())),
                Some(Found::Rowless(head, _)) if deciding.resolution == Resolution::CloudWins && family.is_empty() => {
                    survey.closes.push((head, Vec::new()));
                }
                Some(Found::Rowless(head, why)) => survey.refused.push((head.id, why.to_string())),
                Some(Found::Whole(stored)) => {
                    let name = (stored.table.no, stored.key.clone());
                    let current = rows.remove(&name);
                    survey.sort(deciding.resolution, stored, &family, current, (written, &mut taken));
                }
            }
        }
        survey.find_scopes(tx, deciding).await?;
        survey.spare_besides(tx, deciding).await?;
        Ok(survey)
    }

    fn sort(
        &mut self,
        resolution: Resolution,
        stored: Box<Stored<'a>>,
        family: &[Found<'a>],
        current: Option<StoredRow>,
        (written, taken): (Written<'_>, &mut HashSet<(TableNo, Key)>),
    ) {
        let (id, name) = (stored.head.id, (stored.table.no, stored.key.clone()));
        let effect = known(&stored, resolution).and_then(|()| {
            decide(stored.table, &stored.parked(current.as_ref().map(|now| &now.row)), resolution, &[]).map_err(|error| error.to_string())
        });
        let effect = match effect {
            Ok(effect) => effect,
            Err(reason) => return self.refused.push((id, reason)),
        };
        // All that is held because of it is dropped with it; what else hangs from it needs a closer look.
        let inserts = |found: &Found<'_>| matches!(found, Found::Whole(stored) if stored.insert);
        let simple = family.is_empty() || (resolution == Resolution::CloudWins && family.iter().all(inserts));
        if effect != Effect::Nothing && (written(&name) || taken.contains(&name)) {
            return self.refused.push((id, ANOTHER.to_owned()));
        }
        if stored.head.root.is_some() || !simple {
            taken.insert(name);
            return self.singles.push(*stored);
        }
        let (table, key) = (stored.table, stored.key.clone());
        match (effect, current) {
            (Effect::Nothing, _) | (Effect::Delete, None) => {
                self.closes.push((stored.head, family.iter().map(|found| found.head().clone()).collect()));
            }
            (Effect::Delete, Some(current)) => {
                taken.insert(name);
                self.changes.push(Change { head: stored.head, table, key, what: What::Delete(current) });
            }
            (Effect::Write(row), current) => {
                let put = put_of(&stored, current, row);
                if let Err(reason) = fits(&put, &stored) {
                    return self.refused.push((id, reason));
                }
                taken.insert(name);
                match known_scope(&put) {
                    Some(scope) => self.changes.push(Change { head: stored.head, table, key, what: What::Put(put, scope) }),
                    None if put.current.is_none() && table.scope != ScopeRule::Root => self.inserts.push((stored, put)),
                    None => self.singles.push(*stored),
                }
            }
            (Effect::Replace(_), _) => {
                taken.insert(name);
                self.singles.push(*stored);
            }
        }
    }

    async fn find_scopes(&mut self, tx: &WriteTx<'_>, deciding: &Deciding<'a>) -> Result<(), StoreError> {
        self.insert_scopes(tx, deciding).await?;
        for (head, family) in &self.closes {
            self.scopes.insert(head.scope.clone());
            self.scopes.extend(family.iter().map(|head| head.scope.clone()));
        }
        for change in &self.changes {
            self.scopes.insert(change.head.scope.clone());
            self.scopes.insert(match &change.what {
                What::Put(_, scope) => scope.clone(),
                What::Delete(row) => row.at.scope.clone(),
            });
        }
        for stored in &self.singles {
            let command = command(tx, stored, deciding).await?;
            self.scopes.extend(foresee(tx, deciding.catalog, &command).await?);
        }
        Ok(())
    }

    /// Rows that come in and do not say their scope by themselves: asked for together. Those that hang from nothing are told why one by one.
    async fn insert_scopes(&mut self, tx: &WriteTx<'_>, deciding: &Deciding<'a>) -> Result<(), StoreError> {
        let (inserts, puts): (Vec<_>, Vec<_>) = std::mem::take(&mut self.inserts).into_iter().unzip();
        let scopes = if puts.is_empty() { Vec::new() } else { put::scopes(tx, deciding.catalog, &puts).await? };
        for ((stored, put), scope) in inserts.into_iter().zip(puts).zip(scopes) {
            match scope {
                Some(scope) => {
                    let (table, key) = (stored.table, stored.key.clone());
                    self.changes.push(Change { head: stored.head, table, key, what: What::Put(put, scope) });
                }
                None => self.singles.push(*stored),
            }
        }
        Ok(())
    }

    /// Refuses the deletes that would take other rows along.
    async fn spare_besides(&mut self, tx: &WriteTx<'_>, deciding: &Deciding<'a>) -> Result<(), StoreError> {
        let deletes = |changes: &[Change<'a>]| -> Vec<(&'a Table, StoredRow)> {
            let deletes = changes.iter().filter_map(|change| match &change.what {
                What::Delete(row) => Some((change.table, row.clone())),
                What::Put(..) => None,
            });
            deletes.collect()
        };
        if besides::walk(&**tx, deciding.catalog, &deletes(&self.changes)).await?.is_empty() {
            return Ok(());
        }
        for change in std::mem::take(&mut self.changes) {
            let alone = deletes(std::slice::from_ref(&change));
            if alone.is_empty() || besides::walk(&**tx, deciding.catalog, &alone).await?.is_empty() {
                self.changes.push(change);
            } else {
                self.refused.push((change.head.id, TAKES_ALONG.to_owned()));
            }
        }
        Ok(())
    }
}

/// The cloud's rows of the conflicts' keys: one query for each table.
async fn rows<'f, 'a: 'f>(
    tx: &WriteTx<'_>,
    found: impl Iterator<Item = &'f Found<'a>>,
    lock: Lock,
) -> Result<HashMap<(TableNo, Key), StoredRow>, StoreError> {
    let mut by_table: BTreeMap<TableNo, (&Table, Vec<&Key>)> = BTreeMap::new();
    for found in found {
        if let Found::Whole(stored) = found {
            by_table.entry(stored.table.no).or_insert((stored.table, Vec::new())).1.push(&stored.key);
        }
    }
    let mut rows = HashMap::new();
    for (no, (table, mut keys)) in by_table {
        keys.sort_unstable();
        keys.dedup();
        for stored in bulk::load(&**tx, table, &keys, &bulk::all_columns(table), lock).await? {
            rows.insert((no, table.key_of(&stored.row)), stored);
        }
    }
    Ok(rows)
}

/// The scope of a row that is there and stays in its own; `None` where it takes a closer look.
fn known_scope(put: &Put<'_>) -> Option<ScopeId> {
    let current = put.current.as_ref()?;
    let same = put
        .table
        .key
        .iter()
        .chain(&put.table.way_columns())
        .filter_map(|no| put.table.position(*no))
        .all(|at| current.row[at] == put.row[at]);
    same.then(|| current.at.scope.clone())
}

/// The decision on one conflict against the state that is in force now.
pub(super) async fn command(tx: &WriteTx<'_>, stored: &Stored<'_>, deciding: &Deciding<'_>) -> Result<ResolveCommand, StoreError> {
    let against = row_at(&**tx, stored.table, &stored.against, Lock::None).await?;
    Ok(ResolveCommand {
        conflict: ConflictId(stored.head.id),
        revision: stored.head.revision,
        cloud_etag: against.map(|row| tag(stored.table, &row)),
        resolution: deciding.resolution,
        values: Vec::new(),
        by: deciding.by.to_owned(),
        way: Way::Plain,
        besides: None,
    })
}
