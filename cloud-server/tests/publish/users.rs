//! What a table's owner did not ask for sets off none of his triggers.

use std::sync::Once;
use std::thread;

use cloud_server::settings::Settings;
use cloud_server::store::pace::{Pace, Progress};
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::prepare_at;

use crate::cloud::connect;
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

/// As [`GUARDED`], in partitions.
const EVENTS: &str = "
    CREATE TABLE shop (id integer PRIMARY KEY); INSERT INTO shop VALUES (1);
    CREATE TABLE event (shop_id integer NOT NULL REFERENCES shop, id integer, price integer, PRIMARY KEY (shop_id, id)) PARTITION BY RANGE (id);
    CREATE TABLE event_0 PARTITION OF event FOR VALUES FROM (0) TO (10);
    CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (10) TO (20);
    INSERT INTO event VALUES (1, 1), (1, 11);
    CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'append only'; END $$;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
    CREATE TRIGGER append_only BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE TRIGGER audit AFTER UPDATE ON event FOR EACH ROW EXECUTE FUNCTION note()";

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

#[tokio::test]
async fn rows_of_new_partitions_are_stamped_past_the_triggers() {
    for may_be_replica in [false, true] {
        let shop = Shop::of(EVENTS, "root = 'shop'").await;
        shop.run("CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (20) TO (30); INSERT INTO event VALUES (1, 21); INSERT INTO event_2 VALUES (1, 22)").await;
        shop.run("CREATE TABLE event_3 (LIKE event INCLUDING ALL); INSERT INTO event_3 VALUES (1, 31)").await;
        shop.run("ALTER TABLE event_3 ADD FOREIGN KEY (shop_id) REFERENCES shop; ALTER TABLE event ATTACH PARTITION event_3 FOR VALUES FROM (30) TO (40)").await;
        if may_be_replica {
            let db = Database::open(shop.database.superuser_url(), 2).unwrap();
            prepare_at(&db, &Settings::parse("root = 'shop'").unwrap(), None, &Pace::quiet()).await.unwrap();
            db.close();
        }
        shop.prepare("root = 'shop'").await;
        assert_eq!(shop.rows("event", "id").await, "1 shop/1, 11 shop/1, 21 shop/1, 22 shop/1, 31 shop/1");
        let noted = "SELECT (SELECT count(*) FROM audit) || ' ' || (SELECT count(*) FROM rejoin.history WHERE op = 'update')";
        assert_eq!((shop.one(noted).await.as_str(), shop.one(OFF).await.as_str()), ("0 0", "0"), "{may_be_replica}");
    }
}

#[tokio::test]
async fn triggers_of_partitions_are_as_they_were_afterwards() {
    let shop = Shop::of(EVENTS, "root = 'shop'").await;
    shop.run("ALTER TABLE event_0 DISABLE TRIGGER audit; ALTER TABLE event_1 ENABLE ALWAYS TRIGGER audit, DISABLE TRIGGER append_only")
        .await;
    let states = "SELECT string_agg(tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text, ', ' ORDER BY tgrelid, tgname) FROM (
                      SELECT * FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE '~rejoin%') t";
    let before = shop.one(states).await;
    for change in [
        "SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'event'",
        "ALTER TABLE event ALTER price TYPE bigint",
        "ALTER TABLE event DROP CONSTRAINT event_pkey, ADD PRIMARY KEY (id)",
    ] {
        shop.run(change).await;
        shop.prepare("root = 'shop'").await;
        assert_eq!(shop.one(states).await, before, "{change}");
        assert_eq!(shop.one("SELECT count(*)::text FROM audit").await, "0", "{change}");
    }
}

#[tokio::test]
async fn a_trigger_that_is_switched_off_during_a_feed_stays_off() {
    let shop = guarded().await;
    shop.run("ALTER TABLE item ADD filler text; ALTER TABLE item ALTER filler SET STORAGE PLAIN").await;
    shop.run("INSERT INTO item SELECT n, 1, 1, 'n', repeat('x', 7000) FROM generate_series(100, 700) n; ALTER TABLE item ALTER price TYPE bigint").await;
    let (db, url) = (Database::open(shop.database.url(), 2).unwrap(), shop.database.url().to_owned());
    let once = Once::new();
    let watch = |progress: Progress<'_>| {
        if matches!(progress, Progress::Rows { pages, .. } if pages > 0) {
            once.call_once(|| {
                let url = url.clone();
                let off = async move { connect(&url).await.batch_execute("ALTER TABLE item DISABLE TRIGGER audit").await.unwrap() };
                thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(off)).join().unwrap();
            });
        }
    };
    prepare_at(&db, &Settings::parse(SETTINGS).unwrap(), None, &Pace { watch: &watch, ..Pace::quiet() }).await.unwrap();
    db.close();
    assert!(once.is_completed(), "the feed has several batches");
    assert_eq!(shop.one("SELECT string_agg(tgname, ' ') FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'D'").await, "audit");
}
