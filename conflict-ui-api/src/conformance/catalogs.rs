//! The catalog that the suite gives to a site is the one that introspection makes at the cloud.

use sync_core::catalog::{Catalog, Reference, ScopeRule, Table};
use sync_core::id::ColumnNo;

use super::{Client, Fixture, System};

pub async fn the_catalog_is_the_systems(fixture: &dyn Fixture) {
    for system in [System::VideoProduction, System::EveryType] {
        let client = Client::open(fixture, system).await;
        let (made, expected) = (client.store.backend.catalog().unwrap(), system.catalog());
        assert_eq!((made.api, &made.system), (expected.api, &expected.system));
        assert_eq!(described(&made), described(&expected));
    }
}

/// Every table of the user's by names instead of numbers, which depend on the order of discovery.
fn described(catalog: &Catalog) -> Vec<String> {
    let mut tables: Vec<_> = catalog.tables.iter().filter(|table| !table.engine).map(|table| describe(catalog, table)).collect();
    tables.sort();
    tables
}

fn describe(catalog: &Catalog, table: &Table) -> String {
    let names = |numbers: &[ColumnNo]| numbers.iter().map(|no| table.column(*no).unwrap().name.clone()).collect::<Vec<_>>().join(",");
    let columns = table.columns.iter().map(|column| {
        let (name, ty, sql) = (&column.name, &column.ty, &column.sql_type);
        format!("{name} {ty:?} {sql} {} {:?} {:?}", column.not_null, column.default, column.max_length)
    });
    let refer = |reference: &Reference| {
        let target = catalog.table(reference.table).unwrap();
        let to: Vec<_> = reference.target.iter().map(|no| target.column(*no).unwrap().name.clone()).collect();
        let when = reference.when.as_ref().map(|(no, kind)| format!(" where {} is {kind:?}", names(&[*no])));
        let declared = if reference.declared { " declared" } else { "" };
        let (own, when) = (names(&reference.columns), when.unwrap_or_default());
        format!("({own}) -> {}({}) {:?}{declared}{when}", target.name, to.join(","), reference.on_delete)
    };
    let scope = match &table.scope {
        ScopeRule::Through(_) => format!("through {}", table.ways().map(refer).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    };
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines.join("; ")
    };
    let references = sorted(table.references.iter().map(refer).collect());
    let uniques = sorted(table.uniques.iter().map(|unique| names(&unique.columns)).collect());
    let indexes = sorted(table.indexes.iter().map(|index| names(&index.columns)).collect());
    format!(
        "{}.{} at {}\n  columns {:#?}\n  key {}\n  uniques {uniques}\n  indexes {indexes}\n  references {references}\n  scope {scope}\n  {:?} {:?}\n  {:?}",
        table.schema,
        table.name,
        table.path,
        columns.collect::<Vec<_>>(),
        names(&table.key),
        table.stamps,
        table.soft_delete.map(|no| names(&[no])),
        table.api,
    )
}
