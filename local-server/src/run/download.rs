//! The download half: pull until complete, then apply all of it at once.

use sync_core::wire::message::{Page, Pull, PushName, Speaker, Window};

use super::{RESTARTS_MAX, Report, SyncError, Syncer, log_start, now};
use crate::cloud_link::LinkError;
use crate::store::answers::ECHO;
use crate::store::apply::{self, Applied, LAST_CHECKED, PULL_FIRST};
use crate::store::conflicts::news;
use crate::store::spool::{self, Resume};
use crate::store::{StoreError, cursors, hidden, identity, leases, outbox};

impl Syncer {
    pub(super) async fn download(&mut self, report: &mut Report) -> Result<(), ()> {
        match self.pull_all().await {
            Ok(applied) => {
                report.records += applied.received;
                report.moved |= applied.received > 0;
                let problems: Vec<String> = applied.problems.into_iter().chain(self.suspended.clone()).collect();
                if problems.is_empty() {
                    return Ok(());
                }
                report.errors.push(("download", SyncError::Rows(problems)));
                Err(())
            }
            Err(error) => {
                report.errors.push(("download", error));
                Err(())
            }
        }
    }

    async fn pull_all(&mut self) -> Result<Applied, SyncError> {
        for _ in 0..RESTARTS_MAX {
            if let Some(applied) = self.pull_once().await? {
                return Ok(applied);
            }
        }
        Err(SyncError::Restless)
    }

    /// Pulls to the end and applies; `None` where the pull must begin anew.
    async fn pull_once(&mut self) -> Result<Option<Applied>, SyncError> {
        let (speaker, mut next, answered, mut spooled, everything) = self.open_pull().await?;
        loop {
            if spooled && next.is_none() {
                return self.apply(None, everything).await.map(Some);
            }
            let cursors = self.db.read(cursors::all).await?;
            let pull = Pull { speaker, answered: answered.clone(), cursors: cursors.clone(), next: next.take() };
            let (body, page) = match self.link.pull(&pull).await {
                Err(LinkError::UnknownReplica(_)) => {
                    self.become_replica().await?;
                    return Ok(None);
                }
                other => other?,
            };
            self.suspended.clone_from(&page.suspended);
            if page.cloud_epoch != self.identity.cloud_epoch {
                self.db.apply(spool::discard).await?;
                let (cloud, here) = (page.cloud_epoch.to_string(), self.identity.cloud_epoch.to_string());
                return Err(SyncError::CloudReplaced { cloud, here });
            }
            if page.catalog != speaker.catalog {
                self.db.apply(spool::discard).await?;
                self.fetch_catalog().await?;
                return Ok(None);
            }
            if !spooled && page.next.is_none() {
                let nothing = page.gone.is_empty() && page.tables.iter().all(|table| table.rows.is_empty()) && page.heads == cursors;
                // The first pull under another catalog is applied in any case: rows that it does not bring may be gone.
                if nothing && !everything && self.db.read(|connection| identity::fact(connection, PULL_FIRST)).await?.is_none() {
                    self.db
                        .apply(|connection| {
                            identity::set_fact(connection, LAST_CHECKED, &now())?;
                            news::heard(connection)?;
                            Ok::<_, StoreError>(())
                        })
                        .await?;
                    return Ok(Some(Applied::default()));
                }
                return self.apply(Some(page), everything).await.map(Some);
            }
            next.clone_from(&page.next);
            if !self.spool(page, answered.clone(), body).await? {
                return Ok(None);
            }
            spooled = true;
        }
    }

    /// Where the pull begins or goes on: the speaker, the window, the push that it names, whether pages are spooled, and whether it named
    /// no push because everything is wanted.
    async fn open_pull(&mut self) -> Result<(Speaker, Option<Window>, Option<PushName>, bool, bool), SyncError> {
        let speaker = self.speaker();
        let (epoch, catalog) = (speaker.cloud_epoch.to_string(), speaker.catalog.0);
        self.db
            .apply(move |connection| {
                let everything = identity::fact(connection, ECHO)?.is_some();
                Ok::<_, StoreError>(match spool::resume(connection, &epoch, catalog)? {
                    // A pull that began by naming a push leaves out what it made; it cannot be the one that brings everything.
                    Some(Resume { answered: Some(_), .. }) if everything => {
                        spool::discard(connection)?;
                        (speaker, None, None, false, true)
                    }
                    Some(Resume { answered, next }) => (speaker, next, answered, true, everything),
                    None if everything => (speaker, None, None, false, true),
                    None => (speaker, None, outbox::answered_name(connection)?, false, false),
                })
            })
            .await
            .map_err(SyncError::from)
    }

    async fn spool(&mut self, page: Page, answered: Option<PushName>, body: Vec<u8>) -> Result<bool, SyncError> {
        let run = self.unlogged();
        let kept = self
            .db
            .apply(move |connection| {
                log_start(connection, run.as_ref())?;
                Ok::<_, StoreError>(spool::keep(connection, &page, answered.as_ref(), &body)?)
            })
            .await?;
        self.logged();
        Ok(kept)
    }

    async fn apply(&mut self, last: Option<Page>, everything: bool) -> Result<Applied, SyncError> {
        let (plan, run) = (self.plan()?, self.unlogged());
        let done = self
            .db
            .apply(move |connection| {
                let applied = apply::apply(connection, &plan, last.as_ref(), &now())?;
                leases::let_go_taken(connection, &plan.catalog)?;
                let something = applied.received > 0 || !applied.problems.is_empty();
                log_start(connection, run.as_ref().filter(|_| something))?;
                if everything {
                    apply::heard_everything(connection)?;
                }
                Ok::<_, StoreError>((applied, something, hidden::tidy(connection, &plan)?))
            })
            .await;
        match done {
            Ok((applied, something, tidied)) => {
                self.tell(applied.news.events(&self.identity.name));
                if tidied {
                    self.plan_anew().await?;
                }
                if something {
                    self.logged();
                }
                if let Some(current) = &mut self.current {
                    let (before, after) = applied.moved.to_log();
                    (current.run.cursors_before, current.run.cursors_after) = (Some(before), Some(after));
                }
                Ok(applied)
            }
            Err(error) => {
                // A spool that cannot be applied would fail for ever; what it held is pulled again.
                if matches!(error, StoreError::Answer(_) | StoreError::Spool(_)) {
                    self.db.apply(spool::discard).await?;
                }
                Err(error.into())
            }
        }
    }
}
