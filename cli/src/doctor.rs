//! `rejoin doctor`: what is wrong in a cloud's database, and what to do about it.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use cloud_server::store::doctor::{self, Finding, Severity};
use cloud_server::store::pool::Database;
use serde_json::json;

use crate::attach::{open, store_failure};
use crate::cloud::DatabaseArgs;
use crate::exit::{Exit, Failure, Result};
use crate::settings::Settings;
use crate::{migrate, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rejoin doctor --data rejoin-cloud\n  rejoin doctor --database-url postgres://app@db/app --settings rejoin.toml --mend\n\n\
    Ends with 1 where something is wrong (an error or a warning). It may look while the cloud runs."
)]
pub(crate) struct DoctorArgs {
    /// Put back what is missing of Rejoin's own, then look again
    #[arg(long)]
    mend: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: DoctorArgs, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    let settings = Settings::load("cloud", matches, config)?;
    let (url, cluster) = match settings.text("database-url") {
        Some(url) => (url, None),
        None => migrate::private(&settings.required_path("data")?.join("postgres"), true).await?,
    };
    let db = open(&url)?;
    let done = look(&args, &settings, &db, json).await;
    db.close();
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(|error| Failure::failed(error.to_string()))?;
    }
    done
}

async fn look(args: &DoctorArgs, settings: &Settings, db: &Database, json: bool) -> Result {
    let named = settings.text("system");
    let file = settings.path("settings").or_else(|| Some(PathBuf::from("rejoin.toml")).filter(|file| file.exists()));
    let chosen = cloud_server::app::settings_for(db, named.as_deref(), file.as_deref()).await;
    let (system, settings) = chosen.map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    if args.mend {
        doctor::mend(db, &settings, system).await.map_err(|error| Failure::failed(error.to_string()))?;
    }
    let findings = doctor::examine(db, &settings).await.map_err(store_failure)?;
    let wrong = findings.iter().filter(|finding| finding.severity > Severity::Info).count();
    if json {
        output::json(&json!({ "wrong": wrong, "findings": findings }))?;
    } else {
        said(&findings, &db.place())?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::failed("1 thing is wrong")),
        _ => Err(Failure::failed(format!("{wrong} things are wrong"))),
    }
}

fn said(findings: &[Finding], place: &str) -> Result {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let at = match (&finding.table, &finding.column) {
            (Some(table), Some(column)) => format!(" {table}.{column}"),
            (Some(table), None) => format!(" {table}"),
            _ => String::new(),
        };
        output::line(&format!("{severity}{at}: {}", finding.what))?;
        if !finding.remedy.is_empty() {
            output::line(&format!("    -> {}", finding.remedy))?;
        }
    }
    if findings.iter().all(|finding| finding.severity == Severity::Info) {
        output::line(&format!("{place}: nothing is wrong"))?;
    }
    Ok(())
}
