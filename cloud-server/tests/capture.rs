//! Plain SQL at the cloud is stamped: each way to write, in one transaction or several, with what others do meanwhile.
//! The names start with the history of the design that they retell.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "the tests' own module")]

mod cloud;

use cloud::{Cloud, Gone, P1, P2, Row, S1, S2, connect};
use futures_util::SinkExt;
use tokio_postgres::error::SqlState;

fn scope(production: &str) -> String {
    format!("productions/{production}")
}

fn at(production: &str, tick: i64, version: i64) -> Row {
    Row { scope: scope(production), tick, version }
}

fn tombstone(production: &str, key: &str, tick: i64, version: i64) -> Gone {
    Gone { scope: scope(production), key: vec![key.to_owned()], tick, version, left: false }
}

#[tokio::test]
async fn an_insert_gets_scope_tick_version_author_and_times() {
    let cloud = Cloud::with_rows().await;
    assert_eq!(cloud.row("productions", P1).await, at(P1, 1, 1));
    assert_eq!(cloud.row("sources", S1).await, at(P1, 1, 1), "one transaction, one tick");
    assert_eq!(cloud.row("source_outputs", S2).await, at(P2, 1, 1));
    let sql = format!("SELECT last_modified_by || ' ' || (updated_at = synced_at) FROM sources WHERE id = '{S1}'");
    assert_eq!(cloud.one::<String>(&sql).await, "rejoin_owner true");
    let sql = format!("SELECT author || ' ' || count(*) FROM rejoin.ticks WHERE scope = '{}' GROUP BY author", scope(P1));
    assert_eq!(cloud.one::<String>(&sql).await, "rejoin_owner 1");
    cloud.check().await;
}

#[tokio::test]
async fn an_upsert_stamps_the_row_that_it_inserts_or_updates_and_leaves_a_skipped_one() {
    let cloud = Cloud::with_rows().await;
    let upsert = |name: &str, action: &str| {
        format!("INSERT INTO sources (id, production_id, type, name) VALUES ('{S1}', '{P1}', 't', '{name}') ON CONFLICT (id) DO {action}")
    };
    cloud.run(&upsert("n", "NOTHING")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 1, 1));
    cloud.run(&upsert("n", "UPDATE SET name = excluded.name")).await;
    let head = cloud.head(P1).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, head, 2));
    // The conflict action may take the stamps of the row that was not inserted: they are the transaction's own.
    cloud.run(&upsert("n", "UPDATE SET rejoin_tick = excluded.rejoin_tick, rejoin_scope = excluded.rejoin_scope, name = 'm'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, head + 1, 3));
    cloud.check().await;
}

#[tokio::test]
async fn copy_is_stamped_like_an_insert() {
    let cloud = Cloud::with_rows().await;
    let sink = cloud.sql.copy_in("COPY sources (id, production_id, type, name) FROM STDIN").await.unwrap();
    let mut sink = Box::pin(sink);
    let id = "0198c0de-0000-7000-8000-0000000000c1";
    sink.send(std::io::Cursor::new(format!("{id}\t{P2}\tt\tcopied\n"))).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1);
    assert_eq!(cloud.row("sources", id).await, at(P2, 2, 1));
    cloud.check().await;
}

#[tokio::test]
async fn h02a_an_orm_that_counts_the_version_itself_is_seen() {
    let cloud = Cloud::with_rows().await;
    cloud.run(&format!("UPDATE sources SET name = 'b', version = version + 1 WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 2, 2));
    cloud.run(&format!("UPDATE sources SET name = 'c', version = 9 WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 3, 9));
    cloud.run(&format!("UPDATE sources SET name = 'd', version = 1 WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 4, 10), "a version never goes back");
    cloud.run(&format!("UPDATE sources SET name = 'e', version = 2147483647 WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 5, 10 + (1 << 20)), "nor out of reach");
}

#[tokio::test]
async fn h02b_a_whole_row_saved_with_the_stamps_it_was_read_with_is_seen() {
    let cloud = Cloud::with_rows().await;
    cloud.run(&format!("UPDATE sources SET name = 'b' WHERE id = '{S1}'")).await;
    cloud.run(&format!("UPDATE sources SET name = 'c' WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 3, 3));
    let save = "UPDATE sources SET name = 'd', rejoin_tick = 2, version = 2, rejoin_scope =";
    cloud.run(&format!("{save} '{}' WHERE id = '{S1}'", scope(P1))).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 4, 4));
    cloud.run(&format!("{save} '{}' WHERE id = '{S1}'", scope(P2))).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 5, 5), "nor does it move");
    cloud.check().await;
}

#[tokio::test]
async fn h02c_rows_copied_with_their_stamps_get_stamps_of_their_own() {
    let cloud = Cloud::with_rows().await;
    let copy = |production: &str, from: &str, id: &str| {
        format!(
            "INSERT INTO sources SELECT (s).* FROM (SELECT jsonb_populate_record(x, jsonb_build_object('id', '{id}', 'production_id', '{production}')) s
             FROM sources x WHERE x.id = '{from}') y"
        )
    };
    let (early, late) = ("0198c0de-0000-7000-8000-0000000000c1", "0198c0de-0000-7000-8000-0000000000c2");
    cloud.run(&copy(P1, S1, early)).await;
    assert_eq!(cloud.row("sources", early).await, at(P1, 2, 1));
    // In the very transaction that made the stamps they are still not the copy's.
    cloud.run(&format!("BEGIN; UPDATE sources SET name = 'x' WHERE id = '{S1}'; {}; COMMIT", copy(P2, S1, late))).await;
    assert_eq!(cloud.row("sources", late).await, at(P2, 2, 2));
    cloud.check().await;
}

#[tokio::test]
async fn a_parent_and_its_child_made_by_one_statement_find_each_other() {
    let cloud = Cloud::with_rows().await;
    cloud
        .run(&format!(
            "WITH s AS (INSERT INTO sources (production_id, type, name) VALUES ('{P2}', 't', 'n') RETURNING id)
             INSERT INTO source_outputs (source_id, connector) SELECT id, 'SDI' FROM s"
        ))
        .await;
    assert_eq!(cloud.head(P2).await, 2);
    cloud.check().await;
}

#[tokio::test]
async fn an_unchanged_row_is_stamped_too() {
    let cloud = Cloud::with_rows().await;
    cloud.run(&format!("UPDATE sources SET name = name WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 2, 2));
}

#[tokio::test]
async fn ra5_a_savepoint_rolled_back_takes_its_tick_along() {
    let cloud = Cloud::with_rows().await;
    cloud
        .run(&format!(
            "BEGIN; SAVEPOINT a; UPDATE sources SET name = 'x' WHERE id = '{S1}'; ROLLBACK TO a;
             UPDATE sources SET name = 'y' WHERE id = '{S2}';
             SAVEPOINT b; UPDATE sources SET name = 'z' WHERE id = '{S2}'; ROLLBACK TO b;
             UPDATE sources SET name = 'z' WHERE id = '{S1}'; COMMIT"
        ))
        .await;
    assert_eq!((cloud.head(P1).await, cloud.head(P2).await), (2, 2));
    assert_eq!(cloud.row("sources", S1).await, at(P1, 2, 2));
    assert_eq!(cloud.row("sources", S2).await, at(P2, 2, 2));
    cloud.check().await;
    // The next transaction of the session starts with nothing taken.
    cloud.run(&format!("UPDATE sources SET name = 'q' WHERE id = '{S1}'")).await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 3, 3));
}

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
async fn one_transaction_over_two_scopes_has_one_tick_in_each() {
    let cloud = Cloud::with_rows().await;
    cloud
        .run(&format!(
            "BEGIN; UPDATE sources SET name = 'x' WHERE id = '{S2}'; UPDATE sources SET name = 'x' WHERE id = '{S1}';
             UPDATE sources SET name = 'y'; UPDATE productions SET client = 'z'; COMMIT"
        ))
        .await;
    for (production, source) in [(P1, S1), (P2, S2)] {
        assert_eq!(cloud.head(production).await, 2);
        assert_eq!(cloud.row("sources", source).await.tick, 2);
        assert_eq!(cloud.row("productions", production).await.tick, 2);
    }
}

#[tokio::test]
async fn h22_a_users_trigger_writes_under_the_same_tick() {
    let cloud = Cloud::with_rows().await;
    cloud
        .run(
            "CREATE FUNCTION count_sources() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE productions SET note = (SELECT count(*) FROM sources s WHERE s.production_id = NEW.production_id)
                 WHERE id = NEW.production_id; RETURN NULL; END $$;
             ALTER TABLE productions ADD note text;
             CREATE TRIGGER z_count AFTER INSERT OR UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION count_sources()",
        )
        .await;
    cloud.run(&format!("UPDATE sources SET name = 'x' WHERE id = '{S1}'")).await;
    assert_eq!((cloud.row("sources", S1).await.tick, cloud.row("productions", P1).await.tick), (2, 2));
    // The server's stamp and the user's trigger in one transaction.
    cloud
        .run(&format!(
            "BEGIN; SELECT rejoin.take_one('{0}');
             UPDATE sources t SET name = 'y', rejoin_tick = s.head, version = 8 FROM rejoin.scopes s WHERE s.scope = '{0}' AND t.id = '{S1}';
             COMMIT",
            scope(P1)
        ))
        .await;
    assert_eq!(cloud.row("sources", S1).await, at(P1, 3, 8));
    assert_eq!(cloud.row("productions", P1).await, at(P1, 3, 3));
    // A trigger that runs under our restamp finds its own tables by its own search_path.
    cloud.run(&format!("UPDATE productions SET id = '{S1}' WHERE id = '{P1}'")).await;
    assert_eq!(cloud.one::<String>(&format!("SELECT note FROM productions WHERE id = '{S1}'")).await, "1");
    cloud.check().await;
}

#[tokio::test]
async fn a_stamp_counts_only_if_the_transaction_took_the_head() {
    let cloud = Cloud::with_rows().await;
    let (a, b) = (scope(P1), scope(P2));
    let insert = |id: &str, production: &str, scope: &str, tick: i64| {
        format!(
            "INSERT INTO sources (id, production_id, type, name, rejoin_scope, rejoin_tick, version, last_modified_by)
             VALUES ('{id}', '{production}', 't', 'n', '{scope}', {tick}, 7, 'ann')"
        )
    };
    let ids: Vec<String> = (1..5).map(|no| format!("0198c0de-0000-7000-8000-0000000000d{no}")).collect();
    // Both heads taken: both stamps count, whichever was taken last.
    cloud
        .run(&format!("BEGIN; SELECT rejoin.take('{b}', '{a}'); {}; {}; COMMIT", insert(&ids[0], P1, &a, 2), insert(&ids[1], P2, &b, 2)))
        .await;
    assert_eq!(cloud.row("sources", &ids[0]).await, at(P1, 2, 7));
    assert_eq!(cloud.row("sources", &ids[1]).await, at(P2, 2, 7));
    // Taken by nobody, or by another transaction, a tick does not count.
    cloud.run(&insert(&ids[2], P1, &a, 2)).await;
    assert_eq!(cloud.row("sources", &ids[2]).await.tick, 3);
    cloud.run(&format!("BEGIN; SELECT rejoin.take('{b}'); {}; COMMIT", insert(&ids[3], P1, &a, 9))).await;
    assert_eq!(cloud.row("sources", &ids[3]).await.tick, 4);
    let authors: String = cloud.one("SELECT string_agg(last_modified_by, ' ' ORDER BY id) FROM sources WHERE name = 'n'").await;
    assert_eq!(authors, "ann ann rejoin_owner rejoin_owner");
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

/// The parent moves while a child is inserted: whoever comes second derives from what the first left.
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
async fn a_missing_parent_is_refused_in_postgresqls_own_words() {
    let cloud = Cloud::with_rows().await;
    let insert = |parent: &str| format!("INSERT INTO source_outputs (source_id, connector) VALUES ({parent}, 'SDI')");
    let error = cloud.sql.batch_execute(&insert(&format!("'{P1}'"))).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::FOREIGN_KEY_VIOLATION);
    assert_eq!(
        error.message(),
        "insert or update on table \"source_outputs\" violates foreign key constraint \"source_outputs_source_id_fkey\""
    );
    assert_eq!(error.detail().unwrap(), format!("Key (source_id)=({P1}) is not present in table \"sources\"."));
    assert_eq!((error.constraint(), error.table()), (Some("source_outputs_source_id_fkey"), Some("source_outputs")));
    let error = cloud.sql.batch_execute(&insert("NULL")).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code(), error.column()), (&SqlState::NOT_NULL_VIOLATION, Some("source_id")));
}

#[tokio::test]
async fn a_role_that_may_only_write_its_tables_is_captured_and_may_nothing_else() {
    let cloud = Cloud::with_rows().await;
    let admin = connect(cloud.database.superuser_url()).await;
    let role = format!("app_{}", cloud.database.name());
    admin
        .batch_execute(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"))
        .await
        .unwrap();
    admin.batch_execute(&format!("SET SESSION AUTHORIZATION {role}")).await.unwrap();
    admin
        .batch_execute(&format!(
            "UPDATE sources SET production_id = '{P2}' WHERE id = '{S1}'; DELETE FROM sources WHERE id = '{S2}'; SELECT rejoin.take('global')"
        ))
        .await
        .unwrap();
    let author: String = cloud.one(&format!("SELECT last_modified_by FROM sources WHERE id = '{S1}'")).await;
    assert_eq!(author, role);
    assert_eq!(cloud.one::<String>("SELECT author FROM rejoin.tombstones WHERE NOT left_scope LIMIT 1").await, role);
    for forbidden in [
        "SELECT * FROM rejoin.users",
        "UPDATE rejoin.scopes SET head = 0",
        "SELECT rejoin.mark_gone('global', 1, '{}', 1, false, NULL)",
        "SELECT rejoin.mark_there('global', 1, '{}')",
    ] {
        let error = admin.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}");
    }
    admin.batch_execute(&format!("RESET SESSION AUTHORIZATION; DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    cloud.check().await;
}

#[tokio::test]
async fn a_bulk_write_over_many_scopes_takes_each_head_once() {
    let cloud = Cloud::start().await;
    cloud.run("INSERT INTO productions (client, show_name) SELECT 'c', n::text FROM generate_series(1, 3000) n").await;
    cloud.run("UPDATE productions SET venue = 'v'").await;
    let heads: String = cloud.one("SELECT min(head) || ' ' || max(head) || ' ' || count(*) FROM rejoin.scopes").await;
    assert_eq!(heads, "2 2 3000");
    cloud.check().await;
}
