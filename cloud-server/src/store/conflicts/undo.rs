//! Taking a decision back: what it wrote is written back as a new write, if nobody edited any of it since, and the conflict is open again.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::change::Row;
use sync_core::conflict::Resolution;
use sync_core::id::{ConflictId, Key, ScopeId, TableNo};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;
use sync_core::write::row_from_json;
use uuid::Uuid;

use super::besides::{self, FOREIGN_BESIDES};
use super::journal::{OnRecord, Written, on_record, tag};
use super::put::{self, Put, refers};
use super::resolve::Refused;
use super::same_row;
use super::settle::{Settling, Told};
use super::stored::{Found, Head, Stored, read};
use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::tx::WriteTx;

/// What taking a decision back writes.
struct Back<'a> {
    /// Rows as they were before.
    puts: Vec<Put<'a>>,
    /// Rows that there were none of.
    deletes: Vec<(&'a Table, StoredRow)>,
    /// The conflicts that were decided with it.
    dependents: Vec<Uuid>,
    /// The decision's number on record.
    record: Option<i64>,
}

/// The scopes that taking a decision back touches.
pub(super) async fn scopes(tx: &WriteTx<'_>, catalog: &Catalog, found: &Found<'_>) -> Result<BTreeSet<ScopeId>, StoreError> {
    let Ok(back) = back(&**tx, catalog, found, Lock::None).await? else { return Ok(BTreeSet::new()) };
    let mut scopes = put::touched(tx, catalog, &back.puts).await?;
    scopes.extend(back.deletes.iter().map(|(_, stored)| stored.at.scope.clone()));
    Ok(scopes)
}

/// Whether a decision can still be taken back; `None` where there is none, or no such conflict.
///
/// # Errors
/// The store failed.
pub async fn undoable(db: &impl GenericClient, catalog: &Catalog, id: ConflictId) -> Result<Option<bool>, StoreError> {
    let Some(found) = read(db, catalog, id.0, "").await?.filter(|found| !found.head().pending()) else { return Ok(None) };
    Ok(Some(back(db, catalog, &found, Lock::None).await?.is_ok()))
}

async fn back<'a>(
    db: &impl GenericClient,
    catalog: &'a Catalog,
    found: &Found<'a>,
    lock: Lock,
) -> Result<Result<Back<'a>, Refused>, StoreError> {
    let head = found.head();
    let undecidable = |reason: String| Ok(Err(Refused::Undecidable(reason)));
    if is_open_again(db, head.id).await? {
        return undecidable("another conflict of this row is open: decide that one".to_owned());
    }
    let record = on_record(db, head.id, head.revision).await?;
    if let Some(OnRecord { id, writes, dependents }) = record {
        for dependent in &dependents {
            if is_open_again(db, *dependent).await? {
                return undecidable("another conflict of a row that hung from this one is open: decide that one".to_owned());
            }
        }
        let loaded = load(db, catalog, &writes, lock).await?;
        return Ok(loaded.map(|(puts, deletes)| Back { puts, deletes, dependents, record: Some(id) }));
    }
    match found {
        Found::Whole(stored) if head.policy.is_some() => loss(db, stored, lock).await,
        _ => match decided_with(db, head.id).await? {
            Some(root) => undecidable(format!("it was decided with the conflict that it hung from: take back the decision on {root}")),
            None => undecidable("what the decision wrote is not on record".to_owned()),
        },
    }
}

/// The rows that a decision wrote, each to be put back; `Err` where one was edited since.
type Loaded<'a> = (Vec<Put<'a>>, Vec<(&'a Table, StoredRow)>);

async fn load<'a>(
    db: &impl GenericClient,
    catalog: &'a Catalog,
    writes: &[Written],
    lock: Lock,
) -> Result<Result<Loaded<'a>, Refused>, StoreError> {
    let mut by_table: BTreeMap<TableNo, Vec<(Key, &Written)>> = BTreeMap::new();
    for written in writes {
        let key = catalog.table(written.table).and_then(|table| table.parse_key(&written.record).ok().flatten());
        let Some(key) = key else {
            return Ok(Err(Refused::Undecidable("the schema no longer has what the decision wrote".to_owned())));
        };
        by_table.entry(written.table).or_default().push((key, written));
    }
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for (no, list) in by_table {
        let Some(table) = catalog.table(no) else { continue };
        let keys: Vec<&Key> = list.iter().map(|(key, _)| key).collect();
        let rows = bulk::load(db, table, &keys, &bulk::all_columns(table), lock).await?;
        let mut rows: BTreeMap<Key, StoredRow> = rows.into_iter().map(|stored| (table.key_of(&stored.row), stored)).collect();
        for (key, written) in list {
            let current = rows.remove(&key);
            if current.as_ref().map(|current| tag(table, current)) != written.after {
                return Ok(Err(Refused::Outdated));
            }
            match (&written.before, current) {
                (Some(before), current) => {
                    // A column that came since keeps what it has.
                    let now = |at: usize| current.as_ref().map_or(Value::Null, |current| current.row[at].clone());
                    let before = row_from_json(table, before).into_iter().enumerate();
                    let row: Row = before.map(|(at, value)| value.unwrap_or_else(|| now(at))).collect();
                    puts.push(Put { table, current, row, counted: 0, inserted_by: None });
                }
                (None, Some(current)) => deletes.push((table, current)),
                (None, None) => {}
            }
        }
    }
    Ok(Ok((puts, deletes)))
}

/// A policy's loss: where the cloud lost, its values come back as long as the site's are still there.
async fn loss<'a>(db: &impl GenericClient, stored: &Stored<'a>, lock: Lock) -> Result<Result<Back<'a>, Refused>, StoreError> {
    let mut back = Back { puts: Vec::new(), deletes: Vec::new(), dependents: Vec::new(), record: None };
    if stored.head.resolution != Resolution::LocalWins {
        return Ok(Ok(back));
    }
    let table = stored.table;
    let current = bulk::load(db, table, &[&stored.key], &bulk::all_columns(table), lock).await?.pop();
    let concerned = |at: usize| stored.columns.is_empty() || stored.columns.contains(&table.columns[at].no);
    let all = || (0..table.columns.len()).filter(|at| concerned(*at));
    // The site's values were written, so they are what must still be there.
    let untouched = match &current {
        Some(current) => !stored.deleted && all().all(|at| stored.local[at].as_ref().is_none_or(|local| *local == current.row[at])),
        None => stored.deleted,
    };
    if !untouched {
        return Ok(Err(Refused::Outdated));
    }
    match (&stored.cloud, current) {
        (Some(cloud), current) => {
            let mut row = current.as_ref().map_or_else(|| vec![Value::Null; table.columns.len()], |current| current.row.clone());
            for at in all() {
                let Some(value) = &cloud[at] else {
                    let reason = format!("the cloud's value of {} was too large to be kept with the conflict", table.columns[at].name);
                    return Ok(Err(Refused::Undecidable(reason)));
                };
                row[at] = value.clone();
            }
            back.puts.push(Put { table, current, row, counted: 0, inserted_by: None });
        }
        (None, Some(current)) => back.deletes.push((table, current)),
        (None, None) => {}
    }
    Ok(Ok(back))
}

/// Whether the row has an open conflict of the same replica: there is never more than one.
async fn is_open_again(db: &impl GenericClient, id: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM rejoin.sync_conflicts c JOIN rejoin.sync_conflicts o USING (table_no, record_id, replica)
               WHERE c.id = $1 AND o.id <> c.id AND o.resolution = 'PENDING')";
    Ok(db.query_one(&db.prepare_cached(sql).await?, &[&id]).await?.try_get(0)?)
}

/// The conflict with which this one was decided.
async fn decided_with(db: &impl GenericClient, id: Uuid) -> Result<Option<Uuid>, StoreError> {
    let sql = "SELECT r.conflict_id FROM rejoin.sync_conflicts c JOIN rejoin.resolutions r ON r.conflict_id = c.root_id
               WHERE c.id = $1 AND c.id = ANY(r.dependents) AND r.undone_at IS NULL ORDER BY r.id DESC LIMIT 1";
    let row = db.query_opt(&db.prepare_cached(sql).await?, &[&id]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

impl Settling<'_> {
    /// Takes a decision back.
    pub(super) async fn undo(
        mut self,
        tx: &mut WriteTx<'_>,
        found: &Found<'_>,
        command: &ResolveCommand,
    ) -> Result<Result<(), Refused>, StoreError> {
        if command.resolution != Resolution::Pending || !command.values.is_empty() {
            return Ok(Err(Refused::Undecidable("an undo decides nothing: its resolution is PENDING".to_owned())));
        }
        let back = match back(&**tx, self.catalog, found, Lock::Delete).await? {
            Ok(back) => back,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(told) = self.write_back(tx, &back).await? {
            return Ok(Err(Refused::Undecidable(told.reason)));
        }
        let ids: Vec<Uuid> = [found.head().id].into_iter().chain(back.dependents).collect();
        for id in &ids {
            if let Some(Found::Whole(stored)) = read(&**tx, self.catalog, *id, "").await? {
                same_row::forget_merged(tx, stored.table, &stored.key).await?;
            }
        }
        self.open_again(tx, found.head(), &ids).await?;
        if let Some(record) = back.record {
            let sql = "UPDATE rejoin.resolutions SET undone_at = now() WHERE id = $1";
            tx.execute(&tx.prepare_cached(sql).await?, &[&record]).await?;
        }
        Ok(Ok(()))
    }

    /// Rows that are there first, so that they let go of what is deleted; then deletes; then what was deleted comes back.
    async fn write_back(&mut self, tx: &mut WriteTx<'_>, back: &Back<'_>) -> Result<Result<(), Told>, StoreError> {
        let needs = refers(&back.puts);
        let (now, later): (Vec<usize>, Vec<usize>) =
            (0..back.puts.len()).partition(|place| back.puts[*place].current.is_some() && can_do_without(back, *place, &needs[*place]));
        let first: Vec<Put<'_>> = now.iter().map(|place| cut(&back.puts, *place, &needs[*place])).collect();
        if let Err(told) = self.put(tx, &first).await? {
            return Ok(Err(told));
        }
        if let Err(told) = self.remove(tx, &back.deletes).await? {
            return Ok(Err(told));
        }
        let mut rest: Vec<Put<'_>> = later.iter().map(|place| back.puts[*place].clone()).collect();
        for (put, place) in first.iter().zip(&now).filter(|(put, place)| put.row != back.puts[**place].row) {
            let key = put.table.key_of(&put.row);
            let Some(current) = bulk::load(&**tx, put.table, &[&key], &bulk::all_columns(put.table), Lock::None).await?.pop() else {
                return Err(StoreError::Busy(format!("a row of {} went meanwhile", put.table.name)));
            };
            rest.push(Put { current: Some(current), ..back.puts[*place].clone() });
        }
        self.put(tx, &rest).await
    }

    /// Deletes rows that the decision brought in, children first. Nothing is cascaded over rows that it did not bring.
    async fn remove(&mut self, tx: &mut WriteTx<'_>, rows: &[(&Table, StoredRow)]) -> Result<Result<(), Told>, StoreError> {
        if rows.is_empty() {
            return Ok(Ok(()));
        }
        let own = |table: &Table| self.catalog.table(table.no);
        let start: Vec<(&Table, StoredRow)> =
            rows.iter().filter_map(|(table, stored)| own(table).map(|table| (table, stored.clone()))).collect();
        let besides = besides::walk(&**tx, self.catalog, &start).await?;
        if !besides.is_empty() {
            if besides.scopes().iter().any(|scope| !self.judge.may(scope)) {
                return Ok(Err(Told::new(FOREIGN_BESIDES)));
            }
            let first = besides.rows.first().map(|beside| format!("{} {}", beside.table.name, beside.table.key_of(&beside.stored.row)));
            let first = first.unwrap_or_else(|| "a row".to_owned());
            return Ok(Err(Told::new(format!("{first} came to refer to a row that the decision brought in"))));
        }
        let scopes: Vec<&ScopeId> = rows.iter().map(|(_, stored)| &stored.at.scope).collect();
        if let Err(told) = self.take(tx, &scopes, false).await? {
            return Ok(Err(told));
        }
        tx.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
        for table in self.catalog.parents_first().into_iter().rev() {
            let of: Vec<&StoredRow> = rows.iter().filter(|(own, _)| own.no == table.no).map(|(_, stored)| stored).collect();
            if let (false, Err(told)) = (of.is_empty(), self.delete_rows(tx, table, &of).await?) {
                return Ok(Err(told));
            }
        }
        Ok(Ok(()))
    }

    /// The conflicts are open again. What was dropped at its site is held nowhere but in its conflict.
    async fn open_again(&self, tx: &mut WriteTx<'_>, head: &Head, ids: &[Uuid]) -> Result<(), StoreError> {
        tx.take(&BTreeSet::from([head.scope.clone()])).await?;
        let sql =
            "UPDATE rejoin.sync_conflicts SET resolution = 'PENDING', resolved_at = NULL, resolved_by = NULL, policy = NULL, held = false,
                       revision = revision + 1, rejoin_tick = $2, rejoin_version = rejoin_version + 1, rejoin_updated_at = now(),
                       rejoin_modified_by = $3, rejoin_synced_at = now()
                   WHERE id = ANY($1) AND resolution <> 'PENDING' AND rejoin_scope = $4";
        let tick = tx.tick(&head.scope)?.0;
        tx.execute(&tx.prepare_cached(sql).await?, &[&ids, &tick, &self.by, &head.scope.0]).await?;
        Ok(())
    }
}

/// The references that PostgreSQL holds.
fn held<'p>(put: &'p Put<'_>) -> impl Iterator<Item = &'p Reference> {
    put.table.references.iter().filter(|reference| !reference.declared)
}

/// Whether a row can be written back before the rows that it refers to.
fn can_do_without(back: &Back<'_>, place: usize, needs: &[usize]) -> bool {
    let put = &back.puts[place];
    let bare = cut(&back.puts, place, needs);
    let missing = held(put).any(|reference| needs.iter().any(|need| bare.names(reference, &back.puts[*need])));
    !missing
}

/// The row without the references that may be NULL, to rows that are not back yet.
fn cut<'a>(puts: &[Put<'a>], place: usize, needs: &[usize]) -> Put<'a> {
    let mut put = puts[place].clone();
    for reference in held(&puts[place]) {
        let missing = needs.iter().any(|need| puts[place].names(reference, &puts[*need]));
        for at in reference.columns.iter().filter(|_| missing).filter_map(|no| put.table.position(*no)) {
            if !put.table.columns[at].not_null && !put.table.key.contains(&put.table.columns[at].no) {
                put.row[at] = Value::Null;
            }
        }
    }
    put
}
