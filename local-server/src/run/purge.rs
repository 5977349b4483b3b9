//! What a site keeps for a time only goes, in small transactions between which others write.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sync_core::limits::{KEEP_PURGE_BATCHES, KEEP_PURGE_EVERY};

use super::{Report, SyncError, Syncer};
use crate::store::keep::{self, Pass};

impl Syncer {
    /// Goes over the tables that are kept for a time, now and then, once the cloud has said what time it is: a clock here that runs ahead
    /// must not make every row look old.
    pub(super) async fn purge(&mut self, report: &mut Report) {
        let kept = |catalog: &sync_core::catalog::Catalog| catalog.tables.iter().any(|table| table.keep_hours.is_some());
        let due = self.purged.is_none_or(|last| last.elapsed() >= KEEP_PURGE_EVERY);
        if !due || !self.plan.as_ref().is_some_and(|plan| kept(&plan.catalog)) {
            return;
        }
        let Some(now) = self.link.cloud_time().map(|cloud| cloud.min(Utc::now())) else { return };
        match self.purge_all(now).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "rows that were kept for long enough went; the cloud has them"),
            Err(error) => report.errors.push(("purge", error)),
        }
    }

    async fn purge_all(&mut self, now: DateTime<Utc>) -> Result<usize, SyncError> {
        let plan = self.plan()?;
        let mut pass = Pass::default();
        for _ in 0..KEEP_PURGE_BATCHES {
            let (plan, from) = (plan.clone(), pass.clone());
            pass = self.db.apply(move |connection| keep::purge(connection, &plan, now, from)).await?;
            if pass.done {
                self.purged = Some(Instant::now());
                break;
            }
        }
        Ok(pass.removed)
    }
}
