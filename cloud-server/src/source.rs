//! What the catalog is made of, besides the database: the settings, read again where their file changed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// The file as it was read last; `None`: it could not be.
    text: Option<String>,
    /// Why the file as it is now is not in force.
    complaint: Option<String>,
}

impl Source {
    /// `file`: where the settings were read from, if from a file.
    pub(crate) fn new(settings: Settings, system: Option<BuiltIn>, file: Option<PathBuf>, start: Start) -> Self {
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Self { system, start, file, state: Mutex::new(State { settings: Arc::new(settings), text, complaint: None }) }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// Why the file as it is now is not in force.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.state().complaint.clone().or_else(|| self.start.follows().then(|| FOLLOWS.to_owned()))
    }

    /// Reads the file again; whether other settings are in force since. A file that cannot be read or is not right changes nothing and is told
    /// once: the settings stay as they are.
    pub(crate) async fn reread(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let read = tokio::fs::read_to_string(file).await;
        let text = read.as_ref().ok().cloned();
        let mut state = self.state();
        if text == state.text && (text.is_some() || state.complaint.is_some()) {
            return false;
        }
        state.text = text;
        let loaded = match read {
            Ok(_) => Settings::load(file),
            Err(error) => Err(LoadError::Read { path: file.display().to_string(), error }),
        };
        let checked = loaded.and_then(|settings| settings.webhook().map(|_| settings).map_err(LoadError::from));
        match checked {
            Ok(settings) => {
                tracing::info!(file = %file.display(), "the settings have changed and are in force");
                state.settings = Arc::new(settings);
                state.complaint = None;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the settings have changed and cannot be used; those that were read before stay in force");
                state.complaint = Some(format!("the settings read before stay in force: {error}"));
                false
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
