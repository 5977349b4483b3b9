//! A site's push, in one transaction: recorded first, then commands, then rows: heads, scopes, authorization, `reconcile`, bulk writes.
//!
//! Reading order: this file, `admit` (exactly once), `set` (the rows under way), `load` (what the database has of them, and their scopes),
//! `gone` (what the schema no longer has), `leased` (keys with numbers that are somebody else's), `fixed` (numbers that PostgreSQL alone gives), `unfed` (rows that wait to be fed again), `plan` (decisions), `apply` with `units`, `write`, `deletes`, `blocked` and `refusal` (writing, and isolating what is refused), `answer`.
//!
//! Nothing blocks the queue: every push that can be read is answered and its number consumed. Rows of a scope that somebody holds and
//! rows of a table that is suspended come back deferred, rows that cannot be accepted are parked, a push that makes no sense is refused as a whole.

mod additions;
mod admit;
mod answer;
mod apply;
mod blocked;
mod deletes;
mod fixed;
mod gone;
mod leased;
mod load;
mod losses;
mod plan;
pub(crate) mod refusal;
mod repoint;
mod set;
mod times;
mod unfed;
mod units;
mod write;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use deadpool_postgres::Client;
use sync_core::catalog::{Catalog, Table};
use sync_core::change::{Op, RowAnswer, etag};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::{ConflictId, Key, ScopeId, TableNo};
use sync_core::limits::PUSH_ROWS_MAX;
use sync_core::wire::codec::{CodecError, body_hash, decode};
use sync_core::wire::message::{CommandAnswer, Push, PushAnswer, PushResult, Refusal};
use uuid::Uuid;

use self::admit::Admission;
use self::answer::{After, exact_keys};
use self::gone::Missing;
use self::losses::Told;
use self::repoint::Taken;
use self::set::{Conflicts, Fate, Item, Set};
use super::conflicts::journal::{self, Record, Written};
use super::conflicts::park::{Parking, Source, close_accepted, park};
use super::conflicts::resolve;
use super::error::StoreError;
use super::guard;
use super::mac;
use super::notices;
use super::pool::Database;
use super::sites::{Grants, SiteIdentity};
use super::speaker::SyncError;
use super::tx::{Author, Retry, WriteTx};
use crate::secret::SecretKey;

/// Takes a push: the stored answer where it was taken before.
///
/// # Errors
/// See [`SyncError`]: the body is no push, the speaker is not one of this site's replicas, a cursor is not ours, the store failed. Nothing is
/// taken then.
pub async fn push(db: &Database, key: &SecretKey, catalog: &Catalog, site: &SiteIdentity, body: &[u8]) -> Result<PushAnswer, SyncError> {
    let push: Push = decode(body)?;
    let taking = Taking { key, catalog, site, push: &push, hash: body_hash(body), author: format!("site:{}", site.name) };
    let mut retry = Retry::new();
    let mut rows = push.rows.len();
    loop {
        let mut client = db.client().await?;
        match taking.attempt(&mut client, rows, retry.is_last()).await {
            Err(SyncError::Store(error)) if retry.again(&error).await => {}
            // The rows that come back make a message over the limits: the second half waits for the next push.
            Err(SyncError::Unreadable(CodecError::Limit(_))) if rows > 1 => rows /= 2,
            outcome => return outcome,
        }
    }
}

/// One push to take.
struct Taking<'a> {
    key: &'a SecretKey,
    catalog: &'a Catalog,
    site: &'a SiteIdentity,
    push: &'a Push,
    hash: String,
    author: String,
}

impl Taking<'_> {
    /// `rows`: how many of the push's rows are taken; the others are deferred. `last`: so is what is busy.
    async fn attempt(&self, client: &mut Client, rows: usize, last: bool) -> Result<PushAnswer, SyncError> {
        let (push, speaker) = (self.push, &self.push.speaker);
        let author = Author { name: &self.author, push: Some((speaker.replica, push.no)) };
        let mut tx = WriteTx::begin(client, author).await?;
        match self.admit(&tx).await? {
            Admission::Answered(answer) => return Ok(answer),
            Admission::Fork => return Ok(self.untaken(PushResult::Fork)),
            Admission::Gap(no) => return Ok(self.untaken(PushResult::Gap(no))),
            Admission::Next => {}
        }
        super::speaker::check_cursors(&*tx, self.key, speaker.cloud_epoch, &push.cursors, &HashMap::new()).await?;
        guard::hold(&tx, self.catalog, &self.touched()).await?;
        let missing = Missing::of(&tx, self.catalog, &push.rows).await?;
        let taken = Taken::read(&tx, self.catalog, &push.rows).await?;
        let (result, exact) = match self.set(&missing, &taken) {
            Err(refusal) => (PushResult::Refused(refusal), Vec::new()),
            Ok(mut set) => {
                set.defer_from(rows);
                self.take(&mut tx, set, &taken, last).await?
            }
        };
        let answer = PushAnswer {
            no: push.no,
            hash: self.hash.clone(),
            result,
            mac: mac::answer(self.key, speaker.replica, speaker.epoch, push.no, &self.hash),
        };
        self.store_answer(&tx, &answer, &exact).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// The tables that it is about; none where it was cut under another catalog and is refused.
    fn touched(&self) -> Vec<&Table> {
        let Push { rows, commands, speaker, .. } = self.push;
        if speaker.catalog != self.catalog.version {
            return Vec::new();
        }
        if !commands.is_empty() {
            return guard::all(self.catalog);
        }
        let down = rows.iter().any(|row| matches!(row.op, Op::Delete(_) | Op::Rekey(..)));
        guard::touched(self.catalog, rows.iter().map(|row| row.table), down)
    }

    /// An answer of which nothing is kept: it names no push that was taken, so it has no MAC.
    fn untaken(&self, result: PushResult) -> PushAnswer {
        PushAnswer { no: self.push.no, hash: self.hash.clone(), result, mac: String::new() }
    }

    fn set<'s>(&'s self, missing: &'s Missing, taken: &'s Taken<'_>) -> Result<Set<'s>, Refusal> {
        if self.push.speaker.catalog != self.catalog.version {
            return Err(Refusal::Catalog(self.catalog.version));
        }
        if self.push.rows.len() > PUSH_ROWS_MAX {
            return Err(Refusal::Malformed(format!("{} rows: a push holds at most {PUSH_ROWS_MAX}", self.push.rows.len())));
        }
        Set::new(self.catalog, missing, &taken.rows).map_err(Refusal::Malformed)
    }

    /// Takes commands and rows. Returns the result and the keys answered exactly.
    async fn take(
        &self,
        tx: &mut WriteTx<'_>,
        mut set: Set<'_>,
        taken: &Taken<'_>,
        last: bool,
    ) -> Result<(PushResult, Vec<(TableNo, Key)>), StoreError> {
        set.look_up_gone(tx).await?;
        set.look_up_outgrown(tx).await?;
        set.look(tx, self.site).await?;
        let mut scopes = set.scopes(self.site);
        scopes.insert(self.site.own_scope());
        scopes.extend(resolve::scopes_of(tx, self.catalog, self.site, &self.push.commands).await?);
        let busy = tx.hold(&scopes, last).await?;
        let commands = self.commands(tx, &scopes, last).await?;

        set.defer(&busy);
        set.lock(tx, self.site, last).await?;
        self.same_scopes(&set, &scopes)?;
        set.look_up_unfed(tx).await?;
        set.read_deferred(tx).await?;
        set.refuse_unleased(tx, self.site).await?;
        set.refuse_fixed();
        set.decide(self.site, self.push.reoffer);
        set.name_gone();
        set.defer_dependents();
        tx.take(&set.written_scopes()).await?;
        apply::apply(tx, &mut set, &self.author, last).await?;

        let after = After::read(tx, &set).await?;
        set.note_counted(tx).await?;
        set.note_times(tx).await?;
        let lost = self.record_losses(tx, &set, &after).await?;
        let conflicts = self.park(tx, &set, &after, lost).await?;
        self.close_held(tx, &set, &after).await?;
        self.grant(tx, &set).await?;
        let answers = set.items.iter().enumerate().map(|(index, item)| {
            let answer = after.answer(self.site, index, item, &conflicts);
            taken.answer(index, &self.push.rows[index], answer, || after.image(self.site, item))
        });
        let rows: Vec<RowAnswer> = answers.collect();
        let exact = exact_keys(self.push, &rows, tx.ticks());
        Ok((PushResult::Applied { rows, commands }, exact))
    }

    async fn commands(&self, tx: &mut WriteTx<'_>, held: &BTreeSet<ScopeId>, last: bool) -> Result<Vec<CommandAnswer>, StoreError> {
        let mut answers = Vec::with_capacity(self.push.commands.len());
        for command in &self.push.commands {
            answers.push(resolve::run_command(tx, self.catalog, self.site, command, held, last).await?);
        }
        Ok(answers)
    }

    /// Rows moved while the heads were taken: start over.
    fn same_scopes(&self, set: &Set<'_>, held: &BTreeSet<ScopeId>) -> Result<(), StoreError> {
        match set.scopes(self.site).difference(held).next() {
            Some(scope) => Err(StoreError::Busy(format!("a row moved to the scope {scope} meanwhile"))),
            None => Ok(()),
        }
    }

    /// `lost`: the conflicts of the rows that a policy parked.
    async fn park(&self, tx: &mut WriteTx<'_>, set: &Set<'_>, after: &After, lost: Conflicts) -> Result<Conflicts, StoreError> {
        let open = |index: &usize| set.items[*index].park().is_some_and(|park| !park.within_root && park.policy.is_none());
        let parked: Vec<usize> = (0..set.items.len()).filter(open).collect();
        let place: HashMap<usize, usize> = parked.iter().enumerate().map(|(place, index)| (*index, place)).collect();
        let list: Vec<Parking<'_>> = parked.iter().filter_map(|index| self.parking(set, &set.items[*index], after, &place)).collect();
        let source = self.source();
        let done = park(tx, source, &list).await?;
        for group in &done.new_groups {
            tracing::info!(site = %self.site.name, push = %self.push.no, table = group.table, kind = %group.kind, group = %group.id, "conflicts");
        }
        let new_groups: Vec<Uuid> = done.new_groups.iter().map(|group| group.id).collect();
        notices::of_groups(&**tx, &new_groups).await?;
        let mut conflicts: HashMap<usize, ConflictId> = parked.into_iter().zip(done.conflicts).chain(lost).collect();
        for (index, item) in set.items.iter().enumerate() {
            if let Some(root) = item.park().filter(|park| park.within_root).and_then(|park| park.root)
                && let Some(conflict) = conflicts.get(&root).copied()
            {
                conflicts.insert(index, conflict);
            }
        }
        Ok(conflicts)
    }

    fn source(&self) -> Source<'_> {
        Source { catalog: self.catalog, site: self.site, replica: self.push.speaker.replica, push: self.push.no, author: &self.author }
    }

    fn parking<'s>(&self, set: &'s Set<'_>, item: &'s Item<'_>, after: &'s After, place: &HashMap<usize, usize>) -> Option<Parking<'s>> {
        let park = item.park()?;
        let readable = |key: &Key| after.row(item.table.no, key).filter(|stored| self.site.holds(&stored.at.scope));
        let own = readable(item.cloud_key());
        let blocker = park.blocker.as_ref().filter(|key| readable(key).is_some());
        let tombstone = item.tombstone.as_ref().filter(|tombstone| self.site.holds(&tombstone.at.scope));
        let told = Told::of(set, item, own, tombstone);
        Some(Parking {
            table: item.table,
            key: item.cloud_key(),
            kind: park.kind,
            clashed: Cow::Borrowed(&park.clashed),
            reason: &park.reason,
            cloud: if park.blocker.is_some() { blocker.and_then(readable) } else { own },
            blocker,
            base: told.base,
            pushed: told.pushed,
            known: told.known,
            added: told.added,
            deleted: item.is_delete(),
            local_version: item.change.stamp.version,
            local_updated_at: &item.change.stamp.updated_at,
            local_modified_by: item.change.stamp.modified_by.as_deref(),
            deleted_at_cloud: tombstone.filter(|tombstone| !tombstone.left).map(|tombstone| (&*tombstone.when, &*tombstone.author)),
            gone: set.gone.get(&item.table.no),
            // What parks for the schema's sake cannot be offered again.
            held: matches!(item.fate, Fate::Parked(_))
                && item.is_insert()
                && !park.is_for_good()
                && !(park.kind == ConflictKind::InsertInsert && own.is_some()),
            root: park.root.and_then(|root| place.get(&root).copied()),
        })
    }

    /// Held rows that were offered again and came in close their conflicts; what they wrote goes on record like any decision.
    async fn close_held(&self, tx: &mut WriteTx<'_>, set: &Set<'_>, after: &After) -> Result<(), StoreError> {
        let accepted = |item: &Item<'_>| item.is_insert() && matches!(item.fate, Fate::Write(_) | Fate::NoOp);
        // By the keys that the site knows.
        let came: Vec<(&Item<'_>, &Key)> =
            set.items.iter().zip(&self.push.rows).filter(|(item, _)| accepted(item)).map(|(item, row)| (item, &row.key)).collect();
        let named: Vec<(&Table, &Key)> = came.iter().map(|(item, key)| (item.table, *key)).collect();
        let closed = close_accepted(tx, self.source(), &named).await?;
        let mut records = Vec::with_capacity(closed.len());
        for closed in closed {
            let (item, _) = came[closed.place];
            let stored = after.row(item.table.no, &item.change.key).filter(|_| item.write().is_some());
            let written = stored.map(|stored| Written {
                table: item.table.no,
                record: item.change.key.to_string(),
                before: None,
                after: Some(etag(item.table, stored.stamp.version, &stored.row)),
            });
            records.push(Record {
                conflict: closed.conflict,
                revision: closed.revision,
                resolution: Resolution::LocalWins,
                writes: written.into_iter().collect(),
                dependents: Vec::new(),
            });
        }
        journal::record(tx, &self.author, &records).await
    }

    /// A root row that was accepted as new makes a scope, which its site holds from now on.
    async fn grant(&self, tx: &WriteTx<'_>, set: &Set<'_>) -> Result<(), StoreError> {
        if self.site.scopes == Grants::All {
            return Ok(());
        }
        let new = set.new_scopes(self.site);
        let made: Vec<&str> = set
            .items
            .iter()
            .filter(|item| item.write().is_some() && item.is_insert() && item.table.scope == sync_core::catalog::ScopeRule::Root)
            .filter_map(|item| item.to.as_ref().filter(|to| new.contains(to)).map(|to| to.0.as_str()))
            .collect();
        if !made.is_empty() {
            let sql = "INSERT INTO rejoin.subscriptions (site_id, scope) SELECT $1, u FROM unnest($2::text[]) u
                       ON CONFLICT (site_id, scope) DO UPDATE SET dropped_at = NULL";
            tx.execute(&tx.prepare_cached(sql).await?, &[&self.site.site.0, &made]).await?;
        }
        Ok(())
    }
}
