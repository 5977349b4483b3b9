//! What prepare refuses to do, and migrations.

use cloud_server::settings::Settings;
use cloud_server::store::migrate::{self, MigrateError};
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::store::prepare::PrepareError;
use cloud_server::systems::VIDEO_PRODUCTION;
use cloud_server::test_support;

use crate::cloud::connect;

#[tokio::test]
async fn migrations_go_forward_only_and_can_be_looked_at_first() {
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let db = Database::open(database.url(), 2).unwrap();
    let system = Some(VIDEO_PRODUCTION);
    let pending = migrate::status(&db, system).await.unwrap();
    assert!(pending.iter().all(|step| step.applied_on.is_none()) && pending.len() == 4, "{pending:?}");
    let dry = migrate::dry_run(&db, system).await.unwrap();
    assert!(dry.starts_with("-- engine V1__engine\n") && dry.contains("CREATE TABLE productions"), "{dry}");
    assert_eq!(migrate::up(&db, system).await.unwrap().len(), 4);
    assert_eq!((migrate::up(&db, system).await.unwrap().len(), migrate::dry_run(&db, system).await.unwrap().as_str()), (0, ""));
    assert!(migrate::status(&db, system).await.unwrap().iter().all(|step| step.applied_on.is_some()));
    let id: String = {
        let sql = "INSERT INTO productions (client, show_name) VALUES ('c', 's') RETURNING id::text";
        connect(database.url()).await.query_one(sql, &[]).await.unwrap().get(0)
    };
    assert_eq!(&id[14..15], "7", "{id}");

    sql.batch_execute("UPDATE rejoin.state SET value = 'other' WHERE key = 'system'").await.unwrap();
    let error = migrate::up(&db, system).await.unwrap_err();
    assert_eq!(error.to_string(), "the database holds the system other, not video-production");
    sql.batch_execute("INSERT INTO rejoin.migrations VALUES (9, 'later', '2030-01-01T00:00:00Z', '1')").await.unwrap();
    let error = prepare(&db, &VIDEO_PRODUCTION.settings().unwrap(), system).await.unwrap_err();
    assert!(matches!(error, PrepareError::Migrate(MigrateError::Newer { found: 9, known: 3, .. })), "{error}");
    assert!(error.to_string().contains("engine is at version 9, this program knows 3"), "{error}");
}

#[tokio::test]
async fn a_role_that_does_not_own_the_database_is_told_so() {
    let database = test_support::database().await;
    let admin = connect(database.superuser_url()).await;
    let role = format!("guest_{}", database.name());
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'guest'")).await.unwrap();
    let at = database.url().split_once('@').unwrap().1;
    let db = Database::open(&format!("postgresql://{role}:guest@{at}"), 2).unwrap();
    let error = prepare(&db, &Settings::default(), None).await.unwrap_err();
    assert!(matches!(error, PrepareError::Migrate(MigrateError::NotOwner { .. })), "{error}");
    db.close();
    admin.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn settings_that_lose_synced_tables_are_refused_before_anything_is_undone() {
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let db = Database::open(database.url(), 2).unwrap();
    sql.batch_execute(
        "CREATE TABLE shop (id uuid PRIMARY KEY); CREATE TABLE item (id uuid PRIMARY KEY, shop_id uuid NOT NULL REFERENCES shop)",
    )
    .await
    .unwrap();
    let whole = Settings::parse("root = 'shop'").unwrap();
    let before = prepare(&db, &whole, None).await.unwrap();
    let error = prepare(&db, &Settings::parse("").unwrap(), None).await.unwrap_err();
    assert!(matches!(&error, PrepareError::Unreached(tables) if *tables == ["public.item", "public.shop"]), "{error}");
    assert_eq!(prepare(&db, &whole, None).await.unwrap().version, before.version);
    // Said on purpose, or dropped: then it goes.
    prepare(&db, &Settings::parse("root = 'shop'\nleft_out = ['item']").unwrap(), None).await.unwrap();
}
