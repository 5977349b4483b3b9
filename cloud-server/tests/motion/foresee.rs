//! `rejoin schema plan`: told before the migration is run, with the user's database untouched.

use cloud_server::foresee::{ForeseeError, Foresight, Under, foresee};
use cloud_server::settings::Settings;

use crate::cloud::Cloud;
use crate::site::id;

const SETTINGS: &str = "root = 'productions'\nglobal = ['kinds']\n";

async fn plan(cloud: &Cloud, migration: &str) -> Result<Foresight, ForeseeError> {
    plan_with(cloud, migration, None).await
}

/// `after`: the settings that come with the migration.
async fn plan_with(cloud: &Cloud, migration: &str, after: Option<&str>) -> Result<Foresight, ForeseeError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.sql");
    std::fs::write(&file, migration).unwrap();
    let (settings, after) = (Settings::parse(SETTINGS).unwrap(), after.map(|text| Settings::parse(text).unwrap()));
    foresee(cloud.url(), Under { settings: &settings, after: after.as_ref() }, &file, folder.path()).await
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
    assert_eq!(foreseen.warnings[0], "NOT NULL on marks.note will fail: 1 row of marks has no value");
    assert_eq!((cloud.one::<String>(shape).await, cloud.ticks().await), (before, ticks), "nothing was touched");
}

#[tokio::test]
async fn a_secret_under_another_name_is_told_to_stay() {
    let cloud = Cloud::start().await;
    cloud.run("ALTER TABLE sources ADD password_hash text").await;
    let foreseen = plan(&cloud, "ALTER TABLE sources RENAME password_hash TO credential;").await.unwrap();
    assert!(foreseen.changes.is_empty(), "{:?}", foreseen.changes);
    let told = foreseen.warnings.iter().find(|told| told.contains("sources.credential stays at the cloud: looked like a secret"));
    assert!(told.is_some_and(|told| told.contains("with = [\"credential\"]")), "{:?}", foreseen.warnings);
}

#[tokio::test]
async fn a_migration_that_fails_or_cannot_be_synced_is_told() {
    let cloud = Cloud::start().await;
    let failed = plan(&cloud, "ALTER TABLE marks ADD note text;").await.unwrap_err();
    assert_eq!(failed.to_string(), "the migration fails: column \"note\" of relation \"marks\" already exists");
    let unreached = plan(&cloud, "ALTER TABLE marks DROP CONSTRAINT marks_production_id_fkey;").await.unwrap_err();
    assert!(unreached.to_string().contains("public.marks"), "{unreached}");
    let nothing = plan(&cloud, "CREATE INDEX ON marks (lower(note));").await.unwrap();
    assert!(nothing.changes.is_empty() && nothing.warnings.len() == 1, "{nothing:?}");
}

#[tokio::test]
async fn a_line_of_the_settings_that_is_left_behind_or_no_longer_fits_is_told_and_its_successor_is_tried() {
    let cloud = Cloud::start().await;
    let migration = "ALTER TABLE kinds RENAME TO sorts;";
    let warning = "rejoin.toml, line 2: global: kinds is called sorts now: write global = [\"sorts\"]".to_owned();
    for (after, warned) in [(None, true), (Some("root = 'productions'\nglobal = ['sorts']\n"), false)] {
        let next = plan_with(&cloud, migration, after).await.unwrap();
        let titles: Vec<&str> = next.changes.iter().map(|told| told.title.as_str()).collect();
        assert_eq!(titles, ["table kinds is renamed to sorts"]);
        assert_eq!(next.warnings.contains(&warning), warned, "{:?}", next.warnings);
    }
    let unfit = plan(&cloud, "DROP TABLE productions CASCADE;").await.unwrap_err().to_string();
    assert!(unfit.contains("rejoin.toml, line 1: root: there is no table productions"), "{unfit}");
    assert!(unfit.contains("; productions is dropped. Deploy") && unfit.contains("--settings-after"), "{unfit}");
    // What was renamed before, and nobody wrote down yet, is no obstacle.
    cloud.run(migration).await;
    let cloud = cloud.prepared_again().await;
    assert!(plan(&cloud, "CREATE INDEX ON marks (lower(note));").await.unwrap().changes.is_empty());
}

#[tokio::test]
async fn not_null_fails_for_sure_only_where_the_migration_writes_no_row() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('a', '{p}', NULL), ('b', '{p}', NULL)")).await;
    let not_null = "ALTER TABLE marks ALTER note SET NOT NULL";
    let sure = plan(&cloud, not_null).await.unwrap();
    assert_eq!(sure.warnings[0], "NOT NULL on marks.note will fail: 2 rows of marks have no value");
    let filled = plan(&cloud, &format!("UPDATE marks SET note = '' WHERE note IS NULL; {not_null}")).await.unwrap();
    assert_eq!(filled.warnings[0], "NOT NULL on marks.note fails if the migration does not fill them: 2 rows of marks have no value now");
}

#[tokio::test]
async fn a_new_table_that_stays_at_the_cloud_is_told_with_the_line_that_includes_it() {
    let cloud = Cloud::start().await;
    let foreseen = plan(
        &cloud,
        "CREATE TABLE audit (id uuid PRIMARY KEY);
         CREATE TABLE notes (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, body text, \"Body\" text)",
    )
    .await
    .unwrap();
    let told = |what: &str| foreseen.warnings.iter().any(|warning| warning.contains(what));
    assert!(told("the new table audit stays at the cloud: it reaches no root") && told("global = [\"kinds\", \"audit\"] would include it"));
    assert!(told("the new table notes stays at the cloud: it has the columns body and Body"), "{:?}", foreseen.warnings);
    let unable = plan(&cloud, "ALTER TABLE marks ADD \"Note\" text").await.unwrap_err();
    assert!(matches!(&unable, ForeseeError::After(error) if error.to_string().contains("has the columns note and Note")), "{unable}");
}

#[tokio::test]
async fn what_the_rows_stand_in_the_way_of_is_counted_and_what_sites_do_not_know_of_is_told() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('a', '{p}', 'long'), ('b', '{p}', 'long'), ('c', '{p}', NULL)")).await;
    cloud.site("s", &[&p]).await.pull().await;
    let told = |foreseen: &Foresight| -> Vec<String> {
        let changes = foreseen.changes.iter();
        let changes = changes.map(|told| format!("{} | {}", told.title, told.warning.as_deref().unwrap_or_default()));
        let own = foreseen.warnings.iter().filter(|warning| !warning.contains("was tried on none"));
        changes.chain(own.cloned()).collect()
    };
    let on = "1 site on catalog 1; ";
    for (migration, expected) in [
        (
            "ALTER TABLE marks ADD CONSTRAINT short CHECK (length(note) < 4)",
            vec![
                format!("CHECK (length(note) < 4) on marks | {on}CHECK (length(note) < 4) on marks will park edits of marks that it refuses (as check) from them"),
                "CHECK (length(note) < 4) on marks will fail: 2 rows of marks violate it".to_owned(),
            ],
        ),
        (
            "ALTER TABLE marks RENAME note TO body; ALTER TABLE marks ADD CHECK (body <> 'long') NOT VALID",
            vec![
                "column marks.note is renamed to body | ".to_owned(),
                format!("CHECK (body <> 'long'::text) on marks | {on}CHECK (body <> 'long'::text) on marks will park edits of marks that it refuses (as check) from them"),
                "CHECK (body <> 'long'::text) on marks: 2 rows of marks violate it; NOT VALID lets them be, and refuses whatever is written to them later, by sites too".to_owned(),
            ],
        ),
        (
            "UPDATE marks SET note = 'x'; ALTER TABLE marks ADD UNIQUE (note)",
            vec![
                format!("UNIQUE on marks (note) | {on}UNIQUE on marks (note) will park rows of marks that have the same note as another one from them"),
                "UNIQUE on marks (note) fails if the migration does not change that: 1 value is there more than once, in 2 rows of marks".to_owned(),
            ],
        ),
        (
            "CREATE UNIQUE INDEX ON marks (lower(note)) WHERE note <> 'other'",
            vec![
                format!("UNIQUE (lower(note)) WHERE (note <> 'other'::text) on marks | {on}UNIQUE (lower(note)) WHERE (note <> 'other'::text) on marks will park edits of marks that it refuses (as unique) from them"),
                "UNIQUE (lower(note)) WHERE (note <> 'other'::text) on marks will fail: 1 value is there more than once, in 2 rows of marks".to_owned(),
            ],
        ),
        (
            "ALTER TABLE marks ALTER note TYPE varchar(3)",
            vec![
                format!("marks.note becomes character varying(3), from text | {on}character varying(3) for marks.note will park edits of marks.note whose value does not fit from them"),
                "marks.note becomes character varying(3), from text will fail: 2 rows of marks hold what does not fit character varying(3)".to_owned(),
            ],
        ),
        (
            "ALTER TABLE marks ADD FOREIGN KEY (note) REFERENCES marks",
            vec![
                format!("reference from marks (note) to marks | {on}the reference from marks (note) to marks will park rows of marks whose note names no row of marks from them"),
                "reference from marks (note) to marks will fail: 2 rows of marks name no row of marks".to_owned(),
            ],
        ),
    ] {
        assert_eq!(told(&plan(&cloud, migration).await.unwrap()), expected, "{migration}");
    }
}

#[tokio::test]
async fn a_versioning_column_under_another_name_is_told_before_and_by_the_doctor_after() {
    let settings = Settings::parse("root = 'shop'\n[stamps]\nupdated_at = 'changed'\n").unwrap();
    let database = cloud_server::test_support::database().await;
    let db = cloud_server::store::pool::Database::open(database.url(), 4).unwrap();
    let sql = "CREATE TABLE shop (id integer PRIMARY KEY, changed timestamptz); INSERT INTO shop VALUES (1, now())";
    db.client().await.unwrap().batch_execute(sql).await.unwrap();
    cloud_server::store::prepare::prepare(&db, &settings, None).await.unwrap();
    let (folder, migration) = (tempfile::tempdir().unwrap(), "ALTER TABLE shop RENAME changed TO touched");
    let file = folder.path().join("migration.sql");
    std::fs::write(&file, migration).unwrap();
    let foreseen = foresee(database.url(), Under { settings: &settings, after: None }, &file, folder.path()).await.unwrap();
    let line = "if it was renamed, write [tables.\"shop\"]  stamps = { updated_at = \"touched\" }";
    assert!(
        foreseen.warnings.iter().any(|told| told.starts_with("shop: the column changed that was its updated_at") && told.contains(line)),
        "{foreseen:?}"
    );
    db.client().await.unwrap().batch_execute(migration).await.unwrap();
    cloud_server::store::prepare::prepare(&db, &settings, None).await.unwrap();
    let doctor = async |settings: &Settings| cloud_server::store::doctor::examine(&db, settings).await.unwrap();
    assert!(doctor(&settings).await.iter().any(|found| found.remedy.starts_with(line)));
    let mended =
        Settings::parse("root = 'shop'\n[stamps]\nupdated_at = 'changed'\n[tables.\"shop\"]\nstamps = { updated_at = 'touched' }\n")
            .unwrap();
    cloud_server::store::prepare::prepare(&db, &mended, None).await.unwrap();
    assert!(!doctor(&mended).await.iter().any(|found| found.remedy.starts_with(line)));
    db.close();
}
