//! Each kind of change once, told as it happens.

use sync_core::catalog::{Catalog, Column, DefaultValue, OnDelete};
use sync_core::id::ColumnNo;
use sync_core::value::{ColumnType, Value};

use crate::fixture::{as_sync, capture_catalog, column, engine_stamps, reference, table, unique};
use crate::site::{Site, all_words};

const CONFIRMED: &str = "
    INSERT INTO t (id, a, b, u, version, updated_at, last_modified_by, synced_at, rejoin_scope, rejoin_tick) VALUES
        ('k1', 1, 'one', 'u1', 5, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 7),
        ('k2', 2, '22', 'u2', 6, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 8),
        ('k3', 3, '33', NULL, 7, '2026-01-01T00:00:00.000000Z', 'ann', '2026-01-01T00:00:00.000000Z', 'global', 9);
    INSERT INTO c (id, t, x, rejoin_version, rejoin_synced_at, rejoin_scope, rejoin_tick) VALUES
        ('c1', 'k1', 1, 3, '2026-01-01T00:00:00.000000Z', 'global', 7),
        ('c2', 'k2', 2, 3, '2026-01-01T00:00:00.000000Z', 'global', 7);
    INSERT INTO rejoin_cursors (scope, tick, change_id, mac) VALUES ('global', 9, '', '');";

/// `t (id, a int8, b text, u unique)` and its children `c (id, t, x)`, with rows confirmed.
pub(crate) fn opened() -> Site {
    let site = Site::new(capture_catalog());
    as_sync(&site.connection, CONFIRMED);
    site
}

pub(crate) fn t(catalog: &mut Catalog) -> &mut sync_core::catalog::Table {
    &mut catalog.tables[0]
}

pub(crate) fn set_type(catalog: &mut Catalog, no: usize, ty: ColumnType) {
    t(catalog).columns[no - 1].ty = ty;
}

#[test]
fn tables_and_columns_trade_names_and_edits_land_by_number() {
    let mut site = opened();
    site.run("UPDATE t SET b = 'edited', u = 'v' WHERE id = 'k1'; UPDATE c SET x = 9 WHERE id = 'c1'; INSERT INTO t (id, b) VALUES ('k9', 'new')");
    let before = site.pushed();
    site.take(|catalog| {
        (catalog.tables[0].name, catalog.tables[1].name) = ("c".into(), "t".into());
        (t(catalog).columns[2].name, t(catalog).columns[3].name) = ("u".into(), "b".into());
    });
    assert_eq!(site.pushed(), before);
    assert_eq!(site.text("SELECT u || b FROM c WHERE id = 'k1'"), "editedv");
    assert_eq!(site.text("SELECT group_concat(\"table\") FROM pragma_foreign_key_list('t')"), "c", "its reference follows");
    site.run("UPDATE t SET x = 10 WHERE id = 'c2'; INSERT INTO t (id, t) VALUES ('c9', 'k9'); DELETE FROM c WHERE id = 'k2'");
    assert_eq!(site.pushed().len(), before.len() + 3, "{:?}", all_words(&site.pushed()));
}

#[test]
fn a_value_that_fits_the_new_type_goes_on_and_one_that_does_not_stays_hidden_and_is_sent_as_it_was() {
    let mut site = opened();
    site.run(
        "UPDATE t SET b = '11' WHERE id = 'k1'; UPDATE t SET b = 'two' WHERE id = 'k2'; UPDATE t SET b = NULL, a = 7 WHERE id = 'k3';
         INSERT INTO t (id, b) VALUES ('k4', 'four'), ('k5', '5')",
    );
    site.take(|catalog| set_type(catalog, 3, ColumnType::Int4));
    // The base of k1 cannot be read as a number: the feed brings what the cloud has made of it.
    let wanted = ["1/k1 3:>11", "1/k2 3:22>two", "1/k3 2:3>7 3:33>", "1/k4 + 1=k4 3=four", "1/k5 + 1=k5 3=5"];
    assert_eq!(all_words(&site.pushed()), wanted);
    assert_eq!(site.text("SELECT group_concat(coalesce(b, '-'), ' ' ORDER BY id) FROM t"), "11 22 - - 5");
    // What is typed into the column now counts; the edit that does not fit waits for another push.
    site.run("UPDATE t SET b = 23 WHERE id = 'k2'");
    assert_eq!(all_words(&site.pushed())[1], "1/k2 3:22>23");
    // Back again: what was hidden fits.
    site.run("UPDATE t SET b = 22 WHERE id = 'k2'");
    site.take(|catalog| set_type(catalog, 3, ColumnType::Text));
    let wanted = ["1/k1 3:>11", "1/k2 3:22>two", "1/k3 2:3>7 3:33>", "1/k4 + 1=k4 3=four", "1/k5 + 1=k5 3=5"];
    assert_eq!(all_words(&site.pushed()), wanted);
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_hidden"), "0");
}

#[test]
fn a_new_column_is_never_an_edit_and_a_default_that_only_the_cloud_knows_is_asserted_by_nobody() {
    let mut site = opened();
    site.run("UPDATE t SET a = 9 WHERE id = 'k1'; DELETE FROM t WHERE id = 'k3'; INSERT INTO t (id) VALUES ('k4')");
    let with = |no, name: &str, ty, default: DefaultValue| {
        let added = if let DefaultValue::Constant(value) = &default { Some(value.clone()) } else { None };
        Column { not_null: true, added, default: Some(default), ..column(no, name, ty) }
    };
    site.take(|catalog| {
        t(catalog).columns.push(with(5, "made", ColumnType::Timestamptz, DefaultValue::Now));
        t(catalog).columns.push(with(6, "code", ColumnType::Text, DefaultValue::Constant(Value::Text("x".into()))));
        t(catalog).columns.push(column(7, "note", ColumnType::Text));
    });
    let words = all_words(&site.pushed());
    assert_eq!(words[0], "1/k1 2:1>9");
    assert!(words[2].starts_with("1/k4 + 1=k4 5=20") && words[2].ends_with("6=x"), "{words:?}");
    assert_eq!(words[1], "1/k3 - 1=k3 2=3 3=33 4= 6=x 7=", "what its author never saw is not asserted");
    // NOT NULL waits for the feed, and is there once every row has a value.
    let not_null = "SELECT group_concat(\"notnull\", '' ORDER BY cid) FROM pragma_table_info('t') WHERE name IN ('made', 'code')";
    assert_eq!(site.text(not_null), "01");
    site.tidy();
    assert_eq!(site.text(not_null), "01");
    as_sync(&site.connection, "UPDATE t SET made = '2026-01-01T00:00:00.000000Z' WHERE made IS NULL");
    site.tidy();
    assert_eq!(site.text(not_null), "11");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_unsettled"), "0");
    site.run("UPDATE t SET b = 'captured' WHERE id = 'k2'");
    assert_eq!(all_words(&site.pushed())[1], "1/k2 3:22>captured");
}

#[test]
fn a_new_not_null_waits_for_rows_without_a_value() {
    let mut site = opened();
    site.run("UPDATE t SET a = NULL WHERE id = 'k1'");
    site.take(|catalog| t(catalog).columns[1].not_null = true);
    assert_eq!(all_words(&site.pushed()), ["1/k1 2:1>"]);
    site.run("UPDATE t SET a = 4 WHERE id = 'k1'");
    site.tidy();
    assert_eq!(site.text("SELECT \"notnull\" || '' FROM pragma_table_info('t') WHERE name = 'a'"), "1");
    site.take(|catalog| t(catalog).columns[1].not_null = false);
    site.run("UPDATE t SET a = NULL WHERE id = 'k2'");
    assert_eq!(all_words(&site.pushed()), ["1/k1 2:1>4", "1/k2 2:2>"]);
}

#[test]
fn a_new_key_whose_columns_were_there_is_taken_in_place() {
    let mut site = opened();
    as_sync(&site.connection, "UPDATE t SET u = 'u3' WHERE id = 'k3'");
    site.run("UPDATE t SET a = 9 WHERE id = 'k1'; DELETE FROM t WHERE id = 'k2'; INSERT INTO t (id, u) VALUES ('k4', 'u4'); UPDATE t SET u = 'u5' WHERE id = 'k3'");
    as_sync(
        &site.connection,
        "INSERT INTO rejoin_theirs_1 (id, a, b, u, rejoin_state, rejoin_version, rejoin_updated_at, rejoin_scope, rejoin_tick)
        VALUES ('k1', 1, 'of theirs', 'u1', 'live', 6, '', 'global', 10), ('k2', NULL, NULL, NULL, 'deleted', 7, '', 'global', 10)",
    );
    site.take(|catalog| {
        t(catalog).key = vec![ColumnNo(4)];
        t(catalog).uniques = vec![unique("t_id", &[1])];
        catalog.tables[1].references = vec![];
    });
    let wanted = ["1/u1 2:1>9 3:of theirs>of theirs", "1/u2 - 1=k2 2=2 3=22 4=u2", "1/u5 1:k3>k3", "1/u4 + 1=k4 4=u4"];
    let pushed = site.pushed();
    let op = |at: usize| all_words(&pushed)[at].clone();
    assert_eq!([op(1), op(3)], [wanted[1], wanted[3]], "{:?}", all_words(&pushed));
    assert!(op(0).starts_with("1/u1 2:1>9") && op(2).starts_with("1/u5"), "{:?}", all_words(&pushed));
    assert_eq!(site.text("SELECT group_concat(u || rejoin_state, ' ' ORDER BY u) FROM rejoin_theirs_1"), "u1live u2deleted");
    assert!(site.connection.execute("INSERT INTO t (id, u) VALUES ('k7', 'u1')", []).is_err());
}

#[test]
fn under_a_key_that_is_not_known_here_the_table_begins_anew_and_its_edits_are_sent_as_they_were() {
    let mut site = opened();
    site.run("UPDATE t SET a = 9 WHERE id = 'k1'; INSERT INTO t (id, b) VALUES ('k4', 'four'); DELETE FROM t WHERE id = 'k3'");
    let before = site.pushed();
    site.take(|catalog| {
        t(catalog).columns.push(Column { not_null: true, ..column(5, "no", ColumnType::Int8) });
        t(catalog).key = vec![ColumnNo(5)];
        catalog.tables[1].references = vec![];
    });
    assert_eq!(site.pushed(), before);
    assert_eq!(site.text("SELECT count(*) || '' FROM t"), "0");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_cursors"), "0", "everything is pulled again");
    site.run("INSERT INTO t (no, b) VALUES (1, 'later')");
    let last: i64 = site.connection.query_row("SELECT rejoin_row FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(last, 5, "a row number is never used again");
    assert_eq!(site.pushed().len(), before.len() + 1);
    // Sent, answered, and nothing is left of it.
    site.run("DELETE FROM rejoin_base_1048577");
    site.tidy();
    assert_eq!(site.text("SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE '%1048577%'"), "");
}

/// `t` with keys that are numbers too, and nothing that refers to it.
fn numbered() -> Site {
    let mut catalog = capture_catalog();
    catalog.tables[1].references = vec![];
    let site = Site::new(catalog);
    as_sync(&site.connection, &CONFIRMED.replace("'k", "'"));
    site
}

#[test]
fn an_insert_without_a_value_of_the_new_key_is_set_aside_and_all_other_edits_go_on() {
    let mut site = numbered();
    site.run(
        "UPDATE t SET a = 9 WHERE id = '1'; INSERT INTO t (id, b) VALUES ('abc', 'four'), ('5', 'five'), (' 2', 'twin'), ('05', 'twin');
         DELETE FROM t WHERE id = '3'",
    );
    let rows = site.text("SELECT group_concat(id || '=' || rejoin_row, ' ' ORDER BY rejoin_row) FROM t");
    assert_eq!(rows, "1=1 2=2 abc=4 5=5  2=6 05=7");
    site.take(|catalog| set_type(catalog, 1, ColumnType::Int4));
    let mut words = all_words(&site.pushed());
    words.sort();
    let wanted =
        ["1/%202 + 1= 2 3=twin", "1/05 + 1=05 3=twin", "1/1 2:1>9", "1/3 - 1=3 2=3 3=33 4=", "1/5 + 1=5 3=five", "1/abc + 1=abc 3=four"];
    assert_eq!(words, wanted);
    assert_eq!(site.text("SELECT group_concat(id || '=' || rejoin_row, ' ' ORDER BY id) FROM t"), "1=1 2=2 5=5");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_cursors"), "1", "nothing is pulled again");
    site.run("INSERT INTO t (id) VALUES (8)");
    assert_eq!(site.text("SELECT rejoin_row || '' FROM t WHERE id = 8"), "8", "a row number is never used again");
    // Sent and answered: nothing is left of them.
    site.run("DELETE FROM rejoin_base_1048577");
    site.tidy();
    assert_eq!(site.text("SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE '%1048577%'"), "");
    assert_eq!(site.pushed().len(), 4);
}

#[test]
fn a_second_row_of_a_key_that_is_referred_to_is_never_taken_for_the_first() {
    let mut site = numbered();
    site.take(|catalog| catalog.tables[1].references = capture_catalog().tables[1].references.clone());
    site.run("INSERT INTO t (id) VALUES ('02'); INSERT INTO c (id, t) VALUES ('c7', '02')");
    site.take(|catalog| {
        set_type(catalog, 1, ColumnType::Int4);
        catalog.tables[1].columns[1].ty = ColumnType::Int4;
    });
    assert_eq!(site.text("SELECT count(*) || '' FROM t"), "0", "the table begins anew");
    assert!(all_words(&site.pushed()).contains(&"1/02 + 1=02".to_owned()), "{:?}", all_words(&site.pushed()));
}

#[test]
fn a_renamed_key_of_a_table_that_is_copied_is_still_referred_to() {
    let mut site = opened();
    site.run("CREATE TABLE theirs (t REFERENCES t (id)); INSERT INTO theirs VALUES ('k2'); UPDATE t SET a = 9 WHERE id = 'k1'");
    site.take(|catalog| {
        (t(catalog).columns[0].name, t(catalog).columns[2].name) = ("b".into(), "version_2".into());
        set_type(catalog, 2, ColumnType::Numeric);
    });
    assert_eq!(all_words(&site.pushed()), ["1/k1 2:1>9"]);
    site.run("DELETE FROM t WHERE b = 'k3'; INSERT INTO c (id, t) VALUES ('c3', 'k1'); UPDATE t SET a = 8 WHERE b = 'k1'");
    for refused in ["DELETE FROM t WHERE b = 'k2'", "INSERT INTO c (id, t) VALUES ('c4', 'none')", "INSERT INTO theirs VALUES ('none')"] {
        let error = site.connection.execute(refused, []).unwrap_err().to_string();
        assert!(error.contains("FOREIGN KEY constraint failed"), "{error}");
    }
}

#[test]
fn a_new_unique_key_holds_what_collides_here_until_it_no_longer_does() {
    let mut site = opened();
    as_sync(&site.connection, "UPDATE t SET b = 'same' WHERE id IN ('k1', 'k2')");
    site.run("UPDATE t SET b = 'same' WHERE id = 'k3'");
    site.take(|catalog| t(catalog).uniques.push(unique("t_b", &[3])));
    assert_eq!(site.text("SELECT group_concat(rejoin_held, '' ORDER BY id) FROM t"), "011");
    as_sync(&site.connection, "UPDATE t SET b = 'other' WHERE id = 'k1'");
    site.tidy();
    assert_eq!(site.text("SELECT group_concat(rejoin_held, '' ORDER BY id) FROM t"), "001", "the dirty one waits for its answer");
    site.take(|catalog| t(catalog).uniques.truncate(1));
    assert_eq!(all_words(&site.pushed()), ["1/k3 3:33>same"]);
}

#[test]
fn a_table_that_is_left_out_and_taken_in_again_has_its_edits_back() {
    let mut site = opened();
    site.run("UPDATE c SET x = 7 WHERE id = 'c1'; INSERT INTO c (id, t, x) VALUES ('c3', 'k1', 3); DELETE FROM c WHERE id = 'c2'");
    let before = site.pushed();
    let c = site.catalog.tables[1].clone();
    site.take(|catalog| drop(catalog.tables.remove(1)));
    assert_eq!(site.pushed(), before);
    site.take(|catalog| {
        let mut c = c.clone();
        c.columns[2].name = "amount".into();
        c.columns.push(Column {
            default: Some(DefaultValue::Constant(Value::Int(0))),
            added: Some(Value::Int(0)),
            ..column(4, "more", ColumnType::Int8)
        });
        catalog.tables.push(c);
    });
    let words = all_words(&site.pushed());
    assert_eq!(words, ["2/c1 3:1>7", "2/c2 - 1=c2 2=k2 3=2 4=0", "2/c3 + 1=c3 2=k1 3=3 4=0"]);
    assert_eq!(site.text("SELECT group_concat(id || amount, ' ' ORDER BY id) FROM c"), "c17 c33");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_hidden"), "0");
}

#[test]
fn a_dropped_column_whose_name_another_one_gets_is_remembered_by_its_own_name() {
    let mut site = opened();
    site.run("UPDATE t SET b = 'edited' WHERE id = 'k1'");
    site.take(|catalog| {
        t(catalog).columns.remove(2);
        t(catalog).columns[2].name = "b".into();
    });
    assert_eq!(all_words(&site.pushed()), ["1/k1 3:one>edited"]);
    assert_eq!(site.text("SELECT body ->> 'name' FROM rejoin_hidden"), "b");
}

#[test]
fn three_catalogs_in_one_step_are_the_same_as_one_after_another() {
    let changes: [fn(&mut Catalog); 3] = [
        |catalog| {
            t(catalog).columns[2].name = "label".into();
            t(catalog).columns.push(column(5, "extra", ColumnType::Text));
            catalog.tables[1].references.clear();
        },
        |catalog| {
            t(catalog).name = "things".into();
            t(catalog).columns.remove(1);
            t(catalog).stamps = engine_stamps();
        },
        |catalog| {
            t(catalog).columns[1].ty = ColumnType::Int8;
            catalog.tables[1].references = vec![reference("c_t", 2, 1, OnDelete::SetNull)];
            catalog.tables.push(table(3, "t", vec![column(1, "id", ColumnType::Text)]));
        },
    ];
    let edits = "UPDATE t SET a = 9, b = 'text' WHERE id = 'k1'; UPDATE t SET b = '7' WHERE id = 'k2'; INSERT INTO t (id, a, b) VALUES ('k4', 4, '4'); DELETE FROM t WHERE id = 'k3'";
    let (mut slow, mut fast) = (opened(), opened());
    slow.run(edits);
    fast.run(edits);
    changes.iter().for_each(|change| slow.take(change));
    fast.take(|catalog| changes.iter().for_each(|change| change(catalog)));
    assert_eq!(all_words(&slow.pushed()), all_words(&fast.pushed()));
    assert_eq!(all_words(&slow.pushed())[..2], ["1/k1 2:1>9 3:one>text", "1/k2 3:22>7"]);
}

#[test]
fn a_conflict_holds_its_row_over_a_migration_and_is_not_offered_again() {
    use sync_core::change::row_digest;
    let mut site = opened();
    site.run("INSERT INTO t (id, a, b, u) VALUES ('k4', 4, '44', 'u1x')");
    let values = vec![Value::Text("k4".into()), Value::Int(4), Value::Text("44".into()), Value::Text("u1x".into())];
    let digest = row_digest(&site.catalog.tables[0], &values);
    let sql = "UPDATE rejoin_base_1 SET rejoin_held_conflict = '00000000-0000-0000-0000-000000000007', rejoin_held_digest = ?1";
    site.connection.execute(sql, [digest]).unwrap();
    as_sync(&site.connection, "UPDATE t SET rejoin_held = 1 WHERE id = 'k4'");
    assert!(site.pushed().is_empty());
    site.take(|catalog| {
        set_type(catalog, 3, ColumnType::Int4);
        t(catalog).columns.push(Column {
            default: Some(DefaultValue::Constant(Value::Int(1))),
            added: Some(Value::Int(1)),
            ..column(5, "extra", ColumnType::Int8)
        });
    });
    assert!(site.pushed().is_empty(), "{:?}", all_words(&site.pushed()));
    assert_eq!(site.text("SELECT b || ' ' || rejoin_held FROM t WHERE id = 'k4'"), "44 1");
    site.run("UPDATE t SET b = 45 WHERE id = 'k4'");
    assert_eq!(all_words(&site.pushed()), ["1/k4 + 1=k4 2=4 3=45 4=u1x 5=1"]);
}

#[test]
fn what_a_raised_generation_does_not_bring_is_gone_and_an_edit_of_it_is_one_of_a_deleted_row() {
    use local_server::store::apply::{self, PULL_FIRST};
    use local_server::store::{hidden, identity};
    use sync_core::id::{ChangeId, CloudEpoch, ScopeId, Tick};
    use sync_core::wire::message::{Cursor, Page, PulledRow, TableRows};
    let mut site = opened();
    site.run("UPDATE t SET a = 9 WHERE id = 'k1'; UPDATE t SET a = 9 WHERE id = 'k2'; DELETE FROM c; INSERT INTO t (id) VALUES ('k4')");
    as_sync(&site.connection, "INSERT INTO t (id, a, version, rejoin_scope, rejoin_tick) VALUES ('k5', 5, 3, 'global', 9)");
    site.take(|catalog| t(catalog).generation = 1);
    assert_eq!(site.text("SELECT table_no || '.' || generation FROM rejoin_generations"), "1.1");
    let row = |id: &str, tick| PulledRow {
        scope: 0,
        values: vec![Value::Text(id.into()), Value::Int(1), Value::Text("one".into()), Value::Null],
        version: 8,
        updated_at: "2026-01-02T00:00:00.000000Z".into(),
        modified_by: None,
        synced_at: Some("2026-01-02T00:00:00.000000Z".into()),
        tick: Tick(tick),
    };
    let head = Cursor { scope: ScopeId("global".into()), tick: Tick(12), change: ChangeId(uuid::Uuid::nil()), mac: String::new() };
    let rows =
        TableRows { table: site.catalog.tables[0].no, columns: (1..5).map(ColumnNo).collect(), rows: vec![row("k1", 12), row("k6", 12)] };
    let page = Page {
        cloud_epoch: CloudEpoch(uuid::Uuid::nil()),
        catalog: site.catalog.version,
        heads: vec![head],
        gone: vec![],
        tables: vec![rows],
        next: None,
        suspended: None,
    };
    site.sync(|connection| {
        let plan = hidden::plan(connection, site.catalog.clone().into()).unwrap();
        identity::set_fact(connection, PULL_FIRST, "1").unwrap();
        apply::apply(connection, &plan, Some(&page), "2026-01-02T00:00:00.000000Z").unwrap();
    });
    // k3 and k5 were clean and are gone; of k2, which was edited, there is a tombstone beside it; k4 was made here.
    assert_eq!(site.text("SELECT group_concat(id || coalesce(a, ''), ' ' ORDER BY id) FROM t"), "k19 k29 k4 k61");
    assert_eq!(site.text("SELECT id || rejoin_state FROM rejoin_theirs_1 WHERE rejoin_state <> 'live'"), "k2deleted");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_generations"), "0");
}
