//! `rejoin policy`: what other policies would have made of the conflicts on record.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerArgs};
use crate::conflicts::filter::age;
use crate::exit::Result;
use crate::output::{self, cell};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rejoin policy try --since 30d sources.note=text equipment_specs.tags=union --data rejoin-cloud")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what the conflicts and losses on record would have become; changes nothing
    Try {
        /// Since when, as 24h or 30d, or a time
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
        since: DateTime<Utc>,
        /// A column and its policy: manual, cloud_wins, local_wins, newest, add, union, max, min, text or json
        #[arg(required = true, value_name = "TABLE.COLUMN=POLICY", value_parser = policy)]
        policies: Vec<(String, String)>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

fn policy(text: &str) -> std::result::Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((place, policy)) if place.contains('.') && !policy.is_empty() => Ok((place.to_owned(), policy.to_owned())),
        _ => Err("expected TABLE.COLUMN=POLICY".to_owned()),
    }
}

pub(crate) async fn run(args: PolicyArgs, json: bool) -> Result {
    let Action::Try { since, policies, server } = args.action;
    let policies: Map<String, Value> = policies.into_iter().map(|(place, policy)| (place, policy.into())).collect();
    let body = json!({ "since": since.to_rfc3339_opts(SecondsFormat::Secs, true), "policies": policies });
    let trial = Client::find(&server)?.post(&["api", "rejoin", "policies", "try"], &body).await?;
    if json { output::json(&trial) } else { told(&trial) }
}

fn told(trial: &Value) -> Result {
    output::fields([
        ("conflicts and losses", cell(trial, "lookedAt")),
        ("merged", cell(trial, "merged")),
        ("cloud wins", cell(trial, "cloudWins")),
        ("local wins", cell(trial, "localWins")),
        ("still parked", cell(trial, "parked")),
        ("not known", cell(trial, "unknown")),
    ])?;
    let examples = trial.get("examples").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if examples.is_empty() {
        return Ok(());
    }
    let row = |example: &Value| ["conflict", "column", "outcome", "value"].iter().map(|member| cell(example, member)).collect();
    output::table(&["conflict", "column", "outcome", "value"], examples.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_of_a_column() {
        assert_eq!(policy("public.sources.note=text").unwrap(), ("public.sources.note".into(), "text".into()));
        for wrong in ["note=text", "sources.note", "sources.note="] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }
}
