//! A small cloud in memory: `sync_core::reconcile` over maps, with references, a unique key, scopes, marks, and answers that are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::change::{At, Confirmed, Image, Op, Row, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::conflict::ConflictKind;
use sync_core::id::{ConflictId, Key, PushNo, ReplicaId, ScopeId, TableNo, Tick};
use sync_core::reconcile::{Current, Decision, reconcile};
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::{CommandAnswer, Cursor, Page, Push, PushAnswer, PushName, PushResult};
use uuid::Uuid;

use crate::bench::{CONFLICTS, ITEMS, NOW, PageExt, SHOWS, catalog, page};

type Place = (TableNo, Key);

/// A live row at the cloud.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) row: Row,
    version: i64,
    at: At,
}

/// Gone from a scope: tick, version, whether it lives on elsewhere.
type Gone = (i64, i64, bool);

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) rows: BTreeMap<Place, Kept>,
    gone: BTreeMap<(ScopeId, TableNo, Key), Gone>,
    heads: BTreeMap<ScopeId, i64>,
    /// Ticks taken by the transaction under way.
    taken: BTreeMap<ScopeId, i64>,
    answers: HashMap<(ReplicaId, PushNo), PushAnswer>,
    exact: HashMap<(ReplicaId, Place), (PushNo, At)>,
    open: BTreeMap<ConflictId, (ReplicaId, Place)>,
    conflicts: u128,
}

pub(crate) fn own_scope(replica: ReplicaId) -> ScopeId {
    ScopeId(format!("site/{replica}"))
}

impl Cloud {
    /// Begins a transaction.
    fn begin(&mut self) {
        self.taken.clear();
    }

    fn tick(&mut self, scope: &ScopeId) -> At {
        let heads = &mut self.heads;
        let tick = *self.taken.entry(scope.clone()).or_insert_with(|| {
            let head = heads.entry(scope.clone()).or_default();
            *head += 1;
            *head
        });
        At { scope: scope.clone(), tick: Tick(tick) }
    }

    fn scope_of(&self, table: TableNo, row: &Row) -> Option<ScopeId> {
        match table {
            SHOWS => Some(ScopeId(format!("shows/{}", row[0].to_text()))),
            _ => self.rows.contains_key(&(SHOWS, Key(vec![row[1].clone()]))).then(|| ScopeId(format!("shows/{}", row[1].to_text()))),
        }
    }

    /// Why the constraints refuse a row.
    fn refusal(&self, table: TableNo, key: &Key, row: &Row) -> Option<ConflictKind> {
        if table == SHOWS {
            return None;
        }
        let refers = |at: usize, to: TableNo| row[at].is_null() || self.rows.contains_key(&(to, Key(vec![row[at].clone()])));
        if self.scope_of(table, row).is_none() || !(refers(4, ITEMS) || row[4] == row[0]) {
            return Some(ConflictKind::ForeignKey);
        }
        let twin = |other: &Row| !row[2].is_null() && other[1] == row[1] && other[2] == row[2];
        let taken = self.rows.iter().any(|((no, other), kept)| *no == ITEMS && other != key && twin(&kept.row));
        taken.then_some(ConflictKind::Unique)
    }

    fn write(&mut self, table: TableNo, old: Option<&Key>, row: Row, pushed: i64) -> Option<()> {
        let key = catalog().table(table)?.key_of(&row);
        let scope = self.scope_of(table, &row)?;
        let before = self.rows.remove(&(table, old.unwrap_or(&key).clone()));
        let version = before.as_ref().map_or(0, |kept| kept.version).max(self.last_version(table, &key)).max(pushed) + 1;
        if let Some(before) = &before {
            let moved = before.at.scope != scope;
            if moved || old.is_some_and(|old| *old != key) {
                let mark = self.tick(&before.at.scope);
                self.gone.insert((mark.scope, table, old.unwrap_or(&key).clone()), (mark.tick.0, version, moved && old.is_none()));
            }
        }
        let at = self.tick(&scope);
        self.gone.remove(&(scope, table, key.clone()));
        self.rows.insert((table, key), Kept { row, version, at });
        Some(())
    }

    fn last_version(&self, table: TableNo, key: &Key) -> i64 {
        self.gone.iter().filter(|((_, no, gone), _)| *no == table && gone == key).map(|(_, gone)| gone.1).max().unwrap_or(0)
    }

    /// Deletes a row with what cascades from it.
    fn delete(&mut self, table: TableNo, key: &Key) -> Option<()> {
        let Kept { version, at, .. } = self.rows.remove(&(table, key.clone()))?;
        let mark = self.tick(&at.scope);
        self.gone.insert((mark.scope, table, key.clone()), (mark.tick.0, version + 1, false));
        let referring = |kept: &Kept, at: usize| kept.row[at] == key.0[0];
        let children: Vec<(Key, Row)> =
            self.rows.iter().filter(|((no, _), _)| *no == ITEMS).map(|((_, key), kept)| (key.clone(), kept.row.clone())).collect();
        for (child, mut row) in children {
            let Some(kept) = self.rows.get(&(ITEMS, child.clone())) else { continue };
            if table == SHOWS && referring(kept, 1) {
                self.delete(ITEMS, &child);
            } else if table == ITEMS && referring(kept, 4) {
                row[4] = Value::Null;
                self.write(ITEMS, None, row, 0);
            }
        }
        Some(())
    }

    /// A program's own write at the cloud; refused where a constraint says so.
    pub(crate) fn plain(&mut self, table: TableNo, row: Row) {
        self.begin();
        let key = catalog().table(table).unwrap().key_of(&row);
        if self.refusal(table, &key, &row).is_none() {
            self.write(table, None, row, 0);
        }
    }

    /// A program's own delete at the cloud.
    pub(crate) fn plain_delete(&mut self, table: TableNo, key: &Key) {
        self.begin();
        self.delete(table, key);
    }

    pub(crate) fn push(&mut self, body: &[u8]) -> PushAnswer {
        let push: Push = codec::decode(body).unwrap();
        let (replica, hash) = (push.speaker.replica, codec::body_hash(body));
        if let Some(answer) = self.answers.get(&(replica, push.no)) {
            assert_eq!(answer.hash, hash, "a number came twice with other bytes");
            return answer.clone();
        }
        self.begin();
        let in_set: BTreeSet<Place> = push.rows.iter().map(|row| (row.table, row.key.clone())).collect();
        assert_eq!(in_set.len(), push.rows.len(), "a row comes twice");
        let verdicts: Vec<_> = push.rows.iter().map(|change| self.decide(replica, change, push.reoffer, &in_set)).collect();
        // What the whole transaction left is what is answered.
        let rows = push.rows.iter().zip(verdicts).map(|(change, verdict)| self.answer(replica, push.no, change, verdict)).collect();
        let commands = push.commands.iter().map(|_| CommandAnswer::Done).collect();
        let answer = PushAnswer { no: push.no, hash, result: PushResult::Applied { rows, commands }, mac: "mac".into() };
        self.answers.insert((replica, push.no), answer.clone());
        answer
    }

    fn decide(
        &mut self,
        replica: ReplicaId,
        change: &RowChange,
        reoffer: bool,
        in_set: &BTreeSet<Place>,
    ) -> (Verdict, Vec<sync_core::id::ColumnNo>) {
        let catalog = catalog();
        let table = catalog.table(change.table).unwrap();
        let old = if let Op::Rekey(old, _) = &change.op { Some(old) } else { None };
        let key = old.unwrap_or(&change.key).clone();
        let kept = self.rows.get(&(change.table, key.clone())).cloned();
        let tombstone = self.gone.iter().any(|((_, no, gone), (_, _, left))| *no == change.table && *gone == key && !left);
        let current = Current::new(kept.as_ref().map(|kept| &kept.row), kept.as_ref().map(|kept| &kept.at), tombstone);
        match reconcile(table, current, change, reoffer).decision {
            Decision::NoOp => (Verdict::NoOp, vec![]),
            Decision::Delete => {
                let referred = self.rows.iter().any(|((no, child), kept)| {
                    *no == ITEMS
                        && !in_set.contains(&(ITEMS, child.clone()))
                        && (change.table == SHOWS && kept.row[1] == key.0[0]
                            || change.table == ITEMS && kept.row[4] == key.0[0] && *child != key)
                });
                if referred {
                    return (Verdict::Parked(self.park(replica, change)), vec![]);
                }
                self.delete(change.table, &key);
                (Verdict::Accepted, vec![])
            }
            Decision::Write(row) => self.try_write(replica, change, old, row, kept.is_none()),
            Decision::Park { write, clashed, .. } => {
                if let Some(row) = write {
                    let refused = self.refusal(change.table, &change.key, &row).is_some();
                    if !refused {
                        self.write(change.table, old, row, change.stamp.version);
                    } else {
                        return (Verdict::Parked(self.park(replica, change)), vec![]);
                    }
                }
                (Verdict::Parked(self.park(replica, change)), clashed)
            }
        }
    }

    fn try_write(
        &mut self,
        replica: ReplicaId,
        change: &RowChange,
        old: Option<&Key>,
        row: Row,
        new: bool,
    ) -> (Verdict, Vec<sync_core::id::ColumnNo>) {
        let taken = old.is_some() && self.rows.contains_key(&(change.table, change.key.clone()));
        let stays = old.is_some()
            && self.rows.values().any(|kept| change.table == SHOWS && kept.row.len() > 4 && Some(&kept.row[1]) == old.map(|old| &old.0[0]));
        if taken || stays || self.refusal(change.table, old.unwrap_or(&change.key), &row).is_some() {
            let conflict = self.park(replica, change);
            return (if new { Verdict::Held(conflict) } else { Verdict::Parked(conflict) }, vec![]);
        }
        self.write(change.table, old, row, change.stamp.version);
        if let (Some(old), ITEMS) = (old, change.table) {
            // References follow a changed key.
            let followers: Vec<Row> =
                self.rows.values().filter(|kept| kept.row.len() > 4 && kept.row[4] == old.0[0]).map(|kept| kept.row.clone()).collect();
            for mut row in followers {
                row[4] = change.key.0[0].clone();
                self.write(ITEMS, None, row, 0);
            }
        }
        (Verdict::Accepted, vec![])
    }

    fn park(&mut self, replica: ReplicaId, change: &RowChange) -> ConflictId {
        let place = (change.table, change.key.clone());
        if let Some((id, _)) = self.open.iter().find(|(_, open)| **open == (replica, place.clone())) {
            return *id;
        }
        self.conflicts += 1;
        let id = ConflictId(Uuid::from_u128(self.conflicts));
        self.open.insert(id, (replica, place));
        self.conflict_row(replica, id, "PENDING");
        id
    }

    fn conflict_row(&mut self, replica: ReplicaId, id: ConflictId, resolution: &str) {
        let at = self.tick(&own_scope(replica));
        let row = vec![Value::Uuid(id.0), Value::Text(resolution.into()), Value::Int(at.tick.0)];
        self.rows.insert((CONFLICTS, Key(vec![row[0].clone()])), Kept { row, version: at.tick.0, at });
    }

    /// Resolves every open conflict for the cloud.
    pub(crate) fn resolve_all(&mut self) -> usize {
        self.begin();
        let open = std::mem::take(&mut self.open);
        for (id, (replica, _)) in &open {
            self.conflict_row(*replica, *id, "CLOUD_WINS");
        }
        open.len()
    }

    fn answer(
        &mut self,
        replica: ReplicaId,
        no: PushNo,
        change: &RowChange,
        (verdict, clashed): (Verdict, Vec<sync_core::id::ColumnNo>),
    ) -> RowAnswer {
        let old = if let Op::Rekey(old, _) = &change.op { old } else { &change.key };
        let parked = matches!(verdict, Verdict::Parked(_) | Verdict::Held(_));
        let key = if self.rows.contains_key(&(change.table, change.key.clone())) && !parked { &change.key } else { old };
        let place = (change.table, key.clone());
        let confirmed = match self.rows.get(&place) {
            Some(kept) => {
                let same = change
                    .values()
                    .all(|(no, value)| catalog().table(change.table).unwrap().position(no).is_some_and(|at| kept.row[at] == *value));
                let whole = change.base.as_ref().is_some() || matches!(change.op, Op::Insert(_));
                // Exact: nobody else wrote the row since the site's base.
                let exact = verdict == Verdict::Accepted && same && whole && matches!(change.op, Op::Insert(_)) && !self.taken.is_empty();
                if exact {
                    self.exact.insert((replica, place), (no, kept.at.clone()));
                    Confirmed::Exact { at: kept.at.clone(), version: kept.version, synced_at: NOW.into() }
                } else {
                    let stamp = Stamp { version: kept.version, updated_at: NOW.into(), modified_by: None, synced_at: Some(NOW.into()) };
                    Confirmed::Image(Image { at: kept.at.clone(), stamp, state: State::Live(kept.row.clone()) })
                }
            }
            None => {
                let newest =
                    self.gone.iter().filter(|((_, no, gone), _)| *no == change.table && gone == key).max_by_key(|(_, gone)| gone.1);
                match newest {
                    Some(((scope, ..), (tick, version, _))) => {
                        let stamp = Stamp { version: *version, updated_at: NOW.into(), modified_by: None, synced_at: Some(NOW.into()) };
                        Confirmed::Image(Image { at: At { scope: scope.clone(), tick: Tick(*tick) }, stamp, state: State::Deleted })
                    }
                    None => Confirmed::Nothing,
                }
            }
        };
        RowAnswer { verdict, clashed, confirmed, merged: Vec::new() }
    }

    /// Everything that is new to a replica that holds every scope.
    pub(crate) fn pull(&self, replica: ReplicaId, answered: Option<&PushName>, cursors: &[Cursor]) -> Page {
        let own = own_scope(replica);
        let mine = |scope: &ScopeId| scope.0.starts_with("shows/") || *scope == own;
        let scopes: Vec<&ScopeId> = self.heads.keys().filter(|scope| mine(scope)).collect();
        let heads: Vec<(&ScopeId, i64)> = scopes.iter().map(|scope| (*scope, self.heads[*scope])).collect();
        let cursor = |scope: &ScopeId| cursors.iter().find(|cursor| cursor.scope == *scope).map(|cursor| cursor.tick.0);
        let number = |scope: &ScopeId| scopes.iter().position(|other| *other == scope).map(|at| u32::try_from(at).unwrap());
        let mut page = page(&heads);
        for ((scope, table, key), (tick, _, left)) in &self.gone {
            if let (Some(at), Some(from)) = (number(scope), cursor(scope))
                && *tick > from
            {
                page = page.gone(*table, at, *tick, &key.0[0].to_text(), *left);
            }
        }
        for ((table, key), kept) in &self.rows {
            let known = self.exact.get(&(replica, (*table, key.clone())));
            let first = cursor(&kept.at.scope).is_none();
            let echo = !first && known.is_some_and(|(no, at)| *at == kept.at && answered.is_some_and(|answered| answered.no >= *no));
            if let Some(at) = number(&kept.at.scope)
                && kept.at.tick.0 > cursor(&kept.at.scope).unwrap_or(0)
                && !echo
            {
                page = page.live(*table, at, kept.at.tick.0, kept.version, kept.row.clone());
            }
        }
        page
    }
}
