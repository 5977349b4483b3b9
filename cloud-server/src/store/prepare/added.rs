//! What the rows hold that were there when a column was added ([`Column::added`]).

use sync_core::catalog::{Column, DefaultValue, Table};
use sync_core::value::{ColumnType, Value};
use tokio_postgres::Transaction;

use super::publish::Motion;
use crate::store::capture::literal;
use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

/// Gives every column what was there when it was added: as the last catalog says, or for a new column as PostgreSQL's catalog says. Returns
/// for each new column the condition under which a row holds anything else.
pub(super) async fn give(transaction: &Transaction<'_>, motion: &Motion<'_>, table: &mut Table) -> Result<Vec<String>, StoreError> {
    let name = table_sql(table);
    let mut others = Vec::new();
    for column in &mut table.columns {
        if let Some(old) = motion.old.column(column.no) {
            column.added = old.added.as_ref().and_then(|added| converted(added, column));
            continue;
        }
        let own = quote(&column.name);
        let mut other = format!("{own} IS NOT NULL");
        if let Some(text) = candidate(transaction, motion, &name, column).await? {
            column.added = value(transaction, column, &text).await?;
            if column.added.is_some() {
                other = format!("{own}::text IS DISTINCT FROM CAST({} AS {})::text", literal(&text), column.sql_type);
            }
        }
        others.push(other);
    }
    Ok(others)
}

/// A value of the column's former type.
fn converted(added: &Value, column: &Column) -> Option<Value> {
    column.ty.accept(added.clone()).or_else(|_| column.ty.parse(&added.to_text())).ok()
}

/// The value in PostgreSQL's text form. Whatever it is, rows that hold anything else are fed.
async fn candidate(transaction: &Transaction<'_>, motion: &Motion<'_>, table: &str, column: &Column) -> Result<Option<String>, StoreError> {
    let found = motion.found.and_then(|found| found.column_named(&column.name));
    if let Some(missing) = found.and_then(|found| found.missing.clone()) {
        return Ok(Some(missing));
    }
    // The table was written anew since, and the constant went into the rows.
    if motion.rewritten && matches!(column.default, Some(DefaultValue::Constant(_))) {
        let sql = format!("SELECT {}::text FROM {table} LIMIT 1", quote(&column.name));
        return Ok(transaction.query_opt(&sql, &[]).await?.and_then(|row| row.get(0)));
    }
    Ok(None)
}

/// `None` where the column's type cannot hold it: sites take it for NULL then.
async fn value(transaction: &Transaction<'_>, column: &Column, text: &str) -> Result<Option<Value>, StoreError> {
    let cast = format!("CAST($1::text AS {})", column.sql_type);
    let sql = match column.ty {
        ColumnType::Array(_) => format!("SELECT to_jsonb({cast})::text"),
        _ => format!("SELECT {cast}::text"),
    };
    let text: String = transaction.query_one(&sql, &[&text]).await?.get(0);
    Ok(column.ty.parse(&text).ok())
}
