//! How the schema moved from one catalog to the next, with what follows at the cloud and at sites that still have the older one. Pure.

mod labels;
mod words;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::catalog::{Catalog, Column, DefaultValue, Reference, Table};
use crate::id::{ColumnNo, TableNo};
use crate::value::Cast;

pub use labels::Relabelled;
use labels::labels_of;

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
    /// Values that were there mean other ones now. `fed`: all do, since it is another type under the name.
    Relabelled {
        column: String,
        labels: Vec<String>,
        fed: bool,
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
    /// A rule of the cloud's own, of which no catalog tells.
    RuleAdded {
        rule: String,
        kind: RuleKind,
    },
}

/// As what the rows park that a rule refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A check, an exclusion, a trigger.
    Check,
    /// An index over expressions or of some rows only.
    Unique,
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
    // Whether a partitioned table was written anew is not known here: it counts as if it was not.
    if let Some(moved) = Relabelled::between(then, now, rewritten, true) {
        labels(then, now, moved, say);
    } else if then.sql_type != now.sql_type {
        let (from, to, fits) = (then.sql_type.clone(), now.sql_type.clone(), Cast::between(then, now).loses_nothing());
        say(What::TypeChanged { column: column(), from, to, fits, fed: rewritten || then.ty != now.ty });
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

fn labels(then: &Column, now: &Column, moved: Relabelled, say: &mut impl FnMut(What)) {
    let column = || then.name.clone();
    let (was, is) = (labels_of(&then.ty).unwrap_or_default(), labels_of(&now.ty).unwrap_or_default());
    for label in is.iter().filter(|label| !was.contains(label)) {
        say(What::LabelAdded { column: column(), label: label.clone() });
    }
    for label in was.iter().filter(|label| !is.contains(label)) {
        say(What::LabelRemoved { column: column(), label: label.clone() });
    }
    match moved {
        Relabelled::All => say(What::Relabelled { column: column(), labels: Vec::new(), fed: true }),
        Relabelled::Some(labels) if labels.iter().any(|label| was.contains(label)) => {
            say(What::Relabelled { column: column(), labels, fed: false });
        }
        Relabelled::Some(_) => {}
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
            What::ColumnAdded { fed, .. } | What::TypeChanged { fed, .. } | What::Relabelled { fed, .. } => *fed,
            What::TableAdded | What::MadeAnew | What::KeyChanged { .. } | What::ScopeChanged => true,
            _ => false,
        }
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
                "assets.mood is of another type under the same name [fed]",
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
    fn labels_of_enums_and_of_arrays_of_them_feed_the_rows_that_may_have_had_another() {
        let column = |ty: serde_json::Value| json!([{"no": 1, "name": "mood", "ty": ty, "sql_type": "mood"}]);
        let told = |was: serde_json::Value, is: serde_json::Value, rewritten: bool| -> Vec<String> {
            let (before, after) = (catalog(&json!([table(1, "t", &column(was))])), catalog(&json!([table(1, "t", &column(is))])));
            let rewritten = rewritten.then_some(TableNo(1)).into_iter().collect();
            let shown = |change: &Change| format!("{}{}", change.title(), if change.feeds() { " [fed]" } else { "" });
            changes(&before, &after, &rewritten).iter().map(shown).collect()
        };
        let of = |labels: &[&str]| json!({ "enum": labels });
        let array = |labels: &[&str]| json!({ "array": { "enum": labels } });
        assert_eq!(told(of(&["a", "b"]), of(&["a", "b"]), true), [] as [&str; 0]);
        assert_eq!(told(of(&["a", "b"]), of(&["a", "c", "b"]), false), ["new value c of t.mood"]);
        assert_eq!(told(of(&["a", "b"]), of(&["b", "a"]), false), ["values b, a of t.mood change places"]);
        assert_eq!(told(array(&["a", "b"]), array(&["b", "a"]), false), ["values b, a of t.mood change places"]);
        let gone = ["value b of t.mood is gone", "t.mood is of another type under the same name [fed]"];
        assert_eq!(told(of(&["a", "b"]), of(&["a"]), false), gone);
        assert_eq!(told(array(&["a", "b"]), array(&["a"]), true), gone);
        assert_eq!(told(of(&["a", "b"]), of(&["b", "a"]), true), ["t.mood is of another type under the same name [fed]"]);
    }
}
