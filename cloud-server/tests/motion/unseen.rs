//! The schema moved, and the cloud has not looked yet: names mean other columns than the catalog in force says.

use cloud_server::store::error::StoreError;
use cloud_server::store::speaker::SyncError;
use serde_json::json;
use sync_core::wire::codec::encode;

use crate::Away;
use crate::cloud::Cloud;
use crate::site::{Site, id, verdict};

fn is_outdated<T: std::fmt::Debug>(outcome: Result<T, SyncError>) -> bool {
    match outcome {
        Err(SyncError::Store(error)) => matches!(error, StoreError::Moved(_)) && error.is_unfit(),
        other => panic!("{other:?}"),
    }
}

const WAYS: [&str; 3] = [
    // Swapped.
    "ALTER TABLE sources RENAME width TO w; ALTER TABLE sources RENAME height TO width; ALTER TABLE sources RENAME w TO height",
    // The name is another column's now.
    "ALTER TABLE sources RENAME width TO height_of_old; ALTER TABLE sources ADD width integer",
    // So is the table's.
    "ALTER TABLE sources RENAME TO inputs; CREATE TABLE sources (LIKE inputs INCLUDING ALL)",
];

async fn edited(cloud: &Cloud) -> Site<'_> {
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    site
}

#[tokio::test]
async fn a_push_never_writes_another_column_or_table_that_took_the_name() {
    for way in WAYS {
        let cloud = Cloud::start().await;
        let site = edited(&cloud).await;
        let edit = site.update("sources", &id('s', 1), &json!({"width": 7}));
        let push = site.next_push(vec![edit]);
        cloud.run(way).await;
        assert!(is_outdated(site.send(&encode(&push).unwrap()).await), "{way}");
        // Once it has looked, the same edit lands where the site made it.
        let table = cloud.table("sources").no;
        let width = cloud.table("sources").column_named("width").unwrap().no;
        let away = Away::of(&site);
        let cloud = cloud.prepared_again().await;
        let now = cloud.catalog.table(table).unwrap();
        let (name, column) = (now.name.clone(), now.column(width).unwrap().name.clone());
        let mut site = away.back(&cloud);
        let change = site.update(&name, &id('s', 1), &json!({ &column: 7 }));
        assert_eq!(verdict(&site.push_one(change).await), "exact", "{way}");
        assert_eq!(cloud.one::<i32>(&format!("SELECT {column} FROM {name} WHERE id = '{}'", id('s', 1))).await, 7, "{way}");
    }
}

#[tokio::test]
async fn a_pull_never_sends_one_columns_values_as_anothers() {
    for way in WAYS {
        let cloud = Cloud::start().await;
        let site = edited(&cloud).await;
        cloud.run(&format!("UPDATE sources SET width = 5 WHERE id = '{}'; {way}", id('s', 1))).await;
        assert!(is_outdated(site.page(&site.pull_message()).await), "{way}");
    }
}

#[tokio::test]
async fn a_type_that_changed_is_noticed_and_what_nobody_reads_disturbs_nobody() {
    let cloud = Cloud::start().await;
    let mut site = edited(&cloud).await;
    // Of another table; a pull looks at all, a push only at what it touches.
    cloud.run("ALTER TABLE marks RENAME note TO body").await;
    let edit = site.update("sources", &id('s', 1), &json!({"width": 7}));
    assert_eq!(verdict(&site.push_one(edit).await), "exact");
    cloud.run("ALTER TABLE sources ALTER width TYPE bigint").await;
    let edit = site.update("sources", &id('s', 1), &json!({"width": 8}));
    let push = site.next_push(vec![edit]);
    assert!(is_outdated(site.send(&encode(&push).unwrap()).await));
}

#[tokio::test]
async fn what_was_written_past_the_triggers_reaches_sites_once_the_doctor_has_mended_it() {
    let cloud = Cloud::start().await;
    let mut site = edited(&cloud).await;
    let (p, past) = (id('p', 1), id('s', 9));
    let sql = format!(
        "SET session_replication_role = replica; DELETE FROM sources;
         INSERT INTO sources (id, production_id, name, slot) VALUES ('{past}', '{p}', 'past', 9)"
    );
    crate::cloud::connect(cloud.superuser_url()).await.batch_execute(&sql).await.unwrap();
    site.pull().await;
    assert!(!site.has("sources", &past) && site.has("sources", &id('s', 1)), "nobody noticed");
    let away = Away::of(&site);
    cloud_server::store::doctor::mend(&cloud.db, &cloud_server::settings::Settings::parse(crate::cloud::SETTINGS).unwrap(), None)
        .await
        .unwrap();
    let cloud = cloud.prepared_again().await;
    let mut site = away.back(&cloud);
    site.pull().await;
    assert!(site.has("sources", &past), "a row that came past the triggers travels");
    let generation = |catalog: &sync_core::catalog::Catalog| catalog.by_name("sources").unwrap().generation;
    assert_eq!(generation(&cloud.catalog), 1, "sites let go of what does not come, such as the row that was deleted");
}
