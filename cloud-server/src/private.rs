//! The private PostgreSQL of a cloud without a database URL: started with it, looked after, stopped with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::postgres::{Cluster, Durability, PostgresError};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The wait before another attempt to start it again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A cluster that is started again when it ends by itself.
#[derive(Debug)]
pub(crate) struct Private {
    url: String,
    pid: Arc<AtomicU32>,
    stop: oneshot::Sender<()>,
    keeper: JoinHandle<()>,
}

impl Private {
    /// Starts the cluster of this folder with one database.
    pub(crate) async fn start(folder: &Path, durability: Durability, database: &str) -> Result<Self, PostgresError> {
        let cluster = Cluster::start(folder, durability).await?;
        if let Err(error) = cluster.ensure_database(database).await {
            cluster.stop().await?;
            return Err(error);
        }
        let url = cluster.url(database);
        let (stop, stopped) = oneshot::channel();
        let pid = Arc::new(AtomicU32::new(cluster.pid()));
        let keeper = tokio::spawn(keep(cluster, folder.to_owned(), durability, pid.clone(), stopped));
        Ok(Self { url, pid, stop, keeper })
    }

    /// The database's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The postmaster's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Stops it the orderly way.
    pub(crate) async fn stop(self) {
        // Both fail only where the keeper is gone, and the cluster with it.
        let _ = self.stop.send(());
        let _ = self.keeper.await;
    }
}

/// Holds the cluster until it is to stop. One that ended is started again on the port that it had, so that the pool finds it.
async fn keep(cluster: Cluster, folder: PathBuf, durability: Durability, pid: Arc<AtomicU32>, mut stopped: oneshot::Receiver<()>) {
    let mut running = Some(cluster);
    let mut wait = LOOK_EVERY;
    while tokio::time::timeout(wait, &mut stopped).await.is_err() {
        wait = LOOK_EVERY;
        let ended = match &mut running {
            Some(cluster) => cluster.has_exited().unwrap_or(true),
            None => true,
        };
        if !ended {
            continue;
        }
        tracing::error!(folder = %folder.display(), "the private PostgreSQL has ended; starting it again");
        // The folder's owner is one living value: let go before it is opened again.
        drop(running.take());
        match Cluster::start(&folder, durability).await {
            Ok(cluster) => {
                pid.store(cluster.pid(), Ordering::Relaxed);
                running = Some(cluster);
            }
            Err(error) => {
                tracing::error!(%error, "the private PostgreSQL does not start");
                wait = AGAIN_AFTER;
            }
        }
    }
    if let Some(cluster) = running
        && let Err(error) = cluster.stop().await
    {
        tracing::warn!(%error, "the private PostgreSQL did not stop in order");
    }
}
