//! Tables that are left out and taken back, and what was dropped of ours.

use std::time::Duration;

use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;

use crate::cloud::connect;
use crate::shop::{SETTINGS, Shop};

const WITHOUT: &str = "root = 'shop'\nleft_out = ['item', 'label']\n";

#[tokio::test]
async fn what_happened_while_a_table_was_left_out_is_there_when_it_is_back() {
    let shop = Shop::open().await;
    shop.run("INSERT INTO item (id, shop_id) VALUES (13, 1)").await;
    let places = "SELECT string_agg(ctid::text, ' ' ORDER BY id) FROM item";
    let before = shop.one(places).await;
    shop.prepare(WITHOUT).await;
    assert_eq!(shop.one(places).await, before, "no row is written when a table is let go");
    // A program that knows nothing of us; a row that moves, one that goes.
    shop.run("INSERT INTO item (id, shop_id) VALUES (12, 1); UPDATE item SET shop_id = 2 WHERE id = 11; DELETE FROM item WHERE id = 13")
        .await;
    assert_eq!(shop.one("SELECT num_nulls(rejoin_scope, rejoin_tick)::text FROM item WHERE id = 12").await, "2");
    let catalog = shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/2, 12 shop/1, 21 shop/2");
    assert_eq!(shop.rows("label", "id").await, "111 shop/2, 211 shop/2");
    assert_eq!(catalog.tables.iter().find(|table| table.name == "item").unwrap().generation, 1);
}

#[tokio::test]
async fn rows_that_were_left_nowhere_before_are_found() {
    let shop = Shop::open().await;
    // As a table was taken back before: closed, with the rows of meanwhile under the defaults.
    shop.run(
        r#"ALTER TABLE item DISABLE TRIGGER USER; INSERT INTO item (id, shop_id) VALUES (12, 1); ALTER TABLE item ENABLE TRIGGER USER"#,
    )
    .await;
    assert_eq!(shop.one("SELECT rejoin_scope || rejoin_tick FROM item WHERE id = 12").await, "nowhere0");
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 12 shop/1, 21 shop/2");
}

#[tokio::test]
async fn versions_never_go_back_though_a_run_is_interrupted() {
    let shop = Shop::open().await;
    shop.run("UPDATE item SET rejoin_version = 900 WHERE id = 11; UPDATE item SET price = 7 WHERE id = 11").await;
    let version = "SELECT rejoin_version::text FROM item WHERE id = 11";
    assert_eq!(shop.one(version).await, "901");
    shop.run("ALTER TABLE item DROP rejoin_version").await;
    // Somebody holds a scope's head, so that no row of it can be stamped.
    let other = connect(shop.database.url()).await;
    other.batch_execute("BEGIN; UPDATE shop SET name = 'held' WHERE id = 1").await.unwrap();
    let db = Database::open(shop.database.url(), 2).unwrap();
    let settings = Settings::parse(SETTINGS).unwrap();
    drop(tokio::time::timeout(Duration::from_secs(12), prepare(&db, &settings, None)).await);
    db.close();
    other.batch_execute("COMMIT").await.unwrap();
    shop.prepare(SETTINGS).await;
    shop.run("UPDATE item SET price = 8 WHERE id = 11").await;
    assert!(shop.one(version).await.parse::<i64>().unwrap() > 901);
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2");
}
