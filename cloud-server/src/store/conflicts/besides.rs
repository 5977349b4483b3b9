//! What a delete would take besides its own row: the rows that refer to it, to any depth.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use conflict_ui_api::backend::Besides as Shown;
use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, OnDelete, Reference, Table};
use sync_core::conflict::{BesidesEffect, Effect, Resolution, besides_digest, decide};
use sync_core::id::{ConflictId, Key, ScopeId, TableNo};
use sync_core::limits::{BESIDES_ROWS_MAX, BESIDES_SHOWN_MAX};
use sync_core::value::Value;

use super::plan::blockers;
use super::stored::{Found, read, row_at};
use crate::store::bulk::Lock;
use crate::store::error::StoreError;
use crate::store::row::{StoredRow, read_row, select_list};
use crate::store::scope;

/// What a site is told where rows besides are in scopes that it does not hold: nothing about them.
pub(super) const FOREIGN_BESIDES: &str = "rows of scopes that this site does not hold hang from it: decide at the cloud";

/// The rows that a delete would delete or change besides those that it names.
#[derive(Debug, Default)]
pub(super) struct Besides<'a> {
    pub(super) rows: Vec<Beside<'a>>,
    /// There are more than `BESIDES_ROWS_MAX`; the others were not looked for.
    pub(super) too_many: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Beside<'a> {
    pub(super) table: &'a Table,
    pub(super) stored: StoredRow,
    pub(super) effect: BesidesEffect,
}

impl Besides<'_> {
    /// Whether nothing goes or changes besides.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.too_many
    }

    /// What a decision must name; `None` where there is nothing besides.
    pub(super) fn digest(&self) -> Option<String> {
        besides_digest(self.rows.iter().map(|beside| (beside.table, beside.stored.row.as_slice(), beside.effect)))
    }

    pub(super) fn scopes(&self) -> BTreeSet<ScopeId> {
        self.rows.iter().map(|beside| beside.stored.at.scope.clone()).collect()
    }

    /// Why nothing can be deleted, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.too_many {
            return Some(format!("more than {BESIDES_ROWS_MAX} rows hang from the row that would be deleted: delete some of them first"));
        }
        let forbids = self.rows.iter().find(|beside| beside.effect == BesidesEffect::Forbids)?;
        let (table, key) = (forbids.table, forbids.table.key_of(&forbids.stored.row));
        Some(format!("{} {key} refers to a row that would be deleted, and its reference forbids that", table.name))
    }

    /// As the API shows them.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let shown = self.rows.iter().take(BESIDES_SHOWN_MAX).map(|beside| Shown {
            table_name: beside.table.name.clone(),
            record_id: beside.table.key_of(&beside.stored.row).to_string(),
            effect: beside.effect.as_str().to_owned(),
        });
        shown.collect()
    }
}

/// What LOCAL_WINS on a conflict would delete or change besides its own row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BesidesOf {
    /// The first of these rows.
    pub rows: Vec<Shown>,
    /// How many there are.
    pub total: u64,
    /// What a decision must name.
    pub digest: Option<String>,
}

/// What LOCAL_WINS on an open conflict would delete or change besides its own row.
///
/// # Errors
/// The store failed.
pub async fn besides(db: &impl GenericClient, catalog: &Catalog, id: ConflictId) -> Result<BesidesOf, StoreError> {
    let Some(Found::Whole(stored)) = read(db, catalog, id.0, "").await?.filter(|found| found.head().pending()) else {
        return Ok(BesidesOf::default());
    };
    let current = row_at(db, stored.table, &stored.key, Lock::None).await?;
    let parked = stored.parked(current.as_ref().map(|now| &now.row));
    let deletes: Vec<(&Table, StoredRow)> = match decide(stored.table, &parked, Resolution::LocalWins, &[]) {
        Ok(Effect::Delete) => current.into_iter().map(|current| (stored.table, current)).collect(),
        Ok(Effect::Replace(row)) => blockers(db, stored.table, &row).await?.into_iter().map(|blocker| (stored.table, blocker)).collect(),
        _ => Vec::new(),
    };
    let besides = walk(db, catalog, &deletes).await?;
    let total = u64::try_from(besides.rows.len()).unwrap_or(u64::MAX);
    Ok(BesidesOf { rows: besides.shown(), total, digest: besides.digest() })
}

/// Walks along the references to rows that are to be deleted. Parents come before their children.
pub(super) async fn walk<'a>(
    db: &impl GenericClient,
    catalog: &'a Catalog,
    start: &[(&'a Table, StoredRow)],
) -> Result<Besides<'a>, StoreError> {
    let mut gone: HashSet<(TableNo, Key)> = start.iter().map(|(table, stored)| (table.no, table.key_of(&stored.row))).collect();
    let mut taken: Vec<Beside<'a>> = Vec::new();
    let mut changed: BTreeMap<(BesidesEffect, TableNo, Key), Beside<'a>> = BTreeMap::new();
    let mut level: Vec<(&'a Table, StoredRow)> = start.to_vec();
    while !level.is_empty() {
        let mut next = Vec::new();
        let tables: BTreeSet<TableNo> = level.iter().map(|(table, _)| table.no).collect();
        for no in tables {
            let rows: Vec<&StoredRow> = level.iter().filter(|(table, _)| table.no == no).map(|(_, stored)| stored).collect();
            let Some(table) = catalog.table(no) else { continue };
            for (child, reference) in catalog.referrers(no) {
                for stored in referring(db, table, child, reference, &rows).await? {
                    let key = child.key_of(&stored.row);
                    let effect = match reference.on_delete {
                        OnDelete::Cascade => BesidesEffect::Deleted,
                        OnDelete::SetNull | OnDelete::SetDefault => BesidesEffect::Cleared,
                        OnDelete::Restrict => BesidesEffect::Forbids,
                    };
                    if effect != BesidesEffect::Deleted {
                        changed.insert((effect, child.no, key), Beside { table: child, stored, effect });
                    } else if gone.insert((child.no, key)) {
                        next.push((child, stored.clone()));
                        taken.push(Beside { table: child, stored, effect });
                    }
                    if taken.len() + changed.len() > BESIDES_ROWS_MAX {
                        taken.extend(changed.into_values());
                        return Ok(Besides { rows: taken, too_many: true });
                    }
                }
            }
        }
        level = next;
    }
    // What goes itself is neither cleared nor in the way.
    taken.extend(changed.into_iter().filter(|((_, no, key), _)| !gone.contains(&(*no, key.clone()))).map(|(_, beside)| beside));
    Ok(Besides { rows: taken, too_many: false })
}

/// The rows of `child` that refer to some of these rows.
pub(super) async fn referring(
    db: &impl GenericClient,
    table: &Table,
    child: &Table,
    reference: &Reference,
    rows: &[&StoredRow],
) -> Result<Vec<StoredRow>, StoreError> {
    let values: Vec<Vec<Value>> = rows.iter().filter_map(|stored| table.named_by(reference, &stored.row)).collect();
    let found = scope::referring(db, child, reference, table, &values, &select_list(child, "t")).await?;
    found.iter().map(|(_, row)| read_row(child, row, 1)).collect()
}
