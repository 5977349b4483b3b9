//! What LOCAL_WINS would delete or change besides, as far as this site knows: the rows that the cloud has accepted and that refer to the one
//! that would go. The cloud looks again, and refuses a decision that names other ones.

use std::collections::{BTreeMap, HashSet};

use conflict_ui_api::backend::{Besides as Shown, Conflict};
use rusqlite::{Connection, params_from_iter};
use sync_core::catalog::{Catalog, OnDelete, Reference, Table};
use sync_core::change::Row;
use sync_core::conflict::{BesidesEffect, ConflictKind, Effect, Parked, Resolution, besides_digest, decide};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::limits::{BESIDES_ROWS_MAX, BESIDES_SHOWN_MAX};
use sync_core::value::Value;
use sync_core::write::row_from_json;

use super::{Source, current};
use crate::store::error::Result;
use crate::store::references::refers;
use crate::store::rows::{Bound, HeldState, base_table, column_list, live_table, quoted, read_row, theirs_table};

/// The rows besides, without those that go by themselves.
#[derive(Debug, Default)]
pub(super) struct Besides<'a> {
    rows: Vec<(&'a Table, Row, BesidesEffect)>,
    /// There are more than `BESIDES_ROWS_MAX`.
    too_many: bool,
}

impl Besides<'_> {
    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }

    /// What a decision must name; `None` where there is nothing besides.
    pub(super) fn digest(&self) -> Option<String> {
        besides_digest(self.rows.iter().map(|(table, row, effect)| (*table, row.as_slice(), *effect)))
    }

    /// Why nothing can be deleted, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.too_many {
            return Some(format!("more than {BESIDES_ROWS_MAX} rows hang from the row that would be deleted: delete some of them first"));
        }
        let (table, row, _) = self.rows.iter().find(|(_, _, effect)| *effect == BesidesEffect::Forbids)?;
        let key = table.key_of(row);
        Some(format!("{} {key} refers to a row that would be deleted, and its reference forbids that", table.name))
    }

    /// As the API shows them.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let shown = self.rows.iter().take(BESIDES_SHOWN_MAX).map(|(table, row, effect)| Shown {
            table_name: table.name.clone(),
            record_id: table.key_of(row).to_string(),
            effect: effect.as_str().to_owned(),
        });
        shown.collect()
    }
}

/// What LOCAL_WINS on this conflict would take besides.
///
/// # Errors
/// The database, or a value that cannot be read.
pub(super) fn of<'a>(connection: &Connection, catalog: &'a Catalog, conflict: &Conflict) -> Result<Besides<'a>> {
    let deletes = conflict.local_data.is_none() || matches!(conflict.kind, ConflictKind::DeleteUpdate | ConflictKind::Unique);
    let Some(source) = Source::of(connection)?.filter(|_| deletes) else { return Ok(Besides::default()) };
    let sql = format!("SELECT c.table_no, c.cloud_record_id FROM {source} c WHERE c.id = ?1");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?));
    let (no, against) = connection.prepare_cached(&sql)?.query_row([conflict.id.to_string()], read)?;
    let Some(table) = catalog.tables.iter().find(|table| i64::from(table.no.0) == no && !table.engine) else {
        return Ok(Besides::default());
    };
    let accepted = |record: &str| -> Result<Option<Row>> {
        match table.parse_key(record) {
            Ok(Some(key)) => Ok(current::accepted(connection, table, &key)?.map(|(_, row)| row)),
            _ => Ok(None),
        }
    };
    let now = accepted(&conflict.record_id)?;
    let side = |data: &Option<serde_json::Value>| row_from_json(table, data.as_ref().unwrap_or(&serde_json::Value::Null));
    let clashed: Vec<ColumnNo> = conflict.columns.iter().filter_map(|name| table.column_named(name)).map(|column| column.no).collect();
    let parked = Parked {
        kind: conflict.kind,
        clashed: &clashed,
        base: &side(&conflict.base_data),
        local: &side(&conflict.local_data),
        deleted: conflict.local_data.is_none(),
        current: now.as_ref(),
    };
    let gone = match decide(table, &parked, Resolution::LocalWins, &[]) {
        Ok(Effect::Delete) => now.clone(),
        Ok(Effect::Replace(_)) => accepted(against.as_ref().unwrap_or(&conflict.record_id))?,
        _ => None,
    };
    match gone {
        Some(row) => walk(connection, catalog, table, row),
        None => Ok(Besides::default()),
    }
}

/// Walks along the references to a row that is to be deleted. Parents come before their children.
fn walk<'a>(connection: &Connection, catalog: &'a Catalog, table: &'a Table, row: Row) -> Result<Besides<'a>> {
    let mut gone: HashSet<(TableNo, Key)> = HashSet::from([(table.no, table.key_of(&row))]);
    let mut besides = Besides::default();
    let mut changed: BTreeMap<(BesidesEffect, TableNo, Key), (&'a Table, Row)> = BTreeMap::new();
    let mut level: Vec<(&'a Table, Row)> = vec![(table, row)];
    while let Some((table, row)) = level.pop() {
        for (child, reference) in catalog.referrers(table.no) {
            for found in referring(connection, table, child, reference, &row)? {
                let key = child.key_of(&found);
                let effect = match reference.on_delete {
                    OnDelete::Cascade => BesidesEffect::Deleted,
                    OnDelete::SetNull | OnDelete::SetDefault => BesidesEffect::Cleared,
                    OnDelete::Restrict => BesidesEffect::Forbids,
                };
                if effect != BesidesEffect::Deleted {
                    changed.insert((effect, child.no, key), (child, found));
                } else if gone.insert((child.no, key)) {
                    besides.rows.push((child, found.clone(), effect));
                    level.push((child, found));
                }
                if besides.rows.len() + changed.len() > BESIDES_ROWS_MAX {
                    besides.rows.extend(changed.into_iter().map(|((effect, ..), (table, row))| (table, row, effect)));
                    return Ok(Besides { too_many: true, ..besides });
                }
            }
        }
    }
    // What goes itself is neither cleared nor in the way.
    let stays = changed.into_iter().filter(|((_, no, key), _)| !gone.contains(&(*no, key.clone())));
    besides.rows.extend(stays.map(|((effect, ..), (table, row))| (table, row, effect)));
    Ok(besides)
}

/// The rows of `child`, as the cloud has them, that refer to this row: clean ones, the newest images of dirty ones, and the images on which
/// dirty ones are based where no newer one is known.
fn referring(connection: &Connection, table: &Table, child: &Table, reference: &Reference, row: &[Value]) -> Result<Vec<Row>> {
    let Some(values) = table.named_by(reference, row).map(|values| child.referring(reference, table, &values)) else {
        return Ok(Vec::new());
    };
    let refers = refers(child, reference, table, "x.");
    let same: Vec<String> = child.key_columns().map(|column| quoted(&column.name)).map(|name| format!("n.{name} = x.{name}")).collect();
    let (columns, same) = (column_list(child, "x."), same.join(" AND "));
    let (live, base, theirs) = (live_table(child), base_table(child), theirs_table(child));
    let sql = format!(
        "SELECT {columns} FROM {live} x WHERE {refers} AND x.rejoin_tick IS NOT NULL AND x.rejoin_held <> {ghost}
             AND NOT EXISTS (SELECT 1 FROM {base} b WHERE b.rejoin_row = x.rejoin_row)
         UNION ALL
         SELECT {columns} FROM {base} x WHERE {refers} AND x.rejoin_kind = 'change' AND NOT EXISTS (SELECT 1 FROM {theirs} n WHERE {same})
         UNION ALL
         SELECT {columns} FROM {theirs} x WHERE {refers} AND x.rejoin_state = 'live'",
        ghost = HeldState::Ghost as i64
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values.iter().map(Bound)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_row(child, row, 0)?);
    }
    Ok(found)
}
