//! Pairs of columns that look like a reference to one of several tables, `entity_type` with `entity_id`: the database declares none, only
//! `rejoin.toml` can.

use std::collections::BTreeMap;

use serde::Serialize;
use sync_core::value::ColumnType;

use super::plan::{PlanEntry, Travels, bare, quoted};
use super::references::can_hold;
use crate::store::introspect::{FoundColumn, FoundTable, Schema};

/// What the column that says the kind ends with, and what the one that refers ends with then.
const ENDS: [(&str, &[&str]); 6] = [
    ("_type", &["_id", "_uuid", "_key"]),
    ("_kind", &["_id", "_uuid", "_key"]),
    ("_class", &["_id", "_uuid", "_key"]),
    ("Type", &["Id", "ID", "Uuid"]),
    ("Kind", &["Id", "ID", "Uuid"]),
    ("Class", &["Id", "ID", "Uuid"]),
];
/// What stands for a table that could not be guessed.
const BLANK: &str = "TABLE";

/// Two columns that look like a reference to one of several tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kinds {
    /// The column that refers.
    pub column: String,
    /// The column that says of which kind.
    pub kind: String,
    /// What it says, with the table that it probably stands for.
    pub tables: BTreeMap<String, Option<String>>,
}

/// The pairs of a table that no reference holds yet. Only what its types tell: enum labels.
pub(super) fn pairs(schema: &Schema, table: &FoundTable) -> Vec<Kinds> {
    let bound = |column: &FoundColumn| table.references.iter().any(|reference| reference.columns.contains(&column.attnum));
    let refers = |column: &&FoundColumn| {
        !bound(column)
            && matches!(column.ty, Some(ColumnType::Uuid | ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Text))
    };
    let pair = |kind: &FoundColumn| {
        let labels = match &kind.ty {
            Some(ColumnType::Enum(labels)) => labels.as_slice(),
            Some(ColumnType::Text) => &[],
            _ => return None,
        };
        let (stem, ends) =
            ENDS.iter().find_map(|(end, ends)| Some((kind.name.strip_suffix(end).filter(|stem| !stem.is_empty())?, ends)))?;
        let column = ends.iter().find_map(|end| table.column_named(&format!("{stem}{end}")).filter(refers))?;
        let tables = labels.iter().map(|label| (label.clone(), stands_for(schema, column, label))).collect();
        Some(Kinds { column: column.name.clone(), kind: kind.name.clone(), tables })
    };
    table.columns.iter().filter(|column| !bound(column)).filter_map(pair).collect()
}

/// The table that is meant by what stands in such a column: `asset`, `WorkOrder` or `App\Models\WorkOrder`.
pub(crate) fn stands_for(schema: &Schema, column: &FoundColumn, said: &str) -> Option<String> {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let said = plain(said.rsplit(['\\', ':', '.', '/']).next()?);
    let means = |table: &FoundTable| {
        let name = plain(&table.name);
        let plural = [format!("{said}s"), format!("{said}es"), format!("{}ies", said.trim_end_matches('y'))];
        name == said || plural.contains(&name)
    };
    let fit = |table: &FoundTable| {
        let key = table.key.first().filter(|_| table.key.len() == 1).and_then(|key| table.column(*key));
        key.is_some_and(|key| can_hold(column, key))
    };
    let mut meant = schema.tables.iter().filter(|table| !table.is_engine() && table.obstacle.is_none() && means(table) && fit(table));
    // Of two nobody knows which.
    meant.next().filter(|_| meant.next().is_none()).map(FoundTable::label)
}

impl PlanEntry {
    /// Offers what would declare its pairs: where it is left out as the line that includes it, else as a note.
    pub(crate) fn offer(&mut self) {
        if self.kinds.is_empty() {
            return;
        }
        let known = |kinds: &Kinds| !kinds.tables.is_empty() && kinds.tables.values().all(Option::is_some);
        let mark = if self.kinds.iter().all(known) { "" } else { "# " };
        let pairs: Vec<String> = self.kinds.iter().map(declaration).collect();
        let line = format!("[tables.{}]\n{mark}references = [{}]", bare(&self.table), pairs.join(", "));
        if self.travels == Travels::LeftOut {
            self.otherwise = Some(line);
        } else {
            let columns: Vec<String> = self.kinds.iter().map(|kinds| format!("{} with {}", kinds.kind, kinds.column)).collect();
            self.notes.push(format!("{} looks like a reference that only rejoin.toml can declare: {line}", columns.join(", ")));
        }
    }
}

fn declaration(kinds: &Kinds) -> String {
    let blank = BTreeMap::from([("KIND".to_owned(), None)]);
    let said = if kinds.tables.is_empty() { &blank } else { &kinds.tables };
    let tables: Vec<String> =
        said.iter().map(|(kind, table)| format!("{} = {}", bare(kind), quoted(table.as_deref().unwrap_or(BLANK)))).collect();
    // As it is now: nothing is deleted or cleared that was not before.
    let tables = tables.join(", ");
    format!(
        "{{ columns = [{}], kind = {}, tables = {{ {tables} }}, on_delete = \"restrict\" }}",
        quoted(&kinds.column),
        quoted(&kinds.kind)
    )
}
