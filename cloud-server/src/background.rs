//! What a cloud does beside serving: it hears of events, sends notices, and watches the schema.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::CloudError;
use crate::config::CloudConfig;
use crate::core::Core;
use crate::events;
use crate::notify::Notifier;
use crate::notify::address::system_lookup;
use crate::settings::Webhook;
use crate::store::notices;
use crate::watch::{self, Seen};

/// Tasks of a running cloud. Dropped, they end by themselves.
#[derive(Debug)]
pub(crate) struct Background {
    tasks: Vec<JoinHandle<()>>,
    guard: DropGuard,
}

impl Background {
    /// Starts them.
    ///
    /// # Errors
    /// The store failed; the webhook cannot be used.
    pub(crate) async fn start(config: &CloudConfig, core: &Arc<Core>, webhook: Option<Webhook>, seen: Seen) -> Result<Self, CloudError> {
        let cancel = CancellationToken::new();
        let causes = webhook.as_ref().map_or_else(BTreeSet::new, |webhook| webhook.causes.clone());
        notices::set_causes(&core.db.client().await?, &causes).await?;
        let listening = events::connect(&core.db).await?;
        let mut tasks = vec![tokio::spawn(events::listen(core.db.clone(), core.events.clone(), listening, cancel.clone()))];
        tasks.push(tokio::spawn(watch::watch(Arc::downgrade(core), seen, cancel.clone())));
        tasks.push(tokio::spawn(watch::feed(Arc::downgrade(core), cancel.clone())));
        if let Some(webhook) = webhook {
            let notifier = Notifier::new(core.db.clone(), webhook, config.notify.clone(), system_lookup()).map_err(CloudError::Webhook)?;
            tasks.push(tokio::spawn(notifier.run(cancel.clone())));
        }
        Ok(Self { tasks, guard: cancel.drop_guard() })
    }

    /// Ends them and waits until they have.
    pub(crate) async fn stop(self) {
        self.guard.disarm().cancel();
        for task in self.tasks {
            drop(task.await);
        }
    }
}
