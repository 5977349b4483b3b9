//! Numbers for the keys of rows to be made here: asked for before the stock is gone.

use std::collections::BTreeSet;

use sync_core::id::{ColumnNo, TableNo};
use sync_core::wire::message::LeaseRequest;

use super::{Report, SyncError, Syncer};
use crate::cloud_link::LinkError;
use crate::store::leases;

/// Requests in one run: each gives a bounded number.
const REQUESTS_MAX: usize = 50;

impl Syncer {
    /// Whether this replica was never given any.
    pub(super) async fn has_no_numbers(&self) -> bool {
        self.db.read(leases::answered).await.is_ok_and(|answered| answered.is_none())
    }

    /// Asks for what is low. A cloud that is out of reach was told of already.
    pub(super) async fn refill(&mut self, report: &mut Report) -> Result<(), ()> {
        let offline = |(_, error): &(&'static str, SyncError)| matches!(error, SyncError::Link(error) if error.is_offline());
        if report.errors.iter().any(offline) {
            return Ok(());
        }
        let failed = match self.lease().await {
            Ok(refused) if refused.is_empty() => return Ok(()),
            Ok(refused) => SyncError::Rows(refused),
            Err(error) => error,
        };
        report.errors.retain(|(step, _)| *step != "lease");
        report.errors.push(("lease", failed));
        Err(())
    }

    /// Returns why what could not be given could not, in words.
    async fn lease(&mut self) -> Result<Vec<String>, SyncError> {
        let plan = self.plan()?;
        let mut refused: BTreeSet<(TableNo, ColumnNo)> = BTreeSet::new();
        let mut words = Vec::new();
        for _ in 0..REQUESTS_MAX {
            let catalog = plan.catalog.clone();
            let (answered, mut wants) = self.db.read(move |connection| leases::wants(connection, &catalog)).await?;
            wants.retain(|want| !refused.contains(&(want.table, want.column)));
            if wants.is_empty() {
                break;
            }
            let request = LeaseRequest { speaker: self.speaker(), answered, wants };
            let answer = match self.link.lease(&request).await {
                Err(LinkError::UnknownReplica(_)) => {
                    self.become_replica().await?;
                    continue;
                }
                other => other?,
            };
            for refusal in &answer.refused {
                if refused.insert((refusal.table, refusal.column)) {
                    let table = plan.catalog.table(refusal.table).map_or_else(String::new, |table| table.name.clone());
                    words.push(format!("{table}: no numbers for new rows: {}", refusal.reason));
                }
            }
            if answer.leases.is_empty() && answer.refused.is_empty() {
                break;
            }
            let replica = request.speaker.replica.to_string();
            let catalog = plan.catalog.clone();
            self.db
                .apply(move |connection| {
                    leases::keep(connection, &replica, &answer)?;
                    // A held row may have one of them, from a table that was made anew since.
                    leases::let_go_taken(connection, &catalog)
                })
                .await?;
        }
        Ok(words)
    }
}
