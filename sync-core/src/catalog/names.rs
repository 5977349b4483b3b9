//! Names that PostgreSQL tells apart and a site's SQLite does not: there `Name` and `name` are one, and some names are taken.

use super::{Catalog, Stamps, Table};

/// Columns that a site's tables have besides the user's and the stamps begin so.
const OWN: &str = "rejoin_";
/// Tables of a site's own that do not begin so.
const OWN_TABLES: [&str; 2] = ["sync_log", "sync_conflicts"];
/// SQLite keeps tables that begin so for itself.
const SQLITES: &str = "sqlite_";

/// Why a table cannot stand at a site under its names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameClash {
    /// The table is called like one that a site has of its own.
    #[error("is called like a table that every site has of its own")]
    Table,
    /// Another table's name differs by case only.
    #[error("has the same name as {0} to a site's SQLite, which does not tell upper from lower case")]
    Tables(String),
    /// A column is called like one that a site has of its own.
    #[error("has the column {0}, which a site's tables have of their own")]
    Column(String),
    /// Names of two columns, or of one and of one that holds versioning, differ by case only.
    #[error("has the columns {0} and {1}, which are one to a site's SQLite: it does not tell upper from lower case")]
    Columns(String, String),
}

/// A name as SQLite compares it: only the letters of ASCII are folded.
#[must_use]
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Whether a user's table of this name stands in the way of one that a site has of its own.
#[must_use]
pub fn table_clash(sqlite_name: &str) -> Option<NameClash> {
    let name = folded(sqlite_name);
    (OWN_TABLES.contains(&name.as_str()) || name.starts_with(OWN) || name.starts_with(SQLITES)).then_some(NameClash::Table)
}

/// What is wrong with the columns of a user's table; `columns` are the synced ones, without the stamps.
pub fn column_clash<'a>(columns: impl IntoIterator<Item = &'a str>, stamps: &Stamps) -> Option<NameClash> {
    let mut seen = stamps.names().to_vec();
    for name in columns {
        if let Some(other) = seen.iter().find(|other| other.eq_ignore_ascii_case(name)) {
            return Some(NameClash::Columns((*other).to_owned(), name.to_owned()));
        }
        if folded(name).starts_with(OWN) {
            return Some(NameClash::Column(name.to_owned()));
        }
        seen.push(name);
    }
    None
}

impl Catalog {
    /// The first table that cannot stand at a site under its names, and why.
    #[must_use]
    pub fn name_clash(&self) -> Option<(&Table, NameClash)> {
        let users = || self.tables.iter().filter(|table| !table.engine);
        users().enumerate().find_map(|(at, table)| {
            let name = table.sqlite_name();
            let twin = users().take(at).find(|other| other.sqlite_name().eq_ignore_ascii_case(&name));
            let clash = table_clash(&name).or_else(|| twin.map(|other| NameClash::Tables(other.sqlite_name())));
            let columns = table.columns.iter().map(|column| column.name.as_str());
            clash.or_else(|| column_clash(columns, &table.stamps)).map(|clash| (table, clash))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_sqlite_does() {
        let plain = |name: &str| format!("rejoin_{name}");
        let mut stamps = Stamps {
            version: plain("version"),
            updated_at: plain("updated_at"),
            last_modified_by: plain("modified_by"),
            synced_at: plain("synced_at"),
        };
        let pair = |one: &str, other: &str| Some(NameClash::Columns(one.to_owned(), other.to_owned()));
        for (columns, clash) in [
            (&["id", "name", "Name"] as &[_], pair("name", "Name")),
            (&["\u{c9}t\u{e9}", "\u{e9}t\u{e9}"], None),
            (&["id", "Rejoin_Version"], pair("rejoin_version", "Rejoin_Version")),
            (&["id", "Rejoin_Row"], Some(NameClash::Column("Rejoin_Row".to_owned()))),
            (&["id", "Version", "oid", "rejoinder"], None),
        ] {
            assert_eq!(column_clash(columns.iter().copied(), &stamps), clash, "{columns:?}");
        }
        stamps.version = "version".to_owned();
        assert_eq!(column_clash(["id", "Version"], &stamps), pair("version", "Version"));
        for (name, taken) in
            [("Sync_Log", true), ("sqlite_stat", true), ("rejoin_base_1", true), ("sync_logs", false), ("crm.sync_log", false)]
        {
            assert_eq!(table_clash(name).is_some(), taken, "{name}");
        }
    }
}
