//! What a table's owner did not ask for sets off none of his triggers.

use crate::shop::{SETTINGS, Shop};

/// An append-only table with an audit: updates are refused, also those of nobody in particular.
const GUARDED: &str = "
    CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'append only'; END $$;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
    CREATE TRIGGER append_only BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE TRIGGER append_only BEFORE UPDATE ON label FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE TRIGGER audit AFTER UPDATE ON item FOR EACH STATEMENT EXECUTE FUNCTION note()";

const OFF: &str = "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'D'";

async fn guarded() -> Shop {
    let shop = Shop::open().await;
    shop.run(GUARDED).await;
    shop.prepare(SETTINGS).await;
    shop
}

#[tokio::test]
async fn feeding_sets_off_nothing() {
    for change in [
        "ALTER TABLE item ALTER price TYPE bigint",
        "ALTER TABLE item ADD fresh uuid DEFAULT gen_random_uuid()",
        r#"ALTER TABLE item DROP CONSTRAINT item_pkey CASCADE, ADD PRIMARY KEY (id, shop_id);
           ALTER TABLE item ADD UNIQUE (id); ALTER TABLE label ADD FOREIGN KEY (item_id) REFERENCES item (id)"#,
        r#"DROP TRIGGER "~rejoin_v2_gone" ON item"#,
        "ALTER TABLE item DROP rejoin_version",
        "ALTER TABLE item DROP rejoin_tick CASCADE",
    ] {
        let shop = guarded().await;
        let tick = shop.one("SELECT min(rejoin_tick)::text FROM item").await;
        shop.run(change).await;
        shop.prepare(SETTINGS).await;
        assert_ne!(shop.one("SELECT min(rejoin_tick)::text FROM item").await, tick, "{change}");
        assert_eq!(shop.one("SELECT count(*)::text FROM audit").await, "0", "{change}");
        assert_eq!(shop.one(OFF).await, "0", "{change}");
    }
}

#[tokio::test]
async fn scopes_derived_anew_set_off_only_ours() {
    let shop = guarded().await;
    // Capture was not there while a row moved, and its label's own guard stays quiet too.
    shop.run(r#"ALTER TABLE item DISABLE TRIGGER USER; UPDATE item SET shop_id = 2 WHERE id = 11; ALTER TABLE item ENABLE TRIGGER append_only, ENABLE TRIGGER audit"#).await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/2, 21 shop/2");
    assert_eq!(shop.rows("label", "id").await, "111 shop/2, 211 shop/2");
    assert_eq!((shop.one("SELECT count(*)::text FROM audit").await.as_str(), shop.one(OFF).await.as_str()), ("0", "0"));
    // Another way to the root, over a column of its own.
    shop.run("ALTER TABLE item ADD owner integer REFERENCES shop").await;
    shop.prepare(SETTINGS).await;
    shop.run("ALTER TABLE item DISABLE TRIGGER append_only; UPDATE item SET owner = 1; ALTER TABLE item ENABLE TRIGGER append_only").await;
    shop.run("DELETE FROM audit; ALTER TABLE item ALTER owner SET NOT NULL").await;
    shop.prepare(&format!("{SETTINGS}[tables.item]\nscope_through = 'owner'\n").replace("[tables.item.policies]\nprice = 'newest'\n", ""))
        .await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/1");
    assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/1");
    assert_eq!((shop.one("SELECT count(*)::text FROM audit").await.as_str(), shop.one(OFF).await.as_str()), ("0", "0"));
}

#[tokio::test]
async fn tables_that_come_and_go_set_off_nothing() {
    let shop = guarded().await;
    shop.prepare(&format!("left_out = ['item', 'label']\n{}", "root = 'shop'\n")).await;
    shop.run("INSERT INTO item (id, shop_id) VALUES (12, 1)").await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 12 shop/1, 21 shop/2");
    assert_eq!((shop.one("SELECT count(*)::text FROM audit").await.as_str(), shop.one(OFF).await.as_str()), ("0", "0"));
}
