//! How a site joins: once with a single-use token, ever after with a key of its own, which stands in `site.key` (0600) outside the database.

use std::fs;
use std::path::{Path, PathBuf};

use conflict_ui_api::private_file;
use conflict_ui_api::secret::hash;
use sync_core::wire::message::Enrolled;

use crate::cloud_link::{CloudLink, LinkError};
use crate::store::db::{Database, DbError};
use crate::store::identity::{self, Identity};

/// The file of the data folder that holds what the cloud said at enrolment, the site's key among it.
pub const KEY_FILE: &str = "site.key";

/// The fact of `rejoin_state` that keeps the SHA-256 of the token that brought the key.
const JOINED_WITH: &str = "joined_with";

/// Why a site could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It has never joined and got no token.
    #[error("this site has not joined a cloud yet: start it once with the token that `rejoin sites add NAME` prints")]
    NoToken,
    /// The database is another site's.
    #[error("this data folder belongs to the site {here}; the token is one for {token}")]
    OtherSite {
        /// Whose the folder is.
        here: String,
        /// Whose the token is.
        token: String,
    },
    /// The cloud said no, or was out of reach.
    #[error("joining: {0}")]
    Link(#[from] LinkError),
    /// The key file cannot be used.
    #[error("{}: {error}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Joins where this site has not joined yet, and gives a link that carries the site's key.
///
/// A crash anywhere in between is picked up at the next start: what the cloud said goes to the key file in one piece, and from there into
/// the database. A token is used once and remembered by its hash, so it may stay in the command line; another one, of a new invitation,
/// brings a new key for the same replica. Where that fails, the site goes on with the key that it has.
///
/// # Errors
/// See [`JoinError`].
pub async fn join(db: &Database, link: &CloudLink, folder: &Path, token: Option<&str>) -> Result<(Identity, CloudLink), JoinError> {
    let path = folder.join(KEY_FILE);
    let stored: Option<Identity> = db.read(identity::load).await?;
    let enrolled = match (read_key_file(&path)?, token) {
        (Some(enrolled), None) => enrolled,
        (Some(enrolled), Some(token)) => renewed(db, link, &path, enrolled, token).await?,
        (None, None) => return Err(JoinError::NoToken),
        (None, Some(token)) => {
            let enrolled = link.enrol(token).await?;
            if let Some(here) = stored.as_ref().filter(|here| here.site != enrolled.site) {
                return Err(JoinError::OtherSite { here: here.name.clone(), token: enrolled.name });
            }
            write_key_file(&path, &enrolled)?;
            remember(db, token).await?;
            enrolled
        }
    };
    let link = link.with_key(&enrolled.key)?;
    match stored {
        Some(here) if here.site != enrolled.site => Err(JoinError::OtherSite { here: here.name, token: enrolled.name }),
        // The database knows best: this copy may have become another replica since the file was written, and a new key changes no replica.
        Some(here) => Ok((here, link)),
        None => {
            let identity = Identity::from(&enrolled);
            let stored = identity.clone();
            db.apply(move |connection| identity::store(connection, &stored)).await?;
            Ok((identity, link))
        }
    }
}

/// What the site joined by, with a new key where this is another invitation than the last one and the cloud accepts it.
async fn renewed(db: &Database, link: &CloudLink, path: &Path, joined: Enrolled, token: &str) -> Result<Enrolled, JoinError> {
    let last: Option<String> = db.read(|connection| identity::fact(connection, JOINED_WITH)).await?;
    if last.is_some_and(|last| last == hash(token)) {
        return Ok(joined);
    }
    let invited = match link.enrol(token).await {
        Ok(invited) => invited,
        Err(error) => {
            tracing::warn!(%error, "the token was not used, the site goes on with the key that it has");
            return Ok(joined);
        }
    };
    if invited.site != joined.site {
        return Err(JoinError::OtherSite { here: joined.name, token: invited.name });
    }
    // The replica stays: what this copy has pushed and pulled is still so.
    let joined = Enrolled { key: invited.key, ..joined };
    write_key_file(path, &joined)?;
    remember(db, token).await?;
    tracing::info!(site = joined.name, "the site has a new key");
    Ok(joined)
}

async fn remember(db: &Database, token: &str) -> Result<(), JoinError> {
    let hash = hash(token);
    Ok(db.apply(move |connection| identity::set_fact(connection, JOINED_WITH, &hash)).await?)
}

fn read_key_file(path: &Path) -> Result<Option<Enrolled>, JoinError> {
    let fault = |error| JoinError::KeyFile { path: path.to_owned(), error };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| fault(error.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

fn write_key_file(path: &Path, enrolled: &Enrolled) -> Result<(), JoinError> {
    let write = || private_file::write(path, &serde_json::to_vec_pretty(enrolled)?);
    write().map_err(|error| JoinError::KeyFile { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use sync_core::id::{CloudEpoch, ReplicaEpoch, ReplicaId, SiteId};
    use sync_core::wire::message::Replica;
    use uuid::Uuid;

    use super::*;
    use crate::cloud_link::LinkConfig;

    fn enrolled(site: u128) -> Enrolled {
        Enrolled {
            site: SiteId(Uuid::from_u128(site)),
            name: format!("site-{site}"),
            replica: ReplicaId(Uuid::from_u128(site + 1)),
            epoch: ReplicaEpoch(Uuid::from_u128(site + 2)),
            key: "rjk_0123".to_owned(),
            cloud_epoch: CloudEpoch(Uuid::from_u128(site + 3)),
        }
    }

    fn nowhere() -> CloudLink {
        CloudLink::new(&LinkConfig::new("http://127.0.0.1:1")).unwrap()
    }

    #[tokio::test]
    async fn a_site_that_has_joined_starts_without_token_or_link_and_one_that_crashed_while_joining_too() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        assert!(matches!(join(&db, &nowhere(), folder.path(), None).await, Err(JoinError::NoToken)));
        assert!(matches!(join(&db, &nowhere(), folder.path(), Some("rje_x")).await, Err(JoinError::Link(LinkError::Offline(_)))));

        // The file is there, the database knows nothing: the crash came between the two.
        let path = folder.path().join(KEY_FILE);
        write_key_file(&path, &enrolled(10)).unwrap();
        let (identity, _) = join(&db, &nowhere(), folder.path(), Some("rje_used")).await.unwrap();
        assert_eq!(identity, Identity::from(&enrolled(10)));
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);

        let fork = Replica {
            replica: ReplicaId(Uuid::from_u128(99)),
            epoch: ReplicaEpoch(Uuid::from_u128(98)),
            cloud_epoch: identity.cloud_epoch,
        };
        db.apply(move |connection| identity::store_replica(connection, &fork)).await.unwrap();
        let (again, _) = join(&db, &nowhere(), folder.path(), None).await.unwrap();
        assert_eq!(again, Identity { replica: fork.replica, epoch: fork.epoch, ..identity });
    }

    #[tokio::test]
    async fn another_sites_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let path = folder.path().join(KEY_FILE);
        write_key_file(&path, &enrolled(10)).unwrap();
        join(&db, &nowhere(), folder.path(), None).await.unwrap();
        write_key_file(&path, &enrolled(20)).unwrap();
        assert!(matches!(join(&db, &nowhere(), folder.path(), None).await, Err(JoinError::OtherSite { .. })));
    }
}
