//! Puts right what happened to a table while capture was not itself: columns or triggers of ours that somebody dropped or disabled, rows
//! written under names that had moved on.

use std::collections::BTreeMap;

use sync_core::catalog::{Catalog, Table};
use tokio_postgres::{Client, Transaction};

use super::apply::Installed;
use super::{TRIGGER_PREFIX, key_array, scope_expression};
use crate::store::error::StoreError;
use crate::store::introspect::FoundTable;
use crate::store::row::{quote, table_sql};

/// What every version of the generator has made, without which writes are missed.
const NEEDED: [&str; 6] = ["insert", "update", "arrived", "gone", "moved", "truncate"];

/// Notes that writes to a table that is synced may have been missed: a trigger of ours is gone, disabled or renamed, or a stamp column is
/// gone. Before anything is put back, so that a crash in between does not hide it.
pub(crate) async fn note_losses(client: &Client, table: &Table, found: &FoundTable, installed: &Installed) -> Result<(), StoreError> {
    let none = BTreeMap::new();
    let there = installed.get(&found.oid).unwrap_or(&none);
    // `~rejoin_v2_history_insert` is `history_insert`.
    let of = |name: &str| name.strip_prefix(TRIGGER_PREFIX)?.split_once("_v")?.1.split_once('_').map(|(_, of)| of.to_owned());
    let works = |needed: &str| there.iter().any(|(name, mark)| of(name).as_deref() == Some(needed) && !mark.is_empty());
    let whole = NEEDED.iter().all(|of| works(of)) && ["rejoin_scope", "rejoin_tick"].iter().all(|name| found.column_named(name).is_some());
    if !whole {
        tracing::warn!(table = %found.label(), "triggers or columns of Rejoin's were gone or disabled");
        client.execute("SELECT rejoin.drifts($1, true)", &[&i32::try_from(table.no.0).unwrap_or_default()]).await?;
    }
    Ok(())
}

/// Fills the stamp columns that were just put back. A version is one that is above what anybody was told: above the row's last in history, its
/// tombstones, and the heads of its scope (of all, where the scope is gone too). Before the triggers are put back.
pub(crate) async fn refill(client: &mut Client, table: &Table, found: &FoundTable) -> Result<(), StoreError> {
    let (name, key, no, stamps) = (table_sql(table), key_array(table, "t"), table.no, &table.stamps);
    let version = format!(
        "greatest(1, (SELECT max(h.version) FROM rejoin.history h WHERE h.table_no = {no} AND h.key = {key}),
             (SELECT max(g.version) FROM rejoin.tombstones g WHERE g.table_no = {no} AND g.key = {key}), s.head) + 1"
    );
    let fill = [
        (&stamps.version, version.as_str()),
        (&stamps.updated_at, "now()"),
        (&stamps.last_modified_by, "rejoin.author()"),
        (&stamps.synced_at, "now()"),
    ];
    let missing = fill.iter().filter(|(column, _)| found.column_named(column).is_none());
    let mut sets: Vec<String> = missing.map(|(column, value)| format!("{} = {value}", quote(column))).collect();
    if sets.is_empty() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    let stamped = ["rejoin_scope", "rejoin_tick"].iter().all(|name| found.column_named(name).is_some());
    let heads = if stamped {
        take(&transaction, &format!("SELECT DISTINCT rejoin_scope FROM {name}")).await?;
        sets.push("rejoin_tick = s.head".to_owned());
        "rejoin.scopes s WHERE s.scope = t.rejoin_scope"
    } else {
        "(SELECT max(head) AS head FROM rejoin.scopes) s"
    };
    let rows = transaction.execute(&format!("UPDATE {name} t SET {} FROM {heads}", sets.join(", ")), &[]).await?;
    transaction.commit().await?;
    tracing::warn!(table = %found.label(), rows, "stamp columns were gone and are filled anew");
    Ok(())
}

/// Stamps what was written while the functions' names were out of date, and puts scopes right that nobody derived. The triggers are
/// those of now. The table is fed again where rows may be gone without a mark.
pub(crate) async fn settle(client: &mut Client, catalog: &Catalog, table: &Table) -> Result<(), StoreError> {
    let no = i32::try_from(table.no.0).unwrap_or_default();
    let sql = "SELECT max(id), coalesce(bool_or(rows_gone), false) FROM rejoin.drifted WHERE table_no = $1";
    let row = client.query_one(sql, &[&no]).await?;
    let (last, rows_gone): (Option<i64>, bool) = (row.get(0), row.get(1));
    let Some(last) = last else { return Ok(()) };
    let (name, scope) = (table_sql(table), scope_expression(catalog, table, "t"));
    let transaction = client.transaction().await?;
    let astray = format!(
        "FROM (SELECT t.ctid AS place, t.rejoin_tick, t.rejoin_scope, {scope} AS scope FROM {name} t) b
                 WHERE b.rejoin_tick = 0 OR b.rejoin_scope IS DISTINCT FROM b.scope AND b.scope IS NOT NULL"
    );
    take(&transaction, &format!("SELECT DISTINCT u.scope FROM (SELECT b.scope, b.rejoin_scope {astray}) b, unnest(ARRAY[b.scope, b.rejoin_scope]) u(scope) WHERE u.scope IS NOT NULL")).await?;
    // A tick that counts for nobody: the trigger derives the scope, and leaves a mark in the old one.
    let stamp = format!("UPDATE {name} t SET rejoin_tick = NULL FROM (SELECT b.place {astray}) x WHERE t.ctid = x.place");
    let rows = transaction.execute(&stamp, &[]).await?;
    let living = format!(
        "DELETE FROM rejoin.tombstones g USING {name} t WHERE g.table_no = {no} AND g.scope = t.rejoin_scope AND g.key = {}",
        key_array(table, "t")
    );
    transaction.execute(&living, &[]).await?;
    if rows_gone {
        transaction.execute("UPDATE rejoin.tables SET feed_again = true WHERE no = $1", &[&no]).await?;
    }
    transaction.execute("DELETE FROM rejoin.drifted WHERE table_no = $1 AND id <= $2", &[&no, &last]).await?;
    transaction.commit().await?;
    tracing::warn!(table = %table.name, rows, rows_gone, "writes that capture missed are put right");
    Ok(())
}

/// Takes the heads of the scopes that a query names.
async fn take(transaction: &Transaction<'_>, scopes: &str) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT rejoin.take(VARIADIC s.wanted) FROM (SELECT array_agg(q.scope) AS wanted FROM ({scopes}) q(scope)) s WHERE s.wanted IS NOT NULL"
    );
    transaction.execute(&sql, &[]).await?;
    Ok(())
}
