//! An attached database with a running cloud and a site that is offline most of the time and has unsent edits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloud_server::test_support::Database;
use rejoin_tests::World;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::project::Project;

/// The shop that is there from the beginning.
pub(crate) const SHOP: &str = "00000000-0000-4000-8000-000000000001";

/// How long anything may take.
const WAIT: Duration = Duration::from_secs(60);

const SITE: &str = "hall";

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) project: Project,
    sql: Client,
    /// What was seen of each row's version, at the cloud and at the site.
    versions: BTreeMap<String, i64>,
    /// How often the site was offline.
    round: u32,
    /// What items are called.
    pub(crate) name: &'static str,
}

impl Scene {
    /// Attaches the tables that the project made, with rows in them, and lets a site join.
    pub(crate) async fn attach(database: Database, project: Project) -> Self {
        let (sql, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let rows = format!(
            "INSERT INTO shops (id, name, city) VALUES ('{SHOP}', 'One', 'Rome');
             INSERT INTO items (shop_id, name, price) SELECT '{SHOP}', 'item ' || n, n FROM generate_series(1, 20) n"
        );
        sql.batch_execute(&rows).await.unwrap();
        let said = project.rejoin(&["attach", "--root", "shops"]);
        assert!(said.ok, "{}", said.text);
        let world = World::on(database, &project.read("rejoin.toml"), &[SITE]).await;
        Self { world, project, sql, versions: BTreeMap::new(), round: 0, name: "name" }
    }

    /// The link is cut and the site edits, inserts and deletes.
    pub(crate) async fn offline(&mut self) {
        self.round += 1;
        let (site, n) = (self.world.site(SITE), self.round);
        site.link.cut();
        let own = format!("00000000-0000-4000-9000-{n:012}");
        site.api.patch(&format!("/api/shops/{SHOP}"), json!({"city": format!("city {n}")})).await.ok();
        site.api.patch(&format!("/api/items/{n}"), json!({self.name: format!("edited {n}")})).await.ok();
        site.api.post("/api/shops", json!({"id": own, "name": format!("site {n}")})).await.ok();
        site.api.post("/api/items", json!({"shop_id": own, self.name: format!("added {n}"), "price": "9.90"})).await.ok();
        site.api.delete(&format!("/api/items/{}", 10 + n)).await.ok();
        self.seen().await;
    }

    /// The link is healed: what the site did offline is at the cloud, both are equal, and no version went back.
    pub(crate) async fn lands(&mut self) {
        let n = self.round;
        self.world.site(SITE).link.heal();
        self.world.converge().await;
        assert_eq!(self.world.pending_conflicts().await, Vec::<Value>::new());
        let name = self.name;
        for there in [
            format!("SELECT city = 'city {n}' FROM shops WHERE id = '{SHOP}'"),
            format!("SELECT {name} = 'edited {n}' FROM items WHERE id = {n}"),
            format!(
                "SELECT count(*) = 1 FROM items i JOIN shops s ON s.id = i.shop_id WHERE s.name = 'site {n}' AND i.{name} = 'added {n}'"
            ),
            format!("SELECT count(*) = 0 FROM items WHERE id = {}", 10 + n),
        ] {
            assert!(self.holds(&there).await, "{there}");
        }
        self.seen().await;
        self.project.is_healthy();
    }

    /// What a record's column is at the site.
    pub(crate) async fn at_site(&self, place: &str, column: &str) -> Value {
        self.world.site(SITE).api.get(&format!("/api/{place}")).await.ok()[column].clone()
    }

    /// How many records of a table have this at the site.
    pub(crate) async fn count_at_site(&self, query: &str) -> usize {
        self.world.site(SITE).api.get(&format!("/api/{query}")).await.ok()["data"].as_array().unwrap().len()
    }

    pub(crate) async fn holds(&self, sql: &str) -> bool {
        self.sql.query_opt(sql, &[]).await.unwrap().is_some_and(|row| row.get(0))
    }

    /// Waits for the running cloud.
    pub(crate) async fn until(&self, sql: &str) {
        let deadline = Instant::now() + WAIT;
        while !self.holds(sql).await {
            assert!(Instant::now() < deadline, "never: {sql}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until the cloud has published a column.
    pub(crate) async fn published(&self, column: &str) {
        self.until(&format!("SELECT body::text LIKE '%\"{column}\"%' FROM rejoin.catalogs ORDER BY version DESC LIMIT 1")).await;
    }

    /// How many of our columns a table has.
    pub(crate) async fn columns(&self, table: &str) -> i64 {
        let sql =
            "SELECT count(*) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname LIKE 'rejoin\\_%' AND NOT attisdropped";
        self.sql.query_one(sql, &[&table]).await.unwrap().get(0)
    }

    /// Looks at every version, at the cloud and at the site: none is below what it was.
    async fn seen(&mut self) {
        let mut now = Vec::new();
        for row in self
            .sql
            .query("SELECT id::text, rejoin_version FROM shops UNION ALL SELECT id::text, rejoin_version FROM items", &[])
            .await
            .unwrap()
        {
            now.push((format!("cloud {}", row.get::<_, String>(0)), row.get(1)));
        }
        let file = Connection::open(self.world.site(SITE).database()).unwrap();
        let mut rows =
            file.prepare("SELECT id, rejoin_version FROM shops UNION ALL SELECT CAST(id AS TEXT), rejoin_version FROM items").unwrap();
        let rows = rows.query_map([], |row| Ok((format!("site {}", row.get::<_, String>(0)?), row.get::<_, i64>(1)?))).unwrap();
        now.extend(rows.map(Result::unwrap));
        for (row, version) in now {
            let before = self.versions.insert(row.clone(), version).unwrap_or_default();
            assert!(version >= before, "{row} went from version {before} to {version}");
        }
    }
}
