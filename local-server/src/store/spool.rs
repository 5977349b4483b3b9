//! Pages of a pull as they arrived. A link that breaks resumes behind the last one; nothing is applied before the last one is there.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use sync_core::wire::codec::{self, CodecError};
use sync_core::wire::message::{Page, PushName, Window};

use super::db::DbError;

/// What went wrong with a spooled page.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A stored page cannot be read: the spool is worthless.
    #[error("a page kept from an earlier attempt cannot be read: {0}")]
    Codec(#[from] CodecError),
}

impl From<rusqlite::Error> for SpoolError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Where a pull that broke goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The push that the pull named when it began. Its later pages name the same one: otherwise the cloud would leave out of them what
    /// an earlier page holds an older image of.
    pub answered: Option<PushName>,
    /// The window to go on with; `None`: every page is there.
    pub next: Option<Window>,
}

/// Where to go on; `None` where no pull is under way. A spool that cannot be read, or that was begun under another cloud epoch or
/// catalog, is thrown away.
///
/// # Errors
/// The database failed.
pub fn resume(connection: &Connection, cloud_epoch: &str, catalog: i64) -> Result<Option<Resume>, DbError> {
    let foreign: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM rejoin_spool WHERE cloud_epoch <> ?1 OR catalog <> ?2)",
        params![cloud_epoch, catalog],
        |row| row.get(0),
    )?;
    let last = if foreign { Ok(None) } else { last_page(connection) };
    match last {
        Ok(Some((answered, page))) => Ok(Some(Resume { answered, next: page.next })),
        Ok(None) | Err(SpoolError::Codec(_)) => {
            discard(connection)?;
            Ok(None)
        }
        Err(SpoolError::Database(error)) => Err(error),
    }
}

/// Adds the next page. Where it no longer names a scope that the page before it did, the pages before it are thrown away and `false` says
/// that the pull begins anew.
///
/// # Errors
/// The database failed.
pub fn keep(connection: &Connection, page: &Page, answered: Option<&PushName>, body: &[u8]) -> Result<bool, SpoolError> {
    let scopes = scopes_digest(page);
    let before: Option<String> =
        connection.query_row("SELECT scopes FROM rejoin_spool ORDER BY page DESC LIMIT 1", [], |row| row.get(0)).optional()?;
    if before.is_some_and(|before| before != scopes)
        && let Some((_, last)) = last_page(connection)?
        && last.heads.iter().any(|had| !page.heads.iter().any(|has| has.scope == had.scope))
    {
        discard(connection)?;
        return Ok(false);
    }
    let answered = answered.map(codec::encode).transpose()?;
    connection
        .prepare_cached("INSERT INTO rejoin_spool (cloud_epoch, catalog, scopes, answered, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![page.cloud_epoch.to_string(), page.catalog.0, scopes, answered, body])?;
    Ok(true)
}

/// Throws the spool away.
///
/// # Errors
/// The database failed.
pub fn discard(connection: &Connection) -> Result<(), DbError> {
    connection.execute("DELETE FROM rejoin_spool", [])?;
    Ok(())
}

/// Hands every page to `use_page`, in order, one at a time in memory.
///
/// # Errors
/// A page cannot be read, the database failed, or `use_page` did.
pub fn each<E: From<SpoolError>>(connection: &Connection, mut use_page: impl FnMut(Page) -> Result<(), E>) -> Result<(), E> {
    let mut after = 0_i64;
    loop {
        let next = connection
            .prepare_cached("SELECT page, body FROM rejoin_spool WHERE page > ?1 ORDER BY page LIMIT 1")
            .and_then(|mut statement| statement.query_row([after], |row| Ok((row.get(0)?, decode(row.get_ref(1)?)))).optional())
            .map_err(SpoolError::from)?;
        let Some((page, decoded)) = next else { return Ok(()) };
        after = page;
        use_page(decoded?)?;
    }
}

/// The last page, with the push that the pull named.
///
/// # Errors
/// It cannot be read, or the database failed.
pub fn last_page(connection: &Connection) -> Result<Option<(Option<PushName>, Page)>, SpoolError> {
    let last = connection
        .query_row("SELECT body, answered FROM rejoin_spool ORDER BY page DESC LIMIT 1", [], |row| {
            let answered: Option<Vec<u8>> = row.get(1)?;
            Ok((decode::<Page>(row.get_ref(0)?), answered))
        })
        .optional()?;
    let Some((page, answered)) = last else { return Ok(None) };
    let answered = answered.map(|body| codec::decode(&body)).transpose()?;
    Ok(Some((answered, page?)))
}

fn decode<T: serde::de::DeserializeOwned>(stored: ValueRef<'_>) -> Result<T, SpoolError> {
    Ok(codec::decode(stored.as_blob().unwrap_or_default())?)
}

fn scopes_digest(page: &Page) -> String {
    let mut scopes: Vec<&str> = page.heads.iter().map(|head| head.scope.0.as_str()).collect();
    scopes.sort_unstable();
    let mut digest = Sha256::new();
    for scope in scopes {
        digest.update((scope.len() as u64).to_be_bytes());
        digest.update(scope);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use sync_core::id::{CatalogVersion, ChangeId, CloudEpoch, PushNo, ScopeId, Tick};
    use sync_core::wire::message::Cursor;
    use uuid::Uuid;

    use super::*;
    use crate::store::db::Database;

    fn page(scopes: &[&str], more: bool) -> Page {
        let head =
            |scope: &&str| Cursor { scope: ScopeId((*scope).to_owned()), tick: Tick(5), change: ChangeId(Uuid::nil()), mac: String::new() };
        Page {
            cloud_epoch: CloudEpoch(Uuid::from_u128(1)),
            catalog: CatalogVersion(3),
            heads: scopes.iter().map(head).collect(),
            gone: Vec::new(),
            tables: Vec::new(),
            next: more.then(|| Window { from: Vec::new(), heads: Vec::new(), after: None }),
            suspended: None,
        }
    }

    fn spooled(connection: &Connection, page: &Page, answered: Option<&PushName>) -> bool {
        keep(connection, page, answered, &codec::encode(page).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_broken_pull_goes_on_with_the_push_it_named() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        db.apply(|connection| {
            let epoch = Uuid::from_u128(1).to_string();
            assert_eq!(resume(connection, &epoch, 3)?, None);
            let answered = PushName { no: PushNo(4), hash: "h".into(), mac: "m".into() };
            assert!(spooled(connection, &page(&["global"], true), Some(&answered)));
            let open = resume(connection, &epoch, 3)?.unwrap();
            assert_eq!((open.answered.as_ref(), open.next.is_some()), (Some(&answered), true));
            assert!(spooled(connection, &page(&["global", "p/1"], false), Some(&answered)), "a scope more is no reason to begin anew");
            assert_eq!(resume(connection, &epoch, 3)?.unwrap().next, None);
            let mut pages = Vec::new();
            each(connection, |page| {
                pages.push(page);
                Ok::<_, SpoolError>(())
            })
            .unwrap();
            assert_eq!(pages, [page(&["global"], true), page(&["global", "p/1"], false)]);
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn h14_a_spool_of_another_epoch_catalog_or_subscription_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        db.apply(|connection| {
            let epoch = Uuid::from_u128(1).to_string();
            for (epoch, catalog) in [(Uuid::from_u128(2).to_string(), 3), (epoch, 4)] {
                spooled(connection, &page(&["global"], true), None);
                assert_eq!(resume(connection, &epoch, catalog)?, None);
                each(connection, |_| -> Result<(), SpoolError> { panic!("nothing is left") }).unwrap();
            }
            spooled(connection, &page(&["global", "p/1"], true), None);
            assert!(!spooled(connection, &page(&["global"], true), None), "a scope was taken away");
            assert!(last_page(connection).unwrap().is_none());
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    }
}
