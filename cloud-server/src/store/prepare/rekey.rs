//! What is kept under rows' keys follows a primary key that was changed: tombstones by their images, times and history by the rows, open
//! conflicts by what they hold, subscriptions by the root's rows.

mod conflicts;

use std::collections::BTreeSet;

use futures_util::{StreamExt, pin_mut};
use sync_core::catalog::{Catalog, ScopeRule, Table};
use sync_core::id::{ColumnNo, Key};
use sync_core::value::Value;
use sync_core::write::row_from_json;
use tokio_postgres::Transaction;

use crate::store::capture::{key_array, scope_expression};
use crate::store::error::StoreError;
use crate::store::row::table_sql;

/// How many tombstones are written at once.
const BATCH: usize = 5_000;

/// Whether rows are known by another key than before, or by the same columns of other types.
pub(super) fn is_rekeyed(old: &Table, now: &Table) -> bool {
    old.key != now.key || retyped(old, now)
}

fn retyped(old: &Table, now: &Table) -> bool {
    now.key.iter().any(|no| old.column(*no).map(|column| &column.ty) != now.column(*no).map(|column| &column.ty))
}

/// Whether a root's rows are in other scopes than their keys say now.
pub(super) async fn moves_scopes(transaction: &Transaction<'_>, catalog: &Catalog, old: &Table, table: &Table) -> Result<bool, StoreError> {
    if table.scope != ScopeRule::Root || !is_rekeyed(old, table) {
        return Ok(false);
    }
    let scope = scope_expression(catalog, table, "t");
    let sql = format!("SELECT EXISTS (SELECT FROM {} t WHERE t.rejoin_scope IS DISTINCT FROM {scope})", table_sql(table));
    Ok(transaction.query_one(&sql, &[]).await?.get(0))
}

/// Lets what is kept under keys follow. Returns the tables of which deleted rows cannot be named any more.
pub(super) async fn keys(transaction: &Transaction<'_>, before: &Catalog, catalog: &Catalog) -> Result<BTreeSet<u32>, StoreError> {
    let mut lost = BTreeSet::new();
    for table in &catalog.tables {
        let Some(old) = before.table(table.no).filter(|old| is_rekeyed(old, table)) else { continue };
        tracing::info!(table = %table.name, "the primary key was changed");
        conflicts::follow(transaction, old, table).await?;
        if tombstones(transaction, old, table).await? {
            lost.insert(table.no.0);
        }
        if old.key != table.key {
            noted(transaction, old, table).await?;
            index(transaction, table).await?;
        }
        if table.scope == ScopeRule::Root {
            subscriptions(transaction, catalog, table).await?;
        }
    }
    Ok(lost)
}

/// The new key of a deleted row, where it can be told.
fn key_of_gone(old: &Table, table: &Table, key: &[String], image: Option<&serde_json::Value>) -> Option<Key> {
    if old.key == table.key {
        let values: Option<Vec<Value>> = table.key_columns().zip(key).map(|(column, text)| column.ty.parse(text).ok()).collect();
        return values.filter(|values| values.len() == table.key.len()).map(Key);
    }
    let row = row_from_json(table, image?);
    let values = table.key_positions().map(|at| row[at].clone().filter(|value| !value.is_null()));
    values.collect::<Option<Vec<Value>>>().map(Key)
}

fn texts(key: &Key) -> serde_json::Value {
    key.0.iter().map(|value| serde_json::Value::String(value.to_text().into_owned())).collect()
}

/// Gives tombstones their new keys; those whose row cannot be named are dropped. Whether any were.
async fn tombstones(transaction: &Transaction<'_>, old: &Table, table: &Table) -> Result<bool, StoreError> {
    let no = table.no.0.cast_signed();
    transaction
        .batch_execute(
            "CREATE TEMP TABLE IF NOT EXISTS rejoin_rekeyed (scope text, was text[], now text[]) ON COMMIT DROP; TRUNCATE rejoin_rekeyed",
        )
        .await?;
    let mut lost = false;
    let rows = transaction.query_raw("SELECT scope, key, image FROM rejoin.tombstones WHERE table_no = $1", [no]).await?;
    let keyed = rows.map(|row| {
        let row = row?;
        let (scope, key, image): (String, Vec<String>, Option<serde_json::Value>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let now = key_of_gone(old, table, &key, image.as_ref());
        Ok::<_, tokio_postgres::Error>((scope, serde_json::json!(key), now.map(|now| texts(&now))))
    });
    let chunks = keyed.chunks(BATCH);
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        let chunk: Vec<_> = chunk.into_iter().collect::<Result<_, _>>()?;
        let (mut scopes, mut was, mut now) = (Vec::new(), Vec::new(), Vec::new());
        for (scope, old_key, key) in chunk {
            let Some(key) = key else {
                lost = true;
                continue;
            };
            scopes.push(scope);
            was.push(old_key);
            now.push(key);
        }
        let array = |column: &str| format!("ARRAY(SELECT jsonb_array_elements_text({column}))");
        let sql = format!(
            "INSERT INTO rejoin_rekeyed SELECT u.scope, {}, {} FROM unnest($1::text[], $2::jsonb[], $3::jsonb[]) u(scope, was, now)",
            array("u.was"),
            array("u.now")
        );
        transaction.execute(&sql, &[&scopes, &was, &now]).await?;
    }
    // All leave first: a row may come back under a key that was another one's before.
    transaction
        .batch_execute(&format!(
            "CREATE TEMP TABLE rejoin_moved ON COMMIT DROP AS
                 SELECT g.*, r.now FROM rejoin.tombstones g JOIN rejoin_rekeyed r ON r.scope = g.scope AND r.was = g.key WHERE g.table_no = {no};
             DELETE FROM rejoin.tombstones WHERE table_no = {no};
             INSERT INTO rejoin.tombstones (scope, table_no, key, tick, version, at, author, left_scope, image)
                 SELECT scope, table_no, now, tick, version, at, author, left_scope, image FROM rejoin_moved ON CONFLICT DO NOTHING;
             DROP TABLE rejoin_moved"
        ))
        .await?;
    Ok(lost)
}

/// Times and history go by the rows that are there; rows that were made another one are forgotten with the keys by which they were known.
async fn noted(transaction: &Transaction<'_>, old: &Table, table: &Table) -> Result<(), StoreError> {
    let no = table.no.0.cast_signed();
    transaction.execute("DELETE FROM rejoin.merged_rows WHERE table_no = $1", &[&no]).await?;
    let by_old = Table { key: old.key.clone(), ..table.clone() };
    let known = |column: &ColumnNo| table.column(*column).is_some();
    if !old.key.iter().all(known) {
        transaction.execute("DELETE FROM rejoin.edit_times WHERE table_no = $1", &[&no]).await?;
        return Ok(());
    }
    let (was, now, rows) = (key_array(&by_old, "r"), key_array(table, "r"), table_sql(table));
    let history = format!("UPDATE rejoin.history h SET key = {now} FROM {rows} r WHERE h.table_no = $1 AND h.key = {was}");
    transaction.execute(&history, &[&no]).await?;
    let times = format!(
        "CREATE TEMP TABLE rejoin_times ON COMMIT DROP AS
             SELECT e.table_no, {now} AS key, e.column_no, e.at FROM rejoin.edit_times e JOIN {rows} r ON e.key = {was} WHERE e.table_no = {no};
         DELETE FROM rejoin.edit_times WHERE table_no = {no};
         INSERT INTO rejoin.edit_times SELECT * FROM rejoin_times ON CONFLICT DO NOTHING;
         DROP TABLE rejoin_times"
    );
    Ok(transaction.batch_execute(&times).await?)
}

/// The feed's index ends in the key.
async fn index(transaction: &Transaction<'_>, table: &Table) -> Result<(), StoreError> {
    let key: Vec<String> = table.key_columns().map(|column| crate::store::row::quote(&column.name)).collect();
    let sql = format!(
        "DROP INDEX IF EXISTS {schema}.rejoin_{no}_feed; CREATE INDEX rejoin_{no}_feed ON {name} (rejoin_scope, rejoin_tick, {key})",
        schema = crate::store::row::quote(&table.schema),
        no = table.no,
        name = table_sql(table),
        key = key.join(", ")
    );
    Ok(transaction.batch_execute(&sql).await?)
}

/// A site goes on holding the same root rows.
async fn subscriptions(transaction: &Transaction<'_>, catalog: &Catalog, table: &Table) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE rejoin.subscriptions s SET scope = {scope} FROM {rows} t WHERE t.rejoin_scope = s.scope AND s.scope <> {scope}",
        scope = scope_expression(catalog, table, "t"),
        rows = table_sql(table),
    );
    transaction.execute(&sql, &[]).await?;
    Ok(())
}

/// Rows that are there are not gone, whatever was left of their namesakes in a table before this one.
pub(super) async fn unbury(transaction: &Transaction<'_>, table: &Table) -> Result<(), StoreError> {
    let sql = format!(
        "DELETE FROM rejoin.tombstones g USING {} r WHERE g.table_no = $1 AND g.scope = r.rejoin_scope AND g.key = {}",
        table_sql(table),
        key_array(table, "r")
    );
    transaction.execute(&sql, &[&table.no.0.cast_signed()]).await?;
    Ok(())
}
