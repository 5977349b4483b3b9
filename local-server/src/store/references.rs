//! References that SQLite cannot hold itself: those that name a secondary unique key, which here is a partial index, those between columns of
//! `citext`, and those that only `rejoin.toml` declares, which may be for rows of one kind and hold a key as text. They are checked and acted
//! on by triggers, whatever `foreign_keys` says. Pure text.

use std::collections::BTreeSet;

use sync_core::catalog::{Catalog, Column, OnDelete, Reference, Table};
use sync_core::id::ColumnNo;
use sync_core::reference::{ignores_case, is_text_of, pairs};
use sync_core::value::ColumnType;

use crate::store::rows::{live_table, quoted};
use crate::store::schema::{free_name, is_declared, literal, may_hold, names as column_names, storage};

/// The triggers of a table's own references, by name.
#[must_use]
pub fn triggers(catalog: &Catalog, table: &Table) -> Vec<(String, String)> {
    let (mut all, mut taken) = (Vec::new(), BTreeSet::new());
    for reference in &table.references {
        let Some(target) = catalog.table(reference.table) else { continue };
        if may_hold(catalog, table, reference) && !is_declared(catalog, table, reference) {
            let text = Text { reference, table, target };
            for (what, sql) in
                [("insert", text.inserted()), ("update", text.updated()), ("delete", text.deleted()), ("rename", text.renamed())]
            {
                let name = free_name(&mut taken, format!("rejoin_ref_{what}_{}_{}", table.no, name(reference)));
                all.push((name.clone(), format!("CREATE TRIGGER {} {sql}", quoted(&name))));
            }
        }
    }
    all
}

/// A reference's name among those of its table: one column may refer to a table by several kinds.
pub(super) fn name(reference: &Reference) -> String {
    match &reference.when {
        Some((_, kind)) => format!("{}={}", reference.name, kind.to_text()),
        None => reference.name.clone(),
    }
}

/// The condition that a row is of the kind that refers by this reference, with AND before it; nothing where every row is. `alias` ends in a dot.
fn of_kind(table: &Table, reference: &Reference, alias: &str) -> String {
    let kind = reference.when.as_ref().and_then(|(column, wanted)| Some((table.column(*column)?, wanted)));
    kind.map_or_else(String::new, |(column, wanted)| format!(" AND {alias}{} = {}", quoted(&column.name), literal(wanted)))
}

struct Text<'a> {
    reference: &'a Reference,
    table: &'a Table,
    target: &'a Table,
}

impl Text<'_> {
    fn inserted(&self) -> String {
        let (live, refuse, given) = (live_table(self.table), self.refuse_orphan(), self.given());
        format!("AFTER INSERT ON {live}\nWHEN {given}\nBEGIN\n    {refuse};\nEND")
    }

    fn updated(&self) -> String {
        let (live, refuse, given) = (live_table(self.table), self.refuse_orphan(), self.given());
        let deciding: Vec<ColumnNo> = self.reference.deciding().collect();
        let (columns, changed) = (column_names(self.table, &deciding), changed(self.table, &deciding));
        format!("AFTER UPDATE OF {columns} ON {live}\nWHEN {given} AND ({changed})\nBEGIN\n    {refuse};\nEND")
    }

    fn deleted(&self) -> String {
        let (live, referring) = (live_table(self.table), self.referring());
        let columns = || self.reference.columns.iter().filter_map(|no| self.table.column(*no));
        let set = |value: &dyn Fn(&Column) -> String| {
            let terms: Vec<_> = columns().map(|column| format!("{} = {}", quoted(&column.name), value(column))).collect();
            format!("UPDATE {live} SET {} WHERE {referring}", terms.join(", "))
        };
        let action = match self.reference.on_delete {
            OnDelete::Cascade => format!("DELETE FROM {live} WHERE {referring}"),
            OnDelete::SetNull => set(&|_| "NULL".to_owned()),
            OnDelete::SetDefault => set(&|column| {
                let default = column.default.as_ref().and_then(|default| crate::store::schema::default_sql(column, default));
                default.unwrap_or_else(|| "NULL".to_owned())
            }),
            OnDelete::Restrict => self.refuse_parent(),
        };
        format!("AFTER DELETE ON {}\nWHEN {}\nBEGIN\n    {action};\nEND", live_table(self.target), self.no_twin())
    }

    /// A changed key: what is declared follows, as the cloud lets it; the database of a foreign key may say otherwise, so that it is refused.
    fn renamed(&self) -> String {
        let target = live_table(self.target);
        let action = if self.reference.declared { self.follow() } else { self.refuse_parent() };
        let (columns, changed) = (column_names(self.target, &self.reference.target), changed(self.target, &self.reference.target));
        format!("AFTER UPDATE OF {columns} ON {target}\nWHEN ({changed}) AND {}\nBEGIN\n    {action};\nEND", self.no_twin())
    }

    fn follow(&self) -> String {
        let sets: Vec<String> =
            self.pairs().map(|(own, target)| format!("{} = {}", quoted(&own.name), held("NEW.", own, target))).collect();
        format!("UPDATE {} SET {} WHERE {}", live_table(self.table), sets.join(", "), self.referring())
    }

    /// The referring columns with those that they refer to.
    fn pairs(&self) -> impl Iterator<Item = (&Column, &Column)> {
        pairs(self.table, self.reference, self.target)
    }

    /// That a row refers to another one; the aliases end in a dot.
    fn same(&self, own_alias: &str, target_alias: &str) -> String {
        let terms = self.pairs().map(|(own, target)| {
            let (ours, theirs) = (format!("{own_alias}{}", quoted(&own.name)), format!("{target_alias}{}", quoted(&target.name)));
            if !is_text_of(own, target) {
                let (left, right) = if own_alias.is_empty() { (ours, theirs) } else { (theirs, ours) };
                return format!("{left} = {right}{}", collation(own, target));
            }
            // Either way round an index serves; a text counts only in the key's own form.
            let as_key = format!("CAST({ours} AS {})", storage(&target.ty).trim_end_matches(" COLLATE NOCASE"));
            format!("{theirs} = {as_key} AND {}", spelt(&ours, &held(target_alias, own, target), own, target))
        });
        terms.collect::<Vec<_>>().join(" AND ")
    }

    /// All referring columns are there: otherwise nothing is referred to.
    fn given(&self) -> String {
        let columns = self.reference.columns.iter().filter_map(|no| self.table.column(*no));
        let given = columns.map(|column| format!("NEW.{} IS NOT NULL", quoted(&column.name))).collect::<Vec<_>>().join(" AND ");
        given + &of_kind(self.table, self.reference, "NEW.")
    }

    fn refuse_orphan(&self) -> String {
        let same = self.same("NEW.", "");
        format!(
            "SELECT RAISE(ABORT, 'FOREIGN KEY constraint failed') WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {same})",
            live_table(self.target)
        )
    }

    fn refuse_parent(&self) -> String {
        let (live, referring) = (live_table(self.table), self.referring());
        format!("SELECT RAISE(ABORT, 'FOREIGN KEY constraint failed') WHERE EXISTS (SELECT 1 FROM {live} WHERE {referring})")
    }

    fn referring(&self) -> String {
        self.same("", "OLD.") + &of_kind(self.table, self.reference, "")
    }

    /// No other row, held or not, has the values that OLD had.
    fn no_twin(&self) -> String {
        let same = self.pairs().map(|(own, target)| {
            let name = quoted(&target.name);
            format!("t.{name} = OLD.{name}{}", collation(own, target))
        });
        let same: Vec<String> = same.collect();
        format!("NOT EXISTS (SELECT 1 FROM {} t WHERE {} AND t.rejoin_row <> OLD.rejoin_row)", live_table(self.target), same.join(" AND "))
    }
}

/// That a referring column holds what refers to a key, in one of the forms that count: a uuid in text may be in capitals.
fn spelt(ours: &str, held: &str, own: &Column, target: &Column) -> String {
    if is_text_of(own, target) && target.ty == ColumnType::Uuid {
        format!("{ours} IN ({held}, upper({held}))")
    } else if is_text_of(own, target) {
        format!("{ours} = {held} COLLATE BINARY")
    } else {
        format!("{ours} = {held}{}", collation(own, target))
    }
}

/// The conditions that a row of `table` refers by this reference to a row of `target`, of which what it would hold is bound from ?1 on
/// ([`Table::referring`]). `alias` ends in a dot.
pub(super) fn refers(table: &Table, reference: &Reference, target: &Table, alias: &str) -> String {
    let columns = pairs(table, reference, target).enumerate();
    let terms: Vec<String> =
        columns.map(|(at, (own, wanted))| spelt(&format!("{alias}{}", quoted(&own.name)), &format!("?{}", at + 1), own, wanted)).collect();
    terms.join(" AND ") + &of_kind(table, reference, alias)
}

/// The conditions that a row of `target` is the one with these values of the target columns, which are bound from ?1 on
/// ([`Table::referred`]). `alias` ends in a dot.
pub(super) fn names(table: &Table, reference: &Reference, target: &Table, alias: &str) -> String {
    let terms = pairs(table, reference, target).enumerate();
    let terms: Vec<String> =
        terms.map(|(at, (own, wanted))| format!("{alias}{} = ?{}{}", quoted(&wanted.name), at + 1, collation(own, wanted))).collect();
    terms.join(" AND ")
}

/// How SQLite compares these columns, where not as they are.
fn collation(own: &Column, target: &Column) -> &'static str {
    if ignores_case(own, target) { " COLLATE NOCASE" } else { "" }
}

/// What the referring column holds of a key's column; the alias ends in a dot.
fn held(alias: &str, own: &Column, target: &Column) -> String {
    let name = format!("{alias}{}", quoted(&target.name));
    if is_text_of(own, target) { format!("CAST({name} AS TEXT)") } else { name }
}

fn changed(table: &Table, columns: &[ColumnNo]) -> String {
    let columns = columns.iter().filter_map(|no| table.column(*no)).map(|column| quoted(&column.name));
    columns.map(|name| format!("NEW.{name} IS NOT OLD.{name}")).collect::<Vec<_>>().join(" OR ")
}
