//! Whether the tables are still those that the catalog was made of. Names are all that a statement says: where two columns swapped them, or one
//! took another's, rows would land in the wrong one until the cloud has looked.
//!
//! And whether all of their rows are shown: FORCE ROW LEVEL SECURITY hides some from their owner too.
//!
//! Asked once in every transaction that writes rows, or shows or feeds those of whole tables (records, pages, digests), behind the tables' locks:
//! from then on no name changes until the transaction ends. Lists of conflicts and histories say what was written down, and ask nothing.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use futures_util::future::try_join;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::TableNo;
use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::row::table_sql;

/// What PostgreSQL's own numbers (oid, attnum), which it never gives twice, are called now.
const MOVED: &str = "
SELECT EXISTS (
    SELECT FROM unnest($1::integer[], $2::text[], $3::text[]) AS u(no, schema, name)
    LEFT JOIN rejoin.tables r ON r.no = u.no AND r.dropped_at IS NULL
    LEFT JOIN pg_class c ON c.oid = r.oid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IS DISTINCT FROM u.schema OR c.relname IS DISTINCT FROM u.name
       OR row_security_active(c.oid)
) OR EXISTS (
    SELECT FROM unnest($4::integer[], $5::integer[], $6::text[], $7::text[]) AS u(table_no, no, name, type)
    LEFT JOIN rejoin.tables r ON r.no = u.table_no
    LEFT JOIN rejoin.columns k ON k.table_no = u.table_no AND k.no = u.no AND k.dropped_at IS NULL
    LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum AND NOT a.attisdropped
    WHERE a.attname IS DISTINCT FROM u.name OR a.atttypid IS DISTINCT FROM to_regtype(u.type)::oid
)";

/// The tables that a write of these names: they, all that they refer to, and with `down` (rows go, or get another key) all that refers to them.
pub(crate) fn touched(catalog: &Catalog, tables: impl IntoIterator<Item = TableNo>, down: bool) -> Vec<&Table> {
    let mut open: Vec<TableNo> = tables.into_iter().collect();
    let mut seen: BTreeSet<TableNo> = BTreeSet::new();
    while let Some(no) = open.pop() {
        let Some(table) = catalog.table(no).filter(|_| seen.insert(no)) else { continue };
        open.extend(table.references.iter().map(|reference| reference.table));
        if down {
            open.extend(catalog.referrers(no).map(|(child, _)| child.no));
        }
    }
    catalog.tables.iter().filter(|table| !table.engine && seen.contains(&table.no)).collect()
}

/// The user's tables.
pub(crate) fn all(catalog: &Catalog) -> Vec<&Table> {
    catalog.tables.iter().filter(|table| !table.engine).collect()
}

/// Keeps the names of these tables as they are until the transaction ends. In a transaction that sees one snapshot it comes first: it takes none.
pub(crate) fn lock_sql(tables: &[&Table]) -> String {
    let names: Vec<String> = tables.iter().map(|table| table_sql(table)).collect();
    if names.is_empty() { String::new() } else { format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY ")) }
}

/// Locks the tables and checks that they are what the catalog says: one round trip.
///
/// # Errors
/// [`StoreError::Moved`]; somebody is altering one of them ([`StoreError::Busy`]); the store failed.
pub(crate) async fn hold(db: &Transaction<'_>, catalog: &Catalog, tables: &[&Table]) -> Result<(), StoreError> {
    if tables.is_empty() {
        return Ok(());
    }
    let statement = db.prepare_cached(MOVED).await?;
    let expected = Expected::of(tables);
    let lock = lock_sql(tables);
    // Sent together, done one after the other: the second statement sees all that was committed before the lock was had.
    let ((), moved) = try_join(db.batch_execute(&lock), db.query_one(&statement, &expected.params())).await?;
    judge(catalog, &moved)
}

/// Checks tables that are locked already.
///
/// # Errors
/// [`StoreError::Moved`]; the store failed.
pub(crate) async fn check(db: &Transaction<'_>, catalog: &Catalog, tables: &[&Table]) -> Result<(), StoreError> {
    let statement = db.prepare_cached(MOVED).await?;
    judge(catalog, &db.query_one(&statement, &Expected::of(tables).params()).await?)
}

/// As [`check`], in a transaction of whatever connection.
///
/// # Errors
/// As [`check`].
pub(crate) async fn check_on(db: &tokio_postgres::Transaction<'_>, catalog: &Catalog, tables: &[&Table]) -> Result<(), StoreError> {
    judge(catalog, &db.query_one(MOVED, &Expected::of(tables).params()).await?)
}

fn judge(catalog: &Catalog, moved: &tokio_postgres::Row) -> Result<(), StoreError> {
    if moved.try_get(0)? { Err(StoreError::Moved(catalog.version)) } else { Ok(()) }
}

/// What the catalog calls them.
#[derive(Default)]
struct Expected<'a> {
    tables: (Vec<i32>, Vec<&'a str>, Vec<&'a str>),
    columns: (Vec<i32>, Vec<i32>, Vec<&'a str>, Vec<&'a str>),
}

impl<'a> Expected<'a> {
    fn of(tables: &[&'a Table]) -> Self {
        let mut expected = Self::default();
        for table in tables {
            let no = table.no.0.cast_signed();
            expected.tables.0.push(no);
            expected.tables.1.push(&table.schema);
            expected.tables.2.push(&table.name);
            for column in &table.columns {
                expected.columns.0.push(no);
                expected.columns.1.push(column.no.0.cast_signed());
                expected.columns.2.push(&column.name);
                expected.columns.3.push(&column.sql_type);
            }
        }
        expected
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        let (tables, columns) = (&self.tables, &self.columns);
        [&tables.0, &tables.1, &tables.2, &columns.0, &columns.1, &columns.2, &columns.3]
    }
}
