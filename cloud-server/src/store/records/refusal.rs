//! What PostgreSQL refused, in the API's words: which columns, which table, what to do.

use conflict_ui_api::error::BackendError;
use sync_core::catalog::{Catalog, Table};
use sync_core::write::FieldError;
use tokio_postgres::error::{DbError, SqlState};

use crate::store::error::StoreError;

/// What was tried when the database refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// An insert or update.
    Write,
    /// A delete.
    Delete,
}

/// Says a failure in the API's words. What no constraint explains stays a fault of the store.
pub(super) fn explain(catalog: &Catalog, table: &Table, tried: Tried, error: tokio_postgres::Error) -> BackendError {
    match error.as_db_error().and_then(|said| refusal(catalog, table, tried, said)) {
        Some(refusal) => refusal,
        None => StoreError::from(error).into(),
    }
}

fn refusal(catalog: &Catalog, table: &Table, tried: Tried, said: &DbError) -> Option<BackendError> {
    // Triggers of the user write other tables too; the constraint is that of the table that the database names.
    let named = said.table().zip(said.schema());
    let at = named.and_then(|(name, schema)| catalog.tables.iter().find(|table| table.name == name && table.schema == schema));
    let at = at.unwrap_or(table);
    match said.code() {
        &SqlState::UNIQUE_VIOLATION => Some(duplicate(at, said)),
        &SqlState::FOREIGN_KEY_VIOLATION | &SqlState::RESTRICT_VIOLATION if tried == Tried::Delete => {
            let referrer = said.table().map_or_else(|| at.path.clone(), ToOwned::to_owned);
            Some(BackendError::Restricted { table: referrer })
        }
        &SqlState::FOREIGN_KEY_VIOLATION | &SqlState::RESTRICT_VIOLATION => Some(bad_reference(catalog, at, said)),
        &SqlState::NOT_NULL_VIOLATION => {
            let field = catalog.field_named(at, said.column().unwrap_or_default());
            let detail = format!("{field} is required");
            Some(BackendError::Invalid(vec![FieldError { field, code: "required", detail }]))
        }
        &SqlState::CHECK_VIOLATION | &SqlState::EXCLUSION_VIOLATION | &SqlState::RAISE_EXCEPTION => {
            Some(BackendError::Check(said.message().to_owned()))
        }
        // Data exceptions: a value that the type or a domain does not take (22001 too long, 22003 out of range, ..).
        code if code.code().starts_with("22") => Some(BackendError::Check(said.message().to_owned())),
        _ => None,
    }
}

fn duplicate(table: &Table, said: &DbError) -> BackendError {
    let constraint = said.constraint().unwrap_or_default();
    let unique = table.uniques.iter().find(|unique| unique.name == constraint);
    let columns = unique.map_or(&table.key, |unique| &unique.columns);
    let names = columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.clone());
    BackendError::Duplicate { table: table.path.clone(), columns: names.collect() }
}

fn bad_reference(catalog: &Catalog, table: &Table, said: &DbError) -> BackendError {
    let constraint = said.constraint().unwrap_or_default();
    let reference = table.references.iter().find(|reference| reference.name == constraint);
    let Some(reference) = reference else {
        return BackendError::Check(said.message().to_owned());
    };
    let names: Vec<_> = reference.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
    let target = catalog.table(reference.table).map_or_else(String::new, |target| target.path.clone());
    BackendError::BadReference { column: names.join(", "), target }
}
