//! Which of several clouds publishes where they go by different settings, as in a rolling restart: the one that was started last, or was given
//! other settings last. The others follow. A command that prepares publishes by what it is given, and leads nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::settings::{Moved, Settings};
use crate::store::error::StoreError;

/// One start of a program that publishes.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Its number, and the settings for which it was taken: others are another start.
    number: Mutex<Option<(i64, String)>>,
    /// Whether it is a command that ends, and no cloud.
    is_command: bool,
    follows: AtomicBool,
    /// The names that it has told of.
    moved: Mutex<Vec<Moved>>,
}

/// What the settings come down to, in this version of the program.
pub(crate) fn digest(settings: &Settings) -> String {
    hex::encode(Sha256::digest(format!("{} {}", env!("CARGO_PKG_VERSION"), settings.values())))
}

/// By which settings, and by which start, is published: `number digest`.
pub(crate) async fn leader(client: &Client) -> Result<Option<(i64, String)>, StoreError> {
    let row = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'settings'", &[]).await?;
    Ok(row.and_then(|row| {
        row.get::<_, String>(0).split_once(' ').and_then(|(number, digest)| Some((number.parse().ok()?, digest.to_owned())))
    }))
}

impl Start {
    /// A command that prepares.
    pub(crate) fn of_command() -> Self {
        Self { is_command: true, ..Self::default() }
    }

    /// Whether it only follows a cloud that goes by other settings.
    pub(crate) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    /// The number of this start, taken anew for other settings. Whoever asks holds the lock of the database.
    async fn number(&self, client: &Client, digest: &str) -> Result<i64, StoreError> {
        let known = self.number.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((number, _)) = known.filter(|(_, of)| of == digest) {
            return Ok(number);
        }
        let sql = "INSERT INTO rejoin.state AS s (key, value) VALUES ('starts', '1')
                   ON CONFLICT (key) DO UPDATE SET value = (s.value::bigint + 1)::text RETURNING value::bigint";
        let number = client.query_one(sql, &[]).await?.get(0);
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, digest.to_owned()));
        Ok(number)
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
        // The clouds of now may be gone; one that runs goes by its own again at its next look.
        if self.is_command {
            return Ok(true);
        }
        let digest = digest(settings);
        let own = self.number(client, &digest).await?;
        if let Some((number, other)) = leader(client).await? {
            if number > own && other != digest {
                if !self.follows.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{FOLLOWS}");
                }
                let sql = "INSERT INTO rejoin.state (key, value) VALUES ('follower', now()::text) ON CONFLICT (key) DO NOTHING";
                client.execute(sql, &[]).await?;
                return Ok(false);
            }
            let followed = self.follows.swap(false, Ordering::Relaxed);
            if followed || other != digest {
                client.execute("DELETE FROM rejoin.state WHERE key = 'follower'", &[]).await?;
            }
            if number > own {
                return Ok(true);
            }
        }
        let sql = "INSERT INTO rejoin.state (key, value) VALUES ('settings', $1) ON CONFLICT (key) DO UPDATE SET value = $1";
        client.execute(sql, &[&format!("{own} {digest}")]).await?;
        Ok(true)
    }
}

/// What a cloud that follows has to say.
pub(crate) const FOLLOWS: &str = "a cloud that was started later, or was given its rejoin.toml later, goes by another one: this one only follows, \
     until it is started again or its own rejoin.toml says something else";
