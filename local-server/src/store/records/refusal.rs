//! What SQLite refused, in the API's words.

use conflict_ui_api::error::BackendError;
use rusqlite::ffi;
use sync_core::catalog::{Catalog, Table};
use sync_core::write::FieldError;

use crate::store::db::DbError;
use crate::store::error::StoreError;

/// Says a failure of a statement on `table` in the API's words. What no constraint explains stays a fault of the store.
pub(super) fn explain(catalog: &Catalog, table: &Table, error: rusqlite::Error) -> BackendError {
    let rusqlite::Error::SqliteFailure(code, Some(message)) = &error else {
        return StoreError::from(error).into();
    };
    match code.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
            let keys = std::iter::once(&table.key).chain(table.uniques.iter().map(|unique| &unique.columns));
            let names = |key: &Vec<_>| -> Vec<String> { key.iter().filter_map(|no| Some(table.column(*no)?.name.clone())).collect() };
            // SQLite names the columns: `UNIQUE constraint failed: t.a, t.b`.
            let said = |names: &Vec<String>| {
                let columns: Vec<_> = names.iter().map(|name| format!("{}.{name}", table.sqlite_name())).collect();
                message.ends_with(&format!(": {}", columns.join(", ")))
            };
            let columns = keys.map(names).find(said).unwrap_or_else(|| names(&table.key));
            BackendError::Duplicate { table: table.path.clone(), columns }
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            let column = message.rsplit('.').next().unwrap_or_default();
            let field = catalog.field_named(table, column);
            BackendError::Invalid(vec![FieldError { detail: format!("{field} is required"), field, code: "required" }])
        }
        code if code & 0xff == ffi::SQLITE_CONSTRAINT => {
            BackendError::Check(message.strip_prefix("rejoin: ").unwrap_or(message).to_owned())
        }
        ffi::SQLITE_TOOBIG => BackendError::Check("the row is too large".to_owned()),
        ffi::SQLITE_FULL => BackendError::Unavailable("the site's disk is full: nothing was written".to_owned()),
        _ => StoreError::from(error).into(),
    }
}

impl From<DbError> for BackendError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Busy | DbError::RolledBack => Self::Busy,
            DbError::Closed => Self::Unavailable("the server is stopping".to_owned()),
            error => Self::internal(error),
        }
    }
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Db(error) => error.into(),
            // Somebody's plain SQL wrote what the column cannot hold; the text says where and what to do.
            StoreError::Row(error) => Self::Unavailable(error.to_string()),
            error => Self::internal(error),
        }
    }
}
