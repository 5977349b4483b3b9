//! Rows that a decision writes: in which order, into which scopes, and together where they refer to each other in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sync_core::catalog::{Catalog, DefaultValue, Reference, ScopeRule, Table};
use sync_core::change::Row;
use sync_core::conflict::units;
use sync_core::id::{ColumnNo, Key, ScopeId, TableNo};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::value::Value;
use uuid::Uuid;

use super::FIXED;
use super::settle::{Settling, Told};
use crate::store::bulk::{self, RowWrite};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::scope;
use crate::store::tombstone;
use crate::store::tx::WriteTx;

/// A row to write.
#[derive(Debug, Clone)]
pub(super) struct Put<'a> {
    pub(super) table: &'a Table,
    /// The row as it is; `None`: it is inserted.
    pub(super) current: Option<StoredRow>,
    pub(super) row: Row,
    /// A version that it must be above.
    pub(super) counted: i64,
    /// The site that inserted it: it holds the scope that the row makes if it is a new root, and what only the database can make it left out.
    pub(super) inserted_by: Option<Uuid>,
}

impl Put<'_> {
    /// The values that a reference names it by.
    fn values(&self, columns: &[ColumnNo]) -> Option<Vec<Value>> {
        let value = |no: &ColumnNo| self.table.position(*no).map(|at| self.row[at].clone()).filter(|value| !value.is_null());
        columns.iter().map(value).collect()
    }

    /// The columns that an insert gives.
    pub(super) fn given(&self, row: &Row) -> Vec<usize> {
        let left_out = |at: usize| {
            let made = self.table.columns[at].default == Some(DefaultValue::Cloud) && row[at].is_null();
            made && (self.inserted_by.is_some() || self.table.columns[at].not_null)
        };
        (0..row.len()).filter(|at| !left_out(*at)).collect()
    }

    /// Whether the row refers to that one by this reference.
    pub(super) fn names(&self, reference: &Reference, target: &Put<'_>) -> bool {
        let own = (target.table.no == reference.table).then(|| self.table.referred(reference, target.table, &self.row)).flatten();
        own.is_some() && own == target.values(&reference.target)
    }

    /// Whether rows can refer to these values of it already.
    fn is_there(&self, columns: &[ColumnNo]) -> bool {
        let same =
            |no: &ColumnNo| self.table.position(*no).is_some_and(|at| self.current.as_ref().is_some_and(|now| now.row[at] == self.row[at]));
        columns.iter().all(same)
    }
}

/// Which of the rows each one refers to, as far as those are not there yet.
pub(super) fn refers(puts: &[Put<'_>]) -> Vec<Vec<usize>> {
    let mut targets: HashMap<(TableNo, &[ColumnNo], Vec<Value>), usize> = HashMap::new();
    let wanted: BTreeSet<(TableNo, &[ColumnNo])> =
        puts.iter().flat_map(|put| &put.table.references).map(|reference| (reference.table, reference.target.as_slice())).collect();
    for (no, columns) in wanted {
        for (place, put) in puts.iter().enumerate().filter(|(_, put)| put.table.no == no && !put.is_there(columns)) {
            if let Some(values) = put.values(columns) {
                targets.insert((no, columns, values), place);
            }
        }
    }
    let tables: HashMap<TableNo, &Table> = puts.iter().map(|put| (put.table.no, put.table)).collect();
    let find = |put: &Put<'_>, reference: &Reference| {
        let values = put.table.referred(reference, tables.get(&reference.table)?, &put.row)?;
        targets.get(&(reference.table, reference.target.as_slice(), values)).copied()
    };
    let each = puts.iter().enumerate().map(|(place, put)| {
        put.table.references.iter().filter_map(|reference| find(put, reference)).filter(|target| *target != place).collect()
    });
    each.collect()
}

/// The scope that each row gets; `None` where its scope path names no row.
pub(super) async fn scopes(tx: &WriteTx<'_>, catalog: &Catalog, puts: &[Put<'_>]) -> Result<Vec<Option<ScopeId>>, StoreError> {
    let refers = refers(puts);
    let mut scopes: Vec<Option<ScopeId>> = vec![None; puts.len()];
    let mut asked: BTreeMap<(TableNo, Vec<ColumnNo>, Vec<Value>), Option<ScopeId>> = BTreeMap::new();
    for place in units(&refers).into_iter().flatten() {
        let put = &puts[place];
        if !matches!(put.table.scope, ScopeRule::Through(_)) {
            scopes[place] = put.table.own_scope(&put.table.key_of(&put.row));
            continue;
        }
        let named = put.table.ways().find_map(|reference| {
            let target = catalog.table(reference.table)?;
            Some((reference, target, put.table.referred(reference, target, &put.row)?))
        });
        let Some((reference, target, values)) = named else {
            scopes[place] = Some(ScopeId::nowhere());
            continue;
        };
        let is_it =
            |above: &&usize| puts[**above].table.no == target.no && puts[**above].values(&reference.target).as_ref() == Some(&values);
        if let Some(above) = refers[place].iter().find(is_it) {
            scopes[place] = scope_above(puts, &scopes, *above);
            continue;
        }
        let name = (target.no, reference.target.clone(), values);
        if !asked.contains_key(&name) {
            let positions: Vec<usize> = reference.target.iter().filter_map(|no| target.position(*no)).collect();
            let scope = scope::of_rows(&**tx, target, &positions, &[&name.2]).await?.pop().flatten();
            asked.insert(name.clone(), scope);
        }
        scopes[place] = asked.get(&name).cloned().flatten();
    }
    Ok(scopes)
}

/// The scope of a row that others hang from. In a circle the root of the scope may come later than what hangs from it: its key says its scope.
fn scope_above(puts: &[Put<'_>], scopes: &[Option<ScopeId>], above: usize) -> Option<ScopeId> {
    scopes[above].clone().or_else(|| puts[above].table.own_scope(&puts[above].table.key_of(&puts[above].row)))
}

/// Every scope that writing these rows touches.
pub(super) async fn touched(tx: &WriteTx<'_>, catalog: &Catalog, puts: &[Put<'_>]) -> Result<BTreeSet<ScopeId>, StoreError> {
    let to = scopes(tx, catalog, puts).await?;
    let from = puts.iter().filter_map(|put| put.current.as_ref()).map(|current| current.at.scope.clone());
    Ok(to.into_iter().flatten().chain(from).collect())
}

impl Settling<'_> {
    /// Writes rows, those that others refer to first. What refers in a circle is cut where a reference may be NULL, and mended afterwards.
    pub(super) async fn put(&mut self, tx: &mut WriteTx<'_>, puts: &[Put<'_>]) -> Result<Result<(), Told>, StoreError> {
        if puts.is_empty() {
            return Ok(Ok(()));
        }
        tx.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
        let refers = refers(puts);
        let to = scopes(tx, self.catalog, puts).await?;
        let mut written = vec![false; puts.len()];
        let mut mend = Vec::new();
        for place in units(&refers).into_iter().flatten() {
            let put = &puts[place];
            let Some(to) = &to[place] else {
                return Ok(Err(Told::new(format!("the row of {} that its scope hangs from does not exist", put.table.name))));
            };
            let mut row = put.row.clone();
            // Of a declared reference PostgreSQL does not ask.
            for reference in put.table.references.iter().filter(|reference| !reference.declared) {
                let later = refers[place].iter().any(|target| !written[*target] && put.names(reference, &puts[*target]));
                for at in reference.columns.iter().filter(|_| later).filter_map(|no| put.table.position(*no)) {
                    if !put.table.columns[at].not_null && !put.table.key.contains(&put.table.columns[at].no) {
                        row[at] = Value::Null;
                    }
                }
            }
            let cut = row != put.row;
            match self.put_one(tx, put, &row, to).await? {
                Ok(version) if cut => mend.push((place, to, version)),
                Ok(_) => {}
                Err(told) => return Ok(Err(told)),
            }
            written[place] = true;
        }
        for (place, to, version) in mend {
            let put = &puts[place];
            let key = put.table.key_of(&put.row);
            let write = RowWrite {
                key: &key,
                row: &put.row,
                old_scope: to,
                scope: to,
                tick: tx.tick(to)?,
                version,
                updated_at: None,
                modified_by: self.by,
            };
            if let Err(error) = bulk::update(&**tx, put.table, false, &[write]).await {
                return self.told(error);
            }
        }
        match tx.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await {
            Ok(()) => Ok(Ok(())),
            Err(error) => self.told(error.into()),
        }
    }

    /// Returns the version that the row has now.
    async fn put_one(&mut self, tx: &mut WriteTx<'_>, put: &Put<'_>, row: &Row, to: &ScopeId) -> Result<Result<i64, Told>, StoreError> {
        let table = put.table;
        let (current, key) = (put.current.as_ref(), table.key_of(row));
        let from = current.map_or(to, |current| &current.at.scope);
        let differs = |at: &usize| table.columns[*at].fixed && current.is_some_and(|current| current.row[*at] != row[*at]);
        if let Some(at) = (0..table.columns.len()).find(differs) {
            return Ok(Err(Told::new(format!("{} {FIXED}: decide CLOUD_WINS or MANUAL", table.columns[at].name))));
        }
        let new_root = table.scope == ScopeRule::Root && current.is_none();
        if let Err(told) = self.take(tx, &[from, to], new_root).await? {
            return Ok(Err(told));
        }
        let now: Key = current.map_or_else(|| key.clone(), |current| table.key_of(&current.row));
        self.journal.note(table, now.clone(), current);
        if now != key {
            self.journal.note(table, key.clone(), None);
        }
        let gone = match current {
            Some(_) => None,
            None => tombstone::load(&**tx, table, &[&key]).await?.pop().flatten(),
        };
        let known = current.map(|current| current.stamp.version).or(gone.map(|gone| gone.version)).unwrap_or(0);
        let version = known.max(put.counted.min(known.saturating_add(VERSION_LEAD_MAX))).saturating_add(1);
        let write =
            RowWrite { key: &now, row, old_scope: from, scope: to, tick: tx.tick(to)?, version, updated_at: None, modified_by: self.by };
        let done = match current {
            Some(_) => bulk::update(&**tx, table, key != now, &[write]).await,
            None => bulk::insert(&**tx, table, &put.given(row), &[write]).await,
        };
        if let Err(error) = done {
            return self.told(error);
        }
        if let (true, Some(site)) = (new_root, put.inserted_by) {
            self.grant(tx, site, to).await?;
        }
        Ok(Ok(version))
    }

    /// The site whose new root row came in holds its scope from now on.
    async fn grant(&self, tx: &WriteTx<'_>, site: Uuid, scope: &ScopeId) -> Result<(), StoreError> {
        let sql = "INSERT INTO rejoin.subscriptions (site_id, scope) SELECT id, $2 FROM rejoin.sites WHERE id = $1 AND NOT all_scopes
                   ON CONFLICT (site_id, scope) DO UPDATE SET dropped_at = NULL";
        tx.execute(&tx.prepare_cached(sql).await?, &[&site, &scope.0]).await?;
        Ok(())
    }
}
