//! The inbox: conflicts folded by their cause, newest cause first.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{Conflict, ConflictFilter, ConflictGroup, ConflictQuery};
use deadpool_postgres::GenericClient;
use sync_core::catalog::Catalog;
use sync_core::conflict::Resolution;
use sync_core::limits::GROUP_COLUMNS_MAX;
use uuid::Uuid;

use super::filter::Conditions;
use super::show::{COLUMNS, show};
use crate::store::error::StoreError;

/// Where a conflict is listed: with its group, or by itself where it was parked before groups were kept.
const GROUP: &str = "coalesce(c.group_id, c.id)";

/// Whether a conflict is shown inside another one: while both are open, and ever after where it is decided.
const HANGS: &str = "(c.root_id IS NOT NULL AND (c.resolution <> 'PENDING' OR EXISTS (
    SELECT FROM rejoin.sync_conflicts r WHERE r.id = c.root_id AND r.resolution = 'PENDING')))";

/// Groups of the conflicts of a filter; `query.after` is the example of the last one seen. A group stands where its first clash put it, whatever
/// joins it or is decided meanwhile.
///
/// # Errors
/// The store failed.
pub async fn groups(db: &impl GenericClient, catalog: &Catalog, query: &ConflictQuery) -> Result<Vec<ConflictGroup>, StoreError> {
    let after: Option<(DateTime<Utc>, Uuid)> = match query.after {
        None => None,
        Some(after) => {
            let sql = format!(
                "SELECT coalesce(g.created_at, c.created_at), {GROUP} FROM rejoin.sync_conflicts c
                 LEFT JOIN rejoin.conflict_groups g ON g.id = c.group_id WHERE c.id = $1"
            );
            let Some(row) = db.query_opt(&sql, &[&after.0]).await? else { return Ok(Vec::new()) };
            Some((row.try_get(0)?, row.try_get(1)?))
        }
    };
    let page = page(db, &query.filter, after, query.limit).await?;
    let mut sums = sums(db, &query.filter, &page).await?;
    let mut columns = columns(db, &query.filter, &page).await?;
    let mut examples = examples(db, catalog, sums.values().map(|sum| sum.example).collect()).await?;
    let group = |id: Uuid| {
        let sum = sums.remove(&id)?;
        let example = examples.remove(&sum.example)?;
        Some(ConflictGroup {
            id,
            table_name: example.table_name.clone(),
            kind: example.kind,
            site: example.site.clone(),
            conflicts: sum.conflicts,
            dependents: sum.dependents,
            columns: columns.remove(&id).unwrap_or_default(),
            first_at: sum.first_at,
            last_at: sum.last_at,
            example,
        })
    };
    Ok(page.into_iter().filter_map(group).collect())
}

/// The ids of the next groups. The open conflicts are few: they are folded and sorted. Of all the others the groups are gone through, newest
/// first, until there are enough.
async fn page(
    db: &impl GenericClient,
    filter: &ConflictFilter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: usize,
) -> Result<Vec<Uuid>, StoreError> {
    let mut conditions = Conditions::of(filter);
    let limit = conditions.bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let after = after.map(|(at, id)| (conditions.bind(at), conditions.bind(id)));
    let behind = |at: &str, id: &str| match &after {
        Some((last, last_id)) => format!("{at} <= {last} AND ({at} < {last} OR {id} > {last_id})"),
        None => "true".to_owned(),
    };
    let wanted = conditions.sql();
    let sql = if filter.resolution == Some(Resolution::Pending) || filter.group.is_some() || filter.root.is_some() {
        format!(
            "SELECT x.id FROM (
                SELECT f.id, coalesce((SELECT g.created_at FROM rejoin.conflict_groups g WHERE g.id = f.id), f.at) AS at
                FROM (SELECT {GROUP} AS id, min(c.created_at) AS at FROM rejoin.sync_conflicts c WHERE {wanted} GROUP BY 1) f) x
             WHERE {} ORDER BY x.at DESC, x.id LIMIT {limit}",
            behind("x.at", "x.id")
        )
    } else {
        format!(
            "SELECT x.id FROM (
                (SELECT g.id, g.created_at AS at FROM rejoin.conflict_groups g
                 WHERE {} AND EXISTS (SELECT FROM rejoin.sync_conflicts c WHERE c.group_id = g.id AND {wanted})
                 ORDER BY g.created_at DESC, g.id LIMIT {limit})
                UNION ALL
                (SELECT c.id, c.created_at FROM rejoin.sync_conflicts c WHERE c.group_id IS NULL AND {wanted} AND {}
                 ORDER BY c.created_at DESC, c.id LIMIT {limit})) x
             ORDER BY x.at DESC, x.id LIMIT {limit}",
            behind("g.created_at", "g.id"),
            behind("c.created_at", "c.id"),
        )
    };
    let rows = db.query(&sql, &conditions.params()).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A group in numbers.
struct Sum {
    conflicts: u64,
    dependents: u64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    example: Uuid,
}

/// The conflicts of a filter that are in these groups.
fn within(filter: &ConflictFilter, page: &[Uuid]) -> Conditions {
    let mut conditions = Conditions::of(filter);
    let groups = conditions.bind(page.to_vec());
    conditions.add(format!("(c.group_id = ANY ({groups}) OR (c.group_id IS NULL AND c.id = ANY ({groups})))"));
    conditions
}

async fn sums(db: &impl GenericClient, filter: &ConflictFilter, page: &[Uuid]) -> Result<HashMap<Uuid, Sum>, StoreError> {
    let conditions = within(filter, page);
    let sql = format!(
        "SELECT x.group_id, count(*) FILTER (WHERE NOT x.hangs), count(*) FILTER (WHERE x.hangs), min(x.created_at), max(x.created_at),
                (array_agg(x.id ORDER BY x.hangs, x.created_at, x.id))[1]
         FROM (SELECT {GROUP} AS group_id, c.id, c.created_at, {HANGS} AS hangs FROM rejoin.sync_conflicts c WHERE {}) x
         GROUP BY x.group_id",
        conditions.sql()
    );
    let count = |count: i64| u64::try_from(count).unwrap_or_default();
    let rows = db.query(&sql, &conditions.params()).await?;
    let sums = rows.iter().map(|row| {
        let sum = Sum {
            conflicts: count(row.try_get(1)?),
            dependents: count(row.try_get(2)?),
            first_at: row.try_get(3)?,
            last_at: row.try_get(4)?,
            example: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, sum))
    });
    sums.collect()
}

/// The columns that clashed in each group, the most frequent ones.
async fn columns(db: &impl GenericClient, filter: &ConflictFilter, page: &[Uuid]) -> Result<HashMap<Uuid, Vec<String>>, StoreError> {
    let conditions = within(filter, page);
    let sql = format!(
        "SELECT {GROUP}, u.name, count(*) FROM rejoin.sync_conflicts c, unnest(c.columns) AS u(name) WHERE {}
         GROUP BY 1, 2 ORDER BY 3 DESC, 2",
        conditions.sql()
    );
    let mut columns: HashMap<Uuid, Vec<String>> = HashMap::new();
    for row in db.query(&sql, &conditions.params()).await? {
        let names = columns.entry(row.try_get(0)?).or_default();
        if names.len() < GROUP_COLUMNS_MAX {
            names.push(row.try_get(1)?);
        }
    }
    columns.values_mut().for_each(|names| names.sort_unstable());
    Ok(columns)
}

async fn examples(db: &impl GenericClient, catalog: &Catalog, ids: Vec<Uuid>) -> Result<BTreeMap<Uuid, Conflict>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.id = ANY ($1)");
    let rows = db.query(&db.prepare_cached(&sql).await?, &[&ids]).await?;
    Ok(show(db, catalog, &rows).await?.into_iter().map(|conflict| (conflict.id.0, conflict)).collect())
}
