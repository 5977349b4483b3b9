//! Who this replica is, as facts of `rejoin_state`. The site's key is not among them: it stands outside the database.

use rusqlite::{Connection, OptionalExtension};
use sync_core::id::{CatalogVersion, CloudEpoch, ReplicaEpoch, ReplicaId, SiteId};
use sync_core::wire::message::{Enrolled, Replica, Speaker};
use uuid::Uuid;

use super::db::DbError;
use super::leases;

/// What a site is since it joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The site.
    pub site: SiteId,
    /// Its name: `server_id` in `sync_log`, `site:NAME` in `last_modified_by`.
    pub name: String,
    /// This copy of it.
    pub replica: ReplicaId,
    /// The copy's life.
    pub epoch: ReplicaEpoch,
    /// The cloud's life.
    pub cloud_epoch: CloudEpoch,
}

impl Identity {
    /// Introduces this replica to the cloud.
    #[must_use]
    pub fn speaker(&self, catalog: CatalogVersion) -> Speaker {
        Speaker { replica: self.replica, epoch: self.epoch, cloud_epoch: self.cloud_epoch, catalog }
    }
}

impl From<&Enrolled> for Identity {
    fn from(enrolled: &Enrolled) -> Self {
        Self {
            site: enrolled.site,
            name: enrolled.name.clone(),
            replica: enrolled.replica,
            epoch: enrolled.epoch,
            cloud_epoch: enrolled.cloud_epoch,
        }
    }
}

/// Reads who this replica is; `None` before it has joined.
///
/// # Errors
/// The database failed.
pub fn load(connection: &Connection) -> Result<Option<Identity>, DbError> {
    let id = |key: &str| Ok::<_, DbError>(fact(connection, key)?.and_then(|text| Uuid::try_parse(&text).ok()));
    let (site, name, replica) = (id("site")?, fact(connection, "site_name")?, id("replica")?);
    let (epoch, cloud_epoch) = (id("epoch")?, id("cloud_epoch")?);
    Ok(match (site, name, replica, epoch, cloud_epoch) {
        (Some(site), Some(name), Some(replica), Some(epoch), Some(cloud_epoch)) => Some(Identity {
            site: SiteId(site),
            name,
            replica: ReplicaId(replica),
            epoch: ReplicaEpoch(epoch),
            cloud_epoch: CloudEpoch(cloud_epoch),
        }),
        _ => None,
    })
}

/// Stores who this replica is.
///
/// # Errors
/// The database failed.
pub fn store(connection: &Connection, identity: &Identity) -> Result<(), DbError> {
    set_fact(connection, "site", &identity.site.to_string())?;
    set_fact(connection, "site_name", &identity.name)?;
    let replica = Replica { replica: identity.replica, epoch: identity.epoch, cloud_epoch: identity.cloud_epoch };
    store_replica(connection, &replica)
}

/// Stores that this copy is another replica from now on.
///
/// # Errors
/// The database failed.
pub fn store_replica(connection: &Connection, replica: &Replica) -> Result<(), DbError> {
    // Its twin goes on with the numbers that were leased to the old one.
    leases::let_go(connection)?;
    set_fact(connection, "replica", &replica.replica.to_string())?;
    set_fact(connection, "epoch", &replica.epoch.to_string())?;
    set_fact(connection, "cloud_epoch", &replica.cloud_epoch.to_string())
}

/// One fact of `rejoin_state`.
///
/// # Errors
/// The database failed.
pub fn fact(connection: &Connection, key: &str) -> Result<Option<String>, DbError> {
    let mut statement = connection.prepare_cached("SELECT value FROM rejoin_state WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Sets a fact of `rejoin_state`.
///
/// # Errors
/// The database failed.
pub fn set_fact(connection: &Connection, key: &str, value: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO rejoin_state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute([key, value])?;
    Ok(())
}

/// Removes a fact of `rejoin_state`.
///
/// # Errors
/// The database failed.
pub fn clear_fact(connection: &Connection, key: &str) -> Result<(), DbError> {
    connection.prepare_cached("DELETE FROM rejoin_state WHERE key = ?1")?.execute([key])?;
    Ok(())
}
