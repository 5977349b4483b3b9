//! `POST /api/rejoin/policies/try`: what the conflicts and losses on record would have become under other policies.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value as Any};
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::TRIAL_POLICIES_MAX;
use sync_core::policy::Policy;

use super::body::Body;
use super::params::moment;
use crate::backend::PolicyTrial;
use crate::problem::{Answer, Fault, Problem};
use crate::state::ApiState;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// Since when: a time, or how long ago.
    since: String,
    /// `TABLE.COLUMN` to the policy's name.
    policies: Map<String, Any>,
}

/// Writes nothing.
pub(crate) async fn try_policies(State(state): State<ApiState>, Body(trial): Body<Trial>) -> Answer<Json<PolicyTrial>> {
    let catalog = state.backend.catalog()?;
    let mut faults = Vec::new();
    let since = moment(&trial.since);
    if since.is_none() {
        faults.push(Fault::field("since", "type", "a time as 2026-01-31T12:00:00Z, or how long ago, as 24h or 30d"));
    }
    if !(1..=TRIAL_POLICIES_MAX).contains(&trial.policies.len()) {
        faults.push(Fault::field("policies", "required", format!("1 to {TRIAL_POLICIES_MAX} policies, as \"sources.note\": \"text\"")));
    }
    let mut policies = Vec::new();
    for (place, policy) in trial.policies.iter().take(TRIAL_POLICIES_MAX) {
        match read(&catalog, place, policy) {
            Ok(policy) => policies.push(policy),
            Err((code, detail)) => faults.push(Fault::field(place, code, detail).within("/policies")),
        }
    }
    match since {
        Some(since) if faults.is_empty() => Ok(Json(state.backend.try_policies(since, &policies).await?)),
        _ => Err(Problem::fields(faults)),
    }
}

/// Every policy, as it is written.
const POLICIES: [Policy; 10] = [
    Policy::Manual,
    Policy::CloudWins,
    Policy::LocalWins,
    Policy::Newest,
    Policy::Add,
    Policy::Union,
    Policy::Max,
    Policy::Min,
    Policy::Text,
    Policy::Json,
];

fn read(catalog: &Catalog, place: &str, policy: &Any) -> Result<(TableNo, ColumnNo, Policy), (&'static str, String)> {
    let (table, column) = column_at(catalog, place)?;
    match policy.as_str().and_then(Policy::from_name) {
        Some(policy) if !policy.fits(&column.ty) => {
            let detail = format!("{} is not for {}: it holds {}", policy.as_str(), column.name, column.ty.describe());
            Err(("type", detail))
        }
        Some(policy) => Ok((table.no, column.no, policy)),
        None => Err(("type", format!("a policy is {}", POLICIES.map(Policy::as_str).join(", ")))),
    }
}

/// The column of `TABLE.COLUMN`; the table may be given with its schema, and either may have a dot in its name.
fn column_at<'a>(catalog: &'a Catalog, place: &str) -> Result<(&'a Table, &'a Column), (&'static str, String)> {
    let mut known = None;
    for (table, column) in place.match_indices('.').map(|(at, _)| (&place[..at], &place[at + 1..])) {
        let Some(table) = catalog.by_name(table) else { continue };
        if let Some(column) = catalog.column_called(table, column) {
            return Ok((table, column));
        }
        known = Some(table);
    }
    Err(match known {
        Some(table) => {
            let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
            ("unknown", format!("{} has no such column; it has {}", table.path, names.join(", ")))
        }
        None => {
            let paths: Vec<_> = catalog.tables.iter().filter(|table| !table.engine).map(|table| table.path.as_str()).collect();
            ("unknown", format!("a place is TABLE.COLUMN, with one of the tables {}", paths.join(", ")))
        }
    })
}
