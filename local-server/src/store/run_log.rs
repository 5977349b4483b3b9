//! `sync_log`: one row per run that moved something or failed. A row begun always ends, also over a crash.

use rusqlite::{Connection, Row, params};
use sync_core::id::RunId;
use sync_core::limits::{LOG_KEPT_MAX, LOG_ROWS_MAX};
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::message::Run;
use uuid::Uuid;

use super::db::DbError;

const COLUMNS: &str = "id, sync_direction, started_at, completed_at, status, records_synced, conflicts_detected, errors, server_id, \
                       bytes_up, bytes_down, cursors_before, cursors_after";

/// Writes a run, or what has become of it since. `now` is canonical timestamptz text.
///
/// # Errors
/// The database failed.
pub fn put(connection: &Connection, run: &Run, now: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO sync_log (id, sync_direction, started_at, completed_at, status, records_synced, conflicts_detected, errors,
                                     server_id, bytes_up, bytes_down, cursors_before, cursors_after, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
               ON CONFLICT (id) DO UPDATE SET completed_at = ?4, status = ?5, records_synced = ?6, conflicts_detected = ?7, errors = ?8,
                                              bytes_up = ?10, bytes_down = ?11, cursors_before = ?12, cursors_after = ?13";
    connection.prepare_cached(sql)?.execute(params![
        run.id.to_string(),
        run.direction.as_str(),
        run.started_at,
        run.completed_at,
        run.status.as_str(),
        run.records_synced,
        run.conflicts_detected,
        run.errors,
        run.server_id,
        run.bytes_up,
        run.bytes_down,
        run.cursors_before,
        run.cursors_after,
        now,
    ])?;
    Ok(())
}

/// Closes the runs that a crash or power cut ended. The number of them.
///
/// # Errors
/// The database failed.
pub fn close_cut_off(connection: &Connection, now: &str) -> Result<usize, DbError> {
    let errors = r#"[{"step":"run","message":"cut off: the server ended in the middle of this run"}]"#;
    let sql = "UPDATE sync_log SET status = 'FAILED', completed_at = ?1, errors = ?2 WHERE status = 'STARTED'";
    Ok(connection.execute(sql, [now, errors])?)
}

/// Takes back a run that came to nothing.
///
/// # Errors
/// The database failed.
pub fn forget(connection: &Connection, run: RunId) -> Result<(), DbError> {
    connection.prepare_cached("DELETE FROM sync_log WHERE id = ?1")?.execute([run.to_string()])?;
    Ok(())
}

/// The oldest ended runs that the cloud does not have yet, at most [`LOG_ROWS_MAX`].
///
/// # Errors
/// The database failed.
pub fn unsent(connection: &Connection) -> Result<Vec<Run>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM sync_log WHERE sent = 0 AND status <> 'STARTED' ORDER BY started_at, id LIMIT {LOG_ROWS_MAX}");
    let mut statement = connection.prepare_cached(&sql)?;
    let runs = statement.query_map([], read)?.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(runs)
}

/// Notes that the cloud has these runs, and drops the oldest ones beyond [`LOG_KEPT_MAX`].
///
/// # Errors
/// The database failed.
pub fn mark_sent(connection: &Connection, runs: &[RunId]) -> Result<(), DbError> {
    let mut statement = connection.prepare_cached("UPDATE sync_log SET sent = 1 WHERE id = ?1")?;
    for run in runs {
        statement.execute([run.to_string()])?;
    }
    prune(connection)
}

/// Drops the oldest ended runs beyond [`LOG_KEPT_MAX`], sent or not: a site that never reaches its cloud must not fill its disk.
///
/// # Errors
/// The database failed.
pub fn prune(connection: &Connection) -> Result<(), DbError> {
    let sql = format!(
        "DELETE FROM sync_log WHERE status <> 'STARTED' AND id IN
         (SELECT id FROM sync_log ORDER BY started_at DESC, id LIMIT -1 OFFSET {LOG_KEPT_MAX})"
    );
    connection.execute(&sql, [])?;
    Ok(())
}

/// A stored run; `None` for a row that no version of ours wrote.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Run>> {
    let (id, direction, status): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(4)?);
    let (Ok(id), Some(direction), Some(status)) = (Uuid::try_parse(&id), Direction::from_name(&direction), RunStatus::from_name(&status))
    else {
        return Ok(None);
    };
    Ok(Some(Run {
        id: RunId(id),
        direction,
        started_at: row.get(2)?,
        completed_at: row.get(3)?,
        status,
        records_synced: row.get(5)?,
        conflicts_detected: row.get(6)?,
        errors: row.get(7)?,
        server_id: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
        bytes_up: row.get(9)?,
        bytes_down: row.get(10)?,
        cursors_before: row.get(11)?,
        cursors_after: row.get(12)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::db::Database;

    fn run(number: u128, status: RunStatus) -> Run {
        Run {
            id: RunId(Uuid::from_u128(number)),
            direction: Direction::Bidirectional,
            started_at: format!("2026-01-01T00:{:02}:{:02}.000000Z", number / 60, number % 60),
            completed_at: None,
            status,
            records_synced: 3,
            conflicts_detected: 1,
            errors: None,
            server_id: "stage-a".to_owned(),
            bytes_up: 10,
            bytes_down: 20,
            cursors_before: Some("{}".to_owned()),
            cursors_after: None,
        }
    }

    #[tokio::test]
    async fn a_run_cut_off_is_closed_as_failed_and_travels_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let now = "2026-01-02T00:00:00.000000Z";
        db.apply(move |connection| {
            put(connection, &run(1, RunStatus::Started), now)?;
            put(connection, &run(2, RunStatus::Started), now)?;
            put(
                connection,
                &Run { status: RunStatus::Completed, completed_at: Some(now.to_owned()), ..run(2, RunStatus::Completed) },
                now,
            )?;
            assert_eq!(unsent(connection)?.len(), 1, "a run under way does not travel");
            assert_eq!(close_cut_off(connection, now)?, 1);
            let sent = unsent(connection)?;
            assert_eq!((sent[0].status, sent[0].completed_at.as_deref()), (RunStatus::Failed, Some(now)));
            assert!(sent[0].errors.as_deref().is_some_and(|errors| errors.contains("cut off")));
            assert_eq!(sent[1].records_synced, 3);
            mark_sent(connection, &[sent[0].id, sent[1].id])?;
            assert_eq!(unsent(connection)?, []);
            Ok::<_, DbError>(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_log_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path()).unwrap();
        let left: u32 = db
            .apply(|connection| {
                for number in 0..LOG_KEPT_MAX + 5 {
                    put(connection, &run(number as u128, RunStatus::Completed), "2026-01-02T00:00:00.000000Z")?;
                }
                prune(connection)?;
                Ok::<_, DbError>(connection.query_row("SELECT count(*) FROM sync_log", [], |row| row.get(0))?)
            })
            .await
            .unwrap();
        assert_eq!(left as usize, LOG_KEPT_MAX);
    }
}
