//! The upload half: push until nothing is left to push.

use conflict_ui_api::backend::Event;
use sync_core::wire::message::Refusal;

use super::{Again, PASSES_MAX, RESTARTS_MAX, Report, SyncError, Syncer, log_start};
use crate::cloud_link::LinkError;
use crate::fault;
use crate::store::answers::{self, Outcome};
use crate::store::outbox::{self, Pass, StoredPush};
use crate::store::{StoreError, hidden, identity};

impl Syncer {
    /// Uploads. Where the catalog changed, what came with it is pulled first, and the push is cut anew.
    pub(super) async fn upload_all(&mut self, report: &mut Report) -> Result<(), ()> {
        for _ in 0..RESTARTS_MAX {
            if self.upload(report).await? == Again::No {
                return Ok(());
            }
            self.download(report).await?;
        }
        report.errors.push(("upload", SyncError::Restless));
        Err(())
    }

    async fn upload(&mut self, report: &mut Report) -> Result<Again, ()> {
        match self.push_all(report).await {
            Ok(again) => Ok(again),
            Err(error) => {
                report.errors.push(("upload", error));
                Err(())
            }
        }
    }

    async fn push_all(&mut self, report: &mut Report) -> Result<Again, SyncError> {
        let mut deferred = 0;
        let mut problems = Vec::new();
        for _ in 0..PASSES_MAX {
            let mut pass = Pass::default();
            let mut sent = false;
            while let Some(push) = self.next_push(&mut pass).await? {
                sent |= push.fresh;
                match self.send(&push).await? {
                    Outcome::Applied(counts) => {
                        report.moved = true;
                        report.records += counts.accepted;
                        report.conflicts += counts.parked;
                        deferred += counts.deferred;
                    }
                    Outcome::Refused(Refusal::Catalog(version), _) => {
                        tracing::info!(version = version.0, "the cloud has another catalog");
                        self.fetch_catalog().await?;
                        return Ok(Again::AfterPull);
                    }
                    Outcome::Refused(Refusal::Malformed(why), rows) => {
                        tracing::error!(push = push.no.0, rows, why, "the cloud refused a push as malformed");
                        pass.refused(rows, &format!("the cloud refused a push of one row: {why}"));
                    }
                    Outcome::Fork => {
                        self.become_replica().await?;
                        pass = Pass::default();
                    }
                    Outcome::Gap(cloud) => return Err(SyncError::Gap { cloud, here: push.no }),
                }
            }
            problems.append(&mut pass.problems);
            if !sent || deferred > 0 {
                break;
            }
            // What is found now was written meanwhile, or had to wait for a row that is accepted now.
            problems.clear();
        }
        if deferred == 0 {
            self.db.apply(|connection| identity::clear_fact(connection, outbox::REOFFER)).await?;
        }
        match (deferred, problems.is_empty()) {
            (0, true) => Ok(Again::No),
            (0, false) => Err(SyncError::Rows(problems)),
            (deferred, _) => Err(SyncError::Deferred(deferred)),
        }
    }

    /// The next push, stored before it is sent.
    async fn next_push(&mut self, pass: &mut Pass) -> Result<Option<StoredPush>, SyncError> {
        let (plan, speaker, mut moved, run) = (self.plan()?, self.speaker(), pass.clone(), self.unlogged());
        let (push, moved) = self
            .db
            .apply(move |connection| {
                let push = outbox::next(connection, &plan, speaker, &mut moved)?;
                log_start(connection, push.as_ref().and(run.as_ref()))?;
                Ok::<_, StoreError>((push, moved))
            })
            .await?;
        *pass = moved;
        if push.is_some() {
            self.logged();
            fault::point("push-stored");
        }
        Ok(push)
    }

    async fn send(&mut self, push: &StoredPush) -> Result<Outcome, SyncError> {
        let (plan, no) = (self.plan()?, push.no);
        let answer = match self.link.push(push.body.clone()).await {
            Err(LinkError::UnknownReplica(_)) => return Ok(Outcome::Fork),
            other => other?,
        };
        fault::point("answer-received");
        let refused = answers::refused(&answer);
        let job = move |connection: &_| {
            let outcome = answers::apply(connection, &plan, no, &answer)?;
            Ok::<_, StoreError>((outcome, hidden::tidy(connection, &plan)?))
        };
        let (outcome, tidied) = self.db.apply(job).await?;
        if refused {
            let site = Some(self.identity.name.clone());
            self.tell([Event::Conflicts { table_name: None, site, conflict: None, what: "refused".to_owned() }]);
        }
        if tidied {
            self.plan_anew().await?;
        }
        Ok(outcome)
    }

    /// This copy is a clone or was restored: from now on it is a replica of its own, and offers what is dirty anew.
    pub(super) async fn become_replica(&mut self) -> Result<(), SyncError> {
        if std::mem::replace(&mut self.forked, true) {
            return Err(SyncError::ForkAgain);
        }
        let old = self.identity.replica;
        let replica = self.link.new_replica(&self.speaker()).await?;
        let plan = self.plan()?;
        self.db
            .apply(move |connection| {
                outbox::start_chain_anew(connection, Some(&plan))?;
                Ok::<_, StoreError>(identity::store_replica(connection, &replica)?)
            })
            .await?;
        (self.identity.replica, self.identity.epoch) = (replica.replica, replica.epoch);
        self.identity.cloud_epoch = replica.cloud_epoch;
        tracing::error!(%old, new = %replica.replica,
            "the cloud knows other pushes of this replica: this database is a clone or was restored from a backup. It is a replica of its own \
             now; its unsent edits are offered anew");
        Ok(())
    }
}
