//! Tables that travel one way, or are kept at a site for a time only.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use local_server::store::keep::{Pass, purge};
use local_server::store::plan::Plan;
use local_server::store::schema;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::catalog::{Catalog, Travel};
use sync_core::limits::KEEP_PURGE_ROWS;

use crate::fixture::{as_sync, capture_catalog};
use crate::shell::{Shell, Site};

const NOW: &str = "2026-03-01T00:00:00Z";

/// `t` is kept for 10 days, its children `c` for 5.
fn kept_catalog() -> Catalog {
    let mut catalog = capture_catalog();
    for (table, days) in catalog.tables.iter_mut().zip([10, 5]) {
        table.keep_hours = Some(days * 24);
    }
    catalog
}

/// Rows that the cloud has, each with the day of February of its last change.
fn rows(table: &str, rows: &[(&str, &str, u32)]) -> String {
    let insert = |(id, parent, day): &(&str, &str, u32)| {
        let at = format!("2026-02-{day:02}T00:00:00.000000Z");
        match table {
            "t" => format!(
                "INSERT INTO t (id, version, updated_at, synced_at, rejoin_scope, rejoin_tick) VALUES ('{id}', 1, '{at}', '{at}', 'global', 1);"
            ),
            _ => format!(
                "INSERT INTO c (id, t, rejoin_version, rejoin_updated_at, rejoin_synced_at, rejoin_scope, rejoin_tick)
                 VALUES ('{id}', '{parent}', 1, '{at}', '{at}', 'global', 1);"
            ),
        }
    };
    rows.iter().map(insert).collect()
}

fn purge_all(connection: &Connection, plan: &Plan) -> (usize, usize) {
    let now: DateTime<Utc> = NOW.parse().unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    let (mut pass, mut batches) = (Pass::default(), 0);
    while !pass.done {
        pass = purge(connection, plan, now, pass).unwrap();
        batches += 1;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
    (pass.removed, batches)
}

fn ids(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT id FROM {table} ORDER BY id")).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_old_clean_and_not_referred_to_goes_without_a_trace() {
    let catalog = kept_catalog();
    let script =
        rows(
            "t",
            &[
                ("old", "", 1),
                ("young", "", 20),
                ("edited", "", 1),
                ("newer there", "", 1),
                ("held", "", 1),
                ("parent", "", 1),
                ("old parent", "", 1),
                ("was parent", "", 1),
                ("next parent", "", 1),
            ],
        ) + &rows("c", &[("kept", "parent", 27), ("old child", "old parent", 22), ("moved", "was parent", 27), ("moving", "young", 27)])
            + "UPDATE t SET rejoin_held = 1 WHERE id = 'held';
           INSERT INTO rejoin_theirs_1 (id, rejoin_state, rejoin_version, rejoin_updated_at, rejoin_scope, rejoin_tick)
               VALUES ('newer there', 'live', 2, '', 'global', 2);
           INSERT INTO rejoin_theirs_2 (id, t, rejoin_state, rejoin_version, rejoin_updated_at, rejoin_scope, rejoin_tick)
               VALUES ('moving', 'next parent', 'live', 2, '', 'global', 2);";
    let site = Site::of(&catalog, &script);
    let connection = site.open();
    let old = "'2026-02-01T00:00:00.000000Z'";
    // By their own program, which even keeps the times.
    connection
        .execute_batch(&format!("UPDATE t SET a = 5, updated_at = {old} WHERE id = 'edited'; UPDATE c SET t = 'young' WHERE id = 'moved'"))
        .unwrap();
    as_sync(&connection, &format!("UPDATE t SET updated_at = {old} WHERE id = 'edited'"));
    let before: i64 = connection.query_row("SELECT count(*) FROM rejoin_base_1", [], |row| row.get(0)).unwrap();
    let plan = Plan::new(Arc::new(catalog));
    assert_eq!(purge_all(&connection, &plan), (3, 1));
    assert_eq!(ids(&connection, "t"), ["edited", "held", "newer there", "next parent", "parent", "was parent", "young"]);
    assert_eq!(ids(&connection, "c"), ["kept", "moved", "moving"]);
    let after: i64 = connection.query_row("SELECT count(*) FROM rejoin_base_1", [], |row| row.get(0)).unwrap();
    assert_eq!(after, before, "nothing is to be sent of it");
    assert_eq!(purge_all(&connection, &plan), (0, 1));
}

#[test]
fn many_rows_go_in_batches_and_rows_that_stay_hold_nothing_up() {
    let catalog = kept_catalog();
    let many = 2 * KEEP_PURGE_ROWS + 10;
    let script = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
         INSERT INTO t (id, version, updated_at, synced_at, rejoin_scope, rejoin_tick)
             SELECT printf('%06d', i), 1, '2026-02-01T00:00:00.000000Z', '2026-02-01T00:00:00.000000Z', 'global', 1 FROM n;
         INSERT INTO c (id, t, rejoin_version, rejoin_updated_at, rejoin_synced_at) SELECT id, id, 1, '2026-02-28T00:00:00.000000Z', '2026' FROM t WHERE id <= '000007';
         INSERT INTO rejoin_later (table_no, record_id, body) VALUES (1, '000100', x'00');"
    );
    let site = Site::of(&catalog, &script);
    let connection = site.open();
    assert_eq!(purge_all(&connection, &Plan::new(Arc::new(catalog))), (many - 8, 3));
    let plan: Vec<String> = connection
        .prepare("EXPLAIN QUERY PLAN SELECT 1 FROM t WHERE updated_at < '2026'")
        .unwrap()
        .query_map([], |row| row.get(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(plan[0].contains("rejoin_keep_1"), "{plan:?}");
}

#[test]
fn a_table_that_only_comes_down_is_not_written_here_by_any_program() {
    let mut catalog = capture_catalog();
    catalog.tables[0].travel = Travel::Down;
    for shell in Shell::all() {
        let site = Site::of(&catalog, &(rows("t", &[("k1", "", 1)]) + &rows("c", &[("c1", "k1", 1)])));
        for sql in [
            "INSERT INTO t (id) VALUES ('k2')",
            "INSERT OR REPLACE INTO t (id) VALUES ('k1')",
            "INSERT OR IGNORE INTO t (id) VALUES ('k3')",
            "UPDATE t SET a = 1",
            "UPDATE OR IGNORE t SET id = 'k9'",
            "DELETE FROM t",
        ] {
            let error = shell.run(&site.file, sql).unwrap_err();
            assert!(error.contains("t is not written at sites") && error.contains("Write it at the cloud"), "{sql}: {error}");
        }
        shell.run(&site.file, "UPDATE c SET x = 2; INSERT INTO c (id, t) VALUES ('c2', 'k1')").unwrap();
        let connection = site.open();
        assert_eq!(ids(&connection, "t"), ["k1"]);
        let dirty: i64 = connection.query_row("SELECT count(*) FROM rejoin_base_1", [], |row| row.get(0)).unwrap();
        assert_eq!(dirty, 0);
    }
}

#[test]
fn a_reference_to_rows_that_may_not_be_here_is_not_held_here() {
    let catalog = capture_catalog();
    let holds = |catalog: &Catalog| schema::may_hold(catalog, &catalog.tables[1], &catalog.tables[1].references[0]);
    assert!(holds(&catalog));
    assert!(!holds(&kept_catalog()));
    let mut up = catalog.clone();
    up.tables[0].travel = Travel::Up;
    assert!(!holds(&up));
    let mut down = catalog;
    down.tables[0].travel = Travel::Down;
    assert!(holds(&down));
}
