//! Lists of conflicts in every order, page by page, and their counts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{Conflict, ConflictCounts, ConflictFilter, ConflictQuery, ConflictSort};
use deadpool_postgres::GenericClient;
use sync_core::catalog::Catalog;
use uuid::Uuid;

use super::filter::Conditions;
use super::show::{COLUMNS, show};
use crate::store::error::StoreError;

/// Conflicts of a filter in the order asked. The order's values never change, so that pages neither repeat nor miss what was there.
///
/// # Errors
/// The store failed.
pub async fn list(db: &impl GenericClient, catalog: &Catalog, query: &ConflictQuery) -> Result<Vec<Conflict>, StoreError> {
    let mut conditions = Conditions::of(&query.filter);
    if let Some(after) = query.after {
        let sql = "SELECT created_at, table_name, record_id, site_name FROM rejoin.sync_conflicts WHERE id = $1";
        let Some(row) = db.query_opt(sql, &[&after.0]).await? else { return Ok(Vec::new()) };
        let last = Last { id: after.0, at: row.try_get(0)?, table: row.try_get(1)?, record: row.try_get(2)?, site: row.try_get(3)? };
        behind(&mut conditions, query.sort, last);
    }
    let limit = conditions.bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
    let sql =
        format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE {} ORDER BY {} LIMIT {limit}", conditions.sql(), order(query.sort));
    let rows = db.query(&sql, &conditions.params()).await?;
    show(db, catalog, &rows).await
}

/// The last conflict of the page before.
struct Last {
    id: Uuid,
    at: DateTime<Utc>,
    table: String,
    record: String,
    site: String,
}

fn order(sort: ConflictSort) -> &'static str {
    match sort {
        ConflictSort::Newest => "c.created_at DESC, c.id",
        ConflictSort::Oldest => "c.created_at, c.id",
        ConflictSort::Record => "c.table_name COLLATE \"C\", c.record_id COLLATE \"C\", c.id",
        ConflictSort::Site => "c.site_name COLLATE \"C\", c.created_at DESC, c.id",
    }
}

fn behind(conditions: &mut Conditions, sort: ConflictSort, last: Last) {
    let id = conditions.bind(last.id);
    let condition = match sort {
        ConflictSort::Newest => {
            let at = conditions.bind(last.at);
            format!("c.created_at <= {at} AND (c.created_at < {at} OR c.id > {id})")
        }
        ConflictSort::Oldest => format!("(c.created_at, c.id) > ({}, {id})", conditions.bind(last.at)),
        ConflictSort::Record => {
            let (table, record) = (conditions.bind(last.table), conditions.bind(last.record));
            format!("(c.table_name COLLATE \"C\", c.record_id COLLATE \"C\", c.id) > ({table}, {record}, {id})")
        }
        ConflictSort::Site => {
            let (site, at) = (conditions.bind(last.site), conditions.bind(last.at));
            let same = format!("c.site_name = {site} AND c.created_at <= {at} AND (c.created_at < {at} OR c.id > {id})");
            // The first condition is what an index can begin at.
            format!("c.site_name COLLATE \"C\" >= {site} AND (c.site_name COLLATE \"C\" > {site} OR ({same}))")
        }
    };
    conditions.add(condition);
}

/// How many conflicts of a filter there are, those that hang from others included.
///
/// # Errors
/// The store failed.
pub async fn counts(db: &impl GenericClient, filter: &ConflictFilter) -> Result<ConflictCounts, StoreError> {
    let conditions = Conditions::of(filter);
    let sql = format!(
        "SELECT grouping(c.kind, c.table_name, c.site_name, c.resolution)::integer,
                coalesce(c.kind, c.table_name, c.site_name, c.resolution::text), count(*)
         FROM rejoin.sync_conflicts c WHERE {}
         GROUP BY GROUPING SETS ((), (c.kind), (c.table_name), (c.site_name), (c.resolution))",
        conditions.sql()
    );
    let mut counts = ConflictCounts::default();
    for row in db.query(&sql, &conditions.params()).await? {
        let (name, count): (Option<String>, i64) = (row.try_get(1)?, row.try_get(2)?);
        let count = u64::try_from(count).unwrap_or_default();
        // A bit for each column that the row is not grouped by.
        let by: &mut BTreeMap<String, u64> = match row.try_get::<_, i32>(0)? {
            0b0111 => &mut counts.by_kind,
            0b1011 => &mut counts.by_table,
            0b1101 => &mut counts.by_site,
            0b1110 => &mut counts.by_resolution,
            _ => {
                counts.total = count;
                continue;
            }
        };
        by.insert(name.unwrap_or_default(), count);
    }
    Ok(counts)
}
