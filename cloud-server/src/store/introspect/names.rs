//! What tables and columns were called before, as far as this database remembers: for a `rejoin.toml` that a migration has left behind.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{FoundTable, Identity, Schema};
use crate::settings::moved::Names;
use crate::settings::{Moved, Settings};
use crate::store::error::StoreError;

/// The settings with the names of now, and what should be written otherwise.
///
/// # Errors
/// The store failed.
pub(crate) async fn follow(client: &Client, schema: &Schema, settings: &Settings) -> Result<(Settings, Vec<Moved>), StoreError> {
    Ok(settings.follow(&former(client, schema).await?))
}

/// What former names stand for. Nothing in another database than the one that was seen last: oids mean nothing there.
async fn former(client: &Client, schema: &Schema) -> Result<Names, StoreError> {
    let mut names = Names::default();
    let there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('rejoin.columns') AND attname = 'former')";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? || !is_believed(client, &schema.identity).await? {
        return Ok(names);
    }
    let whole = |table: &FoundTable| format!("{}.{}", table.schema, table.name);
    let present: BTreeSet<String> = schema.tables.iter().map(whole).collect();
    let sql = "SELECT no, oid, schema_name || '.' || table_name, former, dropped_at IS NULL FROM rejoin.tables ORDER BY dropped_at IS NOT NULL, no";
    let mut found = Vec::new();
    for row in client.query(sql, &[]).await? {
        let (oid, name, mut former, lives): (u32, String, Vec<String>, bool) = (row.get(1), row.get(2), row.get(3), row.get(4));
        let table = schema.tables.iter().find(|table| lives && table.oid == oid);
        former.push(name);
        for name in former.into_iter().filter(|name| !present.contains(name)) {
            names.tables.entry(name).or_insert_with(|| table.map(FoundTable::label));
        }
        found.extend(table.map(|table| (row.get::<_, i32>(0), table)));
    }
    let sql = "SELECT table_no, attnum, column_name, former, dropped_at IS NULL FROM rejoin.columns ORDER BY dropped_at IS NOT NULL, no";
    for row in client.query(sql, &[]).await? {
        let (no, attnum, name, mut former, lives): (i32, i16, String, Vec<String>, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let Some((_, table)) = found.iter().find(|(table, _)| *table == no) else { continue };
        let column = table.column(attnum).filter(|_| lives);
        former.push(name);
        for name in former.into_iter().filter(|name| table.column_named(name).is_none()) {
            names.columns.entry((whole(table), name)).or_insert_with(|| column.map(|column| column.name.clone()));
        }
    }
    Ok(names)
}

async fn is_believed(client: &Client, identity: &Identity) -> Result<bool, StoreError> {
    let seen = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'database'", &[]).await?;
    let seen: Option<String> = seen.map(|row| row.try_get(0)).transpose()?;
    Ok(identity.system.is_some() && seen == Some(identity.here()))
}
