//! `rejoin doctor`: what is wrong in a cloud's database, and what to do about it.

use std::path::PathBuf;

use clap::{ArgMatches, Args};
use cloud_server::app::CloudError;
use cloud_server::store::doctor::{self, Finding, Severity};
use cloud_server::store::pool::Database;
use serde_json::json;

use crate::attach::{open, prepare_failure, store_failure};
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
    /// A line for each trigger, instead of one for all of a table
    #[arg(long, short)]
    verbose: bool,
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
    let (system, settings) = chosen.map_err(|error| match error {
        CloudError::Settings(_) => Failure::usage(error.to_string()),
        error => Failure::new(Exit::Config, error.to_string()),
    })?;
    let held = if args.mend { doctor::mend(db, &settings, system).await.map_err(prepare_failure)? } else { None };
    let mut findings = doctor::examine(db, &settings).await.map_err(store_failure)?;
    if let Some(error) = held.filter(|_| findings.iter().all(|finding| finding.severity < Severity::Error)) {
        let what = format!("no new catalog can be made: {error}");
        findings.insert(0, Finding { severity: Severity::Error, table: None, column: None, what, remedy: String::new() });
    }
    let count = |findings: &[Finding]| findings.iter().filter(|finding| finding.severity > Severity::Info).count();
    let wrong = if json {
        let wrong = count(&findings);
        output::json(&json!({ "wrong": wrong, "findings": findings }))?;
        wrong
    } else {
        let findings = if args.verbose { findings } else { folded(findings) };
        said(&findings, &db.place())?;
        count(&findings)
    };
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::failed("1 thing is wrong")),
        _ => Err(Failure::failed(format!("{wrong} things are wrong"))),
    }
}

/// Triggers of one table of which the same is said, as one finding.
fn folded(findings: Vec<Finding>) -> Vec<Finding> {
    let trigger = |finding: &Finding| {
        let (name, said) = finding.what.strip_prefix("the trigger ")?.split_once(" is ")?;
        (!name.contains(' ')).then(|| (name.to_owned(), said.to_owned()))
    };
    let mut all: Vec<(Finding, usize)> = Vec::new();
    for finding in findings {
        let said = trigger(&finding).map(|(_, said)| said);
        let same = |other: &Finding| {
            said.is_some()
                && (other.severity, &other.table, trigger(other).map(|(_, said)| said)) == (finding.severity, &finding.table, said.clone())
        };
        match all.iter_mut().find(|(other, _)| same(other)) {
            Some((_, count)) => *count += 1,
            None => all.push((finding, 1)),
        }
    }
    let one = |(finding, count): (Finding, usize)| match trigger(&finding) {
        Some((_, said)) if count > 1 => Finding { what: format!("{count} triggers are {said} (-v names them)"), ..finding },
        _ => finding,
    };
    all.into_iter().map(one).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_of_one_table_are_one_line() {
        let finding = |table: &str, what: &str| Finding {
            severity: Severity::Error,
            table: Some(table.to_owned()),
            column: None,
            what: what.to_owned(),
            remedy: "mend".to_owned(),
        };
        let gone = |name: &str| format!("the trigger {name} is gone: writes are not captured");
        let said: Vec<String> = folded(vec![
            finding("items", &gone("~rejoin_1_a")),
            finding("items", "a column that Rejoin needs is gone"),
            finding("items", &gone("~rejoin_1_b")),
            finding("items", "the trigger ~rejoin_1_c is disabled: writes are not captured"),
            finding("bins", &gone("~rejoin_2_a")),
        ])
        .into_iter()
        .map(|finding| format!("{}: {}", finding.table.unwrap(), finding.what))
        .collect();
        let expected = [
            "items: 2 triggers are gone: writes are not captured (-v names them)",
            "items: a column that Rejoin needs is gone",
            "items: the trigger ~rejoin_1_c is disabled: writes are not captured",
            "bins: the trigger ~rejoin_2_a is gone: writes are not captured",
        ];
        assert_eq!(said, expected);
    }
}
