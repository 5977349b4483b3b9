//! What a path names: a table of the catalog and perhaps one of its records.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::Key;

use crate::problem::{Answer, Code, Problem};
use crate::state::ApiState;

/// Names that `/api/{table}` never takes for a table; such a table answers at `/api/tables/{schema.table}`.
pub const RESERVED: [&str; 5] = ["conflicts", "sync", "events", "rejoin", "tables"];

/// A table that the path names.
pub struct InTable {
    /// The catalog in force when the request came.
    pub catalog: Arc<Catalog>,
    index: usize,
}

/// A record that the path names; it need not exist.
pub struct AtRecord {
    /// Its table.
    pub of: InTable,
    /// Its key.
    pub key: Key,
}

impl InTable {
    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.catalog.tables[self.index]
    }

    /// The table of this name; `explicit`: asked where no other name can stand, as `/api/tables/..`.
    pub(crate) fn find(catalog: Arc<Catalog>, name: &str, explicit: bool) -> Answer<Self> {
        let found = catalog.by_name(name).filter(|_| explicit || !RESERVED.contains(&name)).map(|table| table.no);
        match catalog.tables.iter().position(|table| Some(table.no) == found) {
            Some(index) => Ok(Self { catalog, index }),
            None => Err(unknown_table(&catalog, name)),
        }
    }

    /// The path of one of the table's records.
    #[must_use]
    pub fn record_path(&self, key: &Key) -> String {
        let table = self.table();
        if RESERVED.contains(&table.path.as_str()) {
            return format!("/api/tables/{}.{}/{key}", table.schema, table.name);
        }
        format!("/api/{}/{key}", table.path)
    }

    /// What to call one of the table's records to a person.
    #[must_use]
    pub fn call(&self, key: &Key) -> String {
        format!("{} {key}", self.table().path)
    }
}

fn unknown_table(catalog: &Catalog, name: &str) -> Problem {
    let paths: Vec<_> = catalog.tables.iter().filter(|table| !table.engine).map(|table| table.path.as_str()).collect();
    Problem::new(Code::UnknownTable, format!("There is no table {name}; there are {}.", paths.join(", ")))
}

impl FromRequestParts<ApiState> for InTable {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Answer<Self> {
        let segments = Segments::of(parts);
        let name = segments.raw("table").map(decoded).unwrap_or_default();
        Self::find(state.backend.catalog()?, &name, segments.explicit)
    }
}

impl FromRequestParts<ApiState> for AtRecord {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Answer<Self> {
        let of = InTable::from_request_parts(parts, state).await?;
        let segments = Segments::of(parts);
        // Not decoded: a comma inside a key value is told from one between them only while it is encoded.
        let record_id = segments.raw("id").unwrap_or_default();
        let key = of.table().parse_key(record_id);
        let key = key.map_err(|error| Problem::not_found(format!("{} {record_id}: {error}", of.table().path)))?;
        match key {
            Some(key) => Ok(Self { of, key }),
            None => {
                let parts: Vec<_> = of.table().key_columns().map(|column| of.catalog.field(of.table(), column)).collect();
                let detail = format!("{} {record_id}: its id is {}", of.table().path, parts.join(","));
                Err(Problem::not_found(detail))
            }
        }
    }
}

/// The last segment of the path that the route names, decoded: an id, a name, the children's table.
pub struct Named(pub String);

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let segments = Segments::of(parts);
        Ok(Self(segments.named.last().map(|(_, raw)| decoded(raw)).unwrap_or_default()))
    }
}

/// The segments of a path by their names in the route, as they stand in the URL.
struct Segments {
    named: Vec<(String, String)>,
    explicit: bool,
}

impl Segments {
    fn of(parts: &Parts) -> Self {
        let pattern = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let path = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.path(), |uri| uri.path());
        let pairs = pattern.split('/').zip(path.split('/'));
        let name = |segment: &str| segment.strip_prefix('{')?.strip_suffix('}').map(str::to_owned);
        let named = pairs.filter_map(|(segment, raw)| name(segment).map(|name| (name, raw.to_owned()))).collect();
        Self { named, explicit: pattern.starts_with("/api/tables/") || pattern.starts_with("/api/rejoin/") }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, raw)| raw.as_str())
    }
}

/// What is not UTF-8 names nothing, and is shown as it is.
fn decoded(raw: &str) -> String {
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}
