//! `GET /api/events`: what happens, as it happens (server-sent events).

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, Sse};
use futures_util::{Stream, stream};
use sync_core::limits::EVENT_HEARTBEAT;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::backend::Event;
use crate::door::authenticate;
use crate::error::BackendError;
use crate::problem::{Answer, Code, Problem};
use crate::server::Stopping;
use crate::state::ApiState;

/// How long a browser waits before it listens again after the stream was cut.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(3);

/// `GET /api/events`. Ends when the server stops, or the credential opens nothing any more.
pub(crate) async fn events(
    State(state): State<ApiState>,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Sent, Infallible>>>> {
    let events = state.backend.events().ok_or_else(|| BackendError::Unsupported("this server tells no events".to_owned()))?;
    let seat = seat(&state)?;
    let stopping = stopping.map(|Extension(Stopping(token))| token).unwrap_or_default();
    let every = state.config.event_heartbeat;
    let mut heartbeat = interval_at(tokio::time::Instant::now() + every, every);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener { state, headers, events, heartbeat, stopping, greeted: false, _seat: seat };
    Ok(Sse::new(stream::unfold(listener, |mut listener| async move {
        let sent = listener.next().await?;
        Some((Ok(sent), listener))
    })))
}

fn seat(state: &ApiState) -> Answer<OwnedSemaphorePermit> {
    let seats: std::sync::Arc<Semaphore> = state.guards.listeners.clone();
    seats.try_acquire_owned().map_err(|_| {
        let detail = "As many listen for events as this server lets: ask the lists instead, or try again.";
        Problem::new(Code::Unavailable, detail).retry_after(EVENT_HEARTBEAT)
    })
}

/// Somebody who listens.
struct Listener {
    state: ApiState,
    headers: HeaderMap,
    events: Receiver<Event>,
    heartbeat: Interval,
    stopping: CancellationToken,
    greeted: bool,
    _seat: OwnedSemaphorePermit,
}

impl Listener {
    /// What he hears next; `None` at the end.
    async fn next(&mut self) -> Option<Sent> {
        if !self.greeted {
            self.greeted = true;
            return Some(Sent::default().retry(AGAIN_AFTER).comment("listening"));
        }
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            // Before the events: a session that ended, or a token that was revoked, hears nothing more, however much happens.
            _ = self.heartbeat.tick() => {
                authenticate(&self.state, &self.headers).await.ok()?;
                Some(Sent::default().comment("alive"))
            }
            event = self.events.recv() => match event {
                Ok(event) => Some(told(&event)),
                Err(RecvError::Lagged(_)) => Some(told(&Event::Lagged)),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

/// Named as the member `event` of its data names it.
fn told(event: &Event) -> Sent {
    let name = match event {
        Event::Conflicts { .. } => "conflicts",
        Event::Run { .. } => "run",
        Event::Schema { .. } => "schema",
        Event::Lagged => "lagged",
    };
    let data = serde_json::to_string(event).unwrap_or_default();
    Sent::default().event(name).data(data)
}
