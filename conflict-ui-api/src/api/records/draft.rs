//! A body made into a draft: what the API adds to [`read_draft`]'s rules about keys, soft deletes and what the path says already.

use serde_json::{Map, Value as Json};
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{ColumnNo, Key};
use sync_core::value::Value;
use sync_core::write::{Draft, read_draft};

use crate::problem::{Answer, Fault, Problem};

/// The draft of a new record. `preset`: columns that the path sets.
///
/// # Errors
/// Every field that cannot be written.
pub fn of_create(catalog: &Catalog, table: &Table, body: &Map<String, Json>, preset: &[(ColumnNo, Value)]) -> Answer<Draft> {
    let mut draft = read(catalog, table, body)?;
    let mut faults = soft_delete(catalog, table, &mut draft);
    for (no, value) in preset {
        match draft.insert(*no, value.clone()) {
            Some(given) if given != *value => faults.push(read_only(catalog, table, *no, "the path says another value")),
            _ => {}
        }
    }
    if faults.is_empty() { Ok(draft) } else { Err(Problem::fields(faults)) }
}

/// The draft of a change. Clients send whole rows back, so the key may stand in it, unchanged.
///
/// # Errors
/// Every field that cannot be written.
pub fn of_update(catalog: &Catalog, table: &Table, body: &Map<String, Json>, key: &Key) -> Answer<Draft> {
    let mut draft = read(catalog, table, body)?;
    let mut faults = soft_delete(catalog, table, &mut draft);
    for (no, value) in table.key.iter().zip(&key.0) {
        match draft.remove(no) {
            Some(given) if given != *value => faults.push(read_only(catalog, table, *no, "a key cannot be changed")),
            _ => {}
        }
    }
    if faults.is_empty() { Ok(draft) } else { Err(Problem::fields(faults)) }
}

fn read(catalog: &Catalog, table: &Table, body: &Map<String, Json>) -> Answer<Draft> {
    read_draft(catalog, table, body).map_err(|errors| Problem::fields(errors.into_iter().map(Into::into).collect()))
}

/// The mark is set by DELETE, which takes along what a cascade would, and cleared by restore, which brings the same set back.
fn soft_delete(catalog: &Catalog, table: &Table, draft: &mut Draft) -> Vec<Fault> {
    let marked = table.soft_delete.and_then(|no| draft.remove(&no).map(|value| (no, value)));
    match marked {
        Some((no, value)) if value != Value::Bool(false) => {
            vec![read_only(catalog, table, no, "delete by DELETE, bring back by POST .../restore")]
        }
        _ => Vec::new(),
    }
}

fn read_only(catalog: &Catalog, table: &Table, no: ColumnNo, why: &str) -> Fault {
    let field = table.column(no).map(|column| catalog.field(table, column)).unwrap_or_default();
    Fault::field(&field, "read_only", why)
}
