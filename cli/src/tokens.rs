//! `rejoin tokens`: what programs sign in with.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rejoin tokens create 'rundown export' --user ada --data rejoin-cloud\n  rejoin tokens list --data rejoin-cloud"
)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it
    Create {
        /// What it is for
        label: String,
        /// Whose rights it has; else one's own
        #[arg(long)]
        user: Option<String>,
        /// Days until it runs out; else never
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in: Option<u32>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the tokens
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Revoke a token, from its next request on
    Revoke {
        /// The token's id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

const TOKENS: [&str; 3] = ["api", "rejoin", "tokens"];

pub(crate) async fn run(args: TokensArgs, json: bool) -> Result {
    match args.action {
        Action::Create { label, user, expires_in, server } => {
            let expires = expires_in.map(|days| chrono::Utc::now() + chrono::Duration::days(i64::from(days)));
            let body = json!({ "label": label, "user": user, "expiresAt": expires });
            let made = Client::find(&server)?.post(&TOKENS, &body).await?;
            if json {
                return output::json(&made);
            }
            output::note("token, shown once:")?;
            output::line(&output::cell(&made, "secret"))
        }
        Action::List { server } => {
            let tokens = Client::find(&server)?.get(&TOKENS, &[]).await?;
            output::list(
                json,
                &tokens,
                &[("id", "id"), ("user", "user"), ("label", "label"), ("made", "createdAt"), ("runs out", "expiresAt")],
            )
        }
        Action::Revoke { id, server } => {
            Client::find(&server)?.delete(&[TOKENS.as_slice(), &[&id]].concat()).await?;
            output::note(&format!("token {id} is revoked"))
        }
    }
}
