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
    /// The column that must have a value.
    pub(crate) required: Option<String>,
}

/// Reads a failure as a refusal of rows; `None` where it is a fault of the database or of ours.
pub(crate) fn refusal(catalog: &Catalog, error: &StoreError) -> Option<Refusal> {
    let StoreError::Database(source) = error else { return None };
    let said = source.as_db_error()?;
    if error.is_unfit() || is_of_the_database(said.code()) {
        return None;
    }
    let kind = kind(said.code());
    let table = said.schema().zip(said.table()).map(|(schema, table)| (schema.to_owned(), table.to_owned()));
    let required = said.column().filter(|_| *said.code() == SqlState::NOT_NULL_VIOLATION).map(ToOwned::to_owned);
    let constraint = said.constraint().map(ToOwned::to_owned);
    let mut refusal = Refusal { kind, reason: said.message().to_owned(), constraint, table, required };
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

/// Whether the database, its resources or the session are at fault, whatever row it was: another attempt may succeed.
fn is_of_the_database(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "25" | "26" | "40" | "53" | "55" | "57" | "58" | "F0" | "XX")
}

fn kind(code: &SqlState) -> ConflictKind {
    match *code {
        SqlState::UNIQUE_VIOLATION => ConflictKind::Unique,
        SqlState::FOREIGN_KEY_VIOLATION | SqlState::RESTRICT_VIOLATION => ConflictKind::ForeignKey,
        // A policy of row-level security, a trigger that forbids, a privilege that was taken: the edit is kept, and the queue goes on.
        SqlState::INSUFFICIENT_PRIVILEGE => ConflictKind::Rejected,
        // What the row wanted is not possible: whatever a constraint, an index, a type or a trigger of the user's says.
        _ => ConflictKind::Check,
    }
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
            // An index that sites cannot hold, over an expression or of some rows only, is not in the catalog.
            let by = || said.detail().and_then(|detail| detail.strip_prefix("Key (")?.split_once(")=(")).map(|(by, _)| by.to_owned());
            let same = unique.map(|unique| names(&unique.columns)).or_else(by).unwrap_or_else(|| names(&table.key));
            let own = constraint.filter(|_| unique.is_none() && same != names(&table.key));
            let own = own.map(|index| {
                format!(" (by {index}, an index of the cloud's own: change that row there, or decide MANUAL with another value)")
            });
            Some(format!("another row of {} has the same {same}{}", table.name, own.unwrap_or_default()))
        }
        ConflictKind::ForeignKey => {
            let reference = table.references.iter().find(|reference| Some(reference.name.as_str()) == constraint)?;
            let target = catalog.table(reference.table)?;
            Some(format!("{} names a row of {} that does not exist", names(&reference.columns), target.name))
        }
        _ => None,
    }
}
