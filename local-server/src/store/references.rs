//! References that SQLite cannot hold itself because they name a secondary unique key, which here is a partial index: checked and acted on
//! by triggers, whatever `foreign_keys` says. Pure text.

use sync_core::catalog::{Catalog, OnDelete, Reference, Table};
use sync_core::id::ColumnNo;

use crate::store::rows::{live_table, quoted};
use crate::store::schema::{is_declared, may_hold, names};

/// The triggers of a table's own references, by name.
#[must_use]
pub fn triggers(catalog: &Catalog, table: &Table) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for reference in &table.references {
        let Some(target) = catalog.table(reference.table) else { continue };
        if may_hold(catalog, table, reference) && !is_declared(catalog, table, reference) {
            let text = Text { reference, table, target };
            for (what, sql) in
                [("insert", text.inserted()), ("update", text.updated()), ("delete", text.deleted()), ("rename", text.renamed())]
            {
                let name = format!("rejoin_ref_{what}_{}_{}", table.no, reference.name);
                all.push((name.clone(), format!("CREATE TRIGGER {} {sql}", quoted(&name))));
            }
        }
    }
    all
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
        let (columns, changed) = (names(self.table, &self.reference.columns), changed(self.table, &self.reference.columns));
        format!("AFTER UPDATE OF {columns} ON {live}\nWHEN {given} AND ({changed})\nBEGIN\n    {refuse};\nEND")
    }

    fn deleted(&self) -> String {
        let (live, referring) = (live_table(self.table), self.referring());
        let columns = || self.reference.columns.iter().filter_map(|no| self.table.column(*no));
        let set = |value: &dyn Fn(&sync_core::catalog::Column) -> String| {
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

    fn renamed(&self) -> String {
        let (target, refuse) = (live_table(self.target), self.refuse_parent());
        let (columns, changed) = (names(self.target, &self.reference.target), changed(self.target, &self.reference.target));
        format!("AFTER UPDATE OF {columns} ON {target}\nWHEN ({changed}) AND {}\nBEGIN\n    {refuse};\nEND", self.no_twin())
    }

    /// All referring columns are there: otherwise nothing is referred to.
    fn given(&self) -> String {
        let columns = self.reference.columns.iter().filter_map(|no| self.table.column(*no));
        columns.map(|column| format!("NEW.{} IS NOT NULL", quoted(&column.name))).collect::<Vec<_>>().join(" AND ")
    }

    fn refuse_orphan(&self) -> String {
        let same = equal(self.target, &self.reference.target, "", self.table, &self.reference.columns, "NEW.");
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
        equal(self.table, &self.reference.columns, "", self.target, &self.reference.target, "OLD.")
    }

    /// No other row, held or not, has the values that OLD had.
    fn no_twin(&self) -> String {
        let same = equal(self.target, &self.reference.target, "t.", self.target, &self.reference.target, "OLD.");
        format!("NOT EXISTS (SELECT 1 FROM {} t WHERE {same} AND t.rejoin_row <> OLD.rejoin_row)", live_table(self.target))
    }
}

fn changed(table: &Table, columns: &[ColumnNo]) -> String {
    let columns = columns.iter().filter_map(|no| table.column(*no)).map(|column| quoted(&column.name));
    columns.map(|name| format!("NEW.{name} IS NOT OLD.{name}")).collect::<Vec<_>>().join(" OR ")
}

fn equal(
    left: &Table,
    left_columns: &[ColumnNo],
    left_alias: &str,
    right: &Table,
    right_columns: &[ColumnNo],
    right_alias: &str,
) -> String {
    let pairs = left_columns.iter().zip(right_columns).filter_map(|(l, r)| Some((left.column(*l)?, right.column(*r)?)));
    let terms = pairs.map(|(l, r)| format!("{left_alias}{} = {right_alias}{}", quoted(&l.name), quoted(&r.name)));
    terms.collect::<Vec<_>>().join(" AND ")
}
