//! `rejoin users`: who signs in, and as what.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin users add ada --role editor --data rejoin-cloud\n  rejoin users reset ada --data rejoin-cloud")]
pub(crate) struct UsersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user and print a one-time sign-in secret
    Add {
        /// The name
        name: String,
        /// What the user may
        #[arg(long, value_enum, default_value_t = Role::Viewer)]
        role: Role,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the users
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print a new one-time sign-in secret; the old password ends
    Reset {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Refuse a user's sign-ins, sessions and tokens
    Disable {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a disabled user in again
    Enable {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove a user with sessions and tokens
    Remove {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What a user may.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Read
    Viewer,
    /// Read, write, run syncs
    Editor,
    /// All of it: conflicts, sites, users
    Admin,
}

const USERS: [&str; 3] = ["api", "rejoin", "users"];

pub(crate) async fn run(args: UsersArgs, json: bool) -> Result {
    match args.action {
        Action::Add { name, role, server } => {
            let role = format!("{role:?}").to_lowercase();
            let made = Client::find(&server)?.post(&USERS, &json!({ "name": name, "role": role })).await?;
            one_time(&made, json)
        }
        Action::List { server } => {
            let users = Client::find(&server)?.get(&USERS, &[]).await?;
            output::list(json, &users, &[("user", "name"), ("role", "role"), ("disabled", "disabled")])
        }
        Action::Reset { name, server } => {
            let made = Client::find(&server)?.post(&[USERS.as_slice(), &[&name, "reset"]].concat(), &json!({})).await?;
            one_time(&made, json)
        }
        Action::Disable { name, server } => set_disabled(&Client::find(&server)?, &name, true).await,
        Action::Enable { name, server } => set_disabled(&Client::find(&server)?, &name, false).await,
        Action::Remove { name, server } => {
            Client::find(&server)?.delete(&[USERS.as_slice(), &[&name]].concat()).await?;
            output::note(&format!("{name} is removed"))
        }
    }
}

async fn set_disabled(client: &Client, name: &str, disabled: bool) -> Result {
    client.patch(&[USERS.as_slice(), &[name]].concat(), &json!({ "disabled": disabled })).await?;
    output::note(&format!("{name} is {}", if disabled { "disabled" } else { "enabled" }))
}

fn one_time(made: &Value, json: bool) -> Result {
    if json {
        return output::json(made);
    }
    output::note("one-time sign-in secret, shown once:")?;
    output::line(&output::cell(made, "oneTimeSecret"))
}
