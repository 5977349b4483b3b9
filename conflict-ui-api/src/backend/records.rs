//! Records, lists of them, writes, and what a server holds as a whole.

use serde::{Deserialize, Serialize};
use sync_core::change::{Row, Stamp};
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::value::Value;
use sync_core::write::Draft;

/// A record as a server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The values of the table's columns.
    pub row: Row,
    /// The versioning.
    pub stamp: Stamp,
    /// Where it is.
    pub place: Place,
}

/// Where a record is, as a technician asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Accepted by the cloud.
    Cloud,
    /// Changed here, not sent or not answered yet.
    Here,
    /// An insert that the cloud could not accept, kept here until its conflict is resolved.
    Held,
    /// At a site: shown as the cloud has it, while an edit made here is in a conflict that is not resolved.
    Parked,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The table.
    pub table: TableNo,
    /// What must hold of a record, all of it.
    pub filters: Vec<Filter>,
    /// The order. Whoever builds the query appends the key columns that are missing, so that it is total.
    ///
    /// NULLs come last ascending and first descending. Text, enums and uuids are ordered by bytes (`COLLATE "C"`, BINARY), all else by value.
    pub sort: Vec<Sort>,
    /// One value for each of `sort`, those of the last record seen; the list goes on behind it. May be NULL where the column may.
    pub after: Option<Vec<Value>>,
    /// At most this many; never more than `LIST_ROWS_MAX + 1` (one more than a page tells whether there is another).
    pub limit: usize,
    /// Whether soft-deleted records are listed too.
    pub deleted: bool,
}

/// A condition on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The column.
    pub column: ColumnNo,
    /// What must hold of its value.
    pub test: Test,
}

/// What must hold of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is one of these; NULL among them asks for NULL.
    Among(Vec<Value>),
    /// It is none of these. NULL is none of them, unless NULL is among them.
    NotAmong(Vec<Value>),
    /// It stands so to this value, in the order in which lists are sorted; NULL never does.
    Compared(Comparison, Value),
}

/// How one value stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Filter {
    /// The column equals this value; NULL asks for NULL.
    #[must_use]
    pub fn equals(column: ColumnNo, value: Value) -> Self {
        Self { column, test: Test::Among(vec![value]) }
    }
}

impl Comparison {
    /// As SQL writes it.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// One step of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortKey,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What a list can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// A column.
    Column(ColumnNo),
    /// The stamp `version`; in `after` an integer.
    Version,
    /// The stamp `updated_at`; in `after` canonical timestamptz text.
    UpdatedAt,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A new record.
    Create(Draft),
    /// Changed columns; never the key's and never the soft-delete mark. A soft-deleted record is `NotFound`.
    Update {
        /// Which record.
        key: Key,
        /// The new values.
        draft: Draft,
        /// The ETags one of which the record must have; `None`: any.
        if_match: Option<Vec<String>>,
    },
    /// A delete: soft where the table has a mark, else real. The record returned is the one deleted. A soft-deleted record is `NotFound`.
    Delete {
        /// Which record.
        key: Key,
        /// As above.
        if_match: Option<Vec<String>>,
    },
    /// Brings back a soft-deleted record and what was deleted with it; a live one is returned as it is.
    Restore {
        /// Which record.
        key: Key,
    },
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// New rows.
    pub created: u64,
    /// Rows of which a column was changed.
    pub updated: u64,
    /// Rows that were there as given.
    pub unchanged: u64,
}

/// What a server holds, in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digests {
    /// Over all tables, in hexadecimal digits.
    pub digest: String,
    /// The rows in it.
    pub rows: u64,
    /// Held rows, which are not in it.
    pub held: u64,
    /// Each table by itself, in order of their numbers.
    pub tables: Vec<TableDigest>,
}

/// The digest of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDigest {
    /// The table, `schema.name`.
    pub table: String,
    /// Over its accepted rows, in hexadecimal digits.
    pub digest: String,
    /// The rows in it.
    pub rows: u64,
    /// The record ids of held rows, which are not in it.
    pub held: Vec<String>,
}
