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
    assert!(matches!(&error, PrepareError::Unreached(tables, None) if *tables == ["public.item", "public.shop"]), "{error}");
    assert_eq!(prepare(&db, &whole, None).await.unwrap().version, before.version);
    // Said on purpose, or dropped: then it goes.
    prepare(&db, &Settings::parse("root = 'shop'\nleft_out = ['item']").unwrap(), None).await.unwrap();
}

#[tokio::test]
async fn rows_that_a_policy_hides_from_us_are_an_obstacle_and_later_on_stop_everything() {
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let db = Database::open(database.url(), 2).unwrap();
    let force = "ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY";
    sql.batch_execute(&format!(
        "CREATE TABLE shop (id uuid PRIMARY KEY); CREATE TABLE item (id uuid PRIMARY KEY, shop_id uuid NOT NULL REFERENCES shop); {force}"
    ))
    .await
    .unwrap();
    let settings = Settings::parse("root = 'shop'").unwrap();
    let plan = prepare::plan(&db, &settings).await.unwrap();
    let item = plan.tables.iter().find(|entry| entry.table == "item").unwrap();
    assert!(!item.synced && item.reason.contains("FORCE ROW LEVEL SECURITY"), "{}", item.reason);
    // Policies that hold for others only disturb nobody.
    sql.batch_execute("ALTER TABLE item NO FORCE ROW LEVEL SECURITY").await.unwrap();
    let before = prepare(&db, &settings, None).await.unwrap();
    assert!(before.by_name("public.item").or(before.by_name("item")).is_some());
    sql.batch_execute(force).await.unwrap();
    let error = prepare(&db, &settings, None).await.unwrap_err();
    assert!(matches!(&error, PrepareError::Hidden(tables) if tables[..] == ["item"]), "{error}");
    let findings = cloud_server::store::doctor::examine(&db, &settings).await.unwrap();
    assert!(findings.iter().any(|one| one.table.as_deref() == Some("item") && one.what.contains("hides rows")), "{findings:?}");
    sql.batch_execute("ALTER TABLE item NO FORCE ROW LEVEL SECURITY").await.unwrap();
    assert_eq!(prepare(&db, &settings, None).await.unwrap().version, before.version);
}

#[tokio::test]
async fn whatever_hangs_from_what_detach_takes_out_is_named_before_anything_goes() {
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let db = Database::open(database.url(), 2).unwrap();
    sql.batch_execute(
        "CREATE TABLE shop (id uuid PRIMARY KEY, name text) ; CREATE TABLE item (id uuid PRIMARY KEY, shop_id uuid NOT NULL REFERENCES shop);
         CREATE TABLE log (id integer, at date, shop_id uuid NOT NULL REFERENCES shop, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')",
    )
    .await
    .unwrap();
    prepare(&db, &Settings::parse("root = 'shop'").unwrap(), None).await.unwrap();
    assert_eq!(cloud_server::detach::traces(&db).await.unwrap().dependents, Vec::<String>::new(), "what is ours is not in our way");
    sql.batch_execute(
        "CREATE POLICY recent ON shop USING (rejoin_version > 1);
         ALTER TABLE shop ADD twice bigint GENERATED ALWAYS AS (rejoin_version * 2) STORED;
         CREATE INDEX shop_changed ON shop (rejoin_updated_at); CREATE INDEX log_changed ON log (rejoin_updated_at);
         ALTER TABLE item ADD CONSTRAINT counted CHECK (rejoin_version > 0);
         CREATE VIEW scopes AS SELECT rejoin_scope FROM item;
         CREATE PUBLICATION changes FOR TABLE item (id, rejoin_version);
         CREATE TABLE notes (by text REFERENCES rejoin.users)",
    )
    .await
    .unwrap();
    let dependents = cloud_server::detach::traces(&db).await.unwrap().dependents;
    for what in [
        "policy recent",
        "twice",
        "index shop_changed",
        "index log_changed",
        "constraint counted",
        "view scopes",
        "publication changes",
        "notes",
    ] {
        assert!(dependents.iter().any(|one| one.contains(what)), "{what}: {dependents:#?}");
    }
    let columns = "SELECT count(*) FROM pg_attribute WHERE attname = 'rejoin_tick' AND NOT attisdropped";
    let before: i64 = sql.query_one(columns, &[]).await.unwrap().get(0);
    let refused = cloud_server::detach::detach(&db, &cloud_server::store::pace::Pace::quiet()).await;
    assert!(matches!(refused, Err(cloud_server::detach::DetachError::Dependents(_))), "{refused:?}");
    assert_eq!(sql.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), before);
}

#[tokio::test]
async fn names_in_the_settings_that_no_table_has_are_told() {
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let db = Database::open(database.url(), 2).unwrap();
    sql.batch_execute("CREATE TABLE shop (id uuid PRIMARY KEY, gone boolean NOT NULL DEFAULT false, version integer)").await.unwrap();
    let told = async |text: &str| prepare::plan(&db, &Settings::parse(text).unwrap()).await.unwrap();
    let plan = told("root = 'shop'\nsoft_delete = 'deleted'\n[stamps]\nversion = 'versoin'").await;
    let expected = [
        "rejoin.toml, line 2: soft_delete: no table has a column deleted",
        "rejoin.toml, line 4: stamps.version: no table has a column versoin",
    ];
    assert_eq!(plan.warnings, expected);
    let plan = told("root = 'shop'\nsoft_delete = 'gone'\n[stamps]\nversion = 'version'").await;
    assert!(plan.warnings.is_empty());
    let mapped: Vec<(&str, &str)> = plan.tables[0].mapped.iter().map(|(what, name)| (*what, name.as_str())).collect();
    assert_eq!(mapped, [("softDelete", "gone"), ("version", "version")]);
    assert!(told("").await.warnings[0].contains("no table travels"));
}

#[tokio::test]
async fn whoever_keeps_the_feed_index_waiting_is_named() {
    use cloud_server::store::prepare::Progress;
    let database = test_support::database().await;
    let sql = connect(database.url()).await;
    let reader = connect(database.url()).await;
    let db = Database::open(database.url(), 3).unwrap();
    // Large enough for an index that is built beside its users.
    sql.batch_execute(
        "CREATE TABLE shop (id integer PRIMARY KEY, text text NOT NULL); ALTER TABLE shop ALTER text SET STORAGE PLAIN;
         INSERT INTO shop SELECT n, repeat('x', 3900) FROM generate_series(1, 2600) n",
    )
    .await
    .unwrap();
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'an old report'").await.unwrap();
    let pid: i32 = reader.query_one("SELECT pg_backend_pid() /* an old report */", &[]).await.unwrap().get(0);
    let (told, said) = (std::sync::Arc::new(tokio::sync::Notify::new()), std::sync::Mutex::new(Vec::new()));
    let ending = tokio::spawn({
        let told = told.clone();
        async move {
            told.notified().await;
            reader.batch_execute("COMMIT").await.unwrap();
        }
    });
    let watch = |step: Progress<'_>| {
        if let Progress::Held { pid, what, .. } = step {
            said.lock().unwrap().push((pid, what.to_owned()));
            told.notify_one();
        }
    };
    let pace = cloud_server::store::pace::Pace { watch: &watch, ..cloud_server::store::pace::Pace::quiet() };
    prepare::prepare_at(&db, &Settings::parse("root = 'shop'").unwrap(), None, &pace).await.unwrap();
    ending.await.unwrap();
    let (by, what) = said.lock().unwrap().remove(0);
    assert_eq!(by, pid);
    assert!(what.contains("idle in transaction: SELECT pg_backend_pid() /* an old report */"), "{what}");
}
