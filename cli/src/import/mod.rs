//! `rejoin import`: real equipment from a file of JSON lines, all or nothing.

mod category;
mod line;
mod report;
mod rules;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use conflict_ui_api::backend::Imported;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use sync_core::limits::{IMPORT_FILE_BYTES_MAX, IMPORT_ROWS_MAX};

use crate::client::{Client, ServerArgs};
use crate::exit::{Failure, Result};
use crate::output;
use report::Report;
pub(crate) use rules::{Import, ImportRow};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin import broadcast-equipment.ndjson --data rejoin-cloud\n  \
    rejoin import - --data rejoin-cloud --json < broadcast-equipment.ndjson\n\n\
    One JSON object a line; docs/IMPORT.md says what becomes of each member. A broken line changes nothing (exit code 2).")]
pub(crate) struct ImportArgs {
    /// The file; - for stdin
    file: PathBuf,
    /// Check the file and count, write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: ImportArgs, json: bool) -> Result {
    let bar = bar();
    let import = read(&args.file, &bar)?;
    let written = if args.dry_run {
        Imported::default()
    } else {
        bar.set_message("writing");
        send(&Client::find(&args.server)?, &import.rows).await?
    };
    bar.finish_and_clear();
    let report = Report::new(&import.counts, written);
    if json { output::json(&report) } else { output::fields(report.lines()) }
}

/// One bar for reading and writing; quiet when stderr is no terminal.
pub(crate) fn bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{msg:12} {bar:40} {pos}/{len}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

/// Reads and checks the whole file before anything is sent.
pub(crate) fn read(path: &Path, bar: &ProgressBar) -> Result<Import> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let limit = IMPORT_FILE_BYTES_MAX as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > IMPORT_FILE_BYTES_MAX {
        return Err(wrong(format!("has more than {IMPORT_FILE_BYTES_MAX} bytes: split it")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let number = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("line {number}: is not UTF-8"))
    })?;
    bar.set_message("reading");
    bar.set_length(text.lines().count() as u64);
    let import = rules::read_file(&text, || bar.inc(1)).map_err(|broken| wrong(broken.to_string()))?;
    if import.rows.len() > IMPORT_ROWS_MAX {
        return Err(wrong(format!("becomes {} rows, {IMPORT_ROWS_MAX} are allowed: split it", import.rows.len())));
    }
    Ok(import)
}

/// Reads text that is at hand.
pub(crate) fn read_text(text: &str) -> std::result::Result<Import, String> {
    rules::read_file(text, || {}).map_err(|broken| broken.to_string())
}

/// Sends rows, as one request and so one transaction.
pub(crate) async fn send(client: &Client, rows: &[ImportRow]) -> Result<Imported> {
    let answer: Value = client.post(&["api", "rejoin", "import"], &json!({ "rows": rows })).await?;
    serde_json::from_value(answer).map_err(|error| Failure::failed(format!("the server's report cannot be read: {error}")))
}
