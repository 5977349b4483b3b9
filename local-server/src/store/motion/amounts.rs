//! What was added to columns of the policy `add`, where their type changes: the amounts go on as amounts of the new type.

use rusqlite::{Connection, params};
use sync_core::catalog::Table;
use sync_core::policy::Policy;
use sync_core::value::{ColumnType, Value};

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
        let Some(now) = new.column(was.no).filter(|now| now.policy == Policy::Add && differs(&was.ty, &now.ty)) else { continue };
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
                    Ok(value.is_some_and(|value| convert(&now.ty, &value).is_some()))
                };
                let amount = noted::amount(&was.ty, row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
                let amount = amount.filter(|_| matches!((fits(4), fits(5)), (Ok(true), Ok(true)))).and_then(|amount| of(&now.ty, &amount));
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

/// An amount as one of another type; one of a small integer may be out of its range.
pub(crate) fn of(ty: &ColumnType, amount: &Value) -> Option<Value> {
    let wide = if matches!(ty, ColumnType::Int2 | ColumnType::Int4) { &ColumnType::Int8 } else { ty };
    convert(wide, amount).filter(|amount| !amount.is_null())
}
