//! How the API of a system names and lists things.

use serde::{Deserialize, Serialize};

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
