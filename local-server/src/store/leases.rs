//! Numbers of identity and serial keys that the cloud has leased to this replica: `rejoin_leases`. The capture triggers take them; here
//! they come in, are counted, and go with the replica that they were leased to.

use rusqlite::{Connection, params};
use sync_core::catalog::{Catalog, Column, Table, Travel};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::limits::{LEASE_REFILL_PERCENT, LEASE_WANTS_MAX};
use sync_core::value::Value;
use sync_core::wire::message::{LeaseAnswer, LeaseWant};

use super::db::DbError;
use super::identity::{clear_fact, fact, set_fact};
use super::rows::{live_table, quoted};

/// The fact that names the last answer with numbers that is stored.
const ANSWERED: &str = "leases_answered";

/// Numbers of one key column, as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock<'a> {
    /// The table.
    pub table: &'a Table,
    /// The column.
    pub column: &'a Column,
    /// How many are left.
    pub left: u64,
}

impl Stock<'_> {
    /// Whether it is time to ask for more.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left * 100 < u64::from(self.table.lease_size()) * LEASE_REFILL_PERCENT || self.left == 0
    }
}

/// The numbers of every leased column of the tables that this site writes.
///
/// # Errors
/// The database failed.
pub fn stock<'a>(connection: &Connection, catalog: &'a Catalog) -> Result<Vec<Stock<'a>>, DbError> {
    let mut all = Vec::new();
    for table in catalog.tables.iter().filter(|table| !table.engine && table.travel != Travel::Down) {
        for column in table.leased_columns() {
            let sql = "SELECT coalesce(sum((last - next) / step + 1), 0) FROM rejoin_leases WHERE table_no = ?1 AND column_no = ?2";
            let left = connection.prepare_cached(sql)?.query_row([table.no.0, column.no.0], |row| row.get::<_, i64>(0))?;
            all.push(Stock { table, column, left: left.try_into().unwrap_or(0) });
        }
    }
    Ok(all)
}

/// What to ask the cloud for, and the last answer that is stored.
///
/// # Errors
/// The database failed.
pub fn wants(connection: &Connection, catalog: &Catalog) -> Result<(i64, Vec<LeaseWant>), DbError> {
    let want = |stock: &Stock<'_>| LeaseWant {
        table: stock.table.no,
        column: stock.column.no,
        count: stock.table.lease_size().saturating_sub(u32::try_from(stock.left).unwrap_or(u32::MAX)).max(1),
    };
    let wants = stock(connection, catalog)?.iter().filter(|stock| stock.is_low()).map(want).take(LEASE_WANTS_MAX).collect();
    Ok((answered(connection)?.unwrap_or(0), wants))
}

/// The last answer with numbers that is stored; `None`: none yet.
///
/// # Errors
/// The database failed.
pub fn answered(connection: &Connection) -> Result<Option<i64>, DbError> {
    Ok(fact(connection, ANSWERED)?.and_then(|text| text.parse().ok()))
}

/// Stores what an answer gave; one that is stored already gives nothing.
///
/// # Errors
/// The database failed.
pub fn keep(connection: &Connection, replica: &str, answer: &LeaseAnswer) -> Result<(), DbError> {
    if answer.no <= answered(connection)?.unwrap_or(0) {
        return Ok(());
    }
    let sql = "INSERT INTO rejoin_leases (table_no, column_no, next, last, step, replica) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for lease in answer.leases.iter().filter(|lease| lease.step != 0) {
        let values = params![lease.table.0, lease.column.0, lease.first, lease.last, lease.step, replica];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    set_fact(connection, ANSWERED, &answer.no.to_string())
}

/// This copy is another replica from now on: it starts without numbers.
///
/// # Errors
/// The database failed.
pub fn let_go(connection: &Connection) -> Result<(), DbError> {
    connection.execute("DELETE FROM rejoin_leases", [])?;
    clear_fact(connection, ANSWERED)
}

/// Lets go of numbers of what is no longer leased, or of tables that were made anew: their sequences may give those numbers again.
///
/// # Errors
/// The database failed.
pub(super) fn follow(connection: &Connection, before: &Catalog, after: &Catalog) -> Result<(), DbError> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT table_no, column_no FROM rejoin_leases")?;
    let known = statement.query_map([], |row| Ok((TableNo(row.get(0)?), ColumnNo(row.get(1)?))))?;
    let known: Vec<(TableNo, ColumnNo)> = known.collect::<rusqlite::Result<_>>()?;
    let goes_on = |table: &Table| before.table(table.no).is_none_or(|old| old.generation == table.generation);
    for (no, column) in known {
        let table = after.table(no).filter(|table| table.leased_columns().any(|leased| leased.no == column) && goes_on(table));
        if table.is_none() {
            connection.execute("DELETE FROM rejoin_leases WHERE table_no = ?1 AND column_no = ?2", (no.0, column.0))?;
        }
    }
    Ok(())
}

/// Lets go of leased numbers that a row has which came from the cloud: somebody there wrote them in without asking the sequence.
///
/// # Errors
/// The database failed.
pub fn let_go_taken(connection: &Connection, catalog: &Catalog) -> Result<(), DbError> {
    for table in catalog.tables.iter().filter(|table| !table.engine) {
        for column in table.leased_columns() {
            let name = quoted(&column.name);
            let taken = format!(
                "SELECT DISTINCT t.{name} FROM rejoin_leases l JOIN {} t ON t.{name} BETWEEN min(l.next, l.last) AND max(l.next, l.last) \
                 WHERE l.table_no = {} AND l.column_no = {}",
                live_table(table),
                table.no,
                column.no
            );
            let taken: Vec<i64> = connection.prepare(&taken)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for number in taken {
                for sql in carve(table, column, "?1") {
                    // Not every statement names the number.
                    let mut statement = connection.prepare_cached(&sql)?;
                    if statement.parameter_count() == 0 {
                        statement.execute([])?
                    } else {
                        statement.execute([number])?
                    };
                }
            }
        }
    }
    Ok(())
}

/// A leased column that the row leaves out and for which there is no number.
///
/// # Errors
/// The database failed.
pub fn missing<'a>(connection: &Connection, table: &'a Table, row: &[Value]) -> Result<Option<&'a Column>, DbError> {
    for column in table.leased_columns().filter(|column| table.position(column.no).is_some_and(|at| row[at].is_null())) {
        let sql = "SELECT EXISTS (SELECT 1 FROM rejoin_leases WHERE table_no = ?1 AND column_no = ?2)";
        if !connection.prepare_cached(sql)?.query_row([table.no.0, column.no.0], |row| row.get(0))? {
            return Ok(Some(column));
        }
    }
    Ok(None)
}

/// Why there is no number, and what to do.
#[must_use]
pub fn exhausted(table: &Table, column: &Column) -> String {
    format!(
        "{0} has no numbers left for {1}: the cloud leases them to this site, which has not reached it for too long, or never. Sync this site and \
         insert again; lease = {2} under [tables.{0}] in the rejoin.toml of the cloud gives it more at a time",
        table.name,
        column.name,
        table.lease_size().saturating_mul(5)
    )
}

/// Which rows of `rejoin_leases` are of this column.
pub(super) fn numbers_of(table: &Table, column: &Column) -> String {
    format!("table_no = {} AND column_no = {}", table.no, column.no)
}

/// The block that gives the next number.
pub(super) fn next_block(table: &Table, column: &Column) -> String {
    format!("(SELECT min(no) FROM rejoin_leases WHERE {})", numbers_of(table, column))
}

/// Which row of `rejoin_leases` holds this number.
pub(super) fn within(table: &Table, column: &Column, number: &str) -> String {
    format!("{} AND {number} BETWEEN min(next, last) AND max(next, last) AND ({number} - next) % step = 0", numbers_of(table, column))
}

/// Takes one number out of the middle of a block.
pub(super) fn carve(table: &Table, column: &Column, number: &str) -> [String; 3] {
    let within = within(table, column, number);
    [
        format!(
            "INSERT INTO rejoin_leases (table_no, column_no, next, last, step, replica) \
             SELECT table_no, column_no, {number} + step, last, step, replica FROM rejoin_leases WHERE {within} AND last <> {number}"
        ),
        format!("UPDATE rejoin_leases SET last = {number} - step WHERE {within}"),
        format!("DELETE FROM rejoin_leases WHERE {} AND (next - last) * sign(step) > 0", numbers_of(table, column)),
    ]
}
