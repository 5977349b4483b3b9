//! Writes by people and programs: load, decide, write, in one transaction.

use conflict_ui_api::backend::{Principal, Record, Write};
use conflict_ui_api::error::BackendError;
use rusqlite::{Connection, ToSql, params_from_iter};
use sync_core::catalog::{Catalog, Column, OnDelete, Reference, Table, Travel};
use sync_core::change::etag;
use sync_core::id::Key;
use sync_core::limits::VALUE_BYTES_MAX;
use sync_core::value::Value;
use sync_core::write::{Draft, FieldError, insert_row, update_row};
use uuid::Uuid;

use super::closure::{Closure, Follow, walk};
use super::refusal::explain;
use super::{Found, Result, read, record};
use crate::store::error::StoreError;
use crate::store::leases;
use crate::store::rows::{Bound, HeldState, base_table, column_list, live_by_key, live_table, quoted, read_key};
use crate::store::schema::default_sql;

/// One write on its way.
pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) catalog: &'a Catalog,
    pub(super) by: &'a Principal,
    /// The one `updated_at` of all that this write changes, by which a restore knows the set again.
    pub(super) now: String,
}

impl Writer<'_> {
    pub(super) fn run(&self, table: &Table, write: &Write) -> Result<Record> {
        if table.travel == Travel::Down {
            let words = format!("{} is not written at sites: it travels down only. Write it at the cloud", table.path);
            return Err(BackendError::Unsupported(words));
        }
        match write {
            Write::Create(draft) => self.create(table, draft),
            Write::Update { key, draft, if_match } => self.update(table, key, draft, if_match.as_deref()),
            Write::Delete { key, if_match } => self.delete(table, key, if_match.as_deref()),
            Write::Restore { key } => self.restore(table, key),
        }
    }

    fn create(&self, table: &Table, draft: &Draft) -> Result<Record> {
        let row = insert_row(self.catalog, table, draft, &self.now, Uuid::now_v7).map_err(BackendError::Invalid)?;
        self.refuse_too_large(table, &row)?;
        let key = table.key_of(&row);
        if let Some(column) = leases::missing(self.connection, table, &row)? {
            return Err(BackendError::NoNumbers(leases::exhausted(table, column)));
        }
        // A held row and a ghost hold their key, too.
        if live_by_key(self.connection, table, &key)?.is_some() {
            let columns = table.key_columns().map(|column| column.name.clone()).collect();
            return Err(BackendError::Duplicate { table: table.path.clone(), columns });
        }
        self.check_references(table, &row, None)?;
        let stamps = &table.stamps;
        let values: Vec<_> = (1..=row.len()).map(|at| format!("?{at}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}, {}, {}, {}) VALUES ({}, 1, ?{}, ?{})",
            live_table(table),
            column_list(table, ""),
            quoted(&stamps.version),
            quoted(&stamps.updated_at),
            quoted(&stamps.last_modified_by),
            values.join(", "),
            row.len() + 1,
            row.len() + 2
        );
        let mut params: Vec<Bound<'_>> = row.iter().map(Bound).collect();
        let (now, by) = (Value::Text(self.now.clone()), Value::Text(self.by.name.clone()));
        params.extend([Bound(&now), Bound(&by)]);
        self.execute(table, &sql, params_from_iter(params))?;
        let key = if key.0.iter().any(Value::is_null) { self.made_key(table)? } else { key };
        self.reread(table, &key)
    }

    /// The key of the row that was inserted just now, with the numbers that it took.
    fn made_key(&self, table: &Table) -> Result<Key> {
        let names: Vec<_> = table.key_columns().map(|column| quoted(&column.name)).collect();
        let sql = format!("SELECT {} FROM {} WHERE rejoin_row = ?1", names.join(", "), live_table(table));
        let row = self.connection.last_insert_rowid();
        let key =
            self.connection.prepare_cached(&sql).and_then(|mut statement| statement.query_row([row], |row| Ok(read_key(table, row, 0))));
        Ok(key.map_err(StoreError::from)??)
    }

    fn update(&self, table: &Table, key: &Key, draft: &Draft, if_match: Option<&[String]>) -> Result<Record> {
        let current = self.current(table, key, if_match)?;
        let before = &current.live.live.row;
        let next = update_row(self.catalog, table, before, draft).map_err(BackendError::Invalid)?;
        let changed: Vec<usize> = (0..next.len()).filter(|at| next[*at] != before[*at]).collect();
        if changed.is_empty() {
            return Ok(record(current));
        }
        let read_only = |at: &&usize| table.key.contains(&table.columns[**at].no) || table.soft_delete == Some(table.columns[**at].no);
        if let Some(at) = changed.iter().find(read_only) {
            let field = self.catalog.field(table, &table.columns[*at]);
            let detail = format!("{field} cannot be changed by an update");
            return Err(BackendError::Invalid(vec![FieldError { field, code: "read_only", detail }]));
        }
        self.refuse_too_large(table, &next)?;
        self.check_references(table, &next, Some(before))?;
        let sets: Vec<_> =
            changed.iter().enumerate().map(|(at, position)| format!("{} = ?{}", quoted(&table.columns[*position].name), at + 4)).collect();
        let values: Vec<_> = changed.iter().map(|at| Bound(&next[*at])).collect();
        self.change(table, current.live.rejoin_row, &sets, &values)?;
        self.reread(table, key)
    }

    fn delete(&self, table: &Table, key: &Key, if_match: Option<&[String]>) -> Result<Record> {
        let current = self.current(table, key, if_match)?;
        let soft = table.soft_delete.is_some();
        let follow = if soft { Follow::Mark } else { Follow::Remove };
        let closure = walk(self.connection, self.catalog, table, &current.live, follow)?;
        for (child, reference, rows) in &closure.cleared {
            let columns: Vec<&Column> = reference.columns.iter().filter_map(|no| child.column(*no)).collect();
            let default = |column: &Column| column.default.as_ref().and_then(|default| default_sql(column, default));
            let value = |column: &Column| if reference.on_delete == OnDelete::SetDefault { default(column) } else { None };
            let set = |column: &&Column| format!("{} = {}", quoted(&column.name), value(column).unwrap_or_else(|| "NULL".to_owned()));
            let sets: Vec<_> = columns.iter().map(set).collect();
            rows.iter().try_for_each(|row| self.change(child, *row, &sets, &[]))?;
        }
        if soft {
            self.mark(&closure, true)?;
            return self.reread(table, key);
        }
        for (taken, rows) in closure.taken.iter().rev() {
            rows.iter().try_for_each(|row| self.remove(taken, *row))?;
        }
        Ok(record(current))
    }

    fn restore(&self, table: &Table, key: &Key) -> Result<Record> {
        let current = read(self.connection, table, key)?.ok_or_else(|| not_found(table, key))?;
        if table.is_soft_deleted(&current.live.live.row) {
            let follow = Follow::Restore(&current.live.live.stamp.updated_at);
            let closure = walk(self.connection, self.catalog, table, &current.live, follow)?;
            self.mark(&closure, false)?;
        }
        self.reread(table, key)
    }

    /// Sets or clears the mark of all that a delete takes.
    fn mark(&self, closure: &Closure<'_>, deleted: bool) -> Result<()> {
        for (table, rows) in &closure.taken {
            let Some(mark) = table.soft_delete.and_then(|no| table.column(no)) else { continue };
            let sets = [format!("{} = {}", quoted(&mark.name), i64::from(deleted))];
            rows.iter().try_for_each(|row| self.change(table, *row, &sets, &[]))?;
        }
        Ok(())
    }

    /// Changes one row with its stamps. `values` are bound from ?4 on.
    fn change(&self, table: &Table, rejoin_row: i64, sets: &[String], values: &[Bound<'_>]) -> Result<()> {
        let stamps = &table.stamps;
        let sql = format!(
            "UPDATE {} SET {}, {version} = {version} + 1, {} = ?2, {} = ?3, {} = NULL WHERE rejoin_row = ?1",
            live_table(table),
            sets.join(", "),
            quoted(&stamps.updated_at),
            quoted(&stamps.last_modified_by),
            quoted(&stamps.synced_at),
            version = quoted(&stamps.version),
        );
        let mut params: Vec<&dyn ToSql> = vec![&rejoin_row, &self.now, &self.by.name];
        params.extend(values.iter().map(|value| value as &dyn ToSql));
        self.execute(table, &sql, params.as_slice())
    }

    /// Removes one row, children before parents; the trigger keeps its image, we say who it was.
    fn remove(&self, table: &Table, rejoin_row: i64) -> Result<()> {
        self.execute(table, &format!("DELETE FROM {} WHERE rejoin_row = ?1", live_table(table)), [rejoin_row])?;
        let sql = format!("UPDATE {} SET rejoin_gone_by = ?2, rejoin_gone_at = ?3 WHERE rejoin_row = ?1", base_table(table));
        self.execute(table, &sql, (rejoin_row, &self.by.name, &self.now))
    }

    /// References that are new must name live rows, also those that SQLite does not declare.
    fn check_references(&self, table: &Table, row: &[Value], before: Option<&[Value]>) -> Result<()> {
        for reference in &table.references {
            let Some(target) = self.catalog.table(reference.table) else { continue };
            let same = |at: usize| before.is_some_and(|before| before[at] == row[at]);
            if !table.refers(reference, row) || reference.deciding().filter_map(|no| table.position(no)).all(same) {
                continue;
            }
            let named = table.referred(reference, target, row);
            if !named.map_or(Ok(false), |named| self.there(table, reference, target, row, &named))? {
                let names = reference.columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str());
                let column = names.collect::<Vec<_>>().join(", ");
                return Err(BackendError::BadReference { column, target: target.path.clone() });
            }
        }
        Ok(())
    }

    fn there(&self, table: &Table, reference: &Reference, target: &Table, row: &[Value], named: &[Value]) -> Result<bool> {
        // A row may refer to itself.
        if target.no == table.no && table.named_by(reference, row).as_deref() == Some(named) {
            return Ok(true);
        }
        // A row that is not here may be at the cloud, which judges.
        if !target.is_held_whole() {
            return Ok(true);
        }
        let columns = reference.target.iter().filter_map(|no| target.column(*no));
        let conditions: Vec<_> = columns.enumerate().map(|(at, column)| format!("{} = ?{}", quoted(&column.name), at + 1)).collect();
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE {} AND rejoin_held <> {})",
            live_table(target),
            conditions.join(" AND "),
            HeldState::Ghost as i64
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(StoreError::from)?;
        Ok(statement.query_row(params_from_iter(named.iter().map(Bound)), |row| row.get(0)).map_err(StoreError::from)?)
    }

    /// What the wire cannot carry is refused here and not weeks later.
    fn refuse_too_large(&self, table: &Table, row: &[Value]) -> Result<()> {
        let size = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        match table.columns.iter().zip(row).find(|(_, value)| size(value) > VALUE_BYTES_MAX) {
            None => Ok(()),
            Some((column, _)) => {
                let field = self.catalog.field(table, column);
                let detail = format!("{field} holds at most {VALUE_BYTES_MAX} bytes");
                Err(BackendError::Invalid(vec![FieldError { field, code: "too_long", detail }]))
            }
        }
    }

    /// The record as it is, if it may be changed.
    fn current(&self, table: &Table, key: &Key, if_match: Option<&[String]>) -> Result<Found> {
        let current = read(self.connection, table, key)?.filter(|found| !table.is_soft_deleted(&found.live.live.row));
        let current = current.ok_or_else(|| not_found(table, key))?;
        let tag = etag(table, current.live.live.stamp.version, &current.live.live.row);
        match if_match {
            Some(tags) if !tags.contains(&tag) => Err(BackendError::Stale(Box::new(record(current)))),
            _ => Ok(current),
        }
    }

    fn reread(&self, table: &Table, key: &Key) -> Result<Record> {
        read(self.connection, table, key)?.map(record).ok_or_else(|| not_found(table, key))
    }

    fn execute(&self, table: &Table, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params));
        done.map(drop).map_err(|error| explain(self.catalog, table, error))
    }
}

fn not_found(table: &Table, key: &Key) -> BackendError {
    BackendError::NotFound(format!("{}/{key}", table.path))
}
