//! Decisions: on one conflict, on all of a filter, and back again.

use std::time::Duration;

use clap::Args;
use conflict_ui_api::backend::BulkOutcome;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::filter::{self, FilterArgs, Shown};
use super::view::standing;
use crate::client::{Client, ServerArgs};
use crate::exit::{Exit, Failure, Result};
use crate::output::{self, cell};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["id", "all"]))]
#[command(group = clap::ArgGroup::new("decision").required(true).args(["cloud", "local", "manual"]))]
#[command(after_help = "Examples:\n  rejoin conflicts resolve ID --cloud --data rejoin-cloud\n  \
    rejoin conflicts resolve ID --manual note='Both' rate=50 --data rejoin-cloud\n  \
    rejoin conflicts resolve ID --local --same-row --data rejoin-cloud\n  \
    rejoin conflicts resolve --all --table sources --site studio-2 --older-than 7d --cloud --dry-run --data rejoin-cloud")]
pub(super) struct ResolveArgs {
    /// The conflict's id
    id: Option<String>,
    /// The cloud's state stays (CLOUD_WINS)
    #[arg(long)]
    cloud: bool,
    /// The site's edit is applied (LOCAL_WINS)
    #[arg(long)]
    local: bool,
    /// These values are written (MANUAL), as JSON or plain text
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment, num_args = 1.., conflicts_with = "all")]
    manual: Vec<(String, Value)>,
    /// The site's row and the cloud's row with the same unique value are one
    #[arg(long, conflicts_with = "all")]
    same_row: bool,
    /// The digest of the rows that `show` lists as changing besides
    #[arg(long, value_name = "DIGEST", conflicts_with = "all")]
    besides: Option<String>,
    /// The revision that you saw; the decision is refused if there is a later one
    #[arg(long, conflicts_with = "all")]
    revision: Option<i64>,
    /// Decide all open conflicts that the conditions below pick
    #[arg(long)]
    all: bool,
    /// With --all: only say what would happen
    #[arg(long, requires = "all")]
    dry_run: bool,
    /// With --all: all of them or none
    #[arg(long, requires = "all")]
    all_or_nothing: bool,
    /// With --all: refuse if there are more or fewer than this
    #[arg(long, value_name = "NUMBER", requires = "all")]
    expected: Option<u64>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Whose state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// The cloud's state stays.
    Cloud,
    /// The site's edit is applied.
    Local,
    /// The values given are written.
    Manual,
}

impl Take {
    /// The resolution's name.
    pub(crate) fn resolution(self) -> &'static str {
        match self {
            Self::Cloud => "CLOUD_WINS",
            Self::Local => "LOCAL_WINS",
            Self::Manual => "MANUAL",
        }
    }
}

/// Reads `field=value`: the value as JSON where it is any, else as text.
fn assignment(text: &str) -> std::result::Result<(String, Value), String> {
    let (field, value) = text.split_once('=').filter(|(field, _)| !field.is_empty()).ok_or("expected FIELD=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((field.to_owned(), value))
}

pub(super) async fn run(args: ResolveArgs, json: bool) -> Result {
    let take = match (args.cloud, args.local) {
        (true, _) => Take::Cloud,
        (_, true) => Take::Local,
        _ => Take::Manual,
    };
    match args.id.clone() {
        Some(id) => one(args, &id, take, json).await,
        None => many(args, take, json).await,
    }
}

async fn one(args: ResolveArgs, id: &str, take: Take, json: bool) -> Result {
    // clap asks for nothing that the id rules out.
    if args.filter != FilterArgs::default() || args.dry_run || args.all_or_nothing || args.expected.is_some() {
        return Err(Failure::usage("conditions, --dry-run, --all-or-nothing and --expected go with --all, and not with one conflict's id"));
    }
    let client = Client::find(&args.server)?;
    let seen = client.get(&["api", "conflicts", id], &[]).await?;
    let others = seen.get("besidesTotal").and_then(Value::as_u64).unwrap_or(0);
    if take == Take::Local && others > 0 && args.besides.is_none() {
        let digest = cell(&seen, "besidesDigest");
        let message =
            format!("this changes {others} rows besides: look at them with `rejoin conflicts show {id}` and name --besides {digest}");
        return Err(Failure::new(Exit::Conflict, message));
    }
    let how = How { revision: args.revision, same_row: args.same_row, besides: args.besides };
    let resolved = resolve(&client, &seen, take, args.manual.into_iter().collect(), how).await?;
    if json { output::json(&resolved) } else { output::line(&format!("{id}: {}", standing(&resolved))) }
}

/// What a decision says besides whose state is written.
#[derive(Debug, Default)]
pub(crate) struct How {
    /// The revision that was seen, where it is another one than that of the conflict read.
    pub(crate) revision: Option<i64>,
    /// Whether both rows are one.
    pub(crate) same_row: bool,
    /// The digest of the rows that change besides.
    pub(crate) besides: Option<String>,
}

/// Resolves a conflict as it was seen: what it names is refused when something changed meanwhile.
pub(crate) async fn resolve(client: &Client, seen: &Value, take: Take, values: Map<String, Value>, how: How) -> Result<Value> {
    let mut body = json!({
        "resolution": take.resolution(),
        "cloudEtag": seen.get("cloudEtag"),
        "revision": how.revision.map_or_else(|| seen.get("revision").cloned().unwrap_or(Value::Null), Value::from),
        "besides": how.besides,
    });
    if take == Take::Manual {
        body["values"] = Value::Object(values);
    }
    if how.same_row {
        body["way"] = "same_row".into();
    }
    client.post(&["api", "conflicts", &cell(seen, "id"), "resolve"], &body).await
}

async fn many(args: ResolveArgs, take: Take, json: bool) -> Result {
    let client = Client::find(&args.server)?;
    let filter = args.filter.filter(Shown::Pending);
    let body = json!({
        "filter": filter::body(&filter)?,
        "resolution": take.resolution(),
        "dryRun": args.dry_run,
        "allOrNothing": args.all_or_nothing,
        "expected": args.expected,
    });
    // Silent where stderr is no terminal.
    let bar = ProgressBar::no_length();
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} conflicts, {elapsed}").map_err(|error| Failure::failed(error.to_string()))?;
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut last = Value::Null;
    let sent = client.post_lines(&["api", "conflicts", "resolve"], &body, |line| {
        match (line.get("done").and_then(Value::as_u64), line.get("of").and_then(Value::as_u64)) {
            (Some(done), Some(of)) => {
                bar.set_length(of);
                bar.set_position(done);
            }
            _ => last = line,
        }
        Ok(())
    });
    let sent = sent.await;
    bar.finish_and_clear();
    sent?;
    let outcome: BulkOutcome = serde_json::from_value(last)
        .map_err(|_| Failure::new(Exit::Unreachable, "the server broke off: look at what is open, and decide the rest again"))?;
    if json {
        output::json(&outcome)?;
    } else {
        told(&outcome, take)?;
    }
    match outcome.refused {
        0 => Ok(()),
        refused => Err(Failure::new(Exit::Conflict, format!("{refused} of {} conflicts were not decided", outcome.matched))),
    }
}

fn told(outcome: &BulkOutcome, take: Take) -> Result {
    let verb = if outcome.dry_run { "would be" } else { "were" };
    output::line(&format!("{} of {} conflicts {verb} decided {}", outcome.resolved, outcome.matched, take.resolution()))?;
    for reason in &outcome.reasons {
        output::line(&format!("  {} not: {} (as {})", reason.conflicts, reason.reason, reason.example))?;
    }
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rejoin conflicts undo ID --data rejoin-cloud")]
pub(super) struct UndoArgs {
    /// The conflict's id
    id: String,
    /// The revision that you saw
    #[arg(long)]
    revision: Option<i64>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn undo(args: UndoArgs, json: bool) -> Result {
    let client = Client::find(&args.server)?;
    let seen = client.get(&["api", "conflicts", &args.id], &[]).await?;
    let revision = args.revision.map_or_else(|| seen.get("revision").cloned().unwrap_or(Value::Null), Value::from);
    let open = client.post(&["api", "conflicts", &args.id, "undo"], &json!({ "revision": revision })).await?;
    if json { output::json(&open) } else { output::line(&format!("{}: {}", args.id, standing(&open))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_where_it_is_any() {
        assert_eq!(assignment("rate=50").unwrap(), ("rate".into(), json!(50)));
        assert_eq!(assignment("note=a=b").unwrap(), ("note".into(), json!("a=b")));
        assert_eq!(assignment("note=null").unwrap(), ("note".into(), Value::Null));
        assert!(assignment("=1").is_err());
        assert!(assignment("note").is_err());
    }
}
