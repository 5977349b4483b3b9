//! A change set under way: each pushed row with what the cloud has under its key and what is to become of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sync_core::catalog::{Catalog, Column, DefaultValue, Reference, ScopeRule, Table, Travel};
use sync_core::change::{Op, Row, RowChange};
use sync_core::conflict::ConflictKind;
use sync_core::id::{ColumnNo, ConflictId, Key, ScopeId, TableNo};
use sync_core::limits::REFERENCE_DEPTH_MAX;
use sync_core::policy::Policy;
use sync_core::reconcile::Loss;
use sync_core::value::Value;
use uuid::Uuid;

use super::gone::Missing;
use crate::store::row::StoredRow;
use crate::store::tombstone::Tombstone;

/// The rows of one push.
#[derive(Debug, Clone)]
pub(super) struct Set<'a> {
    pub(super) catalog: &'a Catalog,
    /// In the order of the push.
    pub(super) items: Vec<Item<'a>>,
    /// The additions of the push that were counted, or are kept in a conflict, already.
    pub(super) counted: BTreeSet<Uuid>,
    /// When the push was received, where that matters.
    pub(super) received: String,
    by_key: HashMap<(TableNo, &'a Key), usize>,
    by_cloud_key: HashMap<(TableNo, &'a Key), usize>,
    /// Of each table the dropped columns that the push names, as a table of nothing else.
    pub(super) gone: BTreeMap<TableNo, Table>,
}

/// One pushed row.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) change: &'a RowChange,
    pub(super) catalog: &'a Catalog,
    pub(super) table: &'a Table,
    /// Where the table stands among all, parents first.
    pub(super) level: usize,
    /// The cloud's row under the key that the site's edit was made on.
    pub(super) current: Option<StoredRow>,
    /// What is left of it where there is none.
    pub(super) tombstone: Option<Tombstone>,
    /// The deleted row, where the table's policy may bring it back and it is known whole.
    pub(super) image: Option<Row>,
    /// When its `newest` columns were last edited at the cloud, as far as that is known.
    pub(super) times: Vec<(ColumnNo, String)>,
    /// The scope that the row gets.
    pub(super) to: Option<ScopeId>,
    pub(super) fate: Fate,
    /// The columns that a policy decided otherwise than pushed.
    pub(super) merged: Vec<ColumnNo>,
    /// What lost by a policy.
    pub(super) losses: Vec<Loss>,
    /// What was to be added to columns that are gone, by column.
    pub(super) added_to_gone: Vec<(ColumnNo, Value)>,
    /// Columns that it gives values which they held under an older catalog and cannot hold any more.
    pub(super) outgrown: Vec<ColumnNo>,
    /// Columns without which it could be inserted under an older catalog, and that must have a value now.
    pub(super) lacking: Vec<ColumnNo>,
    /// Where the cloud's row waits to be fed again: the columns of which its site can only have placeholders.
    pub(super) unfed: Option<Vec<ColumnNo>>,
}

/// What is to become of a pushed row, and in the end what became of it.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// Not decided yet.
    Open,
    /// The cloud has it already.
    NoOp,
    /// Written.
    Write(Write),
    /// Deleted.
    Delete,
    /// Somebody holds its scope, its table is suspended, or what it depends on is deferred.
    Deferred,
    /// Kept in a conflict.
    Parked(Park),
}

/// A row to write.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) row: Row,
    pub(super) version: i64,
    /// The columns that clashed and are parked besides.
    pub(super) besides: Option<Park>,
}

/// Why a row is parked.
#[derive(Debug, Clone)]
pub(super) struct Park {
    pub(super) kind: ConflictKind,
    /// The columns that were not taken; empty where the row as a whole was not.
    pub(super) clashed: Vec<ColumnNo>,
    pub(super) reason: String,
    /// The item that this one could not be taken without.
    pub(super) root: Option<usize>,
    /// Whether it is kept in the root's conflict and has none of its own (deletes of what refers to a row that is not deleted).
    pub(super) within_root: bool,
    /// The key of the cloud's row that stands in the way, where it is another one.
    pub(super) blocker: Option<Key>,
    /// The policy that decided for the cloud: the site's side is recorded as lost, and nobody has to decide.
    pub(super) policy: Option<Policy>,
    /// Whether the row only lacks a value: it can be offered again once it has one.
    pub(super) lacks: bool,
}

impl Park {
    pub(super) fn new(kind: ConflictKind, clashed: Vec<ColumnNo>, reason: impl Into<String>) -> Self {
        Self { kind, clashed, reason: reason.into(), root: None, within_root: false, blocker: None, policy: None, lacks: false }
    }

    /// Whether nothing of the row can ever be offered again: what it is of is gone.
    pub(super) fn is_for_good(&self) -> bool {
        self.kind == ConflictKind::Schema && !self.lacks
    }
}

impl<'a> Item<'a> {
    /// The key under which the cloud knows the row.
    pub(super) fn cloud_key(&self) -> &'a Key {
        match &self.change.op {
            Op::Rekey(old, _) => old,
            Op::Insert(_) | Op::Update(_) | Op::Delete(_) => &self.change.key,
        }
    }

    pub(super) fn is_insert(&self) -> bool {
        matches!(self.change.op, Op::Insert(_))
    }

    pub(super) fn is_delete(&self) -> bool {
        matches!(self.change.op, Op::Delete(_))
    }

    /// The row to write, while it is to be written or once it was.
    pub(super) fn write(&self) -> Option<&Write> {
        match &self.fate {
            Fate::Write(write) => Some(write),
            _ => None,
        }
    }

    /// Why the row, or a part of it, is parked.
    pub(super) fn park(&self) -> Option<&Park> {
        match &self.fate {
            Fate::Parked(park) => Some(park),
            Fate::Write(write) => write.besides.as_ref(),
            Fate::Open | Fate::NoOp | Fate::Delete | Fate::Deferred => None,
        }
    }

    /// The scope that the row is in now.
    pub(super) fn from(&self) -> Option<&ScopeId> {
        self.current.as_ref().map(|current| &current.at.scope)
    }

    /// The columns that a row refused as a whole reports: those that it wanted to change, none where it is an insert or delete.
    pub(super) fn edited(&self) -> Vec<ColumnNo> {
        match &self.change.op {
            Op::Update(edits) | Op::Rekey(_, edits) => {
                let added = self.change.additions.iter().map(|addition| addition.column);
                let columns: BTreeSet<ColumnNo> = edits.iter().map(|edit| edit.column).chain(added).collect();
                columns.into_iter().collect()
            }
            Op::Insert(_) | Op::Delete(_) => Vec::new(),
        }
    }

    /// Parks the row for another reason than its own clash. What the policies decided of it does not come to be.
    pub(super) fn refuse(&mut self, park: Park) {
        self.fate = Fate::Parked(park);
        self.merged.clear();
        self.losses.clear();
    }

    /// Lets the row wait for another push.
    pub(super) fn wait(&mut self) {
        self.fate = Fate::Deferred;
        self.merged.clear();
        self.losses.clear();
    }

    /// The value that the column is to have; `None` where it is not of the column's type.
    pub(super) fn new_value(&self, position: usize) -> Option<Cow<'_, Value>> {
        if let Some(write) = self.write() {
            return Some(Cow::Borrowed(&write.row[position]));
        }
        let column = &self.table.columns[position];
        if matches!(self.change.op, Op::Rekey(..))
            && let Some(at) = self.table.key.iter().position(|no| *no == column.no)
        {
            return self.change.key.0.get(at).map(Cow::Borrowed);
        }
        let given = self.change.values().find(|(no, _)| *no == column.no).map(|(_, value)| value);
        match (given, &self.current, &column.default) {
            (Some(value), ..) => column.ty.accept(value.clone()).ok().map(Cow::Owned),
            (None, Some(current), _) => Some(Cow::Borrowed(&current.row[position])),
            (None, None, _) if self.image.is_some() => self.image.as_ref().map(|image| Cow::Borrowed(&image[position])),
            (None, None, Some(DefaultValue::Constant(value))) => Some(Cow::Borrowed(value)),
            (None, None, _) => Some(Cow::Owned(Value::Null)),
        }
    }

    /// What the row is to refer to by this reference; `None` where it refers to nothing.
    pub(super) fn refers_to(&self, reference: &Reference) -> Option<Vec<Value>> {
        let target = self.catalog.table(reference.table)?;
        self.table.referred_by(reference, target, |no| self.new_value(self.table.position(no)?))
    }

    /// The reference through which the row finds its scope, with what it refers to; `None` where it names none.
    pub(super) fn way(&self) -> Option<(&Reference, Vec<Value>)> {
        self.table.ways().find_map(|reference| Some((reference, self.refers_to(reference)?)))
    }

    /// The declared reference through which the row would find its scope, where it names a row that is not there: the row would be nowhere.
    pub(super) fn dangling_way(&self) -> Option<&Reference> {
        self.way().map(|(reference, _)| reference).filter(|reference| reference.declared && self.to == Some(ScopeId::nowhere()))
    }

    /// Whether the row is known to name none of those.
    fn reaches_nothing(&self) -> bool {
        let known = |no: &ColumnNo| self.table.position(*no).and_then(|at| self.new_value(at)).is_some();
        self.table.ways().all(|reference| self.table.may_be_null(reference)) && self.table.way_columns().iter().all(known)
    }

    /// What the cloud's row refers to by this reference now.
    pub(super) fn referred_to(&self, reference: &Reference) -> Option<Vec<Value>> {
        self.table.referred(reference, self.catalog.table(reference.table)?, &self.current.as_ref()?.row)
    }
}

/// What makes a whole push unreadable.
pub(super) type Malformed = String;

impl<'a> Set<'a> {
    /// Sorts out the rows of a push. `missing`: the tables that it names and the catalog does not have.
    ///
    /// # Errors
    /// A table that never was, or two rows under one key.
    pub(super) fn new(catalog: &'a Catalog, missing: &'a Missing, rows: &'a [RowChange]) -> Result<Self, Malformed> {
        let levels: HashMap<TableNo, usize> = catalog.parents_first().iter().enumerate().map(|(level, table)| (table.no, level)).collect();
        let mut set = Self {
            catalog,
            items: Vec::with_capacity(rows.len()),
            counted: BTreeSet::new(),
            received: String::new(),
            by_key: HashMap::new(),
            by_cloud_key: HashMap::new(),
            gone: BTreeMap::new(),
        };
        let mut additions: HashSet<Uuid> = HashSet::new();
        for (index, change) in rows.iter().enumerate() {
            let known = catalog.table(change.table);
            let table =
                known.or_else(|| missing.table(change.table)).ok_or_else(|| format!("there is no table number {}", change.table))?;
            let level = levels.get(&table.no).copied().unwrap_or_default();
            let mut item = Item {
                change,
                catalog,
                table,
                level,
                current: None,
                tombstone: None,
                image: None,
                times: Vec::new(),
                to: None,
                fate: Fate::Open,
                merged: Vec::new(),
                losses: Vec::new(),
                added_to_gone: Vec::new(),
                outgrown: Vec::new(),
                lacking: Vec::new(),
                unfed: None,
            };
            if !change.additions.is_empty() && (item.is_insert() || item.is_delete()) {
                return Err(format!("{} {} adds to a row that it inserts or deletes", table.name, change.key));
            }
            if let Some(addition) = change.additions.iter().find(|addition| !additions.insert(addition.id)) {
                return Err(format!("the addition {} comes twice", addition.id));
            }
            if let Some(reason) = refused_at_once(&item) {
                item.fate = Fate::Parked(Park::new(ConflictKind::Rejected, item.edited(), reason));
            }
            if known.is_none() && matches!(item.fate, Fate::Open) {
                item.fate = missing.fate(table);
            }
            let twice = set.by_key.insert((table.no, &change.key), index).is_some()
                || set.by_cloud_key.insert((table.no, item.cloud_key()), index).is_some();
            if twice {
                return Err(format!("{} {} comes twice", table.name, change.key));
            }
            set.items.push(item);
        }
        Ok(set)
    }

    /// The pushed row that has these values in these columns of the table once the push is taken; deleted ones and those that the site does
    /// not write do not count.
    pub(super) fn find(&self, reference: &Reference, values: &[Value]) -> Option<usize> {
        let table = self.catalog.table(reference.table)?;
        let citext = reference.target.iter().any(|no| table.column(*no).is_some_and(Column::is_citext));
        if reference.target == table.key && !citext {
            let key = Key(values.to_vec());
            return self.by_key.get(&(table.no, &key)).copied().filter(|index| !self.items[*index].is_delete());
        }
        let positions: Vec<usize> = reference.target.iter().filter_map(|no| table.position(*no)).collect();
        let matches = |item: &Item<'_>| {
            item.table.no == table.no
                && !item.is_delete()
                && positions.iter().zip(values).all(|(at, value)| {
                    item.new_value(*at)
                        .is_some_and(|own| *own == *value || table.columns[*at].is_citext() && is_same_but_for_case(&own, value))
                })
        };
        self.items.iter().position(matches)
    }

    /// The pushed row that the cloud knows under this key.
    pub(super) fn at_cloud_key(&self, table: TableNo, key: &Key) -> Option<usize> {
        self.by_cloud_key.get(&(table, key)).copied()
    }

    /// The scope that a row gets, given what the database knows of the rows referred to that are not in the set.
    pub(super) fn scope_of(&self, index: usize, database: &dyn Fn(&Reference, &[Value]) -> Option<ScopeId>) -> Option<ScopeId> {
        let mut index = index;
        for _ in 0..REFERENCE_DEPTH_MAX {
            let item = &self.items[index];
            if item.is_delete() {
                return item.from().cloned();
            }
            if !matches!(item.table.scope, ScopeRule::Through(_)) {
                return item.table.own_scope(&item.change.key);
            }
            let Some((reference, values)) = item.way() else { return item.reaches_nothing().then(ScopeId::nowhere) };
            match self.find(reference, &values) {
                Some(parent) => index = parent,
                // PostgreSQL does not hold a declared reference: the row can be there without the one that it names.
                None => return database(reference, &values).or_else(|| reference.declared.then(ScopeId::nowhere)),
            }
        }
        None
    }

    /// Parks a row, and with it what cannot be taken without it.
    pub(super) fn park(&mut self, index: usize, park: Park) {
        self.items[index].refuse(park);
        let table = self.items[index].table.no;
        if self.is_missing(index) && self.catalog.referrers(table).next().is_some() {
            self.park_dependents();
        }
    }

    /// Parks rows that refer to a pushed row which is not at the cloud, inserts and references alike: they hang from its conflict. Also where
    /// the cloud has another row under its key: they would hang from a stranger's row.
    pub(super) fn park_dependents(&mut self) {
        loop {
            let mut found = Vec::new();
            for (index, item) in self.items.iter().enumerate() {
                if !matches!(item.fate, Fate::Write(_) | Fate::Open) || item.is_delete() {
                    continue;
                }
                let missing = item.table.references.iter().find_map(|reference| {
                    let values = item.refers_to(reference)?;
                    let parent = self.find(reference, &values).filter(|parent| *parent != index && self.is_missing(*parent))?;
                    (item.referred_to(reference).as_ref() != Some(&values)).then_some((parent, reference))
                });
                if let Some((parent, reference)) = missing {
                    found.push((index, parent, self.names(item.table, &reference.columns)));
                }
            }
            if found.is_empty() {
                return;
            }
            for (index, parent, columns) in found {
                let root = match &self.items[parent].fate {
                    Fate::Parked(park) => park.root.unwrap_or(parent),
                    _ => parent,
                };
                let reason = format!("{columns} names a row that was not accepted itself");
                let park = Park::new(ConflictKind::ForeignKey, self.items[index].edited(), reason);
                self.items[index].refuse(Park { root: Some(root), ..park });
            }
        }
    }

    /// Whether the row was parked and the site's row is not at the cloud under its key.
    fn is_missing(&self, index: usize) -> bool {
        let item = &self.items[index];
        matches!(item.fate, Fate::Parked(_)) && (item.is_insert() || item.current.is_none())
    }

    /// Columns by name, for a person.
    pub(super) fn names(&self, table: &Table, columns: &[ColumnNo]) -> String {
        let names: Vec<&str> = columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str()).collect();
        names.join(", ")
    }
}

/// Whether `citext` takes two texts for one.
fn is_same_but_for_case(left: &Value, right: &Value) -> bool {
    left.to_text().to_lowercase() == right.to_text().to_lowercase()
}

/// What no look at the database would change.
fn refused_at_once(item: &Item<'_>) -> Option<String> {
    let table = item.table;
    if table.engine {
        return Some(format!("{} is the engine's own: sites do not write it", table.name));
    }
    if table.travel == Travel::Down {
        return Some(format!("{} travels down only: its rows are written at the cloud, not at sites", table.name));
    }
    for key in [&item.change.key, item.cloud_key()] {
        let fits = key.0.len() == table.key.len()
            && table
                .key_columns()
                .zip(&key.0)
                .all(|(column, value)| !value.is_null() && column.ty.accept(value.clone()).is_ok_and(|canonical| canonical == *value));
        if !fits {
            return Some(format!("{key} is no key of {}", table.name));
        }
    }
    if matches!(item.change.op, Op::Rekey(..)) && table.scope == ScopeRule::Root {
        return Some("the key of a scope's root cannot be changed: every row below it would move to another scope".to_owned());
    }
    None
}

/// The conflicts of parked items, by item.
pub(super) type Conflicts = HashMap<usize, ConflictId>;
