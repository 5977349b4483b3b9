//! What tables and columns were called before, as far as this database remembers: for a `rejoin.toml` that a migration has left behind.

use std::collections::BTreeSet;

use tokio_postgres::{Client, GenericClient, Transaction};

use super::{FoundTable, Identity, Schema};
use crate::settings::Settings;
use crate::settings::moved::{Followed, Names};
use crate::store::error::StoreError;

/// The settings with the names of now, and what should be written otherwise.
///
/// # Errors
/// The store failed.
pub(crate) async fn follow(client: &Client, schema: &Schema, settings: &Settings) -> Result<Followed, StoreError> {
    Ok(settings.follow(&former(client, schema).await?))
}

/// What former names stand for. Nothing in another database than the one that was seen last: oids mean nothing there.
async fn former(client: &Client, schema: &Schema) -> Result<Names, StoreError> {
    if !are_kept(client).await? || !is_believed(client, &schema.identity).await? {
        return Ok(Names::default());
    }
    let mut names = Names { heard: heard(client).await?, ..Names::default() };
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

/// Whether names are remembered here.
pub(super) async fn are_kept(client: &impl GenericClient) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('rejoin.columns') AND attname = 'secret')";
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

/// The database that was seen last.
pub(super) async fn seen(client: &impl GenericClient) -> Result<Option<String>, StoreError> {
    let seen = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'database'", &[]).await?;
    Ok(seen.map(|row| row.try_get(0)).transpose()?)
}

async fn is_believed(client: &Client, identity: &Identity) -> Result<bool, StoreError> {
    Ok(identity.system.is_some() && seen(client).await? == Some(identity.here()))
}

/// What the `rejoin.toml` said that was brought in last; `None`: nobody took it down.
async fn heard(client: &Client) -> Result<Option<BTreeSet<String>>, StoreError> {
    let Some(row) = client.query_opt("SELECT value FROM rejoin.state WHERE key = 'named'", &[]).await? else { return Ok(None) };
    let named = serde_json::from_str(row.try_get(0)?);
    named.map(Some).map_err(|error| StoreError::Corrupt(format!("rejoin.state: named: {error}")))
}

/// Takes down what `rejoin.toml` says by names that mean something: what is called otherwise later on is followed.
///
/// # Errors
/// The store failed.
pub(crate) async fn hear(transaction: &Transaction<'_>, named: &BTreeSet<String>) -> Result<(), StoreError> {
    let text = serde_json::to_string(named).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let sql = "INSERT INTO rejoin.state AS s (key, value) VALUES ('named', $1)
               ON CONFLICT (key) DO UPDATE SET value = $1 WHERE s.value <> $1";
    transaction.execute(sql, &[&text]).await?;
    Ok(())
}
