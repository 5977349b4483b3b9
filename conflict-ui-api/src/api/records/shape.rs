//! How a record looks in JSON.

use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, Table};

use crate::backend::Record;

/// A record under the names of the system's case: its columns in their order, then its versioning. `place`: also where it is.
#[must_use]
pub fn record_json(catalog: &Catalog, table: &Table, record: &Record, place: bool) -> Json {
    let case = catalog.api.case;
    let columns = table.columns.iter().zip(&record.row);
    let mut json: Map<_, _> = columns.map(|(column, value)| (case.apply(&column.name), column.ty.to_json(value))).collect();
    let (names, stamp) = (&table.stamps, &record.stamp);
    json.insert(case.apply(&names.version), json!(stamp.version));
    json.insert(case.apply(&names.updated_at), json!(stamp.updated_at));
    json.insert(case.apply(&names.last_modified_by), json!(stamp.modified_by));
    json.insert(case.apply(&names.synced_at), json!(stamp.synced_at));
    if place {
        json.insert("rejoin".to_owned(), json!({ "place": record.place }));
    }
    Json::Object(json)
}
