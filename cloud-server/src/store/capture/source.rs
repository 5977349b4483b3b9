//! The text of one table's trigger functions and triggers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sync_core::catalog::{Catalog, Column, ScopeRule, Table};
use sync_core::id::{ColumnNo, ScopeId};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::value::ColumnType;

use super::super::introspect::assemble::ENGINE_COLUMNS;
use super::super::row::{quote, table_sql};
use super::drift::Places;
use super::ways::{Way, scope_expression, ways};
use super::{key_array, literal};

/// What each trigger's name begins with: its place at the end of the alphabet, and the version of this generator.
pub(super) const TRIGGER_VERSION: &str = "~rejoin_v2";

/// What a row is called where it is read whole: no column's name, which PostgreSQL would take first.
const GONE: &str = "rejoin_gone";

/// Settings under which text forms mean the same whoever the session belongs to, and joins go by the keys' indexes.
pub(super) const BULK_SETTINGS: &str = "SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET bytea_output = 'hex' \
     SET extra_float_digits = 1 SET lc_monetary = 'C' SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off";

/// As [`BULK_SETTINGS`], for what joins nothing but transition tables.
pub(super) const HISTORY_SETTINGS: &str = "SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' \
     SET bytea_output = 'hex' SET extra_float_digits = 1 SET lc_monetary = 'C'";

/// One table's generator.
pub(super) struct Source<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) table: &'a Table,
    pub(super) naive: &'a BTreeSet<String>,
    /// Whether what happens to its rows is kept.
    pub(super) history: bool,
    pub(super) places: &'a Places,
}

impl Source<'_> {
    pub(super) fn function_name(&self, of: &str) -> String {
        format!("rejoin.{of}_{}", self.table.no)
    }

    pub(super) fn function(&self, of: &str, settings: &str, body: &str) -> String {
        let mut tag = "$rejoin$".to_owned();
        while body.contains(&tag) {
            tag.insert(1, '_');
        }
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER{settings} AS {tag}\n{body}{tag};",
            self.function_name(of)
        )
    }

    pub(super) fn safe_function(&self, of: &str, settings: &str, body: &str) -> String {
        let space = if settings.is_empty() { "" } else { " " };
        self.function(of, &format!(" SET search_path = pg_catalog, pg_temp{space}{settings}"), body)
    }

    /// `OLD.a IS DISTINCT FROM NEW.a OR ..` over these columns.
    pub(super) fn differ(&self, columns: &[ColumnNo]) -> String {
        let names = columns.iter().filter_map(|no| self.table.column(*no)).map(|column| quote(&column.name));
        names.map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}")).collect::<Vec<_>>().join(" OR ")
    }

    /// Derive, take the head, derive again: between the two somebody may have moved the parent. Under a head that is held already once
    /// is enough.
    fn derive(&self) -> String {
        let orphan = match self.table.scope {
            ScopeRule::Through(_) => self.orphan(),
            // A NULL in the key: PostgreSQL refuses it right after us.
            _ => "        IF derived IS NULL THEN RETURN NEW; END IF;\n".to_owned(),
        };
        format!(
            r#"    LOOP
{derivation}{orphan}        EXIT WHEN derived = held;
        last := current_setting('rejoin.last', true);
        IF substr(last, strpos(last, '@') + 1) = derived AND coalesce(OLD.rejoin_scope, derived) = derived THEN
            NEW.rejoin_tick := split_part(last, '@', 1)::bigint;
            EXIT;
        END IF;
        IF OLD.rejoin_scope COLLATE "C" < derived THEN PERFORM rejoin.tick_of(OLD.rejoin_scope); END IF;
        NEW.rejoin_tick := rejoin.tick_of(derived);
        IF OLD.rejoin_scope COLLATE "C" > derived THEN PERFORM rejoin.tick_of(OLD.rejoin_scope); END IF;
        held := derived;
    END LOOP;
"#,
            derivation = self.derivation(),
        )
    }

    /// What gives `derived` the row's scope. Several ways branch by statements: a CASE of subqueries would be planned anew for each row, since
    /// PostgreSQL takes a plan that knows which columns are NULL for the better one.
    fn derivation(&self) -> String {
        let ways: Vec<Way<'_>> = ways(self.catalog, self.table).collect();
        if !matches!(self.table.scope, ScopeRule::Through(_)) || ways.len() < 2 {
            return format!("        derived := {};\n", scope_expression(self.catalog, self.table, "NEW"));
        }
        let mut body = String::new();
        for (at, way) in ways.iter().enumerate() {
            let when = if at == 0 { "IF" } else { "ELSIF" };
            let _ = write!(body, "        {when} {} THEN\n            derived := {};\n", way.names("NEW"), way.scope("NEW"));
        }
        format!("{body}        ELSE\n            derived := {};\n        END IF;\n", literal(ScopeId::NOWHERE))
    }

    /// What a foreign key names is not there: said in PostgreSQL's own words, which come a moment too late for us. If it may still come, since
    /// the constraint is deferrable, the row is nowhere until then. If it is there and its own scope was lost, the row is stamped with it.
    fn orphan(&self) -> String {
        let mut body = String::new();
        for way in ways(self.catalog, self.table).filter(|way| !way.reference.declared) {
            let missing = if self.places.is_deferrable(self.table, way.reference) {
                format!("                derived := {};\n", literal(ScopeId::NOWHERE))
            } else {
                self.refusal_of(&way)
            };
            let _ = write!(
                body,
                r"            {} {} AND {} THEN
                NEW.rejoin_scope := {nowhere};
                NEW.rejoin_tick := 0;
                PERFORM set_config('rejoin.moved', 'on', true);
                PERFORM rejoin.drifts({no}, false);
            ELSIF {} THEN
{missing}",
                if body.is_empty() { "IF" } else { "ELSIF" },
                way.names("NEW"),
                way.is_there("NEW"),
                way.names("NEW"),
                nowhere = literal(ScopeId::NOWHERE),
                no = self.table.no,
            );
        }
        if body.is_empty() {
            return body;
        }
        format!(
            "        IF derived IS NULL THEN\n{body}            END IF;\n            IF derived IS NULL THEN RETURN NEW; END IF;\n        END IF;\n"
        )
    }

    /// PostgreSQL's refusal of a row whose foreign key names nothing.
    fn refusal_of(&self, way: &Way<'_>) -> String {
        let names: Vec<&str> =
            way.reference.columns.iter().filter_map(|no| self.table.column(*no)).map(|column| column.name.as_str()).collect();
        let values: Vec<String> = names.iter().map(|name| format!("NEW.{}::text", quote(name))).collect();
        let message =
            format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", self.table.name, way.reference.name);
        format!(
            r"                RAISE foreign_key_violation USING MESSAGE = {},
                    DETAIL = {} || concat_ws(', ', {}) || {},
                    SCHEMA = {}, TABLE = {}, CONSTRAINT = {};
",
            literal(&message),
            literal(&format!("Key ({})=(", names.join(", "))),
            values.join(", "),
            literal(&format!(") is not present in table \"{}\".", way.parent.name)),
            literal(&self.table.schema),
            literal(&self.table.name),
            literal(&way.reference.name),
        )
    }

    pub(super) fn stamp(&self) -> String {
        let stamps = &self.table.stamps;
        let now = |name: &String| if self.naive.contains(name) { "now() AT TIME ZONE 'UTC'" } else { "now()" };
        let version = quote(&stamps.version);
        let body = format!(
            r"DECLARE
    stamped boolean;
    derived text;
    held text;
    last text;
    was bigint;
    rekeyed boolean := false;
BEGIN
{later}    stamped := coalesce(current_setting('rejoin.one', true), '') <> '' AND rejoin.counts(NEW.rejoin_scope, NEW.rejoin_tick);
    IF stamped AND TG_OP = 'INSERT' THEN RETURN NEW; END IF;
    IF TG_OP = 'UPDATE' THEN
        rekeyed := {rekeyed};
        -- Asked by triggers whose conditions must not name a column, or see no rows. It stays for the rest of the transaction: keys and scopes
        -- seldom change.
        IF rekeyed THEN PERFORM set_config('rejoin.moved', 'on', true); END IF;
    END IF;
{derive}    IF OLD.rejoin_scope <> derived THEN PERFORM set_config('rejoin.moved', 'on', true); END IF;
    IF stamped AND NEW.rejoin_scope = derived THEN RETURN NEW; END IF;
    NEW.rejoin_scope := derived;
    was := coalesce(OLD.{version}, 0);
    IF TG_OP = 'INSERT' OR rekeyed THEN
        was := greatest(was, (SELECT max(t.version) FROM rejoin.tombstones t WHERE t.table_no = {no} AND t.key = {key}));
    END IF;
    NEW.{version} := greatest(was + 1, least(coalesce(NEW.{version}, 0), was + {VERSION_LEAD_MAX}));
    NEW.{updated_at} := {updated_now};
    NEW.{modified_by} := rejoin.author();
    NEW.{synced_at} := {synced_now};
    RETURN NEW;
END
",
            later = self.stamp_later(),
            derive = self.derive(),
            rekeyed = self.differ(&self.table.key),
            no = self.table.no,
            key = key_array(self.table, "NEW"),
            updated_at = quote(&stamps.updated_at),
            updated_now = now(&stamps.updated_at),
            modified_by = quote(&stamps.last_modified_by),
            synced_at = quote(&stamps.synced_at),
            synced_now = now(&stamps.synced_at),
        );
        self.safe_function("stamp", "", &body)
    }

    /// Each row is looked up by itself: a session keeps the plan of its first statement, and a join that was planned for one row may be quadratic.
    pub(super) fn arrived(&self) -> String {
        let body = format!(
            r"BEGIN
{later}    IF EXISTS (SELECT FROM rejoin.tombstones t WHERE t.table_no = {no}) THEN
        DELETE FROM rejoin.tombstones t WHERE t.ctid = ANY (ARRAY(SELECT x.ctid FROM arrived a CROSS JOIN LATERAL (
            SELECT t.ctid FROM rejoin.tombstones t WHERE t.scope = a.rejoin_scope AND t.table_no = {no} AND t.key = {key} OFFSET 0) x));
    END IF;
    RETURN NULL;
END
",
            later = self.later(None),
            no = self.table.no,
            key = key_array(self.table, "a"),
        );
        self.safe_function("arrived", BULK_SETTINGS, &body)
    }

    /// Tombstones for the rows of `from`, but for those that live on or again in their scope.
    fn bury(&self, from: &str, unless_living: bool) -> String {
        // By the table's number, whatever it is called by now.
        let here = "pg_catalog.pg_class c WHERE c.oid = TG_RELID".to_owned();
        let living = if unless_living {
            let key: Vec<String> =
                self.table.key_columns().map(|column| quote(&column.name)).map(|name| format!("l.{name} = {GONE}.{name}")).collect();
            let table = table_sql(self.table);
            // Not by the feed's index, which would read the whole scope for each row.
            format!(
                "\n        WHERE NOT EXISTS (SELECT FROM {table} l WHERE {} AND l.rejoin_scope || '' = {GONE}.rejoin_scope)",
                key.join(" AND ")
            )
        } else {
            String::new()
        };
        format!(
            r#"DECLARE
    one text;
BEGIN
{later}    -- A row without a scope was there before us and is not stamped yet: nobody was ever sent it.
    FOR one IN {scopes} LOOP
        PERFORM rejoin.tick_of(one);
    END LOOP;
    {burial};
{forget}    RETURN NULL;
END
"#,
            later = self.later(Some(if unless_living { "gone" } else { &here })),
            scopes = Self::scopes_of(from),
            burial = self.burial(from, &living),
            forget = self.forget_times(from),
        )
    }

    /// The scopes that rows are in, in the order in which heads are taken.
    pub(super) fn scopes_of(from: &str) -> String {
        format!(r#"SELECT DISTINCT {GONE}.rejoin_scope COLLATE "C" FROM {from} {GONE} WHERE {GONE}.rejoin_scope IS NOT NULL ORDER BY 1"#)
    }

    /// The statement that makes tombstones of rows whose scopes' heads are taken.
    pub(super) fn burial(&self, from: &str, living: &str) -> String {
        format!(
            r"INSERT INTO rejoin.tombstones AS t (scope, table_no, key, tick, version, at, author, left_scope, image)
        SELECT {GONE}.rejoin_scope, {no}, {key}, s.head, coalesce({GONE}.{version}, 0) + 1, now(), rejoin.author(), false,
            {image}
        FROM {from} {GONE} JOIN rejoin.scopes s ON s.scope = {GONE}.rejoin_scope{living}
        ON CONFLICT (scope, table_no, key) DO UPDATE SET tick = excluded.tick, version = greatest(t.version, excluded.version),
            at = excluded.at, author = excluded.author, left_scope = false, image = excluded.image",
            no = self.table.no,
            key = key_array(self.table, GONE),
            version = quote(&self.table.stamps.version),
            image = self.image(GONE),
        )
    }

    /// The row's last image, without stamps, from which a delete can be taken back; as text what JSON would hold otherwise than the row did.
    /// The engine's own rows (users) leave none.
    pub(super) fn image(&self, alias: &str) -> String {
        if self.table.engine {
            return "NULL::jsonb".to_owned();
        }
        let stamps = &self.table.stamps;
        let mut names: Vec<&str> = ENGINE_COLUMNS.to_vec();
        let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at];
        names.extend(mapped.into_iter().map(String::as_str).filter(|name| !ENGINE_COLUMNS.contains(name)));
        let names: Vec<String> = names.into_iter().map(literal).collect();
        let as_text = |column: &&Column| matches!(column.ty, ColumnType::Numeric | ColumnType::Array(_) | ColumnType::Other);
        let texts = self.table.columns.iter().filter(as_text);
        let texts: Vec<String> = texts.map(|column| format!("{}, {alias}.{}::text", literal(&column.name), quote(&column.name))).collect();
        // A function takes 100 arguments.
        let texts: String = texts.chunks(50).map(|texts| format!(" || jsonb_build_object({})", texts.join(", "))).collect();
        format!("to_jsonb({alias}) - ARRAY[{}]{texts}", names.join(", "))
    }

    pub(super) fn gone(&self) -> String {
        self.safe_function("gone", BULK_SETTINGS, &self.bury("gone", true))
    }

    pub(super) fn truncated(&self) -> String {
        self.safe_function("truncated", BULK_SETTINGS, &self.bury(&table_sql(self.table), false))
    }

    /// What named a row before it was there, by a declared reference or one that is checked later, and so is nowhere, goes where the row is. Planned for
    /// as many rows as there are.
    pub(super) fn claim(&self) -> Option<String> {
        let mut body = String::new();
        for way in self.ways_here().filter(|way| way.reference.declared || self.places.is_deferrable(way.child, way.reference)) {
            let child = table_sql(way.child);
            let nowhere = format!("c.rejoin_scope OPERATOR(pg_catalog.=) {}", literal(ScopeId::NOWHERE));
            let _ = writeln!(
                body,
                "    IF EXISTS (SELECT FROM {child} c WHERE {nowhere}) THEN\n        EXECUTE {};\n    END IF;",
                literal(&format!("UPDATE {child} c SET rejoin_tick = NULL FROM claimed n WHERE {nowhere} AND {}", way.refers_in_bulk("n")))
            );
        }
        (!body.is_empty()).then(|| self.function("claim", "", &format!("BEGIN\n{body}    RETURN NULL;\nEND\n")))
    }

    /// The ways that lead over this table.
    pub(super) fn ways_here(&self) -> impl Iterator<Item = Way<'_>> {
        let all = self.catalog.tables.iter().flat_map(|child| ways(self.catalog, child));
        all.filter(|way| way.parent.no == self.table.no)
    }

    /// The triggers of the table, or of a partition of it under this name.
    pub(super) fn triggers(&self, table: &str) -> Vec<(String, String)> {
        // A setting that this session never had is NULL, and a row without stamps is NULL too: they must not be equal.
        let counts = "NEW.rejoin_scope || '=' || NEW.rejoin_tick IS DISTINCT FROM coalesce(current_setting('rejoin.one', true), '')";
        let moved = "OLD.rejoin_scope IS DISTINCT FROM NEW.rejoin_scope";
        // The server gives each row that it writes another tick; what writes it once more in the same transaction may have moved it.
        let again = "OLD.rejoin_tick = NEW.rejoin_tick";
        let stamp = self.function_name("stamp");
        let function = |of: &str| format!("EXECUTE FUNCTION {}()", self.function_name(of));
        let mut triggers = vec![
            ("insert", format!("BEFORE INSERT ON {table} FOR EACH ROW\n    WHEN ({counts}) EXECUTE FUNCTION {stamp}()")),
            (
                "update",
                format!("BEFORE UPDATE ON {table} FOR EACH ROW\n    WHEN ({counts} OR {moved} OR {again})\n    EXECUTE FUNCTION {stamp}()"),
            ),
            ("arrived", format!("AFTER INSERT ON {table} REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT {}", function("arrived"))),
            ("gone", format!("AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone FOR EACH STATEMENT {}", function("gone"))),
            ("moved", self.on_moves(table, &function("moved"))),
            ("truncate", format!("BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {}", function("truncated"))),
        ];
        if let Some(drifted) = self.drifted() {
            let form = format!(
                "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT\n    WHEN ({drifted}) {}",
                function("drift")
            );
            triggers.push(("drift", form));
        }
        if self.restamp().is_some() {
            triggers.push(("restamp", self.on_moves(table, &function("restamp"))));
        }
        if self.claim().is_some() {
            let form = format!("AFTER INSERT ON {table} REFERENCING NEW TABLE AS claimed FOR EACH STATEMENT {}", function("claim"));
            triggers.push(("claim", form));
        }
        triggers.extend(self.rule_triggers(table, &function("rules")));
        triggers.extend(self.history_triggers(table, &function("history")));
        if self.edited().is_some() {
            let tables = "REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after";
            let form = format!("AFTER UPDATE ON {table} {tables} FOR EACH STATEMENT {}", function("edited"));
            triggers.push(("edited", form));
        }
        triggers.into_iter().map(|(of, form)| (format!("{TRIGGER_VERSION}_{of}"), form)).collect()
    }
}
