//! `rejoin attach`: an existing database made ready for sites, after a plan that says what will travel and what will not.

mod plan;
mod progress;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args};
use cloud_server::attach::{candidates, first_settings};
use cloud_server::settings::{LoadError, Settings};
use cloud_server::store::error::StoreError;
use cloud_server::store::pace::Pace;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::{self, Plan, PrepareError};
use serde_json::json;
use sync_core::limits::ATTACH_PATIENCE;

pub(crate) use progress::Bars;

use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Where the settings stand if nothing else is said.
const SETTINGS: &str = "rejoin.toml";

/// Connections that this takes: one works, one looks.
const POOL_SIZE: usize = 2;

/// How many tables are proposed as the root.
const CANDIDATES_SHOWN: usize = 8;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rejoin attach --database-url postgres://app@db/app                             # which table could be the root\n  \
    rejoin attach --database-url postgres://app@db/app --root projects --dry-run   # the plan, and nothing else\n  \
    rejoin attach --database-url postgres://app@db/app --root projects\n\n\
    It can be stopped and run again at any time: it goes on where it was. docs/ATTACH.md says what it adds, `rejoin detach` takes it out again."
)]
pub(crate) struct AttachArgs {
    /// PostgreSQL (15 or newer), as the role that owns the tables
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The table of which one row, with all that hangs from it, travels together; goes into a new settings file
    #[arg(long, value_name = "TABLE")]
    root: Option<String>,
    /// What introspection cannot see [default: rejoin.toml]; written if it is not there, never overwritten
    #[arg(long, env = "REJOIN_CLOUD_SETTINGS", value_name = "FILE")]
    settings: Option<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: AttachArgs, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let own = crate::settings::Settings::load("cloud", matches, config)?;
    let url = own.required_text("database-url")?;
    let file = own.path("settings").unwrap_or_else(|| PathBuf::from(SETTINGS));
    let db = open(&url)?;
    let told = match (&args.database_url, config) {
        (Some(url), _) => database_argument(url, std::env::var("DATABASE_URL").ok().as_deref()),
        // It stands in the file.
        (None, Some(config)) => format!(" --config {}", config.display()),
        (None, None) => String::new(),
    };
    let done = attach(&args, &db, &file, &told, json).await;
    db.close();
    done
}

/// Connects to nothing yet.
pub(crate) fn open(url: &str) -> Result<Database> {
    Database::open(url, POOL_SIZE).map_err(|error| Failure::new(Exit::Config, error.to_string()))
}

async fn attach(args: &AttachArgs, db: &Database, file: &Path, told: &str, json: bool) -> Result {
    let (settings, new) = settings(args, db, file, json).await?;
    let plan = prepare::plan(db, &settings).await.map_err(|error| match error {
        // There is no file yet, and so no line of it.
        PrepareError::Settings(error) if new.is_some() => Failure::usage(format!("--root: {}", error.message.trim_start_matches("root: "))),
        error => prepare_failure(error),
    })?;
    if !json {
        output::line(&plan::text(&plan, &db.place(), !std::io::stdout().is_terminal()))?;
    }
    if args.dry_run {
        return if json { report(&plan, file, false) } else { output::line("Nothing was changed (--dry-run).") };
    }
    if plan.tables.iter().all(|entry| !entry.synced) {
        let best = candidates(db).await.map_err(store_failure)?.0.into_iter().next();
        let best = best.map_or_else(|| "TABLE".to_owned(), |candidate| candidate.table);
        return Err(Failure::usage(format!("no table would travel: write root = \"{best}\", or another one, into {}", file.display())));
    }
    if let Some(text) = new {
        write_new(file, &text)?;
    }
    let bars = Bars::new();
    let watch = |step: prepare::Progress<'_>| bars.show(step);
    let pace = Pace { patience: ATTACH_PATIENCE, watch: &watch };
    let prepared = prepare::prepare_at(db, &settings, None, &pace).await;
    bars.end();
    let catalog = prepared.map_err(prepare_failure)?;
    if json {
        return report(&plan, file, true);
    }
    let tables = catalog.tables.iter().filter(|table| !table.engine).count();
    output::line(&format!("attached: {tables} tables are ready for sites (catalog {}).", catalog.version))?;
    output::line(&format!("next:\n  rejoin cloud{told} --settings {}", file.display()))?;
    output::line("  rejoin sites add NAME --scope '*' --data rejoin-cloud   # prints the token with which that site joins")
}

fn report(plan: &Plan, file: &Path, attached: bool) -> Result {
    output::json(&json!({ "attached": attached, "settings": file, "plan": plan }))
}

/// What `rejoin.toml` says; with its text where it has to be written first.
async fn settings(args: &AttachArgs, db: &Database, file: &Path, json: bool) -> Result<(Settings, Option<String>)> {
    if file.exists() {
        let settings = Settings::load(file).map_err(load_failure)?;
        let said = settings.root.as_ref().map(|root| root.get_ref().as_str());
        return match (args.root.as_deref(), said) {
            (Some(asked), said) if said != Some(asked) => Err(Failure::usage(format!(
                "{} is there and says {}; it is never overwritten: write root = \"{asked}\" into it, or name another file with --settings",
                file.display(),
                said.map_or_else(|| "no root".to_owned(), |said| format!("root = \"{said}\""))
            ))),
            (None, None) if settings.global.is_empty() => Err(propose(db, json).await?),
            _ => Ok((settings, None)),
        };
    }
    let Some(root) = &args.root else { return Err(propose(db, json).await?) };
    let text = first_settings(root);
    let settings = Settings::parse(&text).map_err(|error| Failure::usage(format!("--root: {}", error.message)))?;
    Ok((settings, Some(text)))
}

/// Prints which tables could be the root, and says what to write.
async fn propose(db: &Database, json: bool) -> Result<Failure> {
    let (candidates, tables) = candidates(db).await.map_err(store_failure)?;
    if json {
        output::json(&json!({ "candidates": candidates, "tables": tables }))?;
    } else if candidates.is_empty() {
        output::line(&format!("No table of the {tables} in {} hangs from another by references that are never NULL.", db.place()))?;
    } else {
        output::line(&format!("{} holds {tables} tables. Tables that others hang from, which could be the root:\n", db.place()))?;
        let row = |one: &cloud_server::attach::Candidate| vec![one.table.clone(), one.reached_by.to_string()];
        output::table(&["table", "tables that hang from it"], candidates.iter().take(CANDIDATES_SHOWN).map(row))?;
    }
    let example = candidates.first().map_or("TABLE", |candidate| candidate.table.as_str());
    Ok(Failure::usage(format!(
        "name the table of which one row, with all that hangs from it, is what a site holds: --root {example}, for example"
    )))
}

/// Never over a file that is there.
fn write_new(file: &Path, text: &str) -> Result {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", file.display()));
    let mut open = std::fs::File::options().write(true).create_new(true).open(file).map_err(failed)?;
    open.write_all(text.as_bytes()).map_err(failed)?;
    output::note(&format!("wrote {}", file.display()))
}

/// How the next command is told the database, as it can be pasted: without the password, since terminals and logs are read by others.
fn database_argument(url: &str, from_environment: Option<&str>) -> String {
    let secret = url.contains("password")
        || url.split_once("://").is_none_or(|(_, rest)| rest.rsplit_once('@').is_some_and(|(login, _)| login.contains(':')));
    match from_environment {
        Some(known) if known == url => String::new(),
        _ if secret || url.contains('\'') => " --database-url \"$DATABASE_URL\"".to_owned(),
        _ => format!(" --database-url '{url}'"),
    }
}

fn load_failure(error: LoadError) -> Failure {
    Failure::usage(error.to_string())
}

pub(crate) fn store_failure(error: StoreError) -> Failure {
    Failure::new(Exit::from(&error), error.to_string())
}

pub(crate) fn prepare_failure(error: PrepareError) -> Failure {
    Failure::new(Exit::from(&error), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_can_be_pasted_and_shows_no_password() {
        let plain = "postgres://app@db/app?sslmode=require";
        for (url, environment, shown) in [
            ("postgres://app:secret@db/app", None, " --database-url \"$DATABASE_URL\""),
            ("postgres://app:secret@db/app", Some("postgres://app:secret@db/app"), ""),
            (plain, Some("postgres://app@db/other"), " --database-url 'postgres://app@db/app?sslmode=require'"),
            (plain, None, " --database-url 'postgres://app@db/app?sslmode=require'"),
            ("postgres:///app?host=/run", None, " --database-url 'postgres:///app?host=/run'"),
            ("postgres://db/app?user=a&password=b", None, " --database-url \"$DATABASE_URL\""),
            ("host=db password=x", None, " --database-url \"$DATABASE_URL\""),
        ] {
            assert_eq!(database_argument(url, environment), shown);
        }
    }
}
