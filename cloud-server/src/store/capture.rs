//! Change capture at the cloud: the SQL that stamps what anybody writes, generated per table. Pure text; [`apply`] brings it in.
//!
//! Per table, the names sorting last, since users' triggers may change what ours read:
//! - `insert`, `update` (BEFORE, per row): give scope, tick and version to what does not carry a stamp that counts;
//! - `moved`, `restamp` (AFTER UPDATE, per row): leave a mark where a row or its key is gone from, and stamp what hangs from it;
//! - `arrived`, `gone`, `truncate` (per statement): remove and leave tombstones.
//!
//! The functions run as the owner of the tables, so that a role that may write a table needs no right on the engine's. For that they
//! fix their search_path; `restamp`, under which users' triggers run, cannot and spells every operator in full instead.

pub(crate) mod apply;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use sync_core::catalog::{Catalog, Reference, ScopeRule, Table};
use sync_core::id::{ColumnNo, ScopeId};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::value::ColumnType;

use super::introspect::assemble::ENGINE_COLUMNS;
use super::row::{quote, table_sql};

/// What every trigger of ours is called: its place at the end of the alphabet, and the version of this generator.
pub(crate) const TRIGGER_PREFIX: &str = "~rejoin";
const TRIGGER_VERSION: &str = "~rejoin_v1";

/// Settings under which text forms mean the same whoever the session belongs to, and joins go by the keys' indexes.
const BULK_SETTINGS: &str = "SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET bytea_output = 'hex' \
     SET extra_float_digits = 1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off";

/// The capture of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capture {
    /// Its functions and triggers.
    pub(crate) sql: String,
    /// The triggers' names.
    pub(crate) triggers: Vec<String>,
    /// What the triggers' comments say while they are those of `sql`.
    pub(crate) mark: String,
}

/// The columns that the engine adds, with their types.
pub(crate) fn stamp_columns(table: &Table) -> Vec<(&'static str, &'static str)> {
    const TYPES: [&str; 6] = ["text", "bigint", "bigint", "timestamptz", "text", "timestamptz"];
    let stamps = &table.stamps;
    let ours = ["rejoin_scope", "rejoin_tick", &stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at];
    ENGINE_COLUMNS.into_iter().zip(TYPES).filter(|(name, _)| ours.contains(name)).collect()
}

/// Generates. `naive` names the stamp columns that are `timestamp`: they hold UTC.
pub(crate) fn capture(catalog: &Catalog, table: &Table, naive: &BTreeSet<String>) -> Capture {
    let source = Source { catalog, table, naive };
    let mut functions = vec![source.stamp(), source.arrived(), source.gone(), source.moved(), source.truncated()];
    functions.extend(source.restamp());
    let triggers = source.triggers();
    let mut sql = functions.join("\n");
    for (name, form) in &triggers {
        let _ = write!(sql, "\nCREATE TRIGGER {} {form};", quote(name));
    }
    let mark = format!("rejoin {}", &hex::encode(Sha256::digest(&sql))[..16]);
    for (name, _) in &triggers {
        let _ = write!(sql, "\nCOMMENT ON TRIGGER {} ON {} IS '{mark}';", quote(name), table_sql(table));
    }
    sql.push('\n');
    Capture { sql, triggers: triggers.into_iter().map(|(name, _)| name).collect(), mark }
}

/// The scope of the row `alias`, as one expression over tables whose rows are stamped; NULL where its parent is not there.
pub(crate) fn scope_expression(catalog: &Catalog, table: &Table, alias: &str) -> String {
    let column = |name: &str| format!("{alias}.{}", quote(name));
    match table.scope {
        ScopeRule::Global => literal(ScopeId::GLOBAL),
        ScopeRule::Site => format!("'site/' || {}::text", column("site_id")),
        ScopeRule::Root => format!("{} || {}", literal(&format!("{}/", table.name)), record_id(table, alias)),
        ScopeRule::Through(at) => match parent(catalog, table, at) {
            Some((parent, reference)) => {
                let matches = matches(table, &reference.columns, alias, parent, &reference.target, "p", "=");
                format!("(SELECT p.rejoin_scope FROM {} p WHERE {matches})", table_sql(parent))
            }
            None => "NULL::text".to_owned(),
        },
    }
}

fn parent<'a>(catalog: &'a Catalog, table: &'a Table, at: usize) -> Option<(&'a Table, &'a Reference)> {
    let reference = table.references.get(at)?;
    Some((catalog.table(reference.table)?, reference))
}

/// `p.target = alias.column AND ..`.
fn matches(table: &Table, columns: &[ColumnNo], alias: &str, other: &Table, target: &[ColumnNo], as_: &str, equals: &str) -> String {
    let pairs = columns.iter().zip(target).filter_map(|(column, target)| Some((table.column(*column)?, other.column(*target)?)));
    let conditions: Vec<String> =
        pairs.map(|(column, target)| format!("{as_}.{} {equals} {alias}.{}", quote(&target.name), quote(&column.name))).collect();
    conditions.join(" AND ")
}

/// A key value's canonical text, whatever the session's settings.
fn key_text(ty: &ColumnType, value: &str) -> String {
    match ty {
        ColumnType::Timestamptz => format!(r#"to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#),
        ColumnType::Timestamp => format!(r#"to_char({value}, 'YYYY-MM-DD"T"HH24:MI:SS.US')"#),
        ColumnType::Date => format!("to_char({value}, 'YYYY-MM-DD')"),
        ColumnType::Time => format!("to_char({value}, 'HH24:MI:SS.US')"),
        ColumnType::Numeric => format!("trim_scale({value})::text"),
        ColumnType::Bytea => format!(r"'\x' || encode({value}, 'hex')"),
        _ => format!("{value}::text"),
    }
}

fn key_texts(table: &Table, alias: &str) -> Vec<String> {
    table.key_columns().map(|column| key_text(&column.ty, &format!("{alias}.{}", quote(&column.name)))).collect()
}

/// The key as `rejoin.tombstones` holds it.
fn key_array(table: &Table, alias: &str) -> String {
    format!("ARRAY[{}]", key_texts(table, alias).join(", "))
}

/// The row's record id. Values that never hold what has to be encoded are taken as they are.
fn record_id(table: &Table, alias: &str) -> String {
    let texts = key_texts(table, alias);
    let plain = |ty: &ColumnType| matches!(ty, ColumnType::Uuid | ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
    match texts.as_slice() {
        [text] if table.key_columns().all(|column| plain(&column.ty)) => text.clone(),
        _ => format!("rejoin.record_id({})", texts.join(", ")),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One table's generator.
struct Source<'a> {
    catalog: &'a Catalog,
    table: &'a Table,
    naive: &'a BTreeSet<String>,
}

impl Source<'_> {
    fn function_name(&self, of: &str) -> String {
        format!("rejoin.{of}_{}", self.table.no)
    }

    fn function(&self, of: &str, settings: &str, body: &str) -> String {
        let mut tag = "$rejoin$".to_owned();
        while body.contains(&tag) {
            tag.insert(1, '_');
        }
        format!(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER{settings} AS {tag}\n{body}{tag};",
            self.function_name(of)
        )
    }

    fn safe_function(&self, of: &str, settings: &str, body: &str) -> String {
        let space = if settings.is_empty() { "" } else { " " };
        self.function(of, &format!(" SET search_path = pg_catalog, pg_temp{space}{settings}"), body)
    }

    /// `OLD.a IS DISTINCT FROM NEW.a OR ..` over these columns.
    fn differ(&self, columns: &[ColumnNo]) -> String {
        let names = columns.iter().filter_map(|no| self.table.column(*no)).map(|column| quote(&column.name));
        names.map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}")).collect::<Vec<_>>().join(" OR ")
    }

    fn path(&self) -> &[ColumnNo] {
        match self.table.scope {
            ScopeRule::Through(at) => self.table.references.get(at).map_or(&[], |reference| &reference.columns),
            ScopeRule::Global | ScopeRule::Root | ScopeRule::Site => &[],
        }
    }

    /// Derive, take the head, derive again: between the two somebody may have moved the parent.
    fn derive(&self) -> String {
        let orphan = match self.table.scope {
            ScopeRule::Through(at) => self.orphan(at),
            // A NULL in the key: PostgreSQL refuses it right after us.
            _ => "        IF derived IS NULL THEN RETURN NEW; END IF;\n".to_owned(),
        };
        format!(
            r#"    LOOP
        derived := {};
{orphan}        EXIT WHEN derived = held;
        IF OLD.rejoin_scope COLLATE "C" < derived THEN PERFORM rejoin.tick_of(OLD.rejoin_scope); END IF;
        NEW.rejoin_tick := rejoin.tick_of(derived);
        IF OLD.rejoin_scope COLLATE "C" > derived THEN PERFORM rejoin.tick_of(OLD.rejoin_scope); END IF;
        held := derived;
    END LOOP;
"#,
            scope_expression(self.catalog, self.table, "NEW")
        )
    }

    /// The parent is not there: said in PostgreSQL's own words, which come a moment too late for us.
    fn orphan(&self, at: usize) -> String {
        let Some((parent, reference)) = parent(self.catalog, self.table, at) else { return String::new() };
        let names: Vec<&str> =
            reference.columns.iter().filter_map(|no| self.table.column(*no)).map(|column| column.name.as_str()).collect();
        let news: Vec<String> = names.iter().map(|name| format!("NEW.{}", quote(name))).collect();
        let values: Vec<String> = news.iter().map(|new| format!("{new}::text")).collect();
        let message = format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", self.table.name, reference.name);
        let detail = format!(") is not present in table \"{}\".", parent.name);
        format!(
            r"        IF derived IS NULL THEN
            IF {} THEN RETURN NEW; END IF;
            RAISE foreign_key_violation USING MESSAGE = {},
                DETAIL = {} || concat_ws(', ', {}) || {},
                SCHEMA = {}, TABLE = {}, CONSTRAINT = {};
        END IF;
",
            news.iter().map(|new| format!("{new} IS NULL")).collect::<Vec<_>>().join(" OR "),
            literal(&message),
            literal(&format!("Key ({})=(", names.join(", "))),
            values.join(", "),
            literal(&detail),
            literal(&self.table.schema),
            literal(&self.table.name),
            literal(&reference.name),
        )
    }

    fn stamp(&self) -> String {
        let stamps = &self.table.stamps;
        let now = |name: &String| if self.naive.contains(name) { "now() AT TIME ZONE 'UTC'" } else { "now()" };
        let version = quote(&stamps.version);
        let body = format!(
            r"DECLARE
    stamped boolean := coalesce(current_setting('rejoin.one', true), '') <> '' AND rejoin.counts(NEW.rejoin_scope, NEW.rejoin_tick);
    derived text;
    held text;
    was bigint;
BEGIN
    IF stamped AND TG_OP = 'INSERT' THEN RETURN NEW; END IF;
{derive}    IF stamped AND NEW.rejoin_scope = derived THEN RETURN NEW; END IF;
    NEW.rejoin_scope := derived;
    was := coalesce(OLD.{version}, 0);
    IF TG_OP = 'INSERT' OR {rekeyed} THEN
        was := greatest(was, (SELECT max(t.version) FROM rejoin.tombstones t WHERE t.table_no = {no} AND t.key = {key}));
    END IF;
    NEW.{version} := greatest(was + 1, least(coalesce(NEW.{version}, 0), was + {VERSION_LEAD_MAX}));
    NEW.{updated_at} := {updated_now};
    NEW.{modified_by} := rejoin.author();
    NEW.{synced_at} := {synced_now};
    RETURN NEW;
END
",
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

    fn arrived(&self) -> String {
        let body = format!(
            r"BEGIN
    IF EXISTS (SELECT FROM rejoin.tombstones t WHERE t.table_no = {no}) THEN
        DELETE FROM rejoin.tombstones t USING arrived a WHERE t.scope = a.rejoin_scope AND t.table_no = {no} AND t.key = {key};
    END IF;
    RETURN NULL;
END
",
            no = self.table.no,
            key = key_array(self.table, "a"),
        );
        self.safe_function("arrived", BULK_SETTINGS, &body)
    }

    /// Tombstones for the rows of `from`, but for those that live on or again in their scope.
    fn bury(&self, from: &str, unless_living: bool) -> String {
        let living = if unless_living {
            let key: Vec<String> =
                self.table.key_columns().map(|column| quote(&column.name)).map(|name| format!("l.{name} = g.{name}")).collect();
            let table = table_sql(self.table);
            format!("\n        WHERE NOT EXISTS (SELECT FROM {table} l WHERE {} AND l.rejoin_scope = g.rejoin_scope)", key.join(" AND "))
        } else {
            String::new()
        };
        format!(
            r#"DECLARE
    one text;
BEGIN
    FOR one IN SELECT DISTINCT g.rejoin_scope COLLATE "C" FROM {from} g ORDER BY 1 LOOP
        PERFORM rejoin.tick_of(one);
    END LOOP;
    INSERT INTO rejoin.tombstones AS t (scope, table_no, key, tick, version, at, author, left_scope, image)
        SELECT g.rejoin_scope, {no}, {key}, s.head, g.{version} + 1, now(), rejoin.author(), false,
            {image}
        FROM {from} g JOIN rejoin.scopes s ON s.scope = g.rejoin_scope{living}
        ON CONFLICT (scope, table_no, key) DO UPDATE SET tick = excluded.tick, version = greatest(t.version, excluded.version),
            at = excluded.at, author = excluded.author, left_scope = false, image = excluded.image;
    RETURN NULL;
END
"#,
            no = self.table.no,
            key = key_array(self.table, "g"),
            version = quote(&self.table.stamps.version),
            image = self.image("g"),
        )
    }

    /// The row's last image, without stamps, from which a delete can be taken back; decimals as text, which JSON readers would round.
    /// The engine's own rows (users) leave none.
    fn image(&self, alias: &str) -> String {
        if self.table.engine {
            return "NULL::jsonb".to_owned();
        }
        let stamps = &self.table.stamps;
        let mut names: Vec<&str> = ENGINE_COLUMNS.to_vec();
        let mapped = [&stamps.version, &stamps.updated_at, &stamps.last_modified_by, &stamps.synced_at];
        names.extend(mapped.into_iter().map(String::as_str).filter(|name| !ENGINE_COLUMNS.contains(name)));
        let names: Vec<String> = names.into_iter().map(literal).collect();
        let decimals = self.table.columns.iter().filter(|column| column.ty == ColumnType::Numeric);
        let decimals: Vec<String> =
            decimals.map(|column| format!("{}, {alias}.{}::text", literal(&column.name), quote(&column.name))).collect();
        let decimals = if decimals.is_empty() { String::new() } else { format!(" || jsonb_build_object({})", decimals.join(", ")) };
        format!("to_jsonb({alias}) - ARRAY[{}]{decimals}", names.join(", "))
    }

    fn gone(&self) -> String {
        self.safe_function("gone", BULK_SETTINGS, &self.bury("gone", true))
    }

    fn truncated(&self) -> String {
        self.safe_function("truncated", BULK_SETTINGS, &self.bury(&table_sql(self.table), false))
    }

    /// A row left a key or a scope.
    fn moved(&self) -> String {
        let key: Vec<String> =
            self.table.key_columns().map(|column| quote(&column.name)).map(|name| format!("l.{name} = OLD.{name}")).collect();
        let body = format!(
            r"BEGIN
    IF {rekeyed} THEN
        -- Keys may have been swapped.
        IF NOT EXISTS (SELECT FROM {table} l WHERE {key} AND l.rejoin_scope = OLD.rejoin_scope) THEN
            PERFORM rejoin.mark_gone(OLD.rejoin_scope, {no}, {old_key}, OLD.{version} + 1, false,
                {image});
        END IF;
    ELSE
        PERFORM rejoin.mark_gone(OLD.rejoin_scope, {no}, {old_key}, NEW.{version}, true, NULL);
    END IF;
    PERFORM rejoin.mark_there(NEW.rejoin_scope, {no}, {new_key});
    RETURN NULL;
END
",
            rekeyed = self.differ(&self.table.key),
            table = table_sql(self.table),
            key = key.join(" AND "),
            no = self.table.no,
            old_key = key_array(self.table, "OLD"),
            new_key = key_array(self.table, "NEW"),
            version = quote(&self.table.stamps.version),
            image = self.image("OLD"),
        );
        self.safe_function("moved", BULK_SETTINGS, &body)
    }

    /// What hangs from a row goes where it goes. NULL is a tick that counts for nobody, so the children's triggers derive anew.
    fn restamp(&self) -> Option<String> {
        let children = self.catalog.tables.iter().filter_map(|child| match child.scope {
            ScopeRule::Through(at) => child.references.get(at).filter(|found| found.table == self.table.no).map(|found| (child, found)),
            _ => None,
        });
        let mut body = String::new();
        for (child, reference) in children {
            let matches = matches(self.table, &reference.target, "NEW", child, &reference.columns, "c", "OPERATOR(pg_catalog.=)");
            let _ = writeln!(
                body,
                "    UPDATE {} c SET rejoin_tick = NULL WHERE {matches} AND c.rejoin_scope OPERATOR(pg_catalog.<>) NEW.rejoin_scope;",
                table_sql(child)
            );
        }
        (!body.is_empty()).then(|| self.function("restamp", "", &format!("BEGIN\n{body}    RETURN NULL;\nEND\n")))
    }

    fn triggers(&self) -> Vec<(String, String)> {
        let table = table_sql(self.table);
        // A setting that this session never had is NULL, and a row without stamps is NULL too: they must not be equal.
        let counts = "NEW.rejoin_scope || '=' || NEW.rejoin_tick IS DISTINCT FROM coalesce(current_setting('rejoin.one', true), '')";
        let site: Vec<ColumnNo> = match self.table.scope {
            ScopeRule::Site => self.table.column_named("site_id").map(|column| column.no).into_iter().collect(),
            _ => Vec::new(),
        };
        let watched: Vec<ColumnNo> = self.table.key.iter().chain(self.path()).chain(&site).copied().collect();
        let rekeyed = self.differ(&self.table.key);
        let moved = "OLD.rejoin_scope IS DISTINCT FROM NEW.rejoin_scope";
        let stamp = self.function_name("stamp");
        let function = |of: &str| format!("EXECUTE FUNCTION {}()", self.function_name(of));
        let mut triggers = vec![
            ("insert", format!("BEFORE INSERT ON {table} FOR EACH ROW\n    WHEN ({counts}) EXECUTE FUNCTION {stamp}()")),
            (
                "update",
                format!(
                    "BEFORE UPDATE ON {table} FOR EACH ROW\n    WHEN ({counts} OR {moved} OR {})\n    EXECUTE FUNCTION {stamp}()",
                    self.differ(&watched)
                ),
            ),
            ("arrived", format!("AFTER INSERT ON {table} REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT {}", function("arrived"))),
            ("gone", format!("AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone FOR EACH STATEMENT {}", function("gone"))),
            (
                "moved",
                format!(
                    "AFTER UPDATE ON {table} FOR EACH ROW\n    WHEN (OLD.rejoin_scope <> NEW.rejoin_scope OR {rekeyed}) {}",
                    function("moved")
                ),
            ),
            ("truncate", format!("BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {}", function("truncated"))),
        ];
        if self.restamp().is_some() {
            let form = format!("AFTER UPDATE ON {table} FOR EACH ROW WHEN (OLD.rejoin_scope <> NEW.rejoin_scope) {}", function("restamp"));
            triggers.push(("restamp", form));
        }
        triggers.into_iter().map(|(of, form)| (format!("{TRIGGER_VERSION}_{of}"), form)).collect()
    }
}
