//! `/api/{parent}/{id}/{children}`: the records of another table that refer to this one.

use axum::Extension;
use axum::extract::{OriginalUri, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sync_core::catalog::{Catalog, Column, Reference, Table};
use sync_core::id::ColumnNo;
use sync_core::value::Value;

use super::query::{self, Pairs};
use super::{draft, groups, page, written};
use crate::api::body::Object;
use crate::api::path::{AtRecord, InTable, Named};
use crate::backend::{Filter, Write};
use crate::door::Caller;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::state::ApiState;

/// `GET /api/{table}/{id}/{children}`.
pub async fn list(
    State(state): State<ApiState>,
    parent: AtRecord,
    Named(name): Named,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Pairs>,
) -> Answer<Response> {
    let via = pairs.iter().find(|(name, _)| name == "via").map(|(_, value)| value.as_str());
    let deleted = pairs.iter().any(|(name, value)| name == "deleted" && value == "true");
    let (children, named) = resolve(&state, &parent, &name, via, deleted).await?;
    let filters = named.into_iter().map(|(no, value)| Filter::equals(no, value)).collect();
    if groups::are_asked(&pairs) {
        return groups::answer(&state, &children, &pairs, filters).await;
    }
    let listing = query::read(&children.catalog, children.table(), &pairs, filters)?;
    page::answer(&state, &children, listing, &uri).await
}

/// `POST /api/{table}/{id}/{children}`: a new child of this record.
pub async fn create(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    parent: AtRecord,
    Named(name): Named,
    Query(pairs): Query<Pairs>,
    Object(body): Object,
) -> Answer<Response> {
    let flags = query::read_single(&pairs, &["via"])?;
    let (children, preset) = resolve(&state, &parent, &name, flags.via, false).await?;
    let draft = draft::of_create(&children.catalog, children.table(), &body, &preset)?;
    written(&state, &caller, &children, &Write::Create(draft), StatusCode::CREATED).await
}

/// The table of the children, and the values by which they refer to the parent.
async fn resolve(
    state: &ApiState,
    parent: &AtRecord,
    name: &str,
    via: Option<&str>,
    deleted: bool,
) -> Answer<(InTable, Vec<(ColumnNo, Value)>)> {
    let children = children_of(&parent.of, name)?;
    let reference = reference_of(&children, parent.of.table(), via)?;
    let table = parent.of.table();
    let found = state.backend.get(table.no, &parent.key).await?;
    let row = found.filter(|record| deleted || !table.is_soft_deleted(&record.row)).map(|record| record.row);
    let row = row.ok_or_else(|| Problem::not_found(parent.of.call(&parent.key)))?;
    let values = naming(children.table(), reference, table, &row);
    Ok((children, values))
}

/// The columns of a child, with their values, by which it refers to this row of `parent` and to no other: its kind too, where it must be of one.
pub(super) fn naming(child: &Table, reference: &Reference, parent: &Table, row: &[Value]) -> Vec<(ColumnNo, Value)> {
    let target = reference.target.iter().map(|no| parent.position(*no).and_then(|at| row.get(at)).cloned().unwrap_or(Value::Null));
    let held = child.referring(reference, parent, &target.collect::<Vec<_>>());
    reference.when.iter().cloned().chain(reference.columns.iter().copied().zip(held)).collect()
}

fn children_of(parent: &InTable, name: &str) -> Answer<InTable> {
    let table = parent.table();
    let children: Vec<_> = parent.catalog.referrers(table.no).map(|(child, _)| child).filter(|child| !child.engine).collect();
    let found = parent.catalog.by_name(name).filter(|found| children.iter().any(|child| child.no == found.no));
    match found {
        Some(child) => InTable::find(parent.catalog.clone(), &format!("{}.{}", child.schema, child.name), true),
        None => {
            let mut paths: Vec<_> = children.iter().map(|child| child.path.as_str()).collect();
            paths.dedup();
            let detail = format!("No table {name} refers to {}; those that do: {}.", table.path, paths.join(", "));
            Err(Problem::new(Code::UnknownTable, detail))
        }
    }
}

/// The reference by which the children name this parent: the only one there is, or the one `via` names. Several are never merged, since
/// "the connections of this device" and "the connections to this device" are two lists.
fn reference_of<'a>(children: &'a InTable, parent: &Table, via: Option<&str>) -> Answer<&'a Reference> {
    let child = children.table();
    chosen(&children.catalog, child, parent, via).map_err(|names| {
        let detail = format!("{} refer to {} by {}: say which with via", child.path, parent.path, names.join(", "));
        Problem::query(vec![Fault::parameter("via", "unknown", detail)])
    })
}

/// The reference by which `child` names `parent`; the names of all there are where `via` does not say which. One is named by [its column](Table::naming_column),
/// and by its kind where a column refers to the same table by several: `entity_id:asset`.
pub(super) fn chosen<'a>(catalog: &Catalog, child: &'a Table, parent: &Table, via: Option<&str>) -> Result<&'a Reference, Vec<String>> {
    let all: Vec<&Reference> = child.references.iter().filter(|reference| reference.table == parent.no).collect();
    let name = |reference: &Reference, name_of: &dyn Fn(&Column) -> String| {
        let naming = child.naming_column(reference);
        let several = all.iter().filter(|other| child.naming_column(other) == naming).count() > 1;
        let column = naming.map(name_of).unwrap_or_default();
        match reference.when.as_ref().filter(|_| several) {
            Some((_, kind)) => format!("{column}:{}", kind.to_text()),
            None => column,
        }
    };
    let (own, field) = (|column: &Column| column.name.clone(), |column: &Column| catalog.field(child, column));
    let found = match (via, all.as_slice()) {
        (None, [only]) => Some(*only),
        (None, _) => None,
        (Some(via), all) => all.iter().copied().find(|reference| name(reference, &own) == via || name(reference, &field) == via),
    };
    found.ok_or_else(|| all.iter().map(|reference| name(reference, &field)).collect())
}
