//! What happens at the cloud, for whoever listens at `/api/events`: also what another process of the same database did. There is one way
//! in, `LISTEN`: what this process does itself comes back by it too.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conflict_ui_api::backend::Event;
use sync_core::backoff::Backoff;
use sync_core::limits::EVENTS_KEPT;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::store::error::StoreError;
use crate::store::events::CHANNEL;
use crate::store::pool::{Database, Listening};

/// How often a connection on which nothing comes is asked whether it is still there.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
/// The waits before a lost connection is made anew.
const AGAIN_FIRST: Duration = Duration::from_millis(200);
const AGAIN_LONGEST: Duration = Duration::from_secs(10);

/// Hands events to listeners.
#[derive(Debug, Clone)]
pub(crate) struct Events(Arc<RwLock<Option<broadcast::Sender<Event>>>>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(Arc::new(RwLock::new(Some(broadcast::Sender::new(EVENTS_KEPT)))))
    }

    /// A new listener; `None` once the server stops.
    pub(crate) fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(broadcast::Sender::subscribe)
    }

    /// Lets every listener come to its end.
    pub(crate) fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn tell(&self, event: Event) {
        if let Some(sender) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listens: nobody misses it.
            drop(sender.send(event));
        }
    }

    fn tell_all(&self, payload: &str) {
        match serde_json::from_str::<Vec<Event>>(payload) {
            Ok(events) => events.into_iter().for_each(|event| self.tell(event)),
            // A newer version of ours, or somebody else's NOTIFY: something may have happened.
            Err(_) => self.tell(Event::Lagged),
        }
    }
}

/// Listens until it is cancelled. The first connection is made by the caller, so that nothing is missed from the start on.
pub(crate) async fn listen(db: Database, events: Events, mut listening: Listening, cancel: CancellationToken) {
    let heard = async {
        loop {
            hear(&events, &mut listening).await;
            tracing::warn!("the connection for events is lost; making it anew");
            listening = again(&db).await;
            // What happened in between nobody has heard.
            events.tell(Event::Lagged);
        }
    };
    tokio::select! { () = cancel.cancelled() => {}, () = heard => {} }
    events.close();
}

/// Connects and listens.
///
/// # Errors
/// The store failed.
pub(crate) async fn connect(db: &Database) -> Result<Listening, StoreError> {
    db.listen(CHANNEL).await
}

/// Tells what comes until the connection is lost.
async fn hear(events: &Events, listening: &mut Listening) {
    loop {
        match tokio::time::timeout(ALIVE_EVERY, listening.next()).await {
            Ok(Some(payload)) => events.tell_all(&payload),
            Ok(None) => return,
            Err(_) if listening.is_alive().await => {}
            Err(_) => return,
        }
    }
}

async fn again(db: &Database) -> Listening {
    let mut backoff = Backoff::new(AGAIN_FIRST, AGAIN_LONGEST, rand::random());
    loop {
        match connect(db).await {
            Ok(listening) => return listening,
            Err(error) => tracing::debug!(%error, "no connection for events yet"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_understood_makes_listeners_look_again() {
        let events = Events::new();
        let mut listener = events.subscribe().unwrap();
        events.tell_all(r#"[{"event":"run","site":"a","status":"FAILED"},{"event":"lagged"}]"#);
        events.tell_all(r#"[{"event":"something new"}]"#);
        assert_eq!(listener.try_recv().unwrap(), Event::Run { site: "a".to_owned(), status: "FAILED".to_owned() });
        assert_eq!(listener.try_recv().unwrap(), Event::Lagged);
        assert_eq!(listener.try_recv().unwrap(), Event::Lagged);
        events.close();
        assert_eq!(listener.try_recv().unwrap_err(), broadcast::error::TryRecvError::Closed);
        assert!(events.subscribe().is_none());
    }
}
