//! Pulls: whole states, nothing skipped, nothing brought back, bounded pages.

use serde_json::json;
use sync_core::id::TableNo;
use sync_core::limits::PAGE_ROWS_MAX;
use sync_core::value::Value;

use crate::cloud::{Cloud, connect};
use crate::site::{id, verdicts};

#[tokio::test]
async fn an_idle_pull_reads_heads_and_no_rows() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    assert_eq!(site.pull().await.rows.len(), 2);
    // Whoever touches a table of rows now waits for the end of this transaction, or fails.
    let other = connect(cloud.url()).await;
    other
        .batch_execute("BEGIN; LOCK productions, sources, outputs, marks, kinds, rejoin.tombstones, rejoin.users IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let pulled = tokio::time::timeout(std::time::Duration::from_secs(3), site.pull()).await.unwrap();
    assert_eq!((pulled.pages, pulled.rows.len()), (1, 0));
}

#[tokio::test]
async fn h13_deleted_and_inserted_again_in_one_transaction_a_row_lives() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud
        .run(&format!(
            "BEGIN; DELETE FROM sources; INSERT INTO sources (id, production_id, name, slot) VALUES ('{s}', '{p}', 'again', 1); COMMIT"
        ))
        .await;
    let pulled = site.pull().await;
    assert_eq!((pulled.gone.len(), pulled.rows.len()), (0, 1));
    assert_eq!(site.value("sources", &s, "name"), json!("again"));
}

#[tokio::test]
async fn h13_a_row_that_moved_between_two_scopes_of_a_site_and_back_is_there() {
    let cloud = Cloud::start().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[&s]).await;
    cloud.production(&p2, &[]).await;
    let mut site = cloud.site("a", &[&p1, &p2]).await;
    site.pull().await;
    cloud.run(&format!("UPDATE sources SET production_id = '{p2}'")).await;
    let pulled = site.pull().await;
    assert!(pulled.gone.len() == 1 && pulled.gone[0].left, "{pulled:?}");
    site.assert_same_as_cloud().await;
    cloud.run(&format!("UPDATE sources SET production_id = '{p1}'")).await;
    cloud.run(&format!("UPDATE sources SET production_id = '{p2}'")).await;
    cloud.run(&format!("UPDATE sources SET production_id = '{p1}'")).await;
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h14_a_pull_ends_at_the_heads_of_its_own_last_page() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let rows = PAGE_ROWS_MAX + 1500;
    let fill = format!(
        "INSERT INTO sources (id, production_id, name, slot)
         SELECT ('0198c0de-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{p}', 'n', n FROM generate_series(1, {rows}) n"
    );
    cloud.run(&fill).await;
    let mut site = cloud.site("a", &[&p]).await;
    let mut message = site.pull_message();
    let first = site.page(&message).await.unwrap();
    message.next.clone_from(&first.next);
    assert!(first.next.is_some());
    // Rows of the first page and of the second change together; one that was delivered goes; one comes.
    cloud
        .run(&format!(
            "BEGIN; UPDATE sources SET name = 'together' WHERE slot IN (1, {rows});
             DELETE FROM sources WHERE slot = 2;
             INSERT INTO sources (id, production_id, name, slot) VALUES ('{}', '{p}', 'new', 100000); COMMIT",
            id('z', 1)
        ))
        .await;
    let second = site.page(&message).await.unwrap();
    assert_eq!(second.next, None, "the second page reaches the heads of its own snapshot");
    assert_eq!(second.gone.len(), 1, "what is gone since the first page is told");
    site.apply(vec![first, second]);
    assert_eq!(cloud.one::<i64>("SELECT count(*) FROM sources WHERE name = 'together'").await, 2);
    let table = cloud.table("sources");
    let name = table.position(table.column_named("name").unwrap().no).unwrap();
    let together = site.rows.values().filter(|(row, _)| row.get(name) == Some(&Value::Text("together".into()))).count();
    assert_eq!(together, 2);
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_broken_pull_goes_on_where_it_broke_through_gone_rows_too() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let rows = 2 * PAGE_ROWS_MAX + 10;
    let fill = format!(
        "INSERT INTO sources (id, production_id, name, slot)
         SELECT ('0198c0de-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{p}', 'n', n FROM generate_series(1, {rows}) n"
    );
    cloud.run(&fill).await;
    let mut site = cloud.site("a", &[&p]).await;
    assert_eq!(site.pull().await.pages, 3);
    cloud.run("DELETE FROM sources WHERE slot > 100").await;
    cloud.run("UPDATE sources SET name = 'kept'").await;
    let pulled = site.pull().await;
    assert_eq!((pulled.pages, pulled.gone.len(), pulled.rows.len()), (3, rows - 100, 100));
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_first_sync_carries_no_tombstones_of_before_and_those_of_meanwhile() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s, &id('s', 2)]).await;
    cloud.run(&format!("DELETE FROM sources WHERE id = '{s}'")).await;
    let mut site = cloud.site("a", &[&p]).await;
    let pulled = site.pull().await;
    assert_eq!((pulled.gone.len(), pulled.rows.len()), (0, 2));
    cloud.run("DELETE FROM sources").await;
    assert_eq!(site.pull().await.gone.len(), 1);
}

#[tokio::test]
async fn scopes_come_and_go_with_the_subscriptions() {
    let cloud = Cloud::start().await;
    let (p1, p2) = (id('p', 1), id('p', 2));
    cloud.production(&p1, &[&id('s', 1)]).await;
    cloud.production(&p2, &[&id('s', 2)]).await;
    let mut site = cloud.site("a", &[&p1]).await;
    site.pull().await;
    assert!(site.has("sources", &id('s', 1)) && !site.has("sources", &id('s', 2)));
    cloud.run(&format!("INSERT INTO rejoin.subscriptions (site_id, scope) SELECT id, 'productions/{p2}' FROM rejoin.sites")).await;
    assert_eq!(site.pull().await.rows.len(), 2);
    assert!(site.cursors.iter().any(|cursor| cursor.scope.0.ends_with(&p2)));

    // Taken away: no page names it any more, and edits made before are still taken.
    cloud.run(&format!("UPDATE rejoin.subscriptions SET dropped_at = now() WHERE scope = 'productions/{p2}'")).await;
    let heads = site.page(&site.pull_message()).await.unwrap().heads;
    assert!(heads.iter().all(|cursor| !cursor.scope.0.ends_with(&p2)));
    let answers = site.push(vec![site.update("sources", &id('s', 2), &json!({"name": "late"}))]).await;
    assert_eq!(verdicts(&answers), ["exact"], "{:?}", site.reasons().await);
}

#[tokio::test]
async fn all_scopes_means_those_to_come_too_and_never_another_sites_own() {
    let cloud = Cloud::start().await;
    let mut all = cloud.site("all", &["*"]).await;
    let mut other = cloud.site("other", &[]).await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    other.push(vec![other.insert("sources", &json!({"id": id('s', 1), "production_id": p, "name": "x", "slot": 9}))]).await;
    assert_eq!(cloud.count("rejoin.sync_conflicts").await, 1);
    let pulled = all.pull().await;
    assert_eq!(pulled.rows.len(), 2, "{pulled:?}");
    let own = other.pull().await;
    assert_eq!(own.rows.iter().map(|(table, _)| table.as_str()).collect::<Vec<_>>(), ["sync_conflicts"]);
}

#[tokio::test]
async fn users_reach_every_site() {
    let cloud = Cloud::start().await;
    cloud.run("INSERT INTO rejoin.users (name, role) VALUES ('ann', 'admin')").await;
    let mut site = cloud.site("a", &[]).await;
    assert_eq!(site.pull().await.rows, [("users".to_owned(), "ann".to_owned())]);
}

#[tokio::test]
async fn another_catalog_brings_no_rows_but_says_which_to_fetch() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let site = cloud.site("a", &[&p]).await;
    let mut message = site.pull_message();
    message.speaker.catalog = sync_core::id::CatalogVersion(0);
    let page = site.page(&message).await.unwrap();
    assert_eq!((page.catalog, page.heads.len(), page.tables.len()), (cloud.catalog.version, 0, 0));
}

#[tokio::test]
async fn every_type_survives_the_way_down_and_up() {
    let cloud = Cloud::start().await;
    cloud
        .run(
            "CREATE TYPE mood AS ENUM ('good', 'so so');
             CREATE TABLE zoo (id bigint PRIMARY KEY, b boolean, i2 smallint, f4 real, f8 double precision, n numeric, c char(5), t text, u uuid,
                 tz timestamptz, ts timestamp, d date, h time, y bytea, j json, jb jsonb, m mood, a int[], ta text[], ma mood[], ja jsonb[], ya bytea[],
                 iv interval, ip inet, r int4range, x money, ch \"char\", v bit varying(6));",
        )
        .await;
    let cloud = cloud.prepared_with("root = \"productions\"\nglobal = [\"kinds\", \"zoo\"]\n").await;
    cloud
        .run(
            r#"INSERT INTO zoo VALUES (9007199254740993, true, -5, 0.1, 1e300, 12345678901234567890.5, 'ab', 'a''b"\ ä', gen_random_uuid(),
                 '2026-01-31 12:00:00.123456+05:30', '2026-01-31 12:00:00', '2026-02-28', '23:59:59.5', '\x00ff', '{"b": 1.5, "a": [1]}',
                 '{"z": null}', 'so so', '{1,NULL,3}', '{"a,b","NULL",NULL,"q\"b\\c"}', '{good}', ARRAY['{"k": [1]}', '"x"']::jsonb[],
                 ARRAY['\x01', NULL]::bytea[], '1 day 02:03:04', '10.0.0.1/8', '[1,5)', 12.5, 'c', B'101');
               INSERT INTO zoo (id) VALUES (2)"#,
        )
        .await;
    let mut site = cloud.site("a", &[]).await;
    site.pull().await;
    // Deleted and inserted again by the site, the row is byte for byte what it was.
    let before: Vec<String> = cloud.one("SELECT array_agg((to_jsonb(z) - 'rejoin_tick' - 'rejoin_version' - 'rejoin_updated_at' - 'rejoin_modified_by' - 'rejoin_synced_at')::text ORDER BY id) FROM zoo z").await;
    let zoo = cloud.table("zoo");
    let rows: Vec<_> =
        site.rows.iter().filter(|((no, _), _)| *no == zoo.no).map(|((_, key), (row, _))| (key.to_string(), row.clone())).collect();
    let deletes = rows.iter().map(|(key, _)| site.delete("zoo", key)).collect();
    assert_eq!(verdicts(&site.push(deletes).await), ["exact", "exact"]);
    let inserts = rows
        .iter()
        .map(|(key, row)| sync_core::change::RowChange {
            table: zoo.no,
            key: site.key("zoo", key),
            stamp: crate::site::stamp(1),
            base: None,
            op: sync_core::change::Op::Insert(zoo.columns.iter().map(|column| column.no).zip(row.iter().cloned()).collect()),
            additions: Vec::new(),
            times: Vec::new(),
        })
        .collect();
    assert_eq!(verdicts(&site.push(inserts).await), ["exact", "exact"], "{:?}", site.reasons().await);
    let after: Vec<String> = cloud.one("SELECT array_agg((to_jsonb(z) - 'rejoin_tick' - 'rejoin_version' - 'rejoin_updated_at' - 'rejoin_modified_by' - 'rejoin_synced_at')::text ORDER BY id) FROM zoo z").await;
    assert_eq!(after, before);
    assert_ne!(zoo.no, TableNo(0));
}

#[tokio::test]
async fn a_first_sync_tells_what_is_gone_of_the_rows_that_the_site_pushed_before_it() {
    let cloud = Cloud::start().await;
    let mut site = cloud.site("a", &[]).await;
    let (p, s1, s2) = (id('p', 1), id('s', 1), id('s', 2));
    let source =
        |id: &str, slot: i32| site.insert("sources", &json!({"id": id, "production_id": p, "name": "x", "slot": slot, "number": slot}));
    let rows = vec![site.insert("productions", &json!({"id": p, "name": "made here"})), source(&s1, 1), source(&s2, 2)];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "exact"]);
    // Before the site pulls the scope that it made, somebody deletes a row of it.
    cloud.run(&format!("DELETE FROM sources WHERE id = '{s1}'")).await;
    assert_eq!(site.pull().await.gone.len(), 1);
    site.assert_same_as_cloud().await;
}
