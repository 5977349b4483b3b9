//! The built-in systems: what becomes of each one's tables, and what their constraints refuse. Plain SQL.

mod cmms;
mod digital_twin;
mod energy;
mod visualizer;

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::store::prepare::plan;
use cloud_server::systems::{BuiltIn, VIDEO_PRODUCTION};
use cloud_server::test_support;
use sync_core::catalog::{Catalog, Table, Travel};
use sync_core::policy::Policy;
use sync_core::value::ColumnType;
use tokio_postgres::error::SqlState;

use crate::cloud::connect;
use crate::{Shop, shape};

pub(super) async fn open(system: BuiltIn) -> (Shop, Arc<Catalog>) {
    let database = test_support::database().await;
    let db = Database::open(database.url(), 4).unwrap();
    let catalog = prepare(&db, &system.settings().unwrap(), Some(system)).await.unwrap();
    assert_eq!((catalog.version.0, catalog.system.as_str()), (1, system.name));
    let engine: Vec<String> =
        catalog.tables.iter().filter(|table| table.engine).map(|table| format!("{} {:?}", table.sqlite_name(), table.scope)).collect();
    assert_eq!(engine, ["sync_conflicts Site", "rejoin_tokens Global", "rejoin_users Global"]);
    let sql = connect(database.url()).await;
    (Shop { database, db, sql }, catalog)
}

/// A table with its columns, keys, indexes, references, and what `rejoin.toml` says of it.
pub(super) fn drawn(catalog: &Catalog, table: &Table) -> String {
    let column = |no| table.column(no).unwrap().name.as_str();
    let stamps = &table.stamps;
    let mut lines = vec![
        format!("{} /{} {:?} soft delete {:?}", table.name, table.path, table.scope, table.soft_delete.map(column)),
        format!("  stamps {} {} {} {}", stamps.version, stamps.updated_at, stamps.last_modified_by, stamps.synced_at),
    ];
    if (table.travel, table.keep_hours) != (Travel::Both, None) {
        lines.push(format!("  travels {:?}, is kept for {:?} hours", table.travel, table.keep_hours));
    }
    lines.extend(shape(table).into_iter().map(|column| format!("  {column}")));
    let ruled = table.columns.iter().filter(|column| column.policy != Policy::Manual);
    lines.extend(ruled.map(|column| format!("  policy {} {:?}", column.name, column.policy)));
    lines.extend(table.uniques.iter().map(|unique| format!("  unique {}", unique.name)));
    lines.extend(table.indexes.iter().map(|index| format!("  index {}", index.name)));
    lines.extend(table.references.iter().map(|reference| {
        let to = &catalog.table(reference.table).unwrap().name;
        let when = reference.when.as_ref().map(|(kind, value)| format!(" where {} is {}", column(*kind), value.to_text()));
        format!("  {} -> {to} {:?}{}", column(reference.columns[0]), reference.on_delete, when.unwrap_or_default())
    }));
    lines.join("\n")
}

/// Every table, parents first.
pub(super) fn whole(catalog: &Catalog) -> String {
    let tables = catalog.parents_first().into_iter().filter(|table| !table.engine);
    tables.map(|table| drawn(catalog, table)).collect::<Vec<_>>().join("\n")
}

/// Every enum with its labels.
pub(super) fn enums(catalog: &Catalog) -> String {
    let columns = catalog.tables.iter().filter(|table| !table.engine).flat_map(|table| &table.columns);
    let found: BTreeMap<&str, String> = columns
        .filter(|column| matches!(column.ty, ColumnType::Enum(_)))
        .map(|column| (column.sql_type.as_str(), format!("{} {:?}", column.sql_type, column.ty)))
        .collect();
    found.into_values().collect::<Vec<_>>().join("\n")
}

/// Runs a statement that is refused; by which constraint.
pub(super) async fn refused(shop: &Shop, sql: &str, code: SqlState) -> String {
    let error = shop.sql.batch_execute(sql).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(*error.code(), code, "{sql}: {error}");
    error.constraint().unwrap().to_owned()
}

/// What stays at the cloud, and what is to be noted, of a system as it is.
pub(super) async fn plan_of(shop: &Shop, system: BuiltIn) -> Vec<String> {
    let plan = plan(&shop.db, &system.settings().unwrap()).await.unwrap();
    assert_eq!(plan.warnings, Vec::<String>::new());
    let told = plan.tables.iter().flat_map(|entry| {
        let whole = (!entry.synced).then(|| entry.table.clone());
        let columns = entry.left_out.iter().map(|column| format!("{}.{}", entry.table, column.column));
        let notes = entry.notes.iter().map(|note| format!("{}: {note}", entry.table));
        whole.into_iter().chain(columns).chain(notes).collect::<Vec<_>>()
    });
    told.collect()
}

#[tokio::test]
async fn the_video_production_system_is_whole() {
    let (_shop, catalog) = open(VIDEO_PRODUCTION).await;
    insta::assert_snapshot!(whole(&catalog));
    insta::assert_snapshot!(enums(&catalog));
}
