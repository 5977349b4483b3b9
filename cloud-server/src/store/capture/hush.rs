//! Triggers that are switched off in a transaction that writes rows for the engine's own sake: nobody asked for those writes, so the users'
//! triggers do not hear of them. Also those under which rows may never be updated.

use tokio_postgres::Transaction;

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

/// Triggers that are switched off until [`Hush::end`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Hush {
    /// They are off because the session is a replica: nobody is kept out.
    pub(crate) silent: bool,
    on: String,
}

impl Hush {
    /// Switches off the triggers that updates of these tables (`"schema"."name"`) and of their partitions set off. Keeps their writers out until the
    /// transaction ends, where there are such triggers.
    ///
    /// Each partition's are switched by themselves: a statement about the whole table would leave them all alike. They are read again under the
    /// lock, so that what somebody switches otherwise meanwhile stays as it is.
    pub(crate) async fn begin(transaction: &Transaction<'_>, tables: &[String], which: Which) -> Result<Self, StoreError> {
        let (locks, ..) = Self::read(transaction, tables, which).await?;
        if locks.is_empty() {
            return Ok(Self::default());
        }
        transaction.batch_execute(&format!("LOCK TABLE {locks} IN SHARE ROW EXCLUSIVE MODE")).await?;
        let (_, off, on) = Self::read(transaction, tables, which).await?;
        transaction.batch_execute(&off).await?;
        Ok(Self { silent: false, on })
    }

    /// As [`Hush::begin`], for whoever writes stamps that count: no trigger at all has to run, and a role that may switches them off for its session.
    pub(crate) async fn all(transaction: &Transaction<'_>, table: &str) -> Result<Self, StoreError> {
        let silent = may_be_replica(transaction).await?;
        if silent {
            transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
        }
        let which = if silent { Which::AlsoReplica } else { Which::All };
        Ok(Self { silent, ..Self::begin(transaction, &[table.to_owned()], which).await? })
    }

    /// Switches them on again as they were.
    pub(crate) async fn end(self, transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        transaction.batch_execute(&self.on).await
    }

    /// The relations that have such triggers now, and what switches these off and on.
    async fn read(transaction: &Transaction<'_>, tables: &[String], which: Which) -> Result<(String, String, String), StoreError> {
        let sql = "SELECT coalesce(string_agg('ONLY ' || place, ', '), ''),
                          coalesce(string_agg(format('ALTER TABLE ONLY %s %s', place, off), '; '), ''),
                          coalesce(string_agg(format('ALTER TABLE ONLY %s %s', place, again), '; '), '')
                   FROM (SELECT tgrelid::regclass::text AS place, string_agg(format('DISABLE TRIGGER %I', tgname), ', ') AS off,
                             string_agg(format('ENABLE %s TRIGGER %I', CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END,
                                        tgname), ', ') AS again
                         FROM pg_trigger JOIN (
                             SELECT to_regclass(u.name) AS oid FROM unnest($1::text[]) u(name)
                             UNION SELECT p.relid FROM unnest($1::text[]) u(name), pg_partition_tree(to_regclass(u.name)) p) t ON t.oid = tgrelid
                         WHERE NOT tgisinternal AND tgtype & 16 <> 0 AND tgenabled = ANY($2::text[]::\"char\"[]) AND ($3 OR tgname NOT LIKE $4 || '%')
                         GROUP BY tgrelid ORDER BY tgrelid) r";
        let running: &[&str] = if which == Which::AlsoReplica { &["A", "R"] } else { &["O", "A"] };
        let row = transaction.query_one(sql, &[&tables, &running, &(which != Which::Users), &TRIGGER_PREFIX]).await?;
        Ok((row.get(0), row.get(1), row.get(2)))
    }
}

/// Whether the role may switch off all triggers of its session, but for those that run nevertheless.
async fn may_be_replica(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let sql = "SELECT has_parameter_privilege('session_replication_role', 'SET')";
    Ok(transaction.query_one(sql, &[]).await?.get(0))
}
