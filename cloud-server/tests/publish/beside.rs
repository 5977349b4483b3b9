//! Writers go on while a catalog is published and its rows are fed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloud_server::settings::Settings;
use cloud_server::store::pace::Pace;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::{self, PrepareError, Progress};
use sync_core::catalog::Catalog;
use tokio::task::JoinHandle;

use crate::cloud::connect;
use crate::shop::{SETTINGS, Shop};

const UNFED: &str = "SELECT count(*)::text FROM item t JOIN was USING (id) WHERE t.rejoin_tick <= was.tick";

/// Prepares by itself, as a server does.
fn prepared(shop: &Shop, settings: &'static str) -> JoinHandle<Result<Arc<Catalog>, PrepareError>> {
    let url = shop.database.url().to_owned();
    tokio::spawn(async move {
        let db = Database::open(&url, 2).unwrap();
        let outcome = prepare::prepare(&db, &Settings::parse(settings).unwrap(), None).await;
        db.close();
        outcome
    })
}

/// Waits until a query says `true`; that it ever does is what is tried.
async fn until(shop: &Shop, query: &str) {
    let start = Instant::now();
    while shop.one(query).await != "true" {
        assert!(start.elapsed() < Duration::from_secs(120), "{query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Two shops with many items, and the ticks that these have now.
async fn many(rows: u32) -> Shop {
    let shop = Shop::open().await;
    shop.run(&format!("INSERT INTO item SELECT n, 1 + n % 2, n, 'n' FROM generate_series(1000, 999 + {rows}) n; ANALYZE item")).await;
    shop.run("CREATE TEMP TABLE was AS SELECT id, rejoin_tick AS tick FROM item").await;
    shop
}

/// Holds a scope's head, as a program does that has written there and goes on.
async fn holder(shop: &Shop) -> tokio_postgres::Client {
    let other = connect(shop.database.url()).await;
    other.batch_execute("BEGIN; UPDATE shop SET name = 'held' WHERE id = 1").await.unwrap();
    other
}

/// Looks at the schema, and dies once the catalog is in force, with rows that it could not feed.
async fn interrupted(shop: &Shop) {
    let other = holder(shop).await;
    let preparing = prepared(shop, SETTINGS);
    until(shop, "SELECT (max(version) = 2)::text FROM rejoin.catalogs").await;
    preparing.abort();
    assert!(preparing.await.is_err());
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.feeds").await, "1");
    other.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn who_holds_a_head_keeps_no_catalog_back_and_is_no_victim() {
    let shop = many(2_000).await;
    shop.run("ALTER TABLE item ALTER price TYPE bigint").await;
    let other = holder(&shop).await;
    let preparing = prepared(&shop, SETTINGS);
    until(&shop, "SELECT (max(version) = 2)::text FROM rejoin.catalogs").await;
    // It is in force. The holder goes on, whatever is fed at the moment.
    other
        .batch_execute("UPDATE item SET note = 'mine' WHERE id = 1500; UPDATE item SET note = 'mine' WHERE id = 1502; COMMIT")
        .await
        .unwrap();
    preparing.await.unwrap().unwrap();
    assert_eq!(shop.one(UNFED).await, "0");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.feeds").await, "0");
}

#[tokio::test]
async fn a_busy_table_is_published_and_fed_while_its_writers_go_on() {
    let shop = many(10_000).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    shop.run("ALTER TABLE item ALTER price TYPE bigint").await;
    for writer in 0..4u64 {
        let sql = connect(shop.database.url()).await;
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(writer);
            while !stop.load(Ordering::Relaxed) {
                let (one, two) = (random.u32(1_000..11_000), random.u32(1_000..11_000));
                // Whoever updates a row holds it before he asks for its scope's head.
                let write = format!(
                    "BEGIN; SELECT FROM item WHERE id = {one} FOR UPDATE; UPDATE item SET note = 'w{writer}' WHERE id = {one}; COMMIT;
                     UPDATE item SET price = price + 1 WHERE id = {two}"
                );
                sql.batch_execute(&write).await.unwrap();
                written.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    shop.run("DROP TABLE was; CREATE TEMP TABLE was AS SELECT id, rejoin_tick AS tick FROM item").await;
    let before = written.load(Ordering::Relaxed);
    let catalog = prepared(&shop, SETTINGS).await.unwrap().unwrap();
    assert_eq!(catalog.version.0, 2);
    assert!(written.load(Ordering::Relaxed) > before, "nobody wrote meanwhile");
    assert!(writers.iter().all(|writer| !writer.is_finished()));
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(shop.one(UNFED).await, "0");
}

#[tokio::test]
async fn what_is_left_to_feed_is_fed_by_the_next_run_under_the_names_of_then() {
    let shop = many(2_000).await;
    shop.run("ALTER TABLE item ADD fresh uuid DEFAULT gen_random_uuid()").await;
    interrupted(&shop).await;
    shop.run("ALTER TABLE item RENAME fresh TO token_of; ALTER TABLE item RENAME token_of TO fresher").await;
    shop.prepare(SETTINGS).await;
    assert_eq!((shop.one(UNFED).await.as_str(), shop.one("SELECT count(*)::text FROM rejoin.feeds").await.as_str()), ("0", "0"));
    // Nothing is fed twice.
    let ticks = "SELECT max(rejoin_tick)::text FROM item";
    let before = shop.one(ticks).await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.one(ticks).await, before);
}

#[tokio::test]
async fn rows_fed_in_one_go_wait_for_nobody_who_waits_for_them() {
    let shop = many(2_000).await;
    // Writes may have been missed: every row is fed with the catalog.
    shop.run(r#"DROP TRIGGER "~rejoin_v2_gone" ON item"#).await;
    let other = holder(&shop).await;
    let preparing = prepared(&shop, SETTINGS);
    until(&shop, "SELECT (count(*) = 1)::text FROM pg_trigger WHERE tgname = '~rejoin_v2_gone' AND tgrelid = 'item'::regclass").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    other.batch_execute("UPDATE item SET note = 'mine' WHERE id = 1500; UPDATE shop SET name = 'c' WHERE id = 1; COMMIT").await.unwrap();
    let catalog = preparing.await.unwrap().unwrap();
    assert_eq!(catalog.tables.iter().find(|table| table.name == "item").unwrap().generation, 1);
    assert_eq!(shop.one(UNFED).await, "0");
}

#[tokio::test]
async fn another_column_does_not_feed_what_a_column_before_it_left_alone() {
    let shop = many(2_000).await;
    shop.run("ALTER TABLE item ADD extra text; UPDATE item SET extra = 'x' WHERE id = 1500").await;
    interrupted(&shop).await;
    shop.run("ALTER TABLE item ADD rank integer NOT NULL DEFAULT 7").await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.one("SELECT count(*)::text FROM item JOIN was USING (id) WHERE rejoin_tick <> tick").await, "1");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.feeds").await, "0");
}

/// Prepares, and runs SQL of somebody else's once, between two batches of the feed of a table.
async fn between(shop: &Shop, table: &str, sql: &str) -> Result<Arc<Catalog>, PrepareError> {
    let other = connect(shop.database.url()).await;
    let db = Database::open(shop.database.url(), 2).unwrap();
    let done = AtomicBool::new(false);
    let watch = |progress: Progress<'_>| {
        let Progress::Rows { table: at, rows, .. } = progress else { return };
        if at == table && rows > 0 && !done.swap(true, Ordering::Relaxed) {
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(other.batch_execute(sql))).unwrap();
        }
    };
    let pace = Pace { watch: &watch, ..Pace::quiet() };
    let outcome = prepare::prepare_at(&db, &Settings::parse(SETTINGS).unwrap(), None, &pace).await;
    assert!(done.load(Ordering::Relaxed), "there were no two batches");
    db.close();
    outcome
}

const LABELS: &str = "INSERT INTO label SELECT n, n, 'x' FROM generate_series(1000, 1999) n;
    CREATE TEMP TABLE labels AS SELECT id, rejoin_tick AS tick FROM label";
const UNFED_LABELS: &str = "SELECT count(*)::text FROM label t JOIN labels was USING (id) WHERE t.rejoin_tick <= was.tick";
const LEFT: &str = "SELECT count(*)::text FROM rejoin.feeds";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_written_anew_between_two_batches_is_gone_through_again() {
    let shop = many(30_000).await;
    shop.run("ALTER TABLE item ALTER price TYPE bigint").await;
    between(&shop, "public.item", "VACUUM FULL item").await.unwrap();
    assert_eq!((shop.one(UNFED).await.as_str(), shop.one(LEFT).await.as_str()), ("0", "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_gets_another_name_before_its_turn_is_fed_under_it() {
    let shop = many(10_000).await;
    shop.run(LABELS).await;
    shop.run("ALTER TABLE item ALTER price TYPE bigint; ALTER TABLE label ADD code uuid DEFAULT gen_random_uuid()").await;
    between(&shop, "public.item", "ALTER TABLE label RENAME TO tag").await.unwrap_err();
    assert_eq!((shop.one(UNFED).await.as_str(), shop.one(LEFT).await.as_str()), ("0", "1"));
    shop.prepare(SETTINGS).await;
    shop.run("ALTER TABLE tag RENAME TO label").await;
    assert_eq!((shop.one(UNFED_LABELS).await.as_str(), shop.one(LEFT).await.as_str()), ("0", "0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_fed_keeps_back_no_other_and_is_fed_later() {
    let shop = many(30_000).await;
    shop.run(LABELS).await;
    shop.run("CREATE TABLE twin (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop, price integer, note varchar(20))").await;
    shop.run("INSERT INTO twin SELECT n, 1, n, 'n' FROM generate_series(1, 20000) n").await;
    shop.prepare(SETTINGS).await;
    shop.run("ALTER TABLE item ALTER price TYPE bigint; ALTER TABLE twin ALTER price TYPE bigint").await;
    shop.run("ALTER TABLE label ADD code uuid DEFAULT gen_random_uuid()").await;
    // Another table of the same form under the name.
    let swap = "BEGIN; ALTER TABLE item RENAME TO aside; ALTER TABLE twin RENAME TO item; ALTER TABLE aside RENAME TO twin; COMMIT";
    between(&shop, "public.item", swap).await.unwrap_err();
    assert_eq!(shop.one(UNFED_LABELS).await, "0");
    assert_ne!(shop.one(LEFT).await, "0");
    shop.prepare(SETTINGS).await;
    shop.run(swap).await;
    assert_eq!((shop.one(UNFED).await.as_str(), shop.one(LEFT).await.as_str()), ("0", "0"));
}
