//! What a site pushes of rows that wait to be fed: it has the new catalog, and placeholders where only the cloud knows the values.

use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use serde_json::json;
use sync_core::value::Value;

use crate::Away;
use crate::cloud::{Cloud, SETTINGS, connect};
use crate::site::{Site, id, verdict};

/// A cloud whose new column is in force, of which no row is fed: somebody holds the head, or the feed's server is gone.
struct Begun {
    cloud: Cloud,
    away: Away,
}

impl Begun {
    async fn of(ddl: &str, begun: bool) -> Self {
        let mut cloud = Cloud::start().await;
        cloud.run(&format!("INSERT INTO productions (id, name) VALUES ('{}', 'p')", id('p', 1))).await;
        cloud.run(&format!("INSERT INTO marks SELECT n::text, '{}', 'n' FROM generate_series(1, 9) n", id('p', 1))).await;
        let mut site = cloud.site("a", &["*"]).await;
        site.pull().await;
        let away = Away::of(&site);
        cloud.run(ddl).await;
        let (holder, first) = (connect(cloud.url()).await, connect(cloud.url()).await);
        holder.batch_execute("BEGIN; UPDATE productions SET seen = now()").await.unwrap();
        first.batch_execute("BEGIN; LOCK rejoin.feed_heads").await.unwrap();
        let url = cloud.url().to_owned();
        let feeding = tokio::spawn(async move {
            let db = Database::open(&url, 2).unwrap();
            prepare(&db, &Settings::parse(SETTINGS).unwrap(), None).await
        });
        while cloud.count("rejoin.feeds").await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if begun {
            first.batch_execute("ROLLBACK").await.unwrap();
            while cloud.count("rejoin.feed_heads").await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        feeding.abort();
        assert!(feeding.await.is_err());
        holder.batch_execute("ROLLBACK").await.unwrap();
        drop(first);
        cloud.catalog = published(&cloud).await;
        Self { cloud, away }
    }
}

async fn published(cloud: &Cloud) -> std::sync::Arc<sync_core::catalog::Catalog> {
    let body = cloud.one::<serde_json::Value>("SELECT body FROM rejoin.catalogs ORDER BY version DESC LIMIT 1").await;
    let version = cloud.one::<i64>("SELECT max(version) FROM rejoin.catalogs").await;
    let mut catalog: sync_core::catalog::Catalog = serde_json::from_value(body).unwrap();
    catalog.version.0 = version;
    std::sync::Arc::new(catalog)
}

/// The site takes the new column with what stands in the catalog for rows that it has.
fn placeholders(site: &mut Site<'_>, rows: &str) {
    let table = site.cloud.table(rows);
    for ((no, _), (row, _)) in &mut site.rows {
        if *no == table.no {
            let added = table.columns[row.len()..].iter().map(|column| column.added.clone().unwrap_or(Value::Null));
            row.extend(added.collect::<Vec<_>>());
        }
    }
}

const CODE: &str = "ALTER TABLE marks ADD code uuid DEFAULT gen_random_uuid()";

#[tokio::test]
async fn an_edit_of_a_row_that_waits_is_answered_with_the_row() {
    for begun in [false, true] {
        let Begun { cloud, away } = Begun::of(CODE, begun).await;
        let mut site = away.back(&cloud);
        placeholders(&mut site, "marks");
        site.pull().await;
        let edit = site.update("marks", "9", &json!({"note": "mine"}));
        assert_eq!(verdict(&site.push_one(edit).await), "image");
        let same = site.update("marks", "8", &json!({"note": "n"}));
        site.push_one(same).await;
        let rekey = site.rekey("marks", "7", "70", &json!({}));
        assert_eq!(verdict(&site.push_one(rekey).await), "image");
        let cloud = &cloud;
        prepare(&cloud.db, &Settings::parse(SETTINGS).unwrap(), None).await.unwrap();
        site.pull().await;
        site.assert_same_as_cloud().await;
        // Once they are fed, the answer is short again.
        let edit = site.update("marks", "9", &json!({"note": "again"}));
        assert_eq!(verdict(&site.push_one(edit).await), "exact");
    }
}

#[tokio::test]
async fn a_placeholder_is_not_what_the_author_of_a_delete_saw() {
    let Begun { cloud, away } = Begun::of(CODE, true).await;
    let mut site = away.back(&cloud);
    placeholders(&mut site, "marks");
    site.pull().await;
    let gone = site.delete("marks", "9");
    assert_eq!(verdict(&site.push_one(gone).await), "exact");
    // What somebody wrote since is no placeholder.
    cloud.run("UPDATE marks SET code = gen_random_uuid() WHERE id = '8'").await;
    let gone = site.delete("marks", "8");
    assert_eq!(verdict(&site.push_one(gone).await), "parked");
    // Nor is what was known before.
    cloud
        .run(
            "ALTER TABLE marks DISABLE TRIGGER USER; UPDATE marks SET note = 'other' WHERE id = '7'; ALTER TABLE marks ENABLE TRIGGER USER",
        )
        .await;
    let gone = site.delete("marks", "7");
    assert_eq!(verdict(&site.push_one(gone).await), "parked");
}
