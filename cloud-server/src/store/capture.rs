//! Change capture at the cloud: the SQL that stamps what anybody writes, generated per table. Pure text; [`apply`] brings it in.
//!
//! Per table, the names sorting last, since users' triggers may change what ours read:
//! - `insert`, `update` (BEFORE, per row): give scope, tick and version to what does not carry a stamp that counts;
//! - `moved`, `restamp` (AFTER UPDATE, per statement): leave a mark where a row or its key is gone from, and stamp what hangs from it (see [`moves`]);
//! - `claim` (AFTER INSERT, per statement): stamps what named the row by a declared reference before it was there;
//! - `rules`, `rules_key` (AFTER DELETE, AFTER UPDATE, per statement): hold what declared references say (see [`rules`]);
//! - `arrived`, `gone`, `truncate` (per statement): remove and leave tombstones;
//! - `drift` (BEFORE, per statement): notices that names moved on since (see [`drift`]);
//! - `edited` (AFTER UPDATE, per statement, where the table has columns of the policy `newest`): notes when they were edited;
//! - `history_*` (per statement): write down what happened (see [`history`]).
//!
//! No condition names a user's column: PostgreSQL would refuse to change its type or to drop it. Functions name them, and are bound late.
//!
//! The functions run as the owner of the tables, so that a role that may write a table needs no right on the engine's. For that they
//! fix their search_path; `restamp`, `claim` and `rules`, under which users' triggers run, cannot and spell every operator in full instead.

pub(crate) mod apply;
pub(crate) mod drift;
mod edited;
mod history;
pub(crate) mod hush;
pub(crate) mod mend;
mod moves;
pub(crate) mod orphans;
pub(crate) mod pages;
mod partitioned;
pub(crate) mod partitions;
mod rules;
pub(crate) mod settle;
mod source;
pub(crate) mod stamp;
mod ways;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use sync_core::catalog::{Catalog, Table};
use sync_core::value::ColumnType;

use self::drift::Places;
use self::partitioned::OnPartitions;
use self::source::Source;
pub(crate) use self::ways::{Way, scope_expression};
use super::introspect::assemble::ENGINE_COLUMNS;
use super::row::{quote, table_sql};

/// What every trigger of ours is called: its place at the end of the alphabet, and the version of this generator.
pub(crate) const TRIGGER_PREFIX: &str = "~rejoin";

/// The capture of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capture {
    /// Its functions and triggers.
    pub(crate) sql: String,
    /// The triggers' names.
    pub(crate) triggers: Vec<String>,
    /// What the triggers' comments say while they are those of `sql`.
    pub(crate) mark: String,
    /// What each of its partitions needs, where it is partitioned.
    pub(crate) on_partitions: Option<OnPartitions>,
}

/// The columns that the engine adds, with their types.
pub(crate) fn stamp_columns(table: &Table) -> Vec<(&'static str, &'static str)> {
    const TYPES: [&str; 6] = ["text", "bigint", "bigint", "timestamptz", "text", "timestamptz"];
    let stamps = &table.stamps;
    let ours = ["rejoin_scope", "rejoin_tick", &stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at];
    ENGINE_COLUMNS.into_iter().zip(TYPES).filter(|(name, _)| ours.contains(name)).collect()
}

/// Generates. `naive` names the stamp columns that are `timestamp`: they hold UTC. `history`: what happens to the rows is kept; never to the
/// engine's own.
pub(crate) fn capture(catalog: &Catalog, table: &Table, naive: &BTreeSet<String>, history: bool, places: &Places) -> Capture {
    let source = Source { catalog, table, naive, history: history && !table.engine, places };
    let mut functions = vec![source.stamp(), source.arrived(), source.gone(), source.moved(), source.truncated()];
    functions.extend(source.drift());
    functions.extend(source.restamp());
    functions.extend(source.claim());
    functions.extend(source.rules());
    functions.extend(source.history());
    functions.extend(source.edited());
    functions.extend(source.truncated_partition());
    let triggers = source.triggers(&table_sql(table));
    let mut sql = functions.join("\n");
    for (name, form) in &triggers {
        let _ = write!(sql, "\nCREATE TRIGGER {} {form};", quote(name));
    }
    let mark = format!("rejoin {}", &hex::encode(Sha256::digest(sql.clone() + &drift::types(catalog, table)))[..16]);
    for (name, _) in &triggers {
        let _ = write!(sql, "\nCOMMENT ON TRIGGER {} ON {} IS '{mark}';", quote(name), table_sql(table));
    }
    sql.push('\n');
    let on_partitions = source.on_partitions();
    Capture { sql, triggers: triggers.into_iter().map(|(name, _)| name).collect(), mark, on_partitions }
}

/// A key value's canonical text, whatever the session's settings.
fn key_text(ty: &ColumnType, value: &str) -> String {
    let moment = |form: &str, of: &str| {
        // The first day of our era, in the type's own form.
        let era = format!("CASE WHEN {of} < '0001-01-01' THEN ' BC' ELSE '' END");
        format!("CASE WHEN isfinite({value}) THEN to_char({of}, '{form}') || {era} ELSE {value}::text END")
    };
    match ty {
        ColumnType::Timestamptz => moment(r#"YYYY-MM-DD"T"HH24:MI:SS.US"Z""#, &format!("{value} AT TIME ZONE 'UTC'")),
        ColumnType::Timestamp => moment(r#"YYYY-MM-DD"T"HH24:MI:SS.US"#, value),
        ColumnType::Date => moment("YYYY-MM-DD", value),
        ColumnType::Time => format!("to_char({value}, 'HH24:MI:SS.US')"),
        ColumnType::Numeric => format!("trim_scale({value})::text"),
        ColumnType::Money => format!("{value}::numeric::text"),
        // The cast would always write the mask.
        ColumnType::Inet => format!("format('%s', {value})"),
        ColumnType::Bytea => format!(r"'\x' || encode({value}, 'hex')"),
        _ => format!("{value}::text"),
    }
}

fn key_texts(table: &Table, alias: &str) -> Vec<String> {
    table.key_columns().map(|column| key_text(&column.ty, &format!("{alias}.{}", quote(&column.name)))).collect()
}

/// The key as `rejoin.tombstones` holds it.
pub(crate) fn key_array(table: &Table, alias: &str) -> String {
    format!("ARRAY[{}]", key_texts(table, alias).join(", "))
}

/// The row's record id. Values that never hold what has to be encoded are taken as they are.
fn record_id(table: &Table, alias: &str) -> String {
    let texts = key_texts(table, alias);
    let plain = |ty: &ColumnType| matches!(ty, ColumnType::Uuid | ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
    match texts.as_slice() {
        [text] if table.key_columns().all(|column| plain(&column.ty)) => text.clone(),
        _ => format!("rejoin.record_id({})", texts.join(", ")),
    }
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
