//! `?group=status,siteId&show=count,sum(value)`: figures over groups of records, in the form of the system's lists.

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::figures::{average_json, is_summed, sum_json};
use sync_core::limits::{FIGURES_MAX, GROUPED_COLUMNS_MAX, GROUPS_MAX};
use sync_core::value::Every;

use super::query::{self, Pairs};
use super::{filter, page};
use crate::api::path::InTable;
use crate::backend::{Figure, Figured, Filter, Group, GroupBy, GroupQuery};
use crate::problem::{Answer, Fault, Problem};
use crate::state::ApiState;

/// The parameters of their own that groups have.
const OWN: [&str; 3] = ["group", "show", "every"];
/// The parameters of lists that they have too.
const SHARED: [&str; 2] = ["deleted", "via"];
/// What `show` can name.
const SHOWN: &str = "count, sum(column), avg(column), min(column), max(column)";

/// Whether a query asks for groups instead of records.
pub(super) fn are_asked(pairs: &Pairs) -> bool {
    pairs.iter().any(|(name, _)| OWN.contains(&name.as_str()))
}

/// Groups as they were asked for.
struct Asked {
    query: GroupQuery,
    /// What is shown of each.
    shown: Vec<Shown>,
}

/// What is shown of a group.
enum Shown {
    Count,
    /// One member of `sum`, `avg`, `min` or `max`: which figure of the query it is made of, and the column's JSON name.
    Figure {
        of: &'static str,
        at: usize,
        name: String,
    },
}

/// Answers with the groups. `fixed`: filters that the path sets.
pub(super) async fn answer(state: &ApiState, of: &InTable, pairs: &Pairs, fixed: Vec<Filter>) -> Answer<Response> {
    let (catalog, table) = (&of.catalog, of.table());
    let asked = Asked::read(catalog, table, pairs, fixed)?;
    let groups = state.backend.groups(&asked.query).await?;
    if groups.len() > GROUPS_MAX {
        let detail = format!("there are more than {GROUPS_MAX} groups: filter, or group by less or by longer times");
        return Err(Problem::query(vec![Fault::parameter("group", "range", detail)]));
    }
    let rows = groups.iter().map(|group| asked.json(catalog, table, group)).collect();
    Ok(axum::Json(page::form(of, rows, None, None)).into_response())
}

impl Asked {
    fn read(catalog: &Catalog, table: &Table, pairs: &Pairs, fixed: Vec<Filter>) -> Answer<Self> {
        let (flags, mut faults) = query::Flags::read(pairs);
        let allowed = |name: &str| OWN.contains(&name) || SHARED.contains(&name);
        let mut filters = Vec::new();
        for (name, value) in pairs {
            if !query::PARAMETERS.contains(&name.as_str()) {
                faults.extend(filter::add(catalog, table, &mut filters, name, value).err());
            } else if !allowed(name) {
                let detail = format!("groups have no {name}: they come whole, ordered by their columns");
                faults.push(Fault::parameter(name, "unknown", detail));
            }
        }
        let by = by(catalog, table, flags.group.unwrap_or_default(), flags.every).unwrap_or_else(|fault| {
            faults.push(fault);
            Vec::new()
        });
        let (figures, shown) = figures(catalog, table, flags.show.unwrap_or("count")).unwrap_or_else(|fault| {
            faults.push(fault);
            Default::default()
        });
        let members = |name: &str| {
            shown.iter().any(|shown| match shown {
                Shown::Count => name == "count",
                Shown::Figure { of, .. } => *of == name,
            })
        };
        let fields = by.iter().filter_map(|by| table.column(by.column)).map(|column| catalog.field(table, column));
        for field in fields.filter(|field| members(field)) {
            let detail = format!("a column called {field} cannot stand beside the figure of that name: show another one");
            faults.push(Fault::parameter("show", "twice", detail));
        }
        if !faults.is_empty() {
            return Err(Problem::query(faults));
        }
        let filters = fixed.into_iter().chain(filters).collect();
        let query = GroupQuery { table: table.no, filters, deleted: flags.deleted, by, figures, limit: GROUPS_MAX + 1 };
        Ok(Self { query, shown })
    }

    fn json(&self, catalog: &Catalog, table: &Table, group: &Group) -> Json {
        let mut json = Map::new();
        for (by, value) in self.query.by.iter().zip(&group.by) {
            if let Some(column) = table.column(by.column) {
                json.insert(catalog.field(table, column), column.ty.to_json(value));
            }
        }
        for shown in &self.shown {
            let Shown::Figure { of, at, name } = shown else {
                json.insert("count".to_owned(), group.count.into());
                continue;
            };
            let figure = self.query.figures.get(*at).zip(group.figures.get(*at));
            let value = figure.and_then(|(figure, figured)| Some(figure_json(table.column(figure.column())?, of, figured)));
            let members = json.entry(*of).or_insert_with(|| json!({}));
            members[name] = value.unwrap_or(Json::Null);
        }
        Json::Object(json)
    }
}

fn figure_json(column: &Column, of: &str, figured: &Figured) -> Json {
    match figured {
        Figured::Value(value) => column.ty.to_json(value),
        Figured::Total { sum: None, .. } => Json::Null,
        Figured::Total { sum: Some(sum), .. } if of == "sum" => sum_json(&column.ty, sum),
        Figured::Total { sum: Some(sum), of } => average_json(&column.ty, sum, *of),
    }
}

/// The columns of `group`, the one that is a time in the buckets of `every`.
fn by(catalog: &Catalog, table: &Table, group: &str, every: Option<&str>) -> Result<Vec<GroupBy>, Fault> {
    let fault = |code, detail| Fault::parameter("group", code, detail);
    let mut by: Vec<(GroupBy, &Column)> = Vec::new();
    for name in names(group) {
        let column = called(catalog, table, name).map_err(|detail| fault("unknown", detail))?;
        if !filter::is_ordered(&column.ty) {
            return Err(fault("type", format!("{name} cannot be grouped by: it holds {}", column.ty.describe())));
        }
        if by.iter().any(|(earlier, _)| earlier.column == column.no) {
            return Err(fault("twice", format!("group names {name} twice")));
        }
        by.push((GroupBy { column: column.no, every: None }, column));
    }
    if by.len() > GROUPED_COLUMNS_MAX {
        return Err(fault("range", format!("group names at most {GROUPED_COLUMNS_MAX} columns")));
    }
    if let Some(text) = every {
        let fault = |code, detail| Fault::parameter("every", code, detail);
        let every = Every::parse(text).ok_or_else(|| {
            fault("type", "every is a number and s, min, h, d, w, mon or y, as in 15min; at most a hundred years".to_owned())
        })?;
        let mut times = by.iter_mut().filter(|(_, column)| Every::Months(1).fits(&column.ty));
        let (Some((time, column)), None) = (times.next(), times.next()) else {
            return Err(fault("range", "every wants exactly one column among those of group that is a time or a date".to_owned()));
        };
        if !every.fits(&column.ty) {
            return Err(fault("range", format!("{} holds whole days: every is d, w, mon or y", catalog.field(table, column))));
        }
        time.every = Some(every);
    }
    Ok(by.into_iter().map(|(by, _)| by).collect())
}

/// What `show` names, and the figures that it is made of, each once.
fn figures(catalog: &Catalog, table: &Table, show: &str) -> Result<(Vec<Figure>, Vec<Shown>), Fault> {
    let fault = |code, detail| Fault::parameter("show", code, detail);
    let (mut figures, mut shown): (Vec<Figure>, Vec<Shown>) = Default::default();
    for text in names(show) {
        if text == "count" {
            shown.push(Shown::Count);
            continue;
        }
        let parts = text.strip_suffix(')').and_then(|text| text.split_once('('));
        let of = parts.and_then(|(of, _)| ["sum", "avg", "min", "max"].into_iter().find(|known| *known == of));
        let (Some(of), Some((_, name))) = (of, parts) else {
            return Err(fault("unknown", format!("show knows no {text}; it knows {SHOWN}")));
        };
        let column = called(catalog, table, name).map_err(|detail| fault("unknown", detail))?;
        let figure = match of {
            "min" => Figure::Least(column.no),
            "max" => Figure::Greatest(column.no),
            _ => Figure::Total(column.no),
        };
        let (fits, cannot) = match figure {
            Figure::Total(_) => (is_summed(&column.ty), "cannot be added up"),
            _ => (filter::is_ordered(&column.ty), "has no order"),
        };
        if !fits {
            return Err(fault("type", format!("{text}: {} {cannot}", column.ty.describe())));
        }
        let at = figures.iter().position(|known| *known == figure).unwrap_or_else(|| {
            figures.push(figure);
            figures.len() - 1
        });
        shown.push(Shown::Figure { of, at, name: catalog.field(table, column) });
    }
    if shown.len() > FIGURES_MAX {
        return Err(fault("range", format!("show names at most {FIGURES_MAX} figures")));
    }
    Ok((figures, shown))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn called<'t>(catalog: &Catalog, table: &'t Table, name: &str) -> Result<&'t Column, String> {
    catalog.column_called(table, name).ok_or_else(|| format!("{} has no column {name}", table.path))
}
