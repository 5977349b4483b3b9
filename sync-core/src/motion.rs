//! How the schema moved from one catalog to the next, with what follows at the cloud and at sites that still have the older one. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::catalog::{Catalog, Column, DefaultValue, Reference, Table};
use crate::id::{ColumnNo, TableNo};
use crate::value::{Cast, ColumnType};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The table's number.
    #[serde(skip)]
    pub no: TableNo,
    /// The table, by its name of before where it had one.
    pub table: String,
    /// What changed.
    #[serde(flatten)]
    pub what: What,
}

/// What changed of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum What {
    TableAdded,
    TableRenamed {
        to: String,
    },
    TableDropped,
    /// Rows may be gone without a trace: dropped and made again under its name.
    MadeAnew,
    /// `fed`: its rows hold what only they tell.
    ColumnAdded {
        column: String,
        fed: bool,
    },
    ColumnRenamed {
        column: String,
        to: String,
    },
    ColumnDropped {
        column: String,
    },
    /// `fits`: everything that the old type held, the new one holds.
    TypeChanged {
        column: String,
        from: String,
        to: String,
        fits: bool,
        fed: bool,
    },
    NotNull {
        column: String,
    },
    Nullable {
        column: String,
    },
    DefaultChanged {
        column: String,
    },
    LabelAdded {
        column: String,
        label: String,
    },
    LabelRemoved {
        column: String,
        label: String,
    },
    KeyChanged {
        to: Vec<String>,
    },
    UniqueAdded {
        columns: Vec<String>,
    },
    UniqueDropped {
        columns: Vec<String>,
    },
    ReferenceAdded {
        columns: Vec<String>,
        to: String,
    },
    ReferenceDropped {
        columns: Vec<String>,
        to: String,
    },
    DeleteRuleChanged {
        columns: Vec<String>,
        to: String,
    },
    /// Rows belong to other scopes than before.
    ScopeChanged,
}

/// What changed from one catalog to the next, table by table. `rewritten`: the tables that PostgreSQL wrote anew. The engine's own are left out.
#[must_use]
pub fn changes(before: &Catalog, after: &Catalog, rewritten: &BTreeSet<TableNo>) -> Vec<Change> {
    let mut found = Vec::new();
    for old in before.tables.iter().filter(|table| !table.engine) {
        let mut say = |what| found.push(Change { no: old.no, table: label(old), what });
        match after.table(old.no) {
            None => say(What::TableDropped),
            Some(now) => table(before, after, (old, now), rewritten.contains(&old.no), &mut say),
        }
    }
    for new in after.tables.iter().filter(|table| !table.engine && before.table(table.no).is_none()) {
        found.push(Change { no: new.no, table: label(new), what: What::TableAdded });
    }
    found
}

fn label(table: &Table) -> String {
    if table.schema == "public" { table.name.clone() } else { format!("{}.{}", table.schema, table.name) }
}

fn names(table: &Table, columns: &[ColumnNo]) -> Vec<String> {
    columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.clone()).collect()
}

fn table(before: &Catalog, after: &Catalog, (old, now): (&Table, &Table), rewritten: bool, say: &mut impl FnMut(What)) {
    if now.generation > old.generation {
        say(What::MadeAnew);
    }
    if label(old) != label(now) {
        say(What::TableRenamed { to: label(now) });
    }
    for then in &old.columns {
        match now.column(then.no) {
            None => say(What::ColumnDropped { column: then.name.clone() }),
            Some(column) => columns(then, column, rewritten, say),
        }
    }
    for column in now.columns.iter().filter(|column| old.column(column.no).is_none()) {
        let made = matches!(column.default, Some(DefaultValue::Now | DefaultValue::Uuid | DefaultValue::Cloud | DefaultValue::Leased));
        say(What::ColumnAdded { column: column.name.clone(), fed: rewritten && made && column.added.is_none() });
        if column.not_null && column.default.is_none() {
            say(What::NotNull { column: column.name.clone() });
        }
    }
    if old.key != now.key {
        say(What::KeyChanged { to: names(now, &now.key) });
    }
    for unique in now.uniques.iter().filter(|unique| !old.uniques.iter().any(|then| then.columns == unique.columns)) {
        say(What::UniqueAdded { columns: names(now, &unique.columns) });
    }
    for unique in old.uniques.iter().filter(|unique| !now.uniques.iter().any(|then| then.columns == unique.columns)) {
        say(What::UniqueDropped { columns: names(old, &unique.columns) });
    }
    references(before, after, (old, now), say);
    if way(old) != way(now) {
        say(What::ScopeChanged);
    }
}

fn columns(then: &Column, now: &Column, rewritten: bool, say: &mut impl FnMut(What)) {
    let column = || then.name.clone();
    if then.name != now.name {
        say(What::ColumnRenamed { column: column(), to: now.name.clone() });
    }
    match (&then.ty, &now.ty) {
        (ColumnType::Enum(was), ColumnType::Enum(is)) if was != is => {
            for label in is.iter().filter(|label| !was.contains(label)) {
                say(What::LabelAdded { column: column(), label: label.clone() });
            }
            for label in was.iter().filter(|label| !is.contains(label)) {
                say(What::LabelRemoved { column: column(), label: label.clone() });
            }
        }
        _ if then.sql_type != now.sql_type => {
            let (from, to, fits) = (then.sql_type.clone(), now.sql_type.clone(), holds(then, now));
            say(What::TypeChanged { column: column(), from, to, fits, fed: rewritten || then.ty != now.ty });
        }
        _ => {}
    }
    match (then.not_null, now.not_null) {
        (false, true) => say(What::NotNull { column: column() }),
        (true, false) => say(What::Nullable { column: column() }),
        _ => {}
    }
    if then.default != now.default && then.sql_type == now.sql_type {
        say(What::DefaultChanged { column: column() });
    }
}

/// Whether a column holds everything that it held before: as it is, or as what PostgreSQL makes of any of it.
fn holds(then: &Column, now: &Column) -> bool {
    use ColumnType::{Enum, Float4, Float8, Int2, Int4, Int8, Numeric, Text};
    match (&then.ty, &now.ty) {
        // Only the cloud knows which of their values there are.
        (from, to) if from != to && (matches!(to, Enum(_)) || is_opaque(to)) => false,
        (from, to) if is_opaque(from) && is_opaque(to) => false,
        (Int2 | Int4 | Int8, Numeric) if !now.sql_type.contains('(') => true,
        (Float4, Float8) => true,
        (from, Text) if *from != Text && now.max_length.is_none() && now.sql_type != "name" => true,
        _ => Cast::between(then, now).is_none(),
    }
}

fn is_opaque(ty: &ColumnType) -> bool {
    match ty {
        ColumnType::Other => true,
        ColumnType::Array(element) => is_opaque(element),
        _ => false,
    }
}

fn references(before: &Catalog, after: &Catalog, (old, now): (&Table, &Table), say: &mut impl FnMut(What)) {
    let target = |catalog: &Catalog, reference: &Reference| catalog.table(reference.table).map(label).unwrap_or_default();
    let same = |one: &Reference, other: &Reference| {
        one.columns == other.columns && one.table == other.table && one.target == other.target && one.when == other.when
    };
    for reference in &now.references {
        match old.references.iter().find(|then| same(then, reference)) {
            None => say(What::ReferenceAdded { columns: names(now, &reference.columns), to: target(after, reference) }),
            Some(then) if then.on_delete != reference.on_delete => {
                let to = format!("{:?}", reference.on_delete).to_uppercase();
                say(What::DeleteRuleChanged { columns: names(now, &reference.columns), to });
            }
            Some(_) => {}
        }
    }
    for reference in old.references.iter().filter(|then| !now.references.iter().any(|now| same(now, then))) {
        say(What::ReferenceDropped { columns: names(old, &reference.columns), to: target(before, reference) });
    }
}

/// How rows find their scopes, in words that no name is in.
fn way(table: &Table) -> String {
    let ways: Vec<String> = table.ways().map(|way| format!("{}{:?}{:?}{:?}", way.table, way.columns, way.target, way.when)).collect();
    if ways.is_empty() { format!("{:?} {:?}", table.scope, table.scope_name) } else { ways.join(" ") }
}

impl Change {
    /// Whether every row of the table is sent again.
    #[must_use]
    pub fn feeds(&self) -> bool {
        match &self.what {
            What::ColumnAdded { fed, .. } | What::TypeChanged { fed, .. } => *fed,
            What::TableAdded | What::MadeAnew | What::KeyChanged { .. } | What::ScopeChanged => true,
            _ => false,
        }
    }

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
            What::KeyChanged { to } => format!("the key of {table} becomes ({})", to.join(", ")),
            What::UniqueAdded { columns } => format!("UNIQUE on {table} ({})", columns.join(", ")),
            What::UniqueDropped { columns } => format!("no UNIQUE on {table} ({}) any more", columns.join(", ")),
            What::ReferenceAdded { columns, to } => format!("reference from {table} ({}) to {to}", columns.join(", ")),
            What::ReferenceDropped { columns, to } => format!("no reference from {table} ({}) to {to} any more", columns.join(", ")),
            What::DeleteRuleChanged { columns, to } => format!("ON DELETE {to} on {table} ({})", columns.join(", ")),
            What::ScopeChanged => format!("rows of {table} find their scope another way"),
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
            What::KeyChanged { .. } => "every row is sent again under its new key",
            What::ScopeChanged => "rows move to other scopes: sites that do not hold those let them go",
            What::Nullable { .. }
            | What::DefaultChanged { .. }
            | What::UniqueAdded { .. }
            | What::UniqueDropped { .. }
            | What::ReferenceAdded { .. }
            | What::ReferenceDropped { .. }
            | What::DeleteRuleChanged { .. } => "nothing is sent again",
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
            _ => return None,
        };
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(tables: &serde_json::Value) -> Catalog {
        serde_json::from_value(json!({"version": 1, "system": "s", "api": {}, "tables": tables})).unwrap()
    }

    fn table(no: u32, name: &str, columns: &serde_json::Value) -> serde_json::Value {
        let columns: Vec<_> = columns
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let mut whole = json!({"not_null": false, "default": null, "max_length": null});
                whole.as_object_mut().unwrap().extend(column.as_object().unwrap().clone());
                whole
            })
            .collect();
        json!({"no": no, "schema": "public", "name": name, "path": name, "engine": false, "key": [1], "uniques": [], "indexes": [],
            "references": [], "scope": "global", "soft_delete": null, "columns": columns,
            "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"}})
    }

    #[test]
    fn every_change_is_told_with_what_it_feeds_and_parks() {
        let before = catalog(&json!([
            table(
                1,
                "assets",
                &json!([
                {"no": 1, "name": "id", "ty": "uuid", "sql_type": "uuid"},
                {"no": 2, "name": "owner", "ty": "text", "sql_type": "text"},
                {"no": 3, "name": "year", "ty": "int4", "sql_type": "integer"},
                {"no": 4, "name": "tag", "ty": "text", "sql_type": "varchar(4)", "max_length": 4},
                {"no": 5, "name": "mood", "ty": {"enum": ["good", "bad"]}, "sql_type": "mood"},
                {"no": 6, "name": "gone", "ty": "text", "sql_type": "text"},
                {"no": 7, "name": "price", "ty": "numeric", "sql_type": "numeric(6,2)"}])
            ),
            table(2, "old", &json!([{"no": 1, "name": "id", "ty": "uuid", "sql_type": "uuid"}]))
        ]));
        let after = catalog(&json!([
            table(
                1,
                "things",
                &json!([
                {"no": 1, "name": "id", "ty": "uuid", "sql_type": "uuid"},
                {"no": 2, "name": "keeper", "ty": "text", "sql_type": "text", "not_null": true},
                {"no": 3, "name": "year", "ty": "int2", "sql_type": "smallint"},
                {"no": 4, "name": "tag", "ty": "text", "sql_type": "varchar(40)", "max_length": 40},
                {"no": 5, "name": "mood", "ty": {"enum": ["good", "fair"]}, "sql_type": "mood"},
                {"no": 7, "name": "price", "ty": "numeric", "sql_type": "numeric(8,2)"},
                {"no": 8, "name": "made", "ty": "uuid", "sql_type": "uuid", "default": "uuid"}])
            ),
            table(3, "new", &json!([{"no": 1, "name": "id", "ty": "uuid", "sql_type": "uuid"}]))
        ]));
        let told: Vec<String> = changes(&before, &after, &BTreeSet::from([TableNo(1)]))
            .iter()
            .map(|change| {
                format!(
                    "{}{}{}",
                    change.title(),
                    if change.feeds() { " [fed]" } else { "" },
                    change.parks().map(|what| format!("; parks {what}")).unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "table assets is renamed to things",
                "column assets.owner is renamed to keeper",
                "NOT NULL on assets.owner; parks inserts of table assets",
                "assets.year becomes smallint, from integer [fed]; parks edits of assets.year whose value does not fit",
                "assets.tag becomes varchar(40), from varchar(4) [fed]",
                "new value fair of assets.mood",
                "value bad of assets.mood is gone; parks edits that set assets.mood to bad",
                "column assets.gone is dropped; parks edits of column assets.gone",
                "assets.price becomes numeric(8,2), from numeric(6,2) [fed]",
                "new column assets.made [fed]",
                "table old is dropped or no longer synced; parks edits of table old",
                "new table new [fed]",
            ]
        );
        assert!(changes(&before, &before, &BTreeSet::from([TableNo(1)])).is_empty());
        let unwritten = changes(&before, &after, &BTreeSet::new());
        assert!(!unwritten.iter().any(|change| matches!(&change.what, What::TypeChanged { column, fed: true, .. } if column == "tag")));
    }

    #[test]
    fn a_type_fits_where_no_site_refuses_a_value() {
        let column = |ty: &str, sql_type: &str, length: Option<u32>| -> Column {
            let column =
                json!({"no": 1, "name": "a", "ty": ty, "sql_type": sql_type, "not_null": false, "default": null, "max_length": length});
            serde_json::from_value(column).unwrap()
        };
        let fits = |from: (&str, &str, Option<u32>), to: (&str, &str, Option<u32>)| {
            holds(&column(from.0, from.1, from.2), &column(to.0, to.1, to.2))
        };
        for (narrow, wide) in [
            (("char", "character(4)", Some(4)), ("char", "character(10)", Some(10))),
            (("bits", "bit varying(4)", None), ("bits", "bit varying(8)", None)),
            (("text", "varchar(4)", Some(4)), ("text", "text", None)),
            (("int2", "smallint", None), ("int8", "bigint", None)),
            (("int8", "bigint", None), ("numeric", "numeric", None)),
            (("int8", "bigint", None), ("text", "text", None)),
            (("float4", "real", None), ("float8", "double precision", None)),
            (("numeric", "numeric(6,2)", None), ("numeric", "numeric(8,2)", None)),
        ] {
            assert!(fits(narrow, wide), "{narrow:?} {wide:?}");
            assert!(!fits(wide, narrow), "{wide:?} {narrow:?}");
        }
        assert!(!fits(("bits", "bit(8)", None), ("bits", "bit(4)", None)));
        assert!(!fits(("bits", "bit(4)", None), ("bits", "bit(8)", None)), "PostgreSQL refuses another length");
    }
}
