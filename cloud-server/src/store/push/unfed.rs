//! Rows that wait to be fed again ([`crate::store::prepare::feeding`]): their sites hold what they make of them until then, which the cloud does not
//! know. A feed passes over what is written meanwhile, so the answer must bring the row; and nobody saw a placeholder as a value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sync_core::catalog::Catalog;
use sync_core::change::{Op, RowChange};
use sync_core::id::{ColumnNo, ScopeId, TableNo};
use sync_core::value::Value;

use super::set::{Item, Set};
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

impl Set<'_> {
    /// Marks them, once they are locked: none of them is fed from then on.
    pub(super) async fn look_up_unfed(&mut self, tx: &WriteTx<'_>) -> Result<(), StoreError> {
        let there = self.items.iter().filter_map(|item| Some((item.table.no.0.cast_signed(), item.from()?.0.as_str())));
        let (tables, scopes): (BTreeSet<i32>, BTreeSet<&str>) = there.unzip();
        let (tables, scopes): (Vec<i32>, Vec<&str>) = (tables.into_iter().collect(), scopes.into_iter().collect());
        // Where a feed has not begun, any row may wait for it.
        let sql = "SELECT f.table_no, u.scope, max(CASE WHEN EXISTS (SELECT FROM rejoin.feed_heads b WHERE b.feed = f.id)
                       THEN coalesce(h.head, 0) ELSE 9223372036854775807 END)
                   FROM rejoin.feeds f CROSS JOIN unnest($2::text[]) AS u(scope)
                   LEFT JOIN rejoin.feed_heads h ON h.feed = f.id AND h.scope = u.scope
                   WHERE f.table_no = ANY($1) GROUP BY 1, 2";
        let rows = tx.query(&tx.prepare_cached(sql).await?, &[&tables, &scopes]).await?;
        let heads = rows.iter().map(|row| Ok(((row.try_get::<_, i32>(0)?.cast_unsigned(), ScopeId(row.try_get(1)?)), row.try_get(2)?)));
        let heads: BTreeMap<(u32, ScopeId), i64> = heads.collect::<Result<_, tokio_postgres::Error>>()?;
        if heads.is_empty() {
            return Ok(());
        }
        let fresh = self.fresh(tx, &tables).await?;
        for item in &mut self.items {
            let Some(current) = &item.current else { continue };
            if heads.get(&(item.table.no.0, current.at.scope.clone())).is_some_and(|head| current.at.tick.0 <= *head) {
                item.unfed = Some(fresh.get(&item.table.no).cloned().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// The columns that came with the catalogs for whose sake the tables are fed.
    async fn fresh(&self, tx: &WriteTx<'_>, tables: &[i32]) -> Result<BTreeMap<TableNo, Vec<ColumnNo>>, StoreError> {
        let sql = "SELECT f.table_no, (SELECT c.body FROM rejoin.catalogs c WHERE c.published_at < f.at ORDER BY c.version DESC LIMIT 1)
                   FROM rejoin.feeds f WHERE f.table_no = ANY($1)";
        let mut fresh: BTreeMap<TableNo, Vec<ColumnNo>> = BTreeMap::new();
        for row in tx.query(&tx.prepare_cached(sql).await?, &[&tables]).await? {
            let no = TableNo(row.try_get::<_, i32>(0)?.cast_unsigned());
            let Some(before) = row.try_get::<_, Option<serde_json::Value>>(1)? else { continue };
            let before: Catalog =
                serde_json::from_value(before).map_err(|error| StoreError::Corrupt(format!("a published catalog: {error}")))?;
            let Some((table, was)) = self.catalog.table(no).zip(before.table(no)) else { continue };
            let new = table.columns.iter().map(|column| column.no).filter(|column| was.column(*column).is_none());
            fresh.entry(no).or_default().extend(new);
        }
        Ok(fresh)
    }
}

impl Item<'_> {
    /// The change without what it says of values that its author never saw: it was made on the very image that waits to be fed, which holds a
    /// placeholder there.
    pub(super) fn seen_change(&self) -> Cow<'_, RowChange> {
        let (Some(fresh), Some(current)) = (&self.unfed, &self.current) else { return Cow::Borrowed(self.change) };
        if fresh.is_empty() || self.change.base.as_ref() != Some(&current.at) {
            return Cow::Borrowed(self.change);
        }
        let unseen = |no: ColumnNo, value: &Value| {
            let column = self.table.column(no).filter(|_| fresh.contains(&no));
            column.is_some_and(|column| column.added.as_ref().unwrap_or(&Value::Null) == value)
        };
        let op = match &self.change.op {
            Op::Delete(base) => Op::Delete(base.iter().filter(|(no, value)| !unseen(*no, value)).cloned().collect()),
            Op::Update(edits) => {
                Op::Update(edits.iter().filter(|edit| edit.base != edit.new || !unseen(edit.column, &edit.base)).cloned().collect())
            }
            other => other.clone(),
        };
        Cow::Owned(RowChange { op, ..self.change.clone() })
    }
}
