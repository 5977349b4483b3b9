//! The trial of policies: what the conflicts and losses on record would have become under others. Writes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use conflict_ui_api::backend::{PolicyExample, PolicyTrial};
use conflict_ui_api::error::BackendError;
use deadpool_postgres::GenericClient;
use serde_json::Value as Json;
use sync_core::catalog::{Catalog, Table};
use sync_core::id::{ColumnNo, ConflictId, TableNo};
use sync_core::limits::{TRIAL_EXAMPLES_MAX, TRIAL_PAGE_ROWS};
use sync_core::policy::{Merged, Policy, Sides, add, difference, merge};
use sync_core::value::Value;
use sync_core::write::{FieldError, row_from_json};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::introspect::policies::unfit_column;

/// Policies to try, by table and column.
type Tried = BTreeMap<TableNo, BTreeMap<ColumnNo, Policy>>;

/// Looks at every clash of columns on record since then, open, decided by a person or by a policy, in which one of these columns clashed.
///
/// # Errors
/// A policy does not fit its column; the store failed.
pub async fn try_policies(
    db: &impl GenericClient,
    catalog: &Catalog,
    since: DateTime<Utc>,
    policies: &[(TableNo, ColumnNo, Policy)],
) -> Result<PolicyTrial, BackendError> {
    let tried = tried(catalog, policies)?;
    let mut trial = PolicyTrial::default();
    let mut after: Option<(DateTime<Utc>, Uuid)> = None;
    loop {
        let rows = page(db, catalog, since, &tried, after).await?;
        for row in &rows {
            look_at(catalog, &tried, row, &mut trial).map_err(StoreError::from)?;
        }
        let Some(last) = rows.last().filter(|_| rows.len() == TRIAL_PAGE_ROWS) else { return Ok(trial) };
        after = Some((last.try_get(0).map_err(StoreError::from)?, last.try_get(1).map_err(StoreError::from)?));
    }
}

/// The policies by table and column: what is tried of a column of a group is tried of the group.
fn tried(catalog: &Catalog, policies: &[(TableNo, ColumnNo, Policy)]) -> Result<Tried, BackendError> {
    let mut tried = Tried::new();
    let mut faults = Vec::new();
    for (no, column, policy) in policies {
        let Some((table, found)) = catalog.table(*no).and_then(|table| Some((table, table.column(*column)?))) else { continue };
        let group = table.group_of(*column);
        let unfit = match unfit_column(table, found, *policy) {
            None if group.len() > 1 && !policy.fits_group() => {
                Some("columns of a group have manual, cloud_wins, local_wins or newest".to_owned())
            }
            unfit => unfit,
        };
        match unfit {
            Some(why) => {
                let field = format!("{}.{}", table.name, found.name);
                let detail = format!("{field} cannot have the policy {}: {why}", policy.as_str());
                faults.push(FieldError { field, code: "unfit", detail });
            }
            None => tried.entry(*no).or_default().extend(group.into_iter().map(|column| (column, *policy))),
        }
    }
    if faults.is_empty() { Ok(tried) } else { Err(BackendError::Invalid(faults)) }
}

/// The next clashes, newest first. Of each row only the columns that clashed are read: they are all that a policy decides.
async fn page(
    db: &impl GenericClient,
    catalog: &Catalog,
    since: DateTime<Utc>,
    tried: &Tried,
    after: Option<(DateTime<Utc>, Uuid)>,
) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT c.created_at, c.id, c.table_no, c.columns, c.site_name, c.cloud_updated_at, c.local_updated_at,
                   (SELECT jsonb_object_agg(n, c.base_data -> n) FROM unnest(c.columns) n WHERE c.base_data ? n),
                   (SELECT jsonb_object_agg(n, c.cloud_data -> n) FROM unnest(c.columns) n WHERE c.cloud_data ? n),
                   (SELECT jsonb_object_agg(n, c.local_data -> n) FROM unnest(c.columns) n WHERE c.local_data ? n)
               FROM rejoin.sync_conflicts c
               WHERE c.created_at >= $1 AND ($2::timestamptz IS NULL OR c.created_at < $2 OR (c.created_at = $2 AND c.id > $3))
                 AND c.kind = 'update_update' AND c.table_no = ANY($4) AND c.columns && $5
               ORDER BY c.created_at DESC, c.id LIMIT $6";
    let tables: Vec<i32> = tried.keys().filter_map(|no| i32::try_from(no.0).ok()).collect();
    let named = |(no, columns): (&TableNo, &BTreeMap<ColumnNo, Policy>)| -> Vec<String> {
        let table = catalog.table(*no);
        columns.keys().filter_map(|column| table?.column(*column)).map(|column| column.name.clone()).collect()
    };
    let names: BTreeSet<String> = tried.iter().flat_map(named).collect();
    let names: Vec<String> = names.into_iter().collect();
    let (at, id) = after.unzip();
    let limit = i64::try_from(TRIAL_PAGE_ROWS).unwrap_or(i64::MAX);
    Ok(db.query(&db.prepare_cached(sql).await?, &[&since, &at, &id, &tables, &names, &limit]).await?)
}

fn look_at(catalog: &Catalog, tried: &Tried, row: &Row, trial: &mut PolicyTrial) -> Result<(), tokio_postgres::Error> {
    let no = u32::try_from(row.try_get::<_, i32>(2)?).unwrap_or_default();
    let (Some(table), Some(policies)) = (catalog.table(TableNo(no)), tried.get(&TableNo(no))) else { return Ok(()) };
    let names: Vec<String> = row.try_get(3)?;
    let columns: Vec<ColumnNo> = names.iter().filter_map(|name| table.column_named(name)).map(|column| column.no).collect();
    if !columns.iter().any(|column| policies.contains_key(column)) {
        return Ok(());
    }
    let image = |at: usize| Ok(row_from_json(table, &row.try_get::<_, Option<Json>>(at)?.unwrap_or_default()));
    let times: (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (row.try_get(5)?, row.try_get(6)?);
    let clash = Clash {
        table,
        base: image(7)?,
        cloud: image(8)?,
        local: image(9)?,
        local_is_newer: times.0.zip(times.1).map(|(cloud, local)| local > cloud),
    };
    let decided = clash.decided(&columns, policies);
    trial.looked_at += 1;
    *trial.by_site.entry(row.try_get(4)?).or_default() += 1;
    let outcome = Outcome::of_all(decided.iter().map(|(_, one)| one.as_ref().map(|decided| decided.outcome)));
    *match outcome {
        None => &mut trial.unknown,
        Some(Outcome::Merged) => &mut trial.merged,
        Some(Outcome::CloudWins) => &mut trial.cloud_wins,
        Some(Outcome::LocalWins) => &mut trial.local_wins,
        Some(Outcome::Parked) => &mut trial.parked,
    } += 1;
    for (column, decided) in decided.iter().filter(|(column, _)| policies.contains_key(column)) {
        let (Some(decided), Some(column)) = (decided, table.column(*column)) else { continue };
        if trial.examples.len() < TRIAL_EXAMPLES_MAX {
            trial.examples.push(PolicyExample {
                conflict: ConflictId(row.try_get(1)?),
                column: column.name.clone(),
                outcome: decided.outcome.as_str().to_owned(),
                value: decided.value.as_ref().map(|value| column.ty.to_json(value)),
            });
        }
    }
    Ok(())
}

/// What becomes of a clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Merged,
    CloudWins,
    LocalWins,
    Parked,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::CloudWins => "cloud_wins",
            Self::LocalWins => "local_wins",
            Self::Parked => "parked",
        }
    }

    /// Of a whole conflict: it parks while one of its columns does; where the columns went different ways, both sides are in it. `None` where
    /// one of them is not known.
    fn of_all(columns: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let all: Vec<Self> = columns.collect::<Option<_>>()?;
        let first = all.first().copied()?;
        if all.contains(&Self::Parked) {
            Some(Self::Parked)
        } else if all.iter().all(|one| *one == first) {
            Some(first)
        } else {
            Some(Self::Merged)
        }
    }
}

/// What becomes of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decided {
    outcome: Outcome,
    /// The value that would stand.
    value: Option<Value>,
}

/// The three sides of a clash as they are on record.
struct Clash<'a> {
    table: &'a Table,
    base: Vec<Option<Value>>,
    cloud: Vec<Option<Value>>,
    local: Vec<Option<Value>>,
    local_is_newer: Option<bool>,
}

impl Clash<'_> {
    /// What becomes of each column that clashed; `None` where too little of it is on record. Columns that are not tried follow their policy
    /// in force.
    fn decided(&self, columns: &[ColumnNo], policies: &BTreeMap<ColumnNo, Policy>) -> Vec<(ColumnNo, Option<Decided>)> {
        let mut whole: HashMap<Vec<ColumnNo>, Vec<ColumnNo>> = HashMap::new();
        for column in columns {
            whole.entry(self.table.group_of(*column)).or_default().push(*column);
        }
        let policy = |no: &ColumnNo| {
            let in_force = self.table.column(*no).map_or(Policy::Manual, |column| column.policy);
            policies.get(no).copied().unwrap_or(in_force)
        };
        let decided = columns.iter().map(|no| {
            let grouped = whole.get(&self.table.group_of(*no)).is_some_and(|group| group.len() > 1);
            (*no, self.column(*no, policy(no), grouped))
        });
        decided.collect()
    }

    /// `grouped`: it clashed together with others, so that its own values decide nothing.
    fn column(&self, no: ColumnNo, policy: Policy, grouped: bool) -> Option<Decided> {
        let at = self.table.position(no)?;
        let ty = &self.table.columns[at].ty;
        let (base, cloud, local) = (self.base[at].as_ref()?, self.cloud[at].as_ref()?, self.local[at].as_ref()?);
        let merged = match policy {
            Policy::Add => sum(ty, base, cloud, local).map_or(Merged::Clash, Merged::Both),
            Policy::CloudWins if grouped => Merged::Cloud,
            Policy::LocalWins if grouped => Merged::Local,
            Policy::Newest if grouped => match self.local_is_newer {
                Some(true) => Merged::Local,
                Some(false) => Merged::Cloud,
                None => Merged::Clash,
            },
            _ if grouped => Merged::Clash,
            policy => merge(policy, ty, Sides { base, cloud, local, local_is_newer: self.local_is_newer }),
        };
        // A combination that is the same as one side's value holds both sides all the same.
        let side = |outcome| if policy.loses() { outcome } else { Outcome::Merged };
        Some(match merged {
            Merged::Clash => Decided { outcome: Outcome::Parked, value: None },
            Merged::Cloud => Decided { outcome: side(Outcome::CloudWins), value: Some(cloud.clone()) },
            Merged::Local => Decided { outcome: side(Outcome::LocalWins), value: Some(local.clone()) },
            Merged::Both(value) if value.is_too_large() => Decided { outcome: Outcome::Parked, value: None },
            Merged::Both(value) => Decided { outcome: Outcome::Merged, value: Some(value) },
        })
    }
}

/// What additions would have made of the cloud's value.
fn sum(ty: &sync_core::value::ColumnType, base: &Value, cloud: &Value, local: &Value) -> Option<Value> {
    if cloud.is_null() {
        return None;
    }
    add(ty, cloud, &difference(ty, base, local)?)
}
