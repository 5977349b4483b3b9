//! Leased numbers as blocks: `first`, `first + step`, .. `last`; and which block holds a number, however many there are.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use sync_core::id::{ColumnNo, TableNo};
use sync_core::wire::message::Lease;
use uuid::Uuid;

use crate::store::error::StoreError;

/// A recursive CTE: the strides among the leases of column `$4` of table `$3`. There are one or two, and each costs one look into the index.
pub(super) const STRIDES: &str = "strides AS (
    (SELECT l.stride FROM rejoin.leases l WHERE l.table_no = $3 AND l.column_no = $4 ORDER BY l.stride LIMIT 1)
    UNION ALL
    SELECT (SELECT l.stride FROM rejoin.leases l WHERE l.table_no = $3 AND l.column_no = $4 AND l.stride > s.stride ORDER BY l.stride LIMIT 1)
    FROM strides s WHERE s.stride IS NOT NULL)";

/// Selects the replica to which the number `n` of that column was leased: of each stride only the block that begins nearest below it is asked.
pub(super) fn holder(n: &str) -> String {
    format!(
        "SELECT h.replica FROM strides s CROSS JOIN LATERAL (
             SELECT l.replica, l.high FROM rejoin.leases l WHERE l.table_no = $3 AND l.column_no = $4 AND l.stride = s.stride
                 AND l.residue = mod(mod({n}::numeric, s.stride) + s.stride, s.stride) AND l.low <= {n} ORDER BY l.low DESC LIMIT 1) h
         WHERE s.stride IS NOT NULL AND h.high >= {n}"
    )
}

/// Numbers in blocks of those that follow each other.
pub(super) fn blocks(table: TableNo, column: ColumnNo, step: i64, numbers: &mut [i64]) -> Vec<Lease> {
    numbers.sort_unstable();
    if step < 0 {
        numbers.reverse();
    }
    let mut blocks = Blocks::default();
    for &number in &*numbers {
        blocks.add(Lease { table, column, first: number, last: number, step });
    }
    blocks.0
}

/// Blocks in the order in which their sequence gives them, each joined with the one before where it goes on from it.
#[derive(Default)]
struct Blocks(Vec<Lease>);

impl Blocks {
    fn add(&mut self, next: Lease) {
        match self.0.last_mut() {
            Some(block) if block.last.checked_add(next.step) == Some(next.first) => block.last = next.last,
            _ => self.0.push(next),
        }
    }
}

/// Blocks of one replica, joined where they follow each other.
fn joined(mut leases: Vec<Lease>) -> Vec<Lease> {
    leases.sort_by_key(|lease| if lease.step > 0 { i128::from(lease.first) } else { -i128::from(lease.first) });
    let mut all: BTreeMap<(TableNo, ColumnNo, i64, i128), Blocks> = BTreeMap::new();
    for lease in leases {
        let residue = i128::from(lease.first).rem_euclid(i128::from(lease.step).abs().max(1));
        all.entry((lease.table, lease.column, lease.step, residue)).or_default().add(lease);
    }
    all.into_values().flat_map(|blocks| blocks.0).collect()
}

/// What the replica says that it has got needs no answer any more: it joins the blocks that it has already, so that they stay few.
///
/// # Errors
/// The store failed.
pub(super) async fn settle(transaction: &Transaction<'_>, replica: Uuid, answered: i64) -> Result<(), StoreError> {
    let sql = "WITH told AS MATERIALIZED (SELECT * FROM rejoin.leases WHERE replica = $1 AND answer BETWEEN 1 AND $2),
        met AS (
            SELECT table_no, column_no, first FROM told
            UNION SELECT t.table_no, t.column_no, n.first FROM told t CROSS JOIN LATERAL (
                SELECT l.* FROM rejoin.leases l WHERE l.table_no = t.table_no AND l.column_no = t.column_no AND l.stride = t.stride
                    AND l.residue = t.residue AND l.low < t.low ORDER BY l.low DESC LIMIT 1) n
                WHERE n.replica = $1 AND n.answer = 0 AND n.step = t.step AND n.high + n.stride = t.low
            UNION SELECT t.table_no, t.column_no, n.first FROM told t CROSS JOIN LATERAL (
                SELECT l.* FROM rejoin.leases l WHERE l.table_no = t.table_no AND l.column_no = t.column_no AND l.stride = t.stride
                    AND l.residue = t.residue AND l.low > t.low ORDER BY l.low LIMIT 1) n
                WHERE n.replica = $1 AND n.answer = 0 AND n.step = t.step AND t.high + t.stride = n.low)
        DELETE FROM rejoin.leases l USING met m WHERE l.table_no = m.table_no AND l.column_no = m.column_no AND l.first = m.first
        RETURNING l.table_no, l.column_no, l.first, l.last, l.step";
    let rows = transaction.query(&transaction.prepare_cached(sql).await?, &[&replica, &answered]).await?;
    let lease = |row: &tokio_postgres::Row| -> Result<Lease, StoreError> {
        let (table, column): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
        let (table, column) = (TableNo(table.cast_unsigned()), ColumnNo(column.cast_unsigned()));
        Ok(Lease { table, column, first: row.try_get(2)?, last: row.try_get(3)?, step: row.try_get(4)? })
    };
    let told = rows.iter().map(lease).collect::<Result<Vec<_>, _>>()?;
    record(transaction, replica, 0, &joined(told)).await
}

/// Writes down to whom numbers were given.
///
/// # Errors
/// The store failed.
pub(super) async fn record(transaction: &Transaction<'_>, replica: Uuid, answer: i64, leases: &[Lease]) -> Result<(), StoreError> {
    if leases.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO rejoin.leases (table_no, column_no, first, last, step, replica, answer)
               SELECT u.t, u.c, u.f, u.l, u.s, $6, $7 FROM unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u(t, c, f, l, s)";
    let column = |of: fn(&Lease) -> i64| leases.iter().map(of).collect::<Vec<i64>>();
    let tables: Vec<i32> = leases.iter().map(|lease| lease.table.0.cast_signed()).collect();
    let columns: Vec<i32> = leases.iter().map(|lease| lease.column.0.cast_signed()).collect();
    let (first, last, step) = (column(|lease| lease.first), column(|lease| lease.last), column(|lease| lease.step));
    transaction.execute(sql, &[&tables, &columns, &first, &last, &step, &replica, &answer]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_block() {
        let shown = |step, numbers: &[i64]| -> Vec<(i64, i64)> {
            blocks(TableNo(1), ColumnNo(1), step, &mut numbers.to_vec()).iter().map(|block| (block.first, block.last)).collect()
        };
        assert_eq!(shown(1, &[4, 5, 6, 9, 8, 20]), [(4, 6), (8, 9), (20, 20)]);
        assert_eq!(shown(10, &[11, 21, 41]), [(11, 21), (41, 41)]);
        assert_eq!(shown(-1, &[-1, -2, -3, -7]), [(-1, -3), (-7, -7)]);
        assert_eq!(shown(1, &[i64::MAX - 1, i64::MAX]), [(i64::MAX - 1, i64::MAX)]);
        assert_eq!(shown(1, &[]), []);
    }

    #[test]
    fn blocks_are_joined_where_one_goes_on_from_the_other() {
        let shown = |leases: &[(i64, i64, i64)]| -> Vec<(i64, i64, i64)> {
            let lease = |&(first, last, step)| Lease { table: TableNo(1), column: ColumnNo(1), first, last, step };
            joined(leases.iter().map(lease).collect()).iter().map(|one| (one.first, one.last, one.step)).collect()
        };
        assert_eq!(shown(&[(11, 20, 1), (1, 10, 1), (22, 22, 1), (21, 21, 1)]), [(1, 22, 1)]);
        assert_eq!(shown(&[(-1, -5, -1), (-6, -6, -1)]), [(-1, -6, -1)]);
        assert_eq!(shown(&[(1, 21, 10), (2, 2, 10), (31, 31, 10), (12, 12, 10)]), [(1, 31, 10), (2, 12, 10)], "they interleave");
        assert_eq!(shown(&[(1, 3, 1), (4, 14, 10)]), [(1, 3, 1), (4, 14, 10)], "another step");
    }
}
