//! Columns and tables that a new catalog no longer has, with unsent edits of them and without.

use local_server::store::hidden::{plan, tidy};
use local_server::store::install::install;
use local_server::store::outbox::{self, Pass};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::catalog::Catalog;
use sync_core::change::{Op, RowChange};
use sync_core::id::{CatalogVersion, CloudEpoch, ReplicaEpoch, ReplicaId};
use sync_core::value::{ColumnType, Value};
use sync_core::wire::codec;
use sync_core::wire::message::{Push, Speaker};
use uuid::Uuid;

use crate::fixture::{as_sync, build, capture_catalog, column, table};

/// As the sync's own connection is.
fn sync_only(connection: &Connection, on: bool) {
    for switch in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY] {
        connection.set_db_config(switch, !on).unwrap();
    }
}

fn take(connection: &Connection, before: &Catalog, change: impl FnOnce(&mut Catalog)) -> Catalog {
    let mut after = before.clone();
    after.version.0 += 1;
    change(&mut after);
    sync_only(connection, true);
    install(connection, Some(before), &after, "venue").unwrap();
    sync_only(connection, false);
    after
}

fn cut(connection: &Connection, catalog: &Catalog) -> Vec<RowChange> {
    let plan = plan(connection, catalog.clone().into()).unwrap();
    let speaker = Speaker {
        replica: ReplicaId(Uuid::nil()),
        epoch: ReplicaEpoch(Uuid::nil()),
        cloud_epoch: CloudEpoch(Uuid::nil()),
        catalog: CatalogVersion(2),
    };
    sync_only(connection, true);
    let push = outbox::next(connection, &plan, speaker, &mut Pass::default()).unwrap();
    sync_only(connection, false);
    push.map(|push| codec::decode::<Push>(&push.body).unwrap().rows).unwrap_or_default()
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
    statement.query_map([table], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn text(connection: &Connection, sql: &str) -> String {
    connection.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
}

/// `t (id, a NOT NULL, b, u)` and its children, with three rows of it confirmed.
fn opened() -> (Connection, Catalog) {
    let mut catalog = capture_catalog();
    catalog.tables[0].columns[1].not_null = true;
    let connection = Connection::open_in_memory().unwrap();
    build(&connection, &catalog);
    as_sync(&connection, crate::capture::CONFIRMED);
    (connection, catalog)
}

#[test]
fn a_dropped_column_stays_hidden_where_an_unsent_edit_is_of_it_and_is_pushed_under_its_number() {
    let (connection, catalog) = opened();
    connection
        .execute_batch(
            "UPDATE t SET a = 9, b = 'edited' WHERE id = 'k1'; UPDATE t SET b = 'other' WHERE id = 'k2'; INSERT INTO t (id, a, b) VALUES ('k4', 4, 'new');
             DELETE FROM t WHERE id = 'k3'",
        )
        .unwrap();
    let after = take(&connection, &catalog, |catalog| drop(catalog.tables[0].columns.remove(1)));
    assert!(!columns(&connection, "t").contains(&"a".to_owned()));
    let hidden = "SELECT group_concat(id || ' ' || coalesce(rejoin_hidden_2, '-') || ' ' || b, ', ' ORDER BY id) FROM t";
    assert_eq!(text(&connection, hidden), "k1 9 edited, k2 - other, k4 4 new");
    // Everyday SQL knows nothing of it, and what it writes is captured as ever.
    connection
        .execute_batch("INSERT INTO t (id, b) VALUES ('k5', 'later'); UPDATE t SET b = 'again' WHERE id = 'k2'; INSERT INTO c (id, t) VALUES ('c9', 'k5')")
        .unwrap();
    let last: i64 = connection.query_row("SELECT rejoin_row FROM t WHERE id = 'k5'", [], |row| row.get(0)).unwrap();
    assert_eq!(last, 5, "a row number is never used again");
    let pushed = cut(&connection, &after);
    let of_a: Vec<_> =
        pushed.iter().filter(|row| row.table.0 == 1 && row.values().any(|(no, _)| no.0 == 2)).map(|row| row.key.to_string()).collect();
    assert_eq!(of_a, ["k4", "k1"], "{pushed:#?}");
    let k1 = pushed.iter().find(|row| row.key.to_string() == "k1").unwrap();
    let Op::Update(edits) = &k1.op else { panic!("{k1:?}") };
    assert_eq!((&edits[0].base, &edits[0].new, edits.len()), (&Value::Int(1), &Value::Int(9), 2));
    // Accepted and parked, as far as the file can tell: nothing is dirty any more.
    connection.execute_batch("DELETE FROM rejoin_base_1 WHERE id IN ('k1', 'k4')").unwrap();
    let plan = plan(&connection, after.into()).unwrap();
    assert!(tidy(&connection, &plan).unwrap());
    for table in ["t", "rejoin_base_1", "rejoin_theirs_1"] {
        assert!(columns(&connection, table).iter().all(|name| !name.starts_with("rejoin_hidden")), "{table}");
    }
    assert_eq!(text(&connection, "SELECT count(*) || '' FROM rejoin_hidden"), "0");
    connection.execute_batch("UPDATE t SET b = 'clean' WHERE id = 'k1'").unwrap();
}

#[test]
fn a_dropped_column_without_unsent_edits_goes_at_once_and_its_name_is_free_again() {
    let (connection, catalog) = opened();
    connection.execute_batch("UPDATE t SET b = 'edited' WHERE id = 'k1'").unwrap();
    let after = take(&connection, &catalog, |catalog| {
        catalog.tables[0].columns.remove(1);
        catalog.tables[0].columns.push(column(5, "a", ColumnType::Text));
    });
    assert_eq!(text(&connection, "SELECT count(*) || '' FROM rejoin_hidden"), "0");
    connection.execute_batch("UPDATE t SET a = 'a text' WHERE id = 'k2'").unwrap();
    let edits: Vec<_> =
        cut(&connection, &after).iter().map(|row| (row.key.to_string(), row.values().map(|(no, _)| no.0).collect())).collect();
    assert_eq!(edits, [("k1".to_owned(), vec![3]), ("k2".to_owned(), vec![5])]);
}

#[test]
fn a_dropped_table_keeps_its_dirty_rows_until_they_are_sent_and_its_name_is_free_for_another() {
    let (connection, catalog) = opened();
    connection
        .execute_batch("UPDATE c SET x = 7 WHERE id = 'c1'; INSERT INTO c (id, t, x) VALUES ('c3', 'k1', 3); DELETE FROM t WHERE id = 'k2'")
        .unwrap();
    let after = take(&connection, &catalog, |catalog| {
        catalog.tables.remove(1);
        catalog.tables.push(table(3, "c", vec![column(1, "name", ColumnType::Text)]));
    });
    assert_eq!(text(&connection, "SELECT group_concat(id, ',' ORDER BY id) FROM rejoin_hidden_table_2"), "c1,c3");
    connection.execute_batch("INSERT INTO c (name) VALUES ('another'); DELETE FROM t WHERE id = 'k1'").unwrap();
    let pushed = cut(&connection, &after);
    let rows: Vec<_> = pushed.iter().map(|row| format!("{}/{}", row.table, row.key)).collect();
    assert_eq!(rows, ["2/c3", "3/another", "2/c1", "2/c2", "1/k1", "1/k2"].map(str::to_owned), "{rows:?}");
    connection.execute_batch("DELETE FROM rejoin_base_2").unwrap();
    let plan = plan(&connection, after.into()).unwrap();
    assert!(tidy(&connection, &plan).unwrap());
    assert_eq!(
        text(&connection, "SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE '%hidden_table%' OR name LIKE '%base_2%'"),
        ""
    );
}

#[test]
fn a_table_that_others_refer_to_goes_with_their_references() {
    let (connection, catalog) = opened();
    connection.execute_batch("UPDATE c SET x = 7 WHERE id = 'c1'").unwrap();
    take(&connection, &catalog, |catalog| {
        catalog.tables.remove(0);
        catalog.tables[0].columns.remove(1);
        catalog.tables[0].references.clear();
    });
    connection.execute_batch("INSERT INTO c (id, x) VALUES ('c7', 1)").unwrap();
    assert_eq!(text(&connection, "SELECT group_concat(name) FROM sqlite_schema WHERE name = 't' OR sql LIKE '%REFERENCES%'"), "");
    assert_eq!(text(&connection, "SELECT x || '' FROM c WHERE id = 'c1'"), "7");
}
