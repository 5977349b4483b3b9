//! Rows of a push that name a row which is another one by now (`rejoin.merged_rows`): they are taken as if they named that one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::change::{Confirmed, Op, RowAnswer, RowChange, Verdict};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::limits::MERGED_CHAIN_MAX;
use sync_core::value::Value;

use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// A push's rows as they are taken.
#[derive(Debug)]
pub(super) struct Taken<'p> {
    pub(super) rows: Cow<'p, [RowChange]>,
    /// The rows that name other ones than they did, with the columns in which they do.
    moved: BTreeMap<usize, BTreeSet<ColumnNo>>,
}

/// Which rows are which: lost keys, by table, with the keys that they are now.
type Merged = BTreeMap<(TableNo, Key), Key>;

impl<'p> Taken<'p> {
    /// Lets rows that name lost ones name those that these are now.
    pub(super) async fn read(tx: &WriteTx<'_>, catalog: &Catalog, rows: &'p [RowChange]) -> Result<Self, StoreError> {
        let mut taken = Self { rows: Cow::Borrowed(rows), moved: BTreeMap::new() };
        let any = "SELECT EXISTS (SELECT FROM rejoin.merged_rows)";
        if rows.is_empty() || !tx.query_one(&tx.prepare_cached(any).await?, &[]).await?.try_get::<_, bool>(0)? {
            return Ok(taken);
        }
        let mut merged = lost(tx, catalog, rows).await?;
        // What the push itself brings under a lost key is a row of its own.
        let brings = |no: TableNo, key: &Key| rows.iter().any(|row| row.table == no && row.key == *key && matches!(row.op, Op::Insert(_)));
        merged.retain(|(no, key), _| !brings(*no, key));
        let mut left = rows.len() + 1;
        while !merged.is_empty() && left > 0 {
            left -= 1;
            // A key that holds a reference changes with it, and what refers to that row follows.
            let mut follow = Merged::new();
            for place in 0..rows.len() {
                let change = &taken.rows[place];
                let Some(table) = catalog.table(change.table) else { continue };
                let mut changed = change.clone();
                let columns = repoint(catalog, table, &mut changed, &merged);
                if columns.is_empty() {
                    continue;
                }
                if changed.key != change.key {
                    follow.insert((table.no, change.key.clone()), changed.key.clone());
                }
                taken.moved.entry(place).or_default().extend(columns);
                taken.rows.to_mut()[place] = changed;
            }
            merged = follow;
        }
        Ok(taken)
    }

    /// The answer to a row as the site knows it. Where its very key changed, the row that it knows is gone, and the other one comes by pull.
    pub(super) fn answer(&self, place: usize, pushed: &RowChange, mut answer: RowAnswer, image: impl FnOnce() -> Confirmed) -> RowAnswer {
        let Some(columns) = self.moved.get(&place) else { return answer };
        if self.rows[place].key != pushed.key {
            if !matches!(answer.verdict, Verdict::Deferred) {
                answer.confirmed = Confirmed::Nothing;
            }
            return answer;
        }
        if matches!(answer.confirmed, Confirmed::Exact { .. }) {
            answer.confirmed = image();
        }
        if matches!(answer.verdict, Verdict::Accepted | Verdict::NoOp | Verdict::Parked(_)) {
            answer.merged.extend(columns.iter().filter(|no| !answer.clashed.contains(no)).copied().collect::<Vec<_>>());
        }
        answer
    }
}

/// The lost rows among those that the push names, and that are not there again.
async fn lost(tx: &WriteTx<'_>, catalog: &Catalog, rows: &[RowChange]) -> Result<Merged, StoreError> {
    let mut asked: BTreeSet<(TableNo, Key)> = BTreeSet::new();
    for change in rows {
        let Some(table) = catalog.table(change.table) else { continue };
        asked.insert((table.no, change.key.clone()));
        for reference in &table.references {
            let named = [Side::New, Side::Base].iter().filter_map(|side| named(catalog, table, change, reference, *side));
            asked.extend(named.map(|key| (reference.table, key)));
        }
    }
    let numbers: Vec<i32> = asked.iter().map(|(no, _)| i32::try_from(no.0).unwrap_or_default()).collect();
    let text = |key: &Key| serde_json::Value::from(key.0.iter().map(|value| value.to_text().into_owned()).collect::<Vec<_>>()).to_string();
    let keys: Vec<String> = asked.iter().map(|(_, key)| text(key)).collect();
    let sql = "WITH RECURSIVE asked AS (
                   SELECT no, ARRAY(SELECT jsonb_array_elements_text(k::jsonb)) AS key FROM unnest($1::integer[], $2::text[]) AS u(no, k)),
               chain AS (
                   SELECT m.table_no, m.key AS lost, m.into_key, 1 AS length
                       FROM asked a JOIN rejoin.merged_rows m ON m.table_no = a.no AND m.key = a.key
                   UNION ALL SELECT c.table_no, c.lost, m.into_key, c.length + 1
                       FROM chain c JOIN rejoin.merged_rows m ON m.table_no = c.table_no AND m.key = c.into_key WHERE c.length < $3)
               SELECT DISTINCT ON (table_no, lost) table_no, lost, into_key FROM chain ORDER BY table_no, lost, length DESC";
    let found = tx.query(&tx.prepare_cached(sql).await?, &[&numbers, &keys, &MERGED_CHAIN_MAX]).await?;
    let mut merged: BTreeMap<TableNo, BTreeMap<Key, Key>> = BTreeMap::new();
    for row in found {
        let Some(table) = u32::try_from(row.try_get::<_, i32>(0)?).ok().and_then(|no| catalog.table(TableNo(no))) else { continue };
        let read = |texts: Vec<String>| crate::store::tombstone::read_key(table, &texts);
        if let (Ok(lost), Ok(now)) = (read(row.try_get(1)?), read(row.try_get(2)?)) {
            merged.entry(table.no).or_default().insert(lost, now);
        }
    }
    let mut living = Merged::new();
    for (no, mut keys) in merged {
        let Some(table) = catalog.table(no) else { continue };
        let names: Vec<&Key> = keys.keys().collect();
        let there = bulk::load(&**tx, table, &names, &table.key_positions().collect::<Vec<_>>(), Lock::None).await?;
        let there: BTreeSet<Key> = there.iter().map(|stored| table.key_of(&stored.row)).collect();
        keys.retain(|key, _| !there.contains(key));
        living.extend(keys.into_iter().map(|(lost, now)| ((no, lost), now)));
    }
    Ok(living)
}

/// Which values of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Base,
    New,
}

/// Where the value of a column stands in a change.
fn value_mut<'c>(table: &Table, change: &'c mut RowChange, no: ColumnNo, side: Side) -> Option<&'c mut Value> {
    let at_key = table.key.iter().position(|key| *key == no);
    match (&mut change.op, side) {
        (Op::Insert(values), Side::New) | (Op::Delete(values), Side::Base) => {
            values.iter_mut().find(|(own, _)| *own == no).map(|(_, value)| value)
        }
        (Op::Update(edits) | Op::Rekey(_, edits), side) if edits.iter().any(|edit| edit.column == no) => {
            let edit = edits.iter_mut().find(|edit| edit.column == no)?;
            Some(if side == Side::Base { &mut edit.base } else { &mut edit.new })
        }
        (Op::Rekey(old, _), Side::Base) => old.0.get_mut(at_key?),
        (Op::Update(_), Side::Base | Side::New) | (Op::Rekey(..), Side::New) => change.key.0.get_mut(at_key?),
        _ => None,
    }
}

/// The key of the row that the change refers to by this reference, as far as it says; `None` where it names one by other columns.
fn named(catalog: &Catalog, table: &Table, change: &RowChange, reference: &Reference, side: Side) -> Option<Key> {
    let target = catalog.table(reference.table)?;
    let mut change = change.clone();
    let mut known: BTreeMap<ColumnNo, Value> = BTreeMap::new();
    for no in reference.deciding() {
        known.insert(no, value_mut(table, &mut change, no, side)?.clone());
    }
    let values = table.referred_by(reference, target, |no| known.get(&no).map(Cow::Borrowed))?;
    reference.key(target, &values)
}

/// Lets a change name the rows that its lost ones are now; the columns that it does so in.
fn repoint(catalog: &Catalog, table: &Table, change: &mut RowChange, merged: &Merged) -> BTreeSet<ColumnNo> {
    let mut columns = BTreeSet::new();
    for reference in &table.references {
        let Some(target) = catalog.table(reference.table) else { continue };
        for side in [Side::Base, Side::New] {
            let named = named(catalog, table, change, reference, side);
            let Some(now) = named.and_then(|key| merged.get(&(reference.table, key))) else { continue };
            let value = |no: &ColumnNo| target.key.iter().position(|key| key == no).and_then(|at| now.0.get(at)).cloned();
            let Some(now) = reference.target.iter().map(value).collect::<Option<Vec<_>>>() else { continue };
            for (own, value) in reference.columns.iter().zip(table.referring(reference, target, &now)) {
                let Some(place) = value_mut(table, change, *own, side) else { continue };
                *place = value;
                columns.insert(*own);
            }
        }
    }
    follow_key(table, change, merged, &mut columns);
    columns
}

/// The key goes with the columns that it holds; an edit of a row whose key changed with a reference is one of the row that it is now.
fn follow_key(table: &Table, change: &mut RowChange, merged: &Merged, columns: &mut BTreeSet<ColumnNo>) {
    let values: Vec<(ColumnNo, Value)> = match &change.op {
        Op::Insert(values) | Op::Delete(values) => values.clone(),
        Op::Update(_) | Op::Rekey(..) => Vec::new(),
    };
    for (at, no) in table.key.iter().enumerate() {
        if let Some((_, value)) = values.iter().find(|(own, _)| own == no) {
            change.key.0[at] = value.clone();
        }
    }
    let is_edit = matches!(change.op, Op::Update(_));
    if let Some(now) = merged.get(&(table.no, change.key.clone())).filter(|_| is_edit && !table.references.is_empty()) {
        // Only where the key holds a reference: an edit of the lost row itself is of a row that is gone.
        let holds = |no: &ColumnNo| table.references.iter().any(|reference| reference.columns.contains(no));
        let same = table.key.iter().enumerate().all(|(at, no)| holds(no) || change.key.0[at] == now.0[at]);
        if same {
            columns.extend(table.key.iter().enumerate().filter(|(at, _)| change.key.0[*at] != now.0[*at]).map(|(_, no)| *no));
            change.key = now.clone();
        }
    }
}
