//! A program that writes while something is measured, and how long it waits.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::seconds;
use super::session::Session;

/// Rows that the writer wrote: they are nobody's feed.
pub const WRITTEN: &str = "written";

/// A program that changes one row after the other.
pub struct Writer {
    waits: Arc<Mutex<Vec<(Instant, Duration)>>>,
    writing: JoinHandle<()>,
}

impl Writer {
    pub async fn start(url: &str, rows: i64) -> Self {
        let session = Session::open(url).await;
        let waits = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&waits);
        let writing = tokio::spawn(async move {
            let mut n = 1;
            loop {
                n = (n * 48_271) % rows;
                let start = Instant::now();
                // A program that is the victim of a deadlock says so and tries another row.
                let written = session.sql.execute("UPDATE items SET kind = $1 WHERE no = $2::bigint", &[&WRITTEN, &n]).await;
                if let Err(error) = written {
                    println!("a write was refused: {}", error.as_db_error().map_or("", |error| error.message()));
                }
                told.lock().unwrap().push((start, start.elapsed()));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { waits, writing }
    }

    /// The longest write of those that were under way in this time.
    pub async fn longest(&self, from: Instant, to: Instant) -> String {
        // One that waits is told of when it is done.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let waits = self.waits.lock().unwrap();
        let waits = waits.iter().filter(|(start, took)| *start <= to && *start + *took >= from);
        let longest = waits.map(|(_, took)| *took).max().unwrap_or_default();
        seconds(longest)
    }

    pub async fn stop(self) {
        self.writing.abort();
        let _ = self.writing.await;
    }
}
