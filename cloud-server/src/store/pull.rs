//! A site's pull: pages of what is new in the scopes that it holds, each read in one REPEATABLE READ transaction over all of them.
//!
//! Stateless: the site hands back the [`Window`] that it is in. Inside a window the order is: scope, what is gone, then tables by number, then
//! (tick, key), bounded by the heads when the window began. When a window is exhausted and the page has room, the next one goes up to the
//! heads of this page's snapshot; the pull is complete when a page reaches the heads of its own snapshot. An idle pull reads heads only.

mod echo;
mod feed;
mod page;

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::{Client, GenericClient, Transaction};
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{ChangeId, ReplicaId, ScopeId, Tick};
use sync_core::limits::SCOPES_MAX;
use sync_core::wire::message::{Page, Pull, PushName, Window};
use tokio_postgres::IsolationLevel;
use uuid::Uuid;

use self::echo::Echo;
use self::feed::Feed;
use self::page::Builder;
use super::error::StoreError;
use super::guard;
use super::mac;
use super::pool::Database;
use super::sites::SiteIdentity;
use super::speaker::{self, KnownReplica, SyncError};
use crate::secret::SecretKey;

/// How long a page waits for a table that somebody alters: shorter than PostgreSQL waits before it looks for a deadlock, so that no migration
/// ever fails for a pull.
const LOCK_WAIT: &str = "900ms";

/// The heads of the scopes that a site holds, with what each tick was, in one snapshot.
type Heads = BTreeMap<ScopeId, (Tick, ChangeId)>;

/// Answers one page of a pull.
///
/// # Errors
/// See [`SyncError`].
pub async fn pull(db: &Database, key: &SecretKey, catalog: &Catalog, site: &SiteIdentity, pull: &Pull) -> Result<Page, SyncError> {
    let mut client = db.client().await?;
    let first = if pull.next.is_none() { snapshot(&mut client, key, catalog, site, pull, None).await? } else { None };
    let (page, replica) = match first {
        Some(idle) => idle,
        None => {
            let locked = guard::all(catalog);
            let page = snapshot(&mut client, key, catalog, site, pull, Some(&locked)).await?;
            page.ok_or_else(|| StoreError::Busy("the page was not read".to_owned()))?
        }
    };
    replica.note_catalog(&client, &pull.speaker).await?;
    if pull.next.is_none() && page.catalog == pull.speaker.catalog {
        record(&client, pull).await?;
    }
    Ok(page)
}

/// Reads a page in one snapshot. `locked`: the user's tables; `None` where it is not known yet whether there is anything to send;
/// nothing is read then where there is, since the locks come before the snapshot: a table that is altered in between would be seen as nobody has it.
async fn snapshot(
    client: &mut Client,
    key: &SecretKey,
    catalog: &Catalog,
    site: &SiteIdentity,
    pull: &Pull,
    locked: Option<&[&Table]>,
) -> Result<Option<(Page, KnownReplica)>, SyncError> {
    let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    if let Some(locked) = locked.filter(|locked| !locked.is_empty()) {
        transaction.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_WAIT}'; {}", guard::lock_sql(locked))).await?;
        guard::check(&transaction, catalog, locked).await?;
    }
    let read = read(&transaction, key, catalog, site, pull, locked.is_some()).await?;
    transaction.commit().await?;
    Ok(read)
}

async fn read(
    db: &Transaction<'_>,
    key: &SecretKey,
    catalog: &Catalog,
    site: &SiteIdentity,
    pull: &Pull,
    locked: bool,
) -> Result<Option<(Page, KnownReplica)>, SyncError> {
    let replica = speaker::check(db, site.site, &pull.speaker, false).await?;
    replica.check_catalog(catalog)?;
    let epoch = pull.speaker.cloud_epoch;
    if pull.speaker.catalog != catalog.version {
        // Fetch the catalog first: rows of another one cannot be read.
        let (heads, gone, tables) = Default::default();
        return Ok(Some((
            Page { cloud_epoch: epoch, catalog: catalog.version, heads, gone, tables, next: None, suspended: None },
            replica,
        )));
    }
    if let Some(answered) = &pull.answered {
        check_answered(db, key, pull, &replica, answered).await?;
    }
    let heads = heads(db, site).await?;
    let known: HashMap<ScopeId, (Tick, ChangeId)> = heads.iter().map(|(scope, head)| (scope.clone(), *head)).collect();
    speaker::check_cursors(db, key, epoch, &pull.cursors, &known).await?;

    let cursors: HashMap<&ScopeId, Tick> = pull.cursors.iter().map(|cursor| (&cursor.scope, cursor.tick)).collect();
    let echo = Echo::load(db, pull).await?;
    let new_scopes = replica.last_push > 0 && heads.keys().any(|scope| !cursors.contains_key(scope));
    let written_since = if new_scopes { Echo::written_since(db, pull).await? } else { HashMap::new() };
    let mut feed = Feed { db, catalog, heads: &heads, cursors: &cursors, page: Builder::new(&heads), echo, written_since };
    if !locked && (pull.next.is_some() || !feed.ahead(&[]).is_empty()) {
        return Ok(None);
    }
    let mut window = pull.next.clone().unwrap_or_else(|| Window { from: Vec::new(), heads: feed.ahead(&[]), after: None });
    let next = loop {
        if let Some(position) = feed.fill(&window).await? {
            break Some(Window { after: Some(position), ..window });
        }
        let mut from: BTreeMap<ScopeId, Tick> = window.from.into_iter().collect();
        from.extend(window.heads);
        let from: Vec<(ScopeId, Tick)> = from.into_iter().collect();
        let ahead = feed.ahead(&from);
        if ahead.is_empty() {
            break None;
        }
        window = Window { from, heads: ahead, after: None };
    };
    let heads = heads.iter().map(|(scope, (tick, change))| mac::cursor(key, epoch, scope.clone(), *tick, *change)).collect();
    Ok(Some((feed.page.finish(epoch, catalog, heads, next), replica)))
}

/// A push that the replica has an answer of must be in its chain.
async fn check_answered(
    db: &impl GenericClient,
    key: &SecretKey,
    pull: &Pull,
    replica: &KnownReplica,
    answered: &PushName,
) -> Result<(), SyncError> {
    let speaker = &pull.speaker;
    if !mac::same(&answered.mac, &mac::answer(key, speaker.replica, speaker.epoch, answered.no, &answered.hash)) {
        return Err(SyncError::Fork(answered.no.0));
    }
    if answered.no.0 > replica.last_push {
        return Err(SyncError::Restored(format!("the answer to push {}", answered.no)));
    }
    if answered.no.0 == replica.last_push {
        return if answered.hash == replica.last_hash { Ok(()) } else { Err(SyncError::Fork(answered.no.0)) };
    }
    let statement = db.prepare_cached("SELECT hash FROM rejoin.pushes WHERE replica = $1 AND no = $2").await?;
    let stored = db.query_opt(&statement, &[&speaker.replica.0, &answered.no.0]).await?;
    match stored.map(|row| row.try_get::<_, String>(0)).transpose()? {
        Some(hash) if hash == answered.hash => Ok(()),
        _ => Err(SyncError::Fork(answered.no.0)),
    }
}

/// What the site holds now: global, its own scope, and its subscriptions or all there are.
async fn heads(db: &impl GenericClient, site: &SiteIdentity) -> Result<Heads, SyncError> {
    let sql = "WITH granted AS (
                   SELECT 'global' AS scope UNION SELECT $2
                   UNION SELECT u.scope FROM rejoin.subscriptions u WHERE u.site_id = $1 AND u.dropped_at IS NULL
                   UNION SELECT s.scope FROM rejoin.scopes s
                         WHERE s.scope NOT LIKE 'site/%' AND s.scope <> 'nowhere' AND EXISTS (SELECT 1 FROM rejoin.sites WHERE id = $1 AND all_scopes))
               SELECT g.scope, coalesce(s.head, 0), t.change_id
               FROM granted g LEFT JOIN rejoin.scopes s ON s.scope = g.scope
               LEFT JOIN rejoin.ticks t ON t.scope = s.scope AND t.tick = s.head";
    let rows = db.query(&db.prepare_cached(sql).await?, &[&site.site.0, &site.own_scope().0]).await?;
    if rows.len() > SCOPES_MAX {
        return Err(StoreError::Corrupt(format!("the site {} holds {} scopes; {SCOPES_MAX} is the most", site.name, rows.len())).into());
    }
    let heads = rows.iter().map(|row| {
        let change = row.try_get::<_, Option<Uuid>>(2)?.unwrap_or_default();
        Ok((ScopeId(row.try_get(0)?), (Tick(row.try_get(1)?), ChangeId(change))))
    });
    heads.collect()
}

/// Remembers where the replica stands, and forgets exact rows that it has passed.
async fn record(client: &Client, pull: &Pull) -> Result<(), StoreError> {
    let ReplicaId(replica) = pull.speaker.replica;
    let scopes: Vec<&str> = pull.cursors.iter().map(|cursor| cursor.scope.0.as_str()).collect();
    let ticks: Vec<i64> = pull.cursors.iter().map(|cursor| cursor.tick.0).collect();
    let cursors = "WITH gone AS (DELETE FROM rejoin.cursors WHERE replica = $1 AND scope <> ALL ($2::text[]))
                   INSERT INTO rejoin.cursors AS c (replica, scope, tick) SELECT $1, u.scope, u.tick
                   FROM unnest($2::text[], $3::bigint[]) AS u(scope, tick)
                   ON CONFLICT (replica, scope) DO UPDATE SET tick = excluded.tick WHERE c.tick <> excluded.tick";
    client.execute(&client.prepare_cached(cursors).await?, &[&replica, &scopes, &ticks]).await?;
    if let Some(answered) = &pull.answered {
        let passed = "UPDATE rejoin.pushes p SET exact = NULL, ticks = NULL
                      WHERE p.replica = $1 AND p.no <= $2 AND p.ticks IS NOT NULL AND NOT EXISTS (
                          SELECT 1 FROM jsonb_each_text(p.ticks) t LEFT JOIN rejoin.cursors c ON c.replica = $1 AND c.scope = t.key
                          WHERE t.value::bigint > coalesce(c.tick, 0))";
        client.execute(&client.prepare_cached(passed).await?, &[&replica, &answered.no.0]).await?;
    }
    Ok(())
}
