//! What has to be done with a table to bring it to a new catalog: nothing, some ALTER TABLE, building it anew, or beginning it anew.

use sync_core::catalog::{Catalog, Column, DefaultValue, OnDelete, Table};
use sync_core::id::{ColumnNo, TableNo};

use super::convert::differs;
use crate::store::hidden::{is_hidden, is_hidden_table, wire};
use crate::store::schema;

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is as it has to be.
    Kept,
    /// Names change, or columns come that every row has the same value of: SQLite touches no row.
    Altered,
    /// Its rows are copied into a new one.
    Rebuilt,
    /// Its rows cannot be found under the new key: it begins empty, and unsent edits are hidden.
    Anew,
    /// It is no longer synced: unsent edits are hidden.
    Dropped,
}

/// `old`: as the file has it, with hidden columns, by the catalog `before`. Its rows have values of the new key.
pub(super) fn kind((before, old): (&Catalog, &Table), (after, new): (&Catalog, &Table)) -> Kind {
    let known = |column: &Column| new.column(column.no).filter(|now| !differs(column, now));
    let visible = || old.columns.iter().filter(|column| !is_hidden(column));
    let shown = old.columns.iter().any(|column| {
        is_hidden(column)
            && new
                .column(wire(column.no))
                .is_some_and(|now| old.column(now.no).is_none_or(|was| is_hidden(was) || was.ty != now.ty || differs(was, now)))
    });
    let shape = |table: &Table, column: &Column| schema::live_column(table, &Column { name: "x".to_owned(), ..column.clone() });
    let stays = |column: &Column| known(column).is_some_and(|now| shape(old, column) == shape(new, now));
    let altered = !is_hidden_table(old)
        && !shown
        && old.key == new.key
        && old.stamps == new.stamps
        && visible().all(stays)
        && added(old, new).all(can_add)
        && references(before, old) == references(after, new);
    match altered {
        false => Kind::Rebuilt,
        true if old.sqlite_name() == new.sqlite_name()
            && added(old, new).next().is_none()
            && visible().all(|column| known(column).is_some_and(|now| now.name == column.name)) =>
        {
            Kind::Kept
        }
        true => Kind::Altered,
    }
}

/// The columns that the table did not have.
pub(super) fn added<'a>(old: &'a Table, new: &'a Table) -> impl Iterator<Item = &'a Column> {
    new.columns.iter().filter(|column| old.column(column.no).is_none_or(is_hidden))
}

/// Whether every row gets the same value, so that SQLite need not write any.
fn can_add(column: &Column) -> bool {
    match &column.default {
        None | Some(DefaultValue::Cloud | DefaultValue::Leased) => !column.not_null && column.added.is_none(),
        Some(DefaultValue::Constant(value)) => !value.is_null() && column.added.as_ref() == Some(value),
        Some(DefaultValue::Now | DefaultValue::Uuid) => false,
    }
}

type Declared<'a> = (&'a [ColumnNo], TableNo, &'a [ColumnNo], OnDelete);

/// The references that SQLite holds, whatever the names.
fn references<'a>(catalog: &Catalog, table: &'a Table) -> Vec<Declared<'a>> {
    let declared = table.references.iter().filter(|reference| schema::is_declared(catalog, table, reference));
    declared.map(|one| (one.columns.as_slice(), one.table, one.target.as_slice(), one.on_delete)).collect()
}
