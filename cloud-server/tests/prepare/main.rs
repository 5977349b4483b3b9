//! One database made ready: its own schema or a built-in one, from the first start to renames, new tables and changed settings.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "the tests' own module")]

#[path = "../cloud/mod.rs"]
mod cloud;
mod guards;
mod looks;
mod many;
mod names;
mod shapes;
mod systems;
mod ways;

use std::sync::Arc;

use cloud::{Cloud, P1, connect, prepared};
use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::store::prepare::{plan, published};
use cloud_server::test_support;
use sync_core::catalog::{Catalog, DefaultValue, OnDelete, ScopeRule, Table};
use sync_core::value::{ColumnType, Value};
use tokio_postgres::Client;

/// A user's own schema, with rows in it before Rejoin comes.
const SHOP: &str = "
    CREATE TYPE size AS ENUM ('S', 'M');
    CREATE TABLE countries (code char(2) PRIMARY KEY, name varchar(40) NOT NULL);
    CREATE TABLE shops (name text PRIMARY KEY, country char(2) REFERENCES countries, opened date, version text);
    CREATE TABLE items (shop text NOT NULL REFERENCES shops ON UPDATE CASCADE, no integer, size size NOT NULL DEFAULT 'M',
        price numeric(10,2) NOT NULL DEFAULT 1.50, tags text[] NOT NULL DEFAULT '{}', data jsonb DEFAULT '{\"a\": 1}',
        made timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, version bigint NOT NULL DEFAULT 1, updated_at timestamp(3),
        owner uuid DEFAULT '0198C0DE-0000-7000-8000-000000000001', raw bytea DEFAULT '\\x00ff',
        twice numeric GENERATED ALWAYS AS (price * 2) STORED, words tsvector, serial bigserial,
        PRIMARY KEY (shop, no), UNIQUE (shop, serial));
    CREATE INDEX items_price ON items (price);
    CREATE UNIQUE INDEX items_part ON items (no) WHERE price > 100;
    CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
    CREATE TABLE loose (a integer);
    INSERT INTO countries VALUES ('DE', 'Germany');
    INSERT INTO shops VALUES ('A/1', 'DE', '2020-01-01', 'v1'), ('B', NULL, NULL, NULL);
    INSERT INTO items (shop, no, version, updated_at) SELECT 'A/1', n, 7, '2020-01-01 12:00' FROM generate_series(1, 1500) n;
    INSERT INTO items (shop, no) VALUES ('B', 1);";

const SETTINGS: &str = "root = 'shops'\n[stamps]\nversion = 'version'\nupdated_at = 'updated_at'\n";

struct Shop {
    database: test_support::Database,
    db: Database,
    sql: Client,
}

impl Shop {
    async fn open() -> Self {
        Self::with(SHOP).await
    }

    /// A database made by these statements.
    async fn with(schema: &str) -> Self {
        let database = test_support::database().await;
        let sql = connect(database.url()).await;
        sql.batch_execute(schema).await.unwrap();
        let db = Database::open(database.url(), 4).unwrap();
        Self { database, db, sql }
    }

    async fn prepare(&self, settings: &str) -> Arc<Catalog> {
        prepare(&self.db, &Settings::parse(settings).unwrap(), None).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    async fn one(&self, sql: &str) -> String {
        self.sql.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    }

    async fn head(&self, scope: &str) -> i64 {
        self.sql.query_one("SELECT head FROM rejoin.scopes WHERE scope = $1", &[&scope]).await.unwrap().get(0)
    }
}

fn table<'a>(catalog: &'a Catalog, name: &str) -> &'a Table {
    catalog.tables.iter().find(|table| table.name == name).unwrap()
}

/// `name type [!] [= default]` for every column.
fn shape(table: &Table) -> Vec<String> {
    let column = |column: &sync_core::catalog::Column| {
        let default = match &column.default {
            None => String::new(),
            Some(DefaultValue::Constant(value)) => format!(" = {}", value.to_text()),
            Some(other) => format!(" = {other:?}"),
        };
        format!("{} {}{}{default}", column.name, column.sql_type, if column.not_null { "!" } else { "" })
    };
    table.columns.iter().map(column).collect()
}

#[tokio::test]
async fn a_second_start_changes_nothing() {
    let cloud = Cloud::start().await;
    let triggers = "SELECT string_agg(oid::text, ' ' ORDER BY oid) FROM pg_trigger WHERE tgname LIKE '~rejoin%'";
    let before: String = cloud.one(triggers).await;
    let catalog = prepared(cloud.database.url()).await;
    assert_eq!(catalog.version.0, 1);
    assert_eq!(cloud.one::<String>(triggers).await, before);
    // What is published is what was returned.
    let stored = published(&cloud.sql).await.unwrap().unwrap();
    assert_eq!(stored, *catalog);
    // A trigger that somebody dropped or switched off comes back.
    cloud.run("DROP TRIGGER \"~rejoin_v2_gone\" ON sends; ALTER TABLE sources DISABLE TRIGGER \"~rejoin_v2_update\"").await;
    prepared(cloud.database.url()).await;
    let off: i64 = cloud.one("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~rejoin%' AND tgenabled <> 'O'").await;
    let gone: i64 = cloud.one("SELECT count(*) FROM pg_trigger WHERE tgname = '~rejoin_v2_gone'").await;
    assert_eq!((off, gone), (0, 12));
}

#[tokio::test]
async fn two_servers_that_start_at_once_do_not_meet() {
    let database = test_support::database().await;
    let starts = (0..4).map(|_| {
        let url = database.url().to_owned();
        tokio::spawn(async move { prepared(&url).await.version.0 })
    });
    for start in starts.collect::<Vec<_>>() {
        assert_eq!(start.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn h02_a_database_that_was_there_before_is_stamped_whole_and_keeps_its_values() {
    let shop = Shop::open().await;
    let catalog = shop.prepare(SETTINGS).await;
    assert_eq!(published(&shop.sql).await.unwrap().as_ref(), Some(&*catalog));
    let items = table(&catalog, "items");
    assert_eq!(
        shape(items),
        [
            "shop text!",
            "no integer!",
            "size public.size! = M",
            "price numeric(10,2)! = 1.5",
            "tags text[]! = []",
            "data jsonb = {\"a\":1}",
            "made timestamp(3) without time zone! = Now",
            "owner uuid = 0198c0de-0000-7000-8000-000000000001",
            "raw bytea = \\x00ff",
            "serial bigint! = Cloud"
        ]
    );
    assert_eq!((items.stamps.version.as_str(), items.stamps.updated_at.as_str()), ("version", "updated_at"));
    assert_eq!((items.uniques.len(), items.indexes.len(), items.key.len()), (1, 1, 2));
    assert_eq!(items.columns[3].ty, ColumnType::Numeric);
    let shops = table(&catalog, "shops");
    assert_eq!(shops.stamps.version, "rejoin_version", "text is no version of ours");
    let scopes = [shops, items, table(&catalog, "countries")].map(|table| table.scope.clone());
    assert_eq!(scopes, [ScopeRule::Root, ScopeRule::Through(vec![0]), ScopeRule::Global]);
    assert_eq!(items.references[0].on_delete, OnDelete::Restrict);
    assert_eq!(table(&catalog, "countries").columns[1].max_length, Some(40));
    let left_out: Vec<_> = catalog.tables.iter().filter(|table| ["audit", "loose"].contains(&table.name.as_str())).collect();
    assert!(left_out.is_empty());

    let kept = "SELECT string_agg(DISTINCT concat_ws(' ', rejoin_scope, version, updated_at), ', ') FROM items WHERE shop = 'A/1'";
    assert_eq!(shop.one(kept).await, "shops/A%2F1 7 2020-01-01 12:00:00");
    assert_eq!(
        shop.one("SELECT concat_ws(' ', rejoin_scope, version, updated_at IS NULL) FROM items WHERE shop = 'B'").await,
        "shops/B 1 f"
    );
    assert_eq!(
        shop.one("SELECT string_agg(concat_ws(' ', rejoin_scope, rejoin_version), ', ' ORDER BY name) FROM shops").await,
        "shops/A%2F1 1, shops/B 1"
    );
    let astray = "SELECT count(*)::text FROM items i LEFT JOIN rejoin.ticks k ON k.scope = i.rejoin_scope AND k.tick = i.rejoin_tick WHERE k.tick IS NULL";
    assert_eq!(shop.one(astray).await, "0");
    // And from now on what anybody writes; times without zone are UTC whatever the session says.
    shop.run("SET timezone = 'Asia/Tokyo'; UPDATE items SET no = -1 WHERE shop = 'B'").await;
    assert_eq!(
        shop.one("SELECT (abs(extract(epoch FROM updated_at - (now() AT TIME ZONE 'UTC'))) < 60)::text FROM items WHERE no = -1").await,
        "true"
    );
    assert_eq!(shop.one("SELECT key::text FROM rejoin.tombstones").await, "{B,1}");
    assert_eq!(shop.one("SELECT image ->> 'price' FROM rejoin.tombstones").await, "1.50");
}

#[tokio::test]
async fn rows_without_a_parent_are_told_and_keep_the_table_out() {
    let shop = Shop::open().await;
    shop.run(
        "ALTER TABLE items DROP CONSTRAINT items_shop_fkey; INSERT INTO items (shop, no) VALUES ('nobody', 1);
              ALTER TABLE items ADD FOREIGN KEY (shop) REFERENCES shops NOT VALID",
    )
    .await;
    let error = prepare(&shop.db, &Settings::parse(SETTINGS).unwrap(), None).await.unwrap_err();
    // What is not stamped yet can be written and goes without a tombstone.
    shop.run("UPDATE items SET no = 2 WHERE no = 1 AND shop = 'B'; TRUNCATE audit").await;
    assert!(error.to_string().starts_with("items holds rows whose shop is not there"), "{error}");
    shop.run("DELETE FROM items WHERE shop = 'nobody'").await;
    assert_eq!(shop.prepare(SETTINGS).await.version.0, 1);
}

#[tokio::test]
async fn h08_numbers_survive_renames_and_tables_made_anew() {
    let shop = Shop::open().await;
    let before = shop.prepare(SETTINGS).await;
    let items = table(&before, "items");
    let no = |catalog: &Catalog, name: &str, column: &str| {
        let table = table(catalog, name);
        (table.no, table.column_named(column).unwrap().no)
    };
    shop.run("ALTER TABLE items RENAME TO goods; ALTER TABLE goods RENAME price TO cost; ALTER TABLE goods RENAME shop TO store").await;
    let renamed = shop.prepare(SETTINGS).await;
    assert_eq!(renamed.version.0, 2);
    assert_eq!(no(&renamed, "goods", "cost"), no(&before, "items", "price"));
    assert_eq!(no(&renamed, "goods", "store"), (items.no, items.key[0]));
    let head = shop.head("shops/B").await;
    shop.run("UPDATE goods SET cost = 3 WHERE store = 'B'").await;
    assert_eq!(shop.one("SELECT rejoin_tick::text FROM goods WHERE store = 'B'").await, (head + 1).to_string());

    // An ORM makes the table anew under its name, with the rows copied.
    shop.run("CREATE TABLE anew (LIKE goods INCLUDING ALL); ALTER TABLE anew DROP twice, ADD FOREIGN KEY (store) REFERENCES shops;
              ALTER SEQUENCE items_serial_seq OWNED BY NONE; ALTER TABLE goods DROP twice; INSERT INTO anew SELECT * FROM goods; DROP TABLE goods; ALTER TABLE anew RENAME TO goods")
        .await;
    let anew = shop.prepare(SETTINGS).await;
    assert_eq!(no(&anew, "goods", "cost"), no(&before, "items", "price"));
    assert_eq!(shop.one("SELECT rejoin_tick::text FROM goods WHERE store = 'B'").await, (head + 2).to_string(), "its rows are fed again");

    // A dropped column and one of the same name added later are two, if somebody looked in between.
    shop.run("ALTER TABLE goods DROP data").await;
    let dropped = shop.prepare(SETTINGS).await;
    shop.run("ALTER TABLE goods ADD data jsonb").await;
    let added = shop.prepare(SETTINGS).await;
    assert!(table(&dropped, "goods").column_named("data").is_none());
    assert!(no(&added, "goods", "data").1 > no(&before, "items", "data").1);
}

#[tokio::test]
async fn h08_in_another_database_oids_mean_nothing() {
    let shop = Shop::open().await;
    let before = shop.prepare(SETTINGS).await;
    // As after a dump and restore into another cluster: each oid names another table.
    shop.run(
        "UPDATE rejoin.state SET value = 'elsewhere/1' WHERE key = 'database';
              UPDATE rejoin.tables a SET oid = b.oid FROM rejoin.tables b
                  WHERE (a.table_name, b.table_name) IN (('items', 'shops'), ('shops', 'items'))",
    )
    .await;
    let after = shop.prepare(SETTINGS).await;
    assert_eq!(after.tables, before.tables);
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.ticks WHERE xid IS NOT NULL").await, "0", "nor do transaction numbers");
}

#[tokio::test]
async fn h11_rows_are_fed_again_where_a_site_cannot_know_the_new_values() {
    let shop = Shop::open().await;
    shop.prepare(SETTINGS).await;
    let head = shop.head("shops/B").await;
    let tick = || async { shop.one("SELECT rejoin_tick::text FROM items WHERE shop = 'B'").await.parse::<i64>().unwrap() };
    let before = tick().await;
    shop.run("ALTER TABLE items ADD a text, ADD b integer NOT NULL DEFAULT 5").await;
    let catalog = shop.prepare(SETTINGS).await;
    let b = table(&catalog, "items").column_named("b").unwrap().default.clone();
    assert_eq!((tick().await, b), (before, Some(DefaultValue::Constant(Value::Int(5)))), "a constant is in the catalog");
    shop.run("ALTER TABLE items ADD c uuid NOT NULL DEFAULT gen_random_uuid()").await;
    shop.prepare(SETTINGS).await;
    assert_eq!((tick().await, shop.head("shops/B").await), (head + 1, head + 1));
    shop.run("ALTER TABLE items ALTER b TYPE bigint USING b * 10").await;
    shop.prepare(SETTINGS).await;
    assert_eq!(tick().await, head + 2);
    // A table that comes later: sites may have passed the ticks that its rows were stamped with.
    shop.run("CREATE TABLE notes (id integer PRIMARY KEY, shop text NOT NULL REFERENCES shops); INSERT INTO notes VALUES (1, 'B')").await;
    shop.prepare(SETTINGS).await;
    let last = shop.head("shops/B").await;
    assert_eq!(shop.one("SELECT rejoin_tick::text FROM notes").await, last.to_string());
    assert_eq!(last, head + 3, "stamped under the head as it was, then fed once");
}

#[tokio::test]
async fn a_table_left_out_later_is_let_go_and_can_come_back() {
    let shop = Shop::open().await;
    let before = shop.prepare(SETTINGS).await;
    shop.prepare(&format!("left_out = ['items']\n{SETTINGS}")).await;
    shop.run("INSERT INTO items (shop, no) VALUES ('B', 2); DELETE FROM items WHERE shop = 'B' AND no = 1; UPDATE items SET price = 9 WHERE no = 5").await;
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones").await, "0");
    let back = shop.prepare(SETTINGS).await;
    // A site that slept through both catalogs cannot know what was deleted in between: the generation says so.
    let expected = Table { generation: 1, ..table(&before, "items").clone() };
    assert_eq!((table(&back, "items"), back.version.0), (&expected, 3));
    assert_eq!(shop.one("SELECT count(*)::text FROM items WHERE rejoin_tick IS NULL").await, "0");
}

#[tokio::test]
async fn rows_follow_when_the_settings_give_them_another_scope() {
    let shop = Shop::open().await;
    shop.prepare(&format!("global = ['items', 'shops', 'countries']\n{}", SETTINGS.replace("root = 'shops'", ""))).await;
    assert_eq!(shop.one("SELECT DISTINCT rejoin_scope FROM items").await, "global");
    shop.prepare(SETTINGS).await;
    assert_eq!(shop.one("SELECT string_agg(DISTINCT rejoin_scope, ' ') FROM items").await, "shops/A%2F1 shops/B");
    assert_eq!(shop.one("SELECT count(*)::text FROM rejoin.tombstones WHERE left_scope AND scope = 'global'").await, "1503");
    // Its scopes keep the name under which a table first was the root: no row moves, no site loses one.
    shop.run(
        "INSERT INTO rejoin.sites (id, name) VALUES ('0198c0de-0000-7000-8000-000000000001', 'a');
              INSERT INTO rejoin.subscriptions VALUES ('0198c0de-0000-7000-8000-000000000001', 'shops/B');
              ALTER TABLE shops RENAME TO stores",
    )
    .await;
    shop.prepare(&SETTINGS.replace("shops", "stores")).await;
    assert_eq!(shop.one("SELECT string_agg(DISTINCT rejoin_scope, ' ') FROM items").await, "shops/A%2F1 shops/B");
    assert_eq!(shop.one("SELECT scope FROM rejoin.subscriptions").await, "shops/B");
    shop.run("INSERT INTO stores (name) VALUES ('C')").await;
    assert_eq!(shop.one("SELECT rejoin_scope FROM stores WHERE name = 'C'").await, "shops/C");
}

#[tokio::test]
async fn the_plan_says_why_and_changes_nothing() {
    let shop = Shop::open().await;
    let plan = plan(&shop.db, &Settings::parse(SETTINGS).unwrap()).await.unwrap();
    let lines: Vec<String> = plan
        .tables
        .iter()
        .map(|entry| format!("{} {} {}; {}", entry.table, if entry.synced { "+" } else { "-" }, entry.reason, entry.notes.join("; ")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(shop.one("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'rejoin'").await, "0");
    let error = prepare(&shop.db, &Settings::parse("root = 'shop'").unwrap(), None).await.unwrap_err();
    assert_eq!(error.to_string(), "rejoin.toml, line 1: root: there is no table shop; did you mean shops?");
}

#[tokio::test]
async fn the_engines_own_tables_are_stamped_by_the_same_triggers() {
    let cloud = Cloud::start().await;
    cloud
        .run(&format!(
            "INSERT INTO rejoin.users (name, role) VALUES ('ann', 'admin');
             INSERT INTO rejoin.sites (id, name) VALUES ('{P1}', 'a');
             INSERT INTO rejoin.sync_conflicts (table_name, record_id, kind, reason, table_no, site_id, site_name, replica, push_no)
                 VALUES ('sends', 'x', 'update_update', 'r', 1, '{P1}', 'a', '{P1}', 1)"
        ))
        .await;
    let scopes: String = cloud.one("SELECT string_agg(scope || '=' || head, ' ' ORDER BY scope) FROM rejoin.scopes").await;
    assert_eq!(scopes, format!("global=1 site/{P1}=1"));
    let versions: String =
        cloud.one("SELECT concat_ws(' ', u.rejoin_version, c.rejoin_version) FROM rejoin.users u, rejoin.sync_conflicts c").await;
    assert_eq!(versions, "1 1", "a version that nobody gave starts at 1");
    cloud.run("DELETE FROM rejoin.users").await;
    let image: Option<String> = cloud.one("SELECT image::text FROM rejoin.tombstones").await;
    assert_eq!(image, None, "no password hash stays behind");
}
