//! Lists: filters, any order, keyset paging. One query a page, its cost bounded by the page where an index serves the order.

use conflict_ui_api::backend::{Filter, ListQuery, SortKey, Test};
use sync_core::catalog::{Column, Table};
use sync_core::value::{ColumnType, Value};

use super::query::Query;
use crate::store::row::{compared_as, quote, table_sql};

/// Builds a list. `select` is what to read of each row `t`.
pub(super) fn build(table: &Table, list: &ListQuery, select: &str) -> Query {
    let mut query = Query::default();
    let mut conditions = conditions(&mut query, table, list);
    let order: Vec<Order<'_>> = list.sort.iter().filter_map(|sort| Order::of(table, sort.by, sort.descending)).collect();
    if let Some(after) = &list.after {
        conditions.push(behind(&mut query, &order, after));
    }
    let directions: Vec<String> =
        order.iter().map(|order| format!("{} {}", order.expression, if order.descending { "DESC" } else { "ASC" })).collect();
    let directions = if directions.is_empty() { String::new() } else { format!(" ORDER BY {}", directions.join(", ")) };
    query.sql = format!("SELECT {select} FROM {} t{}{directions} LIMIT {}", table_sql(table), clause(&conditions), list.limit);
    query
}

/// Builds the count of a list's records.
pub(super) fn count(table: &Table, list: &ListQuery) -> Query {
    let mut query = Query::default();
    let conditions = conditions(&mut query, table, list);
    query.sql = format!("SELECT count(*) FROM {} t{}", table_sql(table), clause(&conditions));
    query
}

pub(super) fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// What holds of every record of a list.
pub(super) fn conditions(query: &mut Query, table: &Table, list: &ListQuery) -> Vec<String> {
    let mut conditions: Vec<String> = list.filters.iter().map(|filter| condition(query, table, filter)).collect();
    if !list.deleted
        && let Some(mark) = table.soft_delete.and_then(|no| table.column(no))
    {
        conditions.push(format!("t.{} IS NOT TRUE", quote(&mark.name)));
    }
    conditions
}

fn condition(query: &mut Query, table: &Table, filter: &Filter) -> String {
    // A column that is gone equals nothing.
    let Some(column) = table.column(filter.column) else { return "false".to_owned() };
    let mut any = |values: &[Value]| values.iter().map(|value| equals(query, column, value)).collect::<Vec<_>>().join(" OR ");
    match &filter.test {
        Test::Among(values) => format!("({})", any(values)),
        Test::NotAmong(values) => format!("({}) IS NOT TRUE", any(values)),
        Test::Compared(comparison, value) => {
            let Some(order) = Order::of(table, SortKey::Column(column.no), false) else { return "false".to_owned() };
            format!("{} {} {}", order.expression, comparison.sql(), query.bind_as(value, &order.cast))
        }
    }
}

/// A column equals a value. NULL asks for NULL; types without an `=` of the values' meaning are compared by their canonical text.
fn equals(query: &mut Query, column: &Column, value: &Value) -> String {
    let name = format!("t.{}", quote(&column.name));
    if value.is_null() {
        return format!("{name} IS NULL");
    }
    match column.ty {
        ColumnType::Json | ColumnType::JsonText => format!("{name}::jsonb = {}", query.bind_as(value, "jsonb")),
        ColumnType::Array(ref of) if matches!(**of, ColumnType::JsonText | ColumnType::Other) => {
            format!("{name}::text = {}::text", query.bind(column, value))
        }
        // To PostgreSQL a month is 30 days.
        ColumnType::Interval | ColumnType::Timetz | ColumnType::Other => format!("{name}::text = {}", query.bind_as(value, "text")),
        _ => format!("{name} = {}", query.bind(column, value)),
    }
}

/// One step of the order, as SQL.
pub(super) struct Order<'a> {
    pub(super) expression: String,
    descending: bool,
    nullable: bool,
    /// The type that a value is cast to, and the collation it is compared in.
    cast: std::borrow::Cow<'a, str>,
}

impl<'a> Order<'a> {
    fn of(table: &'a Table, by: SortKey, descending: bool) -> Option<Self> {
        let no = match by {
            SortKey::Column(no) => no,
            SortKey::Version => {
                let expression = format!("t.{}", quote(&table.stamps.version));
                return Some(Self { expression, descending, nullable: false, cast: "bigint".into() });
            }
            SortKey::UpdatedAt => {
                let expression = format!("t.{}", quote(&table.stamps.updated_at));
                return Some(Self { expression, descending, nullable: false, cast: "timestamptz".into() });
            }
        };
        Some(Self { descending, ..Self::of_column(table.column(no)?) })
    }

    /// A column ascending.
    pub(super) fn of_column(column: &'a Column) -> Self {
        const BYTES: &str = "text COLLATE \"C\"";
        let name = format!("t.{}", quote(&column.name));
        let (expression, cast) = match column.ty {
            ColumnType::Text | ColumnType::Char | ColumnType::Enum(_) | ColumnType::Other => (format!("{name}::{BYTES}"), BYTES.into()),
            ColumnType::Json => (format!("{name}::jsonb"), "jsonb".into()),
            ColumnType::Array(_) => (format!("to_jsonb({name})"), "jsonb".into()),
            _ => (name, compared_as(column).into()),
        };
        Self { expression, descending: false, nullable: !column.not_null, cast }
    }

    /// Rows that stand behind this value.
    fn beyond(&self, query: &mut Query, value: &Value) -> String {
        let Self { expression, descending, nullable, .. } = self;
        match (value.is_null(), descending) {
            (true, true) => format!("{expression} IS NOT NULL"),
            (true, false) => "false".to_owned(),
            (false, true) => format!("{expression} < {}", query.bind_as(value, &self.cast)),
            (false, false) if *nullable => {
                format!("({expression} > {} OR {expression} IS NULL)", query.bind_as(value, &self.cast))
            }
            (false, false) => format!("{expression} > {}", query.bind_as(value, &self.cast)),
        }
    }

    fn same(&self, query: &mut Query, value: &Value) -> String {
        if value.is_null() {
            format!("{} IS NULL", self.expression)
        } else {
            format!("{} = {}", self.expression, query.bind_as(value, &self.cast))
        }
    }
}

/// Rows that stand behind the one whose sort values are `after`: `(a beyond) OR (a same AND b beyond) OR ..`.
fn behind(query: &mut Query, order: &[Order<'_>], after: &[Value]) -> String {
    let mut alternatives = Vec::with_capacity(order.len());
    let mut same: Vec<String> = Vec::new();
    let steps = order.len().min(after.len());
    for (at, (step, value)) in order.iter().zip(after).enumerate() {
        let beyond = step.beyond(query, value);
        alternatives.push(same.iter().cloned().chain([beyond]).collect::<Vec<_>>().join(" AND "));
        // Nothing comes behind the last step, and every value that is bound must be used.
        if at + 1 < steps {
            same.push(step.same(query, value));
        }
    }
    if alternatives.is_empty() { "true".to_owned() } else { format!("({})", alternatives.join(" OR ")) }
}
