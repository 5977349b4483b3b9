//! What the rows themselves add to a plan, as far as they tell it in a short time.

use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use sync_core::limits::{PLAN_KIND_ROWS_MAX, PLAN_KINDS_MAX, PLAN_LOOK_TIME};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::store::capture::literal;
use crate::store::error::StoreError;
use crate::store::introspect::choose::{Chosen, FoundScope, Nowhere, Plan, always_names, stands_for};
use crate::store::introspect::{FoundReference, FoundTable, Schema};
use crate::store::row::quote;

/// Counts the rows that name no parent, and reads of which kinds others say that they refer.
pub(super) async fn look(client: &mut ClientWrapper, schema: &Schema, chosen: &[Chosen], plan: &mut Plan) -> Result<(), StoreError> {
    let mut eye = Eye { client, until: Instant::now() + PLAN_LOOK_TIME };
    for entry in &mut plan.tables {
        let Some((at, table)) = schema.tables.iter().enumerate().find(|(_, table)| !table.is_engine() && table.label() == entry.table)
        else {
            continue;
        };
        if let Some(FoundScope::Through(ways)) = chosen.iter().find(|choice| choice.at == at).map(|choice| &choice.scope) {
            let ways: Vec<&FoundReference> = ways.iter().filter_map(|way| table.references.get(*way)).collect();
            if !ways.iter().any(|way| always_names(table, way)) {
                entry.nowhere = Some(eye.nowhere(table, &ways).await?);
            }
        }
        for kinds in entry.kinds.iter_mut().filter(|kinds| kinds.tables.is_empty()) {
            let Some(column) = table.column_named(&kinds.column) else { continue };
            let said = eye.kinds(table, &kinds.kind).await?;
            kinds.tables = said.into_iter().map(|said| (said.clone(), stands_for(schema, column, &said))).collect();
        }
        entry.offer();
    }
    Ok(())
}

struct Eye<'a> {
    client: &'a mut ClientWrapper,
    until: Instant,
}

impl Eye<'_> {
    /// What a statement finds; `None`: not in time.
    async fn see(&mut self, sql: &str) -> Result<Option<Vec<Row>>, StoreError> {
        let left = self.until.saturating_duration_since(Instant::now()).as_millis();
        if left == 0 {
            return Ok(None);
        }
        let transaction = self.client.build_transaction().read_only(true).start().await?;
        transaction.batch_execute(&format!("SET LOCAL statement_timeout = {left}")).await?;
        match transaction.query(sql, &[]).await {
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Ok(None),
            rows => Ok(Some(rows?)),
        }
    }

    async fn nowhere(&mut self, table: &FoundTable, ways: &[&FoundReference]) -> Result<Nowhere, StoreError> {
        let name = |attnum: &i16| table.column(*attnum).map(|column| quote(&column.name));
        let names = |way: &&FoundReference| {
            let kind = way.when.as_ref().and_then(|(kind, value)| Some(format!("{}::text = {}", name(kind)?, literal(&value.to_text()))));
            let columns = way.columns.iter().filter_map(name).map(|name| format!("{name} IS NOT NULL"));
            format!("({})", columns.chain(kind).collect::<Vec<_>>().join(" AND "))
        };
        let none = ways.iter().map(|way| format!("{} IS NOT TRUE", names(way))).collect::<Vec<_>>().join(" AND ");
        let rows = self.see(&format!("SELECT count(*) FILTER (WHERE {none}), count(*) FROM {}", place(table))).await?;
        let row = rows.as_ref().and_then(|rows| rows.first());
        Ok(Nowhere { rows: row.map(|row| row.get(0)), of: row.map(|row| row.get(1)) })
    }

    async fn kinds(&mut self, table: &FoundTable, kind: &str) -> Result<Vec<String>, StoreError> {
        let (kind, place) = (quote(kind), place(table));
        let some = format!("SELECT {kind}::text AS kind FROM {place} WHERE {kind} IS NOT NULL LIMIT {PLAN_KIND_ROWS_MAX}");
        let rows = self.see(&format!("SELECT DISTINCT kind FROM ({some}) rows_read ORDER BY 1 LIMIT {PLAN_KINDS_MAX}")).await?;
        Ok(rows.into_iter().flatten().map(|row| row.get(0)).collect())
    }
}

fn place(table: &FoundTable) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}
