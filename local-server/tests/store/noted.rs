//! What capture notes for the policies `add` and `newest`, whatever SQL a program runs.

use std::collections::{BTreeMap, HashSet};

use local_server::store::entry::{self, AtKey, Entry};
use local_server::store::plan::Plan;
use proptest::prelude::*;
use rusqlite::Connection;
use sync_core::catalog::Catalog;
use sync_core::id::{ColumnNo, Key, TableNo};
use sync_core::policy::{Policy, add};
use sync_core::value::{ColumnType, Value};

use crate::fixture::{as_sync, catalog, column, table, unique};
use crate::shell::{Program, Shell, Site};

/// `s (id, n, p, f, w, u)`: a stock; n, p and f are added to, of w the newest counts.
fn stock() -> Catalog {
    let mut s = table(
        1,
        "s",
        vec![
            column(1, "id", ColumnType::Text),
            column(2, "n", ColumnType::Int8),
            column(3, "p", ColumnType::Numeric),
            column(4, "f", ColumnType::Float8),
            column(5, "w", ColumnType::Text),
            column(6, "u", ColumnType::Text),
        ],
    );
    s.uniques = vec![unique("s_u", &[6])];
    s.columns[1..4].iter_mut().for_each(|column| column.policy = Policy::Add);
    s.columns[4].policy = Policy::Newest;
    catalog(vec![s])
}

const CONFIRMED: &str = "
    INSERT INTO s (id, n, p, f, w, u, version, updated_at, synced_at, rejoin_scope, rejoin_tick) VALUES
        ('k1', 10, '0.1', 0.5, 'a', 'u1', 5, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', 'global', 7),
        ('k2', 20, '0.2', 0.5, 'b', 'u2', 5, '2026-01-01T00:00:00.000000Z', '2999-01-01T00:00:00.000000Z', 'global', 7),
        ('k3', 30, NULL, NULL, NULL, NULL, 5, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', 'global', 7);";

const CLAUSES: [&str; 5] = ["", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT"];

fn everywhere(script: &str, check: impl Fn(&Connection, &str)) {
    for shell in Shell::all() {
        for clause in CLAUSES {
            let site = Site::of(&stock(), CONFIRMED);
            let sql = script.replace("{or}", clause);
            let what = format!("{shell:?} {sql}");
            shell.run(&site.file, &sql).unwrap_or_else(|error| panic!("{what}: {error}"));
            check(&site.open(), &what);
        }
    }
}

/// What was noted of each row and column: `k1.n 3,-1`.
fn noted(connection: &Connection) -> Vec<String> {
    let sql =
        "SELECT coalesce(s.id, '-') || '.' || a.column_no || ' ' || group_concat(a.value_before || '>' || a.value_after, ' ' ORDER BY a.no)
               FROM rejoin_additions a LEFT JOIN s USING (rejoin_row) GROUP BY s.id, a.column_no ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn load(connection: &Connection, key: &str) -> Entry {
    let plan = Plan::new(stock().into());
    let (table, sql) = plan.table(TableNo(1)).unwrap();
    match entry::by_key(connection, table, sql, &Key(vec![Value::Text(key.into())])).unwrap() {
        AtKey::Row(entry) => *entry,
        AtKey::Taken => panic!("{key} is taken"),
    }
}

/// The base image with all additions, column by column; `None` where the row has no base image.
fn explained(entry: &Entry) -> Option<Vec<Value>> {
    let catalog = stock();
    let mut row = entry.row.base.as_ref()?.row.clone()?;
    for unanswered in &entry.row.additions {
        let at = catalog.tables[0].position(unanswered.addition.column).unwrap();
        row[at] = add(&catalog.tables[0].columns[at].ty, &row[at], &unanswered.addition.amount).unwrap();
    }
    Some(row)
}

#[test]
fn every_update_of_an_add_column_is_an_operation_of_its_own() {
    for third in [
        "UPDATE {or} s SET n = n + 2 WHERE id = 'k1'",
        "INSERT INTO s (id, n) VALUES ('k1', 2) ON CONFLICT (id) DO UPDATE SET n = n + excluded.n",
        "UPDATE {or} s SET id = 'k9', n = n + 2 WHERE id = 'k1'; UPDATE s SET id = 'k1' WHERE id = 'k9'",
        "SAVEPOINT x; UPDATE {or} s SET n = n + 100; ROLLBACK TO x; RELEASE x; UPDATE {or} s SET n = n + 2, w = 'z' WHERE id = 'k1'",
    ] {
        let script = format!("UPDATE {{or}} s SET n = n - 1, p = '0.30' WHERE id = 'k1'; UPDATE {{or}} s SET w = w || '!'; {third}");
        everywhere(&script, |connection, what| {
            assert_eq!(noted(connection), ["k1.2 10>9 9>11", "k1.3 0.1>0.30"], "{what}");
            let entry = load(connection, "k1");
            let amounts: Vec<_> = entry.row.additions.iter().map(|known| known.addition.amount.clone()).collect();
            assert_eq!(amounts, [Value::Int(-1), Value::Text("0.2".into()), Value::Int(2)], "{what}");
            let ids: HashSet<_> = entry.row.additions.iter().map(|known| known.addition.id).collect();
            assert_eq!(ids.len(), 3, "{what}");
            assert_eq!(explained(&entry).unwrap()[1..4], entry.row.live.as_ref().unwrap().row[1..4], "{what}");
        });
    }
}

#[test]
fn from_null_and_to_null_and_new_rows_are_edits_and_in_a_push_operations() {
    let script = "UPDATE {or} s SET p = '5', f = 1 WHERE id = 'k3'; UPDATE {or} s SET p = '6' WHERE id = 'k3'; UPDATE {or} s SET n = NULL WHERE id = 'k3'; \
        INSERT {or} INTO s (id, n) VALUES ('k4', 1); UPDATE {or} s SET n = 2 WHERE id = 'k4'";
    everywhere(script, |connection, what| {
        assert_eq!(noted(connection), Vec::<String>::new(), "{what}");
        for key in ["k3", "k4"] {
            assert!(load(connection, key).row.additions.is_empty(), "{what}");
        }
    });
    let in_push =
        format!("{script}; UPDATE rejoin_base_1 SET rejoin_push_no = 5; UPDATE {{or}} s SET n = n + 3, p = '7' WHERE id IN ('k3', 'k4')");
    everywhere(&in_push, |connection, what| {
        assert_eq!(noted(connection), ["k3.3 6>7", "k4.2 2>5"], "{what}");
        // Refused: what the push would have made numbers are none, and the values themselves travel again.
        connection.execute_batch("UPDATE rejoin_base_1 SET rejoin_push_no = NULL").unwrap();
        assert!(load(connection, "k4").row.additions.is_empty(), "{what}");
    });
}

#[test]
fn a_row_replaced_or_inserted_again_keeps_its_operations_and_the_rest_is_one_more() {
    for again in [
        "DELETE FROM s WHERE id = 'k1'; INSERT {or} INTO s (id, n, p, f, w) VALUES ('k1', 7, '0.1', 0.5, 'a')",
        "INSERT OR REPLACE INTO s (id, n, p, f, w) VALUES ('k1', 7, '0.1', 0.5, 'a')",
        "UPDATE s SET n = NULL WHERE id = 'k1'; UPDATE {or} s SET n = 7 WHERE id = 'k1'",
    ] {
        everywhere(&format!("UPDATE {{or}} s SET n = n + 5 WHERE id = 'k1'; {again}"), |connection, what| {
            assert_eq!(noted(connection), ["k1.2 10>15"], "{what}");
            let entry = load(connection, "k1");
            let amounts: Vec<_> = entry.row.additions.iter().map(|known| known.addition.amount.clone()).collect();
            assert_eq!(amounts, [Value::Int(5), Value::Int(-8)], "{what}");
        });
    }
}

#[test]
fn the_time_of_a_newest_column_is_that_of_its_own_change_and_never_before_its_base() {
    let script =
        "UPDATE {or} s SET n = 1; UPDATE {or} s SET w = 'new' WHERE id IN ('k1', 'k2'); UPDATE {or} s SET w = 'new' WHERE id = 'k1'";
    everywhere(script, |connection, what| {
        let times = |key: &str| load(connection, key).row.base.unwrap().times;
        let now = times("k1");
        assert!(now.len() == 1 && now[0].0.0 == 5 && now[0].1.as_str() > "2026-06" && now[0].1.as_str() < "2999", "{what}: {now:?}");
        assert_eq!(times("k2")[0].1, "2999-01-01T00:00:00.000000Z", "{what}");
        assert!(times("k3").is_empty(), "{what}");
    });
}

#[test]
fn a_table_without_such_columns_pays_nothing() {
    let site = Site::with(crate::capture::CONFIRMED);
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND (sql LIKE '%rejoin_additions%' OR sql LIKE '%rejoin_times%')";
    assert_eq!(site.open().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn a_policy_that_is_new_makes_unsent_edits_operations_and_one_that_is_gone_makes_them_edits() {
    let mut plain = stock();
    plain.tables[0].columns[1].policy = Policy::Manual;
    let connection = Connection::open_in_memory().unwrap();
    crate::fixture::build(&connection, &plain);
    as_sync(&connection, CONFIRMED);
    connection.execute_batch("UPDATE s SET n = 12 WHERE id = 'k1'").unwrap();
    let mut after = stock();
    after.version.0 = 2;
    local_server::store::install::install(&connection, Some(&plain), &after, "venue").unwrap();
    let entry = load(&connection, "k1");
    assert_eq!(entry.row.additions.len(), 1);
    assert_eq!(entry.row.additions[0].addition.amount, Value::Int(2));
    connection.execute_batch("UPDATE s SET n = n + 1, w = 'x' WHERE id = 'k1'").unwrap();
    assert_eq!(noted(&connection), ["k1.2 12>13"]);
    plain.version.0 = 3;
    local_server::store::install::install(&connection, Some(&after), &plain, "venue").unwrap();
    assert_eq!(noted(&connection), Vec::<String>::new());
    let times: i64 = connection.query_row("SELECT count(*) FROM rejoin_times", [], |row| row.get(0)).unwrap();
    assert_eq!(times, 1, "the other policy stays");
}

#[test]
fn of_a_row_that_was_removed_and_made_again_the_difference_is_one_addition() {
    let site = Site::of(&stock(), CONFIRMED);
    let shell = Shell { program: Program::Linked, recursive_triggers: false, foreign_keys: true };
    for sql in [
        "UPDATE OR REPLACE s SET id = 'k3' WHERE id = 'k1'",
        "UPDATE s SET id = 'k4' WHERE id = 'k3'",
        "INSERT INTO s (id, n) VALUES ('k3', 3)",
    ] {
        shell.run(&site.file, sql).unwrap();
    }
    let entry = load(&site.open(), "k3");
    let added: Vec<&Value> =
        entry.row.additions.iter().filter(|one| one.addition.column == ColumnNo(2)).map(|one| &one.addition.amount).collect();
    assert_eq!(added, [&Value::Int(3 - 30)]);
}

fn statement() -> impl Strategy<Value = String> {
    let clause = || prop::sample::select(CLAUSES.to_vec());
    let key = || prop::sample::select(vec!["'k1'", "'k2'", "'k3'", "'k4'"]);
    let set = || {
        prop::sample::select(vec![
            "n = n + 1",
            "n = 40",
            "n = -n, p = p + 1",
            "p = '12345678901234567890.5'",
            "p = '-0.30', w = 'x'",
            "f = f * 2",
            "w = w || 'y'",
        ])
    };
    let plain = (clause(), key(), set()).prop_map(|(or, key, set)| format!("UPDATE {or} s SET {set} WHERE id = {key}"));
    prop_oneof![
        6 => plain,
        1 => (clause(), set()).prop_map(|(or, set)| format!("UPDATE {or} s SET {set}")),
        1 => (clause(), key(), key()).prop_map(|(or, from, to)| format!("UPDATE {or} s SET id = {to} WHERE id = {from}")),
        1 => key().prop_map(|key| format!("INSERT INTO s (id, n) VALUES ({key}, 3) ON CONFLICT (id) DO UPDATE SET n = n + excluded.n")),
    ]
}

fn step() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => statement(),
        1 => (prop::collection::vec(statement(), 1..4), any::<bool>()).prop_map(|(all, keep)| {
            let end = if keep { "RELEASE x" } else { "ROLLBACK TO x; RELEASE x" };
            format!("SAVEPOINT x; {}; {end}", all.join("; "))
        }),
    ]
}

/// The triggers alone explain every number of a row that was not removed meanwhile. (A row that REPLACE removed, and that was inserted again, is
/// another one under the same key: [`local_server::store::noted`] makes one addition of the difference when it is loaded.)
fn hold(shell: Shell, steps: &[String]) -> Result<(), TestCaseError> {
    let site = Site::of(&stock(), CONFIRMED);
    let connection = site.open();
    let last: i64 = connection.query_row("SELECT max(rejoin_row) FROM s", [], |row| row.get(0)).unwrap();
    for step in steps {
        drop(shell.run(&site.file, step));
    }
    let mut amounts: BTreeMap<(i64, u32), Vec<(rusqlite::types::Value, rusqlite::types::Value)>> = BTreeMap::new();
    let mut statement =
        connection.prepare("SELECT rejoin_row, column_no, value_before, value_after FROM rejoin_additions ORDER BY no").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        amounts.entry((row.get(0).unwrap(), row.get(1).unwrap())).or_default().push((row.get(2).unwrap(), row.get(3).unwrap()));
    }
    let sql = "SELECT l.rejoin_row, l.n, b.n, l.p, b.p, l.f, b.f FROM s l JOIN rejoin_base_1 b USING (rejoin_row) WHERE b.rejoin_kind = 'change' AND l.rejoin_row <= ?1";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([last]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        for (column, at) in [(2, 1), (3, 3), (4, 5)] {
            let (live, base): (rusqlite::types::Value, rusqlite::types::Value) = (row.get(at).unwrap(), row.get(at + 1).unwrap());
            let noted = amounts.remove(&(row.get(0).unwrap(), column)).unwrap_or_default();
            let mut value = base;
            for (before, after) in noted {
                prop_assert_eq!(&before, &value, "column {} of {:?}", column, steps);
                value = after;
            }
            prop_assert!(value == live || value == rusqlite::types::Value::Null, "column {column}: {value:?} is {live:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn the_operations_lead_from_the_base_to_the_live_row(steps in prop::collection::vec(step(), 1..12), recursive_triggers in any::<bool>()) {
        hold(Shell { program: Program::Linked, recursive_triggers, foreign_keys: true }, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn sqlite3s_operations_lead_there_too(steps in prop::collection::vec(step(), 1..8), recursive_triggers in any::<bool>()) {
        hold(Shell { program: Program::Sqlite3, recursive_triggers, foreign_keys: true }, &steps)?;
    }
}
