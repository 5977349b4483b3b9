//! Which scopes rows belong to, as the database has it.

use deadpool_postgres::GenericClient;
use sync_core::catalog::Table;
use sync_core::id::ScopeId;
use sync_core::value::Value;

use super::bulk::unnest;
use super::error::StoreError;
use super::row::{Param, array, array_type, compared, quote, refs, table_sql};

/// The scopes of the rows whose columns at `positions` have these values, one entry for each; `None` where there is no such row.
/// NULLs find nothing.
///
/// # Errors
/// The store failed.
pub(crate) async fn of_rows(
    db: &impl GenericClient,
    table: &Table,
    positions: &[usize],
    values: &[&[Value]],
) -> Result<Vec<Option<ScopeId>>, StoreError> {
    let mut scopes = vec![None; values.len()];
    for (no, row) in find(db, table, positions, values, "t.rejoin_scope").await? {
        scopes[no] = Some(ScopeId(row.try_get(1)?));
    }
    Ok(scopes)
}

/// Finds rows by the values of some columns. `select` is read from `t`, from result column 1 on; each result comes with the number of the
/// values that found it.
///
/// # Errors
/// The store failed.
pub(crate) async fn find(
    db: &impl GenericClient,
    table: &Table,
    positions: &[usize],
    values: &[&[Value]],
    select: &str,
) -> Result<Vec<(usize, tokio_postgres::Row)>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<_> = positions.iter().map(|at| &table.columns[*at]).collect();
    let types: Vec<&str> = ["integer"].into_iter().chain(columns.iter().map(|column| array_type(&column.ty))).collect();
    let conditions = columns.iter().enumerate().map(|(no, column)| {
        let element = compared(column, &format!("u.c{}", no + 1));
        format!("t.{} = {element}", quote(&column.name))
    });
    let conditions = conditions.collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT u.c0, {select} FROM {} t, {} WHERE {conditions}", table_sql(table), unnest("u", &types, 1));
    let numbers: Vec<i32> = (0..values.len()).filter_map(|no| i32::try_from(no).ok()).collect();
    let mut params: Vec<Param<'_>> = vec![Box::new(numbers)];
    for (no, column) in columns.iter().enumerate() {
        params.push(array(column, values.iter().map(|values| &values[no]))?);
    }
    let rows = db.query(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    rows.into_iter().map(|row| Ok((usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default(), row))).collect()
}
