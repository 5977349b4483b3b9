//! Sites: how one joins, what it holds, and how it is shut out. Keys and tokens are stored as SHA-256 only.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, SubsecRound, Utc};
use conflict_ui_api::secret::{self, SecretKind};
use deadpool_postgres::GenericClient;
use serde::Serialize;
use sync_core::id::{CloudEpoch, ReplicaEpoch, ReplicaId, RunId, ScopeId, SiteId};
use sync_core::wire::message::Enrolled;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::error::StoreError;

/// How long an enrolment token counts where nothing else is asked.
pub const ENROL_TTL: Duration = Duration::hours(24);

/// How old `last_seen_at` may get before a request of the site writes it anew.
const SEEN_EVERY_SECONDS: f64 = 10.0;

/// Who speaks over the sites' protocol, read anew for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteIdentity {
    /// The site.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// What it may read and write, besides `global` and its own scope.
    pub scopes: Grants,
    /// Scopes that were taken from it: edits made before may still come, pulls leave them out.
    pub leaving: BTreeSet<ScopeId>,
}

/// The scopes of root rows that a site holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// All there are and will be (`*`).
    All,
    /// These.
    These(BTreeSet<ScopeId>),
}

/// Whether there is a site of this name, revoked or not.
///
/// # Errors
/// The store failed.
pub async fn is_known(db: &impl GenericClient, name: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM rejoin.sites WHERE name = $1)";
    Ok(db.query_one(&db.prepare_cached(sql).await?, &[&name]).await?.try_get(0)?)
}

/// What `sites list` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// What it holds: `*`, or scopes of root rows.
    pub scopes: Vec<String>,
    /// Scopes that it gives up once its pending edits are in.
    pub dropping: Vec<String>,
    /// Whether it has joined.
    pub enrolled: bool,
    /// When its unused token runs out.
    pub token_expires_at: Option<DateTime<Utc>>,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it was shut out.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it last spoke, to within some seconds.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Its conflicts without a decision.
    pub conflicts: i64,
    /// Its copies.
    pub replicas: Vec<Replica>,
    /// The last run that it told of.
    pub last_run: Option<LastRun>,
}

/// One copy of a site's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Its id.
    pub id: ReplicaId,
    /// The number of the last push taken from it.
    pub last_push: i64,
    /// The catalog that it had when it last spoke; 0: it has not yet.
    pub catalog: i64,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// The end of a site's last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Which.
    pub id: RunId,
    /// COMPLETED, FAILED or PARTIAL.
    pub status: String,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

/// A site made or given a new token. The token is shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// The site.
    pub id: SiteId,
    /// Its name.
    pub name: String,
    /// The single-use token.
    pub token: String,
    /// When it runs out.
    pub expires_at: DateTime<Utc>,
}

/// Why a site could not be made, changed or let in.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The name is taken.
    #[error("there is a site {0} already")]
    Taken(String),
    /// The name cannot be one.
    #[error("a site's name is 1 to 63 of a-z, 0-9, '.', '_' and '-', and does not start with a sign; {0:?} is not")]
    Name(String),
    /// There is no such site.
    #[error("there is no site {0}")]
    Unknown(String),
    /// The token was never given out, was used, or ran out.
    #[error("the enrolment token is not valid: unknown, used already or run out; ask an admin for a new one")]
    Token,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for SiteError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Adds a site and makes its enrolment token.
///
/// # Errors
/// The name is taken or cannot be one; the store failed.
pub async fn add(db: &mut impl GenericClient, name: &str, scopes: &Grants, ttl: Duration) -> Result<Invited, SiteError> {
    let invited = invite(name, ttl);
    let transaction = db.transaction().await?;
    let inserted = transaction
        .execute(
            "INSERT INTO rejoin.sites (id, name, all_scopes, enrol_hash, enrol_expires_at) VALUES ($1, $2, $3, $4, $5)",
            &[&invited.id.0, &name, &(*scopes == Grants::All), &secret::hash(&invited.token), &invited.expires_at],
        )
        .await;
    inserted.map_err(|error| match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => SiteError::Taken(name.to_owned()),
        Some(&SqlState::CHECK_VIOLATION) => SiteError::Name(name.to_owned()),
        _ => error.into(),
    })?;
    if let Grants::These(scopes) = scopes {
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.0.as_str()).collect();
        transaction
            .execute("INSERT INTO rejoin.subscriptions (site_id, scope) SELECT $1, unnest($2::text[])", &[&invited.id.0, &scopes])
            .await?;
    }
    transaction.commit().await?;
    Ok(invited)
}

fn invite(name: &str, ttl: Duration) -> Invited {
    Invited {
        id: SiteId(Uuid::now_v7()),
        name: name.to_owned(),
        token: secret::generate(SecretKind::Enrolment),
        expires_at: (Utc::now() + ttl).trunc_subsecs(0),
    }
}

/// Makes a new enrolment token for a site that lost its key or was revoked. The old key counts until the token is used; a revoked site
/// is let in again.
///
/// # Errors
/// There is no such site; the store failed.
pub async fn invite_again(db: &impl GenericClient, name: &str, ttl: Duration) -> Result<Invited, SiteError> {
    let mut invited = invite(name, ttl);
    let row = db
        .query_opt(
            "UPDATE rejoin.sites SET enrol_hash = $2, enrol_expires_at = $3,
                    key_hash = CASE WHEN revoked_at IS NULL THEN key_hash END, revoked_at = NULL
             WHERE name = $1 RETURNING id",
            &[&name, &secret::hash(&invited.token), &invited.expires_at],
        )
        .await?;
    invited.id = SiteId(row.ok_or_else(|| SiteError::Unknown(name.to_owned()))?.get(0));
    Ok(invited)
}

/// Shuts a site out, effective at its next request; its unused token too. Whether it was in.
///
/// # Errors
/// There is no such site; the store failed.
pub async fn revoke(db: &impl GenericClient, name: &str) -> Result<(), SiteError> {
    let done = db
        .execute(
            "UPDATE rejoin.sites SET revoked_at = coalesce(revoked_at, now()), key_hash = NULL, enrol_hash = NULL, enrol_expires_at = NULL
             WHERE name = $1",
            &[&name],
        )
        .await?;
    if done == 0 { Err(SiteError::Unknown(name.to_owned())) } else { Ok(()) }
}

/// Lets a site hold one more scope, or all.
///
/// # Errors
/// There is no such site; the store failed.
pub async fn add_scope(db: &mut impl GenericClient, name: &str, scope: &Grants) -> Result<(), SiteError> {
    let transaction = db.transaction().await?;
    let site = lock(&transaction, name).await?;
    match scope {
        Grants::All => drop(transaction.execute("UPDATE rejoin.sites SET all_scopes = true WHERE id = $1", &[&site]).await?),
        Grants::These(scopes) => {
            let scopes: Vec<&str> = scopes.iter().map(|scope| scope.0.as_str()).collect();
            let sql = "INSERT INTO rejoin.subscriptions (site_id, scope) SELECT $1, unnest($2::text[])
                       ON CONFLICT (site_id, scope) DO UPDATE SET dropped_at = NULL";
            transaction.execute(sql, &[&site, &scopes]).await?;
        }
    }
    Ok(transaction.commit().await?)
}

/// Takes a scope, or `*`, from a site. A single scope is marked: pulls leave it out from now on, pushes of edits made before are still
/// taken, and it is forgotten once every replica of the site has let it go.
///
/// # Errors
/// There is no such site; the store failed.
pub async fn drop_scope(db: &mut impl GenericClient, name: &str, scope: &Grants) -> Result<(), SiteError> {
    let transaction = db.transaction().await?;
    let site = lock(&transaction, name).await?;
    match scope {
        Grants::All => drop(transaction.execute("UPDATE rejoin.sites SET all_scopes = false WHERE id = $1", &[&site]).await?),
        Grants::These(scopes) => {
            let scopes: Vec<&str> = scopes.iter().map(|scope| scope.0.as_str()).collect();
            let sql = "UPDATE rejoin.subscriptions SET dropped_at = coalesce(dropped_at, now()) WHERE site_id = $1 AND scope = ANY($2)";
            transaction.execute(sql, &[&site, &scopes]).await?;
        }
    }
    Ok(transaction.commit().await?)
}

async fn lock(db: &impl GenericClient, name: &str) -> Result<Uuid, SiteError> {
    let row = db.query_opt("SELECT id FROM rejoin.sites WHERE name = $1 FOR UPDATE", &[&name]).await?;
    row.map(|row| row.get(0)).ok_or_else(|| SiteError::Unknown(name.to_owned()))
}

/// Lets a site in: its token is used up, and its key and first replica are made, in one transaction.
///
/// # Errors
/// The token is not valid; the store failed.
pub async fn enrol(db: &mut impl GenericClient, token: &str, cloud_epoch: CloudEpoch) -> Result<Enrolled, SiteError> {
    let key = secret::generate(SecretKind::SiteKey);
    let transaction = db.transaction().await?;
    let row = transaction
        .query_opt(
            "UPDATE rejoin.sites SET enrol_hash = NULL, enrol_expires_at = NULL, key_hash = $2, last_seen_at = now()
             WHERE enrol_hash = $1 AND enrol_expires_at > now() AND revoked_at IS NULL RETURNING id, name",
            &[&secret::hash(token), &secret::hash(&key)],
        )
        .await?
        .ok_or(SiteError::Token)?;
    let (site, name) = (SiteId(row.get(0)), row.get(1));
    let (replica, epoch) = new_replica(&transaction, site).await?;
    transaction.commit().await?;
    Ok(Enrolled { site, name, replica, epoch, key, cloud_epoch })
}

/// Makes a further replica of a site: for its first copy, and for a clone or a restored copy.
///
/// # Errors
/// The store failed.
pub async fn new_replica(db: &impl GenericClient, site: SiteId) -> Result<(ReplicaId, ReplicaEpoch), StoreError> {
    let (replica, epoch) = (Uuid::now_v7(), Uuid::new_v4());
    db.execute("INSERT INTO rejoin.replicas (id, epoch, site_id) VALUES ($1, $2, $3)", &[&replica, &epoch, &site.0]).await?;
    Ok((ReplicaId(replica), ReplicaEpoch(epoch)))
}

/// Who holds this site key; `None` where nobody does. Reads the row each time, so that a revocation counts at once.
///
/// # Errors
/// The store failed.
pub async fn authenticate(db: &impl GenericClient, key: &str) -> Result<Option<SiteIdentity>, StoreError> {
    let row = db
        .query_opt(
            "SELECT s.id, s.name, s.all_scopes,
                    ARRAY(SELECT scope FROM rejoin.subscriptions u WHERE u.site_id = s.id AND u.dropped_at IS NULL),
                    ARRAY(SELECT scope FROM rejoin.subscriptions u WHERE u.site_id = s.id AND u.dropped_at IS NOT NULL),
                    coalesce(s.last_seen_at < now() - make_interval(secs => $2), true)
             FROM rejoin.sites s WHERE s.key_hash = $1 AND s.revoked_at IS NULL",
            &[&secret::hash(key), &SEEN_EVERY_SECONDS],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let site: Uuid = row.get(0);
    if row.get(5) {
        db.execute("UPDATE rejoin.sites SET last_seen_at = now() WHERE id = $1", &[&site]).await?;
    }
    let set = |at: usize| row.get::<_, Vec<String>>(at).into_iter().map(ScopeId).collect();
    let scopes = if row.get(2) { Grants::All } else { Grants::These(set(3)) };
    Ok(Some(SiteIdentity { site: SiteId(site), name: row.get(1), scopes, leaving: set(4) }))
}

/// Forgets scopes that were taken from a site, once the site has let them go.
///
/// # Errors
/// The store failed.
pub async fn forget_scopes(db: &impl GenericClient, site: SiteId, gone: &[&ScopeId]) -> Result<(), StoreError> {
    let gone: Vec<&str> = gone.iter().map(|scope| scope.0.as_str()).collect();
    let sql = "DELETE FROM rejoin.subscriptions WHERE site_id = $1 AND dropped_at IS NOT NULL AND scope = ANY($2)";
    db.execute(sql, &[&site.0, &gone]).await?;
    Ok(())
}

/// Every site with its state, by name.
///
/// # Errors
/// The store failed.
pub async fn list(db: &impl GenericClient) -> Result<Vec<Site>, StoreError> {
    let replicas =
        db.query("SELECT site_id, id, last_push, created_at, catalog_version FROM rejoin.replicas ORDER BY created_at, id", &[]).await?;
    let sites = db
        .query(
            "SELECT s.id, s.name, s.all_scopes,
                    ARRAY(SELECT scope FROM rejoin.subscriptions u WHERE u.site_id = s.id AND u.dropped_at IS NULL ORDER BY 1),
                    ARRAY(SELECT scope FROM rejoin.subscriptions u WHERE u.site_id = s.id AND u.dropped_at IS NOT NULL ORDER BY 1),
                    s.key_hash IS NOT NULL, s.enrol_expires_at, s.created_at, s.revoked_at, s.last_seen_at,
                    (SELECT count(*) FROM rejoin.sync_conflicts c WHERE c.site_id = s.id AND c.resolution = 'PENDING'),
                    r.id, r.status::text, r.completed_at
             FROM rejoin.sites s
             LEFT JOIN LATERAL (SELECT id, status, completed_at FROM rejoin.sync_log l WHERE l.server_id = s.name
                                ORDER BY l.started_at DESC, l.id DESC LIMIT 1) r ON true
             ORDER BY s.name",
            &[],
        )
        .await?;
    Ok(sites.iter().map(|row| site_of(row, &replicas)).collect())
}

fn site_of(row: &Row, replicas: &[Row]) -> Site {
    let id: Uuid = row.get(0);
    let mut scopes: Vec<String> = row.get(3);
    if row.get(2) {
        scopes.insert(0, "*".to_owned());
    }
    let replica = |row: &Row| Replica { id: ReplicaId(row.get(1)), last_push: row.get(2), catalog: row.get(4), created_at: row.get(3) };
    Site {
        id: SiteId(id),
        name: row.get(1),
        scopes,
        dropping: row.get(4),
        enrolled: row.get(5),
        token_expires_at: row.get(6),
        created_at: row.get(7),
        revoked_at: row.get(8),
        last_seen_at: row.get(9),
        conflicts: row.get(10),
        replicas: replicas.iter().filter(|row| row.get::<_, Uuid>(0) == id).map(replica).collect(),
        last_run: row.get::<_, Option<Uuid>>(11).map(|run| LastRun { id: RunId(run), status: row.get(12), completed_at: row.get(13) }),
    }
}
