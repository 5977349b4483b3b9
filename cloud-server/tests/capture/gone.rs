//! Rows that leave: deleted, under another key, in another scope.

use super::cloud::{Cloud, Gone, P1, P2, S1, S2, connect};
use super::shop::Shop;
use super::{at, scope, tombstone};

#[tokio::test]
async fn ra2_an_edit_and_a_move_in_one_transaction_end_in_the_new_scope() {
    for one in ["", "SELECT rejoin.take('productions/x');"] {
        let cloud = Cloud::with_rows().await;
        cloud
            .run(&format!(
                "BEGIN; {one} UPDATE sources SET name = 'x' WHERE id = '{S1}'; UPDATE sources SET production_id = '{P2}' WHERE id = '{S1}'; COMMIT"
            ))
            .await;
        assert_eq!(cloud.row("sources", S1).await.scope, scope(P2));
        assert_eq!(cloud.row("source_outputs", S1).await.scope, scope(P2));
        cloud.check().await;
    }
}

#[tokio::test]
async fn h13_delete_and_insert_in_one_transaction_leave_a_row_and_no_tombstone() {
    let cloud = Cloud::with_rows().await;
    let insert = format!("INSERT INTO source_outputs (id, source_id, connector) VALUES ('{S1}', '{S1}', 'HDMI')");
    cloud.run(&format!("BEGIN; DELETE FROM source_outputs WHERE id = '{S1}'; {insert}; COMMIT")).await;
    assert_eq!(cloud.gone("source_outputs").await, []);
    assert_eq!(cloud.row("source_outputs", S1).await, at(P1, 2, 3), "the version grows over delete and insert");
    // In one statement: both statement triggers run at its end.
    cloud
        .run(&format!(
            "WITH d AS (DELETE FROM source_outputs WHERE id = '{S1}' RETURNING *)
             INSERT INTO source_outputs (id, source_id, connector) SELECT id, source_id, 'SDI' FROM d"
        ))
        .await;
    assert_eq!(cloud.gone("source_outputs").await, []);
    // Deleted in one transaction, there again in another.
    cloud.run(&format!("DELETE FROM source_outputs WHERE id = '{S1}'")).await;
    let gone = cloud.gone("source_outputs").await;
    assert_eq!((gone.len(), gone[0].tick), (1, cloud.head(P1).await));
    cloud.run(&insert).await;
    assert_eq!(cloud.gone("source_outputs").await, []);
    assert!(cloud.row("source_outputs", S1).await.version > gone[0].version);
    cloud.check().await;
}

#[tokio::test]
async fn ra4_a_skipped_insert_leaves_the_tombstone() {
    let cloud = Cloud::start().await;
    let (spec, card, other) = (P1, S1, S2);
    cloud
        .run(&format!(
            "INSERT INTO equipment_specs (id, category, manufacturer, model, io_architecture) VALUES ('{spec}', 'CCU', 'm', 'm', 'CARD_BASED');
             INSERT INTO equipment_cards (id, equipment_id, slot_number) VALUES ('{card}', '{spec}', 1), ('{other}', '{spec}', 2);
             DELETE FROM equipment_cards WHERE id = '{card}'"
        ))
        .await;
    let before = cloud.gone("equipment_cards").await;
    assert_eq!(before.len(), 1);
    let insert =
        format!("INSERT INTO equipment_cards (id, equipment_id, slot_number) VALUES ('{card}', '{spec}', 2) ON CONFLICT DO NOTHING");
    cloud.run(&insert).await;
    assert_eq!(cloud.gone("equipment_cards").await, before, "no row came, so the tombstone stays");
}

#[tokio::test]
async fn a_delete_leaves_a_tombstone_with_the_last_image_for_each_row_of_the_cascade() {
    let cloud = Cloud::with_rows().await;
    cloud.run(&format!("INSERT INTO sources (id, production_id, type, name, rate) VALUES ('{P2}', '{P1}', 't', 'c', 59.94)")).await;
    cloud.run(&format!("DELETE FROM productions WHERE id = '{P1}'")).await;
    assert_eq!(cloud.gone("productions").await, [tombstone(P1, P1, 3, 2)]);
    assert_eq!(cloud.gone("sources").await, [tombstone(P1, P2, 3, 2), tombstone(P1, S1, 3, 2)]);
    assert_eq!(cloud.gone("source_outputs").await, [tombstone(P1, S1, 3, 2)]);
    let image: serde_json::Value = cloud.one(&format!("SELECT image FROM rejoin.tombstones WHERE key = ARRAY['{P2}']")).await;
    assert_eq!((&image["name"], &image["rate"]), (&"c".into(), &59.94.into()));
    for stamp in ["rejoin_scope", "rejoin_tick", "version", "updated_at", "last_modified_by", "synced_at"] {
        assert!(image.get(stamp).is_none(), "{stamp}");
    }
    let author: String = cloud.one("SELECT DISTINCT author FROM rejoin.tombstones").await;
    assert_eq!(author, "rejoin_owner");
}

#[tokio::test]
async fn a_cleared_reference_is_an_edit_of_the_row_that_held_it() {
    let cloud = Cloud::with_rows().await;
    let id = "0198c0de-0000-7000-8000-0000000000c1";
    cloud
        .run(&format!("INSERT INTO connections (id, production_id, source_id, destination_type) VALUES ('{id}', '{P1}', '{S1}', 'SEND')"))
        .await;
    cloud.run(&format!("DELETE FROM sources WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("connections", id).await, at(P1, 3, 2));
    assert!(cloud.one::<bool>("SELECT source_id IS NULL FROM connections").await);
}

#[tokio::test]
async fn a_changed_key_leaves_a_tombstone_and_the_references_follow() {
    let cloud = Cloud::with_rows().await;
    let id = "0198c0de-0000-7000-8000-0000000000c1";
    cloud.run(&format!("UPDATE sources SET id = '{id}' WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", id).await, at(P1, 2, 2));
    assert_eq!(cloud.gone("sources").await, [tombstone(P1, S1, 2, 2)]);
    assert_eq!(cloud.row("source_outputs", S1).await, at(P1, 2, 2));
    // The root's key is its scope's name: everything below moves along.
    cloud.run(&format!("UPDATE productions SET id = '{S1}' WHERE id = '{P1}'")).await;
    assert_eq!(cloud.row("productions", S1).await.scope, scope(S1));
    assert_eq!(cloud.row("sources", id).await.scope, scope(S1));
    assert_eq!(cloud.row("source_outputs", S1).await.scope, scope(S1));
    assert_eq!(cloud.gone("productions").await, [tombstone(P1, P1, 3, 2)]);
    assert!(cloud.gone("source_outputs").await.iter().all(|gone| gone.left && gone.scope == scope(P1)));
    cloud.check().await;
}

#[tokio::test]
async fn keys_swapped_in_one_statement_leave_no_tombstone_of_a_living_row() {
    let cloud = Cloud::with_rows().await;
    cloud.run("ALTER TABLE source_outputs DROP CONSTRAINT source_outputs_pkey, ADD PRIMARY KEY (id) DEFERRABLE").await;
    cloud.run(&format!("UPDATE source_outputs SET source_id = '{S1}'")).await;
    cloud.run(&format!("UPDATE source_outputs SET id = CASE id WHEN '{S1}' THEN '{S2}' ELSE '{S1}' END::uuid")).await;
    let tombstones: Vec<Gone> = cloud.gone("source_outputs").await.into_iter().filter(|gone| !gone.left).collect();
    assert_eq!(tombstones, []);
}

#[tokio::test]
async fn a_move_to_another_scope_takes_the_subtree_along_and_leaves_marks() {
    let cloud = Cloud::with_rows().await;
    cloud.run(&format!("UPDATE sources SET production_id = '{P2}' WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P2, 2, 2));
    assert_eq!(cloud.row("source_outputs", S1).await, at(P2, 2, 2));
    let mark = |tick| Gone { left: true, ..tombstone(P1, S1, tick, 2) };
    assert_eq!((cloud.gone("sources").await, cloud.gone("source_outputs").await), (vec![mark(2)], vec![mark(2)]));
    cloud.check().await;
    // And back: the marks of the scope where it lives again go, those of the other come.
    cloud.run(&format!("UPDATE sources SET production_id = '{P1}' WHERE id = '{S1}'")).await;
    let mark = Gone { left: true, ..tombstone(P2, S1, 3, 3) };
    assert_eq!(cloud.gone("sources").await, [mark]);
    cloud.check().await;
}

#[tokio::test]
async fn the_server_moves_a_row_with_its_own_stamps_and_the_trigger_derives_again() {
    let cloud = Cloud::with_rows().await;
    let (a, b) = (scope(P1), scope(P2));
    let to = |wanted: &str| {
        format!(
            "BEGIN; SELECT rejoin.take('{a}', '{b}');
             UPDATE sources SET production_id = '{P2}', rejoin_scope = '{wanted}', version = 5,
                 rejoin_tick = (SELECT head FROM rejoin.scopes WHERE scope = '{wanted}') WHERE id = '{S1}'; COMMIT"
        )
    };
    cloud.run(&to(&a)).await;
    assert_eq!(cloud.row("sources", S1).await, at(P2, 2, 5), "a scope that is wrong is put right");
    cloud.run(&format!("UPDATE sources SET production_id = '{P1}' WHERE id = '{S1}'")).await;
    cloud.run(&to(&b)).await;
    assert_eq!(cloud.row("sources", S1).await, at(P2, 4, 5), "one that is right stays with its version");
    cloud.check().await;
}

#[tokio::test]
async fn h15a_a_child_inserted_while_its_parent_moves_lands_in_the_parents_new_scope() {
    let cloud = Cloud::with_rows().await;
    let id = "0198c0de-0000-7000-8000-0000000000c1";
    let other = connect(cloud.database.url()).await;
    cloud.run(&format!("BEGIN; UPDATE sources SET production_id = '{P2}' WHERE id = '{S1}'")).await;
    let insert = format!("INSERT INTO source_outputs (id, source_id, connector) VALUES ('{id}', '{S1}', 'SDI')");
    let waiting = tokio::spawn(async move { other.batch_execute(&insert).await });
    let watch = connect(cloud.database.url()).await;
    let blocked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !watch.query_one(blocked, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cloud.run("COMMIT").await;
    waiting.await.unwrap().unwrap();
    assert_eq!(cloud.row("source_outputs", id).await, at(P2, 3, 1));
    cloud.check().await;
}

#[tokio::test]
async fn truncate_leaves_a_tombstone_for_every_row() {
    let cloud = Cloud::with_rows().await;
    cloud.run("TRUNCATE sources CASCADE").await;
    assert_eq!(cloud.gone("sources").await, [tombstone(P1, S1, 2, 2), tombstone(P2, S2, 2, 2)]);
    assert_eq!(cloud.gone("source_outputs").await, [tombstone(P1, S1, 2, 2), tombstone(P2, S2, 2, 2)]);
}

#[tokio::test]
async fn columns_may_be_called_as_our_own_words_are() {
    let shop = Shop::of(
        "CREATE TABLE shop (id integer PRIMARY KEY);
         CREATE TABLE colour (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop, r jsonb, g integer, b jsonb, o jsonb, n jsonb,
                              e jsonb, f text, t text, s text, l text, c text, k jsonb, x jsonb, old jsonb, new jsonb, one text, held text,
                              derived text, was bigint, last text, stamped boolean, key text, scope text, version_no integer, rekeyed boolean);
         INSERT INTO shop VALUES (1);
         INSERT INTO colour (id, shop_id, r, g, was) SELECT n, 1, '{\"id\": 9}', n, n FROM generate_series(1, 4) n",
        "root = 'shop'\n",
    )
    .await;
    shop.run("UPDATE colour SET g = 20, o = '{\"id\": 3}', n = '[]' WHERE id = 2").await;
    shop.run("UPDATE colour SET id = 30 WHERE id = 3").await;
    shop.run("DELETE FROM colour WHERE id = 2").await;
    shop.run("TRUNCATE colour").await;
    let images = "SELECT string_agg(key[1] || ' ' || (image ->> 'g') || ' ' || (image -> 'r' ->> 'id') || ' ' || (image ->> 'id'), ',' ORDER BY key) FROM rejoin.tombstones";
    assert_eq!(shop.one(images).await, "1 1 9 1,2 20 9 2,3 3 9 3,30 3 9 30,4 4 9 4");
    let changes = "SELECT string_agg(op || ' ' || (changes ->> 'g') , ',' ORDER BY id) FROM rejoin.history WHERE key = ARRAY['2']";
    assert_eq!(shop.one(changes).await, "update [2, 20],delete 20");
}

#[tokio::test]
async fn rows_that_are_not_stamped_may_be_written_and_deleted() {
    let shop = Shop::open().await;
    // As during an attach: the triggers are there, the rows' stamps not yet.
    shop.run(
        "ALTER TABLE label ALTER rejoin_scope DROP NOT NULL, ALTER rejoin_tick DROP NOT NULL;
         ALTER TABLE label DISABLE TRIGGER USER;
         UPDATE label SET rejoin_scope = NULL, rejoin_tick = NULL, rejoin_version = NULL WHERE id = 111;
         UPDATE label SET rejoin_version = NULL WHERE id = 211;
         ALTER TABLE label ENABLE TRIGGER USER",
    )
    .await;
    shop.run("ALTER TABLE label DISABLE TRIGGER \"~rejoin_v2_insert\"").await;
    shop.run("INSERT INTO label VALUES (112, 11, 'w')").await;
    shop.run("ALTER TABLE label ENABLE TRIGGER \"~rejoin_v2_insert\"").await;
    shop.run("DELETE FROM label WHERE id IN (111, 211)").await;
    assert_eq!(shop.one("SELECT string_agg(key[1], ',') FROM rejoin.tombstones").await, "211", "nobody was ever sent the other one");
    assert_eq!(
        shop.one("SELECT string_agg(op || version, ',' ORDER BY key) FROM rejoin.history WHERE op = 'delete'").await,
        "delete1,delete1"
    );
}

#[tokio::test]
async fn many_rows_go_to_another_scope_in_one_statement_and_take_along_what_hangs_from_them() {
    let shop = Shop::open().await;
    shop.run(
        "INSERT INTO shop VALUES (3, 'c'); INSERT INTO item (id, shop_id) SELECT n, 1 + n % 3 FROM generate_series(1000, 3999) n;
         INSERT INTO label SELECT id * 10 + n, id, 'z' FROM item, generate_series(0, 1) n WHERE id >= 1000",
    )
    .await;
    // A session that keeps the plans which it made for one row.
    shop.run("UPDATE item SET shop_id = 3 WHERE id = 1000; UPDATE item SET price = 1 WHERE id = 1000").await;
    shop.run("UPDATE item SET shop_id = 1 + shop_id % 3 WHERE id >= 1000").await;
    let wrong = "SELECT (SELECT count(*) FROM item WHERE rejoin_scope <> 'shop/' || shop_id)
                     + (SELECT count(*) FROM label l JOIN item i ON i.id = l.item_id WHERE l.rejoin_scope <> i.rejoin_scope)
                     + (SELECT count(*) FROM rejoin.tombstones g JOIN item i ON g.key = ARRAY[i.id::text] AND g.scope = i.rejoin_scope)";
    assert_eq!(shop.one(&format!("SELECT ({wrong})::text")).await, "0");
    // One moved twice: a mark in either scope that it left.
    let marks =
        "SELECT count(*) || ' ' || count(*) FILTER (WHERE g.tick = s.head) || ' ' || count(*) FILTER (WHERE left_scope AND image IS NULL)
                 FROM rejoin.tombstones g JOIN rejoin.scopes s USING (scope)";
    assert_eq!(shop.one(marks).await, "9003 9000 9003");
    // All the way round, in steps of one transaction: no mark is left where a row is, and what passes through stays gone.
    shop.run("BEGIN; UPDATE item SET shop_id = 1 + shop_id % 3 WHERE id >= 1000; UPDATE item SET shop_id = 1 + shop_id % 3 WHERE id >= 1000; COMMIT").await;
    assert_eq!(shop.one(&format!("SELECT ({wrong})::text")).await, "0");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones").await, "18000");
}

#[tokio::test]
async fn a_users_trigger_that_moves_a_row_on_leaves_the_marks_of_its_last_place() {
    let shop = Shop::open().await;
    shop.run(
        "INSERT INTO shop VALUES (3, 'c');
         CREATE FUNCTION go_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE item SET shop_id = CASE NEW.shop_id WHEN 2 THEN 3 ELSE 1 END WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE TRIGGER go_on AFTER UPDATE OF shop_id ON item FOR EACH ROW WHEN (NEW.shop_id IN (2, 3) AND OLD.shop_id = 1) EXECUTE FUNCTION go_on()",
    )
    .await;
    let marks = "SELECT string_agg(scope, ' ' ORDER BY scope) FROM rejoin.tombstones WHERE key = '{11}'";
    shop.run("UPDATE item SET shop_id = 2 WHERE id = 11").await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/3, 21 shop/2");
    assert_eq!(shop.one(marks).await, "shop/1 shop/2");
    shop.run("UPDATE item SET shop_id = 1 WHERE id = 11; UPDATE item SET shop_id = 3 WHERE id = 11").await;
    assert_eq!(shop.rows("item", "id").await, "11 shop/1, 21 shop/2", "there and back");
    assert_eq!(shop.one(marks).await, "shop/2 shop/3");
    assert_eq!(shop.rows("label", "id").await, "111 shop/1, 211 shop/2");
}
