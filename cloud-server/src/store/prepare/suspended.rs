//! What can still be served where the schema moved and no new catalog can be made of it: the tables that are as the catalog in force says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use sync_core::catalog::{Catalog, Table};
use sync_core::id::TableNo;
use tokio_postgres::Client;

use super::{PrepareError, published};
use crate::store::capture::stamp_columns;
use crate::store::error::StoreError;
use crate::store::introspect::{FoundTable, Schema, read};
use crate::store::migrate;
use crate::store::pool::Database;

/// Why a table cannot be served under the catalog in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is not there, or called otherwise.
    Gone,
    /// Nothing of its kind can be synced.
    Obstacle(String),
    /// A column is gone, renamed or of another type.
    Column(String),
    /// A column of ours is gone.
    Stamp(String),
    /// It was not served for a while, so it must be fed before it is.
    Unfed,
    /// Its rows find their scope through this table, which is not served.
    Through(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it is not there under this name"),
            Self::Obstacle(obstacle) => write!(f, "it {obstacle}"),
            Self::Column(what) => f.write_str(what),
            Self::Stamp(name) => write!(f, "its column {name}, which Rejoin needs, is gone"),
            Self::Unfed => f.write_str("its rows have to be sent again first, which happens with the next catalog"),
            Self::Through(table) => write!(f, "its rows find their scope through {table}"),
        }
    }
}

/// The tables of the catalog that cannot be served: those that are not there as it says, those that must be fed again before (they were suspended
/// a moment ago, maybe by another process), and those whose rows find their scope through one of them. Looks only.
///
/// # Errors
/// The store failed.
pub(crate) async fn misfits(client: &Client, catalog: &Catalog, schema: &Schema) -> Result<BTreeMap<TableNo, Misfit>, StoreError> {
    let rows = client.query("SELECT no, oid, feed_again FROM rejoin.tables WHERE dropped_at IS NULL", &[]).await?;
    let known: BTreeMap<u32, (u32, bool)> =
        rows.iter().map(|row| (row.get::<_, i32>(0).cast_unsigned(), (row.get(1), row.get(2)))).collect();
    let rows = client.query("SELECT table_no, no, attnum FROM rejoin.columns WHERE dropped_at IS NULL", &[]).await?;
    let places: BTreeMap<(u32, u32), i16> =
        rows.iter().map(|row| ((row.get::<_, i32>(0).cast_unsigned(), row.get::<_, i32>(1).cast_unsigned()), row.get(2))).collect();
    let misfit = |table: &Table| {
        let Some((oid, unfed)) = known.get(&table.no.0) else { return Some(Misfit::Gone) };
        let Some(found) = schema.tables.iter().find(|found| found.oid == *oid) else { return Some(Misfit::Gone) };
        let misfit = of(table, found, |no| places.get(&(table.no.0, no)).copied());
        misfit.or_else(|| unfed.then_some(Misfit::Unfed))
    };
    let mut misfits: BTreeMap<TableNo, Misfit> = catalog.tables.iter().filter_map(|table| Some((table.no, misfit(table)?))).collect();
    let through = |table: &Table, misfits: &BTreeMap<TableNo, Misfit>| {
        let way = table.ways().find(|way| misfits.contains_key(&way.table))?;
        catalog.table(way.table).map(|parent| (table.no, Misfit::Through(parent.name.clone())))
    };
    while let Some((no, misfit)) =
        catalog.tables.iter().filter(|table| !misfits.contains_key(&table.no)).find_map(|table| through(table, &misfits))
    {
        misfits.insert(no, misfit);
    }
    Ok(misfits)
}

/// Which tables of the catalog are not served from now on ([`misfits`]). Pulls pass what is written of them meanwhile: they are fed again with the
/// next catalog.
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
    let suspended: BTreeSet<TableNo> = misfits(&client, catalog, &schema).await?.into_keys().collect();
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

/// What is not there of all that statements name, under the same name and of the same type.
fn of(table: &Table, found: &FoundTable, place: impl Fn(u32) -> Option<i16>) -> Option<Misfit> {
    if let Some(obstacle) = &found.obstacle {
        return Some(Misfit::Obstacle(obstacle.clone()));
    }
    if (&found.schema, &found.name) != (&table.schema, &table.name) {
        return Some(Misfit::Gone);
    }
    for own in &table.columns {
        let Some(column) = place(own.no.0).and_then(|attnum| found.column(attnum)) else {
            return Some(Misfit::Column(format!("its column {} is gone", own.name)));
        };
        if column.name != own.name {
            return Some(Misfit::Column(format!("its column {} is called {} now", own.name, column.name)));
        }
        if column.sql_type != own.sql_type {
            let (was, is) = (&own.sql_type, &column.sql_type);
            return Some(Misfit::Column(format!("its column {} is {is} now, and was {was}", own.name)));
        }
    }
    let stamps = &table.stamps;
    let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(String::as_str);
    let ours = stamp_columns(table);
    let mut needed = ours.iter().map(|(name, _)| *name).chain(mapped);
    needed.find(|name| found.column_named(name).is_none()).map(|name| Misfit::Stamp(name.to_owned()))
}
