//! What the catalog is made of, besides the database: the settings, read again where their file changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sync_core::limits::{SETTINGS_READS_MAX, SETTINGS_SETTLE};

use crate::settings::{LoadError, Settings};
use crate::store::prepare::lead::{FOLLOWS, Start};
use crate::systems::BuiltIn;

/// The settings in force, and where they come from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) system: Option<BuiltIn>,
    /// The start of this program, which decides who publishes where several go by different settings.
    pub(crate) start: Start,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    /// How often others came into force: each must be brought in.
    taken: u64,
    /// The file as it was read last; `None`: it could not be.
    text: Option<String>,
    /// Why the file as it is now is not in force.
    complaint: Option<String>,
}

impl Source {
    /// `file`: where the settings were read from, if from a file.
    pub(crate) fn new(settings: Settings, system: Option<BuiltIn>, file: Option<PathBuf>, start: Start) -> Self {
        let text = file.is_some().then(|| settings.written().to_owned());
        Self { system, start, file, state: Mutex::new(State { settings: Arc::new(settings), taken: 0, text, complaint: None }) }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// Why the file as it is now is not in force.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.state().complaint.clone().or_else(|| self.start.follows().then(|| FOLLOWS.to_owned()))
    }

    /// How often other settings have come into force.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// Reads the file again, and puts what it says in force if it says something else. A file that cannot be read or is not right changes nothing and
    /// is told once: the settings stay as they are.
    pub(crate) async fn reread(&self) {
        let Some(file) = &self.file else { return };
        let read = || tokio::fs::read_to_string(file);
        let first = read().await;
        if self.state().knows(&first.as_ref().ok().cloned()) {
            return;
        }
        let Some(read) = settled(first, read).await else { return };
        let text = read.as_ref().ok().cloned();
        let loaded = checked(file, read);
        let mut state = self.state();
        // Somebody else may have read it meanwhile.
        if state.knows(&text) {
            return;
        }
        state.text = text;
        match loaded {
            Ok(settings) => {
                tracing::info!(file = %file.display(), "the settings have changed and are in force");
                state.settings = Arc::new(settings);
                state.taken += 1;
                state.complaint = None;
            }
            Err(error) => {
                tracing::error!(%error, "the settings have changed and cannot be used; those that were read before stay in force");
                state.complaint = Some(format!("the settings read before stay in force: {error}"));
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether this text, or that there is none, was seen before.
    fn knows(&self, text: &Option<String>) -> bool {
        *text == self.text && (text.is_some() || self.complaint.is_some())
    }
}

/// What the file says once it stays as it is; `None`: it does not.
async fn settled<F: Future<Output = io::Result<String>>>(first: io::Result<String>, read: impl Fn() -> F) -> Option<io::Result<String>> {
    let mut last = first;
    for _ in 0..SETTINGS_READS_MAX {
        tokio::time::sleep(SETTINGS_SETTLE).await;
        let next = read().await;
        if last.as_ref().ok() == next.as_ref().ok() {
            return Some(next);
        }
        last = next;
    }
    None
}

fn checked(file: &Path, read: io::Result<String>) -> Result<Settings, LoadError> {
    let text = read.map_err(|error| LoadError::Read { path: file.display().to_string(), error })?;
    let settings = Settings::of_file(file, &text)?;
    settings.webhook()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn seen(texts: &[&str]) -> Option<String> {
        let texts = RefCell::new(texts.iter().rev().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let read = || {
            let mut texts = texts.borrow_mut();
            let next = if texts.len() > 1 { texts.pop() } else { texts.last().cloned() };
            async move { next.ok_or_else(|| io::Error::other("none")) }
        };
        let first = read().await;
        settled(first, read).await.map(Result::unwrap)
    }

    #[tokio::test]
    async fn a_file_counts_once_it_is_written() {
        assert_eq!(
            seen(&["root = 'a'\n", "", "root = 'a'\n", "root = 'a'\nleft_out = ['b']\n"]).await.unwrap(),
            "root = 'a'\nleft_out = ['b']\n"
        );
        let growing: Vec<String> = (0..=SETTINGS_READS_MAX + 1).map(|no| "#".repeat(no as usize)).collect();
        assert_eq!(seen(&growing.iter().map(String::as_str).collect::<Vec<_>>()).await, None);
    }
}
