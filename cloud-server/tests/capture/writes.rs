//! Inserts and updates, and who may write.

use futures_util::SinkExt;
use tokio_postgres::error::SqlState;

use super::cloud::{Cloud, P1, P2, S1, S2, connect};
use super::shop::Shop;
use super::{at, scope};

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
        "SELECT rejoin.tick_of('global')",
        "DELETE FROM rejoin.tombstones",
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

/// A plan that a session made for a statement of one row, and kept, would join the rows of the next before and after it in a nested loop: minutes for
/// these, where they take a second or two.
#[tokio::test]
async fn a_session_that_wrote_one_row_writes_thousands_as_fast_as_any() {
    const DECLARED: &str = "root = 'shop'
global = ['remark']
[tables.item.policies]
price = 'newest'
[tables.remark]
references = [{ columns = ['about'], table = 'item' }]
[tables.note]
scope_through = ['about']
references = [{ columns = ['about'], table = 'item' }]
";
    let shop = Shop::of(
        "CREATE TABLE shop (id integer PRIMARY KEY); CREATE TABLE item (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop, price integer);
         CREATE TABLE remark (id integer PRIMARY KEY, about integer); CREATE TABLE note (id integer PRIMARY KEY, about integer);
         CREATE INDEX ON note (about);
         INSERT INTO shop VALUES (1), (2); INSERT INTO item SELECT n, 1, 1 FROM generate_series(1, 30000) n",
        DECLARED,
    )
    .await;
    shop.run("SET statement_timeout = '100s'").await;
    for (one, all) in [
        ("UPDATE item SET price = 2 WHERE id = 1", "UPDATE item SET price = 2"),
        ("UPDATE item SET shop_id = 2 WHERE id = 1", "UPDATE item SET shop_id = 2"),
        ("UPDATE item SET id = -1 WHERE id = 1", "UPDATE item SET id = -abs(id)"),
    ] {
        shop.run(one).await;
        shop.run(all).await;
    }
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones g WHERE NOT left_scope AND key[1]::integer > 0").await, "30000");
    // Keys that have tombstones and times, and rows that wait for them.
    for (one, all) in [
        ("DELETE FROM item WHERE id = -1", "DELETE FROM item"),
        ("INSERT INTO note VALUES (1, -1)", "INSERT INTO note SELECT n, -n FROM generate_series(2, 30000) n"),
        ("INSERT INTO item VALUES (-1, 2, 1)", "INSERT INTO item SELECT -n, 2, 1 FROM generate_series(2, 30000) n"),
    ] {
        shop.run(one).await;
        shop.run(all).await;
    }
    let left = "SELECT (SELECT count(*) FROM rejoin.edit_times) || ' ' || (SELECT count(*) FROM rejoin.tombstones WHERE key[1]::integer < 0 AND scope = 'shop/2')
                    || ' ' || (SELECT count(*) FROM note WHERE rejoin_scope = 'shop/2')";
    assert_eq!(shop.one(left).await, "0 0 30000");
}
