//! Lists: equality filters, any order, keyset paging. One query a page.

use conflict_ui_api::backend::{ListQuery, SortKey};
use sync_core::catalog::{Column, Table};
use sync_core::value::{ColumnType, Value};

use super::found_list;
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
    let mut conditions = vec![format!("t.rejoin_held <> {}", HeldState::Ghost as i64)];
    for (no, value) in &list.filters {
        conditions.push(match table.column(*no) {
            Some(column) if value.is_null() => format!("t.{} IS NULL", quoted(&column.name)),
            Some(column) => format!("t.{} = {}", quoted(&column.name), built.bind(value)),
            // A column that is gone equals nothing.
            None => "0".to_owned(),
        });
    }
    if !list.deleted
        && let Some(mark) = table.soft_delete.and_then(|no| table.column(no))
    {
        conditions.push(format!("t.{} IS NOT 1", quoted(&mark.name)));
    }
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

/// One step of the order, as SQL.
struct Order {
    name: String,
    descending: bool,
    nullable: bool,
    /// Stored as decimal text: ordered by value, then by text, so that the order stays total where values agree in a double's digits.
    numeric: bool,
}

impl Order {
    fn of(table: &Table, by: SortKey, descending: bool) -> Option<Self> {
        let stamp = |name: &str| Self { name: format!("t.{}", quoted(name)), descending, nullable: false, numeric: false };
        Some(match by {
            SortKey::Version => stamp(&table.stamps.version),
            SortKey::UpdatedAt => stamp(&table.stamps.updated_at),
            SortKey::Column(no) => {
                let Column { name, ty, not_null, .. } = table.column(no)?;
                let numeric = *ty == ColumnType::Numeric;
                Self { name: format!("t.{}", quoted(name)), descending, nullable: !not_null, numeric }
            }
        })
    }

    fn term(&self) -> String {
        let (name, way) = (&self.name, if self.descending { "DESC" } else { "ASC" });
        // SQLite has NULLs first ascending.
        let nulls = match (self.nullable, self.descending) {
            (false, _) => "",
            (true, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
        };
        if self.numeric { format!("CAST({name} AS REAL) {way}{nulls}, {name} {way}{nulls}") } else { format!("{name} {way}{nulls}") }
    }

    /// Rows that stand behind this value.
    fn beyond(&self, built: &mut Built, value: &Value) -> String {
        let name = &self.name;
        if value.is_null() {
            return if self.descending { format!("{name} IS NOT NULL") } else { "0".to_owned() };
        }
        let than = if self.descending { "<" } else { ">" };
        let value = built.bind(value);
        let beyond = if self.numeric {
            format!("(CAST({name} AS REAL), {name}) {than} (CAST({value} AS REAL), {value})")
        } else {
            format!("{name} {than} {value}")
        };
        if self.nullable && !self.descending { format!("({beyond} OR {name} IS NULL)") } else { beyond }
    }

    fn same(&self, built: &mut Built, value: &Value) -> String {
        if value.is_null() { format!("{} IS NULL", self.name) } else { format!("{} = {}", self.name, built.bind(value)) }
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
