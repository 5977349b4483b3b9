//! Named histories of INTERLEAVINGS.md: each under every conflict clause, pragma and program.

use local_server::store::settle::trade_keys;
use rusqlite::Connection;

use crate::capture::{CONFIRMED, State, check_captured};
use crate::fixture::as_sync;
use crate::shell::{Shell, Site};

/// Runs a script by every program and setting on a fresh site, and checks what was captured. `clauses`: each `{or}` of the script is
/// replaced by each of them.
fn everywhere(script: &str, clauses: &[&str], check: impl Fn(&Connection, &State, &str)) {
    for shell in Shell::all() {
        for clause in clauses {
            let site = Site::with(CONFIRMED);
            let connection = site.open();
            let confirmed = State::read(&connection, "t");
            let children = State::read(&connection, "c");
            let sql = script.replace("{or}", clause);
            let what = format!("{shell:?} {sql}");
            shell.run(&site.file, &sql).unwrap_or_else(|error| panic!("{what}: {error}"));
            let now = State::read(&connection, "t");
            check_captured(&confirmed, &now).unwrap_or_else(|error| panic!("{what}: {error}\n{now:#?}"));
            check_captured(&children, &State::read(&connection, "c")).unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&connection, &now, &what);
        }
    }
}

const CLAUSES: [&str; 5] = ["", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT"];

fn refused(script: &str, message: &str) {
    for shell in Shell::all() {
        let site = Site::with(&format!("{CONFIRMED} {HELD}"));
        let before = State::read(&site.open(), "t");
        let error = shell.run(&site.file, script).expect_err(script);
        assert!(error.contains(message), "{shell:?} {script}: {error}");
        assert_eq!(State::read(&site.open(), "t"), before, "{shell:?} {script}");
    }
}

/// k1 is held: an insert made here that the cloud refused for its `u`, which the cloud's k9 has.
const HELD: &str = "UPDATE t SET rejoin_held = 1, synced_at = NULL, rejoin_tick = NULL WHERE id = 'k1';
    INSERT INTO rejoin_base_1 (rejoin_row, rejoin_kind, id, rejoin_held_conflict) SELECT rejoin_row, 'insert', id, 'a conflict' FROM t WHERE id = 'k1';
    INSERT INTO t (id, u, synced_at, rejoin_tick) VALUES ('k9', 'u1', '2026-01-01T00:00:00.000000Z', 11);";

#[test]
fn h03_the_users_conflict_clause_does_not_reach_the_base_image() {
    for second in [
        "UPDATE {or} t SET b = 'new' WHERE id = 'k1'",
        "INSERT INTO t (id, b) VALUES ('k1', 'new') ON CONFLICT (id) DO UPDATE SET b = excluded.b",
        "SAVEPOINT s; UPDATE {or} t SET a = 99, u = NULL WHERE id = 'k1'; ROLLBACK TO s; RELEASE s; UPDATE {or} t SET b = 'new' WHERE id = 'k1'",
    ] {
        everywhere(&format!("UPDATE t SET a = 2 WHERE id = 'k1'; {second}"), &CLAUSES, |_, now, what| {
            assert_eq!(now.diff(), ["update k1 a,b"], "{what}");
        });
    }
}

#[test]
fn h04a_a_row_number_is_never_used_again() {
    everywhere("DELETE FROM t WHERE id = 'k3'; INSERT {or} INTO t (id, a) VALUES ('k4', 4)", &CLAUSES, |_, now, what| {
        assert_eq!(now.diff(), ["delete k3", "insert k4"], "{what}");
        assert_eq!(now.live["k4"].rejoin_row, 4, "{what}");
    });
}

#[test]
fn h04b_a_key_deleted_and_inserted_again_is_one_edit_of_the_row() {
    for script in [
        "DELETE FROM t WHERE id = 'k1'; INSERT {or} INTO t (id, a, b, u) VALUES ('k1', 9, 'one', 'u1')",
        "INSERT OR REPLACE INTO t (id, a, b, u) VALUES ('k1', 9, 'one', 'u1')",
        "REPLACE INTO t (id, a, b, u) VALUES ('k1', 8, 'x', 'u9'); REPLACE INTO t (id, a, b, u) VALUES ('k1', 9, 'one', 'u1')",
    ] {
        everywhere(script, &CLAUSES, |_, now, what| {
            assert_eq!(now.diff(), ["update k1 a"], "{what}");
            assert!(now.live["k1"].version > 5, "{what}: {:?}", now.live["k1"]);
        });
    }
}

#[test]
fn h04c_an_insert_that_is_deleted_keeps_its_mark_for_the_push_it_may_be_in() {
    let insert = "INSERT {or} INTO t (id, a) VALUES ('k4', 4); UPDATE rejoin_base_1 SET rejoin_push_no = 5 WHERE id = 'k4'; DELETE FROM t WHERE id = 'k4'";
    everywhere(insert, &CLAUSES, |connection, now, what| {
        let mark = now.base.iter().find(|base| base.key == "k4").unwrap_or_else(|| panic!("{what}: no mark"));
        assert_eq!((mark.kind.as_str(), mark.gone_version), ("insert", Some(2)), "{what}");
        let by: String = connection.query_row("SELECT rejoin_gone_by FROM rejoin_base_1 WHERE id = 'k4'", [], |row| row.get(0)).unwrap();
        assert_eq!(by, "site:venue", "{what}");
    });
    everywhere(&format!("{insert}; INSERT {{or}} INTO t (id, a) VALUES ('k4', 5)"), &CLAUSES, |_, now, what| {
        assert_eq!(now.base.iter().filter(|base| base.key == "k4").count(), 1, "{what}");
        assert_eq!((now.diff(), now.live["k4"].version), (vec!["insert k4".to_owned()], 3), "{what}");
    });
}

#[test]
fn h05_a_delete_with_foreign_keys_captures_what_it_takes_along_and_without_leaves_an_orphan() {
    for shell in Shell::all() {
        let site = Site::with(CONFIRMED);
        shell.run(&site.file, "DELETE FROM t WHERE id = 'k1'").unwrap();
        let (parents, children) = (State::read(&site.open(), "t"), State::read(&site.open(), "c"));
        assert_eq!(parents.diff(), ["delete k1"]);
        let expected: &[&str] = if shell.foreign_keys { &["delete c1"] } else { &[] };
        assert_eq!(children.diff(), expected, "{shell:?}");
    }
}

#[test]
fn rb3_nothing_is_inserted_over_a_held_row() {
    let message = "rejoin: t holds this key in a conflict that is not resolved";
    for clause in CLAUSES {
        refused(&format!("INSERT {clause} INTO t (id, a) VALUES ('k1', 1)"), message);
        refused(&format!("UPDATE {clause} t SET id = 'k1' WHERE id = 'k2'"), message);
    }
    refused("INSERT INTO t (id, a) VALUES ('k1', 1) ON CONFLICT (id) DO UPDATE SET a = 1", message);
}

#[test]
fn h27_a_held_row_can_be_edited_beside_the_clouds_row_and_everyday_sql_works() {
    for shell in Shell::all() {
        let site = Site::with(&format!("{CONFIRMED} {HELD}"));
        let run = |sql: &str| shell.run(&site.file, sql);
        run("UPDATE t SET b = 'edited' WHERE id = 'k1'").unwrap();
        run("INSERT OR IGNORE INTO t (id, u) VALUES ('k5', 'u1')").unwrap();
        run("INSERT INTO t (id, u) VALUES ('k5', 'u1') ON CONFLICT DO NOTHING").unwrap();
        run("INSERT INTO t (id, u, b) VALUES ('k5', 'u1', 'up') ON CONFLICT (u) WHERE rejoin_held = 0 DO UPDATE SET b = excluded.b")
            .unwrap();
        let now = State::read(&site.open(), "t");
        assert_eq!(now.diff(), ["insert k1", "update k9 b"], "{shell:?}");
    }
}

#[test]
fn rb4_update_or_replace_captures_the_row_it_removes() {
    everywhere("UPDATE OR REPLACE t SET u = 'u2' WHERE id = 'k1'", &[""], |_, now, what| {
        assert_eq!(now.diff(), ["delete k2", "update k1 u"], "{what}");
    });
    everywhere("UPDATE OR REPLACE t SET id = 'k2' WHERE id = 'k3'", &[""], |_, now, what| {
        assert_eq!(now.diff(), ["delete k2", "rekey k3 k2"], "{what}");
        assert!(now.live["k2"].version > 6, "{what}");
    });
    everywhere("INSERT OR REPLACE INTO t (id, a, u) VALUES ('k4', 4, 'u2')", &[""], |_, now, what| {
        assert_eq!(now.diff(), ["delete k2", "insert k4"], "{what}");
    });
}

#[test]
fn rb5_a_changed_key_keeps_its_base_and_its_old_key_is_free() {
    everywhere("UPDATE {or} t SET id = 'k4' WHERE id = 'k3'; INSERT {or} INTO t (id, a) VALUES ('k3', 100)", &CLAUSES, |_, now, what| {
        assert_eq!(now.diff(), ["insert k3", "rekey k3 k4"], "{what}");
        assert!(now.live["k3"].version > 7 && now.live["k4"].version > 7, "{what}: versions go on");
    });
    everywhere("UPDATE t SET id = 'k4' WHERE id = 'k3'; UPDATE t SET id = 'k3' WHERE id = 'k4'", &[""], |_, now, what| {
        assert_eq!(now.diff(), Vec::<String>::new(), "{what}");
    });
}

#[test]
fn a_deleted_rows_key_given_to_another_row_is_a_change_of_the_one_and_a_delete_of_the_other() {
    let table = &crate::fixture::capture_catalog().tables[0];
    let last = "DELETE FROM t WHERE id = 'k2'; UPDATE t SET id = 'k2' WHERE id = 'k3'";
    let circle = "UPDATE t SET id = 'k4' WHERE id = 'k2'; UPDATE t SET id = 'k2' WHERE id = 'k3'; DELETE FROM t WHERE id = 'k4'";
    let new = "DELETE FROM t WHERE id = 'k2'; INSERT INTO t (id) VALUES ('k5'); UPDATE t SET id = 'k2' WHERE id = 'k5'";
    for (script, expected) in
        [(last, &["delete k3", "update k2 a,b,u"][..]), (circle, &["delete k3", "update k2 a,b,u"]), (new, &["update k2 a,b,u"])]
    {
        let site = Site::with(CONFIRMED);
        let connection = site.open();
        connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {script}")).unwrap();
        trade_keys(&connection, table).unwrap();
        assert_eq!(State::read(&connection, "t").diff(), expected, "{script}");
        let gone = "SELECT count(*) FROM rejoin_base_1 WHERE id = 'k3' AND rejoin_gone_version > 7 AND rejoin_gone_by = 'site:venue' AND rejoin_gone_at IS NOT NULL";
        let gone: i64 = connection.query_row(gone, [], |row| row.get(0)).unwrap();
        assert_eq!(gone, i64::from(expected.len() == 2), "{script}");
        assert_eq!(trade_keys(&connection, table).unwrap(), 0, "{script}: it is done");
    }
}

#[test]
fn who_sets_the_version_has_stamped_the_row_and_nobody_sets_it_back() {
    let version = |now: &State| (now.live["k1"].version, now.live["k1"].author.clone(), now.live["k1"].synced);
    let by_trigger = |expected: i64| {
        move |_: &Connection, now: &State, what: &str| assert_eq!(version(now), (expected, "site:venue".into(), false), "{what}")
    };
    everywhere("UPDATE {or} t SET a = 2 WHERE id = 'k1'", &CLAUSES, by_trigger(6));
    everywhere("UPDATE {or} t SET a = 2 WHERE id = 'k1'; UPDATE {or} t SET a = 3 WHERE id = 'k1'", &CLAUSES, by_trigger(7));
    // An ORM that counts itself but knows no synced_at.
    everywhere("UPDATE {or} t SET a = 2, version = version + 1 WHERE id = 'k1'", &CLAUSES, by_trigger(6));
    // An ORM that saves a whole row it read long ago.
    everywhere("UPDATE {or} t SET a = 2, version = 3 WHERE id = 'k1'", &CLAUSES, by_trigger(6));
    // Our API.
    let api = "UPDATE t SET a = 2, version = 6, updated_at = '2026-02-02T00:00:00.000000Z', last_modified_by = 'bea', synced_at = NULL WHERE id = 'k1'";
    everywhere(api, &[""], |_, now, what| assert_eq!(version(now), (6, "bea".into(), false), "{what}"));
}

#[test]
fn engine_columns_of_a_copied_row_are_not_believed() {
    everywhere(
        "INSERT {or} INTO t (id, a, version, synced_at, rejoin_scope, rejoin_tick) SELECT 'k4', a, version, synced_at, rejoin_scope, rejoin_tick FROM t WHERE id = 'k1'",
        &CLAUSES,
        |connection, now, what| {
            let place: Option<i64> = connection.query_row("SELECT rejoin_tick FROM t WHERE id = 'k4'", [], |row| row.get(0)).unwrap();
            assert_eq!((now.diff(), place, now.live["k4"].synced), (vec!["insert k4".to_owned()], None, false), "{what}");
        },
    );
    refused("UPDATE t SET rejoin_row = 77 WHERE id = 'k2'", "leave rejoin_row alone");
    refused("INSERT OR REPLACE INTO t (id, rejoin_row) VALUES ('k8', 2)", "leave rejoin_row out");
}

#[test]
fn the_sync_writer_leaves_no_trace() {
    let site = Site::with(CONFIRMED);
    let connection = site.open();
    as_sync(
        &connection,
        "UPDATE t SET a = 50, version = 9 WHERE id = 'k1'; DELETE FROM t WHERE id = 'k2'; INSERT INTO t (id) VALUES ('k7')",
    );
    let now = State::read(&connection, "t");
    assert_eq!((now.base.len(), now.live.len(), now.live["k1"].version), (0, 3, 9));
}
