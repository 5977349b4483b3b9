//! How the API of a system names and lists things.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Catalog, Column, Table};
use crate::id::ColumnNo;

/// What a system decides about its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiStyle {
    /// The case of JSON names.
    #[serde(default)]
    pub case: JsonCase,
    /// The form of lists.
    #[serde(default)]
    pub list: ListForm,
}

/// The case of JSON names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JsonCase {
    /// As the columns are named.
    #[default]
    AsIs,
    /// `show_name` is `showName`.
    Camel,
}

/// The form in which the API returns a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListForm {
    /// A bare array; pages by the `Link` header.
    Bare,
    /// `{"sites":[..]}`; pages by the `Link` header.
    Named,
    /// `{"data":[..],"has_more":b,"next_cursor":".."}`.
    #[default]
    Page,
}

/// What `rejoin.toml` says of one table's API, where names are other ones than its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableApi {
    /// What a named list calls its records; `None`: the path, in the system's case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// Columns with a JSON name that the system's case does not make.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<ColumnNo, String>,
    /// Names of filters besides the columns' own: the column, and the operator where it is not `eq`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, (ColumnNo, String)>,
}

impl TableApi {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Catalog {
    /// A column's name as the API writes it.
    #[must_use]
    pub fn field(&self, table: &Table, column: &Column) -> String {
        table.api.names.get(&column.no).cloned().unwrap_or_else(|| self.api.case.apply(&column.name))
    }

    /// What the API calls the column of this name; a name that the table does not have follows the system's case.
    #[must_use]
    pub fn field_named(&self, table: &Table, name: &str) -> String {
        table.column_named(name).map_or_else(|| self.api.case.apply(name), |column| self.field(table, column))
    }

    /// The column that a client calls so: by its JSON name, or by its own.
    #[must_use]
    pub fn column_called<'t>(&self, table: &'t Table, name: &str) -> Option<&'t Column> {
        table.columns.iter().find(|column| self.field(table, column) == name).or_else(|| table.column_named(name))
    }

    /// The JSON names of a table's columns.
    pub fn fields(&self, table: &Table) -> Vec<String> {
        table.columns.iter().map(|column| self.field(table, column)).collect()
    }

    /// What a named list calls this table's records.
    #[must_use]
    pub fn list_name(&self, table: &Table) -> String {
        table.api.list.clone().unwrap_or_else(|| self.api.case.apply(&table.path))
    }
}

impl JsonCase {
    /// A column's name as the API writes it.
    #[must_use]
    pub fn apply(self, name: &str) -> String {
        match self {
            Self::AsIs => name.to_owned(),
            Self::Camel => {
                let mut out = String::with_capacity(name.len());
                let mut upper = false;
                for letter in name.chars() {
                    if letter == '_' && !out.is_empty() {
                        upper = true;
                    } else if upper {
                        out.extend(letter.to_uppercase());
                        upper = false;
                    } else {
                        out.push(letter);
                    }
                }
                out
            }
        }
    }
}
