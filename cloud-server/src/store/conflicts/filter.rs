//! What of `sync_conflicts` a filter asks for, as SQL over the alias `c`. Only what is asked stands in it, so that the planner knows which index
//! serves; every value is bound.

use conflict_ui_api::backend::ConflictFilter;
use sync_core::conflict::{ConflictKind, Resolution};
use tokio_postgres::types::ToSql;

/// Conditions under construction, with their values.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    sql: Vec<String>,
    params: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// Those of a filter.
    pub(super) fn of(filter: &ConflictFilter) -> Self {
        let mut conditions = Self::default();
        if let Some(resolution) = filter.resolution {
            conditions.add(resolution_is(resolution));
        }
        conditions.equal("c.table_name COLLATE \"C\"", filter.table.clone());
        conditions.equal("c.record_id COLLATE \"C\"", filter.record.clone());
        conditions.equal("c.kind", filter.kind.map(ConflictKind::as_str));
        conditions.equal("c.site_name", filter.site.clone());
        conditions.equal("c.push_no", filter.push);
        conditions.equal("c.root_id", filter.root.map(|root| root.0));
        if let Some(group) = filter.group {
            let group = conditions.bind(group);
            conditions.add(format!("(c.group_id = {group} OR (c.group_id IS NULL AND c.id = {group}))"));
        }
        if let Some(column) = filter.column.clone() {
            let column = conditions.bind(column);
            conditions.add(format!("{column} = ANY (c.columns)"));
        }
        if let Some(since) = filter.since {
            let since = conditions.bind(since);
            conditions.add(format!("c.created_at >= {since}"));
        }
        if let Some(until) = filter.until {
            let until = conditions.bind(until);
            conditions.add(format!("c.created_at < {until}"));
        }
        if let Some(by_policy) = filter.by_policy {
            conditions.add(format!("c.policy IS {} NULL", if by_policy { "NOT" } else { "" }));
        }
        conditions
    }

    /// Only open ones, whatever else is asked.
    pub(super) fn open(filter: &ConflictFilter) -> Self {
        let mut conditions = Self::of(&ConflictFilter { resolution: Some(Resolution::Pending), ..filter.clone() });
        if filter.resolution.is_some_and(|resolution| resolution != Resolution::Pending) {
            conditions.add("false".to_owned());
        }
        conditions
    }

    fn equal(&mut self, expression: &str, value: Option<impl ToSql + Sync + Send + 'static>) {
        if let Some(value) = value {
            let value = self.bind(value);
            self.add(format!("{expression} = {value}"));
        }
    }

    /// Binds a value; where it stands.
    pub(super) fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.params.push(Box::new(value));
        format!("${}", self.params.len())
    }

    /// One more condition.
    pub(super) fn add(&mut self, condition: String) {
        self.sql.push(condition);
    }

    /// All of them.
    pub(super) fn sql(&self) -> String {
        if self.sql.is_empty() { "true".to_owned() } else { self.sql.join(" AND ") }
    }

    /// What the driver takes.
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
    }
}

/// A literal, so that an index over the open ones serves.
fn resolution_is(resolution: Resolution) -> String {
    format!("c.resolution = '{}'", resolution.as_str())
}
