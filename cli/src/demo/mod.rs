//! `rejoin demo`: the whole path in one command, on real servers and real databases, and nothing left behind.

mod data;
mod decide;
mod direct;
mod edits;
mod link;
mod proof;
mod stage;
mod tell;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure, Result};
use crate::import::{self, Import, ImportRow};
use crate::signals;
use data::{Dice, Production};
use edits::Slot;
use proof::Proof;
use stage::Stage;
use tell::Tell;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rejoin demo                     # tells the story, then leaves the servers up until Ctrl-C\n  \
    rejoin demo --once --json       # runs through; stdout is one line, the result\n  \
    rejoin demo --once --json --import broadcast-equipment.ndjson\n\n\
    Exits with 6 if cloud and sites are not equal in the end.")]
pub(crate) struct DemoArgs {
    /// Run through and stop everything
    #[arg(long)]
    once: bool,
    /// Tell the story with --once --json also where stderr is no terminal
    #[arg(long)]
    verbose: bool,
    /// Equipment to load (see `rejoin import`); else a small set of the demo's own
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// What the production is made up from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How many kinds of conflicts there are; the story has one of each.
const KINDS: usize = 9;

/// The equipment where no file is given: an excerpt of a real catalog.
const EQUIPMENT: &str = include_str!("equipment.ndjson");

pub(crate) async fn run(args: DemoArgs, json: bool) -> Result {
    let tell = Tell::new(json, args.once && !args.verbose);
    let equipment = match &args.import {
        Some(path) => {
            let bar = import::bar();
            let import = import::read(path, &bar);
            bar.finish_and_clear();
            import?
        }
        None => import::read_text(EQUIPMENT).map_err(Failure::failed)?,
    };
    let slot = free_slot(&equipment)?;
    let mut dice = Dice::new(args.seed);
    let made = Production::make(&mut dice);
    tell.act("A cloud on PostgreSQL and two sites on SQLite")?;
    let stage = signals::or_interrupted(Stage::start(&equipment.rows, &made, &tell)).await?;
    // A signal ends the story, not the clearing away.
    let told = signals::or_interrupted(story(&stage, &made, slot, &mut dice, &tell)).await;
    let told = match told {
        Ok(()) if !args.once => leave_up(&stage, &tell).await,
        told => told,
    };
    let cleared = signals::unless_again(stage.stop()).await?;
    told.and(cleared)
}

async fn story(stage: &Stage, made: &Production, slot: Slot, dice: &mut Dice, tell: &Tell) -> Result {
    let first = proof::converge(stage).await?;
    tell.line(&format!("both sites hold the {} rows of the cloud", first.digests[0].rows))?;

    tell.act("The link is cut, and everybody goes on working")?;
    stage.cut();
    let expected = edits::make(stage, made, slot, dice, tell).await?;
    stage.see_offline(tell).await?;

    tell.act("The link is back: the sites rejoin")?;
    stage.mend();
    let rejoined = proof::converge(stage).await?;
    let (parked, _) = decide::counts(&stage.cloud.client).await?;
    tell.line(&format!("{} rows everywhere alike, {parked} conflicts parked", rejoined.digests[0].rows))?;
    for row in rejoined.held(stage) {
        tell.line(&format!("held until it is decided: {row}"))?;
    }

    tell.act("The conflicts, one of each kind, decided")?;
    decide::all(&stage.cloud.client, slot, tell).await?;

    tell.act("Proof")?;
    let end = proof::converge(stage).await?;
    let merged = proof::check(stage, &expected).await?;
    tell.line(&format!("{} edits found on all three servers, {merged} rows merged, none lost, none twice", expected.len()))?;
    result(stage, &end, merged, tell).await
}

/// The result: the last line with `--json`. It fails where anything of it does not hold.
async fn result(stage: &Stage, end: &Proof, merged: usize, tell: &Tell) -> Result {
    let (parked, resolved) = decide::counts(&stage.cloud.client).await?;
    let kinds = decide::kinds(&stage.cloud.client).await?;
    let [cloud, site_a, site_b] = &end.digests;
    let converged = end.equal();
    tell.result(&json!({
        "converged": converged,
        "sites": 2,
        "rows": cloud.rows,
        "merged": merged,
        "parked": parked,
        "kinds": kinds,
        "resolved": resolved,
        "held": end.held(stage).len(),
        "digests": { "cloud": cloud.digest, "site-a": site_a.digest, "site-b": site_b.digest },
    }))?;
    if !converged {
        return Err(Failure::new(Exit::Check, format!("cloud and sites differ in {}", end.differing().join(", "))));
    }
    if kinds.len() != KINDS || kinds.values().any(|count| *count != 1) {
        return Err(Failure::failed(format!("not one conflict of each kind: {kinds:?}")));
    }
    if resolved != json!({ "CLOUD_WINS": 4, "LOCAL_WINS": 2, "MANUAL": 3 }) {
        return Err(Failure::failed(format!("the conflicts were not decided as told: {resolved}")));
    }
    Ok(())
}

async fn leave_up(stage: &Stage, tell: &Tell) -> Result {
    tell.act("The servers stay up until Ctrl-C; then everything is removed")?;
    stage.show(tell)?;
    stage.resume().await?;
    signals::stop().await
}

/// A slot that no card is in: the one after the last of the first equipment that has any.
fn free_slot(equipment: &Import) -> Result<Slot> {
    let of_table = |table: &'static str| equipment.rows.iter().filter(move |row| row.table == table);
    let id = |row: &ImportRow, column: &str| row.values.get(column).and_then(|id| id.as_str()).and_then(|id| id.parse().ok());
    let first = of_table("equipment_cards").find_map(|row| id(row, "equipment_id"));
    let equipment_id = first.or_else(|| of_table("equipment_specs").find_map(|row| id(row, "id")));
    let Some(equipment) = equipment_id else { return Err(Failure::usage("the file holds no equipment")) };
    let taken = of_table("equipment_cards").filter(|row| id(row, "equipment_id") == Some(equipment)).count();
    Ok(Slot { equipment, number: taken as u64 + 1 })
}
