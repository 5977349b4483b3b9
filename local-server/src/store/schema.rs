//! A site's tables, generated from the catalog. Pure text; nothing newer than SQLite 3.40, no function that only our program has, so that
//! Debian's `sqlite3` can read and write the file.
//!
//! For each synced table:
//! - the live table: the user's columns, the stamps, and `rejoin_row` (never reused), `rejoin_scope` and `rejoin_tick` (place of the cloud
//!   image that the row was made of; NULL for a local insert), `rejoin_held` (see [`HeldState`](crate::store::rows::HeldState));
//! - for the user's tables `rejoin_base_<no>`, the dirty rows, by `rejoin_row`. `rejoin_kind`:
//!   `change`: every column as it was before the first local change, with that image's version, place and `synced_at`;
//!   `insert`: a row made here, only its key columns are set, as they were at the insert;
//!   `gone` (`rejoin_row` below 0, counting down): not dirty; `rejoin_version` remembers the last version of a removed key, so that
//!   versions never go back.
//!   A `change` or `insert` without a live row of its `rejoin_row` is a delete; `rejoin_gone_version`, `_at`, `_by` say of what, when and by
//!   whom (on a live row they mean nothing). The same `rejoin_row` under another key is a rekey;
//! - `rejoin_theirs_<no>`: by key, the newest cloud image of a dirty row; `rejoin_state` is `live`, `deleted` or `left`.

use std::collections::BTreeSet;

use sync_core::catalog::names::folded;
use sync_core::catalog::{Catalog, Column, DefaultValue, OnDelete, Reference, ScopeRule, Table};
use sync_core::id::ColumnNo;
use sync_core::reference::{ignores_case, pairs};
use sync_core::value::{ColumnType, Value};

use crate::store::rows::{base_table, live_table, quoted, theirs_table};

/// Now, as canonical timestamptz text.
pub const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'";

/// Milliseconds since 1970, in twelve hexadecimal digits.
const MILLIS: &str = "printf('%012x', CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER))";

/// The declared type of a column: its affinity, and for uuids and `char(n)` that their spelling does not matter.
#[must_use]
pub fn storage(ty: &ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool | ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => "INTEGER",
        ColumnType::Float4 | ColumnType::Float8 => "REAL",
        ColumnType::Bytea => "BLOB",
        ColumnType::Uuid => "TEXT COLLATE NOCASE",
        ColumnType::Char => "TEXT COLLATE RTRIM",
        _ => "TEXT",
    }
}

/// A table with its companions, without indexes.
#[must_use]
pub fn tables(catalog: &Catalog, table: &Table, site: &str) -> Vec<String> {
    let mut statements = vec![live(catalog, table, site)];
    if !table.engine {
        statements.push(base(table));
        statements.push(theirs(table));
    }
    statements
}

pub(super) fn live(catalog: &Catalog, table: &Table, site: &str) -> String {
    let stamps = &table.stamps;
    let mut lines: Vec<_> = table.columns.iter().map(|column| live_column(table, column)).collect();
    let version = quoted(&stamps.version);
    lines.push(format!("{version} INTEGER NOT NULL DEFAULT 1 CHECK (typeof({version}) = 'integer')"));
    lines.push(format!("{} TEXT NOT NULL DEFAULT ({NOW})", quoted(&stamps.updated_at)));
    lines.push(format!("{} TEXT DEFAULT {}", quoted(&stamps.last_modified_by), literal_text(&author(site))));
    lines.push(format!("{} TEXT", quoted(&stamps.synced_at)));
    lines.push("rejoin_row INTEGER PRIMARY KEY AUTOINCREMENT".to_owned());
    lines.push("rejoin_scope TEXT".to_owned());
    lines.push("rejoin_tick INTEGER".to_owned());
    lines.push("rejoin_held INTEGER NOT NULL DEFAULT 0".to_owned());
    lines.extend(declared_references(catalog, table));
    format!("CREATE TABLE {} (\n    {}\n)", live_table(table), lines.join(",\n    "))
}

/// How plain SQL at this site signs.
#[must_use]
pub fn author(site: &str) -> String {
    format!("site:{site}")
}

/// One column of the live table.
pub(super) fn live_column(table: &Table, column: &Column) -> String {
    let key = table.key.contains(&column.no);
    // What only the cloud can fill in is empty until the first answer; a leased number until the capture trigger has taken it.
    let later = (column.default == Some(DefaultValue::Cloud) && !key) || column.default == Some(DefaultValue::Leased);
    let not_null = if (column.not_null || key) && !later { " NOT NULL" } else { "" };
    let default = column.default.as_ref().and_then(|default| default_sql(column, default)).map(|sql| format!(" DEFAULT {sql}"));
    format!("{} {}{not_null}{}", quoted(&column.name), storage(&column.ty), default.unwrap_or_default())
}

fn base(table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|column| format!("{} {}", quoted(&column.name), storage(&column.ty))).collect();
    format!(
        "CREATE TABLE {} (
    rejoin_row INTEGER PRIMARY KEY,
    rejoin_kind TEXT NOT NULL,
    {},
    rejoin_version INTEGER,
    rejoin_scope TEXT,
    rejoin_tick INTEGER,
    rejoin_synced_at TEXT,
    rejoin_gone_version INTEGER,
    rejoin_gone_at TEXT,
    rejoin_gone_by TEXT,
    rejoin_push_no INTEGER,
    rejoin_held_conflict TEXT,
    rejoin_held_digest BLOB
)",
        base_table(table),
        columns.join(",\n    ")
    )
}

fn theirs(table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|column| format!("{} {}", quoted(&column.name), storage(&column.ty))).collect();
    format!(
        "CREATE TABLE {} (
    {},
    rejoin_state TEXT NOT NULL,
    rejoin_version INTEGER NOT NULL,
    rejoin_updated_at TEXT NOT NULL,
    rejoin_modified_by TEXT,
    rejoin_synced_at TEXT,
    rejoin_scope TEXT NOT NULL,
    rejoin_tick INTEGER NOT NULL
)",
        theirs_table(table),
        columns.join(",\n    ")
    )
}

/// The table's indexes by name. A held row keeps its key but frees its secondary unique keys, so that it and the cloud's row can stand
/// side by side.
#[must_use]
pub fn indexes(table: &Table) -> Vec<(String, String)> {
    let live = live_table(table);
    let key = names(table, &table.key);
    let mut all = Vec::new();
    let mut taken = BTreeSet::new();
    let mut add = |name: String, unique: &str, on: &str, columns: &str, rest: &str| {
        let name = free_name(&mut taken, name);
        let sql = format!("CREATE {unique}INDEX {} ON {on} ({columns}){rest}", quoted(&name));
        all.push((name, sql));
    };
    add(format!("rejoin_key_{}", table.no), "UNIQUE ", &live, &key, "");
    for unique in &table.uniques {
        let name = format!("rejoin_unique_{}_{}", table.no, unique.name);
        add(name, "UNIQUE ", &live, &names(table, &unique.columns), " WHERE rejoin_held = 0");
    }
    if !table.uniques.is_empty() {
        // Which rows are held is asked at every push and pull while one is that nobody edited.
        add(format!("rejoin_held_{}", table.no), "", &live, "rejoin_row", " WHERE rejoin_held = 1");
    }
    for index in &table.indexes {
        add(format!("rejoin_index_{}_{}", table.no, index.name), "", &live, &names(table, &index.columns), "");
    }
    let mut served: Vec<Vec<ColumnNo>> = Vec::new();
    for reference in &table.references {
        let deciding: Vec<ColumnNo> = reference.deciding().collect();
        let starts = |columns: &[ColumnNo]| columns.starts_with(&reference.columns) || columns.starts_with(&deciding);
        // A partial index serves no foreign key, so uniques do not count. The kinds of one column share an index.
        let kinds = reference.when.is_some() && served.contains(&deciding);
        if !kinds && !starts(&table.key) && !table.indexes.iter().any(|index| starts(&index.columns)) {
            add(format!("rejoin_ref_{}_{}", table.no, reference.name), "", &live, &names(table, &deciding), "");
            served.push(deciding);
        }
    }
    if table.engine && table.name == "sync_conflicts" {
        // What hangs from a conflict, what is of its cause, and whether a row is in one are asked for each line that is shown.
        for (what, columns) in [("root", &["root_id"][..]), ("group", &["group_id"]), ("row", &["table_no", "record_id"])] {
            let columns: Option<Vec<ColumnNo>> = columns.iter().map(|name| table.column_named(name).map(|column| column.no)).collect();
            if let Some(columns) = columns {
                add(format!("rejoin_conflicts_{what}"), "", &live, &names(table, &columns), "");
            }
        }
    }
    for column in table.leased_columns().filter(|column| table.key.first() != Some(&column.no)) {
        // Whether the cloud's rows have taken leased numbers is asked after each pull.
        add(format!("rejoin_leased_{}_{}", table.no, column.no), "", &live, &names(table, &[column.no]), "");
    }
    if table.keep_hours.is_some() {
        add(format!("rejoin_keep_{}", table.no), "", &live, &quoted(&table.stamps.updated_at), "");
    }
    if !table.engine {
        add(format!("rejoin_base_{}_key", table.no), "", &base_table(table), &key, "");
        add(format!("rejoin_theirs_{}_key", table.no), "UNIQUE ", &theirs_table(table), &key, "");
    }
    all
}

/// A name, with a number behind it where SQLite, which does not tell upper from lower case, has it already.
pub(super) fn free_name(taken: &mut BTreeSet<String>, name: String) -> String {
    let numbered = |at: usize| if at == 1 { name.clone() } else { format!("{name}_{at}") };
    (1..).map(numbered).find(|name| taken.insert(folded(name))).unwrap_or(name)
}

/// Quoted column names.
pub(super) fn names(table: &Table, columns: &[ColumnNo]) -> String {
    let names: Vec<_> = columns.iter().filter_map(|no| table.column(*no)).map(|column| quoted(&column.name)).collect();
    names.join(", ")
}

/// Whether a reference can be held at a site at all: both rows are always in the same scopes, or the row referred to is global; and every row of
/// its table is here.
#[must_use]
pub fn may_hold(catalog: &Catalog, table: &Table, reference: &Reference) -> bool {
    let rooted = |rule: &ScopeRule| matches!(rule, ScopeRule::Root | ScopeRule::Through(_));
    catalog.table(reference.table).is_some_and(|target| {
        let stays = target.scope == ScopeRule::Global || (rooted(&table.scope) && rooted(&target.scope));
        !table.engine && !target.engine && stays && target.is_held_whole()
    })
}

/// Whether SQLite itself holds a reference: a foreign key that names a key. Secondary unique keys are partial indexes here, and of a reference
/// that only `rejoin.toml` declares SQLite knows nothing; keys of `citext` it would tell apart by their case: see
/// [`references`](crate::store::references).
#[must_use]
pub fn is_declared(catalog: &Catalog, table: &Table, reference: &Reference) -> bool {
    let names_key = catalog.table(reference.table).is_some_and(|target| {
        target.key == reference.target && !pairs(table, reference, target).any(|(own, wanted)| ignores_case(own, wanted))
    });
    !reference.declared && names_key && may_hold(catalog, table, reference)
}

/// The references that SQLite holds, as table constraints.
pub(super) fn declared_references(catalog: &Catalog, table: &Table) -> Vec<String> {
    table.references.iter().filter_map(|reference| declared(catalog, table, reference)).collect()
}

fn declared(catalog: &Catalog, table: &Table, reference: &Reference) -> Option<String> {
    let target = catalog.table(reference.table).filter(|_| is_declared(catalog, table, reference))?;
    let action = match reference.on_delete {
        OnDelete::Cascade => " ON DELETE CASCADE",
        OnDelete::SetNull => " ON DELETE SET NULL",
        OnDelete::SetDefault => " ON DELETE SET DEFAULT",
        OnDelete::Restrict => "",
    };
    let columns = names(table, &reference.columns);
    Some(format!("FOREIGN KEY ({columns}) REFERENCES {} ({}){action}", live_table(target), names(target, &reference.target)))
}

/// A default in SQL; `None` where SQLite has none to make.
pub(super) fn default_sql(column: &Column, default: &DefaultValue) -> Option<String> {
    match default {
        DefaultValue::Constant(Value::Null) | DefaultValue::Cloud | DefaultValue::Leased => None,
        DefaultValue::Constant(value) => Some(literal(value)),
        DefaultValue::Now => Some(match column.ty {
            ColumnType::Timestamp => "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000')".to_owned(),
            ColumnType::Date => "(strftime('%Y-%m-%d', 'now'))".to_owned(),
            ColumnType::Time => "(strftime('%H:%M:%f', 'now') || '000')".to_owned(),
            _ => format!("({NOW})"),
        }),
        DefaultValue::Uuid => Some(format!(
            "(substr({MILLIS}, 1, 8) || '-' || substr({MILLIS}, 9) || '-7' || substr(lower(hex(randomblob(2))), 2) || '-' || \
             substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))"
        )),
    }
}

/// A value as an SQL literal.
#[must_use]
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(flag) => i64::from(*flag).to_string(),
        // The smallest integer has no literal of its own.
        Value::Int(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(real) if real.get().is_nan() => "'NaN'".to_owned(),
        Value::Float(real) if real.get().is_infinite() => if real.get() > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        Value::Float(real) => format!("{:?}", real.get()),
        Value::Text(text) => literal_text(text),
        Value::Bytes(bytes) => format!("x'{}'", hex::encode(bytes)),
        Value::Uuid(id) => literal_text(&id.to_string()),
    }
}

/// A text as an SQL literal.
#[must_use]
pub fn literal_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
