//! `rejoin sites`: who may join, and what each holds.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::Result;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    rejoin sites add studio-2 --scope productions/0198f1c2-... --data rejoin-cloud\n  \
    rejoin sites add truck --scope '*' --data rejoin-cloud\n  \
    rejoin sites scopes truck drop productions/0198f1c2-... --data rejoin-cloud")]
pub(crate) struct SitesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a site and print its single-use token
    Add {
        /// The site's name
        name: String,
        /// What it holds: TABLE/ID of a root row, or '*' for everything; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the sites
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print a further single-use token: for a site that lost its key, or comes back
    Token {
        /// The site's name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Shut a site out, from its next request on
    Revoke {
        /// The site's name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give a site a scope, or take one away
    Scopes {
        /// The site's name
        name: String,
        /// What to do
        #[arg(value_enum)]
        change: ScopeChange,
        /// TABLE/ID of a root row, or '*'
        scope: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What becomes of a scope.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ScopeChange {
    /// The site gets its rows with the next pull
    Add,
    /// Its rows leave the site once the pending edits of them are in
    Drop,
}

const SITES: [&str; 3] = ["api", "rejoin", "sites"];

pub(crate) async fn run(args: SitesArgs, json: bool) -> Result {
    match args.action {
        Action::Add { name, scopes, server } => {
            let client = Client::find(&server)?;
            let invited = client.post(&SITES, &json!({ "name": name, "scopes": scopes })).await?;
            invitation(&client, &invited, json)
        }
        Action::Token { name, server } => {
            let client = Client::find(&server)?;
            let invited = client.post(&[SITES.as_slice(), &[&name, "token"]].concat(), &json!({})).await?;
            invitation(&client, &invited, json)
        }
        Action::List { server } => {
            let mut sites = Client::find(&server)?.get(&SITES, &[]).await?;
            if !json {
                show_catalogs(&mut sites);
            }
            let members = [
                ("site", "name"),
                ("scopes", "scopes"),
                ("joined", "enrolled"),
                ("last seen", "lastSeenAt"),
                ("catalog", "catalog"),
                ("conflicts", "conflicts"),
                ("revoked", "revokedAt"),
            ];
            output::list(json, &sites, &members)
        }
        Action::Revoke { name, server } => {
            Client::find(&server)?.delete(&[SITES.as_slice(), &[&name]].concat()).await?;
            output::note(&format!("{name} is shut out"))
        }
        Action::Scopes { name, change, scope, server } => {
            let client = Client::find(&server)?;
            let path = [SITES.as_slice(), &[&name, "scopes"]].concat();
            match change {
                ScopeChange::Add => client.post(&path, &json!({ "scope": scope })).await?,
                ScopeChange::Drop => client.delete(&[path.as_slice(), &[&scope]].concat()).await?,
            };
            let verb = if matches!(change, ScopeChange::Add) { "gets" } else { "gives up, once its pending edits are in," };
            output::note(&format!("{name} {verb} {scope}"))
        }
    }
}

/// The catalog of the copy that came last; a dash where none has spoken yet.
fn show_catalogs(sites: &mut Value) {
    for site in sites.as_array_mut().into_iter().flatten() {
        let newest = site["replicas"].as_array().and_then(|replicas| replicas.last());
        let catalog = newest.and_then(|replica| replica["catalog"].as_i64()).filter(|catalog| *catalog > 0);
        site["catalog"] = json!(catalog);
    }
}

/// The token goes to stdout alone, so that a script can take it.
fn invitation(client: &Client, invited: &Value, json: bool) -> Result {
    if json {
        return output::json(invited);
    }
    let (name, until) = (output::cell(invited, "name"), output::cell(invited, "expiresAt"));
    output::note(&format!("{name} joins once with this token, until {until}:"))?;
    output::line(&output::cell(invited, "token"))?;
    output::note(&format!("for example: rejoin site --data {name} --cloud {} --token TOKEN", client.url()))
}
