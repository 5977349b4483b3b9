//! Numbers out of a sequence.

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::id::TableNo;
use sync_core::value::{ColumnType, Value};
use sync_core::wire::message::Lease;
use sync_core::write::Draft;
use tokio_postgres::error::SqlState;

use super::blocks::{STRIDES, blocks, holder};
use crate::store::error::StoreError;
use crate::store::introspect::leased::SEQUENCE_OF;
use crate::store::row::{quote, table_sql};

/// How often numbers are taken again because somebody has used some of them already.
const TRIES_MAX: usize = 8;

/// Why no numbers could be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// The column's default was changed since the catalog was made.
    #[error("no sequence fills the column any more")]
    NoSequence,
    /// It gives no more, or only such as the column cannot hold.
    #[error("the sequence {0} has no numbers left: raise its MAXVALUE, or give the column a larger type")]
    Exhausted(String),
    /// It gives only numbers that are in use.
    #[error("the sequence {0} gives numbers that are in use already: set it behind the last one with setval")]
    InUse(String),
    /// The database.
    #[error("{}", words(.0))]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for TakeError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What the database itself said.
fn words(error: &StoreError) -> String {
    match error {
        StoreError::Database(source) => source.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned()),
        error => error.to_string(),
    }
}

/// A sequence as it stands.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    oid: u32,
    name: String,
    pub(super) step: i64,
    pub(super) start: i64,
    min: i64,
    max: i64,
    /// The last number that it has given out; `None`: none yet.
    pub(super) last: Option<i64>,
}

impl Sequence {
    /// The sequence behind a column, as the database has it now.
    pub(super) async fn of(db: &impl GenericClient, table: &Table, column: &Column) -> Result<Option<Self>, StoreError> {
        let sql = format!(
            "SELECT q.seqrelid, q.seqrelid::regclass::text, q.seqincrement, q.seqstart, q.seqmin, q.seqmax, pg_sequence_last_value(q.seqrelid)
             FROM pg_attribute a JOIN pg_sequence q ON q.seqrelid = {SEQUENCE_OF}
             WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped"
        );
        let row = db.query_opt(&db.prepare_cached(&sql).await?, &[&table_sql(table), &column.name]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            oid: row.try_get(0)?,
            name: row.try_get(1)?,
            step: row.try_get(2)?,
            start: row.try_get(3)?,
            min: row.try_get(4)?,
            max: row.try_get(5)?,
            last: row.try_get(6)?,
        }))
    }

    /// How many numbers it still has for a column. One that begins anew at its end has none either: they would be in use.
    fn left(&self, ty: &ColumnType) -> i128 {
        let (low, high) = match ty {
            ColumnType::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            ColumnType::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let (from, step) = (self.last.unwrap_or(self.start), i128::from(self.step));
        let end = if self.step > 0 { self.max.min(high) } else { self.min.max(low) };
        let left = (i128::from(end) - i128::from(from)) / step;
        left.max(0) + i128::from(self.last.is_none())
    }

    /// Whether it may still give this number out.
    pub(super) fn may_give(&self, number: i64) -> bool {
        match (self.last, self.step > 0) {
            (Some(last), true) => number > last,
            (Some(last), false) => number < last,
            (None, true) => number >= self.start,
            (None, false) => number <= self.start,
        }
    }
}

/// Takes numbers, as many as there are of those that are wanted, those that follow each other in one block. A number that somebody has used
/// without asking the sequence is passed over.
pub(super) async fn take(db: &impl GenericClient, table: &Table, column: &Column, count: usize) -> Result<Vec<Lease>, TakeError> {
    let mut numbers: Vec<i64> = Vec::with_capacity(count);
    let mut step = 1;
    let mut given = 0;
    for _ in 0..TRIES_MAX {
        let missing = count - numbers.len();
        if missing == 0 {
            break;
        }
        let sequence = Sequence::of(db, table, column).await?.ok_or(TakeError::NoSequence)?;
        step = sequence.step;
        let wanted = i128::try_from(missing).unwrap_or(i128::MAX).min(sequence.left(&column.ty));
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        if wanted == 0 {
            match numbers.is_empty() {
                true if given == 0 => return Err(TakeError::Exhausted(sequence.name)),
                true => return Err(TakeError::InUse(sequence.name)),
                false => break,
            }
        }
        given += wanted;
        // MATERIALIZED: each number is taken once, whatever the plan.
        let sql = format!(
            "WITH RECURSIVE {STRIDES}, taken AS MATERIALIZED (SELECT nextval($1::oid::regclass) AS n FROM generate_series(1::bigint, $2))
             SELECT n FROM taken WHERE NOT EXISTS (SELECT FROM {} t WHERE t.{} = taken.n) AND NOT EXISTS ({})",
            table_sql(table),
            quote(&column.name),
            holder("taken.n"),
        );
        let (table_no, column_no) = (table.no.0.cast_signed(), column.no.0.cast_signed());
        match db.query(&sql, &[&sequence.oid, &wanted, &table_no, &column_no]).await {
            Ok(rows) => numbers.extend(rows.iter().map(|row| row.get::<_, i64>(0))),
            // Somebody else took the last ones meanwhile.
            Err(error) if error.code() == Some(&SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED) => {
                return Err(TakeError::Exhausted(sequence.name));
            }
            Err(error) => return Err(error.into()),
        }
        if numbers.is_empty() && given >= i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(4) {
            return Err(TakeError::InUse(sequence.name));
        }
    }
    Ok(blocks(table.no, column.no, step, &mut numbers))
}

/// Gives numbers to drafts of a table that have none, before they are written: every attempt writes the same rows.
pub(crate) async fn number(db: &impl GenericClient, catalog: &Catalog, rows: &mut [(TableNo, Draft)]) -> Result<(), StoreError> {
    for table in &catalog.tables {
        for column in table.leased_columns() {
            let mut missing: Vec<&mut Draft> =
                rows.iter_mut().filter(|(no, draft)| *no == table.no && !draft.contains_key(&column.no)).map(|(_, draft)| draft).collect();
            if missing.is_empty() {
                continue;
            }
            let Some(sequence) = Sequence::of(db, table, column).await? else { continue };
            let count = i64::try_from(missing.len()).unwrap_or(i64::MAX);
            let sql = "SELECT nextval($1::oid::regclass) FROM generate_series(1::bigint, $2)";
            let numbers = db.query(sql, &[&sequence.oid, &count]).await?;
            for (draft, row) in missing.iter_mut().zip(numbers) {
                draft.insert(column.no, Value::Int(row.try_get(0)?));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_has_as_many_numbers_as_it_and_the_column_can_hold() {
        let sequence = |step, start, min, max, last| Sequence { oid: 0, name: String::new(), step, start, min, max, last };
        assert_eq!(sequence(1, 1, 1, 10, None).left(&ColumnType::Int4), 10);
        assert_eq!(sequence(1, 1, 1, 10, Some(10)).left(&ColumnType::Int4), 0);
        assert_eq!(sequence(3, 1, 1, 10, Some(1)).left(&ColumnType::Int4), 3);
        assert_eq!(sequence(-1, -1, -10, -1, Some(-8)).left(&ColumnType::Int4), 2);
        assert_eq!(sequence(1, 1, 1, i64::MAX, Some(32_760)).left(&ColumnType::Int2), 7);
        assert_eq!(sequence(1, i64::MIN, i64::MIN, i64::MAX, None).left(&ColumnType::Int8), i128::from(u64::MAX) + 1);
    }
}
