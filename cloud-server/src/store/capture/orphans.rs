//! A new table whose rows' parents are not there has rows without a scope (a foreign key that is not validated allows them): it stays out until they
//! are mended, and everything else goes on.

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::Client;

use super::ways::ways;
use crate::store::error::StoreError;
use crate::store::introspect::Schema;
use crate::store::row::table_sql;

/// What keeps the table out, where something does.
pub(crate) async fn look(client: &Client, catalog: &Catalog, table: &Table) -> Result<Option<String>, StoreError> {
    for way in ways(catalog, table).filter(|way| !way.reference.declared) {
        let sql = format!(
            "SELECT c.ctid::text FROM {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT 1",
            table_sql(table),
            way.names("c"),
            table_sql(way.parent),
            way.refers_as("c", "p")
        );
        if let Some(row) = client.query_opt(&sql, &[]).await? {
            let names: Vec<&str> =
                way.reference.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
            let place: String = row.get(0);
            return Ok(Some(format!(
                "holds rows whose {} is not there, so they have no scope; mend or delete them: ctid {place}",
                names.join(", ")
            )));
        }
    }
    Ok(None)
}

/// Remembers what was found, for those who only look.
pub(crate) async fn remember(client: &Client, schema: &Schema, found: &[(u32, String)]) -> Result<(), StoreError> {
    let (oids, obstacles): (Vec<u32>, Vec<&str>) = found.iter().map(|(oid, obstacle)| (*oid, obstacle.as_str())).unzip();
    let sql = "UPDATE rejoin.tables t SET obstacle = u.obstacle
               FROM unnest($1::oid[]) a(oid) LEFT JOIN unnest($2::oid[], $3::text[]) u(oid, obstacle) ON u.oid = a.oid
               WHERE t.oid = a.oid AND t.obstacle IS DISTINCT FROM u.obstacle";
    let all: Vec<u32> = schema.tables.iter().map(|table| table.oid).collect();
    client.execute(sql, &[&all, &oids, &obstacles]).await?;
    Ok(())
}

/// Whether some table stays out for its rows: nothing else tells when they are mended.
pub(crate) async fn are_known(client: &Client) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM rejoin.tables WHERE obstacle IS NOT NULL AND dropped_at IS NULL)";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// Takes what is remembered into what was found.
pub(crate) async fn recall(client: &Client, schema: &mut Schema) -> Result<(), StoreError> {
    let there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('rejoin.tables') AND attname = 'obstacle')";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    for row in client.query("SELECT oid, obstacle FROM rejoin.tables WHERE obstacle IS NOT NULL AND dropped_at IS NULL", &[]).await? {
        let (oid, obstacle): (u32, String) = (row.get(0), row.get(1));
        if let Some(table) = schema.tables.iter_mut().find(|table| table.oid == oid && table.obstacle.is_none()) {
            table.obstacle = Some(obstacle);
        }
    }
    Ok(())
}
