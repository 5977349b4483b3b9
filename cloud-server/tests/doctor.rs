//! What `rejoin doctor` finds in a database that others worked on.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "the tests' own module")]

#[allow(dead_code, reason = "shared with other tests")]
mod cloud;

use cloud::{Cloud, P1, S1, connect};
use cloud_server::store::doctor::{self, Finding, Severity};
use cloud_server::store::pace::Pace;
use cloud_server::store::pool::Database;
use cloud_server::systems::VIDEO_PRODUCTION;

/// What is worse than information.
async fn findings(cloud: &Cloud) -> Vec<String> {
    let of = |finding: &Finding| {
        let place = [finding.table.as_deref(), finding.column.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(".");
        format!("{:?} {place}: {}", finding.severity, finding.what)
    };
    all(cloud).await.iter().filter(|finding| finding.severity > Severity::Info).map(of).collect()
}

async fn all(cloud: &Cloud) -> Vec<Finding> {
    let db = Database::open(cloud.database.url(), 2).unwrap();
    let findings = doctor::examine(&db, &VIDEO_PRODUCTION.settings().unwrap()).await.unwrap();
    db.close();
    findings
}

#[tokio::test]
async fn a_healthy_database_has_nothing_worse_than_information() {
    let cloud = Cloud::with_rows().await;
    assert_eq!(findings(&cloud).await, Vec::<String>::new());
    let all = all(&cloud).await;
    assert!(all.iter().any(|finding| finding.what.starts_with("no event trigger")), "{all:?}");
}

#[tokio::test]
async fn a_database_that_is_not_attached_is_told_so() {
    let database = cloud_server::test_support::database().await;
    let db = Database::open(database.url(), 2).unwrap();
    let findings = doctor::examine(&db, &cloud_server::settings::Settings::default()).await.unwrap();
    assert_eq!((findings.len(), findings[0].severity, findings[0].remedy.as_str()), (1, Severity::Error, "rejoin attach"));
}

#[tokio::test]
async fn tables_of_ours_that_somebody_dropped_are_named_whichever_they_are() {
    let cloud = Cloud::with_rows().await;
    let db = Database::open(cloud.database.url(), 2).unwrap();
    let settings = VIDEO_PRODUCTION.settings().unwrap();
    let tables: Vec<String> = cloud
        .sql
        .query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'rejoin' AND tablename NOT LIKE 'migrations\\_%' ORDER BY 1", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        // Some hold others: what hangs from one is not what this is about.
        cloud.run(&format!("ALTER TABLE rejoin.{table} RENAME TO away")).await;
        let found = all(&cloud).await;
        let said: Vec<_> = found.iter().map(|finding| (finding.severity, finding.what.as_str())).collect();
        assert_eq!(said, [(Severity::Error, format!("rejoin.{table} is gone: the cloud cannot go on without").as_str())]);
        assert!(found[0].remedy.contains("backup") && found[0].remedy.contains("rejoin detach --yes"), "{}", found[0].remedy);
        let error = doctor::mend(&db, &settings, Some(VIDEO_PRODUCTION)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("rejoin.{table} is gone: ")), "{error}");
        cloud.run(&format!("ALTER TABLE rejoin.away RENAME TO {table}")).await;
    }
    assert_eq!(findings(&cloud).await, Vec::<String>::new());
    cloud.run("DROP TABLE rejoin.users CASCADE; DROP TABLE rejoin.state").await;
    assert!(all(&cloud).await[0].what.starts_with("rejoin.state, rejoin.users are gone"));
    cloud_server::detach::detach(&db, &Pace::quiet()).await.unwrap();
    let found = all(&cloud).await;
    assert_eq!((found.len(), found[0].remedy.as_str()), (1, "rejoin attach"));
}

#[tokio::test]
async fn what_others_dropped_disabled_or_put_after_ours_is_named() {
    let cloud = Cloud::with_rows().await;
    let gone: String =
        cloud.one("SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'sources'::regclass AND tgname LIKE '%\\_gone'").await;
    let no: i32 = cloud.one("SELECT no FROM rejoin.tables WHERE table_name = 'sends'").await;
    cloud
        .run(&format!(
            r#"DROP TRIGGER "{gone}" ON sources; ALTER TABLE productions DISABLE TRIGGER USER; DROP INDEX rejoin_{no}_feed;
               CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
               CREATE TRIGGER "~~late" BEFORE UPDATE ON sends FOR EACH ROW EXECUTE FUNCTION late();
               ALTER TABLE connections DROP COLUMN rejoin_synced_at"#
        ))
        .await;
    let found = findings(&cloud).await;
    let has = |what: &str| assert!(found.iter().any(|one| one == what), "{what}\nin {found:#?}");
    has(&format!("Error sources: the trigger {gone} is gone: writes are not captured"));
    has(&format!("Error productions: the trigger {gone} is disabled: writes are not captured"));
    has(&format!("Warning sends: the index rejoin_{no}_feed is gone: pulls read the whole table"));
    has("Warning sends: the trigger ~~late runs after Rejoin's: what it changes in a row may not travel");
    has("Error connections.rejoin_synced_at: a column that Rejoin needs is gone");
    assert!(found[0].starts_with("Error") && found.last().unwrap().starts_with("Warning"), "worst first: {found:#?}");
}

#[tokio::test]
async fn a_table_that_can_be_synced_no_longer_is_named_with_its_reason() {
    let cloud = Cloud::with_rows().await;
    cloud.run("ALTER TABLE sends DROP CONSTRAINT sends_pkey CASCADE").await;
    let found = findings(&cloud).await;
    let words =
        "Error sends: is synced so far, and cannot be any more: it has no primary key; the cloud serves on under the catalog that it has";
    assert!(found.iter().any(|one| one == words), "{found:#?}");
}

#[tokio::test]
async fn one_table_that_does_not_fit_is_named_with_its_cure_and_keeps_no_other_from_being_mended() {
    let cloud = Cloud::with_rows().await;
    cloud.run("ALTER TABLE sends DROP CONSTRAINT sends_pkey CASCADE").await;
    let gone: String =
        cloud.one("SELECT string_agg(format('DROP TRIGGER %I ON sources', tgname), ';') FROM pg_trigger WHERE tgrelid = 'sources'::regclass AND tgname LIKE '~rejoin%'").await;
    cloud.run(&format!("{gone}; INSERT INTO sources (id, production_id, type, name, rate) SELECT gen_random_uuid(), production_id, type, 'missed', rate FROM sources WHERE id = '{S1}'")).await;
    let db = Database::open(cloud.database.url(), 2).unwrap();
    let held = doctor::mend(&db, &VIDEO_PRODUCTION.settings().unwrap(), None).await.unwrap();
    assert!(held.is_some_and(|held| held.to_string().contains("public.sends (has no primary key)")));
    let all = all(&cloud).await;
    let worse: Vec<_> = all.iter().filter(|finding| finding.severity > Severity::Info).collect();
    assert_eq!(worse.len(), 1, "{worse:#?}");
    assert!(worse[0].remedy.starts_with("ALTER TABLE \"public\".\"sends\" ADD PRIMARY KEY (\"id\"); "), "{worse:#?}");
    let scoped: String = cloud.one("SELECT rejoin_scope FROM sources WHERE name = 'missed'").await;
    assert_eq!(scoped, format!("productions/{P1}"), "what came meanwhile travels");
    // Once all fits, it is fed whole: what was changed or deleted meanwhile left no trace.
    let before: i32 = cloud.one("SELECT generation FROM rejoin.tables WHERE table_name = 'sources'").await;
    cloud.run("ALTER TABLE sends ADD PRIMARY KEY (id)").await;
    assert!(doctor::mend(&db, &VIDEO_PRODUCTION.settings().unwrap(), None).await.unwrap().is_none());
    db.close();
    assert_eq!(findings(&cloud).await, Vec::<String>::new());
    assert_eq!(cloud.one::<i32>("SELECT generation FROM rejoin.tables WHERE table_name = 'sources'").await, before + 1);
}

#[tokio::test]
async fn rows_written_past_the_triggers_are_counted() {
    let cloud = Cloud::with_rows().await;
    let admin = connect(cloud.database.superuser_url()).await;
    admin
        .batch_execute(&format!(
            "SET session_replication_role = replica;
             UPDATE sources SET name = 'past', rejoin_tick = 99 WHERE id = '{S1}';
             ALTER TABLE productions ALTER rejoin_tick DROP NOT NULL;
             UPDATE productions SET rejoin_tick = NULL WHERE id = '{P1}'"
        ))
        .await
        .unwrap();
    let found = findings(&cloud).await;
    let has = |what: &str| assert!(found.iter().any(|one| one.starts_with(what)), "{what}\nin {found:#?}");
    has("Error sources: 1 rows carry ticks that were never given");
    has("Error productions: 1 rows have no stamps");
}

#[tokio::test]
async fn rows_written_past_the_triggers_are_stamped_and_travel_once_it_is_mended() {
    let cloud = Cloud::with_rows().await;
    let superuser = connect(cloud.database.superuser_url()).await;
    let more = format!(
        "SET session_replication_role = replica;
         INSERT INTO sources (id, production_id, type, name, rate) SELECT gen_random_uuid(), production_id, type, 'past', rate FROM sources WHERE id = '{S1}';
         UPDATE productions SET client = 'changed' WHERE id = '{P1}'"
    );
    superuser.batch_execute(&more).await.unwrap();
    assert!(
        findings(&cloud).await.iter().any(|line| line.contains("sources: 1 rows carry ticks that were never given")),
        "{:?}",
        findings(&cloud).await
    );
    let db = Database::open(cloud.database.url(), 2).unwrap();
    let before: i32 = cloud.one("SELECT generation FROM rejoin.tables WHERE table_name = 'sources'").await;
    doctor::mend(&db, &VIDEO_PRODUCTION.settings().unwrap(), None).await.unwrap();
    db.close();
    assert_eq!(findings(&cloud).await, Vec::<String>::new());
    let scoped: String = cloud.one("SELECT rejoin_scope FROM sources WHERE name = 'past'").await;
    assert_eq!(scoped, format!("productions/{P1}"));
    // What was deleted that way left no trace: sites let go of what does not come with the feed.
    let after: i32 = cloud.one("SELECT generation FROM rejoin.tables WHERE table_name = 'sources'").await;
    assert_eq!(after, before + 1);
}
