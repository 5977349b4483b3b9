//! `rejoin config`: what a server would start with, and from where.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cloud::CloudArgs;
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::settings::{Fault, Settings, SettingsFile, is_secret};
use crate::site::SiteArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin config check --config rejoin-server.toml\n  rejoin config show site --json")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print each setting with its value and where it comes from
    Show {
        /// Only of this server
        #[arg(value_enum)]
        server: Option<Server>,
    },
    /// Report each wrong setting; exits with 3 if there is any
    Check,
}

/// A server that has settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    Cloud,
    Site,
}

impl Server {
    fn section(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Site => "site",
        }
    }

    /// Its settings as the environment and the file give them.
    fn resolve(self, file: &SettingsFile) -> std::result::Result<Settings, Vec<Fault>> {
        Settings::resolve(self.section(), &self.matches(), file)
    }

    /// Every one that is wrong.
    fn check(self, file: &SettingsFile) -> Vec<Fault> {
        Settings::check(self.section(), &self.matches(), file)
    }

    /// The environment's, since there are no flags.
    fn matches(self) -> ArgMatches {
        let command = match self {
            Self::Cloud => CloudArgs::augment_args(clap::Command::new("cloud")),
            Self::Site => SiteArgs::augment_args(clap::Command::new("site")),
        };
        command.get_matches_from([self.section()])
    }
}

pub(crate) fn run(args: &ConfigArgs, config: Option<&PathBuf>, json: bool) -> Result {
    let file = SettingsFile::find(config)?;
    match args.action {
        Action::Show { server } => {
            let servers = server.map_or_else(|| vec![Server::Cloud, Server::Site], |server| vec![server]);
            show(&servers, &file, json)
        }
        Action::Check => check(&file, json),
    }
}

fn show(servers: &[Server], file: &SettingsFile, as_json: bool) -> Result {
    let mut shown = serde_json::Map::new();
    let mut rows = Vec::new();
    for server in servers {
        let settings = server.resolve(file).map_err(|faults| wrong(&faults))?;
        for (key, value, origin) in settings.iter() {
            let name = format!("{}.{key}", server.section());
            let value = match value {
                Some(_) if is_secret(server.section(), key) => Some("(hidden)".to_owned()),
                value => value.map(ToString::to_string),
            };
            rows.push(vec![name.clone(), value.clone().unwrap_or_else(|| "-".to_owned()), origin.to_string()]);
            shown.insert(name, json!({ "value": value, "origin": origin.to_string() }));
        }
    }
    if as_json { output::json(&Value::Object(shown)) } else { output::table(&["setting", "value", "origin"], rows) }
}

fn check(file: &SettingsFile, json: bool) -> Result {
    let mut faults = file.unknown();
    for server in [Server::Cloud, Server::Site] {
        faults.extend(server.check(file));
    }
    if json {
        let list: Vec<_> = faults.iter().map(|fault| json!({ "origin": fault.origin.to_string(), "what": fault.what })).collect();
        output::json(&json!({ "valid": faults.is_empty(), "faults": list }))?;
    } else {
        for fault in &faults {
            output::line(&fault.to_string())?;
        }
    }
    if !faults.is_empty() {
        return Err(Failure::new(Exit::Config, format!("{} wrong settings", faults.len())));
    }
    let place = file.path().map_or_else(|| "there is no settings file".to_owned(), |path| path.display().to_string());
    if json { Ok(()) } else { output::line(&format!("the settings are sound ({place})")) }
}

fn wrong(faults: &[Fault]) -> Failure {
    Failure::new(Exit::Config, faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
