//! A row's companions: its base and the newest cloud image beside it.

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{ToSql, params_from_iter};
use sync_core::catalog::Table;
use sync_core::change::{Image, State};
use sync_core::id::Key;
use sync_core::site::SiteRow;
use sync_core::value::Value;

use super::SyncWriter;
use crate::store::entry::Entry;
use crate::store::error::Result;
use crate::store::noted;
use crate::store::plan::{DirtySql, TableSql};
use crate::store::rows::{Bound, read_key};

impl SyncWriter<'_> {
    pub(super) fn save_base(&self, table: &Table, sql: &TableSql, before: &Entry, after: &SiteRow, rejoin_row: Option<i64>) -> Result<()> {
        let Some(dirty) = &sql.dirty else { return Ok(()) };
        if sql.noted {
            noted::save(self.connection, table, (before.rejoin_row, rejoin_row), &before.row, after)?;
        }
        let base = after.base.as_ref();
        if base == before.row.base.as_ref() && rejoin_row == before.rejoin_row {
            return Ok(());
        }
        if let (Some(old), Some(_)) = (before.rejoin_row, &before.row.base)
            && (base.is_none() || rejoin_row != Some(old))
        {
            self.connection.prepare_cached(&dirty.delete_base)?.execute([old])?;
        }
        let (Some(base), Some(rejoin_row)) = (base, rejoin_row) else { return Ok(()) };
        let mark = before.mark.as_ref();
        let mut values: Vec<Sql> = vec![rejoin_row.into(), if base.row.is_some() { "change" } else { "insert" }.to_owned().into()];
        let inserted_key = mark.map(|mark| &mark.key);
        for (at, column) in table.columns.iter().enumerate() {
            let value = match (&base.row, table.key.iter().position(|no| *no == column.no)) {
                (Some(row), _) => row.get(at),
                (None, Some(place)) => inserted_key.and_then(|key| key.0.get(place)),
                (None, None) => None,
            };
            values.push(owned(value.unwrap_or(&Value::Null)));
        }
        let push_no = mark.and_then(|mark| mark.push_no).filter(|_| base.in_flight);
        let (gone_version, gone_at, gone_by) = mark.map(|mark| mark.gone.clone()).unwrap_or_default();
        values.extend([
            base.version.into(),
            base.at.as_ref().map(|at| at.scope.0.clone()).into(),
            base.at.as_ref().map(|at| at.tick.0).into(),
            base.synced_at.clone().into(),
            push_no.into(),
            base.held.map(|(conflict, _)| conflict.to_string()).into(),
            base.held.map(|(_, digest)| digest.to_vec()).into(),
            gone_version.into(),
            gone_at.into(),
            gone_by.into(),
        ]);
        self.connection.prepare_cached(&dirty.put_base)?.execute(params_from_iter(values))?;
        Ok(())
    }

    pub(super) fn put_theirs(&self, table: &Table, dirty: &DirtySql, key: &Key, image: &Image) -> Result<()> {
        let mut values: Vec<Sql> = Vec::with_capacity(table.columns.len() + 7);
        for (at, column) in table.columns.iter().enumerate() {
            let value = match (image.row(), table.key.iter().position(|no| *no == column.no)) {
                (Some(row), _) => row.get(at),
                (None, Some(place)) => key.0.get(place),
                (None, None) => None,
            };
            values.push(owned(value.unwrap_or(&Value::Null)));
        }
        let state = match image.state {
            State::Live(_) => "live",
            State::Deleted => "deleted",
            State::Left => "left",
        };
        values.extend([
            state.to_owned().into(),
            image.stamp.version.into(),
            image.stamp.updated_at.clone().into(),
            image.stamp.modified_by.clone().into(),
            image.stamp.synced_at.clone().into(),
            image.at.scope.0.clone().into(),
            image.at.tick.0.into(),
        ]);
        self.connection.prepare_cached(&dirty.put_theirs)?.execute(params_from_iter(values))?;
        Ok(())
    }

    pub(super) fn delete_theirs(&self, dirty: &DirtySql, key: &Key) -> Result<()> {
        self.connection.prepare_cached(&dirty.delete_theirs)?.execute(params_from_iter(key.0.iter().map(Bound)))?;
        Ok(())
    }

    pub(super) fn theirs_keys(&self, table: &Table, dirty: &DirtySql) -> Result<Vec<Key>> {
        let mut statement = self.connection.prepare_cached(&dirty.theirs_keys)?;
        let mut rows = statement.query([])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.push(read_key(table, row, 0)?);
        }
        Ok(keys)
    }
}

fn owned(value: &Value) -> Sql {
    match value {
        Value::Text(text) => Sql::Text(text.clone()),
        Value::Bytes(bytes) => Sql::Blob(bytes.clone()),
        other => match Bound(other).to_sql() {
            Ok(ToSqlOutput::Owned(sql)) => sql,
            Ok(ToSqlOutput::Borrowed(ValueRef::Text(text))) => Sql::Text(String::from_utf8_lossy(text).into_owned()),
            _ => Sql::Null,
        },
    }
}
