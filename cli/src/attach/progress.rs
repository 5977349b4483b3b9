//! Progress on a terminal: which table, how much of its rows, and what is waited for. Nothing where nobody looks.

use std::io::IsTerminal;

use cloud_server::store::prepare::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One line that changes.
pub(crate) struct Bars(ProgressBar);

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
        Self(bar)
    }

    pub(crate) fn show(&self, progress: Progress<'_>) {
        self.0.tick();
        match progress {
            Progress::Table { table, at, of } => {
                self.0.set_prefix(format!("[{at}/{of}] {table}"));
                self.0.set_message("");
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
        assert!(words(Progress::Waiting { table: "a", since: Duration::from_secs(7) }).contains("7 s"));
    }
}
