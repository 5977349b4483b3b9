//! Foreign keys of tables that stay, the programs' own ones too, over what becomes of the table that they refer to.

use crate::cases::{opened, t};
use crate::site::Site;

/// A site whose program refers to `t` as well.
fn referred() -> Site {
    let site = opened();
    site.run("CREATE TABLE mine (id INTEGER PRIMARY KEY, t REFERENCES t (id)); INSERT INTO mine (t) VALUES ('k1')");
    site
}

/// What tables refer to.
fn referred_to(site: &Site, table: &str) -> String {
    site.text(&format!("SELECT group_concat(\"table\") FROM pragma_foreign_key_list('{table}')"))
}

fn refused(site: &Site, sql: &str) {
    let error = site.connection.execute(sql, []).unwrap_err().to_string();
    assert!(error.contains("FOREIGN KEY constraint failed"), "{sql}: {error}");
}

#[test]
fn they_refer_to_a_table_that_begins_anew() {
    let mut site = referred();
    site.run("DELETE FROM c WHERE id = 'c2'; UPDATE t SET id = 'much too long' WHERE id = 'k2'");
    let before = site.pushed();
    site.take(|catalog| (t(catalog).columns[0].sql_type, t(catalog).columns[0].max_length) = ("character varying(4)".into(), Some(4)));
    assert_eq!(site.text("SELECT count(*) || '' FROM t"), "0", "the table begins anew");
    assert_eq!(site.pushed(), before);
    for tidied in [false, true] {
        assert_eq!([referred_to(&site, "c"), referred_to(&site, "mine")], ["t", "t"]);
        for sql in ["INSERT INTO c (id, t) VALUES ('c10', 'none')", "INSERT INTO mine (t) VALUES ('none')"] {
            refused(&site, sql);
        }
        if !tidied {
            site.run("INSERT INTO t (id) VALUES ('k9'); INSERT INTO c (id, t) VALUES ('c9', 'k9'); INSERT INTO mine (t) VALUES ('k9')");
            site.run("DELETE FROM rejoin_base_1048577");
            site.tidy();
        }
    }
}

#[test]
fn a_programs_one_refers_to_the_table_that_is_left_out_and_to_the_one_that_is_back() {
    for edited in [false, true] {
        let mut site = referred();
        if edited {
            site.run("UPDATE t SET b = 'mine' WHERE id = 'k1'");
        }
        let before = site.catalog.clone();
        site.take(|catalog| {
            catalog.tables[1].references.clear();
            catalog.tables.remove(0);
        });
        assert_eq!(referred_to(&site, "mine"), "t");
        site.take(|catalog| catalog.tables = before.tables);
        assert_eq!([referred_to(&site, "c"), referred_to(&site, "mine")], ["t", "t"]);
        refused(&site, "INSERT INTO mine (t) VALUES ('none')");
        site.run("INSERT INTO t (id) VALUES ('k9'); INSERT INTO mine (t) VALUES ('k9')");
    }
}

#[test]
fn a_programs_one_whose_table_is_gone_and_whose_name_another_one_has_is_told_until_it_is_made_anew() {
    for edited in [false, true] {
        let mut site = referred();
        if edited {
            site.run("UPDATE t SET b = 'mine' WHERE id = 'k1'");
        }
        assert_eq!(site.lost(), Vec::<String>::new());
        site.take(|catalog| {
            catalog.tables[1].references.clear();
            catalog.tables.remove(0);
            catalog.tables[0].name = "t".into();
        });
        assert_eq!(site.lost(), ["foreign_key mine (t)"]);
        site.run("DROP TABLE mine; CREATE TABLE mine (id INTEGER PRIMARY KEY, t REFERENCES t (id))");
        assert_eq!(site.lost(), Vec::<String>::new());
    }
}
