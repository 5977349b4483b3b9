//! `rejoin edits`: what was changed at a site and is not in the cloud as it is there.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output::{self, cell};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin edits --data studio-2\n  rejoin edits --state parked --by ada --data studio-2\n  \
    rejoin edits --ndjson --data studio-2 > not-in-the-cloud.ndjson")]
pub(crate) struct EditsArgs {
    /// Only those that stand here
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only of this table (path or name)
    #[arg(long)]
    table: Option<String>,
    /// Only of this record, with --table
    #[arg(long, value_name = "ID", requires = "table")]
    record: Option<String>,
    /// Only by this user
    #[arg(long, value_name = "USER")]
    by: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with = "ndjson")]
    limit: u32,
    /// All of them with their values, one JSON object a line
    #[arg(long)]
    ndjson: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Where an edit stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Only at this site so far
    Waiting,
    /// Sent, not answered yet
    Sent,
    /// An insert that the cloud could not take
    Held,
    /// Kept in a conflict
    Parked,
    /// In the cloud as it is here; with --record
    Cloud,
}

pub(crate) async fn run(args: EditsArgs, json: bool) -> Result {
    let mut query: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
    add("state", args.state.map(|state| format!("{state:?}").to_lowercase()));
    add("table", args.table);
    add("record", args.record);
    add("by", args.by);
    let client = Client::find(&args.server)?;
    let path = ["api", "rejoin", "edits"];
    if args.ndjson {
        query.push(("format", "ndjson".to_owned()));
        return client.get_lines(&path, &query, |edit| output::json(&edit)).await;
    }
    query.push(("limit", args.limit.to_string()));
    let list = client.get(&path, &query).await?;
    if json {
        return output::json(&output::items(&list));
    }
    let row = |edit: &Value| {
        let columns: Vec<&str> =
            edit.get("changes").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let of = |member: &str| cell(edit, member);
        vec![of("state"), of("op"), of("tableName"), of("recordId"), columns.join(" "), of("editedAt"), of("editedBy"), of("conflict")]
    };
    output::table(&["state", "op", "table", "record", "columns", "edited", "by", "conflict"], output::items(&list).iter().map(row))?;
    if list.get("hasMore") == Some(&Value::Bool(true)) { output::note("there are more: --limit, or --ndjson for all") } else { Ok(()) }
}
