//! Sequences that stand behind numbers which sites were leased: TRUNCATE .. RESTART IDENTITY and setval put them there, and they would give
//! those numbers to rows of the cloud's own programs as well.

use sync_core::catalog::Catalog;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient};

use crate::store::error::StoreError;
use crate::store::introspect::leased::SEQUENCE_OF;
use crate::store::pace::wait_briefly;
use crate::store::row::table_sql;

/// A sequence that would give leased numbers again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind {
    oid: u32,
    /// Its name.
    pub(crate) sequence: String,
    /// The table that it numbers: schema and name.
    pub(crate) table: (String, String),
    /// The column.
    pub(crate) column: String,
    /// The furthest number that a site was leased.
    pub(crate) leased: i64,
}

/// Every one there is; those that begin anew at their end are left alone. One query, a few looks into an index for each leased column.
///
/// # Errors
/// The store failed.
pub(crate) async fn behind(db: &impl GenericClient, catalog: &Catalog) -> Result<Vec<Behind>, StoreError> {
    let leased = catalog.tables.iter().flat_map(|table| table.leased_columns().map(move |column| (table, column)));
    let mut asked: (Vec<i32>, Vec<i32>, Vec<String>, Vec<&str>) = Default::default();
    for (table, column) in leased {
        asked.0.push(table.no.0.cast_signed());
        asked.1.push(column.no.0.cast_signed());
        asked.2.push(table_sql(table));
        asked.3.push(&column.name);
    }
    if asked.0.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT q.seqrelid, q.seqrelid::regclass::text, u.table_no, u.name, f.last
         FROM unnest($1::integer[], $2::integer[], $3::text[], $4::text[]) AS u(table_no, column_no, place, name)
         JOIN pg_attribute a ON a.attrelid = to_regclass(u.place) AND a.attname = u.name AND NOT a.attisdropped
         JOIN pg_sequence q ON q.seqrelid = {SEQUENCE_OF} AND NOT q.seqcycle
         CROSS JOIN LATERAL (
             SELECT CASE WHEN q.seqincrement > 0
                 THEN (SELECT l.last FROM rejoin.leases l WHERE l.table_no = u.table_no AND l.column_no = u.column_no ORDER BY l.first DESC LIMIT 1)
                 ELSE (SELECT l.last FROM rejoin.leases l WHERE l.table_no = u.table_no AND l.column_no = u.column_no ORDER BY l.first LIMIT 1)
             END AS last) f
         WHERE f.last BETWEEN q.seqmin AND q.seqmax AND CASE WHEN q.seqincrement > 0
             THEN coalesce(pg_sequence_last_value(q.seqrelid) < f.last, q.seqstart <= f.last)
             ELSE coalesce(pg_sequence_last_value(q.seqrelid) > f.last, q.seqstart >= f.last) END"
    );
    let rows = db.query(&sql, &[&asked.0, &asked.1, &asked.2, &asked.3]).await?;
    let found = rows.iter().map(|row| {
        let no: i32 = row.try_get(2)?;
        let table = catalog.tables.iter().find(|table| table.no.0 == no.cast_unsigned());
        let table = table.map(|table| (table.schema.clone(), table.name.clone())).unwrap_or_default();
        Ok(Behind { oid: row.try_get(0)?, sequence: row.try_get(1)?, table, column: row.try_get(3)?, leased: row.try_get(4)? })
    });
    found.collect()
}

/// Sets them behind what was leased.
///
/// # Errors
/// Somebody holds one of them; the store failed.
pub(crate) async fn advance(db: &mut Client, catalog: &Catalog) -> Result<(), StoreError> {
    for Behind { sequence, .. } in behind(db, catalog).await? {
        let advanced = match advance_one(db, catalog, &sequence, true).await {
            // Another role's: nobody can be kept out meanwhile.
            Err(error) if error.sql_state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                advance_one(db, catalog, &sequence, false).await?
            }
            advanced => advanced?,
        };
        if let Some(leased) = advanced {
            tracing::warn!(%sequence, leased, "the sequence stood before numbers that sites were leased (TRUNCATE .. RESTART IDENTITY?): set behind them");
        }
    }
    Ok(())
}

/// Sets one behind what was leased, unless somebody has moved it on meanwhile: a sequence that goes back gives its numbers twice. `alone`: keeps
/// everybody out who would take a number, until it is done, as ALTER SEQUENCE does.
async fn advance_one(db: &mut Client, catalog: &Catalog, sequence: &str, alone: bool) -> Result<Option<i64>, StoreError> {
    let transaction = db.transaction().await?;
    transaction.batch_execute(&wait_briefly()).await?;
    if alone {
        transaction.batch_execute(&format!("ALTER SEQUENCE {sequence} NO CYCLE")).await?;
    }
    let still = behind(&transaction, catalog).await?.into_iter().find(|one| one.sequence == sequence);
    let Some(Behind { oid, leased, .. }) = still else { return Ok(None) };
    transaction.execute("SELECT setval($1::oid::regclass, $2)", &[&oid, &leased]).await?;
    transaction.commit().await?;
    Ok(Some(leased))
}
