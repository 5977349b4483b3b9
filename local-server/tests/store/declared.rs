//! References that only `rejoin.toml` declares, in plain SQL at a site: comments on assets, orders and people, told apart by their kind.

use local_server::store::references;
use local_server::store::schema::tables;
use rusqlite::Connection;
use sync_core::catalog::{Catalog, OnDelete, Reference};
use sync_core::id::ColumnNo;
use sync_core::value::{ColumnType, Value};

use crate::fixture::{as_sync, build, catalog, column, reference, table};

const ASSET: &str = "0191f7a4-0000-7000-8000-0000000000aa";

/// `assets (id uuid)`, `orders (id int8)`, `people (id text)`; `comments (id, kind, entity text)`: those on an asset go with it, those on an order lose
/// it, and those on a person keep it there.
fn comments() -> Catalog {
    let to = |kind: &str, table: u32, on_delete| Reference {
        declared: true,
        when: Some((ColumnNo(2), Value::Text(kind.to_owned()))),
        ..reference(&format!("comments.entity>{kind}"), 3, table, on_delete)
    };
    let text = |no, name| column(no, name, ColumnType::Text);
    let mut comments = table(4, "comments", vec![text(1, "id"), text(2, "kind"), text(3, "entity")]);
    comments.references = vec![to("asset", 1, OnDelete::Cascade), to("order", 2, OnDelete::SetNull), to("person", 3, OnDelete::Restrict)];
    catalog(vec![
        table(1, "assets", vec![column(1, "id", ColumnType::Uuid)]),
        table(2, "orders", vec![column(1, "id", ColumnType::Int8)]),
        table(3, "people", vec![text(1, "id")]),
        comments,
    ])
}

fn opened() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    build(&connection, &comments());
    let rows = format!(
        "INSERT INTO assets (id) VALUES ('{ASSET}'); INSERT INTO orders (id) VALUES (7), (8); INSERT INTO people (id) VALUES ('ann'), ('7');
         INSERT INTO comments (id, kind, entity) VALUES ('a', 'asset', '{ASSET}'), ('o', 'order', '7'), ('p', 'person', 'ann'), ('n', 'none', 'x'),
             ('q', 'person', '7')"
    );
    connection.execute_batch(&rows).unwrap();
    connection
}

/// The comments as `id=entity`.
fn left(connection: &Connection) -> String {
    let sql = "SELECT group_concat(id || '=' || coalesce(entity, '-'), ' ') FROM (SELECT * FROM comments ORDER BY id)";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn refused(connection: &Connection, sql: &str) {
    let error = connection.execute_batch(sql).unwrap_err().to_string();
    assert!(error.contains("FOREIGN KEY constraint failed"), "{sql}: {error}");
}

#[test]
fn sqlite_itself_knows_nothing_of_them() {
    let catalog = comments();
    let sql = tables(&catalog, &catalog.tables[3], "venue").join(";");
    assert!(!sql.contains("FOREIGN KEY"), "{sql}");
    assert_eq!(references::triggers(&catalog, &catalog.tables[3]).len(), 12);
}

#[test]
fn a_row_must_name_one_that_is_there_of_its_kind() {
    let connection = opened();
    connection
        .execute_batch(&format!("INSERT INTO comments (id, kind, entity) VALUES ('A', 'asset', '{}')", ASSET.to_uppercase()))
        .unwrap();
    for (kind, entity) in
        [("asset", "0191f7a4-0000-7000-8000-0000000000bb"), ("order", "9"), ("order", "07"), ("person", ASSET), ("asset", "7")]
    {
        refused(&connection, &format!("INSERT INTO comments (id, kind, entity) VALUES ('x', '{kind}', '{entity}')"));
    }
    refused(&connection, "UPDATE comments SET kind = 'order' WHERE id = 'p'");
    refused(&connection, "UPDATE comments SET entity = '9' WHERE id = 'o'");
    for sql in [
        "UPDATE comments SET kind = 'order', entity = '8' WHERE id = 'p'",
        "UPDATE comments SET kind = 'person' WHERE id = 'o'",
        "INSERT INTO comments (id, kind, entity) VALUES ('x', 'asset', NULL), ('y', 'other', 'z')",
    ] {
        connection.execute_batch(sql).unwrap();
    }
}

#[test]
fn their_delete_rules_are_held() {
    let connection = opened();
    connection
        .execute_batch(&format!("INSERT INTO comments (id, kind, entity) VALUES ('A', 'asset', '{}')", ASSET.to_uppercase()))
        .unwrap();
    connection.execute_batch("DELETE FROM assets").unwrap();
    assert_eq!(left(&connection), "n=x o=7 p=ann q=7");
    connection.execute_batch("DELETE FROM orders WHERE id = 7").unwrap();
    assert_eq!(left(&connection), "n=x o=- p=ann q=7", "a person of the same text is another one");
    refused(&connection, "DELETE FROM people WHERE id = 'ann'");
    connection.execute_batch("DELETE FROM comments WHERE id = 'p'; DELETE FROM people WHERE id = 'ann'").unwrap();
    assert_eq!(left(&connection), "n=x o=- q=7");
}

#[test]
fn they_follow_a_changed_key() {
    let connection = opened();
    connection.execute_batch("UPDATE orders SET id = 70 WHERE id = 7; UPDATE people SET id = 'anna' WHERE id = 'ann'").unwrap();
    assert_eq!(left(&connection), format!("a={ASSET} n=x o=70 p=anna q=7"));
}

#[test]
fn the_sync_writer_is_not_asked() {
    let connection = opened();
    as_sync(&connection, "DELETE FROM people; INSERT INTO comments (id, kind, entity) VALUES ('z', 'order', '99')");
    assert!(left(&connection).contains("p=ann"));
}
