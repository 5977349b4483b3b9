//! A running cloud notices what others do to the schema, by itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::{Duration, Instant};

use cloud_server::{Cloud, CloudConfig, test_support};
use reqwest::StatusCode;
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn one(sql: &Client, query: &str) -> String {
    sql.query_one(query, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// Waits until a query says `true`.
async fn until(sql: &Client, query: &str) {
    let start = Instant::now();
    while one(sql, query).await != "true" {
        assert!(start.elapsed() < Duration::from_secs(60), "{query}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Running {
    cloud: Cloud,
    sql: Client,
    _database: test_support::Database,
    _data: tempfile::TempDir,
}

async fn start(superuser: bool) -> Running {
    let database = test_support::database().await;
    let url = if superuser { database.superuser_url() } else { database.url() };
    let sql = connect(url).await;
    sql.batch_execute("CREATE TABLE shop (id integer PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'a')").await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("rejoin.toml");
    std::fs::write(&settings, "root = 'shop'\n").unwrap();
    let mut config = CloudConfig::new(data.path());
    config.database_url = Some(url.to_owned());
    config.settings = Some(settings);
    config.system = None;
    config.pool_size = 4;
    let cloud = Cloud::start(config).await.unwrap();
    Running { cloud, sql, _database: database, _data: data }
}

const VERSION: &str = "SELECT max(version)::text FROM rejoin.catalogs";

#[tokio::test]
async fn a_migration_is_published_within_a_poll_and_a_broken_one_stops_nothing() {
    for superuser in [false, true] {
        let Running { cloud, sql, _database, _data } = start(superuser).await;
        let events = "SELECT count(*)::text FROM pg_event_trigger WHERE evtname = 'rejoin_schema'";
        if superuser {
            until(&sql, "SELECT (count(*) = 1)::text FROM pg_event_trigger WHERE evtname = 'rejoin_schema'").await;
        } else {
            assert_eq!(one(&sql, events).await, "0");
        }
        sql.batch_execute(
            "CREATE TABLE item (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop); INSERT INTO item VALUES (1, 1)",
        )
        .await
        .unwrap();
        until(
            &sql,
            "SELECT (count(*) = 1)::text FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'rejoin_tick' AND attnotnull",
        )
        .await;
        until(&sql, "SELECT (max(version) = 2)::text FROM rejoin.catalogs").await;
        // What somebody dropped of ours comes back.
        sql.batch_execute("ALTER TABLE item DROP rejoin_tick CASCADE").await.unwrap();
        until(
            &sql,
            "SELECT (count(*) = 1)::text FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'rejoin_tick' AND attnotnull",
        )
        .await;
        // Published: with shop, with item, and with all of item fed again.
        until(&sql, "SELECT (max(version) = 3)::text FROM rejoin.catalogs").await;
        // The settings name a table that is called otherwise now: they are followed.
        sql.batch_execute("ALTER TABLE shop RENAME TO store").await.unwrap();
        until(&sql, "SELECT (max(version) = 4)::text FROM rejoin.catalogs").await;
        // No item would reach the root: the cloud goes on, and goes on by itself once that is so again.
        let before = one(&sql, VERSION).await;
        sql.batch_execute("ALTER TABLE item DROP CONSTRAINT item_shop_id_fkey; ALTER TABLE store ADD city text").await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(one(&sql, VERSION).await, before);
        sql.batch_execute("ALTER TABLE item ADD FOREIGN KEY (shop_id) REFERENCES store").await.unwrap();
        until(&sql, &format!("SELECT (max(version) > {before})::text FROM rejoin.catalogs")).await;
        cloud.stop().await;
    }
}

#[tokio::test]
async fn types_and_indexes_that_are_called_otherwise_are_noticed() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    let looks = "SELECT body::text LIKE '%s' FROM rejoin.catalogs ORDER BY version DESC LIMIT 1";
    for (change, name) in [
        (
            "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN code AS text; ALTER TABLE shop ADD mood mood, ADD code code, ADD CONSTRAINT one UNIQUE (name)",
            "mood",
        ),
        ("ALTER TYPE mood RENAME TO temper", "public.temper"),
        ("CREATE SCHEMA kinds; ALTER TYPE temper SET SCHEMA kinds", "kinds.temper"),
        ("ALTER INDEX one RENAME TO other", "other"),
    ] {
        sql.batch_execute(change).await.unwrap();
        until(&sql, &looks.replace("%s", &format!("%{name}%")).replacen("SELECT ", "SELECT (", 1).replacen(" FROM", ")::text FROM", 1))
            .await;
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_sequence_is_set_behind_what_sites_were_leased() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    sql.batch_execute("CREATE TABLE item (id serial PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop)").await.unwrap();
    until(&sql, "SELECT (body::text LIKE '%item%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1").await;
    sql.batch_execute(
        "INSERT INTO rejoin.leases (table_no, column_no, first, last, step, replica, answer)
         SELECT t.no, c.no, 1, 500, 1, gen_random_uuid(), 1 FROM rejoin.tables t JOIN rejoin.columns c ON c.table_no = t.no
         WHERE t.table_name = 'item' AND c.column_name = 'id'; TRUNCATE item RESTART IDENTITY",
    )
    .await
    .unwrap();
    until(&sql, "SELECT (pg_sequence_last_value('item_id_seq') = 500)::text").await;
    assert_eq!(one(&sql, "INSERT INTO item (shop_id) VALUES (1) RETURNING id::text").await, "501");
    cloud.stop().await;
}

#[tokio::test]
async fn a_mended_file_counts_at_the_next_look_and_a_broken_one_changes_nothing() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    sql.batch_execute("CREATE TABLE extra (id integer PRIMARY KEY)").await.unwrap();
    let has = |what: &str| format!("SELECT (body::text LIKE '%{what}%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1");
    let file = _data.path().join("rejoin.toml");
    let http = reqwest::Client::new();
    let ask = async |method: reqwest::Method, path: &str| {
        let request = http.request(method, format!("{}{path}", cloud.url())).bearer_auth(cloud.token());
        request.send().await.unwrap().text().await.unwrap()
    };
    std::fs::write(&file, "root = 'shop'\nglobl = ['extra']\n").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(one(&sql, &has("extra")).await, "false");
    let status = ask(reqwest::Method::GET, "/api/sync").await;
    assert!(status.contains("line 2: unknown field `globl`"), "{status}");
    let refused = ask(reqwest::Method::POST, "/api/rejoin/catalog/refresh").await;
    assert!(refused.contains("line 2: unknown field `globl`"), "{refused}");
    // What else moves is brought in under the settings that are in force.
    sql.batch_execute("ALTER TABLE shop ADD city text").await.unwrap();
    until(&sql, &has("city")).await;
    std::fs::write(&file, "root = 'shop'\nglobal = ['extra']\n").unwrap();
    until(&sql, &has("extra")).await;
    assert!(!ask(reqwest::Method::GET, "/api/sync").await.contains("globl"));
    // At once where it is asked for.
    std::fs::write(&file, "root = 'shop'\nglobal = ['extra']\n[tables.extra]\npath = 'more'\n").unwrap();
    ask(reqwest::Method::POST, "/api/rejoin/catalog/refresh").await;
    assert_eq!(one(&sql, &has("\"more\"")).await, "true");
    cloud.stop().await;
}

#[tokio::test]
async fn a_file_that_a_refresh_read_and_did_not_bring_in_is_brought_in_by_the_next_look() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    sql.batch_execute("CREATE TABLE extra (id integer PRIMARY KEY)").await.unwrap();
    until(&sql, "SELECT (count(*) = 1)::text FROM rejoin.catalogs").await;
    let busy = connect(_database.url()).await;
    busy.batch_execute("BEGIN; LOCK TABLE extra IN ACCESS EXCLUSIVE MODE").await.unwrap();
    std::fs::write(_data.path().join("rejoin.toml"), "root = 'shop'\nglobal = ['extra']\n").unwrap();
    let http = reqwest::Client::builder().timeout(Duration::from_millis(1200)).build().unwrap();
    let refresh = http.post(format!("{}/api/rejoin/catalog/refresh", cloud.url())).bearer_auth(cloud.token());
    assert!(refresh.send().await.unwrap_err().is_timeout(), "whoever asked has gone");
    busy.batch_execute("COMMIT").await.unwrap();
    until(&sql, "SELECT (body::text LIKE '%extra%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1").await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_schema_that_does_not_move_is_left_alone() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let written = "SELECT string_agg(xmin::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'shop'::regclass";
    let triggers = "SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_trigger WHERE tgrelid = 'shop'::regclass";
    let tables = "SELECT string_agg(xmin::text, ' ' ORDER BY no) FROM rejoin.tables";
    let before = (one(&sql, written).await, one(&sql, triggers).await, one(&sql, tables).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((one(&sql, written).await, one(&sql, triggers).await, one(&sql, tables).await), before);
    cloud.stop().await;
}

#[tokio::test]
async fn statements_prepared_before_a_column_changed_its_type_are_forgotten() {
    let Running { cloud, sql, _database, _data } = start(false).await;
    let row = async || {
        let url = format!("{}/api/tables/shop/1", cloud.url());
        reqwest::Client::new().get(url).bearer_auth(cloud.token()).send().await.unwrap().status()
    };
    // On each of the four connections.
    for _ in 0..8 {
        let all = tokio::join!(row(), row(), row(), row());
        assert_eq!(all, (StatusCode::OK, StatusCode::OK, StatusCode::OK, StatusCode::OK));
    }
    let before = one(&sql, VERSION).await;
    sql.batch_execute("ALTER TABLE shop ALTER id TYPE bigint").await.unwrap();
    until(&sql, &format!("SELECT (max(version) > {before})::text FROM rejoin.catalogs")).await;
    for _ in 0..8 {
        assert_eq!(row().await, StatusCode::OK);
    }
    cloud.stop().await;
}
