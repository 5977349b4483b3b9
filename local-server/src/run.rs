//! One run of the sync: push until nothing is left to push, pull until complete, tell the cloud of ended runs. The halves are independent.

mod download;
mod lease;
mod purge;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use chrono::{SubsecRound, Utc};
use conflict_ui_api::backend::Event as ApiEvent;
use rusqlite::Connection;
use sync_core::catalog::Catalog;
use sync_core::id::{CatalogVersion, PushNo, RunId};
use sync_core::limits::EVENTS_BEHIND_MAX;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::value::timestamp_text;
use sync_core::wire::message::{LogUpload, Run, Speaker};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::cloud_link::{CloudLink, LinkError};
use crate::fault;
use crate::store::answers;
use crate::store::apply::PULL_FIRST;
use crate::store::identity::{self, Identity};
use crate::store::plan::Plan;
use crate::store::{Database, DbError, StoreError, hidden, install, outbox, run_log, spool};

/// Passes over the dirty rows in one run: programs that write without a pause must not keep it from pulling.
const PASSES_MAX: u32 = 4;
/// How often a pull begins anew in one run, because the catalog or the subscriptions changed under it.
const RESTARTS_MAX: u32 = 3;

/// Why a step of a run failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The link or the cloud.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The site's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cloud lost pushes that it had answered: it was restored from a backup.
    #[error(
        "the cloud has push {cloud} of this replica, which is at {here}: the cloud was restored from a backup. Its edits are kept here"
    )]
    Gap {
        /// The last push that the cloud has.
        cloud: PushNo,
        /// The push that was sent.
        here: PushNo,
    },
    /// The cloud's database is another one.
    #[error("the cloud's database is not the one that this site knows (epoch {cloud}, not {here}): it was restored or replaced")]
    CloudReplaced {
        /// The epoch that it says.
        cloud: String,
        /// The epoch that the site knows.
        here: String,
    },
    /// The cloud changes faster than it can be read.
    #[error("the catalog or the site's scopes changed {RESTARTS_MAX} times during this run: it goes on with the next one")]
    Restless,
    /// The cloud calls this replica a clone again right after it became a new one.
    #[error("the cloud calls this copy a clone although it has just become a replica of its own")]
    ForkAgain,
    /// Rows wait for others that hold their scope at the cloud, or for a table that it does not serve for now.
    #[error("{0} rows were deferred: somebody holds their scope at the cloud, or their table is not served for now. They are sent again")]
    Deferred(usize),
    /// Rows that cannot be sent or merged as they are.
    #[error("{}", .0.join("; "))]
    Rows(Vec<String>),
}

impl From<DbError> for SyncError {
    fn from(error: DbError) -> Self {
        Self::Store(error.into())
    }
}

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// Its row in `sync_log`, if it has one.
    pub run: Option<RunId>,
    /// How it ended.
    pub status: RunStatus,
    /// Whether anything was taken by the cloud or came from it.
    pub moved: bool,
    /// Rows sent and accepted plus rows received.
    pub records: usize,
    /// Conflicts that its pushes parked.
    pub conflicts: usize,
    /// What went wrong, by step.
    pub errors: Vec<(&'static str, SyncError)>,
}

impl Report {
    /// Whether the cloud was out of reach all the time.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.status == RunStatus::Failed
            && self.errors.iter().all(|(_, error)| matches!(error, SyncError::Link(error) if error.is_offline()))
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let texts: Vec<_> = self.errors.iter().map(|(step, error)| format!("{step}: {error}")).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// What runs are made with: the database, the link, and who this replica is.
pub struct Syncer {
    db: Database,
    link: CloudLink,
    identity: Identity,
    plan: Option<Arc<Plan>>,
    /// The run under way.
    current: Option<Current>,
    /// Whether this run made this copy a replica of its own.
    forked: bool,
    /// Whoever listens.
    events: broadcast::Sender<ApiEvent>,
    /// What the last log row said of rows that somebody must put right; said again only when it changes.
    told: Option<String>,
    /// Which tables the cloud does not serve for now, and why.
    suspended: Option<String>,
    /// When it was last looked for rows that are old enough to go.
    purged: Option<Instant>,
}

/// A run under way.
#[derive(Clone)]
struct Current {
    run: Run,
    /// Whether it is in the log.
    logged: bool,
    traffic: (u64, u64),
}

impl Syncer {
    /// Prepares runs; closes what a crash cut off.
    ///
    /// # Errors
    /// The database.
    pub async fn new(db: Database, link: CloudLink, identity: Identity) -> Result<Self, DbError> {
        let cut_off = db.apply(|connection| run_log::close_cut_off(connection, &now())).await?;
        if cut_off > 0 {
            tracing::warn!(runs = cut_off, "closed runs that were cut off");
        }
        Ok(Self {
            db,
            link,
            identity,
            plan: None,
            current: None,
            suspended: None,
            forked: false,
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
            told: None,
            purged: None,
        })
    }

    /// Where runs, and what they did to conflicts, are told.
    #[must_use]
    pub fn events(&self) -> broadcast::Sender<ApiEvent> {
        self.events.clone()
    }

    /// Tells whoever listens; nobody may.
    fn tell(&self, events: impl IntoIterator<Item = ApiEvent>) {
        events.into_iter().for_each(|event| drop(self.events.send(event)));
    }

    /// Runs once. Every failure is in the report; nothing is thrown. `log_offline`: whether to log a run that only found the link down.
    pub async fn run(&mut self, direction: Direction, log_offline: bool) -> Report {
        self.begin(direction);
        let mut report = Report { run: None, status: RunStatus::Completed, moved: false, records: 0, conflicts: 0, errors: Vec::new() };
        // An upload that had nothing to send succeeded in nothing: only a pull that was answered, or rows that moved, count.
        let (mut failed, mut answered) = (false, false);
        let mut count = |pulled: bool, result: Result<(), ()>| {
            failed |= result.is_err();
            answered |= pulled && result.is_ok();
        };
        let pull_first = match self.prepare().await {
            Ok(pull_first) => pull_first,
            Err(error) => {
                report.errors.push(("catalog", error));
                report.status = RunStatus::Failed;
                return self.end(report, log_offline).await;
            }
        };
        // A site that has never had any cannot make rows while its first pull takes an hour.
        if self.has_no_numbers().await {
            count(false, self.refill(&mut report).await);
        }
        let (up, down) = (direction != Direction::Download, direction != Direction::Upload);
        let mut current = true;
        if pull_first {
            let pulled = self.download(&mut report).await;
            current = pulled.is_ok();
            count(true, pulled);
        }
        // Placeholders of a new column must not be pushed as base values: after a new catalog nothing goes up before a pull came down.
        if up && current {
            count(false, self.upload_all(&mut report).await);
        }
        if down && !pull_first {
            count(true, self.download(&mut report).await);
        }
        count(false, self.refill(&mut report).await);
        self.purge(&mut report).await;
        report.status = match (failed, answered || report.moved) {
            (false, _) => RunStatus::Completed,
            (true, false) => RunStatus::Failed,
            (true, true) => RunStatus::Partial,
        };
        self.end(report, log_offline).await
    }

    /// Whether there is anything to push; also where that cannot be found out.
    pub async fn has_anything(&mut self) -> bool {
        let Some(catalog) = self.db.catalog() else { return true };
        let plan = match &self.plan {
            Some(plan) if plan.catalog.version == catalog.version => Arc::clone(plan),
            _ => match self.make_plan(catalog).await {
                Ok(plan) => plan,
                Err(_) => return true,
            },
        };
        self.db.read(move |connection| outbox::anything(connection, &plan)).await.unwrap_or(true)
    }

    /// Closes the run that was dropped in the middle, because the server stops or a step panicked.
    pub async fn interrupted(&mut self, why: &str) {
        let Some(Current { mut run, logged: true, .. }) = self.current.take() else { return };
        run.status = RunStatus::Failed;
        run.completed_at = Some(now());
        run.errors = Some(serde_json::json!([{"step": "run", "message": why}]).to_string());
        if let Err(error) = self.db.apply(move |connection| run_log::put(connection, &run, &now())).await {
            tracing::error!(%error, "an interrupted run stays open in the log until the next start");
        }
    }

    fn begin(&mut self, direction: Direction) {
        let run = Run {
            id: RunId(Uuid::now_v7()),
            direction,
            started_at: now(),
            completed_at: None,
            status: RunStatus::Started,
            records_synced: 0,
            conflicts_detected: 0,
            errors: None,
            server_id: self.identity.name.clone(),
            bytes_up: 0,
            bytes_down: 0,
            cursors_before: None,
            cursors_after: None,
        };
        self.forked = false;
        self.current = Some(Current { run, logged: false, traffic: self.link.traffic() });
    }

    /// The row to write into the log together with the first thing that moves; `None` once it is there.
    fn unlogged(&self) -> Option<Run> {
        let current = self.current.as_ref().filter(|current| !current.logged)?;
        Some(current.run.clone())
    }

    fn logged(&mut self) {
        if let Some(current) = &mut self.current {
            current.logged = true;
        }
    }

    async fn end(&mut self, mut report: Report, log_offline: bool) -> Report {
        let Some(Current { mut run, logged, traffic }) = self.current.take() else { return report };
        if report.moved || self.is_news(&report, log_offline) {
            self.told = report.message();
            let errors: Vec<_> =
                report.errors.iter().map(|(step, error)| serde_json::json!({"step": step, "message": error.to_string()})).collect();
            let (up, down) = self.link.traffic();
            run.status = report.status;
            run.completed_at = Some(now());
            run.records_synced = count(report.records);
            run.conflicts_detected = count(report.conflicts);
            run.errors = (!errors.is_empty()).then(|| serde_json::Value::Array(errors).to_string());
            run.bytes_up = i64::try_from(up - traffic.0).unwrap_or(i64::MAX);
            run.bytes_down = i64::try_from(down - traffic.1).unwrap_or(i64::MAX);
            report.run = Some(run.id);
            let status = report.status.as_str().to_owned();
            let written =
                self.db.apply(move |connection| run_log::put(connection, &run, &now()).and_then(|()| run_log::prune(connection))).await;
            if let Err(error) = written {
                tracing::error!(%error, "a run could not be written into the log");
            }
            self.tell([ApiEvent::Run { site: self.identity.name.clone(), status }]);
        } else if logged {
            // It began in earnest and came to nothing, like the one before it.
            let written = self.db.apply(move |connection| run_log::forget(connection, run.id)).await;
            if let Err(error) = written {
                tracing::error!(%error, "a run stays open in the log until the next start");
            }
        }
        if !report.is_offline()
            && let Err(error) = self.upload_log().await
        {
            tracing::debug!(%error, "the log stays here until the next run");
        }
        report
    }

    /// Whether a run that moved nothing is worth a row: it failed, and not just as the one before it.
    fn is_news(&self, report: &Report, log_offline: bool) -> bool {
        let repeated = report.errors.iter().all(|(_, error)| matches!(error, SyncError::Rows(_))) && report.message() == self.told;
        !report.errors.is_empty() && (log_offline || !report.is_offline()) && !repeated
    }

    /// Tells the cloud of ended runs, at most one message: more are sent with the next run.
    async fn upload_log(&self) -> Result<(), SyncError> {
        let runs = self.db.read(run_log::unsent).await?;
        if runs.is_empty() {
            return Ok(());
        }
        let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        self.link.log(&LogUpload { speaker: self.speaker(), runs }).await?;
        Ok(self.db.apply(move |connection| run_log::mark_sent(connection, &ids)).await?)
    }

    /// Sees to it that there is a catalog; whether a pull must come before any push.
    async fn prepare(&mut self) -> Result<bool, SyncError> {
        match self.db.catalog() {
            None => self.fetch_catalog().await?,
            Some(catalog) if self.plan.as_ref().is_none_or(|plan| plan.catalog.version != catalog.version) => {
                self.make_plan(catalog).await?;
            }
            Some(_) => {}
        }
        Ok(self.db.read(|connection| identity::fact(connection, PULL_FIRST)).await?.is_some())
    }

    /// Fetches the cloud's catalog and brings the site's tables to it.
    async fn fetch_catalog(&mut self) -> Result<(), SyncError> {
        let catalog = Arc::new(self.link.catalog(&self.speaker()).await?);
        let before = self.db.catalog();
        if before.as_ref().is_some_and(|before| before.version == catalog.version) {
            return Ok(());
        }
        let (after, site) = (Arc::clone(&catalog), self.identity.name.clone());
        self.db
            .apply(move |connection| {
                install::install(connection, before.as_deref(), &after, &site)?;
                identity::set_fact(connection, PULL_FIRST, "1")?;
                // A push that was answered as exact while the cloud published may have columns there that this site has not heard of.
                identity::set_fact(connection, answers::ECHO, "1")?;
                Ok::<_, StoreError>(spool::discard(connection)?)
            })
            .await?;
        fault::point("catalog-taken");
        tracing::info!(version = catalog.version.0, tables = catalog.tables.len(), "took the cloud's catalog");
        self.db.set_catalog(Arc::clone(&catalog));
        self.make_plan(catalog).await?;
        Ok(())
    }

    /// The plan of a catalog, with what is hidden in the file.
    async fn make_plan(&mut self, catalog: Arc<Catalog>) -> Result<Arc<Plan>, StoreError> {
        let plan = self.db.read(move |connection| hidden::plan(connection, catalog)).await?;
        Ok(Arc::clone(self.plan.insert(Arc::new(plan))))
    }

    /// Something hidden is gone from the file.
    async fn plan_anew(&mut self) -> Result<(), StoreError> {
        if let Some(catalog) = self.db.catalog() {
            self.make_plan(catalog).await?;
        }
        Ok(())
    }

    fn speaker(&self) -> Speaker {
        self.identity.speaker(self.plan.as_ref().map_or(CatalogVersion(0), |plan| plan.catalog.version))
    }

    fn plan(&self) -> Result<Arc<Plan>, SyncError> {
        self.plan.clone().ok_or_else(|| StoreError::Stored("there is no catalog yet".to_owned()).into())
    }
}

/// Whether an upload goes on after a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    AfterPull,
}

fn log_start(connection: &Connection, run: Option<&Run>) -> Result<(), DbError> {
    run.map_or(Ok(()), |run| run_log::put(connection, run, &now()))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Now, as canonical timestamptz text.
fn now() -> String {
    timestamp_text(Utc::now().trunc_subsecs(6))
}
