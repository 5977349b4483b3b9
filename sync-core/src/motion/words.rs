//! What a change is called, and what follows from it, in words for people.

use super::{Change, RuleKind, What};

impl Change {
    /// The change in a few words: `NOT NULL on assets.owner`.
    #[must_use]
    pub fn title(&self) -> String {
        let table = &self.table;
        match &self.what {
            What::TableAdded => format!("new table {table}"),
            What::TableRenamed { to } => format!("table {table} is renamed to {to}"),
            What::TableDropped => format!("table {table} is dropped or no longer synced"),
            What::MadeAnew => format!("table {table} is made anew"),
            What::ColumnAdded { column, .. } => format!("new column {table}.{column}"),
            What::ColumnRenamed { column, to } => format!("column {table}.{column} is renamed to {to}"),
            What::ColumnDropped { column } => format!("column {table}.{column} is dropped"),
            What::TypeChanged { column, from, to, .. } => format!("{table}.{column} becomes {to}, from {from}"),
            What::NotNull { column } => format!("NOT NULL on {table}.{column}"),
            What::Nullable { column } => format!("{table}.{column} may be NULL"),
            What::DefaultChanged { column } => format!("another default on {table}.{column}"),
            What::LabelAdded { column, label } => format!("new value {label} of {table}.{column}"),
            What::LabelRemoved { column, label } => format!("value {label} of {table}.{column} is gone"),
            What::Relabelled { column, fed: true, .. } => format!("{table}.{column} is of another type under the same name"),
            What::Relabelled { column, labels, .. } => format!("values {} of {table}.{column} change places", labels.join(", ")),
            What::KeyChanged { to } => format!("the key of {table} becomes ({})", to.join(", ")),
            What::UniqueAdded { columns } => format!("UNIQUE on {table} ({})", columns.join(", ")),
            What::UniqueDropped { columns } => format!("no UNIQUE on {table} ({}) any more", columns.join(", ")),
            What::ReferenceAdded { columns, to } => format!("reference from {table} ({}) to {to}", columns.join(", ")),
            What::ReferenceDropped { columns, to } => format!("no reference from {table} ({}) to {to} any more", columns.join(", ")),
            What::DeleteRuleChanged { columns, to } => format!("ON DELETE {to} on {table} ({})", columns.join(", ")),
            What::ScopeChanged => format!("rows of {table} find their scope another way"),
            What::RuleAdded { rule, .. } => format!("{rule} on {table}"),
        }
    }

    /// What sites do with it.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match &self.what {
            What::TableAdded => "its rows are sent to the sites that hold their scopes",
            What::TableRenamed { .. } | What::ColumnRenamed { .. } => {
                "nothing is sent again: edits made under the old name land under the new one"
            }
            What::TableDropped => "sites drop it once no unsent edit of it is left",
            What::MadeAnew => "every row is sent again, and sites let go of those that do not come",
            What::ColumnAdded { fed: true, .. } => "every row is sent again: each holds a value of its own",
            What::ColumnAdded { fed: false, .. } => {
                "nothing is sent again: the catalog says what rows hold in it; edits made before leave it as it is"
            }
            What::ColumnDropped { .. } => "sites drop it once no unsent edit of it is left",
            What::TypeChanged { fed: true, .. } => "every row is sent again, once",
            What::TypeChanged { fed: false, .. } => "nothing is sent again: PostgreSQL rewrites nothing",
            What::NotNull { .. } => "nothing is sent again",
            What::LabelAdded { .. } => "nothing is sent again: rows that have it are",
            What::LabelRemoved { .. } => "rows that have another one now are sent again; all, where the type is another one",
            What::Relabelled { fed: true, .. } => "every row is sent again, once",
            What::Relabelled { .. } => "rows that have one of them are sent again",
            What::KeyChanged { .. } => "every row is sent again under its new key",
            What::ScopeChanged => "rows move to other scopes: sites that do not hold those let them go",
            What::Nullable { .. }
            | What::DefaultChanged { .. }
            | What::UniqueAdded { .. }
            | What::UniqueDropped { .. }
            | What::ReferenceAdded { .. }
            | What::ReferenceDropped { .. }
            | What::DeleteRuleChanged { .. } => "nothing is sent again",
            What::RuleAdded { .. } => "the catalog does not tell it: sites do not know of it, and the cloud holds their edits to it",
        }
    }

    /// The change as what causes something: `NOT NULL on assets.owner`, `dropping assets.owner`.
    #[must_use]
    pub fn cause(&self) -> String {
        let table = &self.table;
        match &self.what {
            What::TableDropped => format!("dropping table {table}"),
            What::ColumnDropped { column } => format!("dropping {table}.{column}"),
            What::TypeChanged { column, to, .. } => format!("{to} for {table}.{column}"),
            What::LabelRemoved { column, label } => format!("dropping the value {label} of {table}.{column}"),
            What::ReferenceAdded { columns, to } => format!("the reference from {table} ({}) to {to}", columns.join(", ")),
            What::KeyChanged { .. } => format!("the new key of {table}"),
            _ => self.title(),
        }
    }

    /// What sites that still have the older catalog would park, if they wrote it, after `will park`; where it is of some columns, the rest
    /// of each row is taken.
    #[must_use]
    pub fn parks(&self) -> Option<String> {
        let table = &self.table;
        let what = match &self.what {
            What::TableDropped => format!("edits of table {table}"),
            What::ColumnDropped { column } => format!("edits of column {table}.{column}"),
            What::TypeChanged { column, fits: false, .. } => {
                format!("edits of {table}.{column} whose value does not fit")
            }
            What::NotNull { .. } => format!("inserts of table {table}"),
            What::LabelRemoved { column, label } => format!("edits that set {table}.{column} to {label}"),
            What::UniqueAdded { columns } => format!("rows of {table} that have the same {} as another one", columns.join(", ")),
            What::ReferenceAdded { columns, to } => format!("rows of {table} whose {} names no row of {to}", columns.join(", ")),
            What::KeyChanged { .. } => format!("edits of rows of {table} that cannot be named by the new key"),
            What::RuleAdded { kind: RuleKind::Check, .. } => format!("edits of {table} that it refuses (as check)"),
            What::RuleAdded { kind: RuleKind::Unique, .. } => format!("edits of {table} that it refuses (as unique)"),
            _ => return None,
        };
        Some(what)
    }
}
