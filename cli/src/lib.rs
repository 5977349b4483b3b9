//! `rejoin`: the one binary, as a library, so that tests build it with fault points. One file per subcommand; `settings` and `client` are
//! what they share.

mod attach;
mod client;
mod cloud;
mod config_command;
mod conflicts;
mod demo;
mod detach;
mod doctor;
mod edits;
mod exit;
mod import;
mod logs;
mod migrate;
mod output;
mod policy;
mod schema;
mod settings;
mod signals;
mod site;
mod sites;
mod status;
mod sync;
mod tokens;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::{EXIT_CODES, Failure, Result};
use logs::LogFormat;

/// Offline-first sync: sites work on SQLite with the uplink cut, and rejoin through PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "rejoin", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    /// Settings file of the servers; else ./rejoin-server.toml, else /etc/rejoin/rejoin-server.toml
    #[arg(long, global = true, env = "REJOIN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on stderr; human on a terminal, json otherwise
    #[arg(long, global = true, env = "REJOIN_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cloud server
    Cloud(cloud::CloudArgs),
    /// Run a site's server: joins once, serves ever after
    Site(site::SiteArgs),
    /// Make an existing PostgreSQL database ready for sites, after a plan
    Attach(attach::AttachArgs),
    /// Take every trace of Rejoin out of a database
    Detach(detach::DetachArgs),
    /// Find what is wrong in a cloud's database, and mend what can be
    Doctor(doctor::DoctorArgs),
    /// See the whole path on a cloud and two sites made for it
    Demo(demo::DemoArgs),
    /// Manage the sites of a cloud
    Sites(sites::SitesArgs),
    /// Manage users
    Users(users::UsersArgs),
    /// Manage API tokens
    Tokens(tokens::TokensArgs),
    /// Run, pause and look at a site's sync
    Sync(sync::SyncArgs),
    /// List, show and decide conflicts, one or many; take decisions back
    Conflicts(conflicts::ConflictsArgs),
    /// List and export what was changed at a site and is not in the cloud yet
    Edits(edits::EditsArgs),
    /// See what other policies would have made of the conflicts on record
    Policy(policy::PolicyArgs),
    /// Load broadcast equipment from a file of JSON lines
    Import(import::ImportArgs),
    /// Show and run the migrations of a cloud's database
    Migrate(migrate::MigrateArgs),
    /// Foresee what a migration of your own would do to the sites
    Schema(schema::SchemaArgs),
    /// How a server stands
    Status(status::StatusArgs),
    /// Show and check the servers' settings
    Config(config_command::ConfigArgs),
}

/// The program: reads the command line, runs, and says by the exit code how it went.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything speaks TLS: there is no default provider without it. An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    logs::start(cli.log_format, cli.command.log_level());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::failed(error.to_string())),
    };
    match runtime.block_on(run(cli, &matches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    let _ = output::note(&format!("rejoin: {failure}"));
    failure.exit.into()
}

impl Command {
    /// What is logged where `RUST_LOG` says nothing: servers tell what they do, commands only what goes wrong.
    fn log_level(&self) -> &'static str {
        match self {
            Self::Cloud(_) | Self::Site(_) => "info",
            // What the demo's servers warn of is what the demo does to them.
            Self::Demo(_) => "error",
            _ => "warn",
        }
    }
}

async fn run(cli: Cli, matches: &ArgMatches) -> Result {
    let (json, config) = (cli.json, cli.config.as_ref());
    // The subcommand's own matches say which setting came from where.
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    match cli.command {
        // These stop in an orderly way by themselves.
        Command::Cloud(_) => cloud::run(matches, config, json).await,
        Command::Site(_) => site::run(matches, config, json).await,
        Command::Demo(args) => demo::run(args, json).await,
        Command::Config(args) => config_command::run(&args, config, json),
        command => signals::or_interrupted(client_command(command, matches, config, json)).await,
    }
}

/// The commands that do one thing and end.
async fn client_command(command: Command, matches: &ArgMatches, config: Option<&PathBuf>, json: bool) -> Result {
    match command {
        Command::Attach(args) => attach::run(args, matches, config, json).await,
        Command::Detach(args) => detach::run(args, matches, config, json).await,
        Command::Doctor(args) => doctor::run(args, matches, config, json).await,
        Command::Sites(args) => sites::run(args, json).await,
        Command::Users(args) => users::run(args, json).await,
        Command::Tokens(args) => tokens::run(args, json).await,
        Command::Sync(args) => sync::run(args, json).await,
        Command::Conflicts(args) => conflicts::run(args, json).await,
        Command::Edits(args) => edits::run(args, json).await,
        Command::Policy(args) => policy::run(args, json).await,
        Command::Import(args) => import::run(args, json).await,
        Command::Migrate(args) => migrate::run(args, matches, config, json).await,
        Command::Schema(args) => schema::run(args, matches, config, json).await,
        Command::Status(args) => status::run(args, json).await,
        Command::Cloud(_) | Command::Site(_) | Command::Demo(_) | Command::Config(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        assert_eq!(Exit::Interrupted as u8, 130);
    }
}
