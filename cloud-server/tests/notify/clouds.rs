//! Clouds of one database, with a webhook.

use std::time::Duration;

use cloud_server::Cloud;
use cloud_server::config::CloudConfig;
use cloud_server::notify::Pace;
use cloud_server::test_support::{Database, database_like};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, config};
use crate::receiver::secret;

/// A database with the video-production system.
pub(crate) async fn database() -> Database {
    drop(tracing_subscriber::fmt().with_env_filter("warn").with_test_writer().try_init());
    database_like("video_production", |url| async move {
        let folder = tempfile::tempdir().unwrap();
        Cloud::start(config(&folder, &url)).await.unwrap().stop().await;
    })
    .await
}

/// In a hurry.
pub(crate) fn pace() -> Pace {
    Pace {
        poll: Duration::from_millis(20),
        settle: Duration::ZERO,
        timeout: Duration::from_secs(5),
        retry_first: Duration::from_millis(20),
        retry_longest: Duration::from_millis(50),
        give_up_after: Duration::from_secs(3_600),
        silence_every: Duration::from_secs(3_600),
    }
}

/// A running cloud and its folder.
pub(crate) struct Running {
    pub(crate) cloud: Cloud,
    pub(crate) folder: TempDir,
}

impl Running {
    /// A cloud that tells these URLs, with more lines in `[notify]`.
    pub(crate) async fn start(database: &Database, urls: &[String], lines: &str, pace: Pace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(settings(&folder, database, urls, lines, pace)).await.unwrap();
        Self { cloud, folder }
    }

    /// A cloud without a webhook.
    pub(crate) async fn plain(database: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(config(&folder, database.url())).await.unwrap();
        Self { cloud, folder }
    }

    pub(crate) fn admin(&self) -> Client {
        Client::new(self.cloud.url(), self.cloud.token())
    }

    /// The notices as an admin sees them.
    pub(crate) async fn notices(&self) -> Vec<Value> {
        self.admin().list("/api/rejoin/notices").await
    }

    /// Waits until the newest notice is in this state.
    pub(crate) async fn wait_for_state(&self, state: &str) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.notices().await.first().cloned().unwrap_or_default();
            if last["state"] == state {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not {state}: {last}");
    }
}

pub(crate) fn settings(folder: &TempDir, database: &Database, urls: &[String], lines: &str, pace: Pace) -> CloudConfig {
    let urls: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    let built_in = include_str!("../../../migrations/systems/video-production/rejoin.toml");
    let text = format!("{built_in}\n[notify]\nurl = [{}]\nsecret = '{}'\n{lines}\n", urls.join(", "), secret());
    let file = folder.path().join("rejoin.toml");
    std::fs::write(&file, text).unwrap();
    let mut config = config(folder, database.url());
    config.settings = Some(file);
    config.notify = pace;
    config
}
