//! The query of a list: filters, order, place and size of the page. What is not understood is an error, never ignored.

use sync_core::catalog::{Catalog, ListForm, Table};
use sync_core::limits::{LIST_ROWS_DEFAULT, LIST_ROWS_MAX};

use super::include::Include;
use super::shape::Fields;
use super::{cursor, filter};
use crate::backend::{Filter, ListQuery, Sort, SortKey};
use crate::problem::{Answer, Fault, Problem};

/// The parameters that are not filters. A column of such a name is filtered by `name[eq]`.
pub const PARAMETERS: [&str; 12] =
    ["sort", "limit", "cursor", "deleted", "place", "via", "include", "fields", "total", "group", "show", "every"];

/// The pairs of a query string, decoded.
pub type Pairs = Vec<(String, String)>;

/// A list as it was asked for.
pub struct Listing {
    /// What to ask of the backend; its limit is the page's.
    pub query: ListQuery,
    /// Whether each record says where it is.
    pub place: bool,
    /// What stands beside each record.
    pub include: Include,
    /// What is shown of each record.
    pub fields: Fields,
    /// Whether all records are counted.
    pub total: bool,
}

/// Reads the query of a list. `fixed`: filters that the path sets.
///
/// # Errors
/// Every parameter that is unknown, given twice, or has a wrong value; a cursor of another query.
pub fn read(catalog: &Catalog, table: &Table, pairs: &Pairs, fixed: Vec<Filter>) -> Answer<Listing> {
    let (flags, mut faults) = Flags::read(pairs);
    let mut query = ListQuery { table: table.no, filters: fixed, sort: Vec::new(), after: None, limit: 0, deleted: flags.deleted };
    let mut asked = Vec::new();
    for (name, value) in pairs.iter().filter(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
        faults.extend(filter::add(catalog, table, &mut asked, name, value).err());
    }
    query.filters.append(&mut asked);
    match order(catalog, table, flags.sort.unwrap_or_default()) {
        Ok(order) => query.sort = order,
        Err(fault) => faults.push(fault),
    }
    // A client of bare and named lists may not know that there are pages.
    let otherwise = if catalog.api.list == ListForm::Page { LIST_ROWS_DEFAULT } else { LIST_ROWS_MAX };
    match flags.limit.map_or(Ok(otherwise), limit) {
        Ok(limit) => query.limit = limit,
        Err(fault) => faults.push(fault),
    }
    if !faults.is_empty() {
        return Err(Problem::query(faults));
    }
    query.after = flags.cursor.map(|text| cursor::read(table, &query, text)).transpose()?;
    let include = Include::read(catalog, table, flags.include.unwrap_or_default())?;
    let fields = Fields::read(catalog, table, flags.fields)?;
    Ok(Listing { query, place: flags.place, include, fields, total: flags.total })
}

/// The parameters of a request for one record; there are no others than those allowed.
///
/// # Errors
/// Every parameter that is unknown, given twice, or has a wrong value.
pub fn read_single<'a>(pairs: &'a Pairs, allowed: &[&str]) -> Answer<Flags<'a>> {
    let (flags, mut faults) = Flags::read(pairs);
    for (name, _) in pairs.iter().filter(|(name, _)| !allowed.contains(&name.as_str())) {
        let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        faults.push(Fault::parameter(name, "unknown", format!("there is no parameter {name} here; there are: {known}")));
    }
    if faults.is_empty() { Ok(flags) } else { Err(Problem::query(faults)) }
}

/// The parameters that are not filters, as they came.
#[derive(Default)]
pub struct Flags<'a> {
    sort: Option<&'a str>,
    limit: Option<&'a str>,
    cursor: Option<&'a str>,
    /// Whether soft-deleted records are shown.
    pub deleted: bool,
    /// Whether each record says where it is.
    pub place: bool,
    /// The column by which a child refers to its parent.
    pub via: Option<&'a str>,
    /// What is to stand beside each record.
    pub include: Option<&'a str>,
    /// What is to be shown of each record.
    pub fields: Option<&'a str>,
    /// Whether all records are counted.
    pub total: bool,
    /// The columns by which records are grouped.
    pub group: Option<&'a str>,
    /// The figures over each group.
    pub show: Option<&'a str>,
    /// How long the buckets of a group's time are.
    pub every: Option<&'a str>,
}

impl<'a> Flags<'a> {
    pub(super) fn read(pairs: &'a Pairs) -> (Self, Vec<Fault>) {
        let mut flags = Self::default();
        let mut faults = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            // A filter may be given several values.
            if PARAMETERS.contains(&name.as_str()) && pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                faults.push(Fault::parameter(name, "twice", format!("{name} is given twice")));
            }
            match name.as_str() {
                "sort" => flags.sort = Some(value),
                "limit" => flags.limit = Some(value),
                "cursor" => flags.cursor = Some(value),
                "via" => flags.via = Some(value),
                "include" => flags.include = Some(value),
                "fields" => flags.fields = Some(value),
                "group" => flags.group = Some(value),
                "show" => flags.show = Some(value),
                "every" => flags.every = Some(value),
                "total" => flags.total = truth(name, value, &mut faults),
                "deleted" => flags.deleted = truth(name, value, &mut faults),
                "place" => flags.place = truth(name, value, &mut faults),
                _ => {}
            }
        }
        (flags, faults)
    }
}

fn truth(name: &str, value: &str, faults: &mut Vec<Fault>) -> bool {
    if !matches!(value, "true" | "false") {
        faults.push(Fault::parameter(name, "type", format!("{name} is true or false")));
    }
    value == "true"
}

/// `-updatedAt,name` with the key behind it, so that the order is total.
fn order(catalog: &Catalog, table: &Table, text: &str) -> Result<Vec<Sort>, Fault> {
    let fault = |code, detail| Fault::parameter("sort", code, detail);
    let mut order: Vec<Sort> = Vec::new();
    for step in text.split(',').map(str::trim).filter(|step| !step.is_empty()) {
        let (name, descending) = step.strip_prefix('-').map_or((step, false), |name| (name, true));
        let by = sort_key(catalog, table, name).map_err(|detail| fault("unknown", detail))?;
        if order.iter().any(|earlier| earlier.by == by) {
            return Err(fault("twice", format!("the order names {name} twice")));
        }
        order.push(Sort { by, descending });
    }
    for column in table.key_columns() {
        let by = SortKey::Column(column.no);
        if !order.iter().any(|earlier| earlier.by == by) {
            order.push(Sort { by, descending: false });
        }
    }
    Ok(order)
}

fn sort_key(catalog: &Catalog, table: &Table, name: &str) -> Result<SortKey, String> {
    let named = |stamp: &str| stamp == name || catalog.api.case.apply(stamp) == name;
    match catalog.column_called(table, name) {
        Some(column) if filter::is_ordered(&column.ty) => Ok(SortKey::Column(column.no)),
        Some(column) => Err(format!("a list cannot be ordered by {name}: it holds {}", column.ty.describe())),
        None if named(&table.stamps.version) => Ok(SortKey::Version),
        None if named(&table.stamps.updated_at) => Ok(SortKey::UpdatedAt),
        None => Err(format!("{} has no column {name}", table.path)),
    }
}

fn limit(text: &str) -> Result<usize, Fault> {
    let fault = || Fault::parameter("limit", "type", format!("limit is a number from 1 to {LIST_ROWS_MAX}"));
    text.parse().ok().filter(|limit| (1..=LIST_ROWS_MAX).contains(limit)).ok_or_else(fault)
}
