//! What was added to columns of the policy `add`, where their type changes: the amounts go on as amounts of the new type.

use rusqlite::{Connection, params};
use sync_core::catalog::{Column, Table};
use sync_core::policy::Policy;
use sync_core::value::{Cast, ColumnType, Value};

use super::convert::{convert, differs};
use super::names::Before;
use crate::store::error::Result;
use crate::store::hidden::is_hidden;
use crate::store::noted;
use crate::store::rows::{Bound, from_sql, quoted};

/// Converts the amounts of the columns of a table whose type changes, before the table moves. Those of a row whose values do not fit go: the
/// hidden column says the whole difference as an edit. So does an amount that does not fit, which then shows as a difference of its own.
pub(super) fn follow(connection: &Connection, old: &Table, new: &Table) -> Result<()> {
    let place = Before::in_place(old);
    for was in old.columns.iter().filter(|column| column.policy == Policy::Add && !is_hidden(column)) {
        let Some(now) = new.column(was.no).filter(|now| now.policy == Policy::Add && differs(was, now)) else { continue };
        let name = quoted(&was.name);
        let sql = format!(
            "SELECT n.no, n.value_before, n.value_after, n.amount, l.{name}, b.{name} FROM rejoin_additions n
             LEFT JOIN {} l ON l.rejoin_row = n.rejoin_row LEFT JOIN {} b ON b.rejoin_row = n.rejoin_row
             WHERE n.table_no = ?1 AND n.column_no = ?2",
            place.live, place.base
        );
        let mut amounts = Vec::new();
        {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params![old.no.0, was.no.0])?;
            while let Some(row) = rows.next()? {
                let fits = |at: usize| -> Result<bool> {
                    let value = from_sql(&was.ty, row.get_ref(at)?).ok();
                    Ok(value.is_some_and(|value| convert(was, now, &value).is_some()))
                };
                let amount = noted::amount(&was.ty, row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
                let amount = amount.filter(|_| matches!((fits(4), fits(5)), (Ok(true), Ok(true)))).and_then(|amount| of(now, &amount));
                amounts.push((row.get::<_, i64>(0)?, amount));
            }
        }
        for (no, amount) in amounts {
            match amount {
                Some(amount) => {
                    let sql = "UPDATE rejoin_additions SET value_before = NULL, value_after = NULL, amount = ?2 WHERE no = ?1";
                    connection.prepare_cached(sql)?.execute(params![no, Bound(&amount)])?
                }
                None => connection.prepare_cached("DELETE FROM rejoin_additions WHERE no = ?1")?.execute([no])?,
            };
        }
    }
    Ok(())
}

/// An amount as one of another column, none of it rounded away; one of a small integer may be out of its range.
pub(crate) fn of(column: &Column, amount: &Value) -> Option<Value> {
    let ty = if matches!(column.ty, ColumnType::Int2 | ColumnType::Int4) { ColumnType::Int8 } else { column.ty.clone() };
    let number = |value: &Value| ColumnType::Numeric.parse(&value.to_text()).ok();
    let made = Cast::into(&Column { ty, ..column.clone() }, amount).filter(|made| !made.is_null())?;
    (number(&made) == number(amount)).then_some(made)
}
