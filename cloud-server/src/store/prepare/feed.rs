//! Which rows a new catalog feeds again: those of which a site cannot know what they hold now. DDL that rewrote nothing feeds nothing.

use sync_core::catalog::{Catalog, Column, ScopeRule, Table, Travel};
use sync_core::motion::Relabelled;
use sync_core::value::ColumnType;
use tokio_postgres::Transaction;

use super::publish::Motion;
use super::rekey;
use crate::store::capture::hush::{Hush, Which};
use crate::store::capture::{literal, mend};
use crate::store::error::StoreError;
use crate::store::row::{quote, table_sql};

/// What of a table has to be fed again with a new catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Feed {
    /// The rows find their scopes by another way.
    pub(super) scopes: bool,
    pub(super) rows: Rows,
}

/// The rows that are fed in their scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Rows {
    #[default]
    None,
    /// Sites have them, and can go on with what they make of them until they come again: once the catalog is in force, in batches. Those that
    /// hold this condition; all.
    Later(Option<String>),
    /// Sites have none of them, or hold them for others: they must come with the catalog, all together.
    AtOnce,
}

/// `others`: conditions under which a row's new columns hold something else than sites take for it.
pub(super) async fn feed(
    transaction: &Transaction<'_>,
    catalog: &Catalog,
    motion: &Motion<'_>,
    table: &Table,
    others: &[String],
) -> Result<Feed, StoreError> {
    let old = motion.old;
    let scopes = way(old) != way(table) || rekey::moves_scopes(transaction, catalog, old, table).await?;
    Ok(Feed { scopes, rows: if table.travel == Travel::Up { Rows::None } else { rows(motion, table, others) } })
}

fn rows(motion: &Motion<'_>, table: &Table, others: &[String]) -> Rows {
    let old = motion.old;
    let kept_longer = old.keep_hours.is_some_and(|hours| table.keep_hours.is_none_or(|now| now > hours));
    if old.travel == Travel::Up || kept_longer || rekey::is_rekeyed(old, table) {
        return Rows::AtOnce;
    }
    let changed = |column: &Column| old.column(column.no).is_some_and(|old| is_other(old, column, motion.rewritten));
    if table.columns.iter().any(changed) {
        return Rows::Later(None);
    }
    let mut labels = Vec::new();
    // A partitioned table has no file.
    let filed = motion.found.is_some_and(|found| found.filenode.is_some());
    for column in &table.columns {
        let relabelled = old.column(column.no).and_then(|old| Relabelled::between(old, column, motion.rewritten, filed));
        let moved = match relabelled {
            Some(Relabelled::All) => return Rows::Later(None),
            Some(Relabelled::Some(moved)) if !moved.is_empty() => moved,
            Some(Relabelled::Some(_)) | None => continue,
        };
        let list = moved.iter().map(|label| literal(label)).collect::<Vec<_>>().join(", ");
        let name = quote(&column.name);
        labels.push(match column.ty {
            ColumnType::Array(_) => format!("{name}::text[] && ARRAY[{list}]"),
            _ => format!("{name}::text IN ({list})"),
        });
    }
    let conditions: Vec<String> = others.iter().cloned().chain(labels).collect();
    if conditions.is_empty() { Rows::None } else { Rows::Later(Some(conditions.join(" OR "))) }
}

/// Whether a column's values may be others than before, or be written otherwise.
fn is_other(old: &Column, now: &Column, rewritten: bool) -> bool {
    (shape(&old.ty) != shape(&now.ty)) || (old.sql_type != now.sql_type && rewritten)
}

/// The type without an enum's labels: those are asked of the rows.
fn shape(ty: &ColumnType) -> ColumnType {
    match ty {
        ColumnType::Enum(_) => ColumnType::Enum(Vec::new()),
        ColumnType::Array(element) => ColumnType::Array(Box::new(shape(element))),
        other => other.clone(),
    }
}

/// How a table's rows find their scope, in words that RENAME of a column does not change.
fn way(table: &Table) -> String {
    match &table.scope {
        ScopeRule::Through(_) => {
            let ways = table.ways().map(|way| format!("{} {:?} {:?} {:?}", way.table, way.columns, way.target, way.when));
            ways.collect::<Vec<_>>().join(", ")
        }
        ScopeRule::Root => format!("root {} {:?}", table.scope_prefix(), table.key),
        ScopeRule::Global => "global".to_owned(),
        ScopeRule::Site => "site".to_owned(),
    }
}

fn astray<'a>(catalog: &'a Catalog, table: &'a Table, place: &'a str) -> mend::Astray<'a> {
    mend::Astray { catalog, table, place, also: "false", here: "true" }
}

/// What is fed in the transaction that publishes a catalog, and what is written down to be fed once it is in force.
#[derive(Debug, Default)]
pub(super) struct Fed<'a> {
    scopes: Vec<&'a Table>,
    at_once: Vec<&'a Table>,
    later: Vec<(&'a Table, Option<String>)>,
}

impl<'a> Fed<'a> {
    /// Tables are added those first that others find their scope through.
    pub(super) fn add(&mut self, table: &'a Table, feed: Feed) {
        if feed.scopes {
            self.scopes.push(table);
        }
        match feed.rows {
            Rows::None => {}
            Rows::AtOnce => self.at_once.push(table),
            Rows::Later(condition) => self.later.push((table, condition)),
        }
    }

    /// First of all: keeps the writers of the tables out that are written here, then takes the heads, in their order.
    pub(super) async fn hold(&self, transaction: &Transaction<'_>, catalog: &Catalog) -> Result<(), StoreError> {
        mend::lock(transaction, &self.written(catalog)).await?;
        let once = self.at_once.iter().map(|table| format!("SELECT DISTINCT rejoin_scope FROM {}", table_sql(table)));
        let anew = self.scopes.iter().map(|table| astray(catalog, table, &table_sql(table)).scopes());
        let scopes: Vec<String> = once.chain(anew).collect();
        if scopes.is_empty() { Ok(()) } else { mend::take(transaction, &scopes.join(" UNION ")).await }
    }

    fn written(&self, catalog: &Catalog) -> Vec<String> {
        let moving: Vec<_> = self.scopes.iter().map(|table| table.no).collect();
        let mut written = mend::with_dependents(catalog, &moving);
        for table in &self.at_once {
            let name = table_sql(table);
            if !written.contains(&name) {
                written.push(name);
            }
        }
        written
    }

    /// Feeds, and sets off none of the users' triggers. `moved`: tables of which columns have other names or types than they had, or are gone.
    pub(super) async fn feed(self, transaction: &Transaction<'_>, catalog: &Catalog, moved: &[i32]) -> Result<(), StoreError> {
        let users = Hush::begin(transaction, &self.written(catalog), Which::Users).await?;
        for table in &self.scopes {
            let rows = astray(catalog, table, &table_sql(table)).restamp(transaction).await?;
            tracing::info!(table = %table.name, rows, "scopes derived anew");
        }
        let fed: Vec<String> = self.at_once.iter().map(|table| table_sql(table)).collect();
        let ours = Hush::begin(transaction, &fed, Which::All).await?;
        for name in fed {
            let sql = format!(
                "UPDATE {name} t SET rejoin_tick = s.head FROM rejoin.scopes s WHERE s.scope = t.rejoin_scope AND t.rejoin_tick > 0"
            );
            let rows = transaction.execute(&sql, &[]).await?;
            tracing::info!(table = %name, rows, "fed again with the catalog");
        }
        ours.end(transaction).await?;
        users.end(transaction).await?;
        // What is left to feed of them was asked for under names that may be others now.
        let stale = "UPDATE rejoin.feeds SET condition = NULL WHERE condition IS NOT NULL AND table_no = ANY($1)";
        transaction.execute(stale, &[&moved]).await?;
        for (table, condition) in self.later {
            let no = table.no.0.cast_signed();
            if condition.is_none() {
                transaction.execute("DELETE FROM rejoin.feeds WHERE table_no = $1", &[&no]).await?;
            }
            transaction.execute("INSERT INTO rejoin.feeds (table_no, condition) VALUES ($1, $2)", &[&no, &condition]).await?;
        }
        Ok(())
    }
}
