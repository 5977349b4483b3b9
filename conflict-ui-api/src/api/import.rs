//! `POST /api/rejoin/import`: the rows of a whole data set, in one transaction.

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value};
use sync_core::limits::{IMPORT_BYTES_MAX, IMPORT_ROWS_MAX};
use sync_core::write::read_draft;

use crate::api::body::Body;
use crate::backend::Imported;
use crate::door::Caller;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::state::ApiState;

/// Faults told at once; a file that is wrong throughout need not be answered in full.
const FAULTS_MAX: usize = 20;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    /// The rows, parents before children.
    rows: Vec<ImportRow>,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportRow {
    /// The table's path or name.
    table: String,
    /// Its columns; those left out keep what they have, or get their default.
    values: Map<String, Value>,
}

/// The handler, with a body limit of its own.
pub(crate) fn handler() -> MethodRouter<ApiState> {
    post(import).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX))
}

async fn import(State(state): State<ApiState>, Extension(caller): Extension<Caller>, Body(import): Body<Import>) -> Answer<Json<Imported>> {
    if import.rows.len() > IMPORT_ROWS_MAX {
        return Err(Problem::new(Code::BodyTooLarge, format!("An import takes at most {IMPORT_ROWS_MAX} rows.")));
    }
    let catalog = state.backend.catalog()?;
    let mut drafts = Vec::with_capacity(import.rows.len());
    let mut faults = Vec::new();
    for (at, row) in import.rows.iter().enumerate() {
        if faults.len() >= FAULTS_MAX {
            break;
        }
        let Some(table) = catalog.by_name(&row.table) else {
            faults.push(located(at, "table", Fault::field("", "unknown", format!("there is no table {}", row.table))));
            continue;
        };
        match read_draft(&catalog, table, &row.values) {
            Ok(draft) => drafts.push((table.no, draft)),
            Err(errors) => faults.extend(errors.into_iter().map(|error| {
                let place = format!("values/{}", error.field.replace('~', "~0").replace('/', "~1"));
                located(at, &place, error.into())
            })),
        }
    }
    if !faults.is_empty() {
        return Err(Problem::fields(faults));
    }
    Ok(Json(state.backend.import(&caller.principal, &drafts).await?))
}

/// A fault with its place in this body.
fn located(row: usize, place: &str, fault: Fault) -> Fault {
    Fault { pointer: Some(format!("/rows/{row}/{place}")), ..fault }
}
