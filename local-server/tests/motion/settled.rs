//! What a migration left open: what it costs while it is, and that nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sync_core::id::ColumnNo;
use sync_core::value::ColumnType;

use crate::cases::{opened, set_type, t};
use crate::fixture::{as_sync, unique};
use crate::site::{Site, all_words};

const ROWS: u64 = 5_000;

/// [`opened`] with many more confirmed rows.
fn filled() -> Site {
    let site = opened();
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO t (id, a, b, version, synced_at, rejoin_scope, rejoin_tick)
         SELECT printf('n%05d', i), i, 'b' || i, 1, '2026-01-01T00:00:00.000000Z', 'global', 7 FROM n"
    );
    as_sync(&site.connection, &sql);
    site
}

/// The instructions of SQLite that tidying takes.
fn steps_of_tidy(site: &mut Site) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let counts = move || {
        counting.fetch_add(1, Ordering::Relaxed);
        false
    };
    site.connection.progress_handler(1, Some(counts)).unwrap();
    site.tidy();
    site.connection.progress_handler(0, None::<fn() -> bool>).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn while_an_edited_row_has_no_value_no_other_row_is_asked_for_one() {
    let mut site = filled();
    site.run("UPDATE t SET a = NULL WHERE id = 'n04999'");
    site.take(|catalog| t(catalog).columns[1].not_null = true);
    let steps = steps_of_tidy(&mut site);
    assert!(steps < ROWS, "{steps}");
    site.run("UPDATE t SET a = 4 WHERE id = 'n04999'");
    assert!(steps_of_tidy(&mut site) > ROWS, "now all rows are");
    assert_eq!(site.text("SELECT \"notnull\" || '' FROM pragma_table_info('t') WHERE name = 'a'"), "1");
}

#[test]
fn while_a_row_is_held_that_nobody_edited_only_held_rows_are_looked_at() {
    let mut site = filled();
    as_sync(&site.connection, "UPDATE t SET b = 'one' WHERE id = 'n04999'");
    site.take(|catalog| t(catalog).uniques.push(unique("t_b", &[3])));
    assert_eq!(site.text("SELECT group_concat(id) FROM t WHERE rejoin_held = 1"), "n04999");
    let steps = steps_of_tidy(&mut site);
    assert!(steps < ROWS, "{steps}");
    as_sync(&site.connection, "UPDATE t SET b = 'another' WHERE id = 'k1'");
    site.tidy();
    assert_eq!(site.text("SELECT count(*) || '' FROM t WHERE rejoin_held = 1"), "0");
    assert_eq!(site.text("SELECT count(*) || '' FROM rejoin_unsettled"), "0");
}

#[test]
fn a_hidden_row_and_a_row_of_the_same_key_go_one_after_the_other() {
    let mut site = opened();
    site.run("UPDATE t SET b = 'hidden' WHERE id = 'k1'; UPDATE t SET b = 'hidden too' WHERE id = 'k2'");
    site.take(|catalog| {
        // Nothing here tells what the new key is.
        t(catalog).columns.push(sync_core::catalog::Column { not_null: true, ..crate::fixture::column(9, "code", ColumnType::Text) });
        t(catalog).key = vec![ColumnNo(9)];
        set_type(catalog, 2, ColumnType::Int8);
    });
    as_sync(
        &site.connection,
        "INSERT INTO t (id, code, b, version, synced_at, rejoin_scope, rejoin_tick)
         VALUES ('x', 'k1', 'again', 9, '2026-01-01T00:00:00.000000Z', 'global', 9)",
    );
    site.run("UPDATE t SET b = 'typed' WHERE code = 'k1'");
    let first = site.cut();
    let records: Vec<String> = first.values().map(|row| format!("{}/{}", row.table, row.key)).collect();
    assert_eq!(records.len(), 2, "{:?}", all_words(&first));
    assert!(records.contains(&"1/k1".to_owned()) && records.contains(&"1/k2".to_owned()), "{records:?}");
}
