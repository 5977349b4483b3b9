//! Versioning columns of the user's that are not there under their names any more: a migration renamed or dropped them, and Rejoin keeps versions,
//! times and authors in columns of its own since.

use sync_core::catalog::{Catalog, Column, Table};
use sync_core::value::ColumnType;

use crate::store::introspect::assemble::ENGINE_COLUMNS;

/// A versioning column that is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmapped {
    /// As `rejoin.toml` names it.
    pub(crate) table: String,
    /// What was found.
    pub(crate) what: String,
    /// What to write.
    pub(crate) remedy: String,
    /// Whether another column has come that it may be called by now.
    pub(crate) renamed: bool,
}

/// What the tables of a later catalog miss.
pub(crate) fn unmapped(before: &Catalog, now: &Catalog) -> Vec<Unmapped> {
    let both = now.tables.iter().filter(|table| !table.engine).filter_map(|table| Some((before.table(table.no)?, table)));
    both.flat_map(|(before, now)| of(before, now)).collect()
}

fn of(before: &Table, now: &Table) -> Vec<Unmapped> {
    let (was, is) = (&before.stamps, &now.stamps);
    let stamps = [
        ("version", &was.version, &is.version),
        ("updated_at", &was.updated_at, &is.updated_at),
        ("last_modified_by", &was.last_modified_by, &is.last_modified_by),
        ("synced_at", &was.synced_at, &is.synced_at),
    ];
    let ours = |name: &str| ENGINE_COLUMNS.contains(&name);
    let missed = stamps.into_iter().filter(|(_, was, is)| !ours(was) && ours(is) && now.column_named(was).is_none());
    let table = if now.schema == "public" { now.name.clone() } else { format!("{}.{}", now.schema, now.name) };
    missed
        .map(|(key, was, is)| {
            let new = now.columns.iter().filter(|column| before.column(column.no).is_none() && may_be(key, column));
            let names: Vec<&str> = new.map(|column| column.name.as_str()).collect();
            let name = match names.as_slice() {
                [one] => *one,
                _ => "ITS NEW NAME",
            };
            let heading = toml::Value::from(table.as_str());
            Unmapped {
                what: format!("the column {was} that was its {key} is not there any more: {is} of Rejoin's own is, and began anew"),
                remedy: format!(
                    "if it was renamed, write [tables.{heading}]  stamps = {{ {key} = {} }}: versions, times and authors are in it again",
                    toml::Value::from(name)
                ),
                renamed: !names.is_empty(),
                table: table.clone(),
            }
        })
        .collect()
}

/// Whether such a column can hold it.
fn may_be(key: &str, column: &Column) -> bool {
    use ColumnType::{Int4, Int8, Text, Timestamp, Timestamptz};
    match key {
        "version" => matches!(column.ty, Int4 | Int8),
        "last_modified_by" => column.ty == Text,
        _ => matches!(column.ty, Timestamp | Timestamptz),
    }
}
