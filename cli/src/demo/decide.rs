//! The conflicts of the demo: shown, and one decided in each way.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::edits::{ALLOWED_RATE, RESCUED_NOTE, Slot};
use super::tell::Tell;
use crate::client::Client;
use crate::conflicts::{How, Take, resolve, side_by_side};
use crate::exit::{Failure, Result};
use crate::output::{cell, items};

/// Shows what is parked and decides it.
pub(crate) async fn all(cloud: &Client, slot: Slot, tell: &Tell) -> Result {
    let open = cloud.get(&["api", "conflicts"], &[("resolution", "PENDING".to_owned())]).await?;
    for conflict in items(&open) {
        // The list may be in short; the decision is made on the conflict as it is now.
        let conflict = cloud.get(&["api", "conflicts", &cell(conflict, "id")], &[]).await?;
        tell.block(&side_by_side(&conflict))?;
        let (take, values, why) = decision(&conflict, slot)?;
        resolve(cloud, &conflict, take, values, How::default()).await?;
        tell.line(&format!("decided {}: {why}", take.resolution()))?;
    }
    Ok(())
}

fn decision(conflict: &Value, slot: Slot) -> Result<(Take, Map<String, Value>, &'static str)> {
    let kind = cell(conflict, "kind");
    match kind.as_str() {
        "update_update" => Ok((Take::Local, Map::new(), "the people at site-a stand before the rack")),
        "delete_update" => Ok((Take::Cloud, Map::new(), "the output is in use, so it stays")),
        "update_delete" => Ok((Take::Local, Map::new(), "the send is needed after all")),
        "insert_insert" => Ok((Take::Cloud, Map::new(), "the cloud's source was there first")),
        "foreign_key" => Ok((Take::Cloud, Map::new(), "what it hung from is gone")),
        "rejected" => Ok((Take::Cloud, Map::new(), "equipment is kept at the cloud")),
        "check" => Ok((Take::Manual, values(json!({ "rate": ALLOWED_RATE })), "as fast as the rule allows")),
        "schema" => Ok((Take::Manual, values(json!({ "note": RESCUED_NOTE })), "the value moves into the note")),
        "unique" => Ok((Take::Manual, values(json!({ "slotNumber": slot.number + 1 })), "the second card goes into the next slot")),
        _ => Err(Failure::failed(format!("an unexpected conflict of kind {kind}: {}", cell(conflict, "reason")))),
    }
}

fn values(json: Value) -> Map<String, Value> {
    if let Value::Object(values) = json { values } else { Map::new() }
}

/// How many conflicts there were of each kind.
pub(crate) async fn kinds(cloud: &Client) -> Result<BTreeMap<String, usize>> {
    let all = cloud.get(&["api", "conflicts"], &[("limit", "1000".to_owned())]).await?;
    let mut kinds = BTreeMap::new();
    for conflict in items(&all) {
        *kinds.entry(cell(conflict, "kind")).or_default() += 1;
    }
    Ok(kinds)
}

/// How many conflicts there were, and how many were decided each way.
pub(crate) async fn counts(cloud: &Client) -> Result<(usize, Value)> {
    let all = cloud.get(&["api", "conflicts"], &[("limit", "1000".to_owned())]).await?;
    let decided = |take: Take| items(&all).iter().filter(|conflict| cell(conflict, "resolution") == take.resolution()).count();
    let resolved = json!({ "CLOUD_WINS": decided(Take::Cloud), "LOCAL_WINS": decided(Take::Local), "MANUAL": decided(Take::Manual) });
    Ok((items(&all).len(), resolved))
}
