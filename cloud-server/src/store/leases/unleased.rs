//! New keys of which nobody gave the numbers out.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::{ColumnNo, Key, SiteId, TableNo};
use sync_core::value::Value;

use super::blocks::{STRIDES, holder};
use super::take::Sequence;
use crate::store::error::StoreError;

/// A key that a site brings and the cloud has never had.
pub(crate) struct New<'a> {
    /// Its table.
    pub(crate) table: &'a Table,
    /// The key.
    pub(crate) key: &'a Key,
}

/// Which of the new keys have a number that this site was never leased and that another site or the sequence may still give to another row;
/// each by its place, with the reason.
///
/// # Errors
/// The store failed.
pub(crate) async fn unleased(
    db: &impl GenericClient,
    catalog: &Catalog,
    site: SiteId,
    keys: &[New<'_>],
) -> Result<Vec<(usize, String)>, StoreError> {
    let mut numbers: BTreeMap<(TableNo, ColumnNo), Vec<(usize, i64)>> = BTreeMap::new();
    for (place, new) in keys.iter().enumerate() {
        for (column, value) in new.table.key_columns().zip(&new.key.0) {
            if let (true, Value::Int(number)) = (new.table.leased_columns().any(|leased| leased.no == column.no), value) {
                numbers.entry((new.table.no, column.no)).or_default().push((place, *number));
            }
        }
    }
    let mut found = Vec::new();
    for ((table, column), numbers) in numbers {
        let Some(table) = catalog.table(table) else { continue };
        let Some(column) = table.column(column) else { continue };
        let leased = leased(db, site, table, column, &numbers).await?;
        let rest: Vec<&(usize, i64)> = numbers.iter().filter(|(_, number)| leased.get(number) != Some(&true)).collect();
        if rest.is_empty() {
            continue;
        }
        let Some(sequence) = Sequence::of(db, table, column).await? else { continue };
        let name = &column.name;
        for (place, number) in rest {
            let why = match leased.get(number) {
                Some(_) => "was leased to another site, which would give it to another row",
                None if sequence.may_give(*number) => "was not leased to this site: the database would give it to another row",
                None => continue,
            };
            found.push((*place, format!("{name} {number} {why}. Leave {name} out where the row is made")));
        }
    }
    Ok(found)
}

/// The numbers that were leased, with whether to this site.
async fn leased(
    db: &impl GenericClient,
    site: SiteId,
    table: &Table,
    column: &Column,
    numbers: &[(usize, i64)],
) -> Result<HashMap<i64, bool>, StoreError> {
    let sql = format!(
        "WITH RECURSIVE {STRIDES} SELECT u.n, bool_or(r.site_id = $2) FROM unnest($1::bigint[]) AS u(n)
         CROSS JOIN LATERAL ({}) held JOIN rejoin.replicas r ON r.id = held.replica GROUP BY u.n",
        holder("u.n")
    );
    let wanted: Vec<i64> = numbers.iter().map(|(_, number)| *number).collect();
    let (table_no, column_no) = (table.no.0.cast_signed(), column.no.0.cast_signed());
    let rows = db.query(&db.prepare_cached(&sql).await?, &[&wanted, &site.0, &table_no, &column_no]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
