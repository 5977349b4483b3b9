//! `rejoin schema`: what a migration of the user's own would do, before it is run.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Subcommand};
use cloud_server::foresee::{ForeseeError, Foresight, Under, foresee};
use cloud_server::settings::Settings as SchemaSettings;

use crate::cloud::{self, DatabaseArgs};
use crate::exit::{Exit, Failure, Result};
use crate::migrate::private;
use crate::output;
use crate::settings::Settings;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rejoin schema plan migrations/0042.sql --database-url postgres://app@db/app --settings rejoin.toml\n  \
    rejoin schema plan rename.sql --data rejoin-cloud --settings rejoin.toml --settings-after next/rejoin.toml\n  \
    rejoin schema plan change.sql --data rejoin-cloud --json\n\n\
    The migration is tried on an empty copy of the schema in a PostgreSQL of its own; the database itself is only read."
)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what a migration would do to the catalog, the rows and the sites
    Plan {
        /// The migration, as psql takes it
        file: PathBuf,
        /// The rejoin.toml that comes with the migration, where that has to change too
        #[arg(long, value_name = "FILE")]
        settings_after: Option<PathBuf>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

pub(crate) async fn run(args: SchemaArgs, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let Action::Plan { file, settings_after, .. } = args.action;
    let (_, matches) = matches.subcommand().ok_or_else(|| Failure::usage("plan"))?;
    let settings = Settings::load("cloud", matches, config)?;
    if !file.is_file() {
        return Err(Failure::usage(format!("there is no file {}", file.display())));
    }
    let wrong = |error: String| Failure::usage(error);
    let schema = match settings.path("settings") {
        Some(path) => SchemaSettings::load(&path).map_err(|error| wrong(error.to_string()))?,
        None => match cloud::system(&settings)? {
            Some(system) => system.settings().map_err(|error| wrong(error.to_string()))?,
            None => return Err(wrong("--settings names the rejoin.toml under which the database is synced".to_owned())),
        },
    };
    let after = settings_after.map(|path| SchemaSettings::load(&path)).transpose().map_err(|error| wrong(error.to_string()))?;
    let (url, cluster) = match settings.text("database-url") {
        Some(url) => (url, None),
        None => private(&settings.required_path("data")?.join("postgres"), true).await?,
    };
    let folder = tempfile::tempdir().map_err(|error| Failure::failed(error.to_string()))?;
    let foreseen = foresee(&url, Under { settings: &schema, after: after.as_ref() }, &file, folder.path()).await;
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(|error| Failure::failed(error.to_string()))?;
    }
    let foreseen = foreseen.map_err(failure)?;
    if json { output::json(&foreseen) } else { print(&foreseen) }
}

fn print(foreseen: &Foresight) -> Result {
    if foreseen.changes.is_empty() {
        output::line("The catalog stays as it is: sites notice nothing.")?;
    }
    for told in &foreseen.changes {
        output::line(&told.title)?;
        let rows = if told.rows_fed > 0 { format!(" ({} rows)", told.rows_fed) } else { String::new() };
        output::line(&format!("    {}{rows}", told.says))?;
        if let Some(warning) = &told.warning {
            output::line(&format!("    ! {warning}"))?;
        }
    }
    output::line(&format!("Sent again: {} rows", foreseen.rows_fed))?;
    foreseen.warnings.iter().try_for_each(|warning| output::line(&format!("Note: {warning}")))
}

fn failure(error: ForeseeError) -> Failure {
    let exit = match &error {
        ForeseeError::Url(_) => Exit::Config,
        ForeseeError::Before(error) => error.into(),
        ForeseeError::Store(error) => error.into(),
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
