//! Which of several clouds publishes where they go by different settings, as in a rolling restart: the one that was started last. The others follow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use crate::settings::{Moved, Settings};
use crate::store::error::StoreError;

/// One start of a program that publishes.
#[derive(Debug, Default)]
pub(crate) struct Start {
    number: OnceCell<i64>,
    told: AtomicBool,
    /// The names that it has told of.
    moved: Mutex<Vec<Moved>>,
}

/// What the settings come down to, in this version of the program.
pub(crate) fn digest(settings: &Settings) -> String {
    hex::encode(Sha256::digest(format!("{} {:?}", env!("CARGO_PKG_VERSION"), settings.bare())))
}

/// By which settings, and by which start, is published: `number digest`.
pub(crate) async fn leader(client: &Client) -> Result<Option<(i64, String)>, StoreError> {
    let row = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'settings'", &[]).await?;
    Ok(row.and_then(|row| {
        row.get::<_, String>(0).split_once(' ').and_then(|(number, digest)| Some((number.parse().ok()?, digest.to_owned())))
    }))
}

impl Start {
    async fn number(&self, client: &Client) -> Result<i64, StoreError> {
        let sql = "INSERT INTO rejoin.state AS s (key, value) VALUES ('starts', '1')
                   ON CONFLICT (key) DO UPDATE SET value = (s.value::bigint + 1)::text RETURNING value::bigint";
        let take = async || Ok::<i64, StoreError>(client.query_one(sql, &[]).await?.get(0));
        self.number.get_or_try_init(take).await.copied()
    }

    /// Says once which names of `rejoin.toml` are followed.
    pub(super) fn tell(&self, moved: &[Moved]) {
        let mut told = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for moved in moved.iter().filter(|moved| !told.contains(moved)) {
            tracing::warn!("{moved}: {}", moved.remedy());
        }
        moved.clone_into(&mut told);
    }

    /// Whether this start may publish by these settings: nobody who was started later goes by others. Whoever asks holds the lock of the database.
    pub(super) async fn leads(&self, client: &Client, settings: &Settings) -> Result<bool, StoreError> {
        let (own, digest) = (self.number(client).await?, digest(settings));
        if let Some((number, other)) = leader(client).await? {
            if other == digest && number >= own {
                return Ok(true);
            }
            if number > own {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "a cloud that was started later goes by another rejoin.toml: this one only follows, until it is started again"
                    );
                    let sql = "INSERT INTO rejoin.state (key, value) VALUES ('follower', now()::text) ON CONFLICT (key) DO UPDATE SET value = now()::text";
                    client.execute(sql, &[]).await?;
                }
                return Ok(false);
            }
            if other != digest {
                client.execute("DELETE FROM rejoin.state WHERE key = 'follower'", &[]).await?;
            }
        }
        let sql = "INSERT INTO rejoin.state (key, value) VALUES ('settings', $1) ON CONFLICT (key) DO UPDATE SET value = $1";
        client.execute(sql, &[&format!("{own} {digest}")]).await?;
        Ok(true)
    }
}
