//! What a migration demands of rows: checks and unique indexes, of which the catalog tells only some, and values that must fit narrower types. Read
//! from the copy before and after; the rows that are there now are counted, and only read.

use std::collections::BTreeMap;

use sync_core::catalog::{Catalog, Column, Reference, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::motion::{Change, RuleKind, What};
use sync_core::value::ColumnType;
use tokio_postgres::Client;

use super::filling;
use crate::store::capture::literal;
use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

/// A check or a unique index of a table that is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    oid: u32,
    /// The table's number.
    no: i32,
    /// The column that a domain's check is about.
    domain_of: Option<String>,
    kind: RuleKind,
    /// As people are told it, without its name.
    words: String,
    /// A condition on rows, or what is to differ.
    terms: Vec<String>,
    /// Which rows it is about; all where there is none.
    of: Option<String>,
    nulls_differ: bool,
    /// Whether rows that are there have to hold it.
    validated: bool,
}

/// The rules of the tables that are synced, and how their columns are called.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// By table and attnum: the column's name and what rows get in it as it is added.
    columns: BTreeMap<(i32, i16), (String, String)>,
}

const CHECKS: &str = "
    SELECT c.oid, t.no, pg_get_expr(c.conbin, c.conrelid), c.convalidated, NULL::text
    FROM pg_constraint c JOIN rejoin.tables t ON t.oid = c.conrelid AND t.dropped_at IS NULL
    WHERE c.contype = 'c' AND c.conname !~ '^rejoin_'
    UNION ALL
    SELECT c.oid, t.no, pg_get_expr(c.conbin, 0), c.convalidated, a.attname::text
    FROM pg_constraint c JOIN pg_attribute a ON a.atttypid = c.contypid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN rejoin.tables t ON t.oid = a.attrelid AND t.dropped_at IS NULL
    WHERE c.contype = 'c' AND c.contypid <> 0 ORDER BY 2, 1";

const UNIQUES: &str = "
    SELECT i.indexrelid, t.no, ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, true) FROM generate_series(1, i.indnkeyatts::integer) place),
           pg_get_expr(i.indpred, i.indrelid), NOT i.indnullsnotdistinct
    FROM pg_index i JOIN rejoin.tables t ON t.oid = i.indrelid AND t.dropped_at IS NULL WHERE i.indisunique ORDER BY 2, 1";

/// What refuses rows and cannot be asked of those that are there.
const OTHERS: &str = "
    SELECT c.oid, t.no, pg_get_constraintdef(c.oid, true)
    FROM pg_constraint c JOIN rejoin.tables t ON t.oid = c.conrelid AND t.dropped_at IS NULL WHERE c.contype = 'x'
    UNION ALL
    SELECT g.oid, t.no, 'the trigger ' || g.tgname
    FROM pg_trigger g JOIN rejoin.tables t ON t.oid = g.tgrelid AND t.dropped_at IS NULL
    WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgname NOT LIKE '~rejoin%' AND g.tgfoid NOT IN (
        SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'rejoin') ORDER BY 2, 1";

const COLUMNS: &str = "
    SELECT t.no, a.attnum, a.attname::text,
           format('(%s)::%s', CASE WHEN a.attgenerated = '' AND d.adbin IS NOT NULL THEN pg_get_expr(d.adbin, d.adrelid) ELSE 'NULL' END,
                  format_type(a.atttypid, a.atttypmod))
    FROM rejoin.tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE t.dropped_at IS NULL";

impl Rules {
    pub(super) async fn read(client: &Client) -> Result<Self, StoreError> {
        let mut rules = Vec::new();
        for row in client.query(CHECKS, &[]).await? {
            let (condition, domain_of): (String, Option<String>) = (row.get(2), row.get(4));
            let of = domain_of.as_ref().map(|column| format!(" for {column}")).unwrap_or_default();
            rules.push(Rule {
                oid: row.get(0),
                no: row.get(1),
                domain_of: domain_of.clone(),
                kind: RuleKind::Check,
                words: format!("CHECK {condition}{of}"),
                // A domain's check calls the value so.
                terms: domain_of.into_iter().map(|column| format!("{} AS value", quote(&column))).chain([condition]).collect(),
                of: None,
                nulls_differ: true,
                validated: row.get(3),
            });
        }
        for row in client.query(UNIQUES, &[]).await? {
            let (terms, of): (Vec<String>, Option<String>) = (row.get(2), row.get(3));
            let where_ = of.as_ref().map(|of| format!(" WHERE {of}")).unwrap_or_default();
            rules.push(Rule {
                oid: row.get(0),
                no: row.get(1),
                domain_of: None,
                kind: RuleKind::Unique,
                words: format!("UNIQUE ({}){where_}", terms.join(", ")),
                terms,
                of,
                nulls_differ: row.get(4),
                validated: true,
            });
        }
        for row in client.query(OTHERS, &[]).await? {
            let (oid, no, words): (u32, i32, String) = (row.get(0), row.get(1), row.get(2));
            let kind = RuleKind::Check;
            rules.push(Rule { oid, no, domain_of: None, kind, words, terms: Vec::new(), of: None, nulls_differ: true, validated: true });
        }
        let columns = client.query(COLUMNS, &[]).await?;
        Ok(Self { rules, columns: columns.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect() })
    }

    /// The rules that come with the migration, of tables that were there.
    fn added<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Rule> {
        // A changed type makes them anew, as they were.
        let same = move |old: &Rule, rule: &Rule| (old.no, old.oid, &old.domain_of) == (rule.no, rule.oid, &rule.domain_of);
        let known = move |rule: &Rule| before.rules.iter().any(|old| same(old, rule) || (old.no, &old.words) == (rule.no, &rule.words));
        let there = move |rule: &Rule| before.columns.keys().any(|(no, _)| *no == rule.no);
        self.rules.iter().filter(move |rule| there(rule) && !known(rule))
    }

    /// The rows of a table as they are, under the names that the migration gives the columns.
    fn rows(&self, before: &Self, no: i32, table: &Table) -> String {
        let of = self.columns.range((no, 0)..=(no, i16::MAX));
        let columns = of.map(|(place, (name, added))| match before.columns.get(place) {
            Some((was, _)) => format!("{} AS {}", quote(was), quote(name)),
            None => format!("{added} AS {}", quote(name)),
        });
        format!("(SELECT {} FROM {}) t", columns.collect::<Vec<_>>().join(", "), table_sql(table))
    }
}

/// What the migration demands anew, and what of the rows that are there stands in its way.
pub(super) struct Demands {
    /// What no catalog tells.
    pub(super) changes: Vec<Change>,
    /// Each with what it comes upon.
    pub(super) warnings: Vec<String>,
}

/// Looks at the rows that are there now for what the migration demands of them.
pub(super) async fn demands(
    client: &Client,
    (before, after): (&Rules, &Rules),
    catalog: &Catalog,
    told: &[Change],
    migration: &str,
) -> Result<Demands, StoreError> {
    let mut demands = Demands { changes: Vec::new(), warnings: Vec::new() };
    for rule in after.added(before) {
        let Some(table) = catalog.tables.iter().find(|table| table.no.0.cast_signed() == rule.no && !table.engine) else { continue };
        let label = told.iter().find(|change| change.no == table.no).map_or_else(|| table.name.clone(), |change| change.table.clone());
        let known = |change: &&Change| change.no == table.no && names(&change.what).is_some_and(|names| *names == rule.terms);
        let title = match told.iter().find(known) {
            Some(change) if rule.of.is_none() => change.title(),
            _ => {
                let what = What::RuleAdded { rule: rule.words.clone(), kind: rule.kind };
                demands.changes.push(Change { no: table.no, table: label, what });
                demands.changes.last().map(Change::title).unwrap_or_default()
            }
        };
        let found = match rule.kind {
            RuleKind::Check => violations(client, (before, after), rule, table).await,
            RuleKind::Unique => doubles(client, (before, after), rule, table).await,
        };
        let found = match found {
            Ok(found) => found,
            // It needs what only the migration makes.
            Err(StoreError::Database(_)) => {
                demands.warnings.push(format!("{title}: whether the rows of {} hold it cannot be told before", table.name));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(found) = found else { continue };
        demands.warnings.push(if rule.validated {
            format!("{title} {}: {found}", fails(migration))
        } else {
            format!("{title}: {found}; NOT VALID lets them be, and refuses whatever is written to them later, by sites too")
        });
    }
    Ok(demands)
}

/// The columns that a catalog tells to be unique from now on.
fn names(what: &What) -> Option<&Vec<String>> {
    match what {
        What::UniqueAdded { columns } | What::KeyChanged { to: columns } => Some(columns),
        _ => None,
    }
}

/// How sure it is: nobody knows what a migration writes into rows.
pub(super) fn fails(migration: &str) -> &'static str {
    if filling::may_fill(migration, false) { "fails if the migration does not change that" } else { "will fail" }
}

fn rows(count: i64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

async fn violations(client: &Client, (before, after): (&Rules, &Rules), rule: &Rule, table: &Table) -> Result<Option<String>, StoreError> {
    let from = after.rows(before, rule.no, table);
    let sql = match rule.terms.as_slice() {
        [condition] => format!("SELECT count(*) FROM {from} WHERE NOT ({condition})"),
        [value, condition] => format!("SELECT count(*) FROM (SELECT {value} FROM {from}) v WHERE NOT ({condition})"),
        _ => return Ok(None),
    };
    let count: i64 = client.query_one(&sql, &[]).await?.get(0);
    let (verb, name) = (if count == 1 { "violates" } else { "violate" }, &table.name);
    Ok((count > 0).then(|| format!("{} of {name} {verb} it", rows(count))))
}

async fn doubles(client: &Client, (before, after): (&Rules, &Rules), rule: &Rule, table: &Table) -> Result<Option<String>, StoreError> {
    let from = after.rows(before, rule.no, table);
    let keys = rule.terms.join(", ");
    let of = rule.of.as_ref().map(|of| format!("({of})"));
    let given = rule.nulls_differ.then(|| rule.terms.iter().map(|term| format!("({term}) IS NOT NULL")));
    let conditions: Vec<String> = of.into_iter().chain(given.into_iter().flatten()).chain(["true".to_owned()]).collect();
    let sql = format!(
        "SELECT count(*), coalesce(sum(n), 0)::bigint FROM (SELECT count(*) AS n FROM {from} WHERE {} GROUP BY {keys} HAVING count(*) > 1) d",
        conditions.join(" AND ")
    );
    let row = client.query_one(&sql, &[]).await?;
    let (values, count): (i64, i64) = (row.get(0), row.get(1));
    let values_are = if values == 1 { "1 value is".to_owned() } else { format!("{values} values are") };
    Ok((values > 0).then(|| format!("{values_are} there more than once, in {} of {}", rows(count), table.name)))
}

/// The rows that hold what a column of another type cannot; `None`: nobody can tell, or all fit.
pub(super) async fn too_much(client: &Client, table: &Table, (then, now): (&Column, &Column)) -> Result<Option<String>, StoreError> {
    let Some(condition) = does_not_fit(then, now) else { return Ok(None) };
    let count = count(client, table, &condition).await?;
    let verb = if count == 1 { "holds" } else { "hold" };
    Ok((count > 0).then(|| format!("{} of {} {verb} what does not fit {}", rows(count), table.name, now.sql_type)))
}

/// The condition for values that PostgreSQL's assignment cast refuses.
fn does_not_fit(then: &Column, now: &Column) -> Option<String> {
    use ColumnType::{Enum, Float4, Float8, Int2, Int4, Int8, Numeric};
    let name = quote(&then.name);
    let number = matches!(then.ty, Int2 | Int4 | Int8 | Numeric | Float4 | Float8);
    let whole = |max: i64| format!("round({name}::numeric) NOT BETWEEN {} AND {max}", -i128::from(max) - 1);
    if let Some(max) = now.max_length {
        // Spaces beyond it are cut off.
        return Some(format!("length(rtrim({name}::text, ' ')) > {max}"));
    }
    match &now.ty {
        Int2 if number => Some(whole(i64::from(i16::MAX))),
        Int4 if number => Some(whole(i64::from(i32::MAX))),
        Int8 if number => Some(whole(i64::MAX)),
        Numeric if number => {
            let (precision, scale) = digits(&now.sql_type)?;
            let value = format!("{name}::numeric");
            Some(format!("{value} <> 'NaN' AND abs(round({value}, {scale})) >= 10::numeric ^ ({precision} - ({scale}))"))
        }
        Enum(labels) => {
            let labels: Vec<String> = labels.iter().map(|label| literal(label)).collect();
            Some(format!("{name}::text NOT IN ({})", labels.join(", ")))
        }
        _ => None,
    }
}

/// Precision and scale of `numeric(6,2)`.
fn digits(sql_type: &str) -> Option<(i32, i32)> {
    let inner = sql_type.split_once('(')?.1.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// What a new NOT NULL comes upon.
pub(super) async fn without_value(client: &Client, table: &Table, column: &str, migration: &str) -> Result<Option<String>, StoreError> {
    let known = table.column_named(column).is_some();
    let empty = count(client, table, &if known { format!("{} IS NULL", quote(column)) } else { "true".to_owned() }).await?;
    let (rows, have, them) = if empty == 1 { ("row", "has", "it") } else { ("rows", "have", "them") };
    Ok(match (empty, filling::may_fill(migration, !known)) {
        (0, _) => None,
        (_, false) => Some(format!("will fail: {empty} {rows} of {} {have} no value", table.name)),
        (_, true) => Some(format!("fails if the migration does not fill {them}: {empty} {rows} of {} {have} no value now", table.name)),
    })
}

pub(super) async fn count(client: &Client, table: &Table, condition: &str) -> Result<i64, StoreError> {
    Ok(client.query_one(&format!("SELECT count(*) FROM {} WHERE {condition}", table_sql(table)), &[]).await?.get(0))
}

/// The rows whose new reference names nothing that is there.
pub(super) async fn without_parent(
    client: &Client,
    (before, after): (&Catalog, &Catalog),
    (no, columns): (TableNo, &[String]),
) -> Result<Option<String>, StoreError> {
    let (Some(then), Some(now)) = (before.table(no), after.table(no)) else { return Ok(None) };
    let named = |nos: &[ColumnNo], table: &Table| -> Vec<String> {
        nos.iter().filter_map(|no| table.column(*no)).map(|column| quote(&column.name)).collect()
    };
    let is = |reference: &&Reference| {
        let names: Vec<&str> = reference.columns.iter().filter_map(|no| now.column(*no)).map(|column| column.name.as_str()).collect();
        !reference.declared && names == columns
    };
    // Whoever is new has no rows that could be looked at.
    let Some((reference, parent)) = now.references.iter().find(is).and_then(|it| Some((it, before.table(it.table)?))) else {
        return Ok(None);
    };
    let (from, to) = (named(&reference.columns, then), named(&reference.target, parent));
    if from.len() != columns.len() || to.len() != columns.len() {
        return Ok(None);
    }
    let given: Vec<String> = from.iter().map(|name| format!("t.{name} IS NOT NULL")).collect();
    let same: Vec<String> = from.iter().zip(&to).map(|(from, to)| format!("p.{to} = t.{from}")).collect();
    let (given, same) = (given.join(" AND "), same.join(" AND "));
    let sql = format!(
        "SELECT count(*) FROM {} t WHERE {given} AND NOT EXISTS (SELECT FROM {} p WHERE {same})",
        table_sql(then),
        table_sql(parent)
    );
    let count: i64 = match client.query_one(&sql, &[]).await {
        Ok(row) => row.get(0),
        // Of types that only the migration makes alike.
        Err(error) if error.as_db_error().is_some() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let verb = if count == 1 { "names" } else { "name" };
    Ok((count > 0).then(|| format!("{} of {} {verb} no row of {}", rows(count), then.name, parent.name)))
}
