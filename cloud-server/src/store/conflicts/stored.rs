//! Conflicts as their decisions need them.

use deadpool_postgres::GenericClient;
use sync_core::catalog::{Catalog, Column, Table};
use sync_core::change::Row;
use sync_core::conflict::{ConflictKind, Parked, Resolution};
use sync_core::id::{ColumnNo, Key, ScopeId, TableNo};
use sync_core::value::Value;
use sync_core::write::{is_too_large, row_from_json};
use uuid::Uuid;

use crate::store::bulk::{self, Lock};
use crate::store::error::StoreError;
use crate::store::row::StoredRow;

/// A conflict as it is stored, with what its decision needs.
#[derive(Debug, Clone)]
pub(super) struct Stored<'a> {
    pub(super) head: Head,
    pub(super) table: &'a Table,
    pub(super) key: Key,
    pub(super) kind: ConflictKind,
    pub(super) columns: Vec<ColumnNo>,
    /// Columns that clashed besides and that the table no longer has, by name.
    pub(super) dropped: Vec<String>,
    /// Columns of which the site gave a value that they can hold no more.
    pub(super) unread: Vec<ColumnNo>,
    /// The values that the site's edit was made on, as far as it named them.
    pub(super) base: Vec<Option<Value>>,
    pub(super) local: Vec<Option<Value>>,
    /// The columns of the site's edit whose values were too large to be kept.
    pub(super) too_large: Vec<ColumnNo>,
    /// The cloud's row when it was parked, as far as it was kept; `None` where there was none or the site may not see it.
    pub(super) cloud: Option<Vec<Option<Value>>>,
    pub(super) local_version: i64,
    /// The key of the cloud's row that stands against it.
    pub(super) against: Key,
    /// Whether the site deleted the row.
    pub(super) deleted: bool,
    /// Whether the site inserted it.
    pub(super) insert: bool,
}

/// What every conflict has, whatever became of its table.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: Uuid,
    pub(super) scope: ScopeId,
    pub(super) site: Uuid,
    pub(super) revision: i64,
    pub(super) resolution: Resolution,
    /// The policy that decided, where no person did.
    pub(super) policy: Option<String>,
    pub(super) root: Option<Uuid>,
}

impl Head {
    pub(super) fn pending(&self) -> bool {
        self.resolution == Resolution::Pending
    }
}

/// A conflict as it is found.
pub(super) enum Found<'a> {
    Whole(Box<Stored<'a>>),
    /// Nothing of it can ever be written.
    Rowless(Head, Rowless),
}

/// Why nothing of a conflict can be written. It can be decided for the cloud alone.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Rowless {
    /// The schema no longer has its table, or the table is the engine's own.
    #[error("nothing of this can be written at the cloud, which has no such table any more: only CLOUD_WINS can be decided")]
    Table,
    /// What its row is called is no key of the table by now, or only in another form, by which another row may be known.
    #[error(
        "{table} {record} is no key of the table by now, since keys have another form there: another row may have it, so only CLOUD_WINS can be decided"
    )]
    Key { table: String, record: String },
}

impl Found<'_> {
    pub(super) fn head(&self) -> &Head {
        match self {
            Self::Whole(stored) => &stored.head,
            Self::Rowless(head, _) => head,
        }
    }
}

impl Stored<'_> {
    pub(super) fn parked<'p>(&'p self, current: Option<&'p Row>) -> Parked<'p> {
        let (base, local) = (&self.base, &self.local);
        Parked { kind: self.kind, clashed: &self.columns, base, local, deleted: self.deleted, current }
    }

    /// The site's row; NULL where a value is not known.
    pub(super) fn local_row(&self) -> Row {
        self.local.iter().map(|value| value.clone().unwrap_or(Value::Null)).collect()
    }
}

pub(super) async fn row_at(db: &impl GenericClient, table: &Table, key: &Key, lock: Lock) -> Result<Option<StoredRow>, StoreError> {
    Ok(bulk::load(db, table, &[key], &bulk::all_columns(table), lock).await?.pop())
}

const COLUMNS: &str = "c.id, c.table_no, c.record_id, c.kind, c.columns, c.local_data, c.local_version, c.cloud_record_id, c.rejoin_scope,
    c.site_id, c.revision, c.resolution::text, c.base_data, c.root_id, c.policy, c.cloud_data";

pub(super) async fn read<'a>(db: &impl GenericClient, catalog: &'a Catalog, id: Uuid, lock: &str) -> Result<Option<Found<'a>>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.id = $1{lock}");
    let row = db.query_opt(&db.prepare_cached(&sql).await?, &[&id]).await?;
    row.map(|row| found(catalog, &row)).transpose()
}

/// The open conflicts that have this root, in the order in which they were parked; those of which nothing can be written are left out.
pub(super) async fn under_root<'a>(db: &impl GenericClient, catalog: &'a Catalog, root: Uuid) -> Result<Vec<Stored<'a>>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.root_id = $1 AND c.resolution = 'PENDING' ORDER BY c.created_at, c.id"
    );
    let mut list = Vec::new();
    for row in db.query(&db.prepare_cached(&sql).await?, &[&root]).await? {
        if let Found::Whole(stored) = found(catalog, &row)? {
            list.push(*stored);
        }
    }
    Ok(list)
}

/// Conflicts by their ids, in no order.
pub(super) async fn read_many<'a>(
    db: &impl GenericClient,
    catalog: &'a Catalog,
    ids: &[Uuid],
    lock: &str,
) -> Result<Vec<Found<'a>>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.id = ANY ($1){lock}");
    db.query(&db.prepare_cached(&sql).await?, &[&ids]).await?.iter().map(|row| found(catalog, row)).collect()
}

/// The open conflicts that have one of these roots.
pub(super) async fn under_roots<'a>(db: &impl GenericClient, catalog: &'a Catalog, roots: &[Uuid]) -> Result<Vec<Found<'a>>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rejoin.sync_conflicts c WHERE c.root_id = ANY ($1) AND c.resolution = 'PENDING'");
    db.query(&db.prepare_cached(&sql).await?, &[&roots]).await?.iter().map(|row| found(catalog, row)).collect()
}

fn found<'a>(catalog: &'a Catalog, row: &tokio_postgres::Row) -> Result<Found<'a>, StoreError> {
    let unknown = |word: &str| StoreError::Corrupt(format!("sync_conflicts names {word}"));
    let resolution: &str = row.try_get(11)?;
    let head = Head {
        id: row.try_get(0)?,
        scope: ScopeId(row.try_get(8)?),
        site: row.try_get(9)?,
        revision: row.try_get(10)?,
        resolution: Resolution::from_name(resolution).ok_or_else(|| unknown(resolution))?,
        policy: row.try_get(14)?,
        root: row.try_get(13)?,
    };
    let table = u32::try_from(row.try_get::<_, i32>(1)?).ok().and_then(|no| catalog.table(TableNo(no)));
    let Some(table) = table.filter(|table| !table.engine) else { return Ok(Found::Rowless(head, Rowless::Table)) };
    let record: &str = row.try_get(2)?;
    // `02` of a text key is not the row 2 of a number.
    let Some(key) = table.parse_key(record).ok().flatten().filter(|key| key.to_string() == record) else {
        return Ok(Found::Rowless(head, Rowless::Key { table: table.name.clone(), record: record.to_owned() }));
    };
    let against = row.try_get::<_, Option<&str>>(7)?.and_then(|record| table.parse_key(record).ok().flatten());
    let kind: &str = row.try_get(3)?;
    let columns: Vec<String> = row.try_get(4)?;
    let local = row.try_get::<_, Option<serde_json::Value>>(5)?;
    let base = row.try_get::<_, Option<serde_json::Value>>(12)?;
    let cloud = row.try_get::<_, Option<serde_json::Value>>(15)?;
    let (deleted, insert) = (local.is_none(), local.is_some() && base.is_none());
    let sent = local.unwrap_or_default();
    let lost = |name: &str| sent.get(name).is_some_and(is_too_large) && (columns.is_empty() || columns.iter().any(|column| column == name));
    let base = row_from_json(table, &base.unwrap_or_default());
    let mut local = row_from_json(table, &sent);
    // An edit names no key, and a row that went without a trace left no image; but what it is called says it.
    if !deleted {
        for (at, value) in table.key_positions().zip(&key.0) {
            local[at].get_or_insert_with(|| value.clone());
        }
    }
    let kind = ConflictKind::from_name(kind).ok_or_else(|| unknown(kind))?;
    let known: Vec<ColumnNo> = columns.iter().filter_map(|name| table.column_named(name)).map(|column| column.no).collect();
    let dropped = columns.iter().filter(|name| table.column_named(name).is_none()).cloned().collect();
    let (kind, known) = match (kind, columns.is_empty(), known.is_empty()) {
        // Its table was gone, and is back: what the site wrote is like any other write.
        (ConflictKind::Schema, true, _) if insert => (ConflictKind::Check, known),
        (ConflictKind::Schema, true, _) => {
            let edited = table.columns.iter().zip(&base).filter(|(_, base)| base.is_some());
            (ConflictKind::UpdateUpdate, edited.map(|(column, _)| column.no).collect())
        }
        // All of its columns are gone since: the row as a whole never clashed.
        (_, false, true) => (ConflictKind::Schema, known),
        (kind, ..) => (kind, known),
    };
    let wanted = |column: &Column| insert || known.contains(&column.no);
    let is_unread = |column: &Column, value: &Option<Value>| {
        wanted(column) && value.is_none() && sent.get(&column.name).is_some_and(|given| !given.is_null() && !is_too_large(given))
    };
    let unread = table.columns.iter().zip(&local).filter(|(column, value)| is_unread(column, value)).map(|(column, _)| column.no).collect();
    Ok(Found::Whole(Box::new(Stored {
        head,
        dropped,
        unread,
        table,
        against: against.unwrap_or_else(|| key.clone()),
        key,
        kind,
        too_large: table.columns.iter().filter(|column| lost(&column.name)).map(|column| column.no).collect(),
        columns: known,
        local,
        local_version: row.try_get::<_, Option<i64>>(6)?.unwrap_or_default(),
        base,
        cloud: cloud.map(|cloud| row_from_json(table, &cloud)),
        deleted,
        insert,
    })))
}
