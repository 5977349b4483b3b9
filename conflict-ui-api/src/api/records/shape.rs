//! How a record looks in JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, Table};

use crate::backend::Record;
use crate::problem::{Answer, Fault, Problem};

/// Which members of a record are shown: those that `?fields=name,status` names, or all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Option<BTreeSet<String>>);

impl Fields {
    /// Reads the parameter. Versioning may be named as well.
    ///
    /// # Errors
    /// A name that no record of the table has.
    pub fn read(catalog: &Catalog, table: &Table, text: Option<&str>) -> Answer<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let case = catalog.api.case;
        let stamps = table.stamps.names().map(|name| (name, case.apply(name)));
        let json_name = |name: &str| {
            let column = catalog.column_called(table, name).map(|column| catalog.field(table, column));
            column.or_else(|| stamps.iter().find(|(stamp, json)| *stamp == name || json == name).map(|(_, json)| json.clone()))
        };
        let (mut named, mut faults) = (BTreeSet::new(), Vec::new());
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match json_name(name) {
                Some(json) => drop(named.insert(json)),
                None => faults.push(Fault::parameter("fields", "unknown", format!("{} has no field {name}", table.path))),
            }
        }
        if faults.is_empty() { Ok(Self(Some(named))) } else { Err(Problem::query(faults)) }
    }

    fn shows(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|named| named.contains(name))
    }
}

/// A record under the names of the system's case: its columns in their order, then its versioning. `place`: also where it is.
#[must_use]
pub fn record_json(catalog: &Catalog, table: &Table, record: &Record, place: bool) -> Json {
    fields_json(catalog, table, record, &Fields::default(), place)
}

/// A record of which only these fields are shown.
#[must_use]
pub fn fields_json(catalog: &Catalog, table: &Table, record: &Record, fields: &Fields, place: bool) -> Json {
    let case = catalog.api.case;
    let columns = table.columns.iter().zip(&record.row);
    let members = columns.map(|(column, value)| (catalog.field(table, column), column.ty.to_json(value)));
    let mut json: Map<_, _> = members.filter(|(name, _)| fields.shows(name)).collect();
    let (names, stamp) = (&table.stamps, &record.stamp);
    let stamps = [
        (&names.version, json!(stamp.version)),
        (&names.updated_at, json!(stamp.updated_at)),
        (&names.last_modified_by, json!(stamp.modified_by)),
        (&names.synced_at, json!(stamp.synced_at)),
    ];
    json.extend(stamps.into_iter().map(|(name, value)| (case.apply(name), value)).filter(|(name, _)| fields.shows(name)));
    if place {
        json.insert("rejoin".to_owned(), json!({ "place": record.place }));
    }
    Json::Object(json)
}
