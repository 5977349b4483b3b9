//! Values and rows to and from SQLite.
//!
//! What we write is canonical. What we read may have been written by any program, so other spellings of a value are read as that value
//! (`2026-01-01 10:00:00`, `0198C0DE-..`, `1.50`), and what is no value of its column at all is an error that names table, key and column.

use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};
use sync_core::catalog::{Column, Table};
use sync_core::change::{At, Row, Stamp};
use sync_core::id::{Key, ScopeId, Tick};
use sync_core::site::Live;
use sync_core::value::{ColumnType, Value, ValueError};

use crate::store::error::Result;

/// A stored value that is not of its column's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}/{record_id}: column {column} cannot be read: {error}. Correct it by UPDATE in the site's database")]
pub struct RowError {
    /// The table.
    pub table: String,
    /// The row's key, as far as it can be read.
    pub record_id: String,
    /// The column.
    pub column: String,
    /// What was expected and found.
    pub error: ValueError,
}

/// A live row with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRow {
    /// SQLite's row number: never reused, the same through a change of key.
    pub rejoin_row: i64,
    /// Whether it is held or a ghost.
    pub held: HeldState,
    /// The row.
    pub live: Live,
}

/// The column `rejoin_held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldState {
    /// An ordinary row.
    Normal = 0,
    /// An insert that the cloud has not accepted; it does not occupy its secondary unique keys.
    Held = 1,
    /// Deleted at the cloud, kept until the dirty rows that refer to it are settled; hidden.
    Ghost = 2,
}

impl HeldState {
    fn from_sql(number: i64) -> Self {
        match number {
            1 => Self::Held,
            2 => Self::Ghost,
            _ => Self::Normal,
        }
    }
}

/// A name as an SQL identifier.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The live table, quoted.
#[must_use]
pub fn live_table(table: &Table) -> String {
    quoted(&table.sqlite_name())
}

/// The table of base images: one row for each dirty row, see [`crate::store::schema`].
#[must_use]
pub fn base_table(table: &Table) -> String {
    format!("rejoin_base_{}", table.no)
}

/// The table of the newest cloud images of dirty rows.
#[must_use]
pub fn theirs_table(table: &Table) -> String {
    format!("rejoin_theirs_{}", table.no)
}

/// A canonical value on its way into SQLite.
pub struct Bound<'a>(pub &'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(Sql::Null),
            Value::Bool(flag) => ToSqlOutput::Owned(Sql::Integer(i64::from(*flag))),
            Value::Int(number) => ToSqlOutput::Owned(Sql::Integer(*number)),
            // SQLite stores NaN as NULL.
            Value::Float(real) if real.get().is_nan() => ToSqlOutput::Borrowed(ValueRef::Text(b"NaN")),
            Value::Float(real) => ToSqlOutput::Owned(Sql::Real(real.get())),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Value::Uuid(id) => ToSqlOutput::Owned(Sql::Text(id.to_string())),
        })
    }
}

/// Reads a stored value of a column.
///
/// # Errors
/// It is no value of the column's type.
pub fn from_sql(ty: &ColumnType, stored: ValueRef<'_>) -> std::result::Result<Value, ValueError> {
    let text = |bytes: &[u8]| {
        let refuse = || ValueError { expected: ty.describe(), got: format!("{} bytes that are not UTF-8", bytes.len()) };
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| refuse())
    };
    match (ty, stored) {
        // A label that only a newer cloud knows is kept; the cloud judges what a program here made up.
        (ColumnType::Enum(_), ValueRef::Text(bytes)) => ColumnType::Text.accept(Value::Text(text(bytes)?)),
        (ColumnType::Bytea, ValueRef::Text(bytes)) => Ok(Value::Bytes(bytes.to_vec())),
        (ColumnType::Text | ColumnType::Char | ColumnType::Bits | ColumnType::Other | ColumnType::Enum(_), ValueRef::Integer(number)) => {
            Ok(Value::Text(number.to_string()))
        }
        (_, ValueRef::Null) => Ok(Value::Null),
        (_, ValueRef::Integer(number)) => ty.accept(Value::Int(number)),
        (_, ValueRef::Real(number)) => ty.accept(Value::Float(sync_core::value::Real::new(number))),
        (_, ValueRef::Text(bytes)) => ty.accept(Value::Text(text(bytes)?)),
        (_, ValueRef::Blob(bytes)) => ty.accept(Value::Bytes(bytes.to_vec())),
    }
}

/// The columns of a row in the order of `table.columns`, for a select list or an insert; `alias` is put before each (`t.`).
#[must_use]
pub fn column_list(table: &Table, alias: &str) -> String {
    let names: Vec<_> = table.columns.iter().map(|column| format!("{alias}{}", quoted(&column.name))).collect();
    names.join(", ")
}

/// `"a" = ?1 AND "b" = ?2` over the key columns, with parameters from `first` on.
#[must_use]
pub fn key_condition(table: &Table, alias: &str, first: usize) -> String {
    let terms: Vec<_> =
        table.key_columns().enumerate().map(|(at, column)| format!("{alias}{} = ?{}", quoted(&column.name), first + at)).collect();
    terms.join(" AND ")
}

/// The select list of a whole live row, as [`read_live`] reads it.
#[must_use]
pub fn live_list(table: &Table, alias: &str) -> String {
    let stamps = &table.stamps;
    let rest =
        [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(|name| format!("{alias}{}", quoted(name)));
    format!(
        "{}, {}, {alias}rejoin_row, {alias}rejoin_scope, {alias}rejoin_tick, {alias}rejoin_held",
        column_list(table, alias),
        rest.join(", ")
    )
}

/// How many columns [`live_list`] has.
#[must_use]
pub fn live_width(table: &Table) -> usize {
    table.columns.len() + 8
}

/// Reads the values of `table.columns`, beginning at column `first` of the result.
///
/// # Errors
/// A value is not of its column's type.
pub fn read_row(table: &Table, row: &rusqlite::Row<'_>, first: usize) -> Result<Row> {
    let read = |(at, column): (usize, &Column)| {
        Ok(from_sql(&column.ty, row.get_ref(first + at)?).map_err(|error| unreadable(table, row, first, &column.name, error))?)
    };
    table.columns.iter().enumerate().map(read).collect()
}

/// Reads the values of the key columns that stand one after another in a result.
///
/// # Errors
/// A value is not of its column's type.
pub fn read_key(table: &Table, row: &rusqlite::Row<'_>, first: usize) -> Result<Key> {
    let mut values = Vec::with_capacity(table.key.len());
    for (at, column) in table.key_columns().enumerate() {
        let read = from_sql(&column.ty, row.get_ref(first + at)?);
        values.push(read.map_err(|error| RowError {
            table: table.name.clone(),
            record_id: "?".into(),
            column: column.name.clone(),
            error,
        })?);
    }
    Ok(Key(values))
}

/// Reads what [`live_list`] selected.
///
/// # Errors
/// A value is not of its column's type.
pub fn read_live(table: &Table, row: &rusqlite::Row<'_>, first: usize) -> Result<LiveRow> {
    let values = read_row(table, row, first)?;
    let at = first + table.columns.len();
    let stamp = read_stamp(table, row, first, at)?;
    let place = match (row.get::<_, Option<String>>(at + 5)?, row.get::<_, Option<i64>>(at + 6)?) {
        (Some(scope), Some(tick)) => Some(At { scope: ScopeId(scope), tick: Tick(tick) }),
        _ => None,
    };
    Ok(LiveRow { rejoin_row: row.get(at + 4)?, held: HeldState::from_sql(row.get(at + 7)?), live: Live { row: values, stamp, at: place } })
}

/// The row of this key, held rows and ghosts too.
///
/// # Errors
/// The database, or a value that cannot be read.
pub fn live_by_key(connection: &Connection, table: &Table, key: &Key) -> Result<Option<LiveRow>> {
    let sql = format!("SELECT {} FROM {} WHERE {}", live_list(table, ""), live_table(table), key_condition(table, "", 1));
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params_from_iter(key.0.iter().map(Bound)), |row| Ok(read_live(table, row, 0))).optional()?.transpose()
}

/// Reads a stamp (version, updated_at, last_modified_by, synced_at) at column `at`; the row itself begins at `first`.
fn read_stamp(table: &Table, row: &rusqlite::Row<'_>, first: usize, at: usize) -> Result<Stamp> {
    let time = |at: usize, name: &str| -> Result<Option<String>> {
        let value = from_sql(&ColumnType::Timestamptz, row.get_ref(at)?).map_err(|error| unreadable(table, row, first, name, error))?;
        Ok(if let Value::Text(text) = value { Some(text) } else { None })
    };
    let version =
        from_sql(&ColumnType::Int8, row.get_ref(at)?).map_err(|error| unreadable(table, row, first, &table.stamps.version, error))?;
    let modified_by = from_sql(&ColumnType::Text, row.get_ref(at + 2)?)
        .map_err(|error| unreadable(table, row, first, &table.stamps.last_modified_by, error))?;
    Ok(Stamp {
        version: if let Value::Int(version) = version { version } else { 0 },
        updated_at: time(at + 1, &table.stamps.updated_at)?.unwrap_or_default(),
        modified_by: if let Value::Text(name) = modified_by { Some(name) } else { None },
        synced_at: time(at + 3, &table.stamps.synced_at)?,
    })
}

/// Names the row of an unreadable value by as much of its key as can be read.
fn unreadable(table: &Table, row: &rusqlite::Row<'_>, first: usize, column: &str, error: ValueError) -> RowError {
    let part = |at: usize| {
        let stored = row.get_ref(first + at).ok()?;
        from_sql(&table.columns[at].ty, stored).ok()
    };
    let key: Vec<_> = table.key_positions().map(|at| part(at).unwrap_or(Value::Text("?".into()))).collect();
    RowError { table: table.name.clone(), record_id: Key(key).to_string(), column: column.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sync_core::value::Real;
    use uuid::Uuid;

    use super::*;

    /// The SQLite type that [`crate::store::schema`] declares matters here: its affinity converts.
    fn through_sqlite(ty: &ColumnType, declared: &str, stored: &dyn ToSql) -> std::result::Result<Value, ValueError> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("CREATE TABLE t (v {declared})")).unwrap();
        connection.execute("INSERT INTO t VALUES (?1)", [stored]).unwrap();
        connection.query_row("SELECT v FROM t", [], |row| Ok(from_sql(ty, row.get_ref(0)?))).unwrap()
    }

    fn typed() -> impl Strategy<Value = (ColumnType, Value)> {
        let text = |ty: ColumnType, text: String| ty.parse(&text).ok().map(|value| (ty, value));
        prop_oneof![
            any::<bool>().prop_map(|flag| Some((ColumnType::Bool, Value::Bool(flag)))),
            any::<i64>().prop_map(|number| Some((ColumnType::Int8, Value::Int(number)))),
            any::<i32>().prop_map(|number| Some((ColumnType::Int4, Value::Int(number.into())))),
            any::<f64>().prop_map(|number| Some((ColumnType::Float8, Value::Float(Real::new(number))))),
            any::<f32>().prop_map(move |number| text(ColumnType::Float4, number.to_string())),
            "-?[0-9]{1,30}(\\.[0-9]{1,20})?".prop_map(move |digits| text(ColumnType::Numeric, digits)),
            any::<String>().prop_map(move |any| text(ColumnType::Text, any)),
            any::<u128>().prop_map(|id| Some((ColumnType::Uuid, Value::Uuid(Uuid::from_u128(id))))),
            any::<Vec<u8>>().prop_map(|bytes| Some((ColumnType::Bytea, Value::Bytes(bytes)))),
            "[0-9]{1,15}|\"[a-z]{0,5}\"|\\[1,2\\]|null".prop_map(move |json| text(ColumnType::Json, json)),
            (1900_u32..2100, 1_u32..13, 1_u32..29, 0_u32..24)
                .prop_map(move |(y, m, d, h)| text(ColumnType::Timestamptz, format!("{y}-{m:02}-{d:02} {h:02}:00:00.25"))),
            (1900_u32..2100, 1_u32..13, 1_u32..29).prop_map(move |(y, m, d)| text(ColumnType::Date, format!("{y}-{m:02}-{d:02}"))),
        ]
        .prop_filter_map("a value of its type", |value| value)
    }

    proptest! {
        #[test]
        fn every_value_survives_sqlite((ty, value) in typed()) {
            let back = through_sqlite(&ty, crate::store::schema::storage(&ty), &Bound(&value)).unwrap();
            prop_assert_eq!(back, value);
        }
    }

    #[test]
    fn what_plain_sql_writes_is_read_as_the_value_it_means() {
        let uuid = "0198C0DE-0000-7000-8000-000000000001";
        for (ty, stored, canonical) in [
            (ColumnType::Timestamptz, &"2026-01-01 10:00:00" as &dyn ToSql, "2026-01-01T10:00:00Z"),
            (ColumnType::Bool, &1, "true"),
            (ColumnType::Bool, &"false", "false"),
            (ColumnType::Uuid, &uuid, "0198c0de-0000-7000-8000-000000000001"),
            (ColumnType::Int4, &"12", "12"),
            (ColumnType::Float8, &5, "5"),
            (ColumnType::Numeric, &1.5, "1.50"),
            (ColumnType::Text, &5, "5"),
            (ColumnType::Json, &"{\"b\": 1, \"a\": 2}", r#"{"a":2,"b":1}"#),
            (ColumnType::Time, &"10:00", "10:00:00"),
        ] {
            let read = through_sqlite(&ty, crate::store::schema::storage(&ty), stored).unwrap();
            assert_eq!(read, ty.parse(canonical).unwrap(), "{ty:?}");
        }
        let unknown = ColumnType::Enum(vec!["A".into()]);
        assert_eq!(through_sqlite(&unknown, "TEXT", &"B").unwrap(), Value::Text("B".into()));
    }

    #[test]
    fn what_is_no_value_of_its_column_is_refused() {
        for (ty, stored) in [
            (ColumnType::Bool, &2 as &dyn ToSql),
            (ColumnType::Uuid, &"nobody"),
            (ColumnType::Int4, &"many"),
            (ColumnType::Timestamptz, &1_767_225_600),
            (ColumnType::Json, &"{"),
            (ColumnType::Text, &vec![0xff_u8]),
            (ColumnType::Text, &"a\0b"),
        ] {
            assert!(through_sqlite(&ty, crate::store::schema::storage(&ty), stored).is_err(), "{ty:?}");
        }
        let invalid = Connection::open_in_memory().unwrap();
        let read = invalid.query_row("SELECT CAST(x'ff' AS TEXT)", [], |row| Ok(from_sql(&ColumnType::Text, row.get_ref(0)?))).unwrap();
        assert_eq!(read.unwrap_err().got, "1 bytes that are not UTF-8");
    }
}
