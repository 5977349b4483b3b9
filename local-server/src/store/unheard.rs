//! Rows of which a pull would have brought something if they were there still.
//!
//! A first pull of a scope brings every live row of it and nothing of what is gone. What the site has of it already (this site made its root
//! row and pushed to it), and what is not among those rows, was deleted or moved meanwhile. So it is with a table whose generation the
//! cloud raised: every row is fed again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::{Table, Travel};
use sync_core::change::{At, Image, Stamp, State};
use sync_core::id::{Key, ScopeId, TableNo, Tick};
use sync_core::wire::message::Cursor;

use super::cursors;
use super::error::Result;
use super::plan::Plan;
use super::rows::{Bound, base_table, key_condition, live_table, quoted, read_key};

/// How many rows are told as gone at a time.
const CHUNK: usize = 1_000;

/// The rows that have not been heard of yet. Of a table that is fed again that may be every row, so no more than their numbers are kept.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    tables: BTreeMap<TableNo, Vec<Images>>,
}

/// The base images of a table, by which the cloud knows changed rows, or its other live rows.
#[derive(Debug)]
struct Images {
    rows: BTreeSet<i64>,
    /// The `rejoin_row` of a key.
    by_key: String,
    /// Scope and key of a `rejoin_row`.
    by_row: String,
}

impl Unheard {
    /// The rows that are here of scopes without a cursor, and those of tables that are fed again.
    pub(super) fn new(connection: &Connection, plan: &Plan, heads: &[Cursor]) -> Result<Self> {
        let before = cursors::ticks(connection)?;
        let held: HashSet<&str> = heads.iter().map(|head| head.scope.0.as_str()).collect();
        let new: HashSet<&str> = heads.iter().filter(|head| !before.contains_key(&head.scope)).map(|head| head.scope.0.as_str()).collect();
        let fed_again = fed_again(connection)?;
        let mut tables = BTreeMap::new();
        for (table, _) in plan.parents_first() {
            let all = fed_again.contains(&table.no);
            // What only goes up comes by no pull.
            if new.is_empty() && !all || table.travel == Travel::Up {
                continue;
            }
            let (scopes, base) = (if all { &held } else { &new }, base_table(table));
            let changed = "rejoin_kind = 'change' AND rejoin_scope IS NOT NULL";
            let rest =
                format!("rejoin_scope IS NOT NULL AND rejoin_row NOT IN (SELECT rejoin_row FROM {base} WHERE rejoin_kind = 'change')");
            let live = Images::of(connection, table, &live_table(table), &rest, scopes)?;
            let mut images = vec![live, Images::of(connection, table, &base, changed, scopes)?];
            images.retain(|images| !images.rows.is_empty());
            if !images.is_empty() {
                tables.insert(table.no, images);
            }
        }
        Ok(Self { tables })
    }

    /// The row came.
    pub(super) fn heard(&mut self, connection: &Connection, table: TableNo, key: &Key) -> Result<()> {
        for images in self.tables.get_mut(&table).into_iter().flatten() {
            let mut statement = connection.prepare_cached(&images.by_key)?;
            let row = statement.query_row(params_from_iter(key.0.iter().map(Bound)), |row| row.get(0)).optional()?;
            row.map(|row: i64| images.rows.remove(&row));
        }
        Ok(())
    }

    /// Some of what is left, as tombstones behind the heads (what is gone without a tombstone has moved no head); nothing: nothing is left.
    pub(super) fn gone(
        &mut self,
        connection: &Connection,
        plan: &Plan,
        heads: &HashMap<ScopeId, Tick>,
    ) -> Result<Vec<(TableNo, Key, Image)>> {
        let mut gone = Vec::new();
        for (no, images) in &mut self.tables {
            let Some((table, _)) = plan.table(*no) else { continue };
            for images in images {
                let mut statement = connection.prepare_cached(&images.by_row)?;
                while gone.len() < CHUNK
                    && let Some(rejoin_row) = images.rows.pop_first()
                {
                    let mut found = statement.query([rejoin_row])?;
                    let Some(row) = found.next()? else { continue };
                    let scope = ScopeId(row.get(0)?);
                    let Ok(key) = read_key(table, row, 1) else { continue };
                    let tick = heads.get(&scope).copied().unwrap_or(Tick::ZERO);
                    let at = At { scope, tick: Tick(tick.0 + 1) };
                    gone.push((*no, key, Image { at, stamp: Stamp::default(), state: State::Deleted }));
                }
            }
        }
        Ok(gone)
    }
}

impl Images {
    fn of(connection: &Connection, table: &Table, holder: &str, which: &str, scopes: &HashSet<&str>) -> Result<Self> {
        let key: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
        let mut rows = BTreeSet::new();
        let mut statement = connection.prepare_cached(&format!("SELECT rejoin_row, rejoin_scope FROM {holder} WHERE {which}"))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            if row.get_ref(1)?.as_str().is_ok_and(|scope| scopes.contains(scope)) {
                rows.insert(row.get(0)?);
            }
        }
        Ok(Self {
            rows,
            by_key: format!("SELECT rejoin_row FROM {holder} WHERE {} AND {which}", key_condition(table, "", 1)),
            by_row: format!("SELECT rejoin_scope, {} FROM {holder} WHERE rejoin_row = ?1", key.join(", ")),
        })
    }
}

/// The tables whose rows the pull under way brings again.
fn fed_again(connection: &Connection) -> Result<Vec<TableNo>> {
    let mut statement = connection.prepare_cached("SELECT table_no FROM rejoin_generations")?;
    let tables = statement.query_map([], |row| row.get(0).map(TableNo))?;
    Ok(tables.collect::<rusqlite::Result<_>>()?)
}
