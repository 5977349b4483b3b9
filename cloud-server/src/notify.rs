//! The webhook: notices that this cloud's processes send to somebody outside. Delivery is at least once: whoever takes a notice on and dies
//! leaves it to the next process that looks. Its id, and every byte of it, stay the same from attempt to attempt.

pub mod address;
mod send;

use std::time::Duration;

use chrono::Utc;
use futures_util::{StreamExt, future, stream};
use sync_core::backoff::Backoff;
use sync_core::limits::{
    NOTICE_POLL, NOTICE_SETTLE, NOTICES_AT_ONCE, NOTICES_CLAIMED_MAX, SILENCE_CHECK_EVERY, WEBHOOK_GIVE_UP_AFTER, WEBHOOK_RETRY_FIRST,
    WEBHOOK_RETRY_LONGEST, WEBHOOK_TIMEOUT,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::address::Lookup;
use self::send::{Failure, Receiver, Sender};
use crate::settings::{Cause, Webhook};
use crate::store::error::StoreError;
use crate::store::notices::{self, Claimed, Outcome};
use crate::store::pool::Database;

/// How patient and how eager the webhook is. Tests are in a hurry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How often to look for notices that are due.
    pub poll: Duration,
    /// How long the notice of a new group of conflicts waits for more of them.
    pub settle: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The longest wait before the second attempt.
    pub retry_first: Duration,
    /// The longest wait between two attempts.
    pub retry_longest: Duration,
    /// How long after the first attempt a notice is given up.
    pub give_up_after: Duration,
    /// How often to look for silent sites.
    pub silence_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: NOTICE_POLL,
            settle: NOTICE_SETTLE,
            timeout: WEBHOOK_TIMEOUT,
            retry_first: WEBHOOK_RETRY_FIRST,
            retry_longest: WEBHOOK_RETRY_LONGEST,
            give_up_after: WEBHOOK_GIVE_UP_AFTER,
            silence_every: SILENCE_CHECK_EVERY,
        }
    }
}

/// Sends the notices of one database.
pub(crate) struct Notifier {
    db: Database,
    webhook: Webhook,
    pace: Pace,
    sender: Sender,
    receivers: Vec<Receiver>,
}

impl Notifier {
    pub(crate) fn new(db: Database, webhook: Webhook, pace: Pace, lookup: Lookup) -> reqwest::Result<Self> {
        let sender = Sender::new(&webhook, pace.timeout, lookup)?;
        let receivers = webhook.urls.iter().cloned().map(Receiver::new).collect();
        Ok(Self { db, webhook, pace, sender, receivers })
    }

    /// Works until it is cancelled; attempts under way are given back then.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        future::join(self.deliver(&cancel), self.watch(&cancel)).await;
    }

    async fn deliver(&self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            let more = match self.round(cancel).await {
                Ok(taken) => taken == NOTICES_CLAIMED_MAX,
                Err(error) => {
                    tracing::warn!(%error, "notices wait: the database cannot be asked");
                    false
                }
            };
            let pause = if more { Duration::ZERO } else { self.pace.poll };
            tokio::select! { () = cancel.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    /// Takes on what is due and sends it. How many that were.
    async fn round(&self, cancel: &CancellationToken) -> Result<usize, StoreError> {
        let claimed = notices::claim(&mut self.db.client().await?, NOTICES_CLAIMED_MAX, self.pace.settle).await?;
        let taken = claimed.len();
        let sent = stream::iter(claimed).map(|notice| self.attempt(notice, cancel)).buffer_unordered(NOTICES_AT_ONCE);
        let outcomes: Vec<Result<(), StoreError>> = sent.collect().await;
        outcomes.into_iter().collect::<Result<(), StoreError>>()?;
        Ok(taken)
    }

    async fn attempt(&self, mut notice: Claimed, cancel: &CancellationToken) -> Result<(), StoreError> {
        let sent = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            error = self.send(&mut notice) => Some(error),
        };
        let client = self.db.client().await?;
        let Some(error) = sent else { return notices::release(&client, &notice).await };
        let outcome = self.outcome(&notice);
        match (&outcome, &error) {
            (Outcome::GivenUp, error) => tracing::error!(notice = %notice.id, attempts = notice.attempts, ?error, "a notice is given up"),
            (Outcome::Again(wait), error) => tracing::warn!(notice = %notice.id, ?wait, ?error, "a notice could not be delivered"),
            (Outcome::Delivered, _) => tracing::debug!(notice = %notice.id, "a notice is delivered"),
        }
        notices::settle(&client, &notice, &outcome, error.as_deref()).await
    }

    /// Sends it to whoever does not have it yet, and notes who took it. What went wrong.
    async fn send(&self, notice: &mut Claimed) -> Option<String> {
        let open: Vec<&Receiver> = self.open(notice).collect();
        let now = Utc::now().timestamp();
        let sending = open.iter().map(|receiver| self.sender.send(receiver, notice.id, &notice.body, now));
        let answers = future::join_all(sending).await;
        let mut errors = Vec::new();
        for (receiver, answer) in open.into_iter().zip(answers) {
            match answer {
                Ok(()) => notice.accepted_by.push(receiver.label.clone()),
                Err(Failure::Gone) => {
                    notice.refused_by.push(receiver.label.clone());
                    errors.push(format!("{}: answered 410, it does not want it", receiver.label));
                }
                Err(Failure::Later(why)) => errors.push(format!("{}: {why}", receiver.label)),
            }
        }
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    fn open<'n>(&'n self, notice: &Claimed) -> impl Iterator<Item = &'n Receiver> {
        let done: Vec<String> = notice.accepted_by.iter().chain(&notice.refused_by).cloned().collect();
        self.receivers.iter().filter(move |receiver| !done.contains(&receiver.label))
    }

    fn outcome(&self, notice: &Claimed) -> Outcome {
        let open = self.open(notice).next().is_some();
        match (open, notice.accepted_by.is_empty()) {
            (false, false) => Outcome::Delivered,
            (false, true) => Outcome::GivenUp,
            (true, _) if notice.tried_for >= self.pace.give_up_after => Outcome::GivenUp,
            (true, _) => Outcome::Again(self.pace.wait(notice.attempts, rand::random())),
        }
    }

    /// Looks for silent sites, and forgets old notices.
    async fn watch(&self, cancel: &CancellationToken) {
        let mut ticks = interval(self.pace.silence_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { () = cancel.cancelled() => return, _ = ticks.tick() => {} }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "silent sites could not be looked for");
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let mut client = self.db.client().await?;
        if self.webhook.causes.contains(&Cause::Silence) {
            notices::check_silence(&mut client, Utc::now(), self.webhook.silent_after).await?;
        }
        notices::prune(&client).await.map(drop)
    }
}

impl Pace {
    /// The wait after this many attempts.
    fn wait(&self, attempts: i32, seed: u64) -> Duration {
        let mut backoff = Backoff::new(self.retry_first, self.retry_longest, seed);
        let mut wait = backoff.next_wait();
        for _ in 1..attempts.clamp(1, 32) {
            wait = backoff.next_wait();
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempts_of_a_day_are_some_dozens_and_spread() {
        let pace = Pace::default();
        let (mut attempts, mut passed) = (1, Duration::ZERO);
        while passed < pace.give_up_after {
            let wait = pace.wait(attempts, u64::from(attempts.unsigned_abs()));
            assert!(wait <= pace.retry_longest);
            passed += wait;
            attempts += 1;
        }
        assert!((20..=45).contains(&attempts), "{attempts}");
        assert!(pace.wait(1, 1) <= pace.retry_first);
        assert!(pace.wait(30, 1) >= pace.retry_longest / 2);
    }
}
