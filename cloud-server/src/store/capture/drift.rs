//! What happens between a migration that renames or drops a column of a key or a scope path, or a table, and the moment when the cloud looks
//! at the schema again: the functions know such columns by names that are gone. The programs go on.
//!
//! A statement trigger compares the names with PostgreSQL's catalog, in its WHEN, without naming a column for PostgreSQL to depend on. Where
//! they differ, the transaction is marked (`rejoin.drift_NO`), the rows get tick 0 and stay in their scope, and [`super::apply`] stamps them
//! once it has put the right functions in place. Rows deleted meanwhile leave no tombstone: the table is fed again.

use std::collections::{HashMap, HashSet};

use sync_core::catalog::{Catalog, Reference, Table};
use sync_core::id::{ColumnNo, ScopeId};
use tokio_postgres::Client;

use super::literal;
use super::source::Source;
use crate::store::error::StoreError;

const SCOPE: &str = "rejoin_scope";
const TICK: &str = "rejoin_tick";

/// Where each column of the tables is now, and which of their references are checked later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(HashMap<(String, String), Relation>);

#[derive(Debug, Clone, Default)]
struct Relation {
    oid: u32,
    partitioned: bool,
    attnums: HashMap<String, i16>,
    deferrable: HashSet<String>,
}

impl Places {
    /// Reads them.
    pub(crate) async fn read(client: &Client) -> Result<Self, StoreError> {
        let sql = "SELECT n.nspname::text, c.relname::text, c.oid, a.attname::text, a.attnum, c.relkind = 'p'
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                     AND a.attnum > 0 AND NOT a.attisdropped";
        let mut places = Self::default();
        for row in client.query(sql, &[]).await? {
            let relation = places.0.entry((row.get(0), row.get(1))).or_default();
            relation.oid = row.get(2);
            relation.partitioned = row.get(5);
            relation.attnums.insert(row.get(3), row.get(4));
        }
        let sql = "SELECT n.nspname::text, c.relname::text, k.conname::text
                   FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE k.contype = 'f' AND k.condeferrable";
        for row in client.query(sql, &[]).await? {
            if let Some(relation) = places.0.get_mut(&(row.get(0), row.get(1))) {
                relation.deferrable.insert(row.get(2));
            }
        }
        Ok(places)
    }

    fn relation(&self, table: &Table) -> Option<&Relation> {
        self.0.get(&(table.schema.clone(), table.name.clone()))
    }

    pub(super) fn is_partitioned(&self, table: &Table) -> bool {
        self.relation(table).is_some_and(|relation| relation.partitioned)
    }

    /// Whether PostgreSQL may check this reference at the end of the transaction only.
    pub(super) fn is_deferrable(&self, table: &Table, reference: &Reference) -> bool {
        self.relation(table).is_some_and(|relation| relation.deferrable.contains(&reference.name))
    }

    /// That these columns are no longer called so, in words that need no column.
    fn moved<'a>(&self, table: &Table, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let Some(relation) = self.relation(table) else { return Vec::new() };
        let at = names.filter_map(|name| Some((name, relation.attnums.get(name)?)));
        at.map(|(name, attnum)| {
            let address = [table.schema.as_str(), table.name.as_str(), name].map(literal).join(", ");
            format!(
                "(pg_catalog.pg_identify_object_as_address(1259, {}, {attnum})).object_names IS DISTINCT FROM ARRAY[{address}]",
                relation.oid
            )
        })
        .collect()
    }
}

fn names<'a>(table: &'a Table, columns: &'a [ColumnNo]) -> impl Iterator<Item = &'a str> {
    columns.iter().filter_map(|no| table.column(*no)).map(|column| column.name.as_str())
}

/// What the functions' plans rest on besides names: a session keeps plans for the types that it saw first, until the functions are replaced.
pub(super) fn types(catalog: &Catalog, table: &Table) -> String {
    let mut types: Vec<&str> = table.columns.iter().map(|column| column.sql_type.as_str()).collect();
    for way in table.ways() {
        let Some(parent) = catalog.table(way.table) else { continue };
        types.extend(way.target.iter().filter_map(|no| parent.column(*no)).map(|column| column.sql_type.as_str()));
    }
    types.join(", ")
}

impl Source<'_> {
    /// When the functions' names are out of date; `None` where that cannot be.
    pub(super) fn drifted(&self) -> Option<String> {
        let mut own: Vec<ColumnNo> = self.table.key.clone();
        own.extend(self.table.way_columns().into_iter().filter(|no| !self.table.key.contains(no)));
        let stamps = &self.table.stamps;
        let stamps = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at].map(String::as_str);
        let mut conditions = self.places.moved(self.table, names(self.table, &own).chain(stamps).chain([SCOPE, TICK]));
        for way in self.table.ways() {
            let Some(parent) = self.catalog.table(way.table).filter(|parent| parent.no != self.table.no) else { continue };
            for condition in self.places.moved(parent, names(parent, &way.target).chain([SCOPE])) {
                if !conditions.contains(&condition) {
                    conditions.push(condition);
                }
            }
        }
        (!conditions.is_empty()).then(|| conditions.join("\n        OR "))
    }

    /// Whether this transaction found the names out of date.
    pub(super) fn drifts(&self) -> String {
        format!("coalesce(pg_catalog.current_setting('rejoin.drift_{}', true), '') OPERATOR(pg_catalog.=) 'on'", self.table.no)
    }

    pub(super) fn drift(&self) -> Option<String> {
        self.drifted()?;
        let no = self.table.no;
        let body = format!(
            r"BEGIN
    PERFORM set_config('rejoin.drift_{no}', 'on', true);
    PERFORM rejoin.drifts({no}, false);
    RETURN NULL;
END
"
        );
        Some(self.safe_function("drift", "", &body))
    }

    /// What `stamp` does then.
    pub(super) fn stamp_later(&self) -> String {
        let Some(relation) = self.places.relation(self.table) else { return String::new() };
        let key: Vec<String> =
            names(self.table, &self.table.key).filter_map(|name| relation.attnums.get(name)).map(ToString::to_string).collect();
        format!(
            r"    IF {drifts} THEN
        IF TG_OP = 'UPDATE' AND rejoin.differ({oid}, '{{{key}}}', to_jsonb(OLD), to_jsonb(NEW)) THEN
            PERFORM rejoin.drifts({no}, true);
        END IF;
        IF to_jsonb(NEW) ?& ARRAY['rejoin_scope', 'rejoin_tick'] THEN
            NEW.rejoin_scope := coalesce(OLD.rejoin_scope, {nowhere});
            NEW.rejoin_tick := 0;
        END IF;
        RETURN NEW;
    END IF;
",
            drifts = self.drifts(),
            oid = relation.oid,
            key = key.join(","),
            no = self.table.no,
            nowhere = literal(ScopeId::NOWHERE),
        )
    }

    /// What the triggers of a statement do then. `gone`: rows that are gone, where that is what they are about.
    pub(super) fn later(&self, gone: Option<&str>) -> String {
        let note = gone.map_or_else(String::new, |from| {
            format!("        IF EXISTS (SELECT FROM {from}) THEN PERFORM rejoin.drifts({}, true); END IF;\n", self.table.no)
        });
        format!("    IF {} THEN\n{note}        RETURN NULL;\n    END IF;\n", self.drifts())
    }
}
