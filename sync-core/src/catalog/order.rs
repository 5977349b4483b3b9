//! In which order tables are written and given their scopes.

use std::collections::BTreeSet;

use super::{Catalog, Reference, Table};
use crate::id::TableNo;

impl Catalog {
    /// The tables with every table after those it refers to. A circle is cut at a reference that only `rejoin.toml` declares, else at one that may
    /// be NULL, else at the lowest number.
    #[must_use]
    pub fn parents_first(&self) -> Vec<&Table> {
        let mut done: Vec<&Table> = Vec::with_capacity(self.tables.len());
        let mut rest: Vec<&Table> = self.tables.iter().collect();
        while !rest.is_empty() {
            let open: BTreeSet<TableNo> = rest.iter().map(|table| table.no).collect();
            let waits = |table: &Table, reference: &Reference| reference.table != table.no && open.contains(&reference.table);
            let ready = |table: &Table| !table.references.iter().any(|reference| waits(table, reference));
            let next = rest.iter().position(|table| ready(table)).unwrap_or_else(|| {
                let circle: Vec<usize> = (0..rest.len()).filter(|at| self.is_circular(rest[*at], &open)).collect();
                let first = |cut: &dyn Fn(&Table, &Reference) -> bool| {
                    let is_cut = |table: &Table| table.references.iter().all(|reference| !waits(table, reference) || cut(table, reference));
                    circle.iter().copied().find(|at| is_cut(rest[*at]))
                };
                let declared = first(&|_, reference| reference.declared);
                declared.or_else(|| first(&Table::may_be_null)).or_else(|| circle.first().copied()).unwrap_or(0)
            });
            done.push(rest.remove(next));
        }
        done
    }

    /// The tables with every table after those that its rows find their scope through. Ways never go in a circle.
    #[must_use]
    pub fn ways_first(&self) -> Vec<&Table> {
        let mut done: Vec<&Table> = Vec::with_capacity(self.tables.len());
        let mut rest: Vec<&Table> = self.tables.iter().collect();
        while !rest.is_empty() {
            let waiting: BTreeSet<TableNo> = rest.iter().map(|table| table.no).collect();
            let (later, ready): (Vec<&Table>, Vec<&Table>) =
                rest.into_iter().partition(|table| table.ways().any(|way| way.table != table.no && waiting.contains(&way.table)));
            let stuck = ready.is_empty();
            done.extend(ready);
            if stuck {
                done.extend(later);
                return done;
            }
            rest = later;
        }
        done
    }

    /// Whether a table refers to itself over others, all of them open.
    fn is_circular(&self, start: &Table, open: &BTreeSet<TableNo>) -> bool {
        let mut reached: BTreeSet<TableNo> = BTreeSet::new();
        let mut next = vec![start];
        while let Some(table) = next.pop() {
            for reference in table.references.iter().filter(|reference| reference.table != table.no && open.contains(&reference.table)) {
                if reference.table == start.no {
                    return true;
                }
                if reached.insert(reference.table) {
                    next.extend(self.table(reference.table));
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that refers to others: `?` may be NULL, `~` is declared.
    fn catalog(tables: &[(u32, &[&str])]) -> Catalog {
        let tables = tables.iter().map(|(no, references)| {
            let column = |no: u32, not_null: bool| {
                serde_json::json!({"no": no, "name": format!("c{no}"), "ty": "int8", "sql_type": "bigint", "not_null": not_null, "default": null,
                                   "max_length": null})
            };
            let references = references.iter().map(|text| {
                let to: u32 = text.trim_start_matches(['?', '~']).parse().unwrap();
                let when = if text.starts_with('~') { serde_json::json!([1, 5]) } else { serde_json::Value::Null };
                serde_json::json!({"name": text, "columns": [if text.starts_with('?') { 3 } else { 2 }], "table": to, "target": [1],
                                   "on_delete": "cascade", "declared": text.starts_with('~'), "when": when})
            });
            serde_json::json!({
                "no": no, "schema": "public", "name": format!("t{no}"), "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
                "references": references.collect::<Vec<_>>(), "scope": "global", "soft_delete": null,
                "stamps": {"version": "v", "updated_at": "u", "last_modified_by": "m", "synced_at": "s"},
                "columns": [column(1, true), column(2, true), column(3, false)]
            })
        });
        let tables: Vec<_> = tables.collect();
        serde_json::from_value(serde_json::json!({"version": 1, "system": "s", "api": {}, "tables": tables})).unwrap()
    }

    fn order(tables: &[(u32, &[&str])]) -> Vec<u32> {
        catalog(tables).parents_first().iter().map(|table| table.no.0).collect()
    }

    #[test]
    fn a_table_of_many_kinds_comes_after_all_that_it_may_refer_to() {
        assert_eq!(order(&[(1, &["~2", "~3"]), (2, &["3"]), (3, &[])]), [3, 2, 1]);
        assert_eq!(order(&[(1, &["~1", "~2"]), (2, &[])]), [2, 1], "also where it refers to itself");
    }

    #[test]
    fn a_circle_is_cut_at_what_only_the_settings_declare_first() {
        assert_eq!(order(&[(1, &["2"]), (2, &["~1"])]), [2, 1]);
        assert_eq!(order(&[(1, &["?2"]), (2, &["~1"])]), [2, 1], "rather than where a foreign key may be NULL");
        assert_eq!(order(&[(1, &["~2"]), (2, &["?1"])]), [1, 2]);
        assert_eq!(order(&[(1, &["2"]), (2, &["?1"])]), [2, 1]);
        assert_eq!(order(&[(1, &["2"]), (2, &["1"]), (3, &[])]), [3, 1, 2]);
    }

    #[test]
    fn what_only_waits_for_a_circle_comes_after_it() {
        assert_eq!(order(&[(1, &["~3"]), (2, &["?3"]), (3, &["2"])]), [2, 3, 1]);
        assert_eq!(order(&[(1, &["?3"]), (2, &["?3"]), (3, &["2"])]), [2, 3, 1]);
        assert_eq!(order(&[(1, &["~4"]), (2, &["?3"]), (3, &["2"]), (4, &["3"])]), [2, 3, 4, 1]);
    }
}
