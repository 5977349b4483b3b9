//! What a partitioned table needs besides. PostgreSQL clones its row triggers to every partition, but a statement fires the statement triggers
//! of the table that it names and of no other: each partition, leaf or not, gets those too, and no statement is counted twice. Only TRUNCATE
//! fires those of all that it empties; to bury a row again changes nothing.
//!
//! An UPDATE that moves a row to another partition is a DELETE and an INSERT to row triggers; the statement's transition tables hold it like any
//! other, so that [`super::moves`] need not know.

use sha2::{Digest, Sha256};

use super::literal;
use super::partitions::Partition;
use super::source::{BULK_SETTINGS, Source};
use crate::store::row::quote;

/// Where a partition's name goes in the text of its triggers.
const HERE: &str = "\"~rejoin partition~\"";

/// What every statement trigger says.
const PER_STATEMENT: &str = "FOR EACH STATEMENT";

/// What each partition of a table needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnPartitions {
    /// The names of the row triggers, which PostgreSQL clones.
    pub(crate) cloned: Vec<String>,
    statements: Vec<(String, String)>,
}

impl OnPartitions {
    /// The names of the statement triggers of each partition.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().map(|(name, _)| name.as_str())
    }

    /// What their comments say while they are those of now. Their functions are the table's, so that most changes leave partitions alone.
    pub(crate) fn mark(&self) -> String {
        let text: String = self.statements.iter().map(|(name, form)| format!("{name} {form}\n")).collect();
        format!("rejoin {}", &hex::encode(Sha256::digest(text))[..16])
    }

    /// Makes them.
    pub(crate) fn sql(&self, partition: &Partition) -> String {
        let (place, mark) = (partition.place(), self.mark());
        let create = |(name, form): &(String, String)| {
            let name = quote(name);
            format!("CREATE TRIGGER {name} {};\nCOMMENT ON TRIGGER {name} ON {place} IS '{mark}';\n", form.replace(HERE, &place))
        };
        self.statements.iter().map(create).collect()
    }
}

impl Source<'_> {
    fn is_partitioned(&self) -> bool {
        self.places.is_partitioned(self.table)
    }

    pub(super) fn on_partitions(&self) -> Option<OnPartitions> {
        if !self.is_partitioned() {
            return None;
        }
        let (statements, rows): (Vec<_>, Vec<_>) = self.triggers(HERE).into_iter().partition(|(_, form)| form.contains(PER_STATEMENT));
        let (all, own) = (self.function_name("truncated"), self.function_name("truncated_partition"));
        let statements = statements.into_iter().map(|(name, form)| (name, form.replace(&format!("{all}()"), &format!("{own}()"))));
        Some(OnPartitions { cloned: rows.into_iter().map(|(name, _)| name).collect(), statements: statements.collect() })
    }

    /// Buries the rows of the partition that is emptied; which one that is, is known only then.
    pub(super) fn truncated_partition(&self) -> Option<String> {
        if !self.is_partitioned() {
            return None;
        }
        let here = |sql: &str| format!("EXECUTE replace({}, {}, TG_RELID::regclass::text)", literal(sql), literal(HERE));
        let forget = self.forget_times(HERE);
        let forget = if forget.is_empty() { forget } else { format!("    {};\n", here(forget.trim().trim_end_matches(';'))) };
        let body = format!(
            r"DECLARE
    one text;
BEGIN
{later}    FOR one IN {scopes} LOOP
        PERFORM rejoin.tick_of(one);
    END LOOP;
    {burial};
{forget}    RETURN NULL;
END
",
            later = self.later(Some("pg_catalog.pg_class c WHERE c.oid = TG_RELID")),
            scopes = here(&Self::scopes_of(HERE)),
            burial = here(&self.burial(HERE, "")),
        );
        Some(self.safe_function("truncated_partition", BULK_SETTINGS, &body))
    }
}
