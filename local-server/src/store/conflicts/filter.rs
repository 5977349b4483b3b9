//! A filter as SQL.

use conflict_ui_api::backend::ConflictFilter;
use rusqlite::types::Value as Sql;
use sync_core::value::timestamp_text;

/// The group that a conflict is in: one that was parked before groups were kept is a group of its own.
pub(super) const GROUP: &str = "coalesce(c.group_id, c.id)";

/// Conditions on `c` that must all hold, with their values in order.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    terms: Vec<String>,
    pub(super) values: Vec<Sql>,
}

impl Conditions {
    /// Those of a filter.
    pub(super) fn of(filter: &ConflictFilter) -> Self {
        let mut all = Self::default();
        let text = |text: &str| Sql::Text(text.to_owned());
        let equals = [
            ("c.resolution", filter.resolution.map(|resolution| text(resolution.as_str()))),
            ("c.table_name", filter.table.as_deref().map(text)),
            ("c.kind", filter.kind.map(|kind| text(kind.as_str()))),
            ("c.site_name", filter.site.as_deref().map(text)),
            ("c.push_no", filter.push.map(Sql::Integer)),
            ("c.record_id", filter.record.as_deref().map(text)),
            ("c.root_id", filter.root.map(|root| text(&root.to_string()))),
        ];
        for (column, value) in equals {
            if let Some(value) = value {
                let value = all.bind(value);
                all.add(format!("{column} = {value}"));
            }
        }
        if let Some(group) = filter.group {
            all.in_group(&group.to_string());
        }
        if let Some(column) = &filter.column {
            let value = all.bind(text(column));
            all.add(format!("EXISTS (SELECT 1 FROM json_each(c.columns) j WHERE j.value = {value})"));
        }
        for (way, time) in [(">=", filter.since), ("<", filter.until)] {
            if let Some(time) = time {
                let value = all.bind(Sql::Text(timestamp_text(time)));
                all.add(format!("c.created_at {way} {value}"));
            }
        }
        match filter.by_policy {
            Some(true) => all.add("c.policy IS NOT NULL"),
            Some(false) => all.add("c.policy IS NULL"),
            None => {}
        }
        all
    }

    /// One more.
    pub(super) fn add(&mut self, term: impl Into<String>) {
        self.terms.push(term.into());
    }

    /// Those of a group; in terms that each have an index.
    pub(super) fn in_group(&mut self, group: &str) {
        let value = self.bind(Sql::Text(group.to_owned()));
        self.add(format!("(c.group_id = {value} OR c.group_id IS NULL AND c.id = {value})"));
    }

    /// A value's place.
    pub(super) fn bind(&mut self, value: Sql) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    /// After `WHERE`.
    pub(super) fn sql(&self) -> String {
        if self.terms.is_empty() { "1".to_owned() } else { self.terms.join(" AND ") }
    }
}
