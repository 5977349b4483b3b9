//! Declared references of what the API writes: PostgreSQL does not ask whether the row that they name is there, so we do.

use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::value::Value;

use crate::store::scope;

/// A row before, where it was there, and after a write.
pub(super) type Written<'r> = (Option<&'r [Value]>, &'r [Value]);

/// Refuses declared references that name no row, as far as the writes made them: what dangled before may stay so. To be asked once the rows are
/// written, since they may name each other.
///
/// # Errors
/// `BadReference`; the store failed.
pub(super) async fn check(db: &impl GenericClient, catalog: &Catalog, table: &Table, rows: &[Written<'_>]) -> Result<(), BackendError> {
    for reference in table.references.iter().filter(|reference| reference.declared) {
        let Some(target) = catalog.table(reference.table) else { continue };
        let changed = |(before, next): &&Written<'_>| {
            let same = |at: usize| before.is_some_and(|before| before[at] == next[at]);
            table.refers(reference, next) && !reference.deciding().filter_map(|no| table.position(no)).all(same)
        };
        let named: Option<Vec<Vec<Value>>> = rows.iter().filter(changed).map(|(_, next)| table.referred(reference, target, next)).collect();
        // A text that is no key of the table's names nothing either.
        let named = named.ok_or_else(|| bad(table, reference, target))?;
        let positions: Vec<usize> = reference.target.iter().filter_map(|no| target.position(*no)).collect();
        let named: Vec<&[Value]> = named.iter().map(Vec::as_slice).collect();
        if scope::of_rows(db, target, &positions, &named).await?.iter().any(Option::is_none) {
            return Err(bad(table, reference, target));
        }
    }
    Ok(())
}

/// A reference names no row.
pub(super) fn bad(table: &Table, reference: &Reference, target: &Table) -> BackendError {
    let names: Vec<_> = reference.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
    BackendError::BadReference { column: names.join(", "), target: target.path.clone() }
}
