//! `rejoin detach`: every trace of Rejoin taken out of a database.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use cloud_server::detach::{self, DetachError, Traces};
use cloud_server::store::pace::Pace;
use serde_json::json;
use sync_core::limits::ATTACH_PATIENCE;

use crate::attach::{Bars, open, store_failure};
use crate::exit::{Failure, Result};
use crate::output;
use crate::settings::Settings;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin detach --database-url postgres://app@db/app --dry-run\n  \
    rejoin detach --database-url postgres://app@db/app --yes       # though sites are enrolled\n\n\
    Stop the cloud first. Tables, rows and columns of yours stay as they are; versions, history, conflicts, users and sites of Rejoin are gone.")]
pub(crate) struct DetachArgs {
    /// PostgreSQL, as the role that owns the tables
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Taken as by `rejoin attach`, and not read: all of Rejoin goes, whatever it says
    #[arg(long, env = "REJOIN_CLOUD_SETTINGS", value_name = "FILE")]
    settings: Option<String>,
    /// Print what would go and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also where sites are enrolled or conflicts are open: what sites have not sent stays with them for good
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: DetachArgs, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let db = open(&Settings::load("cloud", matches, config)?.required_text("database-url")?)?;
    let done = async {
        let traces = detach::traces(&db).await.map_err(store_failure)?;
        if args.dry_run || !traces.any() {
            return said(&traces, false, json);
        }
        refuse(&traces, args.yes)?;
        let bars = Bars::new();
        let watch = |step: cloud_server::store::prepare::Progress<'_>| bars.show(step);
        let detached = detach::detach(&db, &Pace { patience: ATTACH_PATIENCE, watch: &watch }).await;
        bars.end();
        detached.map_err(failure)?;
        said(&traces, true, json)?;
        match &args.settings {
            Some(file) => output::note(&format!("{file} stays; nothing reads it any more")),
            None => Ok(()),
        }
    }
    .await;
    db.close();
    done
}

/// What a person has to decide first.
fn refuse(traces: &Traces, yes: bool) -> Result {
    if !traces.connected.is_empty() {
        return Err(Failure::usage(DetachError::Connected(traces.connected.clone()).to_string()));
    }
    if !traces.dependents.is_empty() {
        return Err(Failure::usage(DetachError::Dependents(traces.dependents.clone()).to_string()));
    }
    let mut reasons = Vec::new();
    if !traces.sites.is_empty() {
        reasons.push(format!("sites are enrolled, and may hold edits that they have not sent: {}", traces.sites.join(", ")));
    }
    if !traces.open_conflicts.is_empty() {
        let open: Vec<String> = traces.open_conflicts.iter().map(|(table, count)| format!("{table} ({count})")).collect();
        reasons.push(format!("conflicts are open, with the sites' edits in them: {}", open.join(", ")));
    }
    if reasons.is_empty() || yes {
        return Ok(());
    }
    Err(Failure::usage(format!("{}; sync, decide and revoke first, or say --yes", reasons.join("; "))))
}

fn said(traces: &Traces, done: bool, json: bool) -> Result {
    if json {
        return output::json(&json!({ "detached": done, "traces": traces }));
    }
    if !traces.any() {
        return output::line("there is nothing of Rejoin in this database");
    }
    let count = |of: fn(&detach::Trace) -> usize| traces.tables.iter().map(of).sum::<usize>();
    let (triggers, columns) = (count(|trace| trace.triggers.len()), count(|trace| trace.columns.len()));
    let verb = if done { "taken out" } else { "to be taken out" };
    output::line(&format!(
        "{verb}: {triggers} triggers and {columns} columns of {} tables, {} event triggers, the schema rejoin",
        traces.tables.len(),
        traces.event_triggers.len()
    ))?;
    for name in traces.sites.iter().filter(|_| !done) {
        output::line(&format!("  site {name} is enrolled"))?;
    }
    for (table, count) in traces.open_conflicts.iter().filter(|_| !done) {
        output::line(&format!("  {count} open conflicts in {table}"))?;
    }
    for what in traces.connected.iter().chain(&traces.dependents).filter(|_| !done) {
        output::line(&format!("  in the way: {what}"))?;
    }
    if done { Ok(()) } else { output::line("Nothing was changed.") }
}

fn failure(error: DetachError) -> Failure {
    match error {
        DetachError::Connected(_) | DetachError::Dependents(_) => Failure::usage(error.to_string()),
        DetachError::Store(error) => store_failure(error),
        DetachError::Migrate(error) => Failure::failed(error.to_string()),
    }
}
