//! `rejoin.toml`: what introspection cannot know. A few lines; everything has a default but the root table.
//!
//! ```toml
//! root = "productions"                  # one row of it and all that hangs from it travel together
//! global = ["equipment_specs"]          # shared tables that every site holds
//! left_out = ["audit"]                  # never synced
//! soft_delete = "is_deleted"            # where a table has this boolean, DELETE by the API marks the row
//! [stamps]                              # where a table has these columns, of a fitting type, versioning is kept there
//! version = "version"
//! [api]
//! case = "camel"
//! list = "bare"
//! [policy]
//! default = "manual"                    # what is done where both sides changed the same column: see docs/POLICIES.md
//! [history]
//! keep = "365d"                         # how long it is kept what happened to each row; "h" are hours, "d" days
//! [tables.equipment_specs]                # every key of a table: see docs/SETTINGS.md
//! path = "equipment"
//! history = false                       # nothing is kept of this table's rows
//! lease = 5000                          # numbers of its identity or serial key that a site has in stock: see docs/KEYS.md
//! policies = { notes = "text" }
//! [notify]
//! url = "https://hooks.example.org/x"   # who is told of conflicts, silent sites and failed runs: see docs/NOTIFY.md
//! secret_file = "webhook.secret"
//! ```

pub(crate) mod moved;
mod notify;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conflict_ui_api::api::path::RESERVED;
use serde::Deserialize;
use sync_core::catalog::ApiStyle;
use sync_core::limits::HISTORY_KEEP_DEFAULT;
use sync_core::policy::Policy;
use toml::Spanned;

pub use moved::Moved;
pub use notify::{Cause, NotifySettings, SecretText, SigningKey, Webhook};
pub(crate) use tables::split_filter;
pub use tables::{DeclaredDelete, DeclaredReference, StampNames, TableSettings};

/// A name in `rejoin.toml` that knows where it stands.
pub type Named = Spanned<String>;

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The whole of `rejoin.toml`. Tables are named `table` (of the schema `public`) or `schema.table`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The system's name, for people.
    pub system: Option<String>,
    /// The table whose rows are the roots of scopes.
    pub root: Option<Named>,
    /// Tables that every site holds whole.
    #[serde(default)]
    pub global: Vec<Named>,
    /// Tables that are never synced.
    #[serde(default)]
    pub left_out: Vec<Named>,
    /// The name of soft-delete marks: counts in every table with a `boolean NOT NULL` of that name.
    pub soft_delete: Option<Named>,
    /// The names of versioning columns: count in every table with a column of that name and of a fitting type.
    #[serde(default)]
    pub stamps: StampNames,
    /// How the API names and lists things.
    #[serde(default)]
    pub api: ApiStyle,
    /// What is done where both sides changed the same column.
    #[serde(default)]
    pub policy: PolicySettings,
    /// How long it is kept what happened to each row.
    #[serde(default)]
    pub history: HistorySettings,
    /// What one table does otherwise. What is said here must hold: a column that is missing or unfit is an error.
    #[serde(default)]
    pub tables: BTreeMap<Named, TableSettings>,
    /// Who is told of what somebody should look at.
    pub notify: Option<NotifySettings>,
    #[serde(skip)]
    text: moved::Text,
    /// Where the file is, and what it names is found.
    #[serde(skip)]
    folder: Option<PathBuf>,
}

/// `[policy]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// The policy of every column of which nothing else is said, as far as it fits; `manual` where it is left out.
    pub default: Option<Spanned<Policy>>,
}

/// `[history]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistorySettings {
    /// How long entries are kept: a number of days (`90d`) or hours (`12h`).
    pub keep: Option<Named>,
}

impl HistorySettings {
    /// How long entries are kept; [`HISTORY_KEEP_DEFAULT`] where nothing is said.
    #[must_use]
    pub fn keep(&self) -> Duration {
        self.keep.as_ref().and_then(|keep| age(keep.get_ref())).unwrap_or(HISTORY_KEEP_DEFAULT)
    }
}

/// An age in words.
fn age(text: &str) -> Option<Duration> {
    let (number, hours) = text.strip_suffix('d').map(|number| (number, 24)).or_else(|| text.strip_suffix('h').map(|number| (number, 1)))?;
    let hours = number.parse::<u32>().ok().filter(|number| (1..=100_000).contains(number))?.checked_mul(hours)?;
    Some(Duration::from_secs(u64::from(hours) * 3_600))
}

/// How a file is called of which only the text is known.
const FILE: &str = "rejoin.toml";

/// What is wrong in `rejoin.toml`, and in which line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {message}")]
pub struct SettingsError {
    /// The file, by its name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; names the key.
    pub message: String,
}

/// Why `rejoin.toml` could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It says something that cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Settings {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or is not right.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|error| LoadError::Read { path: path.display().to_string(), error })?;
        Self::of_file(path, &text)
    }

    /// Reads the text that was found in the file at `path`.
    pub(crate) fn of_file(path: &Path, text: &str) -> Result<Self, LoadError> {
        let name = path.file_name().map_or_else(|| FILE.to_owned(), |name| name.to_string_lossy().into_owned());
        let mut settings = Self::parse(text).map_err(|error| SettingsError { file: name.clone(), ..error })?;
        settings.text.file = name;
        settings.folder = path.parent().map(Path::to_owned);
        Ok(settings)
    }

    /// Reads the text of a `rejoin.toml`.
    ///
    /// # Errors
    /// A key is unknown or of the wrong type, or two of them contradict each other.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let mut settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(&line_ends, span.start));
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            if shown.to_lowercase().contains("secret") {
                return SettingsError {
                    file: FILE.to_owned(),
                    line,
                    message: "this line cannot be read (it is not shown: it may hold a secret)".to_owned(),
                };
            }
            SettingsError { file: FILE.to_owned(), line, message: format!("{}: {shown}", error.message()) }
        })?;
        settings.text = moved::Text { file: FILE.to_owned(), whole: text.to_owned(), line_ends };
        settings.check()?;
        Ok(settings)
    }

    /// An error about this value.
    #[must_use]
    pub fn error<T>(&self, at: &Spanned<T>, message: String) -> SettingsError {
        SettingsError { file: self.text.file.clone(), line: line_at(&self.text.line_ends, at.span().start), message }
    }

    /// As they are written.
    pub(crate) fn written(&self) -> &str {
        &self.text.whole
    }

    /// The values that catalogs are made by, however they are written: without comments and order. What waits for the next start is not among them.
    pub(crate) fn values(&self) -> String {
        let mut values: toml::Table = self.text.whole.parse().unwrap_or_default();
        for key in ["notify", "history"] {
            values.remove(key);
        }
        values.to_string()
    }

    /// What is said of this table by itself.
    #[must_use]
    pub fn table(&self, schema: &str, table: &str) -> Option<&TableSettings> {
        self.tables.iter().find(|(name, _)| names(name.get_ref(), schema, table)).map(|(_, settings)| settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let names = self.root.iter().chain(&self.global).chain(&self.left_out).chain(self.tables.keys());
        for name in names {
            if name.get_ref().split('.').any(str::is_empty) || name.get_ref().split('.').count() > 2 {
                return Err(self.error(name, format!("{:?} names no table: write table or schema.table", name.get_ref())));
            }
        }
        let is_root = |name: &&Named| self.root.as_ref().is_some_and(|root| same_table(root, name));
        if let Some(name) = self.global.iter().find(is_root) {
            return Err(self.error(name, format!("global: {} is the root", name.get_ref())));
        }
        if let Some(name) = self.left_out.iter().find(is_root) {
            return Err(self.error(name, format!("left_out: {} is the root", name.get_ref())));
        }
        for name in &self.left_out {
            if self.global.iter().any(|other| same_table(other, name)) {
                return Err(self.error(name, format!("left_out: {} is in global too", name.get_ref())));
            }
        }
        if let Some(keep) = self.history.keep.as_ref().filter(|keep| age(keep.get_ref()).is_none()) {
            return Err(self.error(keep, format!("history.keep: {:?} is no age: write 90d for days or 12h for hours", keep.get_ref())));
        }
        self.check_tables()?;
        self.check_notify()
    }
}

/// Whether the engine's own routes take this path.
pub(crate) fn is_reserved_path(path: &str) -> bool {
    RESERVED.contains(&path)
}

/// Whether `name` (`table` or `schema.table`) names this table.
#[must_use]
pub(crate) fn names(name: &str, schema: &str, table: &str) -> bool {
    name.split_once('.').unwrap_or(("public", name)) == (schema, table)
}

fn same_table(left: &Named, right: &Named) -> bool {
    let (schema, table) = right.get_ref().split_once('.').unwrap_or(("public", right.get_ref()));
    names(left.get_ref(), schema, table)
}

fn line_at(line_ends: &[usize], offset: usize) -> usize {
    line_ends.partition_point(|end| *end < offset) + 1
}

#[cfg(test)]
mod tests {
    use sync_core::catalog::{JsonCase, ListForm};

    use super::*;

    #[test]
    fn everything_has_a_default() {
        let settings = Settings::parse("").unwrap();
        assert!(settings.root.is_none() && settings.tables.is_empty());
        assert_eq!((settings.api.case, settings.api.list), (JsonCase::AsIs, ListForm::Page));
    }

    #[test]
    fn a_table_is_found_by_its_bare_or_its_full_name() {
        let settings = Settings::parse("[tables.a]\npath = 'x'\n[tables.'crm.a']\npath = 'y'\n").unwrap();
        let path = |schema: &str| settings.table(schema, "a").and_then(|table| table.path.as_ref()).map(|path| path.get_ref().clone());
        assert_eq!((path("public").unwrap(), path("crm").unwrap()), ("x".to_owned(), "y".to_owned()));
        assert_eq!(path("other"), None);
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_key() {
        for (text, line, words) in [
            ("\nrot = 'a'", 2, "unknown field `rot`"),
            ("root = 5", 1, "expected a string: root = 5"),
            ("root = 'a'\n[tables.b]\npaht = 'x'", 3, "unknown field `paht`"),
            ("root = 'a'\n\n[api]\ncase = 'kebab'", 4, "unknown variant `kebab`"),
            ("root = 'a'\n[stamps]\nverzion = 'v'", 3, "unknown field `verzion`"),
            ("root = 'a", 1, "root = 'a"),
            ("root = 'a.b.c'", 1, "names no table"),
            ("root = 'a'\nglobal = [\n'b',\n'public.a']", 4, "global: public.a is the root"),
            ("root = 'a'\nleft_out = ['a']", 2, "left_out: a is the root"),
            ("global = ['b']\nleft_out = ['b']", 2, "left_out: b is in global too"),
            ("[tables.b]\npath = 'sync'", 2, "tables.b.path: \"sync\" is a path of the engine's own"),
            ("[tables.b]\npath = 'a/b'", 2, "is made of letters"),
            ("[policy]\n\ndefault = 'newst'", 3, "unknown variant `newst`"),
            ("[policy]\nall = 'newest'", 2, "unknown field `all`"),
            ("[tables.b]\npolicies = { a = 'text',\n b = 'sum' }", 3, "unknown variant `sum`"),
            ("[tables.b]\n\npolicy = 'mine'", 3, "unknown variant `mine`"),
            ("[tables.b]\ngroups = ['a', 'b']", 2, "expected a sequence"),
            ("[tables.b]\nhistory = 'yes'", 2, "expected a boolean"),
            ("[history]\nkeep = '90 days'", 2, "history.keep: \"90 days\" is no age"),
            ("[history]\nkeep = '0d'", 2, "is no age"),
            ("[tables.a]\npath = 'x'\n[tables.b]\npath = 'x'", 4, "tables.b.path: \"x\" is another table's path already"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
