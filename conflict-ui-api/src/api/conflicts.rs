//! Parked conflicts: what clashed, and the decision.

use axum::extract::{OriginalUri, Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value as Any};
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::id::{ColumnNo, ConflictId};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;
use sync_core::write::read_draft;
use uuid::Uuid;

use super::body::Body;
use super::params::{Params, page};
use super::path::Named;
use super::records::query::Pairs;
use crate::backend::{Conflict, ConflictFilter, ConflictQuery, ConflictSort};
use crate::door::Caller;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::state::ApiState;

/// `GET /api/conflicts?resolution=&table=&kind=&site=`: newest first.
pub async fn list(State(state): State<ApiState>, OriginalUri(uri): OriginalUri, Query(pairs): Query<Pairs>) -> Answer<Response> {
    let mut params = Params::new(&pairs);
    let resolution = params.read("resolution", "PENDING, CLOUD_WINS, LOCAL_WINS or MANUAL", Resolution::from_name);
    let kind = params.read("kind", "one of docs/ARCHITECTURE.md's kinds, as update_update", ConflictKind::from_name);
    let table = params.read("table", "a table's name", |name| Some(name.to_owned()));
    let site = params.read("site", "a site's name", |name| Some(name.to_owned()));
    let size = params.limit();
    let after = params.cursor().map(ConflictId);
    params.finish()?;
    let catalog = state.backend.catalog()?;
    // A path (`equipment`) is as good as the name (`equipment_specs`).
    let table = table.map(|name| catalog.by_name(&name).map_or(name, |table| table.name.clone()));
    let filter = ConflictFilter { resolution, table, kind, site, ..ConflictFilter::default() };
    let query = ConflictQuery { filter, sort: ConflictSort::default(), after, limit: size + 1 };
    let conflicts = state.backend.conflicts(&query).await?;
    Ok(page(&uri, conflicts, size, |conflict| conflict.id.0))
}

/// `GET /api/conflicts/{id}`.
pub async fn get(State(state): State<ApiState>, Named(id): Named) -> Answer<Json<Conflict>> {
    find(&state, &id).await.map(Json)
}

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
        way: Way::Plain,
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
