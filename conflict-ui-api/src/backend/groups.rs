//! Groups of records, and figures over each.

use sync_core::id::{ColumnNo, TableNo};
use sync_core::value::{Every, Value};

use super::{Filter, ListQuery};

/// What to group, and what to tell of each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupQuery {
    /// The table.
    pub table: TableNo,
    /// What must hold of a record, all of it.
    pub filters: Vec<Filter>,
    /// Whether soft-deleted records count too.
    pub deleted: bool,
    /// By what; none: all records are one group, which is there also where there are no records.
    pub by: Vec<GroupBy>,
    /// What is told of each group besides how many records it has.
    pub figures: Vec<Figure>,
    /// At most this many groups, in the order of `by` as lists are ordered.
    pub limit: usize,
}

/// A column by which records are grouped; its values have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The column.
    pub column: ColumnNo,
    /// Its values are times, and those of one bucket are one.
    pub every: Option<Every>,
}

/// What is told of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// The exact sum of a column's values, and how many there are.
    Total(ColumnNo),
    /// The first of a column's values, in the order of lists.
    Least(ColumnNo),
    /// The last one; NULL is none.
    Greatest(ColumnNo),
}

impl Figure {
    /// Over which column.
    #[must_use]
    pub fn column(self) -> ColumnNo {
        let (Self::Total(column) | Self::Least(column) | Self::Greatest(column)) = self;
        column
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The values of `by`: of a bucket its beginning.
    pub by: Vec<Value>,
    /// How many records it has.
    pub count: u64,
    /// The figures asked for, in their order.
    pub figures: Vec<Figured>,
}

/// A figure of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figured {
    /// A sum.
    Total {
        /// As canonical decimal text; `None` where there are no values.
        sum: Option<String>,
        /// Of how many values.
        of: u64,
    },
    /// A value; NULL where there are none.
    Value(Value),
}

impl GroupQuery {
    /// The list of the records that are grouped.
    #[must_use]
    pub fn records(&self) -> ListQuery {
        let Self { table, filters, deleted, limit, .. } = self;
        ListQuery { table: *table, filters: filters.clone(), sort: Vec::new(), after: None, limit: *limit, deleted: *deleted }
    }
}
