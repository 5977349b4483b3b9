//! Rows that an UPDATE took to another key or scope: per statement, from its transition tables, where `stamp` said that there are any.
//!
//! A mark stays where a row is gone from, and none where it is; what hangs from it goes along, in one statement for each table that does. Whether a
//! row is there is asked of the table itself: keys may have been swapped, and a user's trigger may have moved it on already.

use std::fmt::Write as _;

use sync_core::id::ScopeId;

use super::source::{BULK_SETTINGS, Source};
use super::{key_texts, literal};
use crate::store::row::{quote, table_sql};

/// Rows that are marked by one statement: arrays of them are held in memory.
const ROWS_AT_ONCE: u32 = 1000;

/// What a row is called, as it was and as it is.
const OLD: &str = "rejoin_old";
const NEW: &str = "rejoin_new";

impl Source<'_> {
    /// The trigger. A row's own condition would cost a call of its function for each row.
    pub(super) fn on_moves(&self, table: &str, function: &str) -> String {
        format!(
            "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after FOR EACH STATEMENT
    WHEN (coalesce(current_setting('rejoin.moved', true), '') = 'on') {function}"
        )
    }

    /// Whether the row of `alias` is in the table, in its scope.
    fn lives(&self, alias: &str) -> String {
        let key = self.table.key_columns().map(|column| quote(&column.name)).map(|name| format!("l.{name} = {alias}.{name}"));
        // Not by the feed's index, which would read the whole scope for each row.
        let scope = format!("l.rejoin_scope || '' = {alias}.rejoin_scope");
        format!("EXISTS (SELECT FROM {} l WHERE {})", table_sql(self.table), key.chain([scope]).collect::<Vec<_>>().join(" AND "))
    }

    /// Rows that left a key or a scope.
    pub(super) fn moved(&self) -> String {
        let of = |prefix: &str, alias: &str| self.keys(prefix).map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ");
        let names = |prefix: &str| self.keys(prefix).collect::<Vec<_>>().join(", ");
        let body = format!(
            r#"DECLARE
    part record;
    one text;
BEGIN
{later}    FOR part IN
{moves}
    LOOP
        FOR one IN SELECT DISTINCT u.scope COLLATE "C" FROM unnest(part.old_scope, part.gone) u(scope, gone) WHERE u.gone ORDER BY 1 LOOP
            PERFORM rejoin.tick_of(one);
        END LOOP;
        -- Looked up one by one: what the planner knows of the tombstones is of another time, and a join may be quadratic.
        DELETE FROM rejoin.tombstones t WHERE t.ctid = ANY (ARRAY(
            SELECT (SELECT x.ctid FROM rejoin.tombstones x WHERE x.scope = u.scope AND x.table_no = {no} AND x.key = ARRAY[{u_new}])
            FROM unnest(part.new_scope, part.lives, {part_new}) u(scope, lives, {new_names}) WHERE u.lives));
        INSERT INTO rejoin.tombstones AS t (scope, table_no, key, tick, version, at, author, left_scope, image)
            SELECT DISTINCT ON (1, 3) u.scope, {no}, ARRAY[{u_old}], (SELECT s.head FROM rejoin.scopes s WHERE s.scope = u.scope), u.version, now(),
                rejoin.author(), NOT u.rekeyed, u.image
            FROM unnest(part.old_scope, part.gone, part.version, part.rekeyed, part.image, {part_old}) u(scope, gone, version, rekeyed, image, {old_names})
            WHERE u.gone
            ON CONFLICT (scope, table_no, key) DO UPDATE SET tick = excluded.tick, version = greatest(t.version, excluded.version),
                at = excluded.at, author = excluded.author, left_scope = excluded.left_scope, image = excluded.image;
    END LOOP;
    RETURN NULL;
END
"#,
            later = self.later(None),
            moves = self.moves(),
            no = self.table.no,
            part_old = of(OLD, "part"),
            part_new = of(NEW, "part"),
            u_old = of(OLD, "u"),
            u_new = of(NEW, "u"),
            old_names = names(OLD),
            new_names = names(NEW),
        );
        // The FULL JOIN counts as very dear under these settings; that must not set off the compiler.
        self.safe_function("moved", &format!("{BULK_SETTINGS} SET jit = off"), &body)
    }

    /// What the texts of the key's columns are called.
    fn keys(&self, prefix: &str) -> impl Iterator<Item = String> {
        (0..self.table.key.len()).map(move |at| format!("{prefix}_key{at}"))
    }

    /// The rows that moved, some thousand in each array.
    fn moves(&self) -> String {
        let key = self.table.key_columns().map(|column| quote(&column.name));
        let rekeyed = key.map(|name| format!("{OLD}.{name} IS DISTINCT FROM {NEW}.{name}")).collect::<Vec<_>>().join(" OR ");
        let texts = |alias: &str| {
            let texts = key_texts(self.table, alias).into_iter().zip(self.keys(alias));
            texts.map(|(text, name)| format!("{text} AS {name}")).collect::<Vec<_>>().join(", ")
        };
        let arrays: Vec<String> = self.keys(OLD).chain(self.keys(NEW)).map(|name| format!("array_agg(p.{name}) AS {name}")).collect();
        format!(
            "        SELECT array_agg(p.old_scope) AS old_scope, array_agg(p.new_scope) AS new_scope, {arrays},
            array_agg(p.version) AS version, array_agg(p.rekeyed) AS rekeyed, array_agg(p.gone) AS gone, array_agg(p.lives) AS lives, array_agg(p.image) AS image
        FROM (SELECT {OLD}.rejoin_place, {OLD}.rejoin_scope AS old_scope, {NEW}.rejoin_scope AS new_scope, {old_key}, {new_key}, {rekeyed} AS rekeyed,
                CASE WHEN {rekeyed} THEN coalesce({OLD}.{version}, 0) + 1 ELSE {NEW}.{version} END AS version,
                CASE WHEN {rekeyed} THEN ({image}) - 'rejoin_place' END AS image,
                -- What was nowhere nobody holds.
                CASE WHEN {rekeyed} OR {OLD}.rejoin_scope <> {NEW}.rejoin_scope AND {OLD}.rejoin_scope <> {nowhere} THEN NOT {old_lives} END AS gone,
                CASE WHEN {rekeyed} OR {OLD}.rejoin_scope <> {NEW}.rejoin_scope THEN {new_lives} END AS lives
            FROM (SELECT row_number() OVER () AS rejoin_place, b.* FROM rows_before b) {OLD}
            FULL JOIN (SELECT row_number() OVER () AS rejoin_place, a.* FROM rows_after a) {NEW} ON {NEW}.rejoin_place = {OLD}.rejoin_place OFFSET 0) p
        WHERE p.old_scope IS NOT NULL AND (p.gone OR p.lives) GROUP BY (p.rejoin_place - 1) / {ROWS_AT_ONCE}",
            arrays = arrays.join(", "),
            old_key = texts(OLD),
            new_key = texts(NEW),
            version = quote(&self.table.stamps.version),
            image = self.image(OLD),
            nowhere = literal(ScopeId::NOWHERE),
            old_lives = self.lives(OLD),
            new_lives = self.lives(NEW),
        )
    }

    /// What hangs from a row goes where it goes. NULL is a tick that counts for nobody, so the children's triggers derive anew. Planned for as many
    /// rows as there are: the plan for one row would be the wrong one for thousands, and the other way round.
    pub(super) fn restamp(&self) -> Option<String> {
        let mut body = String::new();
        for way in self.ways_here() {
            let moved = "(SELECT n.* FROM (SELECT pg_catalog.row_number() OVER () AS rejoin_place, b.rejoin_scope FROM rows_before b) o
            FULL JOIN (SELECT pg_catalog.row_number() OVER () AS rejoin_place, a.* FROM rows_after a) n ON n.rejoin_place OPERATOR(pg_catalog.=) o.rejoin_place
            WHERE o.rejoin_scope IS DISTINCT FROM n.rejoin_scope OFFSET 0)";
            let sql = format!(
                "UPDATE {} c SET rejoin_tick = NULL FROM {moved} n WHERE {} AND c.rejoin_scope OPERATOR(pg_catalog.<>) n.rejoin_scope",
                table_sql(way.child),
                way.refers("n")
            );
            let _ = writeln!(body, "    EXECUTE {};", literal(&sql));
        }
        (!body.is_empty()).then(|| self.function("restamp", "", &format!("BEGIN\n{body}    RETURN NULL;\nEND\n")))
    }
}
