//! What the schema no longer has: a site that was away may still send edits of tables and columns that were dropped meanwhile. They park as
//! `schema`, under the names that they had, with the rest of the row taken where there is one. So does a value that its column could hold
//! under an older catalog, and an insert that could do without a value then. Edits of a table that is suspended wait at their site.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::catalog::{Catalog, Column, ScopeRule, Table};
use sync_core::change::{Op, RowChange};
use sync_core::conflict::ConflictKind;
use sync_core::id::{ColumnNo, TableNo};
use sync_core::policy;
use sync_core::value::Value;

use super::set::{Fate, Item, Park, Set};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// The tables that rows of a push name and the catalog does not have.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// As the last catalog had them that did. They hang from nothing.
    dropped: BTreeMap<TableNo, Table>,
    /// The catalog in force has them, but they are not as it says for now.
    suspended: BTreeMap<TableNo, Table>,
}

impl Missing {
    pub(super) async fn of(tx: &WriteTx<'_>, catalog: &Catalog, rows: &[RowChange]) -> Result<Self, StoreError> {
        let unknown: BTreeSet<TableNo> = rows.iter().map(|row| row.table).filter(|no| catalog.table(*no).is_none()).collect();
        let mut missing = Self::default();
        if unknown.is_empty() {
            return Ok(missing);
        }
        let numbers: Vec<i32> = unknown.iter().map(|no| no.0.cast_signed()).collect();
        let sql = "SELECT DISTINCT ON (n) t, k.version >= $2
                   FROM unnest($1::integer[]) n, rejoin.catalogs k, jsonb_array_elements(k.body -> 'tables') t
                   WHERE (t ->> 'no')::bigint = n ORDER BY n, k.version DESC";
        for row in tx.query(sql, &[&numbers, &catalog.version.0]).await? {
            let table: Table = read(row.try_get(0)?)?;
            if row.try_get(1)? {
                missing.suspended.insert(table.no, table);
            } else if !table.engine {
                let table = Table { references: Vec::new(), uniques: Vec::new(), indexes: Vec::new(), scope: ScopeRule::Global, ..table };
                missing.dropped.insert(table.no, table);
            }
        }
        Ok(missing)
    }

    pub(super) fn table(&self, no: TableNo) -> Option<&Table> {
        self.suspended.get(&no).or_else(|| self.dropped.get(&no))
    }

    /// What becomes of a row of this table: of a suspended one it waits at its site until the table is served again.
    pub(super) fn fate(&self, table: &Table) -> Fate {
        if self.suspended.contains_key(&table.no) { Fate::Deferred } else { Fate::Parked(park_of(table)) }
    }
}

fn read<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> Result<T, StoreError> {
    serde_json::from_value(json).map_err(|error| StoreError::Corrupt(format!("a catalog: {error}")))
}

/// The additions to the columns that are gone, summed by column. A sum out of its type's range stays at what went before.
fn sums(item: &Item<'_>, gone: &Table) -> Vec<(ColumnNo, Value)> {
    let mut sums: Vec<(ColumnNo, Value)> = Vec::new();
    for addition in item.change.additions.iter().filter(|addition| item.table.column(addition.column).is_none()) {
        let Some(column) = gone.column(addition.column) else { continue };
        match sums.iter_mut().find(|(no, _)| *no == column.no) {
            Some((_, sum)) => *sum = policy::add(&column.ty, sum, &addition.amount).unwrap_or_else(|| sum.clone()),
            None => sums.push((column.no, addition.amount.clone())),
        }
    }
    sums
}

/// Why a row of a table that is gone is parked.
fn park_of(table: &Table) -> Park {
    Park::new(ConflictKind::Schema, Vec::new(), format!("the table {} is no longer synced", table.name))
}

/// Whether a column can hold a value.
fn fits(column: &Column, value: &Value) -> bool {
    let long = matches!((column.max_length, value), (Some(max), Value::Text(text)) if text.chars().count() > max as usize);
    (!value.is_null() || !column.not_null) && !long && column.ty.accept(value.clone()).is_ok_and(|canonical| canonical == *value)
}

/// What a change says of a column.
fn given<'i>(item: &'i Item<'_>, no: ColumnNo) -> impl Iterator<Item = &'i Value> {
    item.change.values().filter(move |(given, _)| *given == no).map(|(_, value)| value)
}

/// The columns that an edit, or an insert with a value, gives what they cannot hold. A key is never one of them.
fn unfit<'i>(item: &'i Item<'_>) -> impl Iterator<Item = ColumnNo> + 'i {
    let insert = item.is_insert();
    let unfit = move |no: ColumnNo, value: &Value| {
        let column = item.table.column(no).filter(|_| !(item.table.key.contains(&no) || insert && value.is_null()));
        column.is_some_and(|column| !fits(column, value)) && item.change.gives(no)
    };
    item.change.values().filter(move |(no, value)| unfit(*no, value)).map(|(no, _)| no)
}

/// The columns that an insert leaves empty and that must have a value.
fn lacking<'i>(item: &'i Item<'_>) -> impl Iterator<Item = ColumnNo> + 'i {
    let empty = |column: &&Column| {
        let mut given = given(item, column.no).peekable();
        if given.peek().is_none() { column.default.is_none() } else { given.all(Value::is_null) }
    };
    let required = item.table.columns.iter().filter(|column| item.is_insert() && column.not_null && !item.table.key.contains(&column.no));
    required.filter(empty).map(|column| column.no)
}

impl Set<'_> {
    /// Whether the row's table is gone or suspended: there is nothing to read or write then.
    pub(super) fn is_gone(&self, item: &Item<'_>) -> bool {
        self.catalog.table(item.table.no).is_none()
    }

    /// Whether the row refers to one that is new and waits because its table is suspended.
    pub(super) fn refers_to_suspended(&self, item: &Item<'_>) -> bool {
        let updates = |other: &Item<'_>| matches!(other.change.op, Op::Update(_));
        self.items.iter().filter(|other| matches!(other.fate, Fate::Deferred) && self.is_gone(other) && !other.is_delete()).any(|other| {
            item.table.references.iter().filter(|reference| reference.table == other.table.no).any(|reference| {
                let Some(values) = item.table.referred_by(reference, other.table, |no| item.new_value(item.table.position(no)?)) else {
                    return false;
                };
                if reference.target == other.table.key {
                    return !updates(other) && other.change.key.0 == values;
                }
                let of_other = |no: &ColumnNo| other.table.position(*no).and_then(|at| other.new_value(at));
                reference.target.iter().zip(&values).all(|(no, value)| of_other(no).as_deref() == Some(value))
            })
        })
    }

    /// Looks up the dropped columns that the rows name, for the names and types that they had.
    pub(super) async fn look_up_gone(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let open = self.items.iter().filter(|item| match item.fate {
            Fate::Open => true,
            Fate::Deferred => false,
            _ => self.is_gone(item),
        });
        let unknown: BTreeSet<(TableNo, ColumnNo)> = open
            .flat_map(|item| {
                let added = item.change.additions.iter().map(|addition| addition.column);
                let columns = item.change.values().map(|(no, _)| no).chain(added).filter(|no| item.table.column(*no).is_none());
                columns.map(|no| (item.table.no, no)).collect::<Vec<_>>()
            })
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (tables, columns): (Vec<i32>, Vec<i32>) = unknown.iter().map(|(table, no)| (table.0.cast_signed(), no.0.cast_signed())).unzip();
        let sql = "SELECT DISTINCT ON (u.table_no, u.no) u.table_no, c FROM unnest($1::integer[], $2::integer[]) u(table_no, no),
                       rejoin.catalogs k, jsonb_array_elements(k.body -> 'tables') t, jsonb_array_elements(t -> 'columns') c
                   WHERE (t ->> 'no')::bigint = u.table_no AND (c ->> 'no')::bigint = u.no ORDER BY u.table_no, u.no, k.version DESC";
        for row in tx.query(sql, &[&tables, &columns]).await? {
            let column: Column = read(row.try_get(1)?)?;
            let no = TableNo(row.try_get::<_, i32>(0)?.cast_unsigned());
            let Some(table) = self.items.iter().map(|item| item.table).find(|table| table.no == no) else { continue };
            self.gone.entry(no).or_insert_with(|| Table { columns: Vec::new(), ..table.clone() }).columns.push(column);
        }
        for item in &mut self.items {
            if let Some(gone) = self.gone.get(&item.table.no) {
                item.added_to_gone = sums(item, gone);
            }
        }
        Ok(())
    }

    /// Looks up which values the rows give that only an older catalog allowed.
    pub(super) async fn look_up_outgrown(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let mut asked: BTreeSet<(TableNo, ColumnNo)> = BTreeSet::new();
        for item in self.items.iter().filter(|item| matches!(item.fate, Fate::Open)) {
            asked.extend(unfit(item).chain(lacking(item)).map(|no| (item.table.no, no)));
        }
        if asked.is_empty() {
            return Ok(());
        }
        let (tables, columns): (Vec<i32>, Vec<i32>) = asked.iter().map(|(table, no)| (table.0.cast_signed(), no.0.cast_signed())).unzip();
        let sql = "SELECT DISTINCT u.table_no, u.no, c FROM unnest($1::integer[], $2::integer[]) u(table_no, no), rejoin.catalogs k,
                       jsonb_array_elements(k.body -> 'tables') t LEFT JOIN LATERAL (
                           SELECT c FROM jsonb_array_elements(t -> 'columns') c WHERE (c ->> 'no')::bigint = u.no) c ON true
                   WHERE (t ->> 'no')::bigint = u.table_no";
        let mut once: BTreeMap<(TableNo, ColumnNo), Vec<Option<Column>>> = BTreeMap::new();
        for row in tx.query(sql, &[&tables, &columns]).await? {
            let [table, no] = [0, 1].map(|at| row.get::<_, i32>(at).cast_unsigned());
            let column = row.try_get::<_, Option<serde_json::Value>>(2)?.map(read).transpose()?;
            once.entry((TableNo(table), ColumnNo(no))).or_default().push(column);
        }
        for item in &mut self.items {
            let versions = |no: ColumnNo| once.get(&(item.table.no, no)).map_or(&[][..], Vec::as_slice);
            let held = |no: ColumnNo| versions(no).iter().flatten().any(|then| given(item, no).all(|value| fits(then, value)));
            let free = |no: ColumnNo| versions(no).iter().any(|then| then.as_ref().is_none_or(|then| !then.not_null));
            let outgrown: Vec<ColumnNo> = unfit(item).filter(|no| held(*no)).collect();
            let lacking: Vec<ColumnNo> = lacking(item).filter(|no| free(*no)).collect();
            (item.outgrown, item.lacking) = (outgrown, lacking);
        }
        Ok(())
    }

    /// Says what is gone by its name.
    pub(super) fn name_gone(&mut self) {
        for item in &mut self.items {
            let (table, no) = (item.table, item.table.no);
            let park = match &mut item.fate {
                Fate::Parked(park) => park,
                Fate::Write(write) => match &mut write.besides {
                    Some(park) => park,
                    None => continue,
                },
                Fate::Open | Fate::NoOp | Fate::Delete | Fate::Deferred => continue,
            };
            let gone = park.clashed.iter().filter(|column| table.column(**column).is_none());
            for column in gone.filter_map(|column| self.gone.get(&no)?.column(*column)) {
                park.reason = park.reason.replace(&format!("column number {}", column.no), &format!("the column {}", column.name));
            }
        }
    }
}
