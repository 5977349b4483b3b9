//! Open conflicts are known by the new key where it can be told; others stay, to be decided for the cloud.

use std::collections::BTreeSet;

use sync_core::catalog::{Column, Table};
use sync_core::id::Key;
use sync_core::value::{Cast, Value};
use sync_core::write::row_from_json;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

const OPEN: &str = "SELECT id, record_id, cloud_record_id, cloud_data, base_data, local_data, replica, kind FROM rejoin.sync_conflicts
    WHERE table_no = $1 AND resolution = 'PENDING' ORDER BY created_at, id";

pub(super) async fn follow(transaction: &Transaction<'_>, old: &Table, table: &Table) -> Result<(), StoreError> {
    let (mut ids, mut records, mut against) = (Vec::<Uuid>::new(), Vec::<String>::new(), Vec::<Option<String>>::new());
    let mut taken: BTreeSet<(Uuid, String)> = BTreeSet::new();
    for row in transaction.query(OPEN, &[&table.no.0.cast_signed()]).await? {
        let (record, replica): (String, Uuid) = (row.get(1), row.get(6));
        let (own, other) = if old.key == table.key { retyped(old, table, &row) } else { renamed(table, &row) };
        let Some(own) = own.filter(|own| own.to_string() != record) else { continue };
        // What is at the cloud under the new key, and was not under the old one, is another row.
        if old.key == table.key && !was_there(transaction, old, &row).await? && is_there(transaction, table, &own).await? {
            continue;
        }
        if taken.insert((replica, own.to_string())) {
            ids.push(row.get(0));
            records.push(own.to_string());
            against.push(other.map(|key| key.to_string()));
        }
    }
    let sql = "UPDATE rejoin.sync_conflicts c SET record_id = u.record, cloud_record_id = u.against
               FROM unnest($1::uuid[], $2::text[], $3::text[]) u(id, record, against)
               WHERE c.id = u.id AND NOT EXISTS (SELECT FROM rejoin.sync_conflicts o WHERE o.table_no = c.table_no AND o.record_id = u.record
                   AND o.replica = c.replica AND o.resolution = 'PENDING')";
    transaction.execute(sql, &[&ids, &records, &against]).await?;
    Ok(())
}

/// The keys of a conflict's row and of the one against it, of the same columns: as PostgreSQL made the rows' keys.
fn retyped(old: &Table, table: &Table, row: &tokio_postgres::Row) -> (Option<Key>, Option<Key>) {
    let key = |record: &str| -> Option<Key> {
        let key = known(old, record)?;
        let values = table.key.iter().zip(&key.0).map(|(no, value)| {
            let cast = Cast::between(old.column(*no)?, table.column(*no)?);
            cast.apply(value).filter(|value| !value.is_null())
        });
        values.collect::<Option<Vec<Value>>>().map(Key)
    };
    (key(row.get(1)), row.get::<_, Option<&str>>(2).and_then(key))
}

/// The key that a conflict is known by; `None` of one that an older catalog made and that could not follow then.
fn known(old: &Table, record: &str) -> Option<Key> {
    old.parse_key(record).ok().flatten().filter(|key| key.to_string() == record)
}

/// The same, of other columns: by what the conflict holds.
fn renamed(table: &Table, row: &tokio_postgres::Row) -> (Option<Key>, Option<Key>) {
    let data: Vec<Option<serde_json::Value>> = (3..6).map(|at| row.get(at)).collect();
    let key = |order: &[usize]| -> Option<Key> {
        let rows: Vec<_> = order.iter().filter_map(|at| data[*at].as_ref()).map(|json| row_from_json(table, json)).collect();
        let value = |at: usize| rows.iter().find_map(|row| row[at].clone().filter(|value| !value.is_null()));
        table.key_positions().map(value).collect::<Option<Vec<Value>>>().map(Key)
    };
    match row.get::<_, Option<&str>>(2) {
        Some(_) => (key(&[1, 2]), key(&[0])),
        None => (key(&[0, 1, 2]), None),
    }
}

/// Whether the cloud had the conflict's row under its old key until now.
async fn was_there(transaction: &Transaction<'_>, old: &Table, row: &tokio_postgres::Row) -> Result<bool, StoreError> {
    let (kind, based): (&str, bool) = (row.get(7), row.get::<_, Option<serde_json::Value>>(4).is_some());
    let insert = !based && row.get::<_, Option<serde_json::Value>>(5).is_some() && kind != "insert_insert";
    let Some(key) = known(old, row.get(1)).filter(|_| !insert && kind != "update_delete") else { return Ok(false) };
    let key = texts(&key);
    let sql = "SELECT EXISTS (SELECT FROM rejoin.tombstones WHERE table_no = $1 AND key = $2 AND NOT left_scope)";
    Ok(!transaction.query_one(sql, &[&old.no.0.cast_signed(), &key]).await?.get::<_, bool>(0))
}

async fn is_there(transaction: &Transaction<'_>, table: &Table, key: &Key) -> Result<bool, StoreError> {
    let texts = texts(key);
    let value = |(at, column): (usize, &Column)| format!("t.{} = ($1::text[])[{}]::{}", quote(&column.name), at + 1, column.sql_type);
    let is_key: Vec<String> = table.key_columns().enumerate().map(value).collect();
    let sql = format!("SELECT EXISTS (SELECT FROM {} t WHERE {})", table_sql(table), is_key.join(" AND "));
    Ok(transaction.query_one(&sql, &[&texts]).await?.get(0))
}

fn texts(key: &Key) -> Vec<String> {
    key.0.iter().map(|value| value.to_text().into_owned()).collect()
}
