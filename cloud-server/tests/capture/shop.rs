//! A small database of somebody's own, with integer keys and a column of the policy `newest`.

use std::sync::Arc;

use cloud_server::detach::detach;
use cloud_server::settings::Settings;
use cloud_server::store::doctor;
use cloud_server::store::pace::Pace;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::test_support;
use sync_core::catalog::Catalog;
use tokio_postgres::Client;

use super::cloud::connect;

pub const SETTINGS: &str = "root = 'shop'\n[tables.item.policies]\nprice = 'newest'\n";

pub struct Shop {
    pub database: test_support::Database,
    db: Database,
    pub sql: Client,
}

impl Shop {
    /// Two shops, 1 and 2, with the items 11 and 21, each with a label.
    pub async fn open() -> Self {
        Self::of(
            "CREATE TABLE shop (id integer PRIMARY KEY, name text);
             CREATE TABLE item (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop, price integer, note varchar(20));
             CREATE TABLE label (id integer PRIMARY KEY, item_id integer NOT NULL REFERENCES item ON DELETE CASCADE, text text);
             INSERT INTO shop VALUES (1, 'a'), (2, 'b');
             INSERT INTO item (id, shop_id, price) VALUES (11, 1, 5), (21, 2, 5);
             INSERT INTO label VALUES (111, 11, 'x'), (211, 21, 'y')",
            SETTINGS,
        )
        .await
    }

    pub async fn of(sql: &str, settings: &str) -> Self {
        let database = test_support::database().await;
        let db = Database::open(database.url(), 2).unwrap();
        let shop = Self { sql: connect(database.url()).await, database, db };
        shop.run(sql).await;
        shop.prepare(settings).await;
        shop
    }

    pub async fn run(&self, sql: &str) {
        if let Err(error) = self.sql.batch_execute(sql).await {
            panic!("{error:?}\nin {sql}");
        }
    }

    /// As the cluster's superuser.
    pub async fn run_as_owner(&self, sql: &str) {
        connect(self.database.superuser_url()).await.batch_execute(sql).await.unwrap();
    }

    pub async fn one(&self, sql: &str) -> String {
        self.sql.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Looks at the schema, as a cloud does.
    pub async fn prepare(&self, settings: &str) -> Arc<Catalog> {
        prepare(&self.db, &Settings::parse(settings).unwrap(), None).await.unwrap()
    }

    /// `rejoin doctor --mend`.
    pub async fn mend(&self, settings: &str) {
        doctor::mend(&self.db, &Settings::parse(settings).unwrap(), None).await.unwrap();
    }

    /// What `rejoin doctor` says that is worse than information.
    pub async fn doctor(&self, settings: &str) -> Vec<String> {
        let findings = doctor::examine(&self.db, &Settings::parse(settings).unwrap()).await.unwrap();
        let bad = findings.into_iter().filter(|finding| finding.severity > doctor::Severity::Info);
        bad.map(|finding| format!("{}: {}", finding.table.unwrap_or_default(), finding.what)).collect()
    }

    /// Takes every trace of Rejoin out.
    pub async fn leave(&self) {
        self.db.close();
        let db = Database::open(self.database.url(), 1).unwrap();
        detach(&db, &Pace::quiet()).await.unwrap();
    }

    /// `key scope` of each row of a table, and that every tick was given.
    pub async fn rows(&self, table: &str, key: &str) -> String {
        let astray = format!(
            "SELECT count(*)::text FROM {table} t LEFT JOIN rejoin.ticks k ON k.scope = t.rejoin_scope AND k.tick = t.rejoin_tick WHERE k.tick IS NULL"
        );
        assert_eq!(self.one(&astray).await, "0", "rows of {table} without a tick that was given");
        assert_eq!(self.one("SELECT count(*)::text FROM rejoin.drifted").await, "0");
        self.one(&format!("SELECT string_agg({key} || ' ' || rejoin_scope, ', ' ORDER BY {key}) FROM {table}")).await
    }
}
