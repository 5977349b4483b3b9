//! Parking: what could not be taken is kept whole in `sync_conflicts`, in the scope of its site, out of the way of the rest.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use sync_core::catalog::{Catalog, Table};
use sync_core::conflict::ConflictKind;
use sync_core::id::{ColumnNo, ConflictId, Key, PushNo, ReplicaId};
use sync_core::policy;
use sync_core::value::{ColumnType, Value};
use sync_core::write::{bounded, columns_to_json, is_too_large, row_from_json, row_to_json};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::group::{self, Group};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;
use crate::store::sites::SiteIdentity;
use crate::store::tx::WriteTx;

/// What to park of one row.
#[derive(Debug)]
pub(crate) struct Parking<'a> {
    pub(crate) table: &'a Table,
    /// The key under which the cloud knows the row.
    pub(crate) key: &'a Key,
    pub(crate) kind: ConflictKind,
    /// The columns that were not taken; empty where the row as a whole was not.
    pub(crate) clashed: Cow<'a, [ColumnNo]>,
    pub(crate) reason: &'a str,
    /// The cloud's row that stands against it, where there is one and the site may read it.
    pub(crate) cloud: Option<&'a StoredRow>,
    /// That row's key where it is another one.
    pub(crate) blocker: Option<&'a Key>,
    /// The values that the site's edit was made on.
    pub(crate) base: Vec<(ColumnNo, &'a Value)>,
    /// The values that the site gave; none for a delete.
    pub(crate) pushed: Vec<(ColumnNo, &'a Value)>,
    /// The rest of the site's row, as far as it is known.
    pub(crate) known: Vec<Option<Value>>,
    /// What was to be added to `add` columns of the site's row and was not.
    pub(crate) added: Vec<(ColumnNo, Value)>,
    /// Whether the site has no row any more.
    pub(crate) deleted: bool,
    pub(crate) local_version: i64,
    pub(crate) local_updated_at: &'a str,
    pub(crate) local_modified_by: Option<&'a str>,
    /// When and by whom the cloud's row was deleted, where it was and the site may know.
    pub(crate) deleted_at_cloud: Option<(&'a str, &'a str)>,
    /// The dropped columns that the site's edit names, as a table of nothing else.
    pub(crate) gone: Option<&'a Table>,
    /// Whether the row is an insert that stays held at its site.
    pub(crate) held: bool,
    /// The entry of the list that this one hangs from.
    pub(crate) root: Option<usize>,
}

/// Where parked rows come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) site: &'a SiteIdentity,
    pub(crate) replica: ReplicaId,
    pub(crate) push: PushNo,
    pub(crate) author: &'a str,
}

/// An open conflict that a later clash of the same row joins.
struct Open {
    id: Uuid,
    group: Option<Uuid>,
    base: Option<serde_json::Value>,
    local: Option<serde_json::Value>,
    columns: Vec<String>,
}

/// One row of `sync_conflicts` to be.
struct Draft<'a> {
    id: Uuid,
    joins: bool,
    root: Option<Uuid>,
    group: Option<Uuid>,
    parking: &'a Parking<'a>,
    base: Option<serde_json::Value>,
    local: Option<serde_json::Value>,
    columns: Vec<String>,
}

/// What was parked.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// The conflicts, in the order of the rows.
    pub(crate) conflicts: Vec<ConflictId>,
    /// The causes that have no conflict before these.
    pub(crate) new_groups: Vec<Group>,
}

/// Parks rows, in their order. Open conflicts of the same rows are joined.
///
/// # Errors
/// The store failed.
pub(crate) async fn park(tx: &mut WriteTx<'_>, source: Source<'_>, list: &[Parking<'_>]) -> Result<Parked, StoreError> {
    if list.is_empty() {
        return Ok(Parked::default());
    }
    // Whoever decides takes this head too: what is open now stays open.
    tx.take(&BTreeSet::from([source.site.own_scope()])).await?;
    let open = open_conflicts(tx, source.replica, list).await?;
    let mut drafts: Vec<Draft<'_>> = list.iter().map(|parking| draft(parking, open.get(&name(parking)))).collect();
    hang(tx, source, &mut drafts).await?;
    let new_groups = give_groups(tx, source, &mut drafts).await?;
    let (joined, new): (Vec<&Draft<'_>>, Vec<&Draft<'_>>) = drafts.iter().partition(|draft| draft.joins);
    write(tx, source, &new, INSERT).await?;
    write(tx, source, &joined, JOIN).await?;
    Ok(Parked { conflicts: drafts.iter().map(|draft| ConflictId(draft.id)).collect(), new_groups })
}

/// Finds what each draft hangs from: a row of this push, or one that an earlier push parked. Always the top of the tree.
async fn hang(tx: &WriteTx<'_>, source: Source<'_>, drafts: &mut [Draft<'_>]) -> Result<(), StoreError> {
    let asking = |draft: &Draft<'_>| draft.parking.root.is_none() && draft.parking.kind == ConflictKind::ForeignKey;
    let asked: Vec<(usize, (i32, String))> = (0..drafts.len())
        .filter(|index| asking(&drafts[*index]))
        .flat_map(|index| refers_to(source.catalog, drafts[index].parking).into_iter().map(move |named| (index, named)))
        .collect();
    for (index, root, group) in group::earlier_roots(tx, source.replica, &asked).await? {
        if drafts[index].id != root {
            (drafts[index].root, drafts[index].group) = (Some(root), Some(group));
        }
    }
    for index in 0..drafts.len() {
        let Some(root) = drafts[index].parking.root.and_then(|root| drafts.get(root)) else { continue };
        let (top, group) = (root.root.unwrap_or(root.id), root.root.and(root.group));
        if drafts[index].id != top {
            (drafts[index].root, drafts[index].group) = (Some(top), group);
        }
    }
    Ok(())
}

/// The rows that a parked one names as its parents, as `sync_conflicts` would name them.
fn refers_to(catalog: &Catalog, parking: &Parking<'_>) -> Vec<(i32, String)> {
    let table = parking.table;
    let value = |no: ColumnNo| {
        let pushed = parking.pushed.iter().find(|(pushed, _)| *pushed == no).map(|(_, value)| *value);
        pushed.or_else(|| parking.known.get(table.position(no)?)?.as_ref()).map(Cow::Borrowed)
    };
    let named = table.references.iter().filter_map(|reference| {
        let target = catalog.table(reference.table)?;
        let key = reference.key(target, &table.referred_by(reference, target, value)?)?;
        Some((i32::try_from(reference.table.0).ok()?, key.to_string()))
    });
    named.collect()
}

/// Gives each new conflict its group: its root's where it hangs from one. One statement, however many there are.
async fn give_groups(tx: &WriteTx<'_>, source: Source<'_>, drafts: &mut [Draft<'_>]) -> Result<Vec<Group>, StoreError> {
    let cause = |draft: &Draft<'_>| (name(draft.parking).0, draft.parking.kind);
    let wanted: BTreeSet<(i32, &str)> =
        drafts.iter().filter(|draft| !draft.joins && draft.root.is_none()).map(cause).map(|(table, kind)| (table, kind.as_str())).collect();
    let groups = group::assign(tx, source, &wanted).await?;
    for draft in drafts.iter_mut().filter(|draft| !draft.joins && draft.root.is_none()) {
        let (table, kind) = cause(draft);
        draft.group = groups.iter().find(|group| group.table == table && group.kind == kind.as_str()).map(|group| group.id);
    }
    let of: HashMap<Uuid, Uuid> = drafts.iter().map(|draft| (draft.id, draft.group.unwrap_or(draft.id))).collect();
    for draft in drafts.iter_mut().filter(|draft| draft.root.is_some() && draft.group.is_none()) {
        draft.group = draft.root.and_then(|root| of.get(&root)).copied();
    }
    Ok(groups.into_iter().filter(|group| group.new).collect())
}

/// A row as `sync_conflicts` names it.
fn name(parking: &Parking<'_>) -> (i32, String) {
    (i32::try_from(parking.table.no.0).unwrap_or_default(), parking.key.to_string())
}

async fn open_conflicts(tx: &WriteTx<'_>, replica: ReplicaId, list: &[Parking<'_>]) -> Result<HashMap<(i32, String), Open>, StoreError> {
    let (tables, records): (Vec<i32>, Vec<String>) = list.iter().map(name).unzip();
    let sql = "SELECT c.table_no, c.record_id, c.id, c.base_data, c.local_data, c.columns, c.group_id
               FROM unnest($2::integer[], $3::text[]) AS u(table_no, record_id)
               JOIN rejoin.sync_conflicts c ON c.table_no = u.table_no AND c.record_id = u.record_id
               WHERE c.replica = $1 AND c.resolution = 'PENDING'";
    let rows = tx.query(&tx.prepare_cached(sql).await?, &[&replica.0, &tables, &records]).await?;
    let open = rows.iter().map(|row| {
        let key = (row.try_get(0)?, row.try_get(1)?);
        let (id, base, local) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        Ok((key, Open { id, group: row.try_get(6)?, base, local, columns: row.try_get(5)? }))
    });
    open.collect()
}

fn draft<'a>(parking: &'a Parking<'a>, open: Option<&Open>) -> Draft<'a> {
    let table = parking.table;
    let mut local: Vec<Option<Value>> = parking.known.clone();
    local.resize(table.columns.len(), None);
    let mut columns: BTreeSet<String> =
        parking.clashed.iter().filter_map(|no| table.column(*no)).map(|column| column.name.clone()).collect();
    let mut base = (!parking.base.is_empty()).then(|| columns_to_json(table, parking.base.iter().copied()));
    // A delete that the site took back by editing the row again is no part of what it wants now.
    if let Some(open) = open.filter(|open| open.local.is_some() || parking.deleted) {
        // What was parked before stays parked: the earlier values below the new ones, the earlier base above.
        let before = open.local.as_ref().map(|json| row_from_json(table, json)).unwrap_or_default();
        for ((column, value), local) in table.columns.iter().zip(before).zip(&mut local) {
            if open.columns.is_empty() || open.columns.contains(&column.name) {
                *local = value.or(local.take());
            }
        }
        if open.columns.is_empty() || columns.is_empty() {
            columns.clear();
        } else {
            columns.extend(open.columns.iter().cloned());
        }
        if let (Some(serde_json::Value::Object(base)), Some(serde_json::Value::Object(earlier))) = (&mut base, &open.base) {
            base.extend(earlier.clone());
        } else {
            base = base.or_else(|| open.base.clone());
        }
    }
    for (no, value) in &parking.pushed {
        if let Some(at) = table.position(*no) {
            local[at] = Some((*value).clone());
        }
    }
    columns.extend(parking.clashed.iter().filter_map(|no| parking.gone?.column(*no)).map(|column| column.name.clone()));
    keep_added(parking, &mut base, &mut local);
    let known = table.columns.iter().zip(&local).filter_map(|(column, value)| value.as_ref().map(|value| (column.no, value)));
    Draft {
        id: open.map_or_else(Uuid::now_v7, |open| open.id),
        joins: open.is_some(),
        root: None,
        group: open.and_then(|open| open.group),
        parking,
        base: with_gone(base, parking, &parking.base, open.and_then(|open| open.base.as_ref())).map(bounded),
        local: Some(still_too_large(columns_to_json(table, known), parking, open))
            .and_then(|local| with_gone(Some(local), parking, &parking.pushed, open.and_then(|open| open.local.as_ref())))
            .filter(|_| !parking.deleted)
            .map(bounded),
        columns: columns.into_iter().collect(),
    }
}

/// Adds what a side says of columns that the table no longer has: now, and in the conflict that it joins.
fn with_gone(
    side: Option<serde_json::Value>,
    parking: &Parking<'_>,
    values: &[(ColumnNo, &Value)],
    before: Option<&serde_json::Value>,
) -> Option<serde_json::Value> {
    let now = parking.gone.map(|gone| columns_to_json(gone, values.iter().copied()));
    let is_gone = |name: &String| parking.table.column_named(name).is_none();
    let mut side = side;
    for named in [before, now.as_ref()].into_iter().flatten().filter_map(serde_json::Value::as_object) {
        for (name, json) in named.iter().filter(|(name, _)| is_gone(name)) {
            if let Some(side) = side.get_or_insert_with(|| serde_json::json!({})).as_object_mut() {
                side.insert(name.clone(), json.clone());
            }
        }
    }
    side
}

/// The images of a parked row that joins nothing: the base values and the site's row.
pub(crate) fn images(parking: &Parking<'_>) -> (Option<serde_json::Value>, Option<serde_json::Value>) {
    let draft = draft(parking, None);
    (draft.base, draft.local)
}

/// What could not be added stays as the difference between base and local value, on top of what an earlier clash left there: whoever decides
/// for the site adds it.
fn keep_added(parking: &Parking<'_>, base: &mut Option<serde_json::Value>, local: &mut [Option<Value>]) {
    for (no, amount) in &parking.added {
        let Some((at, column)) = parking.table.position(*no).map(|at| (at, &parking.table.columns[at])) else { continue };
        let earlier = base.as_ref().and_then(|base| base.get(&column.name)).and_then(|json| column.ty.from_json(json).ok());
        let (from, so_far) = match (earlier, &local[at]) {
            (Some(from), Some(so_far)) => (from, so_far.clone()),
            (None, Some(value)) if !value.is_null() => (value.clone(), value.clone()),
            _ => (zero(&column.ty), zero(&column.ty)),
        };
        // A sum that the column cannot hold is told as far as it can be.
        let (from, to) = match policy::add(&column.ty, &so_far, amount) {
            Some(sum) => (from, sum),
            None => (zero(&column.ty), amount.clone()),
        };
        let base = base.get_or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        if let Some(base) = base.as_object_mut() {
            base.insert(column.name.clone(), column.ty.to_json(&from));
        }
        local[at] = Some(to);
    }
}

fn zero(ty: &ColumnType) -> Value {
    ty.parse("0").unwrap_or(Value::Null)
}

/// What was too large when it was parked is not known any more, and no other value takes its place until the site sends one.
fn still_too_large(mut local: serde_json::Value, parking: &Parking<'_>, open: Option<&Open>) -> serde_json::Value {
    let before = open.and_then(|open| Some((open, open.local.as_ref()?.as_object()?)));
    if let (Some((open, before)), Some(local)) = (before, local.as_object_mut()) {
        for (name, json) in before.iter().filter(|(_, json)| is_too_large(json)) {
            let parked = open.columns.is_empty() || open.columns.contains(name);
            let pushed = |(no, _): &(ColumnNo, &Value)| parking.table.column(*no).is_some_and(|column| column.name == *name);
            if parked && !parking.pushed.iter().any(pushed) {
                local.insert(name.clone(), json.clone());
            }
        }
    }
    local
}

const INSERT: &str = "
    INSERT INTO rejoin.sync_conflicts (id, table_name, record_id, cloud_version, local_version, cloud_data, local_data, cloud_updated_at,
        local_updated_at, kind, reason, columns, base_data, cloud_record_id, table_no, root_id, held, group_id, cloud_modified_by,
        local_modified_by, site_id, site_name, replica, push_no, rejoin_scope, rejoin_tick, rejoin_version, rejoin_updated_at,
        rejoin_modified_by, rejoin_synced_at)
    SELECT u.id, u.table_name, u.record_id, u.cloud_version, u.local_version, u.cloud_data::jsonb, u.local_data::jsonb,
        u.cloud_updated_at::timestamptz, u.local_updated_at::timestamptz, u.kind, u.reason,
        ARRAY(SELECT jsonb_array_elements_text(u.columns::jsonb)), u.base_data::jsonb, u.cloud_record_id, u.table_no, u.root_id, u.held,
        u.group_id, u.cloud_modified_by, u.local_modified_by, $17, $18, $19, $20, $21, $22, 1, now(), $23, now()
    FROM ";

const JOIN: &str = "
    UPDATE rejoin.sync_conflicts c SET cloud_version = u.cloud_version, local_version = u.local_version, cloud_data = u.cloud_data::jsonb,
        local_data = u.local_data::jsonb, cloud_updated_at = u.cloud_updated_at::timestamptz,
        local_updated_at = u.local_updated_at::timestamptz, kind = u.kind, reason = u.reason,
        columns = ARRAY(SELECT jsonb_array_elements_text(u.columns::jsonb)), base_data = u.base_data::jsonb,
        cloud_record_id = u.cloud_record_id, root_id = u.root_id, held = u.held, group_id = u.group_id,
        cloud_modified_by = u.cloud_modified_by, local_modified_by = u.local_modified_by, revision = c.revision + 1, push_no = $20,
        rejoin_tick = $22, rejoin_version = c.rejoin_version + 1, rejoin_updated_at = now(), rejoin_modified_by = $23,
        rejoin_synced_at = now()
    FROM ";

/// The rows of both statements; the site, name and replica are read by the second one only to have the same parameters.
const ROWS: &str = "unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::integer[], $16::uuid[], $24::boolean[],
        $25::uuid[], $26::text[], $27::text[])
        AS u(id, table_name, record_id, cloud_version, local_version, cloud_data, local_data, cloud_updated_at, local_updated_at,
             kind, reason, columns, base_data, cloud_record_id, table_no, root_id, held, group_id, cloud_modified_by, local_modified_by)";

const JOINS: &str = " WHERE c.id = u.id AND c.rejoin_scope = $21 AND c.resolution = 'PENDING' AND ($17::uuid IS NOT NULL OR $18::text IS NOT NULL OR $19::uuid IS NOT NULL)";

async fn write(tx: &WriteTx<'_>, source: Source<'_>, drafts: &[&Draft<'_>], statement: &str) -> Result<(), StoreError> {
    if drafts.is_empty() {
        return Ok(());
    }
    fn each<'d, T>(drafts: &'d [&Draft<'d>], of: impl Fn(&'d Draft<'d>) -> T) -> Vec<T> {
        drafts.iter().map(|draft| of(draft)).collect()
    }
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let cloud = |draft: &Draft<'_>| draft.parking.cloud.map(|stored| bounded(row_to_json(draft.parking.table, &stored.row)).to_string());
    fn gone<'a>(draft: &Draft<'a>) -> Option<(&'a str, &'a str)> {
        draft.parking.deleted_at_cloud.filter(|_| draft.parking.cloud.is_none())
    }
    let own = source.site.own_scope();
    let tick = tx.tick(&own)?.0;
    let params: [&(dyn ToSql + Sync); 27] = [
        &each(drafts, |draft| draft.id),
        &each(drafts, |draft| draft.parking.table.name.as_str()),
        &each(drafts, |draft| draft.parking.key.to_string()),
        &each(drafts, |draft| draft.parking.cloud.map(|stored| stored.stamp.version)),
        &each(drafts, |draft| Some(draft.parking.local_version)),
        &each(drafts, cloud),
        &each(drafts, |draft| json(&draft.local)),
        &each(drafts, |draft| draft.parking.cloud.map(|stored| stored.stamp.updated_at.as_str()).or(gone(draft).map(|(at, _)| at))),
        &each(drafts, |draft| Some(draft.parking.local_updated_at).filter(|text| ColumnType::Timestamptz.parse(text).is_ok())),
        &each(drafts, |draft| draft.parking.kind.as_str()),
        &each(drafts, |draft| draft.parking.reason),
        &each(drafts, |draft| serde_json::Value::from(draft.columns.clone()).to_string()),
        &each(drafts, |draft| json(&draft.base)),
        &each(drafts, |draft| draft.parking.blocker.map(ToString::to_string)),
        &each(drafts, |draft| i32::try_from(draft.parking.table.no.0).unwrap_or_default()),
        &each(drafts, |draft| draft.root),
        &source.site.site.0,
        &source.site.name,
        &source.replica.0,
        &source.push.0,
        &own.0,
        &tick,
        &source.author,
        &each(drafts, |draft| draft.parking.held),
        &each(drafts, |draft| draft.group),
        &each(drafts, |draft| match draft.parking.cloud {
            Some(stored) => stored.stamp.modified_by.as_deref(),
            None => gone(draft).map(|(_, by)| by),
        }),
        &each(drafts, |draft| draft.parking.local_modified_by),
    ];
    let joins = if statement == JOIN { JOINS } else { "" };
    let sql = format!("{statement}{ROWS}{joins}");
    let written = tx.execute(&tx.prepare_cached(&sql).await?, &params).await?;
    if written < drafts.len() as u64 {
        // Resolved by somebody who holds no head, a program with SQL say: what was parked belongs into a new conflict.
        return Err(StoreError::Busy("a conflict was resolved while an edit was to join it".to_owned()));
    }
    Ok(())
}

/// A conflict that was closed because its held row came in.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Which of the accepted rows it was.
    pub(crate) place: usize,
    pub(crate) conflict: Uuid,
    /// Its revision now.
    pub(crate) revision: i64,
}

/// Closes the conflicts of held rows that were offered again and are accepted now: the site's edit won.
///
/// # Errors
/// The store failed.
pub(crate) async fn close_accepted(
    tx: &mut WriteTx<'_>,
    source: Source<'_>,
    accepted: &[(&Table, &Key)],
) -> Result<Vec<Closed>, StoreError> {
    let held =
        tx.prepare_cached("SELECT EXISTS (SELECT 1 FROM rejoin.sync_conflicts WHERE replica = $1 AND resolution = 'PENDING' AND held)");
    if accepted.is_empty() || !tx.query_one(&held.await?, &[&source.replica.0]).await?.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let tables: Vec<i32> = accepted.iter().map(|(table, _)| i32::try_from(table.no.0).unwrap_or_default()).collect();
    let records: Vec<String> = accepted.iter().map(|(_, key)| key.to_string()).collect();
    let own = source.site.own_scope();
    tx.take(&BTreeSet::from([own.clone()])).await?;
    let sql =
        "UPDATE rejoin.sync_conflicts c SET resolution = 'LOCAL_WINS', resolved_at = now(), resolved_by = $4, revision = c.revision + 1,
                   rejoin_tick = $6, rejoin_version = c.rejoin_version + 1, rejoin_updated_at = now(), rejoin_modified_by = $4,
                   rejoin_synced_at = now()
               FROM unnest($2::integer[], $3::text[]) WITH ORDINALITY AS u(table_no, record_id, place)
               WHERE c.table_no = u.table_no AND c.record_id = u.record_id AND c.replica = $1 AND c.resolution = 'PENDING' AND c.held
                 AND c.rejoin_scope = $5
               RETURNING u.place, c.id, c.revision";
    let params: [&(dyn ToSql + Sync); 6] = [&source.replica.0, &tables, &records, &source.author, &own.0, &tx.tick(&own)?.0];
    let rows = tx.query(&tx.prepare_cached(sql).await?, &params).await?;
    let closed = rows.iter().map(|row| {
        let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or_default();
        Ok(Closed { place, conflict: row.try_get(1)?, revision: row.try_get(2)? })
    });
    closed.collect()
}
