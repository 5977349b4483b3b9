//! Which conflicts a command is about.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use conflict_ui_api::backend::ConflictFilter;
use conflict_ui_api::moment;
use serde_json::Value;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::id::ConflictId;
use uuid::Uuid;

use crate::exit::{Failure, Result};

/// Every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which conflicts")]
pub(super) struct FilterArgs {
    /// Only of this table (path or name)
    #[arg(long)]
    table: Option<String>,
    /// Only of this kind, as update_update or foreign_key
    #[arg(long, value_parser = kind)]
    kind: Option<ConflictKind>,
    /// Only of this site
    #[arg(long)]
    site: Option<String>,
    /// Only of this group
    #[arg(long, value_name = "ID")]
    group: Option<Uuid>,
    /// Only of the site's push of this number
    #[arg(long, value_name = "NUMBER")]
    push: Option<i64>,
    /// Only those in which this column clashed
    #[arg(long)]
    column: Option<String>,
    /// Only of this record, with --table
    #[arg(long, value_name = "ID", requires = "table")]
    record: Option<String>,
    /// Only those parked longer ago than this, as 24h or 30d, or before a time
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<DateTime<Utc>>,
    /// Only those parked since, as 24h or 30d, or a time
    #[arg(long, value_name = "AGE", value_parser = age)]
    since: Option<DateTime<Utc>>,
    /// Only those that hang from this conflict
    #[arg(long, value_name = "ID")]
    root: Option<Uuid>,
}

/// Of which resolution.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Shown {
    /// Open ones
    #[default]
    Pending,
    CloudWins,
    LocalWins,
    Manual,
    /// Decided by a policy: losses on record
    Policy,
    All,
}

fn kind(name: &str) -> std::result::Result<ConflictKind, String> {
    ConflictKind::from_name(name).ok_or_else(|| {
        "expected update_update, update_delete, delete_update, insert_insert, unique, foreign_key, check, schema or rejected".to_owned()
    })
}

/// A time, or how long ago.
pub(crate) fn age(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    moment::read(text, Utc::now())
        .ok_or_else(|| "expected an age as 90s, 15m, 24h, 30d or 2w, or a time as 2026-01-31T12:00:00Z".to_owned())
}

impl FilterArgs {
    /// The filter as the API has it.
    pub(super) fn filter(self, shown: Shown) -> ConflictFilter {
        let resolution = match shown {
            Shown::Pending => Some(Resolution::Pending),
            Shown::CloudWins => Some(Resolution::CloudWins),
            Shown::LocalWins => Some(Resolution::LocalWins),
            Shown::Manual => Some(Resolution::Manual),
            Shown::Policy | Shown::All => None,
        };
        ConflictFilter {
            resolution,
            table: self.table,
            kind: self.kind,
            site: self.site,
            group: self.group,
            push: self.push,
            column: self.column,
            since: self.since,
            until: self.older_than,
            record: self.record,
            by_policy: matches!(shown, Shown::Policy).then_some(true),
            root: self.root.map(ConflictId),
        }
    }
}

/// A filter as the parameters of a list.
pub(super) fn parameters(filter: &ConflictFilter) -> Result<Vec<(&'static str, String)>> {
    let json = body(filter)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(MEMBERS.iter().filter_map(|name| json.get(*name).filter(|value| !value.is_null()).map(|value| (*name, text(value)))).collect())
}

/// The members of a filter, as parameters have them too.
const MEMBERS: [&str; 12] =
    ["resolution", "table", "kind", "site", "group", "push", "column", "since", "until", "record", "byPolicy", "root"];

/// The same as a body's member.
pub(super) fn body(filter: &ConflictFilter) -> Result<Value> {
    serde_json::to_value(filter).map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_can_be_asked_by_every_member_of_a_filter() {
        let json = body(&ConflictFilter::default()).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, MEMBERS);
        let filter = FilterArgs { push: Some(3), site: Some("a b".into()), ..FilterArgs::default() }.filter(Shown::Policy);
        assert_eq!(parameters(&filter).unwrap(), [("site", "a b".to_owned()), ("push", "3".to_owned()), ("byPolicy", "true".to_owned())]);
    }
}
