//! `rejoin sync`: a site's daemon and its log.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::{Exit, Failure, Result};
use crate::{output, status};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin sync run --data studio-2\n  rejoin sync run --direction upload --data studio-2\n  \
    rejoin sync log --limit 5 --data studio-2 --json")]
pub(crate) struct SyncArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sync now and wait for the end
    Run {
        /// What to do
        #[arg(long, value_enum, default_value_t = Direction::Bidirectional)]
        direction: Direction,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop syncing by itself
    Pause {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Go on syncing by itself
    Resume {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// How the sync stands
    Status {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// The last runs
    Log {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only runs of this site (at the cloud)
        #[arg(long, value_name = "SITE")]
        site: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What a run does.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Direction {
    /// Push
    Upload,
    /// Pull
    Download,
    /// Push, then pull
    Bidirectional,
}

pub(crate) async fn run(args: SyncArgs, json: bool) -> Result {
    match args.action {
        Action::Run { direction, server } => {
            let direction = format!("{direction:?}").to_uppercase();
            let status = Client::find(&server)?.post(&["api", "sync", "run"], &json!({ "direction": direction })).await?;
            let ended = ended_well(&status);
            // A failure is told once: in the one line on stderr, which has the words of the status.
            if json || ended.is_ok() {
                status::print(&status, json)?;
            }
            ended
        }
        Action::Pause { server } => status::print(&Client::find(&server)?.post(&["api", "sync", "pause"], &json!({})).await?, json),
        Action::Resume { server } => status::print(&Client::find(&server)?.post(&["api", "sync", "resume"], &json!({})).await?, json),
        Action::Status { server } => status::print(&Client::find(&server)?.get(&["api", "sync"], &[]).await?, json),
        Action::Log { limit, site, server } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(site.map(|site| ("server", site)));
            let log = Client::find(&server)?.get(&["api", "sync", "log"], &query).await?;
            let members = [
                ("started", "startedAt"),
                ("server", "serverId"),
                ("direction", "syncDirection"),
                ("status", "status"),
                ("records", "recordsSynced"),
                ("conflicts", "conflictsDetected"),
                ("errors", "errors"),
            ];
            output::list(json, &log, &members)
        }
    }
}

/// A run asked for by hand that could not reach the cloud, or failed, must not look like success to a script.
fn ended_well(status: &Value) -> Result {
    let Some(why) = status.get("lastError").and_then(Value::as_str) else { return Ok(()) };
    let online = status.get("online").and_then(Value::as_bool).unwrap_or(true);
    if online {
        return Err(Failure::failed(why));
    }
    Err(Failure::new(Exit::Unreachable, format!("{why}; edits are safe at this site, which tries again by itself")))
}
