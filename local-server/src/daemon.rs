//! The sync daemon: when to run. At an interval, soon after a local change, on demand, and when the link is back; with exponential backoff
//! and jitter after a failure. It never stops by itself: a run that panics is logged and the next one comes.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::Event;
use sync_core::backoff::Backoff;
use sync_core::id::RunId;
use sync_core::sync_log::{Direction, RunStatus};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud_link::LinkError;
use crate::run::{Report, SyncError, Syncer};
use crate::store::{Database, DbError, identity};

/// Orders that may wait; whoever comes then waits to be let in.
const ORDERS_MAX: usize = 64;
/// The fact that the daemon is paused.
const PAUSED: &str = "paused";

/// When the daemon runs.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// The time between runs when nothing happens.
    pub interval: Duration,
    /// How long after a local change it runs, so that changes that come together go together.
    pub debounce: Duration,
    /// The first wait after a failure; it doubles up to `interval`.
    pub retry: Duration,
    /// The seed of the jitter.
    pub seed: u64,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        Self { interval: Duration::from_secs(60), debounce: Duration::from_millis(300), retry: Duration::from_secs(1), seed }
    }
}

/// How the daemon stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Whether the cloud answered last time.
    pub online: bool,
    /// Whether it does nothing by itself.
    pub paused: bool,
    /// Whether a run is under way.
    pub running: bool,
    /// When the next attempt is due; `None` while it is paused.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What went wrong last, until a run succeeds.
    pub last_error: Option<String>,
}

/// How a run on demand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// Its row in `sync_log`; `None` where nothing moved and nothing failed.
    pub run: Option<RunId>,
    /// How it ended.
    pub status: RunStatus,
    /// Rows sent and accepted plus rows received.
    pub records: usize,
    /// Conflicts that it parked.
    pub conflicts: usize,
    /// What went wrong, in words.
    pub error: Option<String>,
}

impl From<&Report> for RunEnd {
    fn from(report: &Report) -> Self {
        Self { run: report.run, status: report.status, records: report.records, conflicts: report.conflicts, error: report.message() }
    }
}

/// The daemon has ended: the server is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sync daemon has ended: the server is stopping")]
pub struct Ended;

enum Order {
    Run(Direction, oneshot::Sender<RunEnd>),
    Pause(bool, oneshot::Sender<()>),
}

/// A running daemon.
pub struct Daemon {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<DaemonStatus>,
    events: broadcast::Sender<Event>,
    stop: CancellationToken,
    task: StdMutex<Option<JoinHandle<()>>>,
}

impl Daemon {
    /// Starts it; the first run begins at once unless it was paused.
    ///
    /// # Errors
    /// The database.
    pub async fn start(db: Database, syncer: Syncer, config: DaemonConfig) -> Result<Self, DbError> {
        let paused = db.read(|connection| identity::fact(connection, PAUSED)).await?.is_some();
        let (orders, queue) = mpsc::channel(ORDERS_MAX);
        let (status_in, status) = watch::channel(DaemonStatus { paused, ..DaemonStatus::default() });
        let stop = CancellationToken::new();
        let events = syncer.events();
        let daemon = Arc::new(Mutex::new(Drive {
            changes: db.changes(),
            db,
            syncer: Arc::new(Mutex::new(syncer)),
            backoff: Backoff::new(config.retry, config.interval.max(config.retry), config.seed),
            config,
            orders: queue,
            status: status_in,
            stop: stop.clone(),
            due: Instant::now(),
            waiting: Vec::new(),
        }));
        let task = tokio::spawn(supervise(daemon, stop.clone()));
        Ok(Self { orders, status, events, stop, task: StdMutex::new(Some(task)) })
    }

    /// How it stands now.
    #[must_use]
    pub fn status(&self) -> DaemonStatus {
        self.status.borrow().clone()
    }

    /// Its status as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<DaemonStatus> {
        self.status.clone()
    }

    /// What happens to conflicts and runs: subscribed to by listeners, sent to by whoever decides here.
    #[must_use]
    pub fn events(&self) -> &broadcast::Sender<Event> {
        &self.events
    }

    /// Runs now, also while it is paused, and waits for the end. A run that is under way is not joined: what was changed just before goes
    /// with this one.
    ///
    /// # Errors
    /// The server is stopping.
    pub async fn run(&self, direction: Direction) -> Result<RunEnd, Ended> {
        let (reply, end) = oneshot::channel();
        self.orders.send(Order::Run(direction, reply)).await.map_err(|_| Ended)?;
        end.await.map_err(|_| Ended)
    }

    /// Does nothing by itself any more, until resumed; also over a restart. A run under way ends in order.
    ///
    /// # Errors
    /// The server is stopping.
    pub async fn pause(&self) -> Result<(), Ended> {
        self.set_paused(true).await
    }

    /// Goes on, with a run at once.
    ///
    /// # Errors
    /// The server is stopping.
    pub async fn resume(&self) -> Result<(), Ended> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> Result<(), Ended> {
        let (reply, done) = oneshot::channel();
        self.orders.send(Order::Pause(paused, reply)).await.map_err(|_| Ended)?;
        done.await.map_err(|_| Ended)
    }

    /// Ends it. A run under way is broken off where it is; the next start takes it up.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the sync daemon did not end in order");
        }
    }
}

/// Starts the loop again if it panics.
async fn supervise(drive: Arc<Mutex<Drive>>, stop: CancellationToken) {
    loop {
        let running = Arc::clone(&drive);
        match tokio::spawn(async move { running.lock().await.drive().await }).await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "the sync daemon failed and is started again"),
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Drive {
    db: Database,
    syncer: Arc<Mutex<Syncer>>,
    config: DaemonConfig,
    backoff: Backoff,
    changes: watch::Receiver<u64>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<DaemonStatus>,
    stop: CancellationToken,
    due: Instant,
    /// Whoever asked for a run, with the direction.
    waiting: Vec<(Direction, oneshot::Sender<RunEnd>)>,
}

impl Drive {
    async fn drive(&mut self) {
        loop {
            self.show_due();
            let paused = self.status.borrow().paused;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order).await,
                    None => return,
                },
                () = tokio::time::sleep_until(self.due), if !paused => self.run(Direction::Bidirectional, None).await,
                // While the cloud is out of reach the backoff says when, not the changes.
                changed = self.changes.changed(), if !paused && self.backoff.attempts() == 0 => match changed {
                    Ok(()) if self.syncer.lock().await.has_anything().await => self.due = self.due.min(Instant::now() + self.config.debounce),
                    Ok(()) => {}
                    Err(_) => return,
                },
            }
            while let Some((direction, reply)) = (!self.waiting.is_empty() && !self.stop.is_cancelled()).then(|| self.waiting.remove(0)) {
                self.run(direction, Some(reply)).await;
            }
        }
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Run(direction, reply) => self.waiting.push((direction, reply)),
            Order::Pause(paused, reply) => {
                let stored = self
                    .db
                    .apply(move |connection| match paused {
                        true => identity::set_fact(connection, PAUSED, "1"),
                        false => identity::clear_fact(connection, PAUSED),
                    })
                    .await;
                if let Err(error) = stored {
                    tracing::error!(%error, "whether the sync is paused will be forgotten at the next start");
                }
                self.status.send_modify(|status| status.paused = paused);
                if !paused {
                    self.due = Instant::now();
                }
                // Whoever asked may have gone away.
                let _ = reply.send(());
            }
        }
    }

    /// One run, in a task of its own so that its panic ends nothing else. Orders are taken meanwhile.
    async fn run(&mut self, direction: Direction, reply: Option<oneshot::Sender<RunEnd>>) {
        self.changes.mark_unchanged();
        self.status.send_modify(|status| status.running = true);
        let log_offline = reply.is_some() || self.backoff.attempts() == 0;
        let syncer = Arc::clone(&self.syncer);
        let mut task = tokio::spawn(async move { syncer.lock().await.run(direction, log_offline).await });
        let ended = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    task.abort();
                    break task.await;
                }
                ended = &mut task => break ended,
                Some(order) = self.orders.recv() => self.take(order).await,
            }
        };
        let end = match ended {
            Ok(report) => {
                self.after(&report);
                RunEnd::from(&report)
            }
            Err(error) => {
                let why = if error.is_panic() { "a fault of the program (see its log)" } else { "the server was stopped" };
                self.syncer.lock().await.interrupted(why).await;
                self.due = Instant::now() + self.backoff.next_wait();
                self.status.send_modify(|status| status.last_error = Some(why.to_owned()));
                RunEnd { run: None, status: RunStatus::Failed, records: 0, conflicts: 0, error: Some(why.to_owned()) }
            }
        };
        self.status.send_modify(|status| status.running = false);
        if let Some(reply) = reply {
            drop(reply.send(end));
        }
    }

    fn after(&mut self, report: &Report) {
        let error = report.message();
        // Rows that somebody must put right do not make the rest wait.
        let transient = report.errors.iter().any(|(_, error)| !matches!(error, SyncError::Rows(_)));
        if let Some(error) = &error {
            tracing::warn!(status = report.status.as_str(), error, "a sync run did not succeed");
        }
        if transient {
            let wait = self.backoff.next_wait();
            self.due = Instant::now() + wait.max(asked_wait(report));
        } else {
            self.backoff.reset();
            self.due = Instant::now() + self.config.interval;
        }
        self.status.send_modify(|status| {
            status.online = !report.errors.iter().any(|(_, error)| matches!(error, SyncError::Link(error) if error.is_offline()));
            status.last_error = error;
        });
    }

    fn show_due(&self) {
        let paused = self.status.borrow().paused;
        let next = (!paused).then(|| Utc::now() + self.due.saturating_duration_since(Instant::now()));
        self.status.send_modify(|status| status.next_attempt_at = next);
    }
}

/// How long a busy cloud asked to be left alone.
fn asked_wait(report: &Report) -> Duration {
    let waits = report.errors.iter().filter_map(|(_, error)| match error {
        SyncError::Link(LinkError::Busy(wait)) => Some(*wait),
        _ => None,
    });
    waits.max().unwrap_or_default()
}
