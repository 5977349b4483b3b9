//! Groups: the conflicts of one cause fold into one line of the inbox.

use std::collections::BTreeSet;

use sync_core::id::ReplicaId;
use sync_core::limits::CONFLICT_GROUP_PAUSE;
use uuid::Uuid;

use super::park::Source;
use crate::store::error::StoreError;
use crate::store::tx::WriteTx;

/// The conflicts of one cause: one replica's clashes of one table and kind, in pushes that followed on each other.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: Uuid,
    /// The table's number.
    pub(crate) table: i32,
    pub(crate) kind: String,
    /// Whether it was made just now.
    pub(crate) new: bool,
}

/// The groups of these causes (table number, kind) in this push: those that the push right before, or this one, has left open, or new ones.
///
/// # Errors
/// The store failed.
pub(crate) async fn assign(tx: &WriteTx<'_>, source: Source<'_>, wanted: &BTreeSet<(i32, &str)>) -> Result<Vec<Group>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (tables, kinds): (Vec<i32>, Vec<&str>) = wanted.iter().copied().unzip();
    let sql = "WITH wanted AS (SELECT table_no, kind FROM unnest($4::integer[], $5::text[]) AS u(table_no, kind)),
        kept AS (
            UPDATE rejoin.conflict_groups g SET last_push = $3::bigint, last_at = now() FROM wanted w
            WHERE g.replica = $2 AND g.table_no = w.table_no AND g.kind = w.kind AND g.last_push BETWEEN $3::bigint - 1 AND $3::bigint
              AND g.last_at >= now() - make_interval(secs => $6)
            RETURNING g.id, g.table_no, g.kind),
        made AS (
            INSERT INTO rejoin.conflict_groups (id, site_id, replica, table_no, kind, first_push, last_push)
            SELECT gen_random_uuid(), $1, $2, w.table_no, w.kind, $3, $3 FROM wanted w
            WHERE NOT EXISTS (SELECT FROM kept k WHERE k.table_no = w.table_no AND k.kind = w.kind)
            RETURNING id, table_no, kind)
        SELECT id, table_no, kind, false FROM kept UNION ALL SELECT id, table_no, kind, true FROM made";
    let pause = CONFLICT_GROUP_PAUSE.as_secs_f64();
    let statement = tx.prepare_cached(sql).await?;
    let rows = tx.query(&statement, &[&source.site.site.0, &source.replica.0, &source.push.0, &tables, &kinds, &pause]).await?;
    rows.iter().map(|row| Ok(Group { id: row.try_get(0)?, table: row.try_get(1)?, kind: row.try_get(2)?, new: row.try_get(3)? })).collect()
}

/// What an earlier push of the replica parked of the rows asked for, where they are not at the cloud: who asked, the top of the tree that
/// the row is in, and its group.
///
/// # Errors
/// The store failed.
pub(crate) async fn earlier_roots(
    tx: &WriteTx<'_>,
    replica: ReplicaId,
    asked: &[(usize, (i32, String))],
) -> Result<Vec<(usize, Uuid, Uuid)>, StoreError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let askers: Vec<i64> = asked.iter().filter_map(|(asker, _)| i64::try_from(*asker).ok()).collect();
    let (tables, records): (Vec<i32>, Vec<&str>) = asked.iter().map(|(_, (table, record))| (*table, record.as_str())).unzip();
    let sql = "SELECT DISTINCT ON (u.asker) u.asker, coalesce(r.id, c.id), coalesce(r.group_id, c.group_id, r.id, c.id)
               FROM unnest($2::bigint[], $3::integer[], $4::text[]) AS u(asker, table_no, record_id)
               JOIN rejoin.sync_conflicts c ON c.table_no = u.table_no AND c.record_id = u.record_id
               LEFT JOIN rejoin.sync_conflicts r ON r.id = c.root_id AND r.resolution = 'PENDING'
               WHERE c.replica = $1 AND c.resolution = 'PENDING' AND (c.held OR c.kind = 'update_delete')
               ORDER BY u.asker, c.created_at, c.id";
    let rows = tx.query(&tx.prepare_cached(sql).await?, &[&replica.0, &askers, &tables, &records]).await?;
    rows.iter().map(|row| Ok((usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default(), row.try_get(1)?, row.try_get(2)?))).collect()
}
