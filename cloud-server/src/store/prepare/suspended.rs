//! What can still be served where the schema moved and no new catalog can be made of it: the tables that are as the catalog in force says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sync_core::catalog::{Catalog, Table};
use sync_core::id::TableNo;

use super::{PrepareError, published};
use crate::store::capture::stamp_columns;
use crate::store::introspect::{FoundTable, read};
use crate::store::migrate;
use crate::store::pool::Database;

/// The tables of the catalog that cannot be served: those that are not there as it says, those that must be fed again before (they were suspended
/// a moment ago, maybe by another process), and those whose rows find their scope through one of them. Pulls pass what is written of them
/// meanwhile: they are fed again with the next catalog.
///
/// `None`: it is not the catalog in force.
///
/// # Errors
/// The store failed.
pub(crate) async fn suspend(db: &Database, catalog: &Catalog) -> Result<Option<BTreeSet<TableNo>>, PrepareError> {
    // Nobody publishes meanwhile: a table that was just brought in is not to be fed once more.
    let mut client = migrate::locked(db).await?;
    if published(&client).await?.is_none_or(|now| now.version != catalog.version) {
        return Ok(None);
    }
    let schema = read(&mut client).await?;
    let rows = client.query("SELECT no, oid FROM rejoin.tables WHERE dropped_at IS NULL AND NOT feed_again", &[]).await?;
    let oids: BTreeMap<u32, u32> = rows.iter().map(|row| (row.get::<_, i32>(0).cast_unsigned(), row.get(1))).collect();
    let rows = client.query("SELECT table_no, no, attnum FROM rejoin.columns WHERE dropped_at IS NULL", &[]).await?;
    let places: BTreeMap<(u32, u32), i16> =
        rows.iter().map(|row| ((row.get::<_, i32>(0).cast_unsigned(), row.get::<_, i32>(1).cast_unsigned()), row.get(2))).collect();
    let fits = |table: &Table| {
        let found = schema.tables.iter().find(|found| oids.get(&table.no.0) == Some(&found.oid));
        found.is_some_and(|found| is_as_published(table, found, |no| places.get(&(table.no.0, no)).copied()))
    };
    let mut suspended: BTreeSet<TableNo> = catalog.tables.iter().filter(|table| !fits(table)).map(|table| table.no).collect();
    while let Some(next) = catalog
        .tables
        .iter()
        .find(|table| !suspended.contains(&table.no) && table.ways().any(|way| suspended.contains(&way.table)))
        .map(|table| table.no)
    {
        suspended.insert(next);
    }
    let numbers: Vec<i32> = suspended.iter().map(|no| no.0.cast_signed()).collect();
    client.execute("UPDATE rejoin.tables SET feed_again = true WHERE no = ANY($1) AND NOT feed_again", &[&numbers]).await?;
    Ok(Some(suspended))
}

/// The catalog in force, where a cloud can start under it in spite of this error: the schema moved, and some of its tables cannot be served. Where
/// all of them can be it is `rejoin.toml` that is wrong, and who starts the cloud is told so.
///
/// # Errors
/// The store failed.
pub(crate) async fn to_go_on_under(db: &Database, error: &PrepareError) -> Result<Option<Arc<Catalog>>, PrepareError> {
    if error.is_transient() || matches!(error, PrepareError::Migrate(_)) {
        return Ok(None);
    }
    let Some(catalog) = published(&*db.client().await?).await? else { return Ok(None) };
    let moved = suspend(db, &catalog).await?.is_some_and(|suspended| !suspended.is_empty());
    Ok(moved.then(|| Arc::new(catalog)))
}

/// Whether all that statements name is there, under the same name and of the same type.
fn is_as_published(table: &Table, found: &FoundTable, place: impl Fn(u32) -> Option<i16>) -> bool {
    let column = |no: u32| place(no).and_then(|attnum| found.column(attnum));
    let same = table.columns.iter().all(|own| column(own.no.0).is_some_and(|it| it.name == own.name && it.sql_type == own.sql_type));
    let stamps = &table.stamps;
    let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(String::as_str);
    let ours = stamp_columns(table);
    let mut needed = ours.iter().map(|(name, _)| *name).chain(mapped);
    found.obstacle.is_none()
        && found.schema == table.schema
        && found.name == table.name
        && same
        && needed.all(|name| found.column_named(name).is_some())
}
