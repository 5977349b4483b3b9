//! The feed of a window, in its order, into a page.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Transaction;
use sync_core::catalog::{Catalog, Table, Travel};
use sync_core::id::{Key, ScopeId, TableNo, Tick};
use sync_core::value::{ColumnType, Value};
use sync_core::wire::message::{Gone, Position, Window};

use super::Heads;
use super::echo::Echo;
use super::page::Builder;
use crate::store::bulk::unnest;
use crate::store::capture::Way;
use crate::store::error::StoreError;
use crate::store::row::{Param, array, array_type, compared, quote, read_row, refs, select_list, table_sql};
use crate::store::speaker::SyncError;
use crate::store::tombstone::read_key;

/// Gone rows stand before the rows of every table.
const GONE: TableNo = TableNo(0);
/// How many scopes are asked at once which tables have something new.
const PROBED_MAX: usize = 200;
/// How many references deep it is asked whether a row that is kept for a time only is still referred to.
const KEPT_DEPTH_MAX: usize = 3;

pub(super) struct Feed<'a> {
    pub(super) db: &'a Transaction<'a>,
    pub(super) catalog: &'a Catalog,
    pub(super) heads: &'a Heads,
    pub(super) cursors: &'a HashMap<&'a ScopeId, Tick>,
    pub(super) page: Builder,
    pub(super) echo: Echo,
    /// Where the replica wrote in scopes that are new to it.
    pub(super) written_since: HashMap<ScopeId, Tick>,
}

/// The part of one scope's feed that a window covers.
struct Span<'w> {
    scope: &'w ScopeId,
    from: Tick,
    to: Tick,
    /// The scope is new to the site: nothing of it is left out as known.
    first: bool,
    /// Since when what is gone is told; `None`: not at all, the site cannot have it.
    gone_from: Option<Tick>,
}

impl Feed<'_> {
    /// The scopes whose heads are above what was delivered. `from`: what earlier windows reached; elsewhere the cursor holds.
    pub(super) fn ahead(&self, from: &[(ScopeId, Tick)]) -> Vec<(ScopeId, Tick)> {
        let from: HashMap<&ScopeId, Tick> = from.iter().map(|(scope, tick)| (scope, *tick)).collect();
        let reached = |scope: &ScopeId| from.get(scope).or_else(|| self.cursors.get(scope)).copied().unwrap_or(Tick::ZERO);
        let ahead = self.heads.iter().filter(|(scope, (head, _))| reached(scope) < *head);
        ahead.map(|(scope, (head, _))| (scope.clone(), *head)).collect()
    }

    /// Delivers a window until it is exhausted (`None`) or the page is full: the place of the last entry delivered.
    pub(super) async fn fill(&mut self, window: &Window) -> Result<Option<Position>, SyncError> {
        let from: HashMap<&ScopeId, Tick> = window.from.iter().map(|(scope, tick)| (scope, *tick)).collect();
        let to: BTreeMap<&ScopeId, Tick> = window.heads.iter().map(|(scope, tick)| (scope, *tick)).collect();
        let behind = |scope: &ScopeId| window.after.as_ref().is_some_and(|after| *scope < after.scope);
        let spans: Vec<Span<'_>> = to
            .into_iter()
            .filter(|(scope, _)| self.heads.contains_key(scope) && !behind(scope))
            .map(|(scope, to)| {
                let cursor = from.get(scope).or_else(|| self.cursors.get(scope)).copied();
                let gone_from = cursor.or_else(|| self.written_since.get(scope).copied());
                Span { scope, from: cursor.unwrap_or(Tick::ZERO), to, first: cursor.is_none(), gone_from }
            })
            .filter(|span| span.from < span.to)
            .collect();
        for spans in spans.chunks(PROBED_MAX) {
            let sources = self.probe(spans).await?;
            for (span, sources) in spans.iter().zip(sources) {
                for source in sources {
                    let after = window.after.as_ref().filter(|after| after.scope == *span.scope);
                    if after.is_some_and(|after| source < after.table) {
                        continue;
                    }
                    let after = after.filter(|after| after.table == source);
                    let full = match self.catalog.table(source) {
                        Some(table) => self.rows(table, span, after).await?,
                        None => self.gone(span, after).await?,
                    };
                    if full.is_some() {
                        return Ok(full);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The tables whose rows sites are sent.
    fn sent(&self) -> impl Iterator<Item = &Table> {
        self.catalog.tables.iter().filter(|table| table.travel != Travel::Up)
    }

    /// Which sources have anything in each span, in the feed's order: one query for all of them.
    async fn probe(&self, spans: &[Span<'_>]) -> Result<Vec<Vec<TableNo>>, SyncError> {
        let gone = "EXISTS (SELECT 1 FROM rejoin.tombstones t WHERE t.scope = u.c1 AND t.tick > u.c4 AND t.tick <= u.c3)".to_owned();
        let tables = self.sent().map(|table| {
            let within = "t.rejoin_scope = u.c1 AND t.rejoin_tick > u.c2 AND t.rejoin_tick <= u.c3";
            format!("EXISTS (SELECT 1 FROM {} t WHERE {within})", table_sql(table))
        });
        let probes: Vec<String> = [gone].into_iter().chain(tables).collect();
        let types = ["integer", "text", "bigint", "bigint", "bigint"];
        let sql = format!("SELECT u.c0, ARRAY[{}] FROM {}", probes.join(", "), unnest("u", &types, 1));
        let numbers: Vec<i32> = (0..spans.len()).filter_map(|no| i32::try_from(no).ok()).collect();
        let scopes: Vec<&str> = spans.iter().map(|span| span.scope.0.as_str()).collect();
        let (from, to): (Vec<i64>, Vec<i64>) = spans.iter().map(|span| (span.from.0, span.to.0)).unzip();
        // NULL: nothing is above it.
        let gone: Vec<Option<i64>> = spans.iter().map(|span| span.gone_from.map(|tick| tick.0)).collect();
        let mut sources = vec![Vec::new(); spans.len()];
        for row in self.db.query(&self.db.prepare_cached(&sql).await?, &[&numbers, &scopes, &from, &to, &gone]).await? {
            let no = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
            let found: Vec<bool> = row.try_get(1)?;
            let names = [GONE].into_iter().chain(self.sent().map(|table| table.no));
            sources[no] = names.zip(found).filter(|(_, found)| *found).map(|(source, _)| source).collect();
        }
        Ok(sources)
    }

    async fn rows(&mut self, table: &Table, span: &Span<'_>, after: Option<&Position>) -> Result<Option<Position>, SyncError> {
        let keys: Vec<String> = table.key_columns().map(|column| format!("t.{}", quote(&column.name))).collect();
        let place = ["t.rejoin_tick".to_owned()].into_iter().chain(keys).collect::<Vec<_>>().join(", ");
        let mut params: Vec<Param<'_>> = vec![Box::new(span.scope.0.as_str()), Box::new(span.from.0), Box::new(span.to.0)];
        let mut beyond = String::new();
        if let Some(after) = after {
            if after.key.0.len() != table.key.len() {
                return Err(StoreError::Corrupt(format!("{} is no key of {}", after.key, table.name)).into());
            }
            params.push(Box::new(after.tick.0));
            let mut values = vec!["$4".to_owned()];
            for (no, (column, value)) in table.key_columns().zip(&after.key.0).enumerate() {
                params.push(array(column, std::iter::once(value))?);
                values.push(compared(column, &format!("(${}::{}[])[1]", no + 5, array_type(&column.ty))));
            }
            beyond = format!(" AND ({place}) > ({})", values.join(", "));
        }
        // A site lets go of rows that it has had for long enough: one that comes first does not want them.
        let kept = if span.first { kept(self.catalog, table, "t", 0) } else { None };
        let kept = kept.map_or_else(String::new, |kept| format!(" AND ({kept})"));
        let sql = format!(
            "SELECT {} FROM {} t WHERE t.rejoin_scope = $1 AND t.rejoin_tick > $2 AND t.rejoin_tick <= $3{kept}{beyond} ORDER BY {place}",
            select_list(table, "t"),
            table_sql(table),
        );
        let portal = self.db.bind(&self.db.prepare_cached(&sql).await?, &refs(&params)).await?;
        loop {
            let batch = self.page.batch();
            let rows = self.db.query_portal(&portal, i32::try_from(batch).unwrap_or(i32::MAX)).await?;
            for row in &rows {
                let stored = read_row(table, row, 0)?;
                let (tick, key) = (stored.at.tick, table.key_of(&stored.row));
                if !span.first && self.echo.has(self.db, span.scope, tick, table.no, &key).await? {
                    self.page.skip();
                } else {
                    self.page.add_row(table, stored)?;
                }
                if self.page.is_full() {
                    return Ok(Some(Position { scope: span.scope.clone(), table: table.no, tick, key }));
                }
            }
            if rows.len() < batch {
                return Ok(None);
            }
        }
    }

    async fn gone(&mut self, span: &Span<'_>, after: Option<&Position>) -> Result<Option<Position>, SyncError> {
        let Some(from) = span.gone_from else { return Ok(None) };
        let mut params: Vec<Param<'_>> = vec![Box::new(span.scope.0.as_str()), Box::new(from.0), Box::new(span.to.0)];
        let mut beyond = "";
        if let Some(after) = after {
            let (no, key) = after.key.0.split_first().ok_or_else(|| StoreError::Corrupt("a place without a key".to_owned()))?;
            let Value::Int(no) = no else { return Err(StoreError::Corrupt("a place without a table".to_owned()).into()) };
            params.push(Box::new(after.tick.0));
            params.push(Box::new(i32::try_from(*no).unwrap_or_default()));
            params.push(Box::new(key.iter().map(|value| value.to_text().into_owned()).collect::<Vec<_>>()));
            beyond = " AND (tick, table_no, key) > ($4, $5, $6)";
        }
        let sql = format!(
            "SELECT table_no, key, tick, version, at::text, author, left_scope FROM rejoin.tombstones
             WHERE scope = $1 AND tick > $2 AND tick <= $3{beyond} ORDER BY tick, table_no, key"
        );
        let portal = self.db.bind(&self.db.prepare_cached(&sql).await?, &refs(&params)).await?;
        loop {
            let batch = self.page.batch();
            let rows = self.db.query_portal(&portal, i32::try_from(batch).unwrap_or(i32::MAX)).await?;
            for row in &rows {
                let texts: Vec<String> = row.try_get(1)?;
                let no: i32 = row.try_get(0)?;
                let tick = Tick(row.try_get(2)?);
                self.one_gone(span, row, u32::try_from(no).unwrap_or_default(), &texts).await?;
                if self.page.is_full() {
                    let key = Key([Value::Int(no.into())].into_iter().chain(texts.into_iter().map(Value::Text)).collect());
                    return Ok(Some(Position { scope: span.scope.clone(), table: GONE, tick, key }));
                }
            }
            if rows.len() < batch {
                return Ok(None);
            }
        }
    }

    async fn one_gone(&mut self, span: &Span<'_>, row: &tokio_postgres::Row, no: u32, texts: &[String]) -> Result<(), SyncError> {
        let Some(table) = self.catalog.table(TableNo(no)).filter(|table| table.travel != Travel::Up) else {
            // Of a table that is not synced any more, or that sites are never sent.
            self.page.skip();
            return Ok(());
        };
        let key = read_key(table, texts)?;
        let tick = Tick(row.try_get(2)?);
        if !span.first && self.echo.has(self.db, span.scope, tick, table.no, &key).await? {
            self.page.skip();
            return Ok(());
        }
        let at = ColumnType::Timestamptz.parse(row.try_get(4)?).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        self.page.add_gone(Gone {
            table: table.no,
            key,
            scope: self.page.scope(span.scope),
            tick,
            version: row.try_get(3)?,
            at: at.to_text().into_owned(),
            by: row.try_get(5)?,
            left: row.try_get(6)?,
        });
        Ok(())
    }
}

/// Which rows of a table sites keep: young ones, and those that rows which are kept refer to. `None`: all. What lies deeper than
/// [`KEPT_DEPTH_MAX`] references, or in a circle, is kept to be safe.
fn kept(catalog: &Catalog, table: &Table, alias: &str, depth: usize) -> Option<String> {
    let hours = table.keep_hours?;
    let mut any = vec![format!("{alias}.{} > now() - interval '{hours} hours'", quote(&table.stamps.updated_at))];
    for (no, (child, reference)) in catalog.referrers(table.no).filter(|(child, _)| child.travel != Travel::Up).enumerate() {
        let name = format!("{alias}_{no}");
        let refers = Way { child, parent: table, reference }.refers_as(&name, alias);
        let circle = depth == KEPT_DEPTH_MAX || child.no == table.no;
        let kept = if circle { None } else { kept(catalog, child, &name, depth + 1) };
        let kept = kept.map_or_else(String::new, |kept| format!(" AND ({kept})"));
        any.push(format!("EXISTS (SELECT FROM {} {name} WHERE {refers}{kept})", table_sql(child)));
    }
    Some(any.join(" OR "))
}
