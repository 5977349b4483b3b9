//! What somebody dropped, disabled or renamed of ours is put back, and nothing that happened meanwhile is lost.

use std::time::Duration;

use sync_core::catalog::Catalog;
use tokio::time::timeout;

use super::cloud::connect;
use super::shop::{SETTINGS, Shop};

const FEEDS: &str = "SELECT string_agg(DISTINCT rejoin_tick::text, ' ' ORDER BY rejoin_tick::text) FROM item";

#[tokio::test]
async fn a_tick_column_that_was_dropped_comes_back_with_its_triggers() {
    let shop = Shop::open().await;
    shop.run("UPDATE item SET price = 6 WHERE id = 11; UPDATE item SET price = 7 WHERE id = 11").await;
    shop.run("ALTER TABLE item DROP rejoin_tick CASCADE").await;
    shop.run("UPDATE item SET price = 8 WHERE id = 11").await;
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2");
    assert!(shop.one("SELECT rejoin_version::text FROM item WHERE id = 11").await.parse::<i64>().unwrap() >= 3);
    let head = "SELECT bool_and(t.rejoin_tick = s.head)::text FROM item t JOIN rejoin.scopes s ON s.scope = t.rejoin_scope";
    assert_eq!(shop.one(head).await, "true", "every row is fed again");
    shop.run("UPDATE item SET price = 9 WHERE id = 21").await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2");
}

#[tokio::test]
async fn versions_that_were_dropped_go_on_above_all_that_anybody_saw() {
    let shop = Shop::open().await;
    shop.run("UPDATE item SET price = 6 WHERE id = 11; UPDATE item SET rejoin_version = 900 WHERE id = 11; UPDATE item SET price = 7 WHERE id = 11").await;
    assert_eq!(shop.one("SELECT rejoin_version::text FROM item WHERE id = 11").await, "901");
    shop.run("ALTER TABLE item DROP rejoin_version, DROP rejoin_updated_at, DROP rejoin_modified_by, DROP rejoin_synced_at").await;
    // Programs go on meanwhile.
    shop.run("UPDATE item SET price = 8 WHERE id = 21; INSERT INTO item (id, shop_id) VALUES (12, 1)").await;
    shop.prepare(SETTINGS).await;
    let version = |id: u32| format!("SELECT rejoin_version::text FROM item WHERE id = {id}");
    assert!(shop.one(&version(11)).await.parse::<i64>().unwrap() > 901);
    let whole =
        "SELECT bool_and(num_nonnulls(rejoin_version, rejoin_updated_at, rejoin_modified_by, rejoin_synced_at) = 4)::text FROM item";
    assert_eq!(shop.one(whole).await, "true");
    let before: i64 = shop.one(&version(11)).await.parse().unwrap();
    shop.run("UPDATE item SET price = 10 WHERE id = 11").await;
    assert_eq!(shop.one(&version(11)).await, (before + 1).to_string());
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 12 shop/1, 21 shop/2");
}

#[tokio::test]
async fn programs_go_on_whichever_stamp_column_was_dropped() {
    for column in ["rejoin_version", "rejoin_updated_at", "rejoin_modified_by", "rejoin_synced_at"] {
        let shop = Shop::open().await;
        shop.run(&format!("ALTER TABLE item DROP {column}")).await;
        shop.run("UPDATE item SET price = 8 WHERE id = 21; INSERT INTO item (id, shop_id) VALUES (12, 1); DELETE FROM item WHERE id = 11")
            .await;
        shop.prepare(SETTINGS).await;
        assert_eq!(shop.rows("item", "id").await, "12 shop/1, 21 shop/2");
        assert_eq!(shop.one(&format!("SELECT bool_and({column} IS NOT NULL)::text FROM item")).await, "true");
    }
}

#[tokio::test]
async fn all_columns_dropped_at_once_come_back() {
    let shop = Shop::open().await;
    shop.run(
        "ALTER TABLE item DROP rejoin_scope CASCADE, DROP rejoin_tick CASCADE, DROP rejoin_version, DROP rejoin_updated_at, DROP rejoin_modified_by,
             DROP rejoin_synced_at",
    )
    .await;
    let heads: i64 = shop.one("SELECT max(head)::text FROM rejoin.scopes").await.parse().unwrap();
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2");
    assert!(shop.one("SELECT min(rejoin_version)::text FROM item").await.parse::<i64>().unwrap() > heads);
}

#[tokio::test]
async fn triggers_dropped_disabled_or_renamed_are_put_back_and_the_table_is_fed_again() {
    for harm in [
        r#"DROP TRIGGER "~rejoin_v2_update" ON item"#,
        "ALTER TABLE item DISABLE TRIGGER USER",
        r#"ALTER TRIGGER "~rejoin_v2_gone" ON item RENAME TO theirs"#,
    ] {
        let shop = Shop::open().await;
        let before = shop.one(FEEDS).await;
        shop.run(harm).await;
        shop.run("UPDATE item SET shop_id = 2, price = 8 WHERE id = 11").await;
        shop.prepare(SETTINGS).await;
        assert_ne!(shop.one(FEEDS).await, before, "{harm}");
        assert_eq!(shop.rows("item", "id").await, "11 shop/2, 21 shop/2", "{harm}");
        assert_eq!(shop.rows("label", "id").await, "111 shop/2, 211 shop/2", "{harm}");
        let triggers =
            "SELECT count(*) || ' ' || count(*) FILTER (WHERE tgenabled = 'O') FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid
                        WHERE tgrelid = 'item'::regclass AND pronamespace = 'rejoin'::regnamespace AND tgname LIKE '~rejoin%'";
        let count = shop.one(triggers).await;
        let (all, enabled) = count.split_once(' ').unwrap();
        assert_eq!(all, enabled, "{harm}");
        assert_eq!(shop.one("SELECT count(*)::text FROM pg_trigger WHERE tgname = 'theirs'").await, "0");
        shop.run("DELETE FROM label; DELETE FROM item WHERE id = 11").await;
        assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones WHERE key = '{11}' AND NOT left_scope").await, "1", "{harm}");
        shop.prepare(SETTINGS).await;
        assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.drifted").await, "0");
    }
}

#[tokio::test]
async fn rows_that_were_left_behind_while_a_trigger_was_gone_follow() {
    for harm in [
        r#"DROP TRIGGER "~rejoin_v2_restamp" ON item"#,
        r#"ALTER TABLE item DISABLE TRIGGER "~rejoin_v2_restamp""#,
        "DROP FUNCTION rejoin.restamp_8 CASCADE",
    ] {
        let shop = Shop::open().await;
        shop.run(
            &harm.replace(
                "restamp_8",
                &format!("restamp_{}", shop.one("SELECT no::text FROM rejoin.tables WHERE table_name = 'item'").await),
            ),
        )
        .await;
        shop.run("UPDATE item SET shop_id = 2 WHERE id = 11").await;
        assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/2", "{harm}: left behind");
        shop.prepare(SETTINGS).await;
        assert_eq!(shop.rows("label", "id").await, "111 shop/2, 211 shop/2", "{harm}");
        let left = "SELECT string_agg(scope || ' ' || key[1], ', ' ORDER BY key) FROM rejoin.tombstones WHERE left_scope";
        assert_eq!(shop.one(left).await, "shop/1 11, shop/1 111", "{harm}");
        assert_eq!(shop.doctor(SETTINGS).await, Vec::<String>::new());
        shop.run("UPDATE item SET shop_id = 1 WHERE id = 11").await;
        assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/2", "{harm}");
    }
}

#[tokio::test]
async fn rows_that_nobody_claimed_while_the_trigger_was_gone_find_their_place() {
    const DECLARED: &str =
        "root = 'shop'\n[tables.remark]\nscope_through = ['about']\nreferences = [{ columns = ['about'], table = 'item' }]\n";
    const LATER: &str =
        "CREATE TABLE slip (id integer PRIMARY KEY, item_id integer NOT NULL REFERENCES item DEFERRABLE INITIALLY DEFERRED)";
    for partitioned in ["", " PARTITION BY HASH (id); CREATE TABLE item_0 PARTITION OF item FOR VALUES WITH (MODULUS 1, REMAINDER 0)"] {
        let shop = Shop::of(
            &format!(
                "CREATE TABLE shop (id integer PRIMARY KEY); INSERT INTO shop VALUES (1);
                 CREATE TABLE item (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop){partitioned};
                 CREATE TABLE remark (id integer PRIMARY KEY, about integer); {LATER}"
            ),
            DECLARED,
        )
        .await;
        shop.run("INSERT INTO remark VALUES (1, 11)").await;
        assert_eq!(shop.rows("remark", "id").await, "1 nowhere");
        let place = if partitioned.is_empty() { "item" } else { "item_0" };
        shop.run(&format!(r#"DROP TRIGGER "~rejoin_v2_claim" ON {place}"#)).await;
        shop.run(&format!("BEGIN; INSERT INTO slip VALUES (1, 11); INSERT INTO {place} VALUES (11, 1); COMMIT")).await;
        let scopes = "SELECT r.rejoin_scope || ' ' || s.rejoin_scope FROM remark r, slip s";
        assert_eq!(shop.one(scopes).await, "nowhere nowhere");
        shop.prepare(DECLARED).await;
        assert_eq!(shop.one(scopes).await, "shop/1 shop/1");
        assert_eq!((shop.rows("remark", "id").await, shop.rows("slip", "id").await), ("1 shop/1".to_owned(), "1 shop/1".to_owned()));
    }
}

#[tokio::test]
async fn a_row_whose_parent_is_missing_stays_where_it_is_and_stops_nothing() {
    let shop = Shop::open().await;
    shop.run_as_owner(
        "SET session_replication_role = replica; INSERT INTO label (id, item_id, text) VALUES (999, 77, 'lost'), (998, 21, 'past')",
    )
    .await;
    let lost = "SELECT rejoin_scope || ' ' || rejoin_tick FROM label WHERE id = 999";
    let named = "label: 1 rows refer to what is not there, so they have no scope and do not travel: ctid (0,";
    for (at, go_on) in [
        "ALTER TABLE item ADD fresh integer DEFAULT 1",
        "SELECT rejoin.drifts(no, true) FROM rejoin.tables WHERE table_name = 'label'",
        "ALTER TABLE label DROP rejoin_tick CASCADE",
        "ALTER TABLE label DROP rejoin_scope CASCADE, DROP rejoin_tick CASCADE",
    ]
    .into_iter()
    .enumerate()
    {
        shop.run(go_on).await;
        let before = shop.prepare(SETTINGS).await.version.0;
        assert_eq!(shop.one(lost).await, "nowhere 0", "{go_on}");
        assert_eq!(shop.one("SELECT rejoin_scope FROM label WHERE id = 998").await, "shop/2", "{go_on}");
        shop.run(&format!("ALTER TABLE item ADD more_{at} integer")).await;
        shop.mend(SETTINGS).await;
        assert!(shop.prepare(SETTINGS).await.version.0 > before, "{go_on}");
        assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.drifted").await, "0", "{go_on}");
        let found = shop.doctor(SETTINGS).await;
        assert!(matches!(found.as_slice(), [found] if found.starts_with(named)), "{go_on}: {found:#?}");
    }
    shop.run("INSERT INTO item (id, shop_id) VALUES (77, 1)").await;
    shop.mend(SETTINGS).await;
    assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/2, 998 shop/2, 999 shop/1");
    assert_eq!(shop.doctor(SETTINGS).await, Vec::<String>::new());
}

const NOTE: &str = "SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'item'";

#[tokio::test]
async fn nobody_who_writes_what_hangs_from_a_table_is_waited_for_where_nothing_is_wrong() {
    let shop = Shop::open().await;
    let program = connect(shop.database.url()).await;
    program.batch_execute("BEGIN; UPDATE label SET text = 'z' WHERE id = 111").await.unwrap();
    shop.run(NOTE).await;
    timeout(Duration::from_secs(30), shop.prepare(SETTINGS)).await.expect("it does not wait for the program");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.drifted").await, "0");
    program.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn what_is_noted_while_a_table_is_put_right_is_not_forgotten() {
    let shop = Shop::open().await;
    let before = shop.prepare(SETTINGS).await;
    shop.run_as_owner("SET session_replication_role = replica; UPDATE item SET rejoin_tick = 0 WHERE id = 11").await;
    let program = connect(shop.database.url()).await;
    program.batch_execute("BEGIN; UPDATE label SET text = 'z' WHERE id = 111").await.unwrap();
    shop.run(NOTE).await;
    // It waits for the program.
    let putting_right = shop.prepare(SETTINGS);
    let meanwhile = async {
        while shop.one("SELECT bool_and(claimed)::text FROM rejoin.drifted").await != "true" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        shop.run(&NOTE.replace("false", "true")).await;
        program.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(putting_right, meanwhile);
    assert_eq!(shop.one("SELECT string_agg(claimed::text, ' ') FROM rejoin.drifted").await, "false");
    let after = shop.prepare(SETTINGS).await;
    let generation = |catalog: &Catalog| catalog.tables.iter().find(|table| table.name == "item").unwrap().generation;
    assert_eq!(generation(&after), generation(&before) + 1, "the second look comes to what was noted during the first");
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2");
}
