//! Writes by people and programs, each one transaction: heads first, then the row under its lock, then what was decided.

use conflict_ui_api::backend::{Principal, Record, Write};
use conflict_ui_api::error::BackendError;
use sync_core::catalog::{Catalog, Column, DefaultValue, OnDelete, Table};
use sync_core::change::etag;
use sync_core::id::{ColumnNo, Key, ScopeId};
use sync_core::value::Value;
use sync_core::write::{Draft, FieldError, insert_row, update_row};
use uuid::Uuid;

use super::closure::{Closure, Follow, Found, named_columns, walk};
use super::query::Query;
use super::references;
use super::refusal::{Tried, explain};
use crate::store::row::{StoredRow, quote, read_row, select_list, table_sql};
use crate::store::scope;
use crate::store::tx::WriteTx;

/// Row locks. Whoever holds a head waits for no row: the other one may be waiting for the head.
pub(super) const FOR_UPDATE: &str = " FOR NO KEY UPDATE OF t NOWAIT";
const FOR_DELETE: &str = " FOR UPDATE OF t NOWAIT";

/// One write on its way.
pub(super) struct Writer<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) table: &'a Table,
    pub(super) by: &'a Principal,
    pub(super) transaction: WriteTx<'a>,
}

impl<'a> Writer<'a> {
    /// Does the write and commits.
    pub(super) async fn run(mut self, write: &Write) -> Result<Record, BackendError> {
        let record = self.apply(write).await?;
        self.commit(write).await?;
        Ok(record)
    }

    /// Does the write.
    pub(super) async fn apply(&mut self, write: &Write) -> Result<Record, BackendError> {
        match write {
            Write::Create(draft) => self.create(draft).await,
            Write::Update { key, draft, if_match } => self.update(key, draft, if_match.as_deref()).await,
            Write::Delete { key, if_match } => self.delete(key, if_match.as_deref()).await,
            Write::Restore { key } => self.restore(key).await,
        }
    }

    /// Commits, with `write` as the last one. Deferred constraints speak before, while it is still known what was tried.
    pub(super) async fn commit(self, write: &Write) -> Result<(), BackendError> {
        let Self { catalog, table, transaction, .. } = self;
        let tried = if matches!(write, Write::Delete { .. }) { Tried::Delete } else { Tried::Write };
        let checked = transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await;
        checked.map_err(|error| explain(catalog, table, tried, error))?;
        transaction.commit().await?;
        Ok(())
    }

    async fn create(&mut self, draft: &Draft) -> Result<Record, BackendError> {
        let table = self.table;
        let row = insert_row(self.catalog, table, draft, &super::now(), Uuid::now_v7).map_err(BackendError::Invalid)?;
        let scope = match table.own_scope(&table.key_of(&row)) {
            // A key that the database makes is not known yet: the trigger takes that new scope.
            Some(_) if table.key_of(&row).0.iter().any(Value::is_null) => None,
            Some(scope) => Some(scope),
            None => self.scope_above(None, &row).await?,
        };
        self.transaction.take(&scope.into_iter().collect()).await?;
        let given = |column: &Column| !column.default.as_ref().is_some_and(DefaultValue::is_made_later) || draft.contains_key(&column.no);
        let mut query = Query::default();
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (column, value) in table.columns.iter().zip(&row).filter(|(column, _)| given(column)) {
            names.push(quote(&column.name));
            values.push(query.bind_new(column, value));
        }
        let what = if names.is_empty() {
            "DEFAULT VALUES".to_owned()
        } else {
            format!("({}) OVERRIDING SYSTEM VALUE VALUES ({})", names.join(", "), values.join(", "))
        };
        query.sql = format!("INSERT INTO {} AS t {what} RETURNING {}", table_sql(table), select_list(table, "t"));
        let record = self.one(&query, Tried::Write).await?.map(super::record).ok_or(BackendError::Busy)?;
        references::check(&*self.transaction, self.catalog, table, &[(None, &record.row)]).await?;
        Ok(record)
    }

    /// The scope of the row that a row's scope path names; `None` where it names none. `before`: as the row was; what dangled already may stay so.
    async fn scope_above(&self, before: Option<&[Value]>, row: &[Value]) -> Result<Option<ScopeId>, BackendError> {
        let named = self.table.ways().find_map(|reference| {
            let parent = self.catalog.table(reference.table)?;
            Some((reference, parent, self.table.referred(reference, parent, row)?))
        });
        let Some((reference, parent, values)) = named else { return Ok(None) };
        let target: Vec<usize> = reference.target.iter().filter_map(|no| parent.position(*no)).collect();
        let found = scope::of_rows(&*self.transaction, parent, &target, &[&values]).await?.into_iter().next().flatten();
        let same = before.is_some_and(|before| self.table.referred(reference, parent, before).as_ref() == Some(&values));
        match found {
            None if reference.declared && same => Ok(Some(ScopeId::nowhere())),
            None => Err(references::bad(self.table, reference, parent)),
            found => Ok(found),
        }
    }

    async fn update(&mut self, key: &Key, draft: &Draft, if_match: Option<&[String]>) -> Result<Record, BackendError> {
        let table = self.table;
        let hint = self.read(key, "").await?.ok_or_else(|| self.not_found(key))?;
        let next = update_row(self.catalog, table, &hint.row, draft).map_err(BackendError::Invalid)?;
        let above = self.scope_above(Some(&hint.row), &next).await?;
        self.transaction.take(&[hint.at.scope].into_iter().chain(above).collect()).await?;
        let current = super::record(self.lock(key, if_match, FOR_UPDATE).await?);
        let next = update_row(self.catalog, table, &current.row, draft).map_err(BackendError::Invalid)?;
        let changed: Vec<_> = table.columns.iter().zip(&next).zip(&current.row).filter(|((_, new), old)| new != old).collect();
        if changed.is_empty() {
            return Ok(current);
        }
        let mut query = Query::default();
        let mut sets = self.stamps(&mut query, table);
        if changed.iter().any(|((column, _), _)| table.way_columns().contains(&column.no)) {
            sets[0] = DERIVE.to_owned();
        }
        for ((column, value), _) in changed {
            self.refuse_engine_column(column.no, column)?;
            let value = query.bind_new(column, value);
            sets.push(format!("{} = {value}", quote(&column.name)));
        }
        let condition = query.is_key(table, key);
        query.sql = update_sql(table, &sets, &condition);
        let record = self.one(&query, Tried::Write).await?.map(super::record).ok_or(BackendError::Busy)?;
        references::check(&*self.transaction, self.catalog, table, &[(Some(&current.row), &record.row)]).await?;
        Ok(record)
    }

    fn refuse_engine_column(&self, no: ColumnNo, column: &Column) -> Result<(), BackendError> {
        if !self.table.key.contains(&no) && self.table.soft_delete != Some(no) {
            return Ok(());
        }
        let field = self.catalog.field(self.table, column);
        let detail = format!("{field} cannot be changed by an update");
        Err(BackendError::Invalid(vec![FieldError { field, code: "read_only", detail }]))
    }

    async fn delete(&mut self, key: &Key, if_match: Option<&[String]>) -> Result<Record, BackendError> {
        let soft = self.table.soft_delete.is_some();
        let follow = if soft { Follow::Mark } else { Follow::Remove };
        let hint = self.read(key, "").await?.ok_or_else(|| self.not_found(key))?;
        let start = (self.table, self.found(&hint));
        let foreseen = walk(&*self.transaction, self.catalog, start, follow, false).await?.scopes;
        self.transaction.take(&foreseen).await?;
        let current = self.lock(key, if_match, if soft { FOR_UPDATE } else { FOR_DELETE }).await?;
        let start = (self.table, self.found(&current));
        let closure = walk(&*self.transaction, self.catalog, start, follow, true).await?;
        if !closure.scopes.is_subset(&foreseen) {
            return Err(BackendError::Busy);
        }
        if !soft {
            let mut query = Query::default();
            let condition = query.is_key(self.table, key);
            query.sql = format!("DELETE FROM {} t WHERE {condition}", table_sql(self.table));
            self.execute(&query, Tried::Delete).await?;
            return Ok(super::record(current));
        }
        self.mark(&closure, true).await?;
        for (child, reference, keys) in &closure.cleared {
            let value = if reference.on_delete == OnDelete::SetDefault { "DEFAULT" } else { "NULL" };
            let columns = reference.columns.iter().filter_map(|no| child.column(*no));
            let sets: Vec<String> = columns.map(|column| format!("{} = {value}", quote(&column.name))).collect();
            let leads_up = reference.columns.iter().any(|no| child.way_columns().contains(no));
            self.update_many(child, keys, sets, leads_up).await?;
        }
        self.reread(key).await
    }

    async fn restore(&mut self, key: &Key) -> Result<Record, BackendError> {
        let hint = self.read(key, "").await?.ok_or_else(|| self.not_found(key))?;
        if !self.table.is_soft_deleted(&hint.row) {
            return Ok(super::record(hint));
        }
        let deleted_at = hint.stamp.updated_at.clone();
        let follow = Follow::Restore(&deleted_at);
        let foreseen = walk(&*self.transaction, self.catalog, (self.table, self.found(&hint)), follow, false).await?.scopes;
        self.transaction.take(&foreseen).await?;
        let current = self.read(key, FOR_UPDATE).await?.ok_or_else(|| self.not_found(key))?;
        let closure = walk(&*self.transaction, self.catalog, (self.table, self.found(&current)), follow, true).await?;
        // Changed between the first look and the lock: look again.
        if current.stamp.updated_at != deleted_at || !closure.scopes.is_subset(&foreseen) {
            return Err(BackendError::Busy);
        }
        self.mark(&closure, false).await?;
        self.reread(key).await
    }

    /// Sets or clears the mark of all that a delete takes, one statement a table. `now()` is the transaction's, so that every row carries
    /// the same `updated_at`, by which a restore knows the set again.
    async fn mark(&self, closure: &Closure<'_>, deleted: bool) -> Result<(), BackendError> {
        for (table, keys) in &closure.taken {
            let Some(mark) = table.soft_delete.and_then(|no| table.column(no)) else { continue };
            self.update_many(table, keys, vec![format!("{} = {deleted}", quote(&mark.name))], false).await?;
        }
        Ok(())
    }

    /// `derive`: the scope is derived anew.
    async fn update_many(&self, table: &Table, keys: &[Key], mut sets: Vec<String>, derive: bool) -> Result<(), BackendError> {
        let mut query = Query::default();
        let mut stamps = self.stamps(&mut query, table);
        if derive {
            stamps[0] = DERIVE.to_owned();
        }
        sets.extend(stamps);
        let columns: Vec<&Column> = table.key_columns().collect();
        let rows: Vec<Vec<Value>> = keys.iter().map(|key| key.0.clone()).collect();
        let condition = query.any_of(&columns, &rows);
        let sets = sets.join(", ");
        query.sql =
            format!("UPDATE {} AS t SET {sets} FROM rejoin.scopes s WHERE s.scope = t.rejoin_scope AND {condition}", table_sql(table));
        self.execute(&query, Tried::Delete).await
    }

    /// The stamps of an update. The head of the row's scope is ours since `take`, so it is this transaction's tick.
    fn stamps(&self, query: &mut Query, table: &Table) -> Vec<String> {
        let stamps = &table.stamps;
        let by = query.bind_text(&self.by.name);
        vec![
            "rejoin_tick = s.head".to_owned(),
            format!("{0} = t.{0} + 1", quote(&stamps.version)),
            format!("{} = now()", quote(&stamps.updated_at)),
            format!("{} = {by}", quote(&stamps.last_modified_by)),
            format!("{} = now()", quote(&stamps.synced_at)),
        ]
    }

    /// The live row of this key under its lock, in a scope whose head is ours.
    async fn lock(&self, key: &Key, if_match: Option<&[String]>, lock: &str) -> Result<StoredRow, BackendError> {
        let stored = self.read(key, lock).await?.ok_or_else(|| self.not_found(key))?;
        self.transaction.tick(&stored.at.scope)?;
        if self.table.is_soft_deleted(&stored.row) {
            return Err(self.not_found(key));
        }
        let tag = etag(self.table, stored.stamp.version, &stored.row);
        match if_match {
            Some(tags) if !tags.contains(&tag) => Err(BackendError::Stale(Box::new(super::record(stored)))),
            _ => Ok(stored),
        }
    }

    async fn read(&self, key: &Key, lock: &str) -> Result<Option<StoredRow>, BackendError> {
        Ok(super::read_one(&*self.transaction, self.table, key, lock).await?)
    }

    async fn reread(&self, key: &Key) -> Result<Record, BackendError> {
        self.read(key, "").await?.map(super::record).ok_or_else(|| self.not_found(key))
    }

    fn found(&self, stored: &StoredRow) -> Found {
        let row = &stored.row;
        let named = named_columns(self.catalog, self.table);
        let value = |column: &Column| self.table.position(column.no).map_or(Value::Null, |at| row[at].clone());
        Found {
            key: self.table.key_of(row),
            scope: stored.at.scope.clone(),
            named: named.into_iter().map(|column| (column.no, value(column))).collect(),
        }
    }

    async fn one(&self, query: &Query, tried: Tried) -> Result<Option<StoredRow>, BackendError> {
        let row = self.transaction.query_opt(&query.sql, &query.params()).await;
        let row = row.map_err(|error| explain(self.catalog, self.table, tried, error))?;
        Ok(row.map(|row| read_row(self.table, &row, 0)).transpose()?)
    }

    async fn execute(&self, query: &Query, tried: Tried) -> Result<(), BackendError> {
        let done = self.transaction.execute(&query.sql, &query.params()).await;
        done.map(drop).map_err(|error| explain(self.catalog, self.table, tried, error))
    }

    fn not_found(&self, key: &Key) -> BackendError {
        super::not_found(self.table, key)
    }
}

/// A tick that counts for nobody: the trigger derives the scope anew.
const DERIVE: &str = "rejoin_tick = NULL";

fn update_sql(table: &Table, sets: &[String], condition: &str) -> String {
    format!(
        "UPDATE {} AS t SET {} FROM rejoin.scopes s WHERE s.scope = t.rejoin_scope AND {condition} RETURNING {}",
        table_sql(table),
        sets.join(", "),
        select_list(table, "t")
    )
}
