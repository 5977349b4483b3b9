//! When columns of the policy `newest` were edited: what the triggers noted is read, and what the site says of its own edits takes its place.

use std::collections::HashMap;

use sync_core::catalog::Table;
use sync_core::change::{Edit, Op};
use sync_core::id::{ColumnNo, Key};
use sync_core::policy::Policy;

use super::set::{Item, Set};
use crate::store::bulk::unnest;
use crate::store::error::StoreError;
use crate::store::row::{Param, refs};
use crate::store::tombstone::{key_text_sql, key_text_types, key_texts, read_key};
use crate::store::tx::WriteTx;

/// Canonical text of a `timestamptz`.
const CANONICAL: &str = r#"'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"#;

impl Set<'_> {
    /// Reads when the `newest` columns of these rows were last edited at the cloud, and what time it is.
    pub(super) async fn read_times(&mut self, tx: &WriteTx<'_>, table: &Table, indexes: &[usize]) -> Result<(), StoreError> {
        if !has_newest(table) || indexes.is_empty() {
            return Ok(());
        }
        if self.received.is_empty() {
            let now = format!("SELECT to_char(now() AT TIME ZONE 'UTC', {CANONICAL})");
            self.received = tx.query_one(&tx.prepare_cached(&now).await?, &[]).await?.try_get(0)?;
        }
        let sql = format!(
            "SELECT e.key, e.column_no, to_char(e.at AT TIME ZONE 'UTC', {CANONICAL}) FROM {}, rejoin.edit_times e
             WHERE e.table_no = ${} AND e.key = {}",
            unnest("k", &key_text_types(table).collect::<Vec<_>>(), 1),
            table.key.len() + 1,
            key_text_sql(table, "k", 0),
        );
        let keys: Vec<&Key> = indexes.iter().map(|index| self.items[*index].cloud_key()).collect();
        let mut params: Vec<Param<'_>> = key_texts(table, &keys).into_iter().map(|param| param as Param<'_>).collect();
        params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
        let mut times: HashMap<Key, Vec<(ColumnNo, String)>> = HashMap::new();
        for row in tx.query(&tx.prepare_cached(&sql).await?, &refs(&params)).await? {
            let column = ColumnNo(u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or_default());
            times.entry(read_key(table, &row.try_get::<_, Vec<String>>(0)?)?).or_default().push((column, row.try_get(2)?));
        }
        for index in indexes {
            self.items[*index].times = times.remove(self.items[*index].cloud_key()).unwrap_or_default();
        }
        Ok(())
    }

    /// Notes when the site made the edits that were taken: by its own clock, but never later than they were received, nor earlier than the
    /// edit that they were made on.
    pub(super) async fn note_times(&self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        for table in self.catalog.tables.iter().filter(|table| has_newest(table)) {
            let of_table = self.items.iter().filter(|item| item.table.no == table.no);
            let taken: Vec<(&Item<'_>, ColumnNo, String)> =
                of_table.flat_map(|item| taken(item).map(move |column| (item, column, self.time_of(item, column)))).collect();
            if taken.is_empty() {
                continue;
            }
            let types: Vec<&str> = ["integer", "text"].into_iter().chain(key_text_types(table)).collect();
            let sql = format!(
                "INSERT INTO rejoin.edit_times (table_no, key, column_no, at) SELECT ${}, {}, u.c0, u.c1::timestamptz FROM {}
                 ON CONFLICT (table_no, key, column_no) DO UPDATE SET at = excluded.at",
                types.len() + 1,
                key_text_sql(table, "u", 2),
                unnest("u", &types, 1),
            );
            let keys: Vec<&Key> = taken.iter().map(|(item, ..)| &item.change.key).collect();
            let mut params: Vec<Param<'_>> = vec![
                Box::new(taken.iter().map(|(_, column, _)| i32::try_from(column.0).unwrap_or_default()).collect::<Vec<_>>()),
                Box::new(taken.iter().map(|(.., time)| time.as_str()).collect::<Vec<_>>()),
            ];
            params.extend(key_texts(table, &keys));
            params.push(Box::new(i32::try_from(table.no.0).unwrap_or_default()));
            tx.execute(&tx.prepare_cached(&sql).await?, &refs(&params)).await?;
        }
        Ok(())
    }

    fn time_of(&self, item: &Item<'_>, column: ColumnNo) -> String {
        let time = |times: &[(ColumnNo, String)]| times.iter().find(|(no, _)| *no == column).map(|(_, time)| time.clone());
        let canonical =
            |time: &String| sync_core::value::ColumnType::Timestamptz.parse(time).is_ok_and(|value| value.to_text() == time.as_str());
        let said = time(&item.change.times).or_else(|| Some(item.change.stamp.updated_at.clone())).filter(canonical);
        // Canonical times are of one width, so that their text sorts as they do.
        let clamped = said.map_or_else(|| self.received.clone(), |said| said.min(self.received.clone()));
        time(&item.times).map_or(clamped.clone(), |before| before.max(clamped))
    }
}

fn has_newest(table: &Table) -> bool {
    table.columns.iter().any(|column| column.policy == Policy::Newest)
}

/// The `newest` columns that the push changed at the cloud.
fn taken<'i>(item: &'i Item<'_>) -> impl Iterator<Item = ColumnNo> + 'i {
    let edits: &[Edit] = match &item.change.op {
        Op::Update(edits) | Op::Rekey(_, edits) => edits,
        Op::Insert(_) | Op::Delete(_) => &[],
    };
    let written = item.write().zip(item.current.as_ref());
    edits.iter().filter_map(move |edit| {
        let (write, current) = written?;
        let at = item.table.position(edit.column)?;
        let changed = write.row[at] == edit.new && current.row[at] != edit.new;
        (changed && item.table.columns[at].policy == Policy::Newest).then_some(edit.column)
    })
}
