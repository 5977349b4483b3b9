//! Names that PostgreSQL tells apart and a site's SQLite does not: told before a site meets them.

use std::collections::BTreeMap;

use cloud_server::settings::Settings;
use cloud_server::store::prepare;
use cloud_server::store::prepare::{PlanEntry, PrepareError};

use crate::Shop;

const SCHEMA: &str = r#"
    CREATE TABLE shops (id uuid PRIMARY KEY, name text);
    CREATE TABLE items (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops, "Name" text NOT NULL, name text);
    CREATE TABLE parts (id uuid PRIMARY KEY, item uuid NOT NULL REFERENCES items);
    CREATE TABLE bins (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops, rejoin_row bigint);
    CREATE TABLE "Bags" (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops);
    CREATE TABLE bags (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops);
    CREATE TABLE "BAGS" (id uuid PRIMARY KEY);
    CREATE TABLE sync_log (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops)"#;

async fn planned(shop: &Shop, settings: &str) -> BTreeMap<String, PlanEntry> {
    let plan = prepare::plan(&shop.db, &Settings::parse(settings).unwrap()).await.unwrap();
    plan.tables.into_iter().map(|entry| (entry.table.clone(), entry)).collect()
}

#[tokio::test]
async fn a_table_that_no_site_could_hold_is_left_out_with_the_line_that_includes_it() {
    let shop = Shop::with(SCHEMA).await;
    let plan = planned(&shop, "root = 'shops'").await;
    for (table, reason, line) in [
        ("items", "has the columns Name and name, which are one to a site's SQLite", Some("[tables.items]\nwithout = [\"name\"]")),
        ("bins", "has the column rejoin_row, which a site's tables have", Some("[tables.bins]\nwithout = [\"rejoin_row\"]")),
        ("Bags", "has the same name as bags to a site's SQLite", Some("left_out = [\"bags\"]")),
        ("bags", "has the same name as Bags to a site's SQLite", Some("left_out = [\"Bags\"]")),
        ("sync_log", "is called like a table that every site has", None),
        ("parts", "reaches no root", Some("global = [\"parts\"]")),
    ] {
        let entry = &plan[table];
        assert!(!entry.synced && entry.reason.contains(reason), "{entry:?}");
        assert_eq!(entry.otherwise.as_deref(), line, "{table}");
    }
    let mended = "root = 'shops'\nleft_out = ['Bags']\n[tables.items]\nwithout = ['name']\n[tables.bins]\nwithout = ['rejoin_row']\n";
    let plan = planned(&shop, mended).await;
    let synced: Vec<&str> = plan.values().filter(|entry| entry.synced).map(|entry| entry.table.as_str()).collect();
    assert_eq!(synced, ["bags", "bins", "items", "parts", "shops"]);
    let root = prepare::plan(&shop.db, &Settings::parse("root = 'items'").unwrap()).await.unwrap_err().to_string();
    assert!(root.starts_with("rejoin.toml, line 1: root: items has the columns Name and name"), "{root}");
    assert!(root.ends_with("[tables.items]  without = [\"name\"]"), "{root}");
}

#[tokio::test]
async fn a_change_that_no_site_could_take_leaves_the_catalog_in_force() {
    let shop = Shop::with("CREATE TABLE shops (id uuid PRIMARY KEY, name text); CREATE TABLE notes (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops)").await;
    let prepare_with = async |settings: &str| prepare(&shop.db, &Settings::parse(settings).unwrap(), None).await;
    let before = prepare_with("root = 'shops'").await.unwrap();
    // A new one beside one that sites have waits alone.
    shop.sql.batch_execute(r#"CREATE TABLE "Notes" (id uuid PRIMARY KEY, shop uuid NOT NULL REFERENCES shops)"#).await.unwrap();
    assert_eq!(prepare_with("root = 'shops'").await.unwrap().version, before.version);
    shop.sql.batch_execute(r#"ALTER TABLE shops ADD "Name" text"#).await.unwrap();
    let error = prepare_with("root = 'shops'").await.unwrap_err();
    assert!(error.to_string().contains("shops has the columns name and Name"), "{error}");
    assert_eq!(prepare::published(&shop.sql).await.unwrap().unwrap(), *before);
    let left_out = "root = 'shops'\n[tables.shops]\nwithout = ['Name']";
    assert_eq!(prepare_with(left_out).await.unwrap().version, before.version, "sites notice nothing");
    shop.sql.batch_execute(r#"ALTER TABLE notes ADD "ID" text"#).await.unwrap();
    let error = prepare_with(left_out).await.unwrap_err();
    assert!(
        matches!(&error, PrepareError::Obstructed(tables) if tables[0].starts_with("public.notes (has the columns id and ID")),
        "{error}"
    );
}
