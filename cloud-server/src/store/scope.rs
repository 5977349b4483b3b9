//! Which scopes rows belong to, as the database has it.

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Reference, Table};
use sync_core::id::ScopeId;
use sync_core::value::Value;

use super::bulk::unnest;
use super::error::StoreError;
use super::row::{Param, array, array_type, compared, equals, quote, refs, table_sql};

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

/// The condition that a row of `table`, as `alias`, is of the kind that refers by this reference; nothing where every row is.
pub(crate) fn of_kind(table: &Table, reference: &Reference, alias: &str) -> String {
    let kind = reference.when.as_ref().and_then(|(column, wanted)| Some((table.column(*column)?, wanted)));
    kind.map_or_else(String::new, |(column, wanted)| {
        format!(" AND {alias}.{} = '{}'", quote(&column.name), wanted.to_text().replace('\'', "''"))
    })
}

/// Finds the rows of `child` that refer to rows of `target` with these values of the target columns, as [`find`] does.
///
/// # Errors
/// The store failed.
pub(crate) async fn referring(
    db: &impl GenericClient,
    child: &Table,
    reference: &Reference,
    target: &Table,
    values: &[Vec<Value>],
    select: &str,
) -> Result<Vec<(usize, tokio_postgres::Row)>, StoreError> {
    let spelt = values.iter().enumerate().flat_map(|(at, values)| {
        let spellings = child.spellings(reference, target, values);
        spellings.into_iter().map(move |values| (at, values))
    });
    let (places, values): (Vec<usize>, Vec<Vec<Value>>) = spelt.unzip();
    let values: Vec<&[Value]> = values.iter().map(Vec::as_slice).collect();
    let positions: Vec<usize> = reference.columns.iter().filter_map(|no| child.position(*no)).collect();
    let found = find_of(db, child, &positions, &values, select, &of_kind(child, reference, "t")).await?;
    Ok(found.into_iter().filter_map(|(at, row)| Some((*places.get(at)?, row))).collect())
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
    find_of(db, table, positions, values, select, "").await
}

async fn find_of(
    db: &impl GenericClient,
    table: &Table,
    positions: &[usize],
    values: &[&[Value]],
    select: &str,
    and: &str,
) -> Result<Vec<(usize, tokio_postgres::Row)>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let columns: Vec<_> = positions.iter().map(|at| &table.columns[*at]).collect();
    let types: Vec<&str> = ["integer"].into_iter().chain(columns.iter().map(|column| array_type(&column.ty))).collect();
    let conditions = columns.iter().enumerate().map(|(no, column)| {
        let element = compared(column, &format!("u.c{}", no + 1));
        format!("t.{} {} {element}", quote(&column.name), equals(column))
    });
    let conditions = conditions.collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT u.c0, {select} FROM {} t, {} WHERE {conditions}{and}", table_sql(table), unnest("u", &types, 1));
    let numbers: Vec<i32> = (0..values.len()).filter_map(|no| i32::try_from(no).ok()).collect();
    let mut params: Vec<Param<'_>> = vec![Box::new(numbers)];
    for (no, column) in columns.iter().enumerate() {
        params.push(array(column, values.iter().map(|values| &values[no]))?);
    }
    let rows = db.query(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    rows.into_iter().map(|row| Ok((usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default(), row))).collect()
}
