//! Leaving: every trace of Rejoin taken out of a database, its users' rows and columns left as they are.

use std::time::Instant;

use serde::Serialize;
use sync_core::limits::LEAVING_WAIT;
use tokio_postgres::Client;

use crate::store::error::StoreError;
use crate::store::migrate::{self, MigrateError};
use crate::store::pace::{Pace, Progress};
use crate::store::pool::Database;

use crate::store::STAMP_COLUMNS;

/// Functions dropped in one transaction: each is a lock, and a database has only so many.
const FUNCTIONS_AT_ONCE: usize = 500;

/// What of Rejoin a database holds, and what speaks against taking it out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// Whether the engine's schema is there.
    pub schema: bool,
    /// Tables of the user's that carry columns or triggers of ours.
    pub tables: Vec<Trace>,
    /// Event triggers.
    pub event_triggers: Vec<String>,
    /// Sites that are enrolled, or may be: what they have not sent would stay with them for good.
    pub sites: Vec<String>,
    /// Conflicts that nobody has decided, by table.
    pub open_conflicts: Vec<(String, i64)>,
    /// Views, policies, foreign keys, indexes and the like of the user's that hang from the engine's tables or columns.
    pub dependents: Vec<String>,
    /// Servers and programs of Rejoin that are connected.
    pub connected: Vec<String>,
}

/// What one table carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Its name, quoted where it has to be.
    pub table: String,
    /// Triggers, quoted.
    pub triggers: Vec<String>,
    /// Columns.
    pub columns: Vec<String>,
}

impl Traces {
    /// Whether there is anything.
    #[must_use]
    pub fn any(&self) -> bool {
        self.schema || !self.tables.is_empty() || !self.event_triggers.is_empty()
    }
}

/// Why a database could not be left.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// A server would bring back what is taken out.
    #[error("connected to this database: {}; stop them first, a running cloud would bring everything back", .0.join(", "))]
    Connected(Vec<String>),
    /// Dropping would take things of the user's along.
    #[error("these use what would go: {}; drop or change them first", .0.join(", "))]
    Dependents(Vec<String>),
    /// The lock could not be had.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<tokio_postgres::Error> for DetachError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Looks; changes nothing.
///
/// # Errors
/// The store failed.
pub async fn traces(db: &Database) -> Result<Traces, StoreError> {
    let client = db.client().await?;
    look(&client).await
}

async fn look(client: &Client) -> Result<Traces, StoreError> {
    let schema: bool = client.query_one("SELECT to_regnamespace('rejoin') IS NOT NULL", &[]).await?.get(0);
    let mut traces = Traces { schema, tables: tables(client).await?, ..Traces::default() };
    let sql = "SELECT quote_ident(e.evtname) FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
               WHERE p.pronamespace = to_regnamespace('rejoin') ORDER BY 1";
    traces.event_triggers = texts(client, sql).await?;
    let sql = "SELECT 'pid ' || pid || coalesce(' from ' || client_addr::text, '') FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'rejoin' AND pid <> pg_backend_pid() ORDER BY pid";
    traces.connected = texts(client, sql).await?;
    let hanging = client.query(DEPENDENTS, &[&STAMP_COLUMNS.as_slice()]).await?;
    traces.dependents = hanging.iter().map(|row| row.get(0)).collect();
    let there = |table: &'static str| async move {
        let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
        Ok::<bool, StoreError>(row.get(0))
    };
    if there("rejoin.sites").await? {
        traces.sites = texts(client, "SELECT name FROM rejoin.sites WHERE revoked_at IS NULL ORDER BY name").await?;
    }
    if there("rejoin.sync_conflicts").await? {
        let sql = "SELECT table_name, count(*) FROM rejoin.sync_conflicts WHERE resolution = 'PENDING' GROUP BY 1 ORDER BY 1";
        traces.open_conflicts = client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    }
    Ok(traces)
}

/// Looks once nobody of ours is connected, or after [`LEAVING_WAIT`]: PostgreSQL knows of a program that has ended a moment later.
async fn look_alone(client: &Client) -> Result<Traces, StoreError> {
    let since = Instant::now();
    loop {
        let traces = look(client).await?;
        if traces.connected.is_empty() || since.elapsed() >= LEAVING_WAIT {
            return Ok(traces);
        }
        tokio::time::sleep(LEAVING_WAIT / 20).await;
    }
}

/// What hangs from the engine's schema or from its columns in the users' tables, and is not the engine's own: views, foreign keys, policies,
/// generated columns, column lists of publications, checks, indexes, statistics.
const DEPENDENTS: &str = "
WITH engine AS (SELECT to_regnamespace('rejoin')::oid AS oid), ours AS (
    SELECT 'pg_class'::regclass::oid AS class, a.attrelid AS object, a.attnum::integer AS part
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace IS DISTINCT FROM (SELECT oid FROM engine) AND NOT a.attisdropped
      AND a.attname::text = ANY($1) AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND NOT o.attisdropped
          AND o.attname IN ('rejoin_scope', 'rejoin_tick'))
    UNION ALL SELECT 'pg_class'::regclass, c.oid, NULL FROM pg_class c JOIN engine e ON c.relnamespace = e.oid
    UNION ALL SELECT 'pg_proc'::regclass, p.oid, NULL FROM pg_proc p JOIN engine e ON p.pronamespace = e.oid
    UNION ALL SELECT 'pg_type'::regclass, t.oid, NULL FROM pg_type t JOIN engine e ON t.typnamespace = e.oid
), hanging AS (
    SELECT DISTINCT d.classid, d.objid, d.objsubid FROM ours u
    JOIN pg_depend d ON d.refclassid = u.class AND d.refobjid = u.object AND (u.part IS NULL OR d.refobjsubid = u.part)
    WHERE d.deptype IN ('n', 'a')
)
SELECT DISTINCT coalesce('view ' || r.ev_class::regclass::text, pg_describe_object(h.classid, h.objid, h.objsubid))
FROM hanging h CROSS JOIN engine e
LEFT JOIN pg_class c ON h.classid = 'pg_class'::regclass AND c.oid = h.objid
LEFT JOIN pg_rewrite r ON h.classid = 'pg_rewrite'::regclass AND r.oid = h.objid LEFT JOIN pg_class v ON v.oid = r.ev_class
LEFT JOIN pg_constraint k ON h.classid = 'pg_constraint'::regclass AND k.oid = h.objid LEFT JOIN pg_class kc ON kc.oid = k.conrelid
LEFT JOIN pg_attrdef f ON h.classid = 'pg_attrdef'::regclass AND f.oid = h.objid LEFT JOIN pg_class fc ON fc.oid = f.adrelid
LEFT JOIN pg_trigger g ON h.classid = 'pg_trigger'::regclass AND g.oid = h.objid LEFT JOIN pg_proc gp ON gp.oid = g.tgfoid
LEFT JOIN pg_event_trigger t ON h.classid = 'pg_event_trigger'::regclass AND t.oid = h.objid LEFT JOIN pg_proc tp ON tp.oid = t.evtfoid
LEFT JOIN pg_proc p ON h.classid = 'pg_proc'::regclass AND p.oid = h.objid LEFT JOIN pg_type y ON h.classid = 'pg_type'::regclass AND y.oid = h.objid
WHERE coalesce(c.relnamespace, v.relnamespace, kc.relnamespace, fc.relnamespace, gp.pronamespace, tp.pronamespace, p.pronamespace, y.typnamespace, 0) <> e.oid
  -- Indexes of the feed, also on what was a partition once.
  AND NOT EXISTS (SELECT FROM pg_index x JOIN pg_attribute s ON s.attrelid = x.indrelid AND s.attnum = x.indkey[0]
      JOIN pg_attribute n ON n.attrelid = x.indrelid AND n.attnum = x.indkey[1]
      WHERE x.indexrelid = c.oid AND s.attname = 'rejoin_scope' AND n.attname = 'rejoin_tick')
  AND coalesce(k.contype <> 'n' AND k.conname <> 'rejoin_stamped', true)
  AND NOT EXISTS (SELECT FROM ours u WHERE u.class = 'pg_class'::regclass AND u.object = f.adrelid AND u.part = f.adnum)
  AND coalesce(NOT g.tgisinternal, true)
ORDER BY 1";

async fn texts(client: &Client, sql: &str) -> Result<Vec<String>, StoreError> {
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// A column counts as ours by its name, in a table that has the two which only the engine gives.
async fn tables(client: &Client) -> Result<Vec<Trace>, StoreError> {
    let sql = "SELECT * FROM (
        SELECT c.oid::regclass::text AS name,
               ARRAY(SELECT quote_ident(g.tgname) FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                     WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgparentid = 0 AND p.pronamespace = to_regnamespace('rejoin')
                     ORDER BY 1) AS triggers,
               ARRAY(SELECT a.attname::text FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0 AND a.attname::text = ANY($1)
                       AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND NOT o.attisdropped
                                   AND o.attname IN ('rejoin_scope', 'rejoin_tick'))
                     ORDER BY a.attnum) AS columns
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('rejoin', 'information_schema') AND n.nspname !~ '^pg_'
        ) found WHERE triggers <> '{}' OR columns <> '{}' ORDER BY name";
    let rows = client.query(sql, &[&STAMP_COLUMNS.as_slice()]).await?;
    Ok(rows.iter().map(|row| Trace { table: row.get(0), triggers: row.get(1), columns: row.get(2) }).collect())
}

/// Takes everything out. What was done before an error stays done; the next call goes on.
///
/// # Errors
/// See [`DetachError`].
pub async fn detach(db: &Database, pace: &Pace<'_>) -> Result<(), DetachError> {
    let mut client = migrate::locked(db).await?;
    client.batch_execute("SET client_min_messages = warning").await?;
    let traces = look_alone(&client).await?;
    if !traces.connected.is_empty() {
        return Err(DetachError::Connected(traces.connected));
    }
    if !traces.dependents.is_empty() {
        return Err(DetachError::Dependents(traces.dependents));
    }
    for trigger in &traces.event_triggers {
        client.batch_execute(&format!("DROP EVENT TRIGGER {trigger}")).await?;
    }
    // Triggers everywhere first: those of a table read the columns of its parents.
    for Trace { table, triggers, .. } in traces.tables.iter().filter(|trace| !trace.triggers.is_empty()) {
        let drops: String = triggers.iter().map(|trigger| format!("DROP TRIGGER {trigger} ON {table};\n")).collect();
        pace.alter(&mut client, table, &drops).await?;
    }
    let of = traces.tables.len();
    for (at, Trace { table, columns, .. }) in traces.tables.iter().enumerate() {
        pace.tell(Progress::Table { table, at: at + 1, of });
        if !columns.is_empty() {
            let drops: Vec<String> = columns.iter().map(|column| format!("DROP COLUMN {column}")).collect();
            pace.alter(&mut client, table, &format!("ALTER TABLE {table} {}", drops.join(", "))).await?;
        }
    }
    let sql = "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = to_regnamespace('rejoin')
               AND p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
               AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)";
    for functions in texts(&client, sql).await?.chunks(FUNCTIONS_AT_ONCE) {
        client.batch_execute(&format!("DROP FUNCTION {}", functions.join(", "))).await?;
    }
    client.batch_execute("DROP SCHEMA IF EXISTS rejoin CASCADE").await?;
    Ok(())
}
