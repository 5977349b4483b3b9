//! One decision, and taking it back.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value as Any};
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::{ColumnNo, ConflictId};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;
use sync_core::write::read_draft;
use uuid::Uuid;

use crate::api::body::Body;
use crate::api::path::Named;
use crate::backend::Conflict;
use crate::door::Caller;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::state::ApiState;

/// A decision.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    resolution: Resolution,
    /// The `cloudEtag` that was seen; may be left out only where there was none.
    cloud_etag: Option<String>,
    /// The `revision` that was seen.
    revision: Option<i64>,
    /// The values to write, under the names that records have; for MANUAL.
    values: Option<Map<String, Any>>,
    /// How it is carried out.
    #[serde(default)]
    way: Way,
    /// The `besidesDigest` that was seen, where the decision deletes or changes other rows besides.
    besides: Option<String>,
}

/// `POST /api/conflicts/{id}/resolve`: the conflict as it is then. At a site the decision travels with the next push.
pub async fn resolve(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Body(decision): Body<Decision>,
) -> Answer<Json<Conflict>> {
    let conflict = find(&state, &id).await?;
    let (revision, values) = check(&state, &conflict, &decision)?;
    let command = ResolveCommand {
        conflict: conflict.id,
        revision,
        cloud_etag: decision.cloud_etag,
        resolution: decision.resolution,
        values,
        by: caller.principal.name.clone(),
        way: decision.way,
        besides: decision.besides,
    };
    Ok(Json(state.backend.resolve(&caller.principal, &command).await?))
}

/// Which decision is taken back.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Undo {
    /// The `revision` that was seen.
    revision: Option<i64>,
}

/// `POST /api/conflicts/{id}/undo`: writes back what the decision wrote, as long as nobody edited since; the conflict is open again.
pub async fn undo(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
    Body(undo): Body<Undo>,
) -> Answer<Json<Conflict>> {
    let conflict = find(&state, &id).await?;
    let Some(revision) = undo.revision else {
        return Err(Problem::fields(vec![Fault::field("revision", "required", "needed: the one of the conflict that was seen")]));
    };
    if conflict.resolution == Resolution::Pending && !conflict.decided_not_sent {
        return Err(Problem::new(Code::Undecidable, format!("The conflict {id} is open: there is no decision to take back.")));
    }
    let command = ResolveCommand {
        conflict: conflict.id,
        revision,
        cloud_etag: conflict.cloud_etag,
        resolution: Resolution::Pending,
        values: Vec::new(),
        by: caller.principal.name.clone(),
        way: Way::Undo,
        besides: None,
    };
    Ok(Json(state.backend.resolve(&caller.principal, &command).await?))
}

async fn find(state: &ApiState, id: &str) -> Answer<Conflict> {
    let known = match Uuid::try_parse(id) {
        Ok(uuid) => state.backend.conflict(ConflictId(uuid)).await?,
        Err(_) => None,
    };
    known.ok_or_else(|| Problem::not_found(format!("conflict {id}")))
}

/// What the decision names and writes; all that is missing or wrong at once.
fn check(state: &ApiState, conflict: &Conflict, decision: &Decision) -> Answer<(i64, Vec<(ColumnNo, Value)>)> {
    let mut faults = Vec::new();
    if decision.resolution == Resolution::Pending {
        faults.push(Fault::field("resolution", "type", "a decision is CLOUD_WINS, LOCAL_WINS or MANUAL"));
    }
    if decision.revision.is_none() {
        faults.push(Fault::field("revision", "required", "needed: the one of the conflict that was seen"));
    }
    if decision.cloud_etag.is_none() && conflict.cloud_etag.is_some() {
        faults.push(Fault::field("cloudEtag", "required", "needed: the cloud has a row of this conflict"));
    }
    match decision.way {
        Way::Plain => {}
        Way::SameRow if conflict.kind == ConflictKind::Unique => {}
        Way::SameRow => {
            let detail = format!("two rows are made one only where both want the same unique value: this is {}", conflict.kind.as_str());
            faults.push(Fault::field("way", "type", detail));
        }
        Way::Undo => faults.push(Fault::field("way", "type", "a decision is taken back by POST ../undo")),
    }
    let given = decision.values.as_ref().is_some_and(|values| !values.is_empty());
    if given != (decision.resolution == Resolution::Manual) {
        faults.push(Fault::field("values", "required", "MANUAL takes the values to write, and nothing else takes any"));
    }
    let values = match decision.values.as_ref().filter(|_| given) {
        Some(values) => manual_values(state, conflict, values, &mut faults)?,
        None => Vec::new(),
    };
    if faults.is_empty() { Ok((decision.revision.unwrap_or_default(), values)) } else { Err(Problem::fields(faults)) }
}

fn manual_values(
    state: &ApiState,
    conflict: &Conflict,
    values: &Map<String, Any>,
    faults: &mut Vec<Fault>,
) -> Answer<Vec<(ColumnNo, Value)>> {
    let catalog = state.backend.catalog()?;
    let name = &conflict.table_name;
    let table = catalog.tables.iter().find(|table| !table.engine && table.name == *name).or_else(|| catalog.by_name(name));
    let table = table.ok_or_else(|| Problem::new(Code::Undecidable, format!("The table {name} is no longer in the catalog.")))?;
    match read_draft(&catalog, table, values) {
        Ok(draft) => Ok(draft.into_iter().collect()),
        Err(errors) => {
            faults.extend(errors.into_iter().map(|error| Fault::from(error).within("/values")));
            Ok(Vec::new())
        }
    }
}
