//! The rows that a parked row refers to and that the cloud does not have.

use std::borrow::Cow;

use serde::Serialize;
use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::conflict::ConflictKind;
use sync_core::id::Key;
use sync_core::value::Value;
use sync_core::write::row_from_json;

use super::fields::table_of;
use crate::backend::{Backend, Conflict, Place, Result};

/// A row that is referred to and not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// The referring columns, by name.
    pub columns: Vec<String>,
    /// The table referred to.
    pub table_name: String,
    /// The record id of the row that is missing.
    pub record_id: String,
    /// Whether it is an insert held at its site.
    pub held: bool,
}

/// Those of a `foreign_key` conflict, as far as they are missing still. References that do not go by the key are not looked at.
pub(super) async fn of(backend: &dyn Backend, catalog: &Catalog, conflict: &Conflict) -> Result<Vec<Missing>> {
    let (Some(table), Some(local)) = (table_of(catalog, conflict), &conflict.local_data) else { return Ok(Vec::new()) };
    if conflict.kind != ConflictKind::ForeignKey {
        return Ok(Vec::new());
    }
    let row = row_from_json(table, local);
    let mut missing = Vec::new();
    for reference in &table.references {
        let Some((target, key)) = named(catalog, table, reference, &row) else { continue };
        let found = backend.get(target.no, &key).await?;
        if found.as_ref().is_none_or(|record| record.place == Place::Held) {
            let names = reference.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.clone());
            let held = found.is_some();
            missing.push(Missing { columns: names.collect(), table_name: target.name.clone(), record_id: key.to_string(), held });
        }
    }
    Ok(missing)
}

/// The row that a reference names; `None` where it names none, or by other columns than the key's.
fn named<'a>(catalog: &'a Catalog, table: &Table, reference: &Reference, row: &[Option<Value>]) -> Option<(&'a Table, Key)> {
    let target = catalog.table(reference.table)?;
    let values = table.referred_by(reference, target, |no| row.get(table.position(no)?)?.as_ref().map(Cow::Borrowed))?;
    Some((target, reference.key(target, &values)?))
}
