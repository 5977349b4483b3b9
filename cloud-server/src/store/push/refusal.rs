//! What PostgreSQL refused, as a kind of conflict and in words.

use sync_core::catalog::{Catalog, Table};
use sync_core::conflict::ConflictKind;
use tokio_postgres::error::{DbError, SqlState};

use crate::store::error::StoreError;

/// A constraint, type or trigger refused rows.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// As what the rows are parked.
    pub(crate) kind: ConflictKind,
    /// In words for the person who decides.
    pub(crate) reason: String,
    /// The constraint's name, where one was named.
    pub(crate) constraint: Option<String>,
    /// The table that the database named.
    pub(crate) table: Option<(String, String)>,
}

/// Reads a failure as a refusal of rows; `None` where it is a fault of the database or of ours.
pub(crate) fn refusal(catalog: &Catalog, error: &StoreError) -> Option<Refusal> {
    let StoreError::Database(error) = error else { return None };
    let said = error.as_db_error()?;
    let kind = kind(said.code())?;
    let table = said.schema().zip(said.table()).map(|(schema, table)| (schema.to_owned(), table.to_owned()));
    let mut refusal = Refusal { kind, reason: said.message().to_owned(), constraint: said.constraint().map(ToOwned::to_owned), table };
    if let Some(words) = refusal.table_of(catalog).and_then(|table| words(catalog, table, &refusal, said)) {
        refusal.reason = words;
    }
    Some(refusal)
}

impl Refusal {
    /// The synced table that the database named.
    pub(crate) fn table_of<'c>(&self, catalog: &'c Catalog) -> Option<&'c Table> {
        let (schema, name) = self.table.as_ref()?;
        catalog.tables.iter().find(|table| table.schema == *schema && table.name == *name)
    }
}

fn kind(code: &SqlState) -> Option<ConflictKind> {
    match code {
        &SqlState::UNIQUE_VIOLATION | &SqlState::EXCLUSION_VIOLATION => return Some(ConflictKind::Unique),
        &SqlState::FOREIGN_KEY_VIOLATION | &SqlState::RESTRICT_VIOLATION => return Some(ConflictKind::ForeignKey),
        // A policy of row-level security, a trigger that forbids, a privilege that was taken: the edit is kept, and the queue goes on.
        &SqlState::INSUFFICIENT_PRIVILEGE => return Some(ConflictKind::Rejected),
        _ => {}
    }
    // Integrity, data exceptions, WITH CHECK OPTION, PL/pgSQL's RAISE; and the classes from I to Z but XX, which the standard leaves to users.
    let class = code.code().get(..2)?;
    let users = class.starts_with(|letter: char| ('I'..='Z').contains(&letter)) && class != "XX";
    (matches!(class, "22" | "23" | "44") || users).then_some(ConflictKind::Check)
}

fn words(catalog: &Catalog, table: &Table, refusal: &Refusal, said: &DbError) -> Option<String> {
    let names = |columns: &[sync_core::id::ColumnNo]| {
        let names: Vec<&str> = columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
        names.join(", ")
    };
    let constraint = refusal.constraint.as_deref();
    match refusal.kind {
        ConflictKind::Unique => {
            let unique = table.uniques.iter().find(|unique| Some(unique.name.as_str()) == constraint);
            let columns = unique.map_or(&table.key, |unique| &unique.columns);
            (*said.code() == SqlState::UNIQUE_VIOLATION).then(|| format!("another row of {} has the same {}", table.name, names(columns)))
        }
        ConflictKind::ForeignKey => {
            let reference = table.references.iter().find(|reference| Some(reference.name.as_str()) == constraint)?;
            let target = catalog.table(reference.table)?;
            Some(format!("{} names a row of {} that does not exist", names(&reference.columns), target.name))
        }
        _ => None,
    }
}
