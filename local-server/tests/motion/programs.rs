//! Views, triggers and indexes of other programs in the file: they follow the names, and what no longer means anything stops nothing.

use sync_core::value::ColumnType;

use crate::cases::{opened, set_type, t};
use crate::site::{Site, all_words};

/// What is told of those that are gone.
fn lost(site: &Site) -> String {
    site.text("SELECT group_concat(kind || ' ' || name, ', ' ORDER BY name) FROM rejoin_lost_programs")
}

#[test]
fn what_programs_keep_in_the_file_goes_along_as_far_as_it_means_something() {
    let mut site = opened();
    site.run(
        "CREATE VIEW of_a AS SELECT id, a FROM t; CREATE VIEW of_b AS SELECT b FROM t; CREATE INDEX mine ON t (b);
         CREATE TABLE seen (id); CREATE TRIGGER see AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES (NEW.id); END",
    );
    site.take(|catalog| {
        set_type(catalog, 3, ColumnType::Json);
        t(catalog).columns[1].name = "amount".into();
    });
    assert_eq!(site.text("SELECT group_concat(b, ',') FROM of_b"), "22,33");
    site.run("UPDATE t SET amount = 5 WHERE id = 'k2'");
    assert_eq!(site.text("SELECT id FROM seen"), "k2");
    assert_eq!(site.text("SELECT tbl_name FROM sqlite_schema WHERE name = 'mine'"), "t");
}

#[test]
fn a_view_of_a_dropped_column_stops_no_answer() {
    let mut site = opened();
    site.run("CREATE VIEW v AS SELECT id, b FROM t; CREATE VIEW of_v AS SELECT * FROM v; UPDATE t SET b = 'mine' WHERE id = 'k1'");
    site.take(|catalog| {
        t(catalog).columns[1].name = "amount".into();
        t(catalog).columns.remove(2);
    });
    assert_eq!(all_words(&site.pushed()), ["1/k1 3:one>mine"]);
    // Answered: what was kept of the column goes.
    site.run("DELETE FROM rejoin_base_1");
    site.tidy();
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_hidden"), "0");
    assert_eq!(lost(&site), "view of_v, view v");
    assert_eq!(site.text("SELECT body FROM rejoin_lost_programs WHERE name = 'v'"), "CREATE VIEW v AS SELECT id, b FROM t");
}

#[test]
fn what_was_broken_before_by_its_own_program_stops_no_answer_either() {
    let mut site = opened();
    site.run("CREATE VIEW v AS SELECT id FROM nowhere; CREATE VIEW f AS SELECT their_function(b) AS f FROM t; UPDATE t SET a = 9 WHERE id = 'k1'");
    site.take(|catalog| {
        t(catalog).columns.remove(1);
        t(catalog).columns[1].name = "label".into();
    });
    site.run("DELETE FROM rejoin_base_1");
    site.tidy();
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_hidden"), "0");
    assert_eq!(lost(&site), "");
    assert_eq!(site.text("SELECT count(*) || '' FROM sqlite_schema WHERE name IN ('v', 'f')"), "2");
}

#[test]
fn they_follow_swapped_and_renamed_tables_and_columns_also_where_the_rows_are_copied() {
    let mut site = opened();
    site.run(
        "CREATE VIEW v AS SELECT t.b AS b, c.x AS x FROM t JOIN c ON c.t = t.id; CREATE INDEX mine ON t (b, u); CREATE INDEX theirs ON c (x);
         CREATE TABLE seen (id REFERENCES t (id), b);
         CREATE TRIGGER see AFTER UPDATE OF b ON t WHEN NEW.b <> OLD.b BEGIN INSERT INTO seen VALUES (NEW.id, NEW.\"b\"); END",
    );
    site.take(|catalog| {
        (catalog.tables[0].name, catalog.tables[1].name) = ("c".into(), "t".into());
        (t(catalog).columns[2].name, t(catalog).columns[3].name) = ("label".into(), "b".into());
        set_type(catalog, 2, ColumnType::Numeric);
        catalog.tables[1].columns[2].ty = ColumnType::Numeric;
    });
    assert_eq!(lost(&site), "");
    assert_eq!(site.text("SELECT group_concat(b || x, ' ' ORDER BY x) FROM v"), "one1 222");
    site.run("UPDATE c SET label = 'seen' WHERE id = 'k3'; UPDATE c SET b = 'not seen' WHERE id = 'k2'");
    assert_eq!(site.text("SELECT group_concat(id || b) FROM seen"), "k3seen");
    let indexes = "SELECT group_concat(l.name || ' ' || s.name || ' ' || i.name, ', ' ORDER BY l.name, i.seqno) FROM sqlite_schema s
                   JOIN pragma_index_list(s.name) l JOIN pragma_index_info(l.name) i WHERE l.name IN ('mine', 'theirs') AND s.type = 'table'";
    assert_eq!(site.text(indexes), "mine c label, mine c b, theirs t x");
}

#[test]
fn a_trigger_that_names_what_is_gone_stops_no_write() {
    let mut site = opened();
    site.run(
        "CREATE TABLE seen (id, b); CREATE TABLE copy (id, a, b);
         CREATE TRIGGER see AFTER UPDATE ON t BEGIN INSERT INTO seen VALUES (NEW.id, NEW.b); END;
         CREATE TRIGGER whole AFTER UPDATE ON t BEGIN INSERT INTO copy SELECT id, a, b FROM t WHERE id = NEW.id; END;
         CREATE TRIGGER fine AFTER DELETE ON t BEGIN INSERT INTO seen VALUES (OLD.id, OLD.a); END;
         CREATE VIEW quoted_b AS SELECT \"b\" FROM t; CREATE VIEW two (one, two) AS SELECT * FROM (SELECT id, a FROM t)",
    );
    site.take(|catalog| drop(t(catalog).columns.remove(2)));
    assert_eq!(lost(&site), "view quoted_b, trigger see, trigger whole");
    site.run("UPDATE t SET a = 7 WHERE id = 'k1'; DELETE FROM t WHERE id = 'k3'");
    assert_eq!(site.text("SELECT group_concat(id || b) FROM seen"), "k33");
    // Made again, it is no longer told of.
    site.run("CREATE VIEW quoted_b AS SELECT u FROM t");
    site.take(|catalog| t(catalog).columns[1].name = "amount".into());
    assert_eq!(lost(&site), "trigger see, trigger whole");
}
