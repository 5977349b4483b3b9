//! Which rows a new catalog feeds again: those of which a site cannot know what they hold now. DDL that rewrote nothing feeds nothing.

use std::collections::BTreeSet;

use sync_core::catalog::{Catalog, Column, ScopeRule, Table, Travel};
use sync_core::value::ColumnType;
use tokio_postgres::Transaction;

use super::publish::Motion;
use super::rekey;
use crate::store::capture::literal;
use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

/// What of a table has to be fed again with a new catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Feed {
    Nothing,
    /// The rows that hold this condition; all.
    Rows(Option<String>),
    /// All, with their scopes derived anew.
    Scopes,
}

/// Whether rows are asked what they hold, so that nobody should write them before the catalog is in force.
pub(super) fn asks_rows(old: &Table, table: &Table) -> bool {
    table.columns.iter().any(|column| old.column(column.no).is_none_or(|old| !new_labels(&old.ty, &column.ty).is_empty()))
}

/// `others`: conditions under which a row's new columns hold something else than sites take for it.
pub(super) async fn feed(
    transaction: &Transaction<'_>,
    catalog: &Catalog,
    motion: &Motion<'_>,
    table: &Table,
    others: &[String],
) -> Result<Feed, StoreError> {
    let old = motion.old;
    if way(old) != way(table) || rekey::moves_scopes(transaction, catalog, old, table).await? {
        return Ok(Feed::Scopes);
    }
    if table.travel == Travel::Up {
        return Ok(Feed::Nothing);
    }
    let changed = |column: &Column| old.column(column.no).is_some_and(|old| is_other(old, column, motion.rewritten));
    let kept_longer = old.keep_hours.is_some_and(|hours| table.keep_hours.is_none_or(|now| now > hours));
    if old.travel == Travel::Up || kept_longer || rekey::is_rekeyed(old, table) || table.columns.iter().any(changed) {
        return Ok(Feed::Rows(None));
    }
    let labels = table.columns.iter().filter_map(|column| {
        let labels = new_labels(&old.column(column.no)?.ty, &column.ty);
        let list = labels.iter().map(|label| literal(label)).collect::<Vec<_>>().join(", ");
        let name = quote(&column.name);
        match column.ty {
            _ if labels.is_empty() => None,
            ColumnType::Array(_) => Some(format!("{name}::text[] && ARRAY[{list}]")),
            _ => Some(format!("{name}::text IN ({list})")),
        }
    });
    let conditions: Vec<String> = others.iter().cloned().chain(labels).collect();
    Ok(if conditions.is_empty() { Feed::Nothing } else { Feed::Rows(Some(conditions.join(" OR "))) })
}

/// Whether a column's values may be others than before, or be written otherwise.
fn is_other(old: &Column, now: &Column, rewritten: bool) -> bool {
    (shape(&old.ty) != shape(&now.ty)) || (old.sql_type != now.sql_type && rewritten)
}

/// The type without an enum's labels: those are asked of the rows.
fn shape(ty: &ColumnType) -> ColumnType {
    match ty {
        ColumnType::Enum(_) => ColumnType::Enum(Vec::new()),
        ColumnType::Array(element) => ColumnType::Array(Box::new(shape(element))),
        other => other.clone(),
    }
}

/// An enum's labels that it did not have: added ones, and old ones under new names.
fn new_labels<'t>(old: &ColumnType, now: &'t ColumnType) -> Vec<&'t str> {
    match (old, now) {
        (ColumnType::Enum(old), ColumnType::Enum(now)) => now.iter().filter(|label| !old.contains(label)).map(String::as_str).collect(),
        (ColumnType::Array(old), ColumnType::Array(now)) => new_labels(old, now),
        _ => Vec::new(),
    }
}

/// How a table's rows find their scope, in words that RENAME of a column does not change.
fn way(table: &Table) -> String {
    match &table.scope {
        ScopeRule::Through(_) => {
            let ways = table.ways().map(|way| format!("{} {:?} {:?} {:?}", way.table, way.columns, way.target, way.when));
            ways.collect::<Vec<_>>().join(", ")
        }
        ScopeRule::Root => format!("root {} {:?}", table.scope_prefix(), table.key),
        ScopeRule::Global => "global".to_owned(),
        ScopeRule::Site => "site".to_owned(),
    }
}

/// The rows to feed, and the scopes that they are in: each scope gets one tick.
#[derive(Debug, Default)]
pub(super) struct Fed {
    rows: Vec<(String, String)>,
    again: Vec<String>,
    scopes: BTreeSet<String>,
}

impl Fed {
    pub(super) async fn add(&mut self, transaction: &Transaction<'_>, table: &Table, feed: Feed) -> Result<(), StoreError> {
        let name = table_sql(table);
        match feed {
            Feed::Nothing => {}
            Feed::Scopes => self.again.push(name),
            Feed::Rows(condition) => {
                let condition = condition.map(|condition| format!("({condition})")).unwrap_or_else(|| "true".to_owned());
                let sql = format!("SELECT DISTINCT rejoin_scope FROM {name} WHERE rejoin_scope IS NOT NULL AND {condition}");
                let rows = transaction.query(&sql, &[]).await?;
                if !rows.is_empty() {
                    self.scopes.extend(rows.iter().map(|row| row.get::<_, String>(0)));
                    self.rows.push((name, condition));
                }
            }
        }
        Ok(())
    }

    /// Heads first, in their order.
    pub(super) async fn feed(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if !self.scopes.is_empty() {
            let scopes: Vec<String> = self.scopes.into_iter().collect();
            transaction.execute("SELECT rejoin.take(VARIADIC $1)", &[&scopes]).await?;
        }
        for (name, condition) in self.rows {
            // No name of ours may be one of the user's.
            let heads = "SELECT scope AS rejoin_fed_scope, head AS rejoin_fed_tick FROM rejoin.scopes";
            let sql = format!(
                "UPDATE {name} t SET rejoin_tick = rejoin_fed_tick FROM ({heads}) s WHERE rejoin_fed_scope = t.rejoin_scope AND {condition}"
            );
            let rows = transaction.execute(&sql, &[]).await?;
            tracing::info!(table = %name, rows, "fed again");
        }
        for name in self.again {
            // A tick that counts for nobody: the trigger derives the scope anew and leaves marks in the old one.
            let rows = transaction.execute(&format!("UPDATE {name} SET rejoin_tick = NULL"), &[]).await?;
            tracing::info!(table = %name, rows, "scopes derived anew");
        }
        Ok(())
    }
}
