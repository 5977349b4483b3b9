//! The catalog: the synced schema, introspected at the cloud, published to the sites by version.
//!
//! It is stored as JSON and travels as MessagePack by names: a program passes over what it does not know (see `lenient`), and takes the
//! default of what it is not told.

mod api;
pub(crate) mod lenient;
pub mod names;
mod one_or_many;
mod order;

use serde::{Deserialize, Serialize};

pub use self::api::{ApiStyle, JsonCase, ListForm, TableApi};

use crate::id::{CatalogVersion, ColumnNo, Key, ScopeId, TableNo, split_record_id};
use crate::limits::{LEASE_DEFAULT, LEASE_MAX};
use crate::policy::Policy;
use crate::value::{ColumnType, Value, ValueError};

/// Every synced table, as one published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Its version; grows by one with every change that is published.
    pub version: CatalogVersion,
    /// The system's name, for people.
    pub system: String,
    /// How the API names and lists things.
    #[serde(deserialize_with = "lenient::api")]
    pub api: ApiStyle,
    /// The tables in order of their numbers.
    pub tables: Vec<Table>,
}

/// One synced table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its number on the wire.
    pub no: TableNo,
    /// Its schema in PostgreSQL.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its name in API paths, `/api/{path}`.
    pub path: String,
    /// Whether it is the engine's own (`sync_conflicts`, users): synced down, not in the records API, not in digests.
    pub engine: bool,
    /// The synced columns in order of their numbers, without the engine's stamps.
    pub columns: Vec<Column>,
    /// The key columns, in key order.
    pub key: Vec<ColumnNo>,
    /// The secondary unique keys.
    pub uniques: Vec<Unique>,
    /// The plain indexes, for sites to build as well.
    pub indexes: Vec<Index>,
    /// What refers to other synced tables.
    pub references: Vec<Reference>,
    /// How a row finds its scope.
    #[serde(deserialize_with = "lenient::scope")]
    pub scope: ScopeRule,
    /// Where the row's versioning stands.
    pub stamps: Stamps,
    /// The column that marks a soft delete, where the table has one. It is an ordinary synced boolean.
    pub soft_delete: Option<ColumnNo>,
    /// What is done where a row as a whole clashes (one side deleted it, or both inserted its key): `manual`, `cloud_wins` or `local_wins`.
    #[serde(default, deserialize_with = "lenient::policy")]
    pub policy: Policy,
    /// Columns that only make sense together: they are compared, and clash, as one. A column is in one group at most.
    #[serde(default)]
    pub groups: Vec<Vec<ColumnNo>>,
    /// Which way its rows travel.
    #[serde(default, deserialize_with = "lenient::travel")]
    pub travel: Travel,
    /// How many hours a row that the cloud has stays at a site after its last change; `None`: for good.
    #[serde(default)]
    pub keep_hours: Option<u32>,
    /// Raised where rows may be gone without a tombstone (the table was made anew under its name, capture was lost for a while): every row is
    /// fed again, and a site lets go of those that do not come.
    #[serde(default)]
    pub generation: u32,
    /// What the scopes of a root table are called, [`Table::scope_prefix`]: the name under which it first was the root, so that RENAME
    /// moves no row. Empty: its name.
    #[serde(default)]
    pub scope_name: String,
    /// How many numbers of a leased key a site is given at a time; `None`: [`LEASE_DEFAULT`].
    #[serde(default)]
    pub lease: Option<u32>,
    /// What its API calls otherwise than it is called.
    #[serde(default, skip_serializing_if = "TableApi::is_empty")]
    pub api: TableApi,
}

/// Which way a table's rows travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Travel {
    /// Written on both sides, sent both ways.
    #[default]
    Both,
    /// Written at sites, sent to the cloud, never sent to a site.
    Up,
    /// Written at the cloud, sent to sites; a site refuses to write it.
    Down,
}

/// One synced column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its number on the wire.
    pub no: ColumnNo,
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(deserialize_with = "lenient::column_type")]
    pub ty: ColumnType,
    /// PostgreSQL's full type name, quoted, to cast to (`"public"."PortType"`, `character varying(40)`).
    pub sql_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What an insert without this column gets.
    #[serde(deserialize_with = "lenient::default_value")]
    pub default: Option<DefaultValue>,
    /// The longest text in characters (`varchar(n)`).
    pub max_length: Option<u32>,
    /// What is done where both sides changed it; all columns of a group have the same.
    #[serde(default, deserialize_with = "lenient::policy")]
    pub policy: Policy,
    /// What the rows that were there when the column was added hold in it (PostgreSQL keeps it in the catalog and rewrites nothing): a site
    /// that adds the column gives it to all images of its rows. Rows that hold anything else were fed again with the catalog that added it.
    /// `None`: NULL. It stays what it was, whatever the default is changed to.
    #[serde(default)]
    pub added: Option<Value>,
    /// Whether PostgreSQL alone gives it its value (GENERATED ALWAYS AS IDENTITY): an insert may bring one, and then it stays as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
}

/// A column's default, as far as a site can make it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultValue {
    /// Always the same value.
    Constant(Value),
    /// The time of the write.
    Now,
    /// A new time-ordered uuid (version 7).
    Uuid,
    /// Something only the cloud can make; a site leaves the column out and takes the cloud's.
    Cloud,
    /// The next number of a sequence, in a key: a site takes it out of a block leased to it by the cloud.
    Leased,
}

impl DefaultValue {
    /// Whether a program leaves the column out and somebody else fills it in: the cloud, or the store by a leased number.
    #[must_use]
    pub fn is_made_later(&self) -> bool {
        matches!(self, Self::Cloud | Self::Leased)
    }
}

/// A secondary unique key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The constraint's or index's name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnNo>,
}

/// A plain index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnNo>,
}

/// A reference from this table to a synced table: a foreign key, or one that only `rejoin.toml` declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The constraint's name; of a declared reference, the referring columns and the table, `comments.entity_id>assets`.
    pub name: String,
    /// The referring columns.
    pub columns: Vec<ColumnNo>,
    /// The table referred to.
    pub table: TableNo,
    /// The columns referred to, in the order of `columns`.
    pub target: Vec<ColumnNo>,
    /// What happens to this row when the row referred to is deleted.
    #[serde(deserialize_with = "lenient::on_delete")]
    pub on_delete: OnDelete,
    /// Whether only `rejoin.toml` says so: PostgreSQL does not hold it, Rejoin does.
    #[serde(default)]
    pub declared: bool,
    /// Rows that refer by it: those with this value in this column (`entity_type` = `asset`). `None`: all.
    #[serde(default)]
    pub when: Option<(ColumnNo, Value)>,
}

impl Reference {
    /// A foreign key.
    #[must_use]
    pub fn foreign_key(name: String, columns: Vec<ColumnNo>, table: TableNo, target: Vec<ColumnNo>, on_delete: OnDelete) -> Self {
        Self { name, columns, table, target, on_delete, declared: false, when: None }
    }
}

/// A reference's delete rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// The referring row goes too.
    Cascade,
    /// The reference is cleared.
    SetNull,
    /// The reference takes its default.
    SetDefault,
    /// The delete is refused (RESTRICT, NO ACTION).
    Restrict,
}

/// How a row finds its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeRule {
    /// The scope `global`.
    Global,
    /// The row is a root: its scope is `TABLE/KEY`.
    Root,
    /// The scope of the row that the first of these references (indexes into `references`) names which names any. A row that names none
    /// is in the scope [`ScopeId::nowhere`], which no site holds. Written as a bare number where there is one: catalogs had no more once.
    #[serde(with = "one_or_many")]
    Through(Vec<usize>),
    /// The site's own scope; the engine's rows only.
    Site,
}

/// The names of the columns that hold a row's versioning: the user's own where `rejoin.toml` maps them, else `rejoin_*`.
///
/// They take no part in merge, clash or digest. `rejoin_scope` and `rejoin_tick` are always the engine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// The version, an integer from 1 that never goes back.
    pub version: String,
    /// When the row was last changed.
    pub updated_at: String,
    /// Who changed it last.
    pub last_modified_by: String,
    /// When the cloud accepted this version; NULL while a replica has unsent changes.
    pub synced_at: String,
}

impl Stamps {
    /// The names, in the order in which records show them.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.version, &self.updated_at, &self.last_modified_by, &self.synced_at]
    }
}

impl Catalog {
    /// The table of this number.
    #[must_use]
    pub fn table(&self, no: TableNo) -> Option<&Table> {
        self.tables.iter().find(|table| table.no == no)
    }

    /// The user's table of this path, or of this `schema.table` or bare name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Table> {
        let users = || self.tables.iter().filter(|table| !table.engine);
        users().find(|table| table.path == name).or_else(|| users().find(|table| table.name == name)).or_else(|| {
            users().find(|table| name.strip_prefix(table.schema.as_str()).and_then(|rest| rest.strip_prefix('.')) == Some(&table.name))
        })
    }

    /// The tables that refer to this one, each with the reference.
    pub fn referrers(&self, no: TableNo) -> impl Iterator<Item = (&Table, &Reference)> {
        self.tables.iter().flat_map(move |table| {
            table.references.iter().filter(move |reference| reference.table == no).map(move |reference| (table, reference))
        })
    }

    /// The root table, if the system has one.
    #[must_use]
    pub fn root(&self) -> Option<&Table> {
        self.tables.iter().find(|table| table.scope == ScopeRule::Root)
    }
}

impl Column {
    /// Whether PostgreSQL compares its texts without regard to case.
    #[must_use]
    pub fn is_citext(&self) -> bool {
        self.citext_schema().is_some()
    }

    /// The schema, quoted where it has to be, in which the type `citext` and its operators are; `None` of any other type.
    #[must_use]
    pub fn citext_schema(&self) -> Option<&str> {
        self.sql_type.strip_suffix(".citext").filter(|_| self.ty == ColumnType::Text)
    }
}

impl Table {
    /// The table's name in a site's SQLite: as in PostgreSQL where its schema is `public`, else with its schema; the engine's own tables
    /// are `sync_*` or `rejoin_*`.
    #[must_use]
    pub fn sqlite_name(&self) -> String {
        match (self.engine, self.schema.as_str()) {
            (true, _) if self.name.starts_with("sync_") => self.name.clone(),
            (true, _) => format!("rejoin_{}", self.name),
            (false, "public") => self.name.clone(),
            (false, schema) => format!("{schema}.{}", self.name),
        }
    }

    /// The column of this number.
    #[must_use]
    pub fn column(&self, no: ColumnNo) -> Option<&Column> {
        self.position(no).map(|at| &self.columns[at])
    }

    /// Where the column of this number stands in `columns`, and so in every row.
    #[must_use]
    pub fn position(&self, no: ColumnNo) -> Option<usize> {
        self.columns.binary_search_by_key(&no, |column| column.no).ok()
    }

    /// The column of this name.
    #[must_use]
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns that clash together with this one, itself included: its group, or it alone.
    #[must_use]
    pub fn group_of(&self, no: ColumnNo) -> Vec<ColumnNo> {
        self.groups.iter().find(|group| group.contains(&no)).cloned().unwrap_or_else(|| vec![no])
    }

    /// The positions of the key columns, in key order.
    pub fn key_positions(&self) -> impl Iterator<Item = usize> {
        self.key.iter().filter_map(|no| self.position(*no))
    }

    /// The key columns, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key_positions().map(|at| &self.columns[at])
    }

    /// The key columns whose numbers are leased to sites.
    pub fn leased_columns(&self) -> impl Iterator<Item = &Column> {
        self.key_columns().filter(|column| column.default == Some(DefaultValue::Leased))
    }

    /// How many numbers a site is given at a time.
    #[must_use]
    pub fn lease_size(&self) -> u32 {
        self.lease.unwrap_or(LEASE_DEFAULT).clamp(1, LEASE_MAX)
    }

    /// The key of a row given as the values of `columns`.
    #[must_use]
    pub fn key_of(&self, row: &[Value]) -> Key {
        Key(self.key_positions().filter_map(|at| row.get(at).cloned()).collect())
    }

    /// Reads a record id; `None` where it has another number of values than the key has columns.
    ///
    /// # Errors
    /// A value is not of its column's type.
    pub fn parse_key(&self, record_id: &str) -> Result<Option<Key>, ValueError> {
        let Some(texts) = split_record_id(record_id).filter(|texts| texts.len() == self.key.len()) else {
            return Ok(None);
        };
        let values: Result<Vec<_>, _> = self.key_columns().zip(&texts).map(|(column, text)| column.ty.parse(text)).collect();
        values.map(|values| Some(Key(values)))
    }

    /// Whether every copy holds all accepted rows of its scopes, so that digests of it can be compared.
    #[must_use]
    pub fn is_held_whole(&self) -> bool {
        self.travel != Travel::Up && self.keep_hours.is_none()
    }

    /// The references through which a row finds its scope, in the order in which they are asked.
    pub fn ways(&self) -> impl Iterator<Item = &Reference> {
        let ways = match &self.scope {
            ScopeRule::Through(ways) => ways.as_slice(),
            ScopeRule::Global | ScopeRule::Root | ScopeRule::Site => &[],
        };
        ways.iter().filter_map(|at| self.references.get(*at))
    }

    /// The column that a reference is called by: its first one that no reference of another kind has, as tenants' tables carry their tenant in
    /// every reference.
    #[must_use]
    pub fn naming_column(&self, reference: &Reference) -> Option<&Column> {
        let kind = |of: &Reference| of.when.as_ref().map(|(column, _)| *column);
        let alike = |other: &Reference| other.columns == reference.columns || kind(other).is_some() && kind(other) == kind(reference);
        let others = || self.references.iter().filter(|other| !alike(other));
        let own = reference.columns.iter().find(|no| !others().any(|other| other.columns.contains(no)));
        own.or(reference.columns.first()).and_then(|no| self.column(*no))
    }

    /// The columns that a row's scope hangs from besides its key, each once, in the order of the ways.
    #[must_use]
    pub fn way_columns(&self) -> Vec<ColumnNo> {
        let mut columns = Vec::new();
        for reference in self.ways() {
            for no in reference.when.iter().map(|(no, _)| no).chain(&reference.columns) {
                if !columns.contains(no) {
                    columns.push(*no);
                }
            }
        }
        columns
    }

    /// Whether a row may refer to nothing by this reference.
    #[must_use]
    pub fn may_be_null(&self, reference: &Reference) -> bool {
        reference.when.is_some()
            || reference.declared
            || reference.columns.iter().any(|no| self.column(*no).is_some_and(|column| !column.not_null))
    }

    /// The position of the soft-delete mark, where the table has one.
    #[must_use]
    pub fn soft_delete_position(&self) -> Option<usize> {
        self.soft_delete.and_then(|no| self.position(no))
    }

    /// Whether a row given as the values of `columns` is marked as deleted.
    #[must_use]
    pub fn is_soft_deleted(&self, row: &[Value]) -> bool {
        self.soft_delete_position().is_some_and(|at| row.get(at) == Some(&Value::Bool(true)))
    }

    /// What the scopes of a root table begin with, before the `/`.
    #[must_use]
    pub fn scope_prefix(&self) -> &str {
        if self.scope_name.is_empty() { &self.name } else { &self.scope_name }
    }

    /// The scope of a row of a root or global table; `None` where the row's parent decides.
    #[must_use]
    pub fn own_scope(&self, key: &Key) -> Option<ScopeId> {
        match self.scope {
            ScopeRule::Global => Some(ScopeId::global()),
            ScopeRule::Root => Some(ScopeId::of_root(self.scope_prefix(), key)),
            ScopeRule::Through(_) | ScopeRule::Site => None,
        }
    }
}
