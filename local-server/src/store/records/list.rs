//! Lists: filters, any order, keyset paging. One query a page.

use conflict_ui_api::backend::{Filter, ListQuery, SortKey, Test};
use sync_core::catalog::{Column, Table};
use sync_core::value::{ColumnType, Value};

use super::found_list;
use crate::store::db::DECIMAL;
use crate::store::rows::{HeldState, live_table, quoted};

/// A query with its values.
#[derive(Default)]
pub(super) struct Built {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

impl Built {
    fn bind(&mut self, value: &Value) -> String {
        self.params.push(value.clone());
        format!("?{}", self.params.len())
    }
}

/// Builds a list.
pub(super) fn build(table: &Table, list: &ListQuery) -> Built {
    let mut built = Built::default();
    let mut conditions = conditions(&mut built, table, list);
    let order: Vec<Order> = list.sort.iter().filter_map(|sort| Order::of(table, sort.by, sort.descending)).collect();
    if let Some(after) = &list.after {
        conditions.push(behind(&mut built, &order, after));
    }
    let terms: Vec<_> = order.iter().map(Order::term).collect();
    let terms = if terms.is_empty() { String::new() } else { format!(" ORDER BY {}", terms.join(", ")) };
    built.sql =
        format!("SELECT {} FROM {} t WHERE {}{terms} LIMIT {}", found_list(table), live_table(table), conditions.join(" AND "), list.limit);
    built
}

/// Builds the count of a list's records.
pub(super) fn count(table: &Table, list: &ListQuery) -> Built {
    let mut built = Built::default();
    let conditions = conditions(&mut built, table, list);
    built.sql = format!("SELECT count(*) FROM {} t WHERE {}", live_table(table), conditions.join(" AND "));
    built
}

/// What holds of every record of a list.
pub(super) fn conditions(built: &mut Built, table: &Table, list: &ListQuery) -> Vec<String> {
    let mut conditions = vec![format!("t.rejoin_held <> {}", HeldState::Ghost as i64)];
    conditions.extend(list.filters.iter().map(|filter| condition(built, table, filter)));
    if !list.deleted
        && let Some(mark) = table.soft_delete.and_then(|no| table.column(no))
    {
        conditions.push(format!("t.{} IS NOT 1", quoted(&mark.name)));
    }
    conditions
}

fn condition(built: &mut Built, table: &Table, filter: &Filter) -> String {
    // A column that is gone equals nothing.
    let Some(column) = table.column(filter.column) else { return "0".to_owned() };
    let name = format!("t.{}", quoted(&column.name));
    let mut equals = |value: &Value| if value.is_null() { format!("{name} IS NULL") } else { format!("{name} = {}", built.bind(value)) };
    let mut any = |values: &[Value]| values.iter().map(&mut equals).collect::<Vec<_>>().join(" OR ");
    match &filter.test {
        Test::Among(values) => format!("({})", any(values)),
        Test::NotAmong(values) => format!("({}) IS NOT TRUE", any(values)),
        Test::Compared(comparison, value) => format!("{} {} {}", ordered(column), comparison.sql(), built.bind(value)),
    }
}

/// A column of `t` as it is ordered and compared by.
pub(super) fn ordered(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.ty {
        ColumnType::Numeric | ColumnType::Money => format!("t.{name} COLLATE {DECIMAL}"),
        _ => format!("t.{name}"),
    }
}

/// One step of the order, as SQL.
struct Order {
    expression: String,
    descending: bool,
    nullable: bool,
}

impl Order {
    fn of(table: &Table, by: SortKey, descending: bool) -> Option<Self> {
        let stamp = |name: &str| Self { expression: format!("t.{}", quoted(name)), descending, nullable: false };
        Some(match by {
            SortKey::Version => stamp(&table.stamps.version),
            SortKey::UpdatedAt => stamp(&table.stamps.updated_at),
            SortKey::Column(no) => {
                let column = table.column(no)?;
                Self { expression: ordered(column), descending, nullable: !column.not_null }
            }
        })
    }

    fn term(&self) -> String {
        let way = if self.descending { "DESC" } else { "ASC" };
        // SQLite has NULLs first ascending.
        let nulls = match (self.nullable, self.descending) {
            (false, _) => "",
            (true, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
        };
        format!("{} {way}{nulls}", self.expression)
    }

    /// Rows that stand behind this value.
    fn beyond(&self, built: &mut Built, value: &Value) -> String {
        let expression = &self.expression;
        if value.is_null() {
            return if self.descending { format!("{expression} IS NOT NULL") } else { "0".to_owned() };
        }
        let beyond = format!("{expression} {} {}", if self.descending { "<" } else { ">" }, built.bind(value));
        if self.nullable && !self.descending { format!("({beyond} OR {expression} IS NULL)") } else { beyond }
    }

    fn same(&self, built: &mut Built, value: &Value) -> String {
        let expression = &self.expression;
        if value.is_null() { format!("{expression} IS NULL") } else { format!("{expression} = {}", built.bind(value)) }
    }
}

/// Rows that stand behind the one whose sort values are `after`: `(a beyond) OR (a same AND b beyond) OR ..`.
fn behind(built: &mut Built, order: &[Order], after: &[Value]) -> String {
    let steps: Vec<_> = order.iter().zip(after).collect();
    let mut alternatives = Vec::with_capacity(steps.len());
    let mut same: Vec<String> = Vec::new();
    for (at, (step, value)) in steps.iter().enumerate() {
        let beyond = step.beyond(built, value);
        alternatives.push(same.iter().cloned().chain([beyond]).collect::<Vec<_>>().join(" AND "));
        // A value that is bound must be used.
        if at + 1 < steps.len() {
            same.push(step.same(built, value));
        }
    }
    if alternatives.is_empty() { "1".to_owned() } else { format!("({})", alternatives.join(" OR ")) }
}
