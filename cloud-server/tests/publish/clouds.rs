//! What one table, or one cloud, does to all others.

use std::time::{Duration, Instant};

use cloud_server::settings::Settings;
use cloud_server::store::doctor;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::{self, PrepareError};
use cloud_server::{Cloud, CloudConfig};

use crate::shop::{SETTINGS, Shop};

async fn until(shop: &Shop, query: &str) {
    let start = Instant::now();
    while shop.one(query).await != "true" {
        assert!(start.elapsed() < Duration::from_secs(120), "{query}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn cloud(shop: &Shop, settings: &str) -> (Cloud, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("rejoin.toml");
    std::fs::write(&file, settings).unwrap();
    let mut config = CloudConfig::new(data.path());
    config.database_url = Some(shop.database.url().to_owned());
    config.settings = Some(file);
    config.system = None;
    config.pool_size = 3;
    (Cloud::start(config).await.unwrap(), data)
}

const ORPHANS: &str = "
    CREATE TABLE visit (id integer PRIMARY KEY, shop_id integer NOT NULL, at timestamptz);
    INSERT INTO visit VALUES (1, 1), (2, 77);
    ALTER TABLE visit ADD FOREIGN KEY (shop_id) REFERENCES shop NOT VALID;
    CREATE TABLE photo (id integer PRIMARY KEY, visit_id integer NOT NULL REFERENCES visit);
    CREATE TABLE bill (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop)";

const PUBLISHED: &str =
    "SELECT string_agg(t ->> 'name', ' ' ORDER BY t ->> 'name') FROM rejoin.catalogs k, jsonb_array_elements(k.body -> 'tables') t
    WHERE k.version = (SELECT max(version) FROM rejoin.catalogs) AND NOT coalesce((t ->> 'engine')::boolean, false)";

#[tokio::test]
async fn a_table_with_orphans_stays_out_alone_and_comes_once_they_are_mended() {
    let shop = Shop::open().await;
    let (cloud, _data) = cloud(&shop, SETTINGS).await;
    shop.run(ORPHANS).await;
    until(&shop, "SELECT (max(version) > 1)::text FROM rejoin.catalogs").await;
    assert_eq!(shop.one(PUBLISHED).await, "bill item label shop");
    let db = Database::open(shop.database.url(), 2).unwrap();
    let settings = Settings::parse(SETTINGS).unwrap();
    let plan = prepare::plan(&db, &settings).await.unwrap();
    let entry = plan.tables.iter().find(|entry| entry.table == "visit").unwrap();
    assert!(!entry.synced && entry.reason.contains("holds rows whose shop_id is not there"), "{}", entry.reason);
    let findings = doctor::examine(&db, &settings).await.unwrap();
    assert!(findings.iter().any(|finding| finding.what.contains("holds rows whose shop_id is not there")), "{findings:?}");
    db.close();
    // Rows move no schema, and are looked at again all the same.
    shop.run("DELETE FROM visit WHERE id = 2").await;
    until(&shop, &format!("SELECT (({PUBLISHED}) = 'bill item label photo shop visit')::text")).await;
    cloud.stop().await;
}

#[tokio::test]
async fn a_key_dropped_and_made_again_loses_nothing() {
    let shop = Shop::open().await;
    let catalog = shop.prepare(SETTINGS).await;
    let ticks = shop.one("SELECT count(*)::text FROM rejoin.ticks").await;
    let db = Database::open(shop.database.url(), 2).unwrap();
    let settings = Settings::parse(SETTINGS).unwrap();
    for (harm, mend) in [
        ("ALTER TABLE label DROP CONSTRAINT label_pkey", "ALTER TABLE label ADD PRIMARY KEY (id)"),
        ("ALTER TABLE label SET UNLOGGED", "ALTER TABLE label SET LOGGED"),
    ] {
        shop.run(harm).await;
        let error = prepare::prepare(&db, &settings, None).await.unwrap_err();
        assert!(
            matches!(&error, PrepareError::Obstructed(tables) if tables.len() == 1 && tables[0].starts_with("public.label (")),
            "{error}"
        );
        shop.run(mend).await;
        let again = prepare::prepare(&db, &settings, None).await.unwrap();
        assert_eq!((again.version, shop.one("SELECT count(*)::text FROM rejoin.ticks").await), (catalog.version, ticks.clone()), "{harm}");
    }
    // Said on purpose it goes.
    shop.run("ALTER TABLE label DROP CONSTRAINT label_pkey").await;
    shop.prepare(&format!("left_out = ['label']\n{SETTINGS}")).await;
    assert_eq!(shop.one(PUBLISHED).await, "item shop");
    db.close();
}

#[tokio::test]
async fn of_two_clouds_with_other_settings_the_one_started_last_publishes() {
    let shop = Shop::open().await;
    let (old, _data) = cloud(&shop, SETTINGS).await;
    let without = format!("left_out = ['label']\n{SETTINGS}");
    let (new, _more) = cloud(&shop, &without).await;
    assert_eq!(shop.one(PUBLISHED).await, "item shop");
    let before: i64 = shop.one("SELECT max(version)::text FROM rejoin.catalogs").await.parse().unwrap();
    shop.run("ALTER TABLE item ADD size integer").await;
    until(&shop, "SELECT (count(*) = 1)::text FROM rejoin.state WHERE key = 'follower'").await;
    until(&shop, "SELECT (body::text LIKE '%size%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1").await;
    // More than two looks of each.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after: i64 = shop.one("SELECT max(version)::text FROM rejoin.catalogs").await.parse().unwrap();
    assert_eq!((shop.one(PUBLISHED).await.as_str(), after), ("item shop", before + 1));
    let db = Database::open(shop.database.url(), 2).unwrap();
    let findings = doctor::examine(&db, &Settings::parse(&without).unwrap()).await.unwrap();
    assert!(findings.iter().any(|finding| finding.what.contains("only follows")), "{findings:?}");
    let findings = doctor::examine(&db, &Settings::parse(SETTINGS).unwrap()).await.unwrap();
    assert!(findings.iter().any(|finding| finding.what.contains("not published by this rejoin.toml")), "{findings:?}");
    db.close();
    old.stop().await;
    new.stop().await;
}

/// What a running cloud says of itself.
async fn status(cloud: &Cloud) -> String {
    let request = reqwest::Client::new().get(format!("{}/api/sync", cloud.url())).bearer_auth(cloud.token());
    request.send().await.unwrap().text().await.unwrap()
}

const EXTRA: &str = "SELECT (body::text LIKE '%extra%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1";

#[tokio::test]
async fn an_edited_file_is_published_though_a_command_or_an_equal_cloud_came_later() {
    let shop = Shop::open().await;
    shop.run("CREATE TABLE extra (id integer PRIMARY KEY)").await;
    let (cloud, data) = cloud(&shop, SETTINGS).await;
    let (equal, _more) = self::cloud(&shop, &format!("# the same\n\n{SETTINGS}")).await;
    equal.stop().await;
    let db = Database::open(shop.database.url(), 2).unwrap();
    doctor::mend(&db, &Settings::parse(SETTINGS).unwrap(), None).await.unwrap();
    db.close();
    std::fs::write(data.path().join("rejoin.toml"), format!("global = ['extra']\n{SETTINGS}")).unwrap();
    until(&shop, EXTRA).await;
    shop.run("ALTER TABLE item ADD size integer").await;
    until(&shop, "SELECT (body::text LIKE '%size%')::text FROM rejoin.catalogs ORDER BY version DESC LIMIT 1").await;
    assert!(!status(&cloud).await.contains("only follows"));
    cloud.stop().await;
}

#[tokio::test]
async fn a_cloud_that_follows_says_so_in_its_status_until_its_file_says_what_counts() {
    let shop = Shop::open().await;
    shop.run("CREATE TABLE extra (id integer PRIMARY KEY)").await;
    let (old, data) = cloud(&shop, SETTINGS).await;
    let (new, _more) = cloud(&shop, &format!("left_out = ['label']\n{SETTINGS}")).await;
    shop.run("ALTER TABLE item ADD size integer").await;
    until(&shop, "SELECT (count(*) = 1)::text FROM rejoin.state WHERE key = 'follower'").await;
    assert!(status(&old).await.contains("only follows"), "{}", status(&old).await);
    assert!(!status(&new).await.contains("only follows"));
    // A comment moves every value of the file, and is no other rejoin.toml.
    std::fs::write(data.path().join("rejoin.toml"), format!("# nothing new\n{SETTINGS}")).unwrap();
    let refresh = reqwest::Client::new().post(format!("{}/api/rejoin/catalog/refresh", old.url())).bearer_auth(old.token());
    let refused = refresh.send().await.unwrap().text().await.unwrap();
    assert!(refused.contains("only follows"), "{refused}");
    std::fs::write(data.path().join("rejoin.toml"), format!("global = ['extra']\n{SETTINGS}")).unwrap();
    until(&shop, EXTRA).await;
    assert!(!status(&old).await.contains("only follows"));
    new.stop().await;
    old.stop().await;
}

#[tokio::test]
async fn old_catalogs_go_but_for_those_that_a_copy_of_a_site_has() {
    let shop = Shop::open().await;
    shop.run(
        "INSERT INTO rejoin.catalogs (version, body) SELECT n, jsonb_set(k.body, '{version}', to_jsonb(n)) FROM rejoin.catalogs k, generate_series(2, 260) n WHERE k.version = 1",
    )
    .await;
    shop.run("ALTER TABLE item ADD size integer").await;
    let catalog = shop.prepare(SETTINGS).await;
    assert_eq!(catalog.version.0, 261);
    assert_eq!(shop.one("SELECT min(version) || ' ' || count(*) FROM rejoin.catalogs").await, "62 200");
}
