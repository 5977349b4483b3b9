//! What happened to a table while capture was not itself: columns or triggers of ours that somebody dropped or disabled, rows written under
//! names that had moved on. It is noted here; [`super::settle`] puts it right.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::id::TableNo;
use tokio_postgres::{Client, Transaction};

use super::apply::{CLONED_OFF, Installed};
use super::drift::Places;
use super::{TRIGGER_PREFIX, scope_expression};
use crate::store::error::StoreError;
use crate::store::introspect::FoundTable;
use crate::store::pace::wait_briefly;
use crate::store::row::table_sql;

/// What every version of the generator has made, without which writes are missed.
pub(super) const NEEDED: [&str; 6] = ["insert", "update", "arrived", "gone", "moved", "truncate"];

/// Whether one of the triggers of this kind is in force, of whatever version.
pub(super) fn works(there: &BTreeMap<String, String>, needed: &str) -> bool {
    // `~rejoin_v2_history_insert` is `history_insert`.
    let of = |name: &str| name.strip_prefix(TRIGGER_PREFIX)?.split_once("_v")?.1.split_once('_').map(|(_, of)| of.to_owned());
    there.iter().any(|(name, mark)| of(name).as_deref() == Some(needed) && !mark.is_empty() && mark != CLONED_OFF)
}

/// Whether writes to a table may be missed as it is now.
pub(crate) fn is_lossy(found: &FoundTable, installed: &Installed) -> bool {
    let none = BTreeMap::new();
    let there = installed.get(&found.oid).unwrap_or(&none);
    let stamped = ["rejoin_scope", "rejoin_tick"].iter().all(|name| found.column_named(name).is_some());
    !stamped || !NEEDED.iter().all(|of| works(there, of))
}

/// Notes that writes to a table that is synced may have been missed: a trigger of ours is gone, disabled or renamed, or a stamp column is
/// gone. Before anything is put back, so that a crash in between does not hide it.
pub(crate) async fn note_losses(client: &Client, table: &Table, found: &FoundTable, installed: &Installed) -> Result<(), StoreError> {
    if is_lossy(found, installed) {
        tracing::warn!(table = %found.label(), "triggers or columns of Rejoin's were gone or disabled");
        client.execute("SELECT rejoin.drifts($1, true)", &[&i32::try_from(table.no.0).unwrap_or_default()]).await?;
    }
    Ok(())
}

/// Notes that the rows below a table may have been left behind: a trigger is gone or disabled, of the table or of one of its partitions, that takes
/// them along (`restamp`), or gives them a place once what they name is there (`claim`). `before`: the catalog that sites know.
pub(crate) async fn note_left_behind(
    client: &Client,
    (before, places): (&Catalog, &Places),
    table: &Table,
    parts: &[u32],
    installed: &Installed,
) -> Result<(), StoreError> {
    let none = BTreeMap::new();
    let lost = |of: &str| parts.iter().any(|oid| !works(installed.get(oid).unwrap_or(&none), of));
    let (restamp, claim) = (lost("restamp"), lost("claim"));
    let claims = |child: &Table, way: &Reference| way.declared || places.is_deferrable(child, way);
    let left = |child: &&Table| child.ways().any(|way| way.table == table.no && (restamp || claim && claims(child, way)));
    for child in before.tables.iter().filter(left) {
        tracing::warn!(table = %table.name, child = %child.name, "a trigger of Rejoin's was gone or disabled: rows below may have been left behind");
        client.execute("SELECT rejoin.drifts($1, false)", &[&child.no.0.cast_signed()]).await?;
    }
    Ok(())
}

/// These tables and those whose rows find their scope through them, as SQL names them.
pub(crate) fn with_dependents(catalog: &Catalog, tables: &[TableNo]) -> Vec<String> {
    let mut moving: BTreeSet<TableNo> = tables.iter().copied().collect();
    loop {
        let below = catalog.tables.iter().filter(|table| table.ways().any(|way| moving.contains(&way.table))).map(|table| table.no);
        let all: BTreeSet<TableNo> = moving.iter().copied().chain(below).collect();
        if all.len() == moving.len() {
            break;
        }
        moving = all;
    }
    catalog.tables.iter().filter(|table| moving.contains(&table.no)).map(table_sql).collect()
}

/// Keeps the writers of these tables out until the transaction ends, before any head is taken: who waits for a table holds no row of it that we
/// need, and who holds a head is waited for only briefly, longer than which nobody waits in a circle.
pub(crate) async fn lock(transaction: &Transaction<'_>, tables: &[String]) -> Result<(), StoreError> {
    transaction.batch_execute(&wait_briefly()).await?;
    if !tables.is_empty() {
        transaction.batch_execute(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "))).await?;
    }
    Ok(())
}

/// Rows of a table that are in another scope than they should be, or hold `also`. What they refer to may not be there: they stay where they are.
pub(crate) struct Astray<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) table: &'a Table,
    /// The table, or the partition of it that is looked at, as SQL names it.
    pub(crate) place: &'a str,
    /// A condition on `t`.
    pub(crate) also: &'a str,
    /// Only those that hold this condition on `t`, too.
    pub(crate) here: &'a str,
}

impl Astray<'_> {
    fn rows(&self) -> String {
        let scope = scope_expression(self.catalog, self.table, "t");
        format!(
            "(SELECT t.tableoid AS part, t.ctid AS place, t.rejoin_scope AS was, {scope} AS scope, {} AS also FROM {} t WHERE {} OFFSET 0) b
             WHERE (b.also OR b.was IS DISTINCT FROM b.scope) AND b.scope IS NOT NULL",
            self.also, self.place, self.here
        )
    }

    /// A query that has a row where there is one.
    pub(crate) fn some(&self) -> String {
        format!("SELECT FROM {}", self.rows())
    }

    /// A query for the scopes that [`Self::restamp`] writes in.
    pub(crate) fn scopes(&self) -> String {
        format!(
            "SELECT DISTINCT u.scope FROM (SELECT b.was, b.scope FROM {}) b, unnest(ARRAY[b.was, b.scope]) u(scope) WHERE u.scope IS NOT NULL",
            self.rows()
        )
    }

    /// Lets them find their scopes: a tick that counts for nobody, so the trigger derives the scope and leaves a mark in the old one.
    pub(crate) async fn restamp(&self, transaction: &Transaction<'_>) -> Result<u64, StoreError> {
        let sql = format!(
            "UPDATE {} t SET rejoin_tick = NULL FROM (SELECT b.part, b.place FROM {}) x WHERE t.ctid = x.place AND t.tableoid = x.part",
            self.place,
            self.rows()
        );
        Ok(transaction.execute(&sql, &[]).await?)
    }
}

/// Takes the heads of the scopes that a query names.
pub(crate) async fn take(transaction: &Transaction<'_>, scopes: &str) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT rejoin.take(VARIADIC s.wanted) FROM (SELECT array_agg(q.scope) AS wanted FROM ({scopes}) q(scope)) s WHERE s.wanted IS NOT NULL"
    );
    transaction.execute(&sql, &[]).await?;
    Ok(())
}
