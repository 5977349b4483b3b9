//! The rules of declared references, which PostgreSQL does not hold: what becomes of the rows that refer to a row when it is deleted or gets
//! another key. As PostgreSQL does for foreign keys whose update rule is CASCADE, at the end of the statement; TRUNCATE asks nobody.
//!
//! Users' triggers run under these functions, so that they fix no search_path and spell operators in full. While something that they name is
//! gone, since a migration dropped or renamed it and nobody has looked at the schema since, they leave that reference alone.

use std::fmt::Write as _;

use sync_core::catalog::{OnDelete, Table};
use sync_core::id::ColumnNo;
use sync_core::reference::is_text_of;

use super::literal;
use super::source::Source;
use super::ways::Way;
use crate::store::row::{quote, table_sql};

impl Source<'_> {
    /// The declared references to this table.
    fn declared_here(&self) -> impl Iterator<Item = Way<'_>> {
        let referrers = self.catalog.referrers(self.table.no).filter(|(_, reference)| reference.declared);
        referrers.map(|(child, reference)| Way { child, parent: self.table, reference })
    }

    /// `None` where no declared reference leads to the table.
    pub(super) fn rules(&self) -> Option<String> {
        let (mut acting, mut refusing, mut following) = (String::new(), String::new(), String::new());
        for way in self.declared_here() {
            let there = self.is_there(&way);
            let (child, refers) = (table_sql(way.child), way.refers("g"));
            let action = match way.reference.on_delete {
                OnDelete::Cascade => Some(format!("DELETE FROM {child} c WHERE {refers}")),
                OnDelete::SetNull | OnDelete::SetDefault => {
                    let columns = way.reference.columns.iter().filter_map(|no| way.child.column(*no));
                    let sets: Vec<String> = columns.map(|column| format!("{} = NULL", quote(&column.name))).collect();
                    Some(format!("UPDATE {child} c SET {} WHERE {refers}", sets.join(", ")))
                }
                OnDelete::Restrict => None,
            };
            let living = self.is_living();
            match action {
                Some(action) => {
                    let _ = writeln!(
                        acting,
                        "        IF {there} THEN
            FOR g IN SELECT * FROM ruled LOOP
                CONTINUE WHEN {living};
                {action};
            END LOOP;
        END IF;"
                    );
                }
                None => {
                    let refusal = self.refusal(&way);
                    let _ = writeln!(
                        refusing,
                        "        IF {there} THEN
            FOR g IN SELECT * FROM ruled LOOP
                CONTINUE WHEN {living};
                IF EXISTS (SELECT FROM {child} c WHERE {refers}) THEN
                    {refusal}
                END IF;
            END LOOP;
        END IF;"
                    );
                }
            }
            let _ = writeln!(following, "        IF {there} THEN\n            {};\n        END IF;", self.follow(&way));
        }
        if following.is_empty() {
            return None;
        }
        let body = format!(
            r"DECLARE
    g record;
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
{acting}{refusing}    ELSIF {moved} OR {drifts} THEN
        IF {known} THEN
            IF EXISTS (SELECT FROM {pairs} p WHERE {rekeyed}) THEN
{following}            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
",
            // Keys seldom change, and comparing all rows before and after is dear.
            moved = "coalesce(pg_catalog.current_setting('rejoin.moved', true), '') OPERATOR(pg_catalog.=) 'on'",
            drifts = self.drifts(),
            known = self.key_is_known(),
            pairs = self.pairs(),
            rekeyed = self.rekeyed(),
        );
        Some(self.function("rules", "", &body))
    }

    /// The triggers, without the version in their names.
    pub(super) fn rule_triggers(&self, table: &str, function: &str) -> Vec<(&'static str, String)> {
        if self.declared_here().next().is_none() {
            return Vec::new();
        }
        vec![
            ("rules", format!("AFTER DELETE ON {table} REFERENCING OLD TABLE AS ruled FOR EACH STATEMENT {function}")),
            (
                "rules_key",
                format!("AFTER UPDATE ON {table} REFERENCING OLD TABLE AS ruled NEW TABLE AS ruling FOR EACH STATEMENT {function}"),
            ),
        ]
    }

    /// Whether all that a reference names is in the database.
    fn is_there(&self, way: &Way<'_>) -> String {
        format!(
            "{}\n            AND {}",
            known(way.child, way.reference.deciding()),
            known(self.table, way.reference.target.iter().copied())
        )
    }

    fn key_is_known(&self) -> String {
        known(self.table, self.table.key.iter().copied())
    }

    /// Whether the row `g` is there under its key again, or still.
    fn is_living(&self) -> String {
        let key = self.table.key_columns().map(|column| quote(&column.name));
        let same: Vec<String> = key.map(|name| format!("l.{name} OPERATOR(pg_catalog.=) g.{name}")).collect();
        format!("EXISTS (SELECT FROM {} l WHERE {})", table_sql(self.table), same.join(" AND "))
    }

    fn refusal(&self, way: &Way<'_>) -> String {
        let (child, name) = (way.child, &way.reference.name);
        let message = format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{name}\" on table \"{}\"",
            self.table.name, child.name
        );
        let columns: Vec<&str> =
            way.reference.target.iter().filter_map(|no| self.table.column(*no)).map(|column| column.name.as_str()).collect();
        let values: Vec<String> = columns.iter().map(|column| format!("g.{}", quote(column))).collect();
        format!(
            "RAISE foreign_key_violation USING MESSAGE = {}, DETAIL = pg_catalog.concat({}, pg_catalog.concat_ws(', ', {}), {}),
                        SCHEMA = {}, TABLE = {}, CONSTRAINT = {};",
            literal(&message),
            literal(&format!("Key ({})=(", columns.join(", "))),
            values.join(", "),
            literal(&format!(") is still referenced from table \"{}\".", child.name)),
            literal(&child.schema),
            literal(&child.name),
            literal(name),
        )
    }

    /// The rows of an update as they were, each with its new key: both transition tables hold the same rows in the same order. Never joined by a
    /// nested loop, see [`super::history`].
    fn pairs(&self) -> String {
        let key: Vec<String> = self.table.key_columns().map(|column| quote(&column.name)).collect();
        let (old, new): (Vec<String>, Vec<String>) =
            key.iter().enumerate().map(|(at, name)| (format!("o.{name}"), format!("n.{name} AS rejoin_new_{at}"))).unzip();
        let numbered = |from: &str| format!("(SELECT pg_catalog.row_number() OVER () AS rejoin_place, {} FROM {from})", key.join(", "));
        format!(
            "(SELECT {}, {} FROM {} o FULL JOIN {} n ON n.rejoin_place OPERATOR(pg_catalog.=) o.rejoin_place OFFSET 0)",
            old.join(", "),
            new.join(", "),
            numbered("ruled"),
            numbered("ruling"),
        )
    }

    fn rekeyed(&self) -> String {
        let key = self.table.key_columns().enumerate();
        let same: Vec<String> =
            key.map(|(at, column)| format!("p.{} OPERATOR(pg_catalog.=) p.rejoin_new_{at}", quote(&column.name))).collect();
        format!("NOT ({})", same.join(" AND "))
    }

    /// A declared reference names a key.
    fn follow(&self, way: &Way<'_>) -> String {
        let columns = way.reference.columns.iter().zip(&way.reference.target);
        let sets = columns.filter_map(|(own, target)| {
            let (own, column) = (way.child.column(*own)?, self.table.column(*target)?);
            let at = self.table.key.iter().position(|no| no == target)?;
            let text = if is_text_of(own, column) { "::pg_catalog.text" } else { "" };
            Some(format!("{} = p.rejoin_new_{at}{text}", quote(&own.name)))
        });
        let sets: Vec<String> = sets.collect();
        format!(
            "UPDATE {} c SET {} FROM {} p WHERE {} AND {}",
            table_sql(way.child),
            sets.join(", "),
            self.pairs(),
            self.rekeyed(),
            way.refers("p")
        )
    }
}

/// Whether these columns are in the database under their names.
fn known(table: &Table, columns: impl Iterator<Item = ColumnNo>) -> String {
    let names: Vec<String> = columns.filter_map(|no| table.column(no)).map(|column| literal(&column.name)).collect();
    format!(
        "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({}) \
         AND a.attname OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.name[])) OPERATOR(pg_catalog.=) {}",
        literal(&table_sql(table)),
        names.join(", "),
        names.len()
    )
}
