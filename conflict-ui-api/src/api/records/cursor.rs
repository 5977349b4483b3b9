//! Where a list goes on: the values of the order's columns of the last record, bound to the query they were made for.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sync_core::catalog::Table;
use sync_core::value::{ColumnType, Value};

use crate::backend::{ListQuery, Record, SortKey};
use crate::problem::{Answer, Code, Problem};

/// A cursor before it is written as hexadecimal digits.
#[derive(Serialize, Deserialize)]
struct Cursor {
    query: String,
    after: Vec<Option<String>>,
}

/// The cursor behind this record.
#[must_use]
pub fn behind(table: &Table, query: &ListQuery, record: &Record) -> String {
    let text = |value: &Value| (!value.is_null()).then(|| value.to_text().into_owned());
    let after = query.sort.iter().map(|sort| match sort.by {
        SortKey::Column(no) => table.position(no).and_then(|at| record.row.get(at)).and_then(text),
        SortKey::Version => Some(record.stamp.version.to_string()),
        SortKey::UpdatedAt => Some(record.stamp.updated_at.clone()),
    });
    let cursor = Cursor { query: fingerprint(query), after: after.collect() };
    hex::encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

/// The values that a cursor holds.
///
/// # Errors
/// It is damaged, or of another query.
pub fn read(table: &Table, query: &ListQuery, text: &str) -> Answer<Vec<Value>> {
    let damaged = || Problem::new(Code::BadCursor, "The cursor is damaged: take it as it stands in the answer before.");
    let bytes = hex::decode(text).map_err(|_| damaged())?;
    let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if cursor.query != fingerprint(query) {
        let detail = "The cursor was made for another table, filter or order: start without one.";
        return Err(Problem::new(Code::BadCursor, detail));
    }
    if cursor.after.len() != query.sort.len() {
        return Err(damaged());
    }
    let values = query.sort.iter().zip(cursor.after).map(|(sort, text)| {
        let ty = match sort.by {
            SortKey::Column(no) => &table.column(no)?.ty,
            SortKey::Version => &ColumnType::Int8,
            SortKey::UpdatedAt => &ColumnType::Timestamptz,
        };
        text.map_or(Some(Value::Null), |text| ty.parse(&text).ok())
    });
    values.collect::<Option<_>>().ok_or_else(damaged)
}

/// What tells one query from another; the size of its pages is not part of it.
fn fingerprint(query: &ListQuery) -> String {
    let shape = format!("{} {:?} {:?} {}", query.table, query.filters, query.sort, query.deleted);
    hex::encode(&Sha256::digest(shape.as_bytes())[..6])
}
