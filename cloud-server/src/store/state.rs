//! Facts about this database, one by one.

use deadpool_postgres::GenericClient;
use sync_core::id::CloudEpoch;
use uuid::Uuid;

use super::error::StoreError;

/// The cloud's life: a random id that a restored database brings back old, which is how a restore is noticed. The first start begins one.
///
/// # Errors
/// The store failed.
pub async fn begin_epoch(db: &impl GenericClient) -> Result<CloudEpoch, StoreError> {
    let sql = "INSERT INTO rejoin.state (key, value) VALUES ('cloud_epoch', $1) ON CONFLICT (key) DO NOTHING";
    db.execute(sql, &[&Uuid::new_v4().to_string()]).await?;
    let text: String = db.query_one("SELECT value FROM rejoin.state WHERE key = 'cloud_epoch'", &[]).await?.try_get(0)?;
    Uuid::try_parse(&text).map(CloudEpoch).map_err(|_| StoreError::Corrupt(format!("the cloud epoch {text}")))
}

/// The built-in system that this database has, if it was ever prepared with one.
///
/// # Errors
/// The store failed.
pub async fn system(db: &impl GenericClient) -> Result<Option<String>, StoreError> {
    let prepared: bool = db.query_one("SELECT to_regclass('rejoin.state') IS NOT NULL", &[]).await?.try_get(0)?;
    if !prepared {
        return Ok(None);
    }
    let row = db.query_opt("SELECT value FROM rejoin.state WHERE key = 'system'", &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
