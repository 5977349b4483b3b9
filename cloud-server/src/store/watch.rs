//! Whether the schema moved: one number over what PostgreSQL says of the tables that are synced and of those that could be, cheap enough to be
//! asked every few seconds of hundreds of tables. Where the role may, an event trigger tells at once.

use deadpool_postgres::GenericClient;

use super::error::StoreError;

/// What the event trigger notifies. Everything of ours outside of the schema `rejoin` is called `rejoin_..` or `~rejoin_..`.
pub(crate) const CHANNEL: &str = "rejoin_schema";

/// The event trigger's name; it goes with its function, which is in the schema `rejoin`.
pub const EVENT_TRIGGER: &str = "rejoin_schema";

/// The fingerprint of the schema.
///
/// The rows of the system catalogs are named by the transactions that wrote them last (xmin), so that no definition has to be spelled out.
/// Statistics are kept in place, without a new row version; what VACUUM FULL or CLUSTER write anew costs one look too many.
///
/// # Errors
/// The store failed.
pub(crate) async fn fingerprint(db: &impl GenericClient) -> Result<String, StoreError> {
    let sql = "
WITH t AS MATERIALIZED (
    SELECT c.oid, c.xmin, c.relname, c.relnamespace, c.relkind, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (n.nspname <> 'rejoin' OR c.relname IN ('users', 'tokens', 'sync_conflicts'))
), seen AS (
    SELECT 'c' AS what, oid::bigint AS one, relnamespace::bigint AS two, hashtext(relname || relrowsecurity::text || relforcerowsecurity::text)::bigint AS at FROM t
    UNION ALL SELECT 'a', a.attrelid, a.attnum, hashtext(a.xmin::text) FROM pg_attribute a JOIN t ON t.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL SELECT 'k', k.oid, 0, hashtext(k.xmin::text || k.convalidated::text) FROM pg_constraint k JOIN t ON t.oid = k.conrelid
    UNION ALL SELECT 'i', i.indexrelid, i.indrelid, hashtext(x.relname || i.indkey::text || i.indisunique::text || i.indisvalid::text || i.indisprimary::text) FROM pg_index i JOIN t ON t.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL SELECT 'd', d.adrelid, d.adnum, hashtext(d.xmin::text) FROM pg_attrdef d JOIN t ON t.oid = d.adrelid
    UNION ALL SELECT 'g', g.oid, g.tgrelid, hashtext(g.tgenabled::text || g.tgname::text) FROM pg_trigger g JOIN t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
    UNION ALL SELECT 'h', h.inhrelid, h.inhparent, hashtext(h.inhdetachpending::text) FROM pg_inherits h
    UNION ALL SELECT 'e', e.oid, e.enumtypid, hashtext(e.enumlabel::text || e.enumsortorder::text) FROM pg_enum e
    UNION ALL SELECT 'y', y.oid, y.typnamespace, hashtext(y.xmin::text) FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
        WHERE y.typtype IN ('b', 'd', 'e', 'm', 'r') AND y.typelem = 0 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'rejoin')
    UNION ALL SELECT 'n', n.oid, 0, hashtext(n.nspname::text) FROM pg_namespace n WHERE n.nspname !~ '^pg_'
)
SELECT count(*) || ':' || coalesce(sum(hashtextextended(what || ',' || one || ',' || two || ',' || at, 0)::numeric), 0) FROM seen";
    Ok(db.query_one(&db.prepare_cached(sql).await?, &[]).await?.try_get(0)?)
}

/// Makes the event trigger where the role may, and where it is not there; whether it is.
///
/// # Errors
/// The store failed; that the role may not is none.
pub(crate) async fn tell_at_once(db: &impl GenericClient) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = $1),
                      (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)";
    let row = db.query_one(sql, &[&EVENT_TRIGGER]).await?;
    if row.get(0) {
        return Ok(true);
    }
    if !row.get::<_, bool>(1) {
        return Ok(false);
    }
    let make = format!(
        "CREATE OR REPLACE FUNCTION rejoin.schema_changed() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS $$ BEGIN NOTIFY {CHANNEL}; END $$;
         CREATE EVENT TRIGGER {EVENT_TRIGGER} ON ddl_command_end EXECUTE FUNCTION rejoin.schema_changed()"
    );
    // Some hosters' superusers may not either.
    match db.batch_execute(&make).await {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::debug!(%error, "no event trigger: the schema is looked at every few seconds");
            Ok(false)
        }
    }
}
