//! Migrations of the user's own touch keys, scope paths and timed columns without knowing of us, and programs write on before the cloud looks.

use tokio_postgres::error::SqlState;

use super::shop::{SETTINGS, Shop};

#[tokio::test]
async fn types_of_keys_ways_and_timed_columns_change() {
    let shop = Shop::open().await;
    shop.run(
        "ALTER TABLE item ALTER price TYPE numeric, ALTER note TYPE text; ALTER TABLE item ALTER shop_id TYPE bigint;
         ALTER TABLE shop ALTER id TYPE bigint; ALTER TABLE item ALTER id TYPE bigint; ALTER TABLE label ALTER item_id TYPE bigint",
    )
    .await;
    // A session that begins after the migration writes on at once; one that has plans of before as soon as the functions are replaced.
    let other = super::cloud::connect(shop.database.url()).await;
    other.batch_execute("INSERT INTO item (id, shop_id, price) VALUES (12, 1, 7); UPDATE item SET price = 8 WHERE id = 21").await.unwrap();
    shop.prepare(SETTINGS).await;
    shop.run(
        "INSERT INTO item (id, shop_id, price) VALUES (13, 1, 7); UPDATE item SET price = 9 WHERE id = 12; DELETE FROM item WHERE id = 11",
    )
    .await;
    assert_eq!(shop.rows("item", "id").await, "12 shop/1, 13 shop/1, 21 shop/2");
    assert_eq!(shop.one("SELECT string_agg(key[1], ' ' ORDER BY key) FROM rejoin.tombstones WHERE NOT left_scope").await, "11 111");
    let times = "SELECT string_agg(DISTINCT key[1], ' ') FROM rejoin.edit_times";
    assert_eq!(shop.one(times).await, "12 21");
}

#[tokio::test]
async fn columns_that_capture_names_are_renamed_and_written_in_one_migration() {
    let shop = Shop::open().await;
    shop.run(
        "BEGIN; ALTER TABLE item RENAME shop_id TO store_id; ALTER TABLE shop RENAME id TO nr;
         UPDATE item SET price = price + 1; INSERT INTO item (id, store_id, price) VALUES (12, 1, 7); INSERT INTO shop VALUES (3, 'c');
         UPDATE item SET store_id = 3 WHERE id = 21; COMMIT",
    )
    .await;
    shop.run("INSERT INTO item (id, store_id) VALUES (31, 3); INSERT INTO label VALUES (311, 31, 'z')").await;
    assert_eq!(shop.one("SELECT string_agg(DISTINCT rejoin_tick::text, ' ') FROM item").await, "0", "no pull sends them yet");
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 12 shop/1, 21 shop/3, 31 shop/3");
    assert_eq!(shop.rows("shop", "nr").await, "1 shop/1, 2 shop/2, 3 shop/3");
    assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/3, 311 shop/3", "what hangs from them follows");
    let left = "SELECT string_agg(concat_ws(' ', key[1], scope, left_scope), ', ' ORDER BY key) FROM rejoin.tombstones";
    assert_eq!(shop.one(left).await, "21 shop/2 t, 211 shop/2 t");
    assert_eq!(shop.one("SELECT string_agg(rejoin_version::text, ' ' ORDER BY id) FROM item").await, "2 1 2 1");
}

#[tokio::test]
async fn rows_deleted_and_keys_changed_while_names_moved_feed_the_table_again() {
    let shop = Shop::open().await;
    shop.run("ALTER TABLE item RENAME id TO nr").await;
    shop.run("DELETE FROM label WHERE false; UPDATE label SET text = 'q' WHERE id = 111").await;
    shop.prepare(SETTINGS).await;
    let tick = |key: &str| format!("SELECT rejoin_tick::text FROM item WHERE {key} = 21");
    let before = shop.one(&tick("nr")).await;
    shop.run("ALTER TABLE item RENAME nr TO id; DELETE FROM label WHERE id = 111; UPDATE item SET id = 22 WHERE id = 11").await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "21 shop/2, 22 shop/1");
    assert_ne!(shop.one(&tick("id")).await, before, "fed again: the old key left no tombstone");
}

#[tokio::test]
async fn a_renamed_table_is_written_before_the_cloud_looks() {
    let shop = Shop::open().await;
    shop.run(
        "ALTER TABLE item RENAME TO goods; DELETE FROM label WHERE id = 211; DELETE FROM goods WHERE id = 21; INSERT INTO goods (id, shop_id) VALUES (22, 2);
         INSERT INTO label VALUES (221, 22, 'n'); TRUNCATE label",
    )
    .await;
    shop.prepare(&SETTINGS.replace("item", "goods")).await;
    assert_eq!(shop.rows("goods", "id").await, "11 shop/1, 22 shop/2");
    assert_eq!(shop.rows("label", "id").await, "");
}

#[tokio::test]
async fn a_scope_path_is_dropped_and_made_anew() {
    let shop = Shop::open().await;
    shop.run("ALTER TABLE item DROP price, DROP shop_id; INSERT INTO item (id) VALUES (12); UPDATE item SET note = 'n' WHERE id = 11")
        .await;
    assert_eq!(shop.one("SELECT rejoin_scope || rejoin_tick FROM item WHERE id = 12").await, "nowhere0");
    assert_eq!(shop.one("SELECT rejoin_scope FROM item WHERE id = 11").await, "shop/1", "it stays where it was");
    shop.run("ALTER TABLE item ADD owner integer REFERENCES shop; UPDATE item SET owner = 2; ALTER TABLE item ALTER owner SET NOT NULL")
        .await;
    shop.prepare("root = 'shop'").await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/2, 12 shop/2, 21 shop/2");
    assert_eq!(shop.rows("label", "id").await, "111 shop/2, 211 shop/2");
}

#[tokio::test]
async fn a_feed_index_that_went_with_a_column_is_built_again() {
    let shop = Shop::of(
        "CREATE TABLE shop (id integer PRIMARY KEY); CREATE TABLE item (shop_id integer REFERENCES shop, no integer, PRIMARY KEY (shop_id, no));
         INSERT INTO shop VALUES (1); INSERT INTO item VALUES (1, 1)",
        "root = 'shop'",
    )
    .await;
    let index = "SELECT count(*)::text FROM pg_indexes WHERE indexname ~ '^rejoin_[0-9]+_feed$' AND tablename = 'item'";
    assert_eq!(shop.one(index).await, "1");
    shop.run("ALTER TABLE item ADD id integer GENERATED ALWAYS AS IDENTITY; ALTER TABLE item DROP no, ADD PRIMARY KEY (id)").await;
    assert_eq!(shop.one(index).await, "0");
    shop.run("INSERT INTO item (shop_id) VALUES (1)").await;
    shop.prepare("root = 'shop'").await;
    assert_eq!((shop.one(index).await.as_str(), shop.rows("item", "id").await.as_str()), ("1", "1 shop/1, 2 shop/1"));
}

#[tokio::test]
async fn a_child_may_come_before_its_parent_where_the_reference_is_checked_later() {
    let shop = Shop::of(
        "CREATE TABLE shop (id integer PRIMARY KEY);
         CREATE TABLE item (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE label (id integer PRIMARY KEY, item_id integer NOT NULL REFERENCES item DEFERRABLE);
         INSERT INTO shop VALUES (1)",
        "root = 'shop'\n",
    )
    .await;
    shop.run("BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO label VALUES (111, 11); INSERT INTO item VALUES (11, 2); INSERT INTO shop VALUES (2); COMMIT").await;
    let scopes = "SELECT (SELECT rejoin_scope FROM item) || ' ' || (SELECT rejoin_scope FROM label)";
    assert_eq!(shop.one(scopes).await, "shop/2 shop/2");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones").await, "0");
    let refused = shop.sql.batch_execute("INSERT INTO label VALUES (112, 12)").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
}

#[tokio::test]
async fn our_own_scope_column_is_dropped_or_renamed_and_the_programs_go_on() {
    for (ddl, back) in [
        ("ALTER TABLE item DROP COLUMN rejoin_scope CASCADE", ""),
        ("ALTER TABLE item RENAME COLUMN rejoin_scope TO mine", "ALTER TABLE item RENAME COLUMN mine TO rejoin_scope"),
        ("ALTER TABLE item RENAME COLUMN rejoin_tick TO mine", "ALTER TABLE item RENAME COLUMN mine TO rejoin_tick"),
    ] {
        let shop = Shop::open().await;
        shop.run(ddl).await;
        shop.run("INSERT INTO item (id, shop_id, price) VALUES (12, 1, 7); INSERT INTO label VALUES (112, 12, 'new'), (113, 11, 'n')")
            .await;
        shop.run("UPDATE item SET price = 8 WHERE id = 11; UPDATE label SET text = 'z' WHERE id = 111; DELETE FROM item WHERE id = 21")
            .await;
        shop.run(back).await;
        shop.prepare(SETTINGS).await;
        let scopes = "SELECT string_agg(id || ' ' || rejoin_scope || ' ' || (rejoin_tick > 0) || ' ' || (rejoin_version > 0), ',' ORDER BY id) FROM ";
        assert_eq!(shop.one(&format!("{scopes} item")).await, "11 shop/1 true true,12 shop/1 true true", "{ddl}");
        let labels = "111 shop/1 true true,112 shop/1 true true,113 shop/1 true true";
        assert_eq!(shop.one(&format!("{scopes} label")).await, labels, "{ddl}");
    }
}
