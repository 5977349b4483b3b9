//! Which conflicts: the filter of lists, groups and counts as parameters, that of a bulk decision as a body.

use sync_core::catalog::{Catalog, Table};
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::ConflictId;
use uuid::Uuid;

use crate::api::params::{Params, flag, moment, no_site, no_table};
use crate::backend::ConflictFilter;
use crate::error::BackendError;
use crate::state::ApiState;

/// Reads the members of a filter from a query's parameters.
pub(in crate::api) fn read(params: &mut Params<'_>) -> ConflictFilter {
    let text = |name: &str| Some(name.to_owned());
    let resolution = params.read("resolution", "PENDING, CLOUD_WINS, LOCAL_WINS or MANUAL", Resolution::from_name);
    let kind = params.read("kind", "one of docs/ARCHITECTURE.md's kinds, as update_update", ConflictKind::from_name);
    let table = params.read("table", "a table's path or name", text);
    let site = params.read("site", "a site's name", text);
    let group = params.read("group", "the id of a group", |id| Uuid::try_parse(id).ok());
    let push = params.read("push", "the number of a push", |no| no.parse().ok());
    let column = params.read("column", "a column's name", text);
    let since = params.read("since", "a time as 2026-01-31T12:00:00Z, or how long ago, as 24h or 30d", moment);
    let until = params.read("until", "a time as 2026-01-31T12:00:00Z, or how long ago, as 24h or 30d", moment);
    let record = params.read("record", "a record's id", text);
    let by_policy = params.read("byPolicy", "true or false", flag);
    let root = params.read("root", "a conflict's id", |id| Uuid::try_parse(id).ok().map(ConflictId));
    if record.is_some() && table.is_none() {
        params.fault("record", "required", "record goes with table: say of which table the record is");
    }
    ConflictFilter { resolution, table, kind, site, group, push, column, since, until, record, by_policy, root }
}

/// The same filter with the names that the store has: a path (`equipment`) is as good as a name (`equipment_specs`), and a field (`hRes`) as a
/// column (`h_res`). What the catalog does not know stays as it is: conflicts outlive their tables.
pub(crate) fn in_the_stores_names(filter: ConflictFilter, catalog: &Catalog) -> ConflictFilter {
    let table = filter.table.as_deref().and_then(|name| catalog.by_name(name));
    let column = filter.column.map(|name| {
        let tables = catalog.tables.iter().filter(|other| table.is_none_or(|table| table.no == other.no));
        let named = |other: &Table| catalog.column_called(other, &name).map(|column| column.name.clone());
        tables.filter(|table| !table.engine).find_map(named).unwrap_or(name)
    });
    ConflictFilter { table: table.map(|table| table.name.clone()).or(filter.table), column, ..filter }
}

/// The names in a filter that nothing has or had, each with what to say: nothing would be found, as if all were well.
pub(in crate::api) async fn unknown(state: &ApiState, filter: &ConflictFilter) -> Result<Vec<(&'static str, String)>, BackendError> {
    let catalog = state.backend.catalog()?;
    let mut unknown = Vec::new();
    // Conflicts outlive their tables and sites.
    let none = async |filter: ConflictFilter| Ok::<_, BackendError>(state.backend.conflict_counts(&filter).await?.total == 0);
    if let Some(name) = filter.table.as_ref().filter(|name| catalog.by_name(name).is_none())
        && none(ConflictFilter { table: Some(name.clone()), ..ConflictFilter::default() }).await?
    {
        unknown.push(("table", no_table(&catalog, name)));
    }
    if let Some(name) = &filter.site
        && !state.backend.knows_site(name).await?
        && none(ConflictFilter { site: Some(name.clone()), ..ConflictFilter::default() }).await?
    {
        unknown.push(("site", no_site(name)));
    }
    Ok(unknown)
}
