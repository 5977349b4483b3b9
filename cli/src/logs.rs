//! Logs: on stderr, for people on a terminal, as JSON otherwise. `RUST_LOG` filters them.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `level` holds where `RUST_LOG` says nothing.
pub(crate) fn start(format: Option<LogFormat>, level: &str) {
    let format = format.unwrap_or(if io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Json });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level},refinery_core=warn")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Human => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().with_span_list(false).init(),
    }
}
