//! A real PostgreSQL for tests: one throwaway cluster per test process, one database per test.
//!
//! ```no_run
//! # async fn example() {
//! let database = cloud_server::test_support::database().await;
//! let url = database.url(); // of a plain role that owns it
//! # }
//! ```
//!
//! Where many tests want the same migrated schema, name it: [`database_like`] prepares a template once per process and
//! copies it (a few tens of milliseconds). The cluster and its folder go away with the process, also after a `kill -9`.
//! Without server binaries the tests fail with the line that says what to install; they are never skipped.
#![allow(clippy::expect_used, clippy::panic, reason = "a test without its database has failed")]

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Mutex, OnceCell};

use crate::postgres::{Cluster, Durability};

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static TEMPLATES: Mutex<Option<HashSet<String>>> = Mutex::const_new(None);
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database of one test's own. Dropping the guard drops the database.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    superuser_url: String,
}

impl Database {
    /// Its URL, as the plain role that owns it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL as the cluster's superuser, for tests that make further roles or end sessions.
    #[must_use]
    pub fn superuser_url(&self) -> &str {
        &self.superuser_url
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A thread of its own: the test's runtime is here, perhaps blocked in this very drop. A database that cannot be
        // dropped costs a little space until the process ends, so the outcome does not matter.
        let _ = std::thread::spawn(move || {
            if let (Some(cluster), Ok(runtime)) = (CLUSTER.get(), tokio::runtime::Builder::new_current_thread().enable_all().build()) {
                let _ = runtime.block_on(cluster.drop_database(&name));
            }
        })
        .join();
    }
}

/// A temporary folder that a private cluster can live in, also when the tests run as root: other users may enter it, its
/// name is all they learn. The folder of `tempfile::tempdir()` is closed to the user that PostgreSQL then runs as.
///
/// # Panics
/// When the system has no room for a folder.
#[must_use]
pub fn cluster_dir() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("rejoin-postgres-").tempdir().expect("a temporary folder");
    // Afterwards: what a folder is made with is less what the umask takes away.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("a folder of our own");
    folder
}

/// The cluster of this test process, started by the first call.
///
/// # Panics
/// When it cannot be started: the message says what to install.
pub async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async {
            let dir = cluster_dir();
            let mut cluster = match Cluster::start(dir.path(), Durability::Throwaway).await {
                Ok(cluster) => cluster,
                Err(error) => panic!("{error}"),
            };
            cluster.remove_afterwards(&dir.keep()).expect("a folder that can be found again");
            cluster
        })
        .await
}

/// A new empty database.
///
/// # Panics
/// When the cluster cannot be started or refuses.
pub async fn database() -> Database {
    copy_of(None).await
}

/// A new database that looks like `template`. The first call of a process with that name makes the template: an empty
/// database whose URL is given to `prepare`, which must close its sessions before it returns.
///
/// # Panics
/// When the cluster cannot be started or refuses.
pub async fn database_like<F>(template: &str, prepare: impl FnOnce(String) -> F) -> Database
where
    F: Future<Output = ()>,
{
    let name = format!("template_{template}");
    let mut templates = TEMPLATES.lock().await;
    let known = templates.get_or_insert_default();
    if !known.contains(&name) {
        let cluster = cluster().await;
        // A first attempt may have failed half way.
        cluster.drop_database(&name).await.expect("the template to be dropped");
        cluster.create_database(&name, None).await.expect("the template to be created");
        prepare(cluster.url(&name)).await;
        known.insert(name.clone());
    }
    drop(templates);
    copy_of(Some(&name)).await
}

async fn copy_of(template: Option<&str>) -> Database {
    let cluster = cluster().await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    cluster.create_database(&name, template).await.expect("the database to be created");
    Database { url: cluster.url(&name), superuser_url: cluster.superuser_url(&name), name }
}
