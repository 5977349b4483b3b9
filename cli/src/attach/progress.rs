//! Progress on a terminal: which table, how much of its rows, and what is waited for. Nothing where nobody looks.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Mutex;

use cloud_server::store::prepare::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// One line that changes.
pub(crate) struct Bars(ProgressBar, Mutex<BTreeSet<i32>>);

impl Bars {
    pub(crate) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5))
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg}") {
            bar.set_style(style);
        }
        Self(bar, Mutex::default())
    }

    pub(crate) fn show(&self, progress: Progress<'_>) {
        self.0.tick();
        match progress {
            Progress::Table { table, at, of } => {
                self.0.set_prefix(format!("[{at}/{of}] {table}"));
                self.0.set_message("");
            }
            Progress::Held { pid, .. } if self.0.is_hidden() => {
                if self.1.lock().is_ok_and(|mut told| told.insert(pid)) {
                    drop(output::note(&words(progress)));
                }
            }
            other => self.0.set_message(words(other)),
        }
    }

    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn words(progress: Progress<'_>) -> String {
    match progress {
        Progress::Table { table, .. } => table.to_owned(),
        Progress::Rows { rows, pages, of, .. } => {
            let percent = (pages * 100).checked_div(of).unwrap_or(100);
            format!("{rows} rows stamped, {percent} %")
        }
        Progress::Vacuum { .. } => "making room (VACUUM)".to_owned(),
        Progress::Index { .. } => "building the feed index".to_owned(),
        Progress::Waiting { since, .. } => format!("held by somebody else; trying again ({} s so far)", since.as_secs()),
        Progress::Held { pid, what, since } => {
            format!("waiting for another session to end its transaction, pid {pid}, {what} ({} s so far)", since.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_step_has_words() {
        assert_eq!(words(Progress::Rows { table: "a", rows: 1_200, pages: 1, of: 4 }), "1200 rows stamped, 25 %");
        assert_eq!(words(Progress::Rows { table: "a", rows: 0, pages: 0, of: 0 }), "0 rows stamped, 100 %");
        let held = words(Progress::Held { pid: 7, what: "app, idle in transaction: SELECT 1", since: Duration::from_secs(9) });
        assert!(held.contains("pid 7, app, idle in transaction: SELECT 1 (9 s so far)"), "{held}");
        assert!(words(Progress::Waiting { table: "a", since: Duration::from_secs(7) }).contains("7 s"));
    }
}
