//! Rows of which a pull would have brought something if they were there still.
//!
//! A first pull of a scope brings every live row of it and nothing of what is gone. What the site has of it already (this site made its root
//! row and pushed to it), and what is not among those rows, was deleted or moved meanwhile. So it is with a table whose generation the
//! cloud raised: every row is fed again.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use sync_core::catalog::Travel;
use sync_core::change::{At, Image, Stamp, State};
use sync_core::id::{Key, ScopeId, TableNo, Tick};
use sync_core::wire::message::Cursor;

use super::cursors;
use super::error::Result;
use super::plan::Plan;
use super::rows::{base_table, live_table, quoted, read_key};

/// The rows that have not been heard of yet, with their scopes.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    rows: BTreeMap<(TableNo, Key), ScopeId>,
}

impl Unheard {
    /// The rows that are here of scopes without a cursor.
    pub(super) fn new(connection: &Connection, plan: &Plan, heads: &[Cursor]) -> Result<Self> {
        let before = cursors::ticks(connection)?;
        let held = || heads.iter().map(|head| &head.scope);
        let new: Vec<&ScopeId> = held().filter(|scope| !before.contains_key(scope)).collect();
        let fed_again = fed_again(connection)?;
        let mut rows = BTreeMap::new();
        for (table, _) in plan.parents_first() {
            let all = fed_again.contains(&table.no);
            // What only goes up comes by no pull.
            if new.is_empty() && !all || table.travel == Travel::Up {
                continue;
            }
            let mut of_images = Vec::new();
            let key: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
            let sql = format!("SELECT rejoin_scope, {} FROM {} WHERE rejoin_scope IS NOT NULL", key.join(", "), live_table(table));
            of_images.push(sql);
            if all {
                // The cloud knows a dirty row by its base image.
                let base = base_table(table);
                of_images.push(format!(
                    "SELECT rejoin_scope, {} FROM {base} WHERE rejoin_kind = 'change' AND rejoin_scope IS NOT NULL",
                    key.join(", ")
                ));
            }
            for sql in of_images {
                let mut statement = connection.prepare_cached(&sql)?;
                let mut found = statement.query([])?;
                while let Some(row) = found.next()? {
                    let scope: String = row.get(0)?;
                    let scope = if all { held().find(|held| held.0 == scope) } else { new.iter().copied().find(|new| new.0 == scope) };
                    if let (Some(scope), Ok(key)) = (scope, read_key(table, row, 1)) {
                        rows.insert((table.no, key), scope.clone());
                    }
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

    /// What is left, as tombstones behind the heads: what is gone without a tombstone has moved no head.
    pub(super) fn gone(self, heads: &HashMap<ScopeId, Tick>) -> Vec<(TableNo, Key, Image)> {
        let image = |scope: ScopeId| {
            let tick = heads.get(&scope).copied().unwrap_or(Tick::ZERO);
            let tick = Tick(tick.0 + 1);
            Image { at: At { scope, tick }, stamp: Stamp::default(), state: State::Deleted }
        };
        self.rows.into_iter().map(|((table, key), scope)| (table, key, image(scope))).collect()
    }
}

/// The tables whose rows the pull under way brings again.
fn fed_again(connection: &Connection) -> Result<Vec<TableNo>> {
    let mut statement = connection.prepare_cached("SELECT table_no FROM rejoin_generations")?;
    let tables = statement.query_map([], |row| row.get(0).map(TableNo))?;
    Ok(tables.collect::<rusqlite::Result<_>>()?)
}
