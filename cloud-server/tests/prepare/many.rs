//! A catalog of hundreds of tables.

use std::fmt::Write as _;

use crate::{Shop, table};

/// A chain of references five deep, sixty times over, with references across that may be NULL.
fn many() -> String {
    let mut sql = "CREATE TABLE t_root (id integer PRIMARY KEY);".to_owned();
    for no in 0..300 {
        let up = if no < 60 { "t_root".to_owned() } else { format!("t_{}", no - 60) };
        let across = if no == 0 { "t_root".to_owned() } else { format!("t_{}", no - 1) };
        let _ = write!(
            sql,
            "CREATE TABLE t_{no} (id integer PRIMARY KEY, up integer NOT NULL REFERENCES {up}, across integer REFERENCES {across}, a text, b numeric, c jsonb);"
        );
    }
    sql
}

async fn statements(shop: &Shop) -> i64 {
    // Every statement of a transaction that wrote something used up a command number of this database's.
    shop.one("SELECT (xact_commit + xact_rollback)::text FROM pg_stat_database WHERE datname = current_database()").await.parse().unwrap()
}

#[tokio::test]
async fn three_hundred_tables_are_prepared_and_one_that_changes_costs_little() {
    let shop = Shop::with(&many()).await;
    let catalog = shop.prepare("root = 't_root'").await;
    assert_eq!(catalog.tables.iter().filter(|table| !table.engine).count(), 301);
    assert_eq!(table(&catalog, "t_299").ways().count(), 1);
    let triggers =
        "SELECT md5(string_agg(oid::text, ' ' ORDER BY oid)) FROM pg_trigger WHERE tgname LIKE '~rejoin%' AND tgrelid <> 't_7'::regclass";
    let before = shop.one(triggers).await;
    shop.run("ALTER TABLE t_7 ADD d text").await;
    let (began, first) = (std::time::Instant::now(), statements(&shop).await);
    let changed = shop.prepare("root = 't_root'").await;
    println!("one of 300 tables changed: {:?}, {} transactions", began.elapsed(), statements(&shop).await - first);
    assert_eq!(changed.version.0, 2);
    assert_eq!(shop.one(triggers).await, before, "the others are left alone");
}
