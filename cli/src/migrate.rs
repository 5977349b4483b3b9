//! `rejoin migrate`: the migrations of a cloud's database. A cloud that starts runs them by itself; this is for whoever wants to see or
//! do it before.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Subcommand};
use cloud_server::postgres::{Cluster, Durability, PostgresError};
use cloud_server::store::migrate::{self, MigrateError, Step};
use cloud_server::store::pool::Database;
use cloud_server::systems::BuiltIn;
use serde_json::json;

use crate::cloud::{self, DatabaseArgs};
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::settings::Settings;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin migrate status --database-url postgres://app@db/app --system video-production\n  \
    rejoin migrate up --dry-run --data rejoin-cloud\n\n\
    Migrations go forward only: back the database up first.")]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the migrations, applied and pending
    Status {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Apply what is pending
    Up {
        /// Print the SQL instead
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

impl Action {
    fn only_reads(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Up { dry_run: true, .. })
    }
}

/// Connections that this takes: one works, one holds the lock.
const POOL_SIZE: usize = 2;

pub(crate) async fn run(args: MigrateArgs, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let (_, matches) = matches.subcommand().ok_or_else(|| Failure::usage("status or up"))?;
    let settings = Settings::load("cloud", matches, config)?;
    let system = cloud::system(&settings)?;
    let (url, cluster) = match settings.text("database-url") {
        Some(url) => (url, None),
        None => private(&settings.required_path("data")?.join("postgres"), args.action.only_reads()).await?,
    };
    let db = Database::open(&url, POOL_SIZE).map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let done = act(&args.action, &db, system, json).await;
    db.close();
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(|error| Failure::failed(error.to_string()))?;
    }
    done
}

/// The URL of a private PostgreSQL, and the cluster where it had to be started. Whoever only reads makes none, and may look into one that
/// a cloud runs; under a running cloud nothing is migrated.
pub(crate) async fn private(folder: &Path, only_reads: bool) -> Result<(String, Option<Cluster>)> {
    let failed = |error: PostgresError| Failure::failed(error.to_string());
    if only_reads && !Cluster::exists(folder) {
        let detail = "--database-url names another database, `rejoin migrate up` or `rejoin cloud` makes a private one";
        return Err(Failure::usage(format!("there is no PostgreSQL in {}: {detail}", folder.display())));
    }
    let cluster = match Cluster::start(folder, Durability::Durable).await {
        Err(PostgresError::InUse { .. }) if only_reads => {
            return Ok((Cluster::url_of_running(folder, cloud_server::app::DATABASE).map_err(failed)?, None));
        }
        Err(PostgresError::InUse { dir }) => {
            return Err(Failure::failed(format!("a running cloud uses {}: stop it first; a cloud migrates when it starts", dir.display())));
        }
        started => started.map_err(failed)?,
    };
    cluster.ensure_database(cloud_server::app::DATABASE).await.map_err(failed)?;
    Ok((cluster.url(cloud_server::app::DATABASE), Some(cluster)))
}

async fn act(action: &Action, db: &Database, system: Option<BuiltIn>, json: bool) -> Result {
    match action {
        Action::Status { .. } => steps(&migrate::status(db, system).await.map_err(failure)?, json),
        Action::Up { dry_run: false, .. } => steps(&migrate::up(db, system).await.map_err(failure)?, json),
        Action::Up { dry_run: true, .. } => {
            let sql = migrate::dry_run(db, system).await.map_err(failure)?;
            if json { output::json(&json!({ "sql": sql })) } else { output::line(sql.trim_end()) }
        }
    }
}

fn steps(steps: &[Step], json: bool) -> Result {
    if json {
        let list =
            steps.iter().map(|step| json!({ "set": step.set, "version": step.version, "name": step.name, "appliedOn": step.applied_on }));
        return output::json(&list.collect::<Vec<_>>());
    }
    let row = |step: &Step| {
        let applied = step.applied_on.clone().unwrap_or_else(|| "pending".to_owned());
        vec![step.set.clone(), step.version.to_string(), step.name.clone(), applied]
    };
    output::table(&["set", "version", "name", "applied"], steps.iter().map(row))
}

fn failure(error: MigrateError) -> Failure {
    let exit = match &error {
        MigrateError::Store(error) => error.into(),
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
