//! The cloud notices that the schema moved, and publishes what it moved to.

use std::sync::{Arc, Weak};
use std::time::Instant;

use sync_core::limits::{SCHEMA_POLL, SCHEMA_RETRY, SCHEMA_SETTLE};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::store::capture::orphans;
use crate::store::error::StoreError;
use crate::store::leases::behind;
use crate::store::pace::Pace;
use crate::store::pool::{Database, Listening};
use crate::store::prepare::feeding;
use crate::store::watch::{CHANNEL, fingerprint, tell_at_once};

/// What was seen last.
#[derive(Debug)]
pub(crate) struct Seen {
    fingerprint: String,
    /// The store failed when it was brought in: it is tried again without a change.
    again: bool,
    /// Looks since the sequences were compared with what sites were leased.
    looks: u32,
    /// When it was brought in last, or tried; whether all of it was.
    tried: Instant,
    whole: bool,
    /// Which of the settings that came into force were brought in last, or tried: others may have read them and failed.
    taken: u64,
}

/// How many looks there are from one comparison of the sequences to the next.
const SEQUENCES_EVERY: u32 = 5;

impl Seen {
    /// Looks for the first time, before the schema is read: what changes meanwhile is seen later.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn now(db: &Database) -> Result<Self, StoreError> {
        let fingerprint = fingerprint(&db.client().await?).await?;
        Ok(Self { fingerprint, again: false, looks: 0, tried: Instant::now(), whole: false, taken: 0 })
    }
}

/// Looks until it is cancelled.
pub(crate) async fn watch(core: Weak<Core>, mut seen: Seen, cancel: CancellationToken) {
    let looking = async {
        let mut listening = None;
        while let Some(core) = core.upgrade() {
            if listening.is_none() {
                listening = listen(&core.db).await;
            }
            if let Err(error) = look(&core, &mut seen).await {
                tracing::debug!(%error, "the schema cannot be looked at");
            }
            drop(core);
            listening = pause(listening).await;
        }
    };
    tokio::select! { () = cancel.cancelled() => {}, () = looking => {} }
}

/// Feeds what catalogs leave to be fed, beside everything else, until it is cancelled.
pub(crate) async fn feed(core: Weak<Core>, cancel: CancellationToken) {
    let feeding = async {
        let mut told = false;
        while let Some(db) = core.upgrade().map(|core| core.db.clone()) {
            match feeding::go_on(&db, &Pace::quiet()).await {
                Ok(()) => told = false,
                Err(error) if !std::mem::replace(&mut told, true) => tracing::warn!(%error, "rows wait to be fed again; tried again"),
                Err(_) => {}
            }
            tokio::time::sleep(SCHEMA_POLL).await;
        }
    };
    tokio::select! { () = cancel.cancelled() => {}, () = feeding => {} }
}

/// Where an event trigger tells of changes, on a connection of its own; nothing where there is none.
async fn listen(db: &Database) -> Option<Listening> {
    let told = tell_at_once(&db.client().await.ok()?).await.ok()?;
    if told { db.listen(CHANNEL).await.ok() } else { None }
}

/// Waits for the next look.
async fn pause(listening: Option<Listening>) -> Option<Listening> {
    let Some(mut listening) = listening else {
        tokio::time::sleep(SCHEMA_POLL).await;
        return None;
    };
    match timeout(SCHEMA_POLL, listening.next()).await {
        Ok(Some(_)) => {
            tokio::time::sleep(SCHEMA_SETTLE).await;
            Some(listening)
        }
        // Lost: made anew at the next look.
        Ok(None) => {
            tokio::time::sleep(SCHEMA_POLL).await;
            None
        }
        Err(_) => Some(listening),
    }
}

/// Brings in what changed. A schema that cannot be brought in is told once; serving goes on under the catalog in force.
async fn look(core: &Arc<Core>, seen: &mut Seen) -> Result<(), StoreError> {
    let mut client = core.db.client().await?;
    let now = fingerprint(&client).await?;
    let later = !seen.whole && seen.tried.elapsed() > SCHEMA_RETRY;
    core.source.reread().await;
    let taken = core.source.taken();
    let mended = taken != seen.taken;
    if now == seen.fingerprint && !seen.again && !later && !mended {
        seen.looks = seen.looks.wrapping_add(1);
        return if seen.looks.is_multiple_of(SEQUENCES_EVERY) { behind::advance(&mut client, &core.catalog()).await } else { Ok(()) };
    }
    drop(client);
    // What is put back of ours changes it once more, and is looked at once more.
    seen.fingerprint = now;
    (seen.again, seen.taken) = (false, taken);
    let outcome = core.refresh_catalog().await;
    seen.tried = Instant::now();
    // Mending rows moves no schema.
    seen.whole = outcome.is_ok() && !core.source.start.follows() && !orphans::are_known(&*core.db.client().await?).await?;
    if let Err(error) = outcome {
        seen.again = error.is_transient();
        tracing::debug!(%error, "no new catalog");
    }
    Ok(())
}
