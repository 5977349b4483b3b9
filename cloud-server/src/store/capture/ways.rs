//! The ways over which a row finds its scope, as SQL: the first reference that names a row decides; a row that names none is nowhere.

use sync_core::catalog::{Catalog, Column, Reference, ScopeRule, Table};
use sync_core::id::ScopeId;
use sync_core::reference::{ignores_case, pairs};
use sync_core::value::ColumnType;

use super::{literal, record_id};
use crate::store::row::{quote, table_sql};

/// The scope of the row `alias`, as one expression over tables whose rows are stamped; NULL where a foreign key names a row that is not
/// there, or a column that must have a value has none.
pub(crate) fn scope_expression(catalog: &Catalog, table: &Table, alias: &str) -> String {
    match table.scope {
        ScopeRule::Global => literal(ScopeId::GLOBAL),
        ScopeRule::Site => format!("'site/' || {alias}.{}::text", quote("site_id")),
        ScopeRule::Root => format!("{} || {}", literal(&format!("{}/", table.scope_prefix())), record_id(table, alias)),
        ScopeRule::Through(_) => {
            let ways: Vec<Way<'_>> = ways(catalog, table).collect();
            match ways.as_slice() {
                [way] if way.always_names() => way.scope(alias),
                several => {
                    let cases: Vec<String> =
                        several.iter().map(|way| format!("WHEN {} THEN {}", way.names(alias), way.scope(alias))).collect();
                    let nowhere = literal(ScopeId::NOWHERE);
                    if cases.is_empty() { nowhere } else { format!("CASE {} ELSE {nowhere} END", cases.join(" ")) }
                }
            }
        }
    }
}

/// The ways of a table's rows, in the order in which they are asked.
pub(super) fn ways<'a>(catalog: &'a Catalog, table: &'a Table) -> impl Iterator<Item = Way<'a>> {
    table.ways().filter_map(|reference| Some(Way { child: table, parent: catalog.table(reference.table)?, reference }))
}

/// One way: a reference from a table to the one whose scope its rows take.
pub(crate) struct Way<'a> {
    pub(crate) child: &'a Table,
    pub(crate) parent: &'a Table,
    pub(crate) reference: &'a Reference,
}

impl<'a> Way<'a> {
    /// The referring columns, each with the one referred to.
    fn pairs(&self) -> impl Iterator<Item = (&'a Column, &'a Column)> {
        pairs(self.child, self.reference, self.parent)
    }

    /// Whether every row names something by it.
    fn always_names(&self) -> bool {
        !self.child.may_be_null(self.reference)
    }

    /// Whether the row `alias` names something by it.
    pub(super) fn names(&self, alias: &str) -> String {
        let held = self.pairs().map(|(column, target)| format!("{} IS NOT NULL", held(column, target, alias)));
        self.kind(alias, "=").into_iter().chain(held).collect::<Vec<_>>().join(" AND ")
    }

    /// `alias.entity_type = 'asset'`, where it is for rows of one kind only.
    fn kind(&self, alias: &str, equals: &str) -> Option<String> {
        let (kind, value) = self.reference.when.as_ref()?;
        let column = self.child.column(*kind)?;
        Some(format!("{alias}.{} {equals} {}", quote(&column.name), literal(&value.to_text())))
    }

    /// The scope of what the row `alias` names. What nobody holds in place may be gone.
    pub(super) fn scope(&self, alias: &str) -> String {
        let scope = format!("(SELECT p.rejoin_scope {})", self.parents(alias));
        if self.reference.declared { format!("coalesce({scope}, {})", literal(ScopeId::NOWHERE)) } else { scope }
    }

    /// Whether what the row `alias` names is there.
    pub(super) fn is_there(&self, alias: &str) -> String {
        format!("EXISTS (SELECT {})", self.parents(alias))
    }

    /// `FROM parent p WHERE ..`: what the row `alias` names.
    fn parents(&self, alias: &str) -> String {
        let matches = self
            .pairs()
            .map(|(column, target)| format!("p.{} {} {}", quote(&target.name), by_name(column, target), held(column, target, alias)));
        format!("FROM {} p WHERE {}", table_sql(self.parent), matches.collect::<Vec<_>>().join(" AND "))
    }

    /// Whether the row `c` refers to the row `parent` by it, looked up by an index on the referring columns.
    pub(super) fn refers(&self, parent: &str) -> String {
        self.refers_as("c", parent)
    }

    /// As [`Self::refers`], for the row `child`.
    pub(crate) fn refers_as(&self, child: &str, parent: &str) -> String {
        let matches = self.pairs().map(|(column, target)| {
            let (c, key) = (format!("{child}.{}", quote(&column.name)), format!("{parent}.{}", quote(&target.name)));
            match (is_text_for(column, target), &target.ty) {
                (false, _) => format!("{c} {} {key}", equals(column, target)),
                (true, ColumnType::Uuid) => {
                    let text = format!("{key}::pg_catalog.text");
                    format!("{c}::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{text}, pg_catalog.upper({text})])")
                }
                (true, _) => format!("{c}::pg_catalog.text OPERATOR(pg_catalog.=) {key}::pg_catalog.text"),
            }
        });
        matches.chain(self.kind(child, "OPERATOR(pg_catalog.=)")).collect::<Vec<_>>().join(" AND ")
    }

    /// As [`Self::refers`], looked up among few rows `c` by the key of many rows `parent`.
    pub(super) fn refers_in_bulk(&self, parent: &str) -> String {
        let matches = self
            .pairs()
            .map(|(column, target)| format!("{} {} {parent}.{}", held(column, target, "c"), equals(column, target), quote(&target.name)));
        matches.chain(self.kind("c", "OPERATOR(pg_catalog.=)")).collect::<Vec<_>>().join(" AND ")
    }
}

/// A referring column's value in the type of the column referred to, so that its index is used; NULL for a text that is no such value.
fn held(column: &Column, target: &Column, alias: &str) -> String {
    let value = format!("{alias}.{}", quote(&column.name));
    match (is_text_for(column, target), &target.ty) {
        (false, _) => value,
        (true, ColumnType::Uuid) => format!("rejoin.as_uuid({value}::text)"),
        (true, _) => format!("rejoin.as_bigint({value}::text)"),
    }
}

/// The operator of a foreign key over these columns, spelled in full: by `pg_catalog` alone a `citext` would be compared as text.
fn equals(column: &Column, target: &Column) -> String {
    let schema = target.citext_schema().filter(|_| ignores_case(column, target));
    format!("OPERATOR({}.=)", schema.unwrap_or("pg_catalog"))
}

/// The same where no other schema is searched.
fn by_name(column: &Column, target: &Column) -> String {
    if ignores_case(column, target) { equals(column, target) } else { "=".to_owned() }
}

/// Whether a column holds as text what the key is.
fn is_text_for(column: &Column, target: &Column) -> bool {
    column.ty == ColumnType::Text && matches!(target.ty, ColumnType::Uuid | ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8)
}
