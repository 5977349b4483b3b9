//! What `rejoin.toml` calls otherwise in the API of a table: its list, its columns, its filters.

use std::collections::BTreeMap;

use conflict_ui_api::api::records::{OPERATORS, PARAMETERS};
use sync_core::catalog::Stamps;

use super::super::assemble::is_stamp;
use super::super::{FoundColumn, FoundTable};
use crate::settings::{Named, Settings, SettingsError, TableSettings, split_filter};

/// The names of one table, by the columns' own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) list: Option<String>,
    pub(crate) names: BTreeMap<String, String>,
    /// The column, and the operator.
    pub(crate) filters: BTreeMap<String, (String, String)>,
}

/// Reads them.
///
/// # Errors
/// `rejoin.toml` names a column that is not synced, an operator that there is not, or gives one name to two things.
pub(super) fn names(table: &FoundTable, settings: &Settings, own: Option<&TableSettings>, stamps: &Stamps) -> Result<Names, SettingsError> {
    let Some(own) = own else { return Ok(Names::default()) };
    let given = Given { table, settings, stamps };
    let mut names = Names { list: own.list.as_ref().map(|list| list.get_ref().clone()), ..Names::default() };
    if let Some(list) = own.list.as_ref().filter(|list| list.get_ref().is_empty()) {
        return Err(given.error("list", list, "names nothing"));
    }
    for (column, json) in &own.names {
        let found = given.column("names", column, column.get_ref())?;
        given.free("names", json, Some(found), &names)?;
        names.names.insert(found.name.clone(), json.get_ref().clone());
    }
    for (name, filter) in &own.filters {
        let (column, operator) = split_filter(filter.get_ref());
        let found = given.column("filters", filter, column)?;
        let operator = operator.unwrap_or("eq");
        if !OPERATORS.contains(&operator) {
            return Err(given.error("filters", filter, &format!("there is no operator {operator}; there are {}", OPERATORS.join(", "))));
        }
        given.free("filters", name, None, &names)?;
        names.filters.insert(name.get_ref().clone(), (found.name.clone(), operator.to_owned()));
    }
    Ok(names)
}

/// What `rejoin.toml` gives one table.
struct Given<'a> {
    table: &'a FoundTable,
    settings: &'a Settings,
    stamps: &'a Stamps,
}

impl Given<'_> {
    fn error(&self, key: &str, at: &Named, why: &str) -> SettingsError {
        self.settings.error(at, format!("tables.{}.{key}: {why}", self.table.label()))
    }

    fn synced(&self) -> impl Iterator<Item = &FoundColumn> {
        self.table.columns.iter().filter(|column| column.ty.is_some() && !is_stamp(self.stamps, &column.name))
    }

    fn column(&self, key: &str, at: &Named, name: &str) -> Result<&FoundColumn, SettingsError> {
        let found = self.synced().find(|column| column.name == name);
        found.ok_or_else(|| self.error(key, at, &format!("there is no synced column {name}")))
    }

    /// That a name means nothing else in a query or in a record. `of`: the column that is to be called so.
    fn free(&self, key: &str, name: &Named, of: Option<&FoundColumn>, known: &Names) -> Result<(), SettingsError> {
        let text = name.get_ref().as_str();
        let case = self.settings.api.case;
        let called = |own: &str| own == text || case.apply(own) == text;
        // Another column's own name, unless that is called otherwise too.
        let column = |column: &&FoundColumn| {
            of.is_none_or(|of| of.attnum != column.attnum)
                && (column.name == text || known.names.get(&column.name).map_or_else(|| case.apply(&column.name), String::clone) == text)
        };
        let taken = if text.is_empty() || text.contains(['[', ']', ',', '.', ':']) {
            Some("is no name: it is empty, or has one of [ ] , . :".to_owned())
        } else if PARAMETERS.contains(&text) {
            Some("is a parameter of every list".to_owned())
        } else if self.stamps.names().into_iter().any(called) {
            Some("is the name of a versioning column".to_owned())
        } else {
            self.synced().find(column).map(|column| format!("is what the column {} is called", column.name))
        };
        taken.map_or(Ok(()), |taken| Err(self.error(key, name, &format!("{text:?} {taken}"))))
    }
}
