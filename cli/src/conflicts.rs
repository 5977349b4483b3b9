//! `rejoin conflicts`: the inbox and the decisions.

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::{Failure, Result};
use crate::output::{self, cell};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin conflicts list --data rejoin-cloud\n  rejoin conflicts show ID --data rejoin-cloud\n  \
    rejoin conflicts resolve ID --take local --data rejoin-cloud\n  \
    rejoin conflicts resolve ID --take manual --set note='Both' --set rate=50 --data rejoin-cloud")]
pub(crate) struct ConflictsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List conflicts, newest first
    List {
        /// Only of this resolution
        #[arg(long, value_enum, default_value_t = Shown::Pending)]
        resolution: Shown,
        /// Only of this site
        #[arg(long)]
        site: Option<String>,
        /// Only of this table
        #[arg(long)]
        table: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one: base, cloud and local side by side
    Show {
        /// The conflict's id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Decide one
    Resolve {
        /// The conflict's id
        id: String,
        /// Whose state is written
        #[arg(long, value_enum)]
        take: Take,
        /// With --take manual: a value to write, as JSON or plain text; may be repeated
        #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, Value)>,
        /// The revision that you saw; the decision is refused if there is a later one
        #[arg(long)]
        revision: Option<i64>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Which conflicts are listed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shown {
    Pending,
    CloudWins,
    LocalWins,
    Manual,
    All,
}

/// Whose state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Take {
    /// The cloud's state stays (CLOUD_WINS)
    Cloud,
    /// The site's edit is applied (LOCAL_WINS)
    Local,
    /// The values given with --set are written (MANUAL)
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

pub(crate) async fn run(args: ConflictsArgs, json: bool) -> Result {
    match args.action {
        Action::List { resolution, site, table, limit, server } => {
            let mut query = vec![("limit", limit.to_string())];
            match resolution {
                Shown::All => {}
                Shown::Pending => query.push(("resolution", "PENDING".to_owned())),
                Shown::CloudWins => query.push(("resolution", "CLOUD_WINS".to_owned())),
                Shown::LocalWins => query.push(("resolution", "LOCAL_WINS".to_owned())),
                Shown::Manual => query.push(("resolution", "MANUAL".to_owned())),
            }
            query.extend(site.map(|site| ("site", site)));
            query.extend(table.map(|table| ("table", table)));
            let list = Client::find(&server)?.get(&["api", "conflicts"], &query).await?;
            let members = [
                ("id", "id"),
                ("kind", "kind"),
                ("table", "tableName"),
                ("record", "recordId"),
                ("site", "site"),
                ("resolution", "resolution"),
                ("since", "createdAt"),
            ];
            output::list(json, &list, &members)
        }
        Action::Show { id, server } => {
            let conflict = Client::find(&server)?.get(&["api", "conflicts", &id], &[]).await?;
            if json { output::json(&conflict) } else { output::line(&side_by_side(&conflict)) }
        }
        Action::Resolve { id, take, set, revision, server } => {
            if (take == Take::Manual) == set.is_empty() {
                return Err(Failure::usage("--take manual needs --set FIELD=VALUE, and only --take manual takes any"));
            }
            let client = Client::find(&server)?;
            let seen = client.get(&["api", "conflicts", &id], &[]).await?;
            let resolved = resolve(&client, &seen, take, set.into_iter().collect(), revision).await?;
            if json {
                return output::json(&resolved);
            }
            let sent = if resolved.get("decidedNotSent") == Some(&Value::Bool(true)) { "decided, not sent yet" } else { "resolved" };
            output::line(&format!("{id} {sent}: {}", take.resolution()))
        }
    }
}

/// Resolves a conflict as it was seen: what it names is refused when something changed meanwhile.
pub(crate) async fn resolve(client: &Client, seen: &Value, take: Take, values: Map<String, Value>, revision: Option<i64>) -> Result<Value> {
    let mut body = json!({
        "resolution": take.resolution(),
        "cloudEtag": seen.get("cloudEtag"),
        "revision": revision.map_or_else(|| seen.get("revision").cloned().unwrap_or(Value::Null), Value::from),
    });
    if take == Take::Manual {
        body["values"] = Value::Object(values);
    }
    client.post(&["api", "conflicts", &cell(seen, "id"), "resolve"], &body).await
}

/// A conflict as a table: one line for each column, base, cloud and local side by side; clashing ones marked.
pub(crate) fn side_by_side(conflict: &Value) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "column", "base", "cloud", "local"]);
    let sides = ["baseData", "cloudData", "localData"].map(|side| conflict.get(side).and_then(Value::as_object));
    let mut names: Vec<&String> = Vec::new();
    for name in sides.iter().flatten().flat_map(|side| side.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let clashed: Vec<&str> =
        conflict.get("columns").map_or_else(Vec::new, |list| output::items(list).iter().filter_map(Value::as_str).collect());
    for name in names {
        let values = sides.map(|side| side.and_then(|side| side.get(name)).map_or_else(String::new, shown));
        // Columns that are the same everywhere tell nothing, but for two inserts: there it is the sameness that clashes.
        let same = sides[0].is_some() && values[1] == values[2] && (values[0] == values[1] || values[0].is_empty());
        if !same || clashed.contains(&name.as_str()) {
            let mark = if clashed.contains(&name.as_str()) { "!" } else { "" };
            let [base, cloud, local] = values;
            table.add_row([mark.to_owned(), name.clone(), base, cloud, local]);
        }
    }
    let of = |member: &str| cell(conflict, member);
    format!(
        "{} {} of {} {} at {}: {}\nrevision {}, cloud ETag {}, {}\n{table}",
        of("id"),
        of("kind"),
        of("tableName"),
        of("recordId"),
        of("site"),
        of("reason"),
        of("revision"),
        of("cloudEtag"),
        of("resolution"),
    )
}

/// A value as it stands in a column: text bare, the rest as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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

    #[test]
    fn the_three_sides_stand_side_by_side_and_what_clashed_is_marked() {
        let shown = side_by_side(&json!({"id":"7","kind":"update_update","columns":["note"],
            "baseData":{"note":"old"},"cloudData":{"id":1,"note":"cloud's","name":"n"},"localData":{"id":1,"note":"mine","name":"n"}}));
        let row = shown.lines().find(|line| line.contains("note")).unwrap();
        assert!(["!", "old", "cloud's", "mine"].iter().all(|part| row.contains(part)), "{row}");
        assert!(!shown.contains("name"), "what is the same on all sides is left out: {shown}");
    }
}
