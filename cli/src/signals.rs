//! Stopping: the first SIGTERM or SIGINT asks for a graceful stop, the second one ends the program at once.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure, Result};

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn stop() -> Result {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Runs what a second signal may cut off.
pub(crate) async fn unless_again<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        done = work => Ok(done),
        again = stop() => {
            again?;
            Err(Failure::new(Exit::Interrupted, "stopped at once by a second signal"))
        }
    }
}

/// Runs a command that a signal ends.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        // The signals first: before the work has begun they are listened for.
        biased;
        stopped = stop() => {
            stopped?;
            Err(Failure::new(Exit::Interrupted, "interrupted"))
        }
        done = work => done,
    }
}
