//! Who speaks over the sites' protocol, and whether his cursors are ours.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use sync_core::catalog::Catalog;
use sync_core::id::{CatalogVersion, ChangeId, CloudEpoch, ReplicaEpoch, ScopeId, SiteId, Tick};
use sync_core::wire::codec::CodecError;
use sync_core::wire::message::{Cursor, Speaker};
use uuid::Uuid;

use super::error::StoreError;
use super::mac;
use super::sites::{Grants, SiteIdentity};
use crate::secret::SecretKey;

/// Why a site's request was not served. Each is for that site alone.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The body is no message.
    #[error(transparent)]
    Unreadable(#[from] CodecError),
    /// The replica is not one of this site's, or of another life: ask for a new one.
    #[error("this site has no replica {0} of that epoch: it was cloned or restored; ask for a new replica")]
    Replica(Uuid),
    /// The replica has a push answered that this chain does not have: it was cloned or restored; ask for a new replica.
    #[error("push {0} of this replica is another one: it was cloned or restored; ask for a new replica")]
    Fork(i64),
    /// The site knows another life of the cloud.
    #[error("the cloud lives in epoch {now}, the site knows {known}: the cloud was restored or it is another one")]
    CloudEpoch {
        /// The epoch in force.
        now: Uuid,
        /// The one that the site named.
        known: Uuid,
    },
    /// A cursor that this cloud never handed out.
    #[error("the cursor of {0} was not handed out by this cloud")]
    ForeignCursor(ScopeId),
    /// A cursor or answer that this cloud handed out and does not know any more: it was restored from a backup.
    #[error("the cloud handed out {0} and does not know it any more: it was restored from a backup")]
    Restored(String),
    /// A row that no message can carry.
    #[error("{table} {record} is larger than a message may carry: shorten it at the cloud")]
    TooLarge {
        /// The table's name.
        table: String,
        /// The record's id.
        record: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for SyncError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

impl SiteIdentity {
    /// The scope of what concerns this site only.
    #[must_use]
    pub fn own_scope(&self) -> ScopeId {
        ScopeId::of_site(self.site)
    }

    /// Whether the site may read and write rows of this scope: those it holds, and for a while those it is giving up.
    #[must_use]
    pub fn holds(&self, scope: &ScopeId) -> bool {
        let of_a_site = scope.0.starts_with("site/") || scope.0 == ScopeId::NOWHERE;
        scope.0 == ScopeId::GLOBAL
            || self.leaving.contains(scope)
            || match &self.scopes {
                Grants::All if !of_a_site => true,
                Grants::These(scopes) if !of_a_site => scopes.contains(scope),
                Grants::All | Grants::These(_) => *scope == self.own_scope(),
            }
    }
}

/// The cloud's life.
///
/// # Errors
/// The store failed, or was never prepared.
pub async fn cloud_epoch(db: &impl GenericClient) -> Result<CloudEpoch, StoreError> {
    let statement = db.prepare_cached("SELECT value FROM rejoin.state WHERE key = 'cloud_epoch'").await?;
    let row = db.query_opt(&statement, &[]).await?;
    let epoch = row.map(|row| row.try_get::<_, String>(0)).transpose()?.and_then(|text| Uuid::try_parse(&text).ok());
    epoch.map(CloudEpoch).ok_or_else(|| StoreError::Corrupt("rejoin.state has no cloud_epoch".to_owned()))
}

/// A replica as the cloud has it.
#[derive(Debug, Clone)]
pub(crate) struct KnownReplica {
    /// The number of the last push taken.
    pub(crate) last_push: i64,
    /// That push's hash.
    pub(crate) last_hash: String,
    /// The catalog that it had when it last spoke.
    catalog: CatalogVersion,
    /// The catalog in force.
    newest: CatalogVersion,
}

/// Checks who speaks. `lock`: nobody else pushes as this replica until the transaction ends.
///
/// # Errors
/// [`SyncError::Replica`], [`SyncError::CloudEpoch`]; the store failed.
pub(crate) async fn check(db: &impl GenericClient, site: SiteId, speaker: &Speaker, lock: bool) -> Result<KnownReplica, SyncError> {
    let now = cloud_epoch(db).await?;
    if now != speaker.cloud_epoch {
        return Err(SyncError::CloudEpoch { now: now.0, known: speaker.cloud_epoch.0 });
    }
    // Behind the replica's lock stand only heads.
    let (wait, clause) = if lock { (", set_config('lock_timeout', '500ms', true)", " FOR NO KEY UPDATE") } else { ("", "") };
    let sql = format!(
        "SELECT epoch, last_push, last_hash, catalog_version, (SELECT max(version) FROM rejoin.catalogs){wait}
         FROM rejoin.replicas WHERE id = $1 AND site_id = $2{clause}"
    );
    let row = db.query_opt(&db.prepare_cached(&sql).await?, &[&speaker.replica.0, &site.0]).await?;
    let row = row.ok_or(SyncError::Replica(speaker.replica.0))?;
    if ReplicaEpoch(row.try_get(0)?) != speaker.epoch {
        return Err(SyncError::Replica(speaker.replica.0));
    }
    Ok(KnownReplica {
        last_push: row.try_get(1)?,
        last_hash: row.try_get(2)?,
        catalog: CatalogVersion(row.try_get(3)?),
        newest: CatalogVersion(row.try_get::<_, Option<i64>>(4)?.unwrap_or_default()),
    })
}

impl KnownReplica {
    /// Checks that no newer catalog is in force than the one that this server goes by: rows read or written by an old one would miss what
    /// is new, and the site would never hear of it.
    ///
    /// # Errors
    /// [`StoreError::Outdated`].
    pub(crate) fn check_catalog(&self, catalog: &Catalog) -> Result<(), StoreError> {
        if self.newest > catalog.version { Err(StoreError::Outdated(self.newest)) } else { Ok(()) }
    }

    /// Remembers which catalog the replica has, where that is another one than before.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn note_catalog(&self, db: &impl GenericClient, speaker: &Speaker) -> Result<(), StoreError> {
        if self.catalog != speaker.catalog {
            let sql = "UPDATE rejoin.replicas SET catalog_version = $2 WHERE id = $1";
            db.execute(&db.prepare_cached(sql).await?, &[&speaker.replica.0, &speaker.catalog.0]).await?;
        }
        Ok(())
    }
}

/// Checks that this cloud handed out the cursors and still knows them. `heads`: heads with their changes as far as they are known already,
/// so that a site that is up to date costs no query.
///
/// # Errors
/// [`SyncError::ForeignCursor`], [`SyncError::Restored`]; the store failed.
pub(crate) async fn check_cursors(
    db: &impl GenericClient,
    key: &SecretKey,
    epoch: CloudEpoch,
    cursors: &[Cursor],
    heads: &HashMap<ScopeId, (Tick, ChangeId)>,
) -> Result<(), SyncError> {
    if let Some(foreign) = cursors.iter().find(|cursor| !mac::knows_cursor(key, epoch, cursor)) {
        return Err(SyncError::ForeignCursor(foreign.scope.clone()));
    }
    let open: Vec<&Cursor> = cursors
        .iter()
        .filter(|cursor| cursor.tick != Tick::ZERO && heads.get(&cursor.scope) != Some(&(cursor.tick, cursor.change)))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let sql = "SELECT u.scope FROM unnest($1::text[], $2::bigint[], $3::uuid[]) AS u(scope, tick, change)
               LEFT JOIN rejoin.ticks t ON t.scope = u.scope AND t.tick = u.tick
               WHERE t.change_id IS DISTINCT FROM u.change LIMIT 1";
    let scopes: Vec<&str> = open.iter().map(|cursor| cursor.scope.0.as_str()).collect();
    let ticks: Vec<i64> = open.iter().map(|cursor| cursor.tick.0).collect();
    let changes: Vec<Uuid> = open.iter().map(|cursor| cursor.change.0).collect();
    match db.query_opt(&db.prepare_cached(sql).await?, &[&scopes, &ticks, &changes]).await? {
        Some(row) => Err(SyncError::Restored(format!("the cursor of {}", row.try_get::<_, &str>(0)?))),
        None => Ok(()),
    }
}
