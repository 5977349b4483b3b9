//! `rejoin conflicts`: the inbox and the decisions.

mod decide;
pub(crate) mod filter;
mod view;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output;
pub(crate) use decide::{How, Take, resolve};
use decide::{ResolveArgs, UndoArgs};
use filter::{FilterArgs, Shown};
pub(crate) use view::side_by_side;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rejoin conflicts groups --data rejoin-cloud\n  rejoin conflicts list --site studio-2 --data rejoin-cloud\n  \
    rejoin conflicts show ID --data rejoin-cloud\n  rejoin conflicts resolve ID --local --data rejoin-cloud"
)]
pub(crate) struct ConflictsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List conflicts, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// In which order
        #[arg(long, value_enum, default_value_t = Order::Newest)]
        sort: Order,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The inbox: conflicts of one cause as one line
    Groups {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// How many there are, by kind, table, site and resolution
    Counts {
        /// Of this resolution
        #[arg(long, value_enum, default_value_t = Shown::Pending)]
        resolution: Shown,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one: what happened; base, cloud and local side by side; what hangs from it; the row's history
    Show {
        /// The conflict's id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Decide one, or with --all every open one of a filter
    Resolve(Box<ResolveArgs>),
    /// Take a decision back, as long as nobody has edited since
    Undo(UndoArgs),
}

/// Which conflicts, and how many of them.
#[derive(Debug, Args)]
struct Which {
    /// Of this resolution
    #[arg(long, value_enum, default_value_t = Shown::Pending)]
    resolution: Shown,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    filter: FilterArgs,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    Newest,
    Oldest,
    Record,
    Site,
}

impl Which {
    fn parameters(self) -> Result<Vec<(&'static str, String)>> {
        let mut parameters = filter::parameters(&self.filter.filter(self.resolution))?;
        parameters.push(("limit", self.limit.to_string()));
        Ok(parameters)
    }
}

pub(crate) async fn run(args: ConflictsArgs, json: bool) -> Result {
    match args.action {
        Action::List { which, sort, server } => {
            let mut query = which.parameters()?;
            query.push(("sort", format!("{sort:?}").to_lowercase()));
            let members = [
                ("id", "id"),
                ("kind", "kind"),
                ("table", "tableName"),
                ("record", "recordId"),
                ("columns", "columns"),
                ("site", "site"),
                ("standing", "standing"),
                ("since", "createdAt"),
            ];
            let list = Client::find(&server)?.get(&["api", "conflicts"], &query).await?;
            if json {
                return output::list(json, &list, &members);
            }
            let standing = |conflict: &Value| {
                let mut conflict = conflict.clone();
                conflict["standing"] = view::standing_briefly(&conflict).into();
                conflict
            };
            output::list(json, &output::items(&list).iter().map(standing).collect(), &members)
        }
        Action::Groups { which, server } => {
            let list = Client::find(&server)?.get(&["api", "conflicts", "groups"], &which.parameters()?).await?;
            let members = [
                ("group", "id"),
                ("conflicts", "conflicts"),
                ("dependents", "dependents"),
                ("kind", "kind"),
                ("table", "tableName"),
                ("columns", "columns"),
                ("site", "site"),
                ("first", "firstAt"),
                ("last", "lastAt"),
            ];
            output::list(json, &list, &members)
        }
        Action::Counts { resolution, filter, server } => {
            let query = filter::parameters(&filter.filter(resolution))?;
            let counts = Client::find(&server)?.get(&["api", "conflicts", "counts"], &query).await?;
            if json { output::json(&counts) } else { told(&counts) }
        }
        Action::Show { id, server } => {
            let conflict = Client::find(&server)?.get(&["api", "conflicts", &id], &[]).await?;
            if json { output::json(&conflict) } else { output::line(&view::whole(&conflict)) }
        }
        Action::Resolve(args) => decide::run(*args, json).await,
        Action::Undo(args) => decide::undo(args, json).await,
    }
}

fn told(counts: &Value) -> Result {
    let mut rows = vec![vec!["all".to_owned(), "-".to_owned(), output::cell(counts, "total")]];
    for (what, member) in [("kind", "byKind"), ("table", "byTable"), ("site", "bySite"), ("resolution", "byResolution")] {
        let members = counts.get(member).and_then(Value::as_object).into_iter().flatten();
        rows.extend(members.map(|(name, count)| vec![what.to_owned(), name.clone(), count.to_string()]));
    }
    output::table(&["by", "name", "conflicts"], rows)
}
