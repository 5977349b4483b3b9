//! Keys with leased numbers: whoever inserts, and however, takes each number once.

use std::collections::BTreeSet;

use local_server::store::{DbError, identity, leases};
use proptest::prelude::*;
use rusqlite::Connection;
use sync_core::id::{CloudEpoch, ReplicaEpoch, ReplicaId};
use sync_core::wire::message::{Lease, LeaseAnswer, Replica};
use uuid::Uuid;

use crate::capture::{State, Versions, check_captured, settle};
use crate::fixture::leased_catalog;
use crate::shell::{Program, Shell, Site, step};

/// Three rows that the cloud has, and numbers: 100 to 104 and 200, 190, .. 160 for t, 50 to 52 for c, 7 to 9 for lines.
const CONFIRMED: &str = "
    INSERT INTO t (id, a, b, u, version, updated_at, last_modified_by, synced_at, rejoin_scope, rejoin_tick) VALUES
        (1, 1, 'one', 'u1', 5, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 7),
        (2, 2, 'two', 'u2', 6, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 8),
        (3, 3, 'three', NULL, 7, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 9);
    INSERT INTO c (id, t, x, rejoin_version, rejoin_synced_at, rejoin_scope, rejoin_tick) VALUES
        (1, 1, 1, 3, '2026-01-01T00:00:00.000000Z', 'global', 7);
    INSERT INTO rejoin_leases (table_no, column_no, next, last, step, replica) VALUES
        (1, 1, 100, 104, 1, 'r'), (1, 1, 200, 160, -10, 'r'), (2, 1, 50, 52, 1, 'r'), (3, 2, 7, 9, 1, 'r');";

fn site() -> Site {
    Site::of(&leased_catalog(), CONFIRMED)
}

fn ids(connection: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The numbers of t that are left.
fn stock(connection: &Connection) -> BTreeSet<i64> {
    let mut statement = connection.prepare("SELECT next, last, step FROM rejoin_leases WHERE table_no = 1").unwrap();
    let blocks = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))).unwrap();
    let mut all = BTreeSet::new();
    for (next, last, step) in blocks.map(Result::unwrap) {
        for at in 0..=last.abs_diff(next) / step.unsigned_abs() {
            assert!(all.insert(next + step * i64::try_from(at).unwrap()), "a number twice");
        }
    }
    all
}

#[test]
fn a_row_without_a_number_takes_the_next_one_whoever_inserts_it() {
    for shell in Shell::all() {
        let site = site();
        let connection = site.open();
        let script = "INSERT INTO t (a) VALUES (10), (11);
            INSERT INTO t (a, u) SELECT a + 20, NULL FROM t WHERE id < 3 ORDER BY id;
            INSERT OR IGNORE INTO t (a, u) VALUES (30, 'u1');
            INSERT OR REPLACE INTO t (a, u) VALUES (40, 'u2');
            INSERT INTO t (a, u) VALUES (50, 'u1') ON CONFLICT (u) WHERE rejoin_held = 0 DO UPDATE SET a = excluded.a;
            INSERT INTO t (id, a) VALUES (NULL, 60);
            SAVEPOINT s; INSERT INTO t (a) VALUES (70); ROLLBACK TO s; RELEASE s;
            INSERT INTO t (a) VALUES (80);
            INSERT INTO lines (org, x) VALUES (1, 1), (2, 1);
            INSERT INTO lines (org, no, x) VALUES (1, 9, 1)";
        shell.run(&site.file, script).unwrap();
        let shown = "SELECT id || ' ' || a FROM t ORDER BY rejoin_row";
        let mut statement = connection.prepare(shown).unwrap();
        let rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, ["1 50", "3 3", "100 10", "101 11", "102 21", "103 22", "104 40", "200 60", "190 80"], "{shell:?}");
        assert_eq!(ids(&connection, "SELECT no FROM lines ORDER BY no"), [7, 8, 9]);
        let now = State::read(&connection, "t");
        let mut expected: Vec<String> = [100, 101, 102, 103, 104, 190, 200].map(|id| format!("insert {id}")).to_vec();
        expected.extend(["delete 2".to_owned(), "update 1 a".to_owned()]);
        expected.sort();
        assert_eq!(now.diff(), expected, "{shell:?}");
        assert!(now.live.values().filter(|live| live.rejoin_row > 3).all(|live| live.version == 1 && !live.synced), "{now:#?}");
    }
}

#[test]
fn without_numbers_an_insert_is_refused_and_nothing_of_it_is_there() {
    for shell in Shell::all() {
        for or in ["", " OR IGNORE", " OR REPLACE", " OR FAIL", " OR ABORT"] {
            let site = site();
            let connection = site.open();
            let error = shell.run(&site.file, &format!("INSERT{or} INTO c (t, x) VALUES (1, 1), (1, 2), (1, 3), (1, 4)")).unwrap_err();
            assert!(error.contains("c has no numbers left for id") && error.contains("lease = 5000 under [tables.c]"), "{error}");
            // FAIL keeps what was inserted before the row that failed; but the refusal ends the statement, whatever it says.
            assert_eq!(ids(&connection, "SELECT id FROM c ORDER BY id"), [1], "{shell:?} {or}");
            assert_eq!(ids(&connection, "SELECT next FROM rejoin_leases WHERE table_no = 2"), [50]);
            shell.run(&site.file, "INSERT INTO c (t, x) VALUES (1, 1), (1, 2), (1, 3)").unwrap();
            assert!(shell.run(&site.file, "INSERT INTO c (t, x) VALUES (1, 4)").is_err());
            assert_eq!(ids(&connection, "SELECT id FROM c ORDER BY id"), [1, 50, 51, 52]);
            assert!(ids(&connection, "SELECT no FROM rejoin_leases WHERE table_no = 2").is_empty());
        }
    }
}

#[test]
fn a_number_that_comes_along_is_leased_to_this_replica_or_of_a_row_that_is_known() {
    for shell in Shell::all() {
        let site = site();
        let connection = site.open();
        for strange in ["4", "99", "105", "195", "'abc'", "1.5"] {
            for or in ["", " OR IGNORE", " OR REPLACE"] {
                let error = shell.run(&site.file, &format!("INSERT{or} INTO t (id, a) VALUES ({strange}, 1)")).unwrap_err();
                assert!(error.contains("takes only numbers of id that the cloud has leased"), "{error}");
            }
            let error = shell.run(&site.file, &format!("UPDATE t SET id = {strange} WHERE id = 1")).unwrap_err();
            assert!(error.contains("takes only numbers of id"), "{error}");
        }
        assert!(shell.run(&site.file, "UPDATE t SET id = NULL WHERE id = 1").is_err());
        assert!(shell.run(&site.file, "INSERT INTO lines (org, no, x) VALUES (1, 6, 1)").is_err());
        assert_eq!(stock(&connection).len(), 10);
        // A leased one is used up wherever it stands.
        shell.run(&site.file, "INSERT INTO t (id, a) VALUES (102, 1), (100, 1), (170, 1), (104, 1)").unwrap();
        shell.run(&site.file, "UPDATE t SET id = 190 WHERE id = 3").unwrap();
        assert_eq!(stock(&connection), [101, 103, 160, 180, 200].into());
        assert!(shell.run(&site.file, "INSERT INTO t (id, a) VALUES (102, 1)").is_err(), "it has a row");
        // Rows that are here, or were, come and go under their numbers.
        shell.run(&site.file, "DELETE FROM t WHERE id IN (1, 102); INSERT INTO t (id, a) VALUES (1, 9), (102, 9), (3, 9)").unwrap();
        shell.run(&site.file, "INSERT INTO t (id, a) VALUES (2, 9) ON CONFLICT (id) DO UPDATE SET a = excluded.a").unwrap();
        shell.run(&site.file, "INSERT OR REPLACE INTO t (id, a) VALUES (1, 8)").unwrap();
        shell.run(&site.file, "INSERT INTO t (a) VALUES (0), (0), (0), (0), (0)").unwrap();
        assert!(stock(&connection).is_empty());
        assert_eq!(ids(&connection, "SELECT id FROM t WHERE a = 0 ORDER BY id"), [101, 103, 160, 180, 200]);
    }
}

/// One random statement.
fn statement() -> impl Strategy<Value = String> {
    let clause = || prop::sample::select(vec!["", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ABORT"]);
    let key = || prop::sample::select(vec!["1", "2", "3", "100", "102", "190", "7"]);
    let unique = || prop::sample::select(vec!["'u1'", "'u2'", "'u3'", "NULL"]);
    prop_oneof![
        4 => (clause(), 0..4, unique()).prop_map(|(or, a, u)| format!("INSERT{or} INTO t (a, u) VALUES ({a}, {u})")),
        2 => (clause(), 0..4, unique()).prop_map(|(or, a, u)| format!("INSERT{or} INTO t (a, u) VALUES ({a}, {u}), ({a}, NULL)")),
        1 => (clause(), key()).prop_map(|(or, key)| format!(
            "INSERT{or} INTO t (a, b, u, version, synced_at, rejoin_tick) SELECT a, b, NULL, version, synced_at, rejoin_tick FROM t WHERE id >= {key}"
        )),
        2 => (clause(), key(), 0..4, unique()).prop_map(|(or, key, a, u)| format!("INSERT{or} INTO t (id, a, u) VALUES ({key}, {a}, {u})")),
        2 => (clause(), key(), 0..4).prop_map(|(or, key, a)| format!("UPDATE{or} t SET a = {a} WHERE id = {key}")),
        2 => (clause(), key(), key()).prop_map(|(or, key, to)| format!("UPDATE{or} t SET id = {to} WHERE id = {key}")),
        2 => key().prop_map(|key| format!("DELETE FROM t WHERE id = {key}")),
        1 => unique().prop_map(|u| format!(
            "INSERT INTO t (u) VALUES ({u}) ON CONFLICT (u) WHERE rejoin_held = 0 DO UPDATE SET b = 'upserted'"
        )),
    ]
}

fn hold(shell: Shell, steps: &[String]) -> Result<(), TestCaseError> {
    let site = site();
    let connection = site.open();
    let (confirmed, all) = (State::read(&connection, "t"), stock(&connection));
    let mut versions = Versions::default();
    let mut used: BTreeSet<i64> = BTreeSet::new();
    for step in steps {
        let result = shell.run(&site.file, step);
        // Reading it proves that no row is without a key.
        let (now, left) = (State::read(&connection, "t"), stock(&connection));
        let held = check_captured(&confirmed, &now).and_then(|()| versions.see(&now));
        prop_assert!(held.is_ok(), "{}\nafter {step}: {result:?}\n{now:#?}", held.unwrap_err());
        prop_assert!(left.is_subset(&all) && left.is_disjoint(&used), "after {step}: {left:?}");
        used.extend(all.difference(&left));
        for key in now.live.keys().map(|key| key.parse::<i64>().unwrap()) {
            prop_assert!(key <= 3 || used.contains(&key), "{key} after {step}: {result:?}");
        }
    }
    settle(&connection, &confirmed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_program_does_no_number_is_taken_twice(steps in prop::collection::vec(step(statement()), 1..12), recursive_triggers: bool, foreign_keys: bool) {
        hold(Shell { program: Program::Linked, recursive_triggers, foreign_keys }, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn whatever_sqlite3_does_no_number_is_taken_twice(steps in prop::collection::vec(step(statement()), 1..8), recursive_triggers: bool, foreign_keys: bool) {
        hold(Shell { program: Program::Sqlite3, recursive_triggers, foreign_keys }, &steps)?;
    }
}

#[test]
fn an_answer_counts_once_and_its_numbers_go_with_the_replica() -> Result<(), DbError> {
    let site = site();
    let connection = site.open();
    let catalog = leased_catalog();
    connection.execute("DELETE FROM rejoin_leases", [])?;
    let (answered, wants) = leases::wants(&connection, &catalog)?;
    assert_eq!(
        (answered, wants.iter().map(|want| (want.table.0, want.count)).collect::<Vec<_>>()),
        (0, vec![(1, 1000), (2, 1000), (3, 1000)])
    );
    let (table, column) = (wants[0].table, wants[0].column);
    let lease = |first, last| Lease { table, column, first, last, step: 1 };
    let answer = LeaseAnswer { no: 4, leases: vec![lease(1, 200), lease(300, 300)], refused: vec![] };
    leases::keep(&connection, "r", &answer)?;
    leases::keep(&connection, "r", &answer)?;
    assert_eq!((leases::answered(&connection)?, stock(&connection).len()), (Some(4), 201));
    // The cloud's rows 1 to 3 are among them: somebody wrote them in without asking the sequence.
    leases::let_go_taken(&connection, &catalog)?;
    assert_eq!((stock(&connection).len(), stock(&connection).first().copied()), (198, Some(4)));
    assert_eq!(leases::wants(&connection, &catalog)?.1[0].count, 802, "below a fifth");
    leases::keep(&connection, "r", &LeaseAnswer { no: 5, leases: vec![lease(301, 302)], ..answer })?;
    assert_eq!(leases::wants(&connection, &catalog)?.1.len(), 2, "a fifth is enough");

    let replica = Replica { replica: ReplicaId(Uuid::nil()), epoch: ReplicaEpoch(Uuid::nil()), cloud_epoch: CloudEpoch(Uuid::nil()) };
    identity::store_replica(&connection, &replica)?;
    assert_eq!((leases::answered(&connection)?, stock(&connection).len()), (None, 0));
    Ok(())
}
