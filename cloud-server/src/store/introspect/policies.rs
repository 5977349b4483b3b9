//! Which policy each column has: its own, else the table's, else the default, else `manual`; and which columns clash as one. Pure.
//!
//! What is said of a column or group must fit, and is an error where it does not. What is said of a table or of everything counts where it fits.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::catalog::{Column, Stamps, Table};
use sync_core::policy::Policy;
use sync_core::value::ColumnType;

use super::assemble::is_stamp;
use super::{FoundColumn, FoundTable};
use crate::settings::{Named, Settings, SettingsError, TableSettings};

/// Columns with such names and the time of a change are kept by programs and ORMs at every write; two of them never mean a conflict.
const CHANGE_TIMES: [&str; 6] = ["updated_at", "updatedAt", "modified_at", "modifiedAt", "last_modified", "last_modified_at"];

/// The policies of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policies {
    /// Of clashes of the row as a whole: `manual`, `cloud_wins` or `local_wins`.
    pub(crate) table: Policy,
    /// Of the columns; those that are not named have `manual`.
    columns: BTreeMap<String, Policy>,
    /// The columns that clash as one, by name.
    pub(crate) groups: Vec<Vec<String>>,
}

impl Policies {
    /// The columns of a declared reference, and the one that says of which kind it is, name one row together: of two sides that change one
    /// each, the merged row would name what nobody chose.
    fn join_references(&mut self, table: &FoundTable, notes: &mut Vec<String>) {
        for reference in table.references.iter().filter(|reference| reference.declared) {
            let held = reference.when.iter().map(|(kind, _)| kind).chain(&reference.columns).filter(|attnum| !table.key.contains(attnum));
            let held = held.filter_map(|attnum| table.column(*attnum)).filter(|column| column.ty.is_some());
            let held: BTreeSet<String> = held.map(|column| column.name.clone()).collect();
            if held.len() < 2 || self.groups.iter().any(|group| held.iter().all(|name| group.contains(name))) {
                continue;
            }
            let (joined, mut rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.groups).into_iter().partition(|group| group.iter().any(|name| held.contains(name)));
            let group: BTreeSet<String> = joined.into_iter().flatten().chain(held).collect();
            let mut shared = group.iter().map(|name| self.of(name));
            let first = shared.next().unwrap_or_default();
            if !first.fits_group() || shared.any(|policy| policy != first) {
                let names = group.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                notes.push(format!(
                    "{names} name one row together: a clash of them is decided by a person, since their policies differ or fit no group"
                ));
                self.columns.extend(group.iter().map(|name| (name.clone(), Policy::Manual)));
            }
            rest.push(group.into_iter().collect());
            self.groups = rest;
        }
    }

    /// The policy of the column of this name.
    pub(crate) fn of(&self, column: &str) -> Policy {
        self.columns.get(column).copied().unwrap_or_default()
    }
}

/// Gives every column its policy.
///
/// # Errors
/// `rejoin.toml` names a column that is not synced, a policy that does not fit, or a group whose columns do not go together.
pub(crate) fn policies(
    table: &FoundTable,
    settings: &Settings,
    own: Option<&TableSettings>,
    stamps: &Stamps,
    notes: &mut Vec<String>,
) -> Result<Policies, SettingsError> {
    if table.is_engine() {
        return Ok(Policies::default());
    }
    let given = Given { table, settings, stamps };
    let general = own.and_then(|own| own.policy.as_ref()).or(settings.policy.default.as_ref()).map(|policy| *policy.get_ref());
    let table_default = general.into_iter().chain(settings.policy.default.as_ref().map(|policy| *policy.get_ref()));
    let defaults: Vec<Policy> = table_default.collect();

    let grouped: BTreeSet<&str> =
        own.into_iter().flat_map(|own| &own.groups).flat_map(toml::Spanned::get_ref).map(|name| name.get_ref().as_str()).collect();
    let mut policies = Policies { table: general.filter(|policy| counts_for_rows(*policy)).unwrap_or_default(), ..Policies::default() };
    for column in table.columns.iter().filter(|column| column.ty.is_some() && !is_stamp(stamps, &column.name)) {
        let told = own.and_then(|own| own.policies.iter().find(|(name, _)| *name.get_ref() == column.name));
        let policy = match told {
            Some((name, policy)) => {
                given.check(name, column, *policy.get_ref())?;
                *policy.get_ref()
            }
            None if is_change_time(table, column) && !grouped.contains(column.name.as_str()) => {
                notes.push(format!("{}: the later time counts where both sides changed it", column.name));
                Policy::Max
            }
            None => {
                let fits = |policy: &Policy| {
                    unfit(table, column, *policy).is_none() && (policy.fits_group() || !grouped.contains(column.name.as_str()))
                };
                defaults.iter().copied().find(fits).unwrap_or_default()
            }
        };
        policies.columns.insert(column.name.clone(), policy);
    }
    if let Some(own) = own {
        for name in own.policies.keys() {
            given.column("policies", name)?;
        }
        policies.groups = given.groups(own, &policies)?;
    }
    policies.join_references(table, notes);
    Ok(policies)
}

/// Whether a table's policy decides clashes of rows as a whole; another one means `manual` there.
fn counts_for_rows(policy: Policy) -> bool {
    matches!(policy, Policy::Manual | Policy::CloudWins | Policy::LocalWins)
}

/// What `rejoin.toml` gives one table.
struct Given<'a> {
    table: &'a FoundTable,
    settings: &'a Settings,
    stamps: &'a Stamps,
}

impl Given<'_> {
    fn label(&self) -> String {
        format!("tables.{}", self.table.label())
    }

    /// The synced column of this name.
    fn column(&self, key: &str, name: &Named) -> Result<&FoundColumn, SettingsError> {
        let text = name.get_ref();
        let error = |why: &str| Err(self.settings.error(name, format!("{}.{key}: the column {text} {why}", self.label())));
        match self.table.column_named(text) {
            None => error("is not there"),
            Some(_) if is_stamp(self.stamps, text) => error("holds the row's versioning, which takes no part in merges"),
            Some(column) if column.left_out => error("stays at the cloud"),
            Some(column) if column.ty.is_none() => error("is made by PostgreSQL and not synced"),
            Some(column) => Ok(column),
        }
    }

    fn check(&self, name: &Named, column: &FoundColumn, policy: Policy) -> Result<(), SettingsError> {
        match unfit(self.table, column, policy) {
            None => Ok(()),
            Some(why) => {
                let message = format!("{}.policies: {} cannot have the policy {}: {why}", self.label(), column.name, policy.as_str());
                Err(self.settings.error(name, message))
            }
        }
    }

    fn groups(&self, own: &TableSettings, policies: &Policies) -> Result<Vec<Vec<String>>, SettingsError> {
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut groups = Vec::new();
        for group in &own.groups {
            let error = |at: &Named, why: String| Err(self.settings.error(at, format!("{}.groups: {why}", self.label())));
            let Some((first, rest)) = group.get_ref().split_first().filter(|(_, rest)| !rest.is_empty()) else {
                return Err(self.settings.error(group, format!("{}.groups: a group has two columns at least", self.label())));
            };
            for name in group.get_ref() {
                let column = self.column("groups", name)?;
                if self.table.key.contains(&column.attnum) {
                    return error(name, format!("the column {} is part of the key", column.name));
                }
                if !taken.insert(name.get_ref()) {
                    return error(name, format!("the column {} is in two groups, or twice in one", column.name));
                }
                let policy = policies.of(&column.name);
                if !policy.fits_group() {
                    let why = "a group has manual, cloud_wins, local_wins or newest";
                    return error(name, format!("{} has the policy {}: {why}", column.name, policy.as_str()));
                }
            }
            let shared = policies.of(first.get_ref());
            if let Some(other) = rest.iter().find(|name| policies.of(name.get_ref()) != shared) {
                let (one, two) = (first.get_ref(), other.get_ref());
                let (has, differs) = (shared.as_str(), policies.of(two).as_str());
                return error(other, format!("{one} has the policy {has} and {two} has {differs}: the columns of a group have one"));
            }
            groups.push(group.get_ref().iter().map(|name| name.get_ref().clone()).collect());
        }
        Ok(groups)
    }
}

/// Why a column cannot have a policy.
fn unfit(table: &FoundTable, column: &FoundColumn, policy: Policy) -> Option<String> {
    let ty = column.ty.as_ref()?;
    let unique = table.indexes.iter().filter(|index| index.unique).any(|index| index.columns.contains(&column.attnum));
    let refers = table.references.iter().any(|reference| reference.columns.contains(&column.attnum));
    unfit_policy(ty, policy, table.key.contains(&column.attnum), unique, refers)
}

fn unfit_policy(ty: &ColumnType, policy: Policy, key: bool, unique: bool, refers: bool) -> Option<String> {
    if policy == Policy::Manual {
        None
    } else if key {
        Some("it is part of the key, which names the row".to_owned())
    } else if !policy.fits(ty) {
        Some(format!("it holds {}", ty.describe()))
    } else if policy == Policy::Add && unique {
        Some("it is part of a unique key".to_owned())
    } else if policy == Policy::Add && refers {
        Some("it refers to another table".to_owned())
    } else {
        None
    }
}

/// As [`policies`] would say of a column of the catalog.
pub(crate) fn unfit_column(table: &Table, column: &Column, policy: Policy) -> Option<String> {
    let unique = table.uniques.iter().any(|unique| unique.columns.contains(&column.no));
    let refers = table.references.iter().any(|reference| reference.columns.contains(&column.no));
    unfit_policy(&column.ty, policy, table.key.contains(&column.no), unique, refers)
}

fn is_change_time(table: &FoundTable, column: &FoundColumn) -> bool {
    matches!(column.ty, Some(ColumnType::Timestamptz | ColumnType::Timestamp))
        && CHANGE_TIMES.contains(&column.name.as_str())
        && unfit(table, column, Policy::Max).is_none()
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
