//! Rows of a scope that is pulled for the first time but was pushed to before: this site made its root row.
//!
//! A first pull brings every live row of a scope and nothing of what is gone. What the site has of it by answers alone, and what is not
//! among those rows, was deleted or moved meanwhile.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use sync_core::change::{At, Image, Stamp, State};
use sync_core::id::{Key, ScopeId, TableNo, Tick};
use sync_core::wire::message::Cursor;

use super::cursors;
use super::error::Result;
use super::plan::Plan;
use super::rows::{live_table, quoted, read_key};

/// The rows that have not been heard of yet, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    rows: BTreeMap<(TableNo, Key), ScopeId>,
}

impl Unheard {
    /// The rows that are here of scopes without a cursor.
    pub(super) fn new(connection: &Connection, plan: &Plan, heads: &[Cursor]) -> Result<Self> {
        let before = cursors::ticks(connection)?;
        let new: Vec<&ScopeId> = heads.iter().map(|head| &head.scope).filter(|scope| !before.contains_key(scope)).collect();
        let mut rows = BTreeMap::new();
        if new.is_empty() {
            return Ok(Self { rows });
        }
        for (table, _) in plan.parents_first() {
            let key: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
            let sql = format!("SELECT rejoin_scope, {} FROM {} WHERE rejoin_scope IS NOT NULL", key.join(", "), live_table(table));
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query([])?;
            while let Some(row) = found.next()? {
                let scope: String = row.get(0)?;
                if let Some(scope) = new.iter().find(|new| new.0 == scope)
                    && let Ok(key) = read_key(table, row, 1)
                {
                    rows.insert((table.no, key), (*scope).clone());
                }
            }
        }
        Ok(Self { rows })
    }

    /// The row came.
    pub(super) fn heard(&mut self, table: TableNo, key: &Key) {
        if !self.rows.is_empty() {
            self.rows.remove(&(table, key.clone()));
        }
    }

    /// What is left, as tombstones at the heads.
    pub(super) fn gone(self, heads: &HashMap<ScopeId, Tick>) -> Vec<(TableNo, Key, Image)> {
        let image = |scope: ScopeId| {
            let tick = heads.get(&scope).copied().unwrap_or(Tick::ZERO);
            Image { at: At { scope, tick }, stamp: Stamp::default(), state: State::Deleted }
        };
        self.rows.into_iter().map(|((table, key), scope)| (table, key, image(scope))).collect()
    }
}
