//! One row with all that the site's database knows of it: live, base and theirs, read together for `sync_core::site::step`.

use rusqlite::{Connection, OptionalExtension, params_from_iter};
use sync_core::catalog::Table;
use sync_core::change::{At, Image, Row, Stamp, State};
use sync_core::id::{ConflictId, Key, ScopeId, Tick};
use sync_core::site::{Base, SiteRow};
use sync_core::value::Value;
use uuid::Uuid;

use super::error::Result;
use super::noted;
use super::plan::{DirtySql, TableSql};
use super::rows::{Bound, HeldState, LiveRow, from_sql, read_live, read_row};

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What live row and base row share; `None` where there is neither.
    pub rejoin_row: Option<i64>,
    /// The live row's mark.
    pub held: HeldState,
    /// What the base row says besides the image.
    pub mark: Option<Mark>,
    /// The row.
    pub row: SiteRow,
}

/// What a base row says besides its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The key when the row was first changed or inserted.
    pub key: Key,
    /// The unanswered push that it is in.
    pub push_no: Option<i64>,
    /// Version, time and author of the local delete; they mean nothing on a live row.
    pub gone: (Option<i64>, Option<String>, Option<String>),
}

impl Entry {
    /// A key of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { rejoin_row: None, held: HeldState::Normal, mark: None, row: SiteRow::default() }
    }

    /// The key under which the cloud knows, or would know, the row.
    #[must_use]
    pub fn cloud_key(&self, table: &Table) -> Option<Key> {
        let image = self.row.base.as_ref().and_then(|base| base.row.as_ref());
        let row = image.or_else(|| self.row.live.as_ref().map(|live| &live.row));
        row.map(|row| table.key_of(row)).or_else(|| self.mark.as_ref().map(|mark| mark.key.clone()))
    }
}

/// What stands at a key.
#[derive(Debug)]
pub enum AtKey {
    /// This row, as far as there is one.
    Row(Box<Entry>),
    /// Another row, which was given this key here and has another one at the cloud.
    Taken,
}

/// The row of a `rejoin_row`.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn by_row(connection: &Connection, table: &Table, sql: &TableSql, rejoin_row: i64) -> Result<Option<Entry>> {
    let base = match &sql.dirty {
        Some(dirty) => base_row(connection, table, &dirty.base_by_row, [&rejoin_row as &dyn rusqlite::ToSql])?,
        None => None,
    };
    let live = live_row(connection, table, sql, rejoin_row)?;
    if base.is_none() && live.is_none() {
        return Ok(None);
    }
    assemble(connection, table, sql, base, live).map(Some)
}

/// What stands at a key of the cloud: the dirty row that had it when it was first changed, else the live row that has it.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn by_key(connection: &Connection, table: &Table, sql: &TableSql, key: &Key) -> Result<AtKey> {
    if let Some(dirty) = &sql.dirty
        && let Some(base) = base_row(connection, table, &dirty.base_by_key, params(&key.0))?
    {
        let live = live_row(connection, table, sql, base.rejoin_row)?;
        return Ok(AtKey::Row(Box::new(assemble(connection, table, sql, Some(base), live)?)));
    }
    let mut statement = connection.prepare_cached(&sql.live_by_key)?;
    let live = statement.query_row(params(&key.0), |row| Ok(read_live(table, row, 0))).optional()?.transpose()?;
    let Some(live) = live else {
        return Ok(AtKey::Row(Box::new(assemble(connection, table, sql, None, None)?)));
    };
    if let Some(dirty) = &sql.dirty
        && let Some(base) = base_row(connection, table, &dirty.base_by_row, [&live.rejoin_row as &dyn rusqlite::ToSql])?
    {
        // A new row that was given another key since is still the row of its new key; a changed one is that of its old key.
        if base.base.row.is_some() {
            return Ok(AtKey::Taken);
        }
        return Ok(AtKey::Row(Box::new(assemble(connection, table, sql, Some(base), Some(live))?)));
    }
    Ok(AtKey::Row(Box::new(assemble(connection, table, sql, None, Some(live))?)))
}

/// The row of a key in a table that has no dirty rows.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn clean_by_key(connection: &Connection, table: &Table, sql: &TableSql, key: &Key) -> Result<Entry> {
    let mut statement = connection.prepare_cached(&sql.live_by_key)?;
    let live = statement.query_row(params(&key.0), |row| Ok(read_live(table, row, 0))).optional()?.transpose()?;
    assemble(connection, table, sql, None, live)
}

/// The newest cloud image kept beside a key.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn theirs(connection: &Connection, table: &Table, dirty: &DirtySql, key: &Key) -> Result<Option<Image>> {
    let mut statement = connection.prepare_cached(&dirty.theirs_by_key)?;
    let read = |row: &rusqlite::Row<'_>| -> Result<Image> {
        let state: String = row.get(0)?;
        let stamp = Stamp { version: row.get(1)?, updated_at: row.get(2)?, modified_by: row.get(3)?, synced_at: row.get(4)? };
        let at = At { scope: ScopeId(row.get(5)?), tick: Tick(row.get(6)?) };
        let state = match state.as_str() {
            "live" => State::Live(read_row(table, row, 7)?),
            "left" => State::Left,
            _ => State::Deleted,
        };
        Ok(Image { at, stamp, state })
    };
    statement.query_row(params_from_iter(key.0.iter().map(Bound)), |row| Ok(read(row))).optional()?.transpose()
}

struct BaseRow {
    rejoin_row: i64,
    mark: Mark,
    base: Base,
}

fn assemble(connection: &Connection, table: &Table, sql: &TableSql, base: Option<BaseRow>, live: Option<LiveRow>) -> Result<Entry> {
    let mut entry = Entry::unknown();
    if let Some(live) = live {
        entry.rejoin_row = Some(live.rejoin_row);
        entry.held = live.held;
        entry.row.live = Some(live.live);
    }
    if let Some(base) = base {
        entry.rejoin_row = Some(base.rejoin_row);
        entry.mark = Some(base.mark);
        entry.row.base = Some(base.base);
        if let (Some(dirty), Some(key)) = (&sql.dirty, entry.cloud_key(table)) {
            entry.row.theirs = theirs(connection, table, dirty, &key)?;
        }
        if let (true, Some(rejoin_row)) = (sql.noted, entry.rejoin_row) {
            noted::load(connection, table, rejoin_row, &mut entry.row)?;
            noted::explain(table, &mut entry.row, None);
        }
    }
    Ok(entry)
}

fn live_row(connection: &Connection, table: &Table, sql: &TableSql, rejoin_row: i64) -> Result<Option<LiveRow>> {
    let mut statement = connection.prepare_cached(&sql.live_by_row)?;
    statement.query_row([rejoin_row], |row| Ok(read_live(table, row, 0))).optional()?.transpose()
}

fn base_row<P: rusqlite::Params>(connection: &Connection, table: &Table, sql: &str, params: P) -> Result<Option<BaseRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params, |row| Ok(read_base(table, row))).optional()?.transpose()
}

fn read_base(table: &Table, row: &rusqlite::Row<'_>) -> Result<BaseRow> {
    let kind: String = row.get(1)?;
    let at = match (row.get::<_, Option<String>>(3)?, row.get::<_, Option<i64>>(4)?) {
        (Some(scope), Some(tick)) => Some(At { scope: ScopeId(scope), tick: Tick(tick) }),
        _ => None,
    };
    let push_no: Option<i64> = row.get(9)?;
    let conflict = row.get::<_, Option<String>>(10)?.and_then(|text| Uuid::try_parse(&text).ok()).map(ConflictId);
    let digest = row.get::<_, Option<Vec<u8>>>(11)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let (image, key) = if kind == "change" {
        let image: Row = read_row(table, row, DirtySql::BASE_LEAD)?;
        let key = table.key_of(&image);
        (Some(image), key)
    } else {
        (None, base_key(table, row)?)
    };
    let base = Base {
        row: image,
        at,
        version: row.get::<_, Option<i64>>(2)?.unwrap_or(0),
        synced_at: row.get(5)?,
        in_flight: push_no.is_some(),
        times: Vec::new(),
        held: conflict.map(|conflict| (conflict, digest.unwrap_or_default())),
    };
    Ok(BaseRow { rejoin_row: row.get(0)?, mark: Mark { key, push_no, gone: (row.get(6)?, row.get(7)?, row.get(8)?) }, base })
}

/// The key of a base row of which only the key columns are set. What is no value of its column stands as text: no row of the cloud has such a
/// key, and whoever gave it may have corrected it since.
fn base_key(table: &Table, row: &rusqlite::Row<'_>) -> Result<Key> {
    let mut values = Vec::with_capacity(table.key.len());
    for at in table.key_positions() {
        let raw = row.get_ref(DirtySql::BASE_LEAD + at)?;
        let as_it_stands = || Value::Text(raw.as_bytes().map_or_else(|_| String::new(), |text| String::from_utf8_lossy(text).into_owned()));
        values.push(from_sql(&table.columns[at].ty, raw).unwrap_or_else(|_| as_it_stands()));
    }
    Ok(Key(values))
}

fn params(values: &[Value]) -> impl rusqlite::Params {
    params_from_iter(values.iter().map(Bound))
}
