//! What a partitioned table needs besides. PostgreSQL clones its row triggers to every partition, but a statement fires the statement triggers
//! of the table that it names and of no other: each partition, leaf or not, gets those too, and no statement is counted twice. Only TRUNCATE
//! fires those of all that it empties; to bury a row again changes nothing.
//!
//! An UPDATE that moves a row to another partition is a DELETE and an INSERT to row triggers, so that `moved` hears nothing of it. The
//! partition's bounds are part of the key: such a row has another key, and `crossed` finds it in the statement's transition tables.

use sha2::{Digest, Sha256};

use super::partitions::Partition;
use super::source::{BULK_SETTINGS, HISTORY_SETTINGS, Source, TRIGGER_VERSION};
use super::{key_array, literal};
use crate::store::row::{quote, table_sql};

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
    crossed: String,
}

impl OnPartitions {
    /// The statement triggers of one partition. A statement that names a leaf moves no row out of it.
    fn statements(&self, partition: &Partition) -> impl Iterator<Item = &(String, String)> {
        self.statements.iter().filter(move |(name, _)| !partition.leaf || *name != self.crossed)
    }

    /// Their names.
    pub(crate) fn names(&self, partition: &Partition) -> impl Iterator<Item = &str> {
        self.statements(partition).map(|(name, _)| name.as_str())
    }

    /// What their comments say while they are those of now. Their functions are the table's, so that most changes leave partitions alone.
    pub(crate) fn mark(&self, partition: &Partition) -> String {
        let text: String = self.statements(partition).map(|(name, form)| format!("{name} {form}\n")).collect();
        format!("rejoin {}", &hex::encode(Sha256::digest(text))[..16])
    }

    /// Makes them.
    pub(crate) fn sql(&self, partition: &Partition) -> String {
        let (place, mark) = (partition.place(), self.mark(partition));
        let create = |(name, form): &(String, String)| {
            let name = quote(name);
            format!("CREATE TRIGGER {name} {};\nCOMMENT ON TRIGGER {name} ON {place} IS '{mark}';\n", form.replace(HERE, &place))
        };
        self.statements(partition).map(create).collect()
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
        Some(OnPartitions {
            cloned: rows.into_iter().map(|(name, _)| name).collect(),
            statements: statements.collect(),
            crossed: format!("{TRIGGER_VERSION}_crossed"),
        })
    }

    /// Rows that got another key, and maybe another partition.
    pub(super) fn crossed(&self) -> Option<String> {
        if !self.is_partitioned() {
            return None;
        }
        let (key, rekeyed): (Vec<String>, Vec<String>) = self
            .table
            .key_columns()
            .map(|column| quote(&column.name))
            .map(|name| (format!("l.{name} = rejoin_old.{name}"), format!("rejoin_old.{name} IS DISTINCT FROM rejoin_new.{name}")))
            .unzip();
        let body = format!(
            r"DECLARE
    one record;
BEGIN
{later}    FOR one IN
        SELECT rejoin_old.rejoin_scope AS old_scope, rejoin_new.rejoin_scope AS new_scope, {old_key} AS old_key, {new_key} AS new_key,
            coalesce(rejoin_old.{version}, 0) + 1 AS version, ({image}) - 'rejoin_place' AS image,
            EXISTS (SELECT FROM {table} l WHERE {key} AND l.rejoin_scope || '' = rejoin_old.rejoin_scope) AS lives
        FROM (SELECT row_number() OVER () AS rejoin_place, b.* FROM rows_before b) rejoin_old
            JOIN (SELECT row_number() OVER () AS rejoin_place, a.* FROM rows_after a) rejoin_new USING (rejoin_place)
        WHERE {rekeyed}
    LOOP
        -- Keys may have been swapped.
        IF one.old_scope IS NOT NULL AND NOT one.lives THEN
            PERFORM rejoin.mark_gone(one.old_scope, {no}, one.old_key, one.version, false, one.image);
        END IF;
        PERFORM rejoin.mark_there(one.new_scope, {no}, one.new_key);
    END LOOP;
    RETURN NULL;
END
",
            later = self.later(None),
            old_key = key_array(self.table, "rejoin_old"),
            new_key = key_array(self.table, "rejoin_new"),
            version = quote(&self.table.stamps.version),
            image = self.image("rejoin_old"),
            table = table_sql(self.table),
            key = key.join(" AND "),
            rekeyed = rekeyed.join(" OR "),
            no = self.table.no,
        );
        Some(self.safe_function("crossed", HISTORY_SETTINGS, &body))
    }

    pub(super) fn crossed_trigger(&self, table: &str) -> Option<(&'static str, String)> {
        let form = format!(
            "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after {PER_STATEMENT}
    WHEN (coalesce(current_setting('rejoin.moved', true), '') = 'on') EXECUTE FUNCTION {}()",
            self.function_name("crossed")
        );
        self.is_partitioned().then_some(("crossed", form))
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
