//! Triggers that are switched off in a transaction that writes rows for the engine's own sake: nobody asked for those writes, so the users'
//! triggers do not hear of them. Also those under which rows may never be updated.

use tokio_postgres::GenericClient;

use super::TRIGGER_PREFIX;
use crate::store::error::StoreError;

/// Which triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All, ours too: what is written carries stamps that count.
    All,
    /// Those that run although the session is a replica.
    AlsoReplica,
    /// The users': ours do the work.
    Users,
}

/// What switches them off, and on again as they were. Keeps the tables' writers out until the transaction ends, where there are any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hush {
    pub(crate) off: String,
    pub(crate) on: String,
}

impl Hush {
    /// The triggers that updates of these tables (`"schema"."name"`) and of their partitions set off now.
    pub(crate) async fn of(client: &impl GenericClient, tables: &[String], which: Which) -> Result<Self, StoreError> {
        let sql = "SELECT coalesce(string_agg(format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname), '; '), ''),
                          coalesce(string_agg(format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,
                                   CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname), '; '), '')
                   FROM pg_trigger JOIN (
                       SELECT to_regclass(u.name) AS oid FROM unnest($1::text[]) u(name)
                       UNION SELECT p.relid FROM unnest($1::text[]) u(name), pg_partition_tree(to_regclass(u.name)) p) t ON t.oid = tgrelid
                   WHERE NOT tgisinternal AND tgparentid = 0 AND tgtype & 16 <> 0 AND tgenabled = ANY($2::text[]::\"char\"[])
                     AND ($3 OR tgname NOT LIKE $4 || '%')";
        let running: &[&str] = if which == Which::AlsoReplica { &["A", "R"] } else { &["O", "A"] };
        let row = client.query_one(sql, &[&tables, &running, &(which != Which::Users), &TRIGGER_PREFIX]).await?;
        Ok(Self { off: row.get(0), on: row.get(1) })
    }
}

/// Whether the role may switch off all triggers of its session, but for those that run nevertheless: that keeps nobody out.
pub(crate) async fn may_be_replica(client: &impl GenericClient) -> Result<bool, StoreError> {
    let sql = "SELECT has_parameter_privilege('session_replication_role', 'SET')";
    Ok(client.query_one(sql, &[]).await?.get(0))
}
