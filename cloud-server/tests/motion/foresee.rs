//! `rejoin schema plan`: told before the migration is run, with the user's database untouched.

use cloud_server::foresee::{ForeseeError, Foresight, foresee};
use cloud_server::settings::Settings;

use crate::cloud::Cloud;
use crate::site::id;

const SETTINGS: &str = "root = 'productions'\nglobal = ['kinds']\n";

async fn plan(cloud: &Cloud, migration: &str) -> Result<Foresight, ForeseeError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.sql");
    std::fs::write(&file, migration).unwrap();
    foresee(cloud.url(), &Settings::parse(SETTINGS).unwrap(), &file, folder.path()).await
}

#[tokio::test]
async fn a_risky_migration_is_told_with_its_sites_and_rows() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1), &id('s', 2)]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('a', '{p}', 'x'), ('b', '{p}', NULL)")).await;
    for name in ["a", "b"] {
        cloud.site(name, &[&p]).await.pull().await;
    }
    let shape = "SELECT string_agg(attrelid::regclass || '.' || attname || attnotnull, ' ' ORDER BY attrelid, attnum) FROM pg_attribute WHERE attrelid::regclass::text IN ('marks', 'sources')";
    let before: String = cloud.one(shape).await;
    let ticks = cloud.ticks().await;
    let foreseen = plan(
        &cloud,
        "ALTER TABLE marks RENAME note TO body; ALTER TABLE marks ALTER body SET NOT NULL;
         ALTER TABLE sources ADD colour text DEFAULT 'red', DROP height;
         ALTER TABLE sources ALTER width TYPE bigint; ALTER TABLE outputs RENAME TO ports;
         CREATE TABLE notes (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions);",
    )
    .await
    .unwrap();
    let lines: Vec<String> = foreseen
        .changes
        .iter()
        .map(|told| format!("{} | {} | {}", told.title, told.rows_fed, told.warning.clone().unwrap_or_default()))
        .collect();
    assert_eq!(
        lines,
        [
            "column marks.note is renamed to body | 0 | ",
            "NOT NULL on marks.note | 0 | 2 sites on catalog 1; NOT NULL on marks.note will park inserts of table marks from them",
            "table outputs is renamed to ports | 0 | ",
            "sources.width becomes bigint, from integer | 2 | ",
            "column sources.height is dropped | 0 | 2 sites on catalog 1; dropping sources.height will park edits of column sources.height from them",
            "new column sources.colour | 0 | ",
            "new table notes | 0 | ",
        ]
    );
    assert_eq!((foreseen.catalog, foreseen.rows_fed), (1, 2));
    assert!(foreseen.warnings[0].contains("1 rows of marks have no value"), "{:?}", foreseen.warnings);
    assert_eq!((cloud.one::<String>(shape).await, cloud.ticks().await), (before, ticks), "nothing was touched");
}

#[tokio::test]
async fn a_migration_that_fails_or_cannot_be_synced_is_told() {
    let cloud = Cloud::start().await;
    let failed = plan(&cloud, "ALTER TABLE marks ADD note text;").await.unwrap_err();
    assert_eq!(failed.to_string(), "the migration fails: column \"note\" of relation \"marks\" already exists");
    let unfit = plan(&cloud, "ALTER TABLE kinds RENAME TO sorts;").await.unwrap_err();
    assert!(matches!(unfit, ForeseeError::After(_)), "{unfit}");
    assert!(unfit.to_string().contains("there is no table kinds"), "{unfit}");
    let unreached = plan(&cloud, "ALTER TABLE marks DROP CONSTRAINT marks_production_id_fkey;").await.unwrap_err();
    assert!(unreached.to_string().contains("public.marks"), "{unreached}");
    let nothing = plan(&cloud, "CREATE INDEX ON marks (lower(note));").await.unwrap();
    assert!(nothing.changes.is_empty());
}
