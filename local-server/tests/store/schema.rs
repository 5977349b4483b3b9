//! The tables of a catalog: their text, what they refuse, and how they follow another catalog.

use local_server::store::install::{install, refresh};
use local_server::store::schema::{indexes, tables};
use local_server::store::{capture, references};
use rusqlite::Connection;
use sync_core::catalog::{Catalog, DefaultValue, OnDelete, Reference, Table};
use sync_core::id::{ColumnNo, TableNo};
use sync_core::value::{ColumnType, Value};
use uuid::Uuid;

use crate::fixture::{as_sync, build, capture_catalog, column, index, system_catalog, table, unique};

fn text(catalog: &Catalog, table: &Table) -> String {
    let mut all = tables(catalog, table, "venue");
    all.extend(indexes(table).into_iter().map(|(_, sql)| sql));
    all.extend(references::triggers(catalog, table).into_iter().map(|(_, sql)| sql));
    all.join(";\n")
}

#[test]
fn the_tables_of_a_system() {
    let catalog = system_catalog();
    let all: Vec<_> = catalog.tables.iter().map(|table| text(&catalog, table)).collect();
    insta::assert_snapshot!(all.join(";\n\n"));
}

#[test]
fn the_triggers_of_a_table() {
    let catalog = capture_catalog();
    let all: Vec<_> = capture::triggers(&catalog.tables[0], "it's").into_iter().map(|(_, sql)| sql).collect();
    insta::assert_snapshot!(all.join(";\n\n"));
}

fn opened(catalog: &Catalog) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    build(&connection, catalog);
    connection
}

const PRODUCTION: &str = "INSERT INTO productions (id, show_name) VALUES ('01990000-0000-7000-8000-000000000001', 'Gala')";

#[test]
fn defaults_are_what_the_cloud_would_make() {
    let connection = opened(&system_catalog());
    connection.execute("INSERT INTO productions (show_name) VALUES ('Gala')", []).unwrap();
    let sql = "SELECT id, status, created_at, is_deleted, version, updated_at, last_modified_by FROM productions";
    let (id, status, created, deleted, version, updated, by): (String, String, String, i64, i64, String, String) =
        connection.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?))).unwrap();
    let id = Uuid::parse_str(&id).unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    let (seconds, _) = id.get_timestamp().unwrap().to_unix();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(seconds) < 60, "{seconds} is not about {now}");
    assert_eq!((status.as_str(), deleted, version, by.as_str()), ("PLANNING", 0, 1, "site:venue"));
    for moment in [created, updated] {
        assert_eq!(ColumnType::Timestamptz.parse(&moment).unwrap(), Value::Text(moment), "canonical as it stands");
    }
}

#[test]
fn the_spelling_of_a_uuid_does_not_matter_to_keys_and_references() {
    let connection = opened(&system_catalog());
    connection.execute_batch(&format!("PRAGMA foreign_keys = ON; {PRODUCTION}")).unwrap();
    connection
        .execute("INSERT INTO sources (production_id, name) VALUES ('01990000-0000-7000-8000-00000000000' || 1, 'Camera')", [])
        .unwrap();
    let again =
        connection.execute("INSERT INTO productions (id, show_name) VALUES (upper('01990000-0000-7000-8000-000000000001'), 'x')", []);
    assert!(again.unwrap_err().to_string().contains("UNIQUE"));
    let orphan =
        connection.execute("INSERT INTO sources (production_id, name) VALUES ('01990000-0000-7000-8000-000000000002', 'Camera')", []);
    assert!(orphan.unwrap_err().to_string().contains("FOREIGN KEY"));
}

#[test]
fn rb2_a_reference_to_a_secondary_unique_key_is_held_by_triggers() {
    let connection = opened(&system_catalog());
    connection.execute_batch(PRODUCTION).unwrap();
    connection.execute("INSERT INTO kinds (maker, model, code) VALUES ('ACME', 'M1', 'acme-m1')", []).unwrap();
    let source = |kind: &str| {
        let sql = "INSERT INTO sources (production_id, name, kind) VALUES ('01990000-0000-7000-8000-000000000001', 'Camera', ?1)";
        connection.execute(sql, [kind]).map_err(|error| error.to_string())
    };
    source("acme-m1").unwrap();
    connection.execute("INSERT INTO sources (production_id, name) VALUES ('01990000-0000-7000-8000-000000000001', 'none')", []).unwrap();
    assert_eq!(source("nobody"), Err("FOREIGN KEY constraint failed".into()));
    for refused in ["UPDATE sources SET kind = 'nobody'", "DELETE FROM kinds", "UPDATE kinds SET code = 'other'"] {
        assert_eq!(
            connection.execute(refused, []).map_err(|error| error.to_string()),
            Err("FOREIGN KEY constraint failed".into()),
            "{refused}"
        );
    }
    connection.execute("UPDATE kinds SET maker = 'Acme'", []).unwrap();
}

#[test]
fn a_new_table_and_a_new_nullable_column_are_added_without_a_false_edit() {
    let before = system_catalog();
    let connection = opened(&before);
    as_sync(&connection, PRODUCTION);
    connection.execute("UPDATE productions SET show_name = 'edited'", []).unwrap();
    let mut after = before.clone();
    after.version.0 += 1;
    let mut venue = column(7, "venue", ColumnType::Text);
    venue.default = Some(DefaultValue::Constant(Value::Text("hall".into())));
    venue.added = Some(Value::Text("hall".into()));
    after.tables[0].columns.push(venue);
    after.tables.push(table(6, "rooms", vec![column(1, "id", ColumnType::Text)]));
    install(&connection, Some(&before), &after, "venue").unwrap();
    let sql = "SELECT t.venue, b.venue, t.show_name, b.show_name FROM productions t JOIN rejoin_base_1 b USING (rejoin_row)";
    let row: (String, String, String, String) =
        connection.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).unwrap();
    assert_eq!(row, ("hall".into(), "hall".into(), "edited".into(), "Gala".into()));
    connection.execute_batch("INSERT INTO rooms (id) VALUES ('r1'); UPDATE productions SET venue = 'x'; DELETE FROM productions").unwrap();
    let captured: i64 = connection.query_row("SELECT count(*) FROM rejoin_base_6", [], |row| row.get(0)).unwrap();
    assert_eq!(captured, 1, "the triggers know the new table");
    let stored: i64 = connection.query_row("SELECT version FROM rejoin_catalog", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, 2);
}

#[test]
fn a_name_that_another_program_has_taken_is_refused_before_anything_is_changed() {
    let before = system_catalog();
    let connection = opened(&before);
    connection.execute_batch("CREATE TABLE Rooms (x)").unwrap();
    let mut after = before.clone();
    after.tables.push(table(6, "rooms", vec![column(1, "id", ColumnType::Text)]));
    let error = install(&connection, Some(&before), &after, "venue").unwrap_err().to_string();
    assert!(error.starts_with("rooms: the cloud has a table of this name now"), "{error}");
    connection.execute_batch("ALTER TABLE Rooms RENAME TO my_rooms").unwrap();
    install(&connection, Some(&before), &after, "venue").unwrap();
}

#[test]
fn names_that_sqlite_cannot_hold_are_refused_before_anything_is_changed() {
    let before = system_catalog();
    let connection = opened(&before);
    let refused = |change: &dyn Fn(&mut Catalog)| {
        let mut after = before.clone();
        change(&mut after);
        install(&connection, Some(&before), &after, "venue").unwrap_err().to_string()
    };
    let said = refused(&|after| after.tables[0].columns.push(column(9, "Show_Name", ColumnType::Text)));
    assert!(said.starts_with("productions: has the columns show_name and Show_Name"), "{said}");
    let said = refused(&|after| after.tables.push(table(6, "sync_log", vec![column(1, "id", ColumnType::Text)])));
    assert!(said.starts_with("sync_log: is called like a table that every site has"), "{said}");
    let said = refused(&|after| after.tables.push(table(6, "Sources", vec![column(1, "id", ColumnType::Text)])));
    assert!(said.starts_with("Sources: has the same name as sources"), "{said}");
    // What PostgreSQL and SQLite both tell apart.
    let mut after = before.clone();
    after.tables.push(table(6, "r\u{e9}gies", vec![column(1, "id", ColumnType::Text)]));
    after.tables.push(table(7, "R\u{c9}gies", vec![column(1, "id", ColumnType::Text)]));
    install(&connection, Some(&before), &after, "venue").unwrap();
}

#[test]
fn triggers_of_an_older_program_are_made_anew() {
    let catalog = capture_catalog();
    let connection = opened(&catalog);
    let triggers = || -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT sql FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql IS NOT NULL ORDER BY name")
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let before = triggers();
    let old = "DROP TRIGGER rejoin_insert_1; CREATE TRIGGER rejoin_insert_1 AFTER INSERT ON t BEGIN SELECT 1; END; DROP INDEX rejoin_key_2;
        CREATE TRIGGER rejoin_forgotten_1 AFTER INSERT ON t BEGIN SELECT 1; END";
    connection.execute_batch(old).unwrap();
    refresh(&connection, &catalog, "venue").unwrap();
    assert_eq!(triggers(), before);
}

#[test]
fn names_that_differ_by_case_only_are_told_apart() {
    let twin = |name: &str| Reference::foreign_key(name.into(), vec![ColumnNo(4)], TableNo(1), vec![ColumnNo(4)], OnDelete::Restrict);
    let mut catalog = capture_catalog();
    catalog.tables[0].indexes = vec![index("t_B_idx", &[3]), index("t_b_idx", &[3]), index("T_b_idx_2", &[2])];
    catalog.tables[0].uniques.push(unique("T_u", &[2, 4]));
    catalog.tables[1].columns.push(column(4, "u", ColumnType::Text));
    catalog.tables[1].references.extend([twin("c_u"), twin("C_U")]);
    let connection = Connection::open_in_memory().unwrap();
    build(&connection, &catalog);
    let made = |connection: &Connection, pattern: &str| -> String {
        let sql = "SELECT group_concat(name, ' ' ORDER BY name) FROM sqlite_schema WHERE sql NOT NULL AND name LIKE ?1";
        connection.query_row(sql, [pattern], |row| row.get(0)).unwrap()
    };
    assert_eq!(made(&connection, "rejoin_index_%"), "rejoin_index_1_T_b_idx_2_2 rejoin_index_1_t_B_idx rejoin_index_1_t_b_idx_2");
    assert_eq!(made(&connection, "rejoin_unique_%"), "rejoin_unique_1_T_u_2 rejoin_unique_1_t_u");
    assert_eq!(made(&connection, "rejoin_ref_insert_%"), "rejoin_ref_insert_2_C_U_2 rejoin_ref_insert_2_c_u");
    // A catalog with another order of them finds those that are there.
    catalog.tables[0].indexes.reverse();
    catalog.tables[0].uniques.truncate(1);
    refresh(&connection, &catalog, "venue").unwrap();
    assert_eq!(made(&connection, "rejoin_index_%"), "rejoin_index_1_T_b_idx_2 rejoin_index_1_t_B_idx_3 rejoin_index_1_t_b_idx");
    assert_eq!(made(&connection, "rejoin_unique_%"), "rejoin_unique_1_t_u");
}
