//! Whole rows in bulk: one statement per table and kind, whatever the number of rows. The texts are built from catalog identifiers only
//! and cached as prepared statements by the pool.

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Column, Table};
use sync_core::id::{Key, ScopeId, Tick};
use sync_core::value::Value;

use super::error::StoreError;
use super::row::{
    Param, StoredRow, array, array_type, compared, key_arrays, overwritten, quote, read_some, refs, select_some, table_sql, written,
};

/// How rows are locked as they are read. Never waits: a row that somebody holds is [`StoreError::Busy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Not at all.
    None,
    /// For an update.
    Update,
    /// For a delete or a change of the key.
    Delete,
    /// For an update or delete; rows that somebody holds are left out.
    Free,
}

/// A row to write.
#[derive(Debug, Clone)]
pub(crate) struct RowWrite<'a> {
    /// The key that the row has now; for an insert the one it gets.
    pub(crate) key: &'a Key,
    /// The values of the table's columns.
    pub(crate) row: &'a [Value],
    /// The scope that the row is in now; for an insert the one it gets.
    pub(crate) old_scope: &'a ScopeId,
    /// The scope that the row gets.
    pub(crate) scope: &'a ScopeId,
    /// The tick that this transaction took for that scope.
    pub(crate) tick: Tick,
    /// The version that the row gets.
    pub(crate) version: i64,
    /// When it was changed; `None`: now.
    pub(crate) updated_at: Option<&'a str>,
    /// Who changed it.
    pub(crate) modified_by: &'a str,
}

/// Reads rows by key, in no order; keys without a row are left out. `positions`: which columns to read.
///
/// # Errors
/// A row is locked by somebody else ([`StoreError::Busy`]); the store failed.
pub(crate) async fn load(
    db: &impl GenericClient,
    table: &Table,
    keys: &[&Key],
    positions: &[usize],
    lock: Lock,
) -> Result<Vec<StoredRow>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let clause = match lock {
        Lock::None => "",
        Lock::Update => " FOR NO KEY UPDATE OF t NOWAIT",
        Lock::Delete => " FOR UPDATE OF t NOWAIT",
        Lock::Free => " FOR UPDATE OF t SKIP LOCKED",
    };
    let sql = format!(
        "SELECT {} FROM {} t, {} WHERE {}{clause}",
        select_some(table, "t", positions.iter().copied()),
        table_sql(table),
        unnest("k", &key_types(table), 1),
        key_matches(table, "k"),
    );
    let params = key_arrays(table, keys.iter().copied())?;
    let rows = db.query(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    rows.iter().map(|row| read_some(table, row, 0, positions.iter().copied())).collect()
}

/// Every position of a table, for [`load`].
pub(crate) fn all_columns(table: &Table) -> Vec<usize> {
    (0..table.columns.len()).collect()
}

/// Inserts rows; columns that are not in `given` get their defaults.
///
/// # Errors
/// What a constraint or trigger said ([`StoreError::Database`]); the store failed.
pub(crate) async fn insert(db: &impl GenericClient, table: &Table, given: &[usize], rows: &[RowWrite<'_>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = given.iter().map(|at| (*at, &table.columns[*at])).collect();
    let types: Vec<&str> = columns.iter().map(|(_, column)| array_type(&column.ty)).chain(STAMP_TYPES).collect();
    let names = columns.iter().map(|(_, column)| quote(&column.name)).chain(stamp_names(table));
    let values = columns.iter().enumerate().map(|(no, (_, column))| written(column, &format!("u.c{no}")));
    let sql = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        table_sql(table),
        names.collect::<Vec<_>>().join(", "),
        values.chain(stamp_values(columns.len())).collect::<Vec<_>>().join(", "),
        unnest("u", &types, 1),
    );
    let mut params = Vec::with_capacity(types.len());
    for (at, column) in columns {
        params.push(array(column, rows.iter().map(|write| &write.row[at]))?);
    }
    params.extend(stamp_arrays(rows));
    db.execute(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    Ok(())
}

/// Writes rows over existing ones, found by key and scope. `rekey`: the key columns too.
///
/// # Errors
/// As [`insert`]; a row is not there any more ([`StoreError::Busy`]).
pub(crate) async fn update(db: &impl GenericClient, table: &Table, rekey: bool, rows: &[RowWrite<'_>]) -> Result<(), StoreError> {
    let positions: Vec<usize> = (0..table.columns.len()).filter(|at| rekey || !table.key.contains(&table.columns[*at].no)).collect();
    update_columns(db, table, &positions, rows).await
}

/// As [`update`], for the columns at these positions and the stamps.
///
/// # Errors
/// As [`update`].
pub(crate) async fn update_columns(
    db: &impl GenericClient,
    table: &Table,
    positions: &[usize],
    rows: &[RowWrite<'_>],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    // What PostgreSQL alone gives stays as it is; of a key it says so itself.
    let stays = |column: &Column| column.fixed && !table.key.contains(&column.no);
    let columns: Vec<_> = positions.iter().map(|at| (*at, &table.columns[*at])).filter(|(_, column)| !stays(column)).collect();
    if columns.iter().any(|(_, column)| table.key.contains(&column.no)) {
        tell_of_new_keys(db).await?;
    }
    let (count, stamps) = (columns.len(), columns.len() + STAMP_TYPES.len());
    let types: Vec<&str> =
        columns.iter().map(|(_, column)| array_type(&column.ty)).chain(STAMP_TYPES).chain(["text"]).chain(key_types(table)).collect();
    let values = columns.iter().enumerate().map(|(no, (_, column))| overwritten(column, &format!("u.c{no}"))).chain(stamp_values(count));
    let names = columns.iter().map(|(_, column)| quote(&column.name)).chain(stamp_names(table));
    let sql = format!(
        "UPDATE {} t SET {} FROM {} WHERE t.rejoin_scope = u.c{stamps} AND {}",
        table_sql(table),
        names.zip(values).map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", "),
        unnest("u", &types, 1),
        key_matches_from(table, "u", stamps + 1),
    );
    let mut params = Vec::with_capacity(types.len());
    for (at, column) in columns {
        params.push(array(column, rows.iter().map(|write| &write.row[at]))?);
    }
    params.extend(stamp_arrays(rows));
    params.push(Box::new(rows.iter().map(|write| write.old_scope.0.as_str()).collect::<Vec<_>>()));
    params.extend(key_arrays(table, rows.iter().map(|write| write.key))?);
    let done = db.execute(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    all_there(table, done, rows.len())
}

/// The conditions of the triggers ask this, since they name no column of a key.
pub(crate) async fn tell_of_new_keys(db: &impl GenericClient) -> Result<(), StoreError> {
    db.execute(&db.prepare_cached("SELECT set_config('rejoin.moved', 'on', true)").await?, &[]).await?;
    Ok(())
}

/// Deletes rows by key and scope.
///
/// # Errors
/// As [`update`].
pub(crate) async fn delete(db: &impl GenericClient, table: &Table, rows: &[(&Key, &ScopeId)]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let types: Vec<&str> = ["text"].into_iter().chain(key_types(table)).collect();
    let sql = format!(
        "DELETE FROM {} t USING {} WHERE t.rejoin_scope = u.c0 AND {}",
        table_sql(table),
        unnest("u", &types, 1),
        key_matches_from(table, "u", 1),
    );
    let mut params: Vec<Param<'_>> = vec![Box::new(rows.iter().map(|(_, scope)| scope.0.as_str()).collect::<Vec<_>>())];
    params.extend(key_arrays(table, rows.iter().map(|(key, _)| *key))?);
    let done = db.execute(&db.prepare_cached(&sql).await?, &refs(&params)).await?;
    all_there(table, done, rows.len())
}

fn all_there(table: &Table, done: u64, wanted: usize) -> Result<(), StoreError> {
    if usize::try_from(done) == Ok(wanted) {
        return Ok(());
    }
    Err(StoreError::Busy(format!("{} of {wanted} rows of {} are there; the others went or moved meanwhile", done, table.name)))
}

/// The stamps' columns, in the order of [`STAMP_TYPES`]; `synced_at` is the transaction's time.
fn stamp_names(table: &Table) -> impl Iterator<Item = String> {
    let stamps = &table.stamps;
    let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| quote(name));
    ["rejoin_scope".to_owned(), "rejoin_tick".to_owned()].into_iter().chain(mapped)
}

const STAMP_TYPES: [&str; 5] = ["text", "bigint", "bigint", "text", "text"];

fn stamp_values(first: usize) -> impl Iterator<Item = String> {
    let plain = (first..first + 3).map(|no| format!("u.c{no}"));
    plain.chain([format!("coalesce(u.c{}::timestamptz, now())", first + 3), format!("u.c{}", first + 4), "now()".to_owned()])
}

fn stamp_arrays<'a>(rows: &[RowWrite<'a>]) -> [Param<'a>; 5] {
    [
        Box::new(rows.iter().map(|write| write.scope.0.as_str()).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|write| write.tick.0).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|write| write.version).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|write| write.updated_at).collect::<Vec<_>>()),
        Box::new(rows.iter().map(|write| write.modified_by).collect::<Vec<_>>()),
    ]
}

/// `unnest($1::a[], $2::b[]) AS alias(c0, c1)`.
pub(crate) fn unnest(alias: &str, types: &[&str], first: usize) -> String {
    let arrays: Vec<String> = types.iter().enumerate().map(|(no, ty)| format!("${}::{ty}[]", first + no)).collect();
    let names: Vec<String> = (0..types.len()).map(|no| format!("c{no}")).collect();
    format!("unnest({}) AS {alias}({})", arrays.join(", "), names.join(", "))
}

/// The array types that carry a table's keys.
pub(crate) fn key_types(table: &Table) -> Vec<&'static str> {
    table.key_columns().map(|column| array_type(&column.ty)).collect()
}

/// `t`'s key equals the first columns of the unnested `alias`.
pub(crate) fn key_matches(table: &Table, alias: &str) -> String {
    key_matches_from(table, alias, 0)
}

fn key_matches_from(table: &Table, alias: &str, first: usize) -> String {
    let conditions = table.key_columns().enumerate().map(|(no, column)| {
        let element = compared(column, &format!("{alias}.c{}", first + no));
        format!("t.{} = {element}", quote(&column.name))
    });
    conditions.collect::<Vec<_>>().join(" AND ")
}
