//! The words of `sync_log`: directions and how a run ended.

use serde::{Deserialize, Serialize};

/// What a run was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Direction {
    /// Push only.
    Upload,
    /// Pull only.
    Download,
    /// Both.
    Bidirectional,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// It runs. A run that a crash cut off is closed as FAILED at the next start.
    Started,
    /// All of it succeeded; parked conflicts do not count against it.
    Completed,
    /// None of it succeeded.
    Failed,
    /// A half or a scope failed.
    Partial,
}

macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Its name in the database and in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            /// Reads a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use names;

names!(Direction { Upload = "UPLOAD", Download = "DOWNLOAD", Bidirectional = "BIDIRECTIONAL" });
names!(RunStatus { Started = "STARTED", Completed = "COMPLETED", Failed = "FAILED", Partial = "PARTIAL" });
