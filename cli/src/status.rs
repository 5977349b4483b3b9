//! `rejoin status`: how a server stands.

use clap::Args;
use serde_json::Value;

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output::{self, cell};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rejoin status --data studio-2 --json")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: StatusArgs, json: bool) -> Result {
    let client = Client::find(&args.server)?;
    let mut status = client.get(&["api", "sync"], &[]).await?;
    if let Some(members) = status.as_object_mut() {
        members.insert("url".to_owned(), Value::String(client.url()));
    }
    print(&status, json)
}

/// Prints a sync status.
pub(crate) fn print(status: &Value, json: bool) -> Result {
    if json {
        return output::json(status);
    }
    let flag = |member: &str, yes: &str, no: &str| if status.get(member) == Some(&Value::Bool(true)) { yes } else { no }.to_owned();
    let last = status
        .get("lastRun")
        .filter(|run| !run.is_null())
        .map_or_else(|| "none".to_owned(), |run| format!("{} at {}", cell(run, "status"), cell(run, "completedAt")));
    let mut fields = vec![("server", cell(status, "server"))];
    if status.get("url").is_some() {
        fields.push(("url", cell(status, "url")));
    }
    if cell(status, "server") == "cloud" {
        fields.extend([
            ("open conflicts", cell(status, "conflicts")),
            ("last seen site", cell(status, "lastCheckedAt")),
            ("last run", last),
        ]);
        return output::fields(fields);
    }
    fields.extend([
        ("cloud", flag("online", "reachable", "not reachable")),
        ("daemon", if flag("paused", "paused", "") == "paused" { "paused".to_owned() } else { flag("running", "syncing", "waiting") }),
        ("edits not sent", format!("{} (oldest {})", cell(status, "pending"), cell(status, "oldestPendingAt"))),
        ("held inserts", cell(status, "held")),
        ("open conflicts", cell(status, "conflicts")),
        ("last checked", cell(status, "lastCheckedAt")),
        ("last run", last),
        ("next attempt", cell(status, "nextAttemptAt")),
        ("last error", cell(status, "lastError")),
    ]);
    let numbers = status.get("numbers").and_then(Value::as_array).into_iter().flatten();
    let numbers: Vec<_> = numbers.map(|one| format!("{} {} of {}", cell(one, "table"), cell(one, "left"), cell(one, "of"))).collect();
    for one in status.get("oneWay").and_then(Value::as_array).into_iter().flatten() {
        let way = match one.get("travel").and_then(Value::as_str) {
            Some("up") => ", goes up only: what is here was written here",
            Some("down") => ", comes down only: written at the cloud",
            _ => "",
        };
        let kept = one.get("keepHours").and_then(Value::as_u64).map_or_else(String::new, |hours| format!(", rows kept for {hours} h"));
        fields.push(("table", format!("{}{way}{kept}", cell(one, "table"))));
    }
    for one in status.get("lostPrograms").and_then(Value::as_array).into_iter().flatten() {
        fields.push((
            "gone from the file",
            format!("{} {}: {}. It was: {}", cell(one, "kind"), cell(one, "name"), cell(one, "why"), cell(one, "sql")),
        ));
    }
    if !numbers.is_empty() {
        fields.push(("numbers left", numbers.join(", ")));
    }
    output::fields(fields)
}
