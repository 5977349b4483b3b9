//! A prepared database with the video-production system, and plain SQL on it as any program would send it.

use std::sync::Arc;

use cloud_server::store::pool::Database;
use cloud_server::store::prepare;
use cloud_server::systems::VIDEO_PRODUCTION;
use cloud_server::test_support::{self, database_like};
use sync_core::catalog::Catalog;
use tokio_postgres::{Client, NoTls};

/// Ids of rows that tests name.
pub const P1: &str = "0198c0de-0000-7000-8000-0000000000a1";
pub const P2: &str = "0198c0de-0000-7000-8000-0000000000a2";
pub const S1: &str = "0198c0de-0000-7000-8000-0000000000b1";
pub const S2: &str = "0198c0de-0000-7000-8000-0000000000b2";

pub struct Cloud {
    pub database: test_support::Database,
    pub sql: Client,
}

/// Where a row stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub scope: String,
    pub tick: i64,
    pub version: i64,
}

/// A tombstone or a left mark.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    pub scope: String,
    pub key: Vec<String>,
    pub tick: i64,
    pub version: i64,
    pub left: bool,
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub async fn prepared(url: &str) -> Arc<Catalog> {
    let db = Database::open(url, 4).unwrap();
    let catalog = prepare(&db, &VIDEO_PRODUCTION.settings().unwrap(), Some(VIDEO_PRODUCTION)).await.unwrap();
    db.close();
    catalog
}

impl Cloud {
    pub async fn start() -> Self {
        let database = database_like("video", |url| async move { drop(prepared(&url).await) }).await;
        let sql = connect(database.url()).await;
        Self { database, sql }
    }

    /// With the productions P1 and P2, each with a source (S1, S2) that has one output.
    pub async fn with_rows() -> Self {
        let cloud = Self::start().await;
        cloud
            .run(&format!(
                "INSERT INTO productions (id, client, show_name) VALUES ('{P1}', 'c', 'one'), ('{P2}', 'c', 'two');
                 INSERT INTO sources (id, production_id, type, name) VALUES ('{S1}', '{P1}', 't', 'a'), ('{S2}', '{P2}', 't', 'b');
                 INSERT INTO source_outputs (id, source_id, connector) VALUES ('{S1}', '{S1}', 'SDI'), ('{S2}', '{S2}', 'SDI');"
            ))
            .await;
        cloud
    }

    /// Runs statements as one transaction, like any program that knows nothing of us.
    pub async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap();
    }

    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.sql.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub async fn row(&self, table: &str, id: &str) -> Row {
        let sql = format!("SELECT rejoin_scope, rejoin_tick, version::bigint FROM {table} WHERE id = '{id}'");
        let row = self.sql.query_one(&sql, &[]).await.unwrap();
        Row { scope: row.get(0), tick: row.get(1), version: row.get(2) }
    }

    pub async fn head(&self, production: &str) -> i64 {
        self.one(&format!("SELECT head FROM rejoin.scopes WHERE scope = 'productions/{production}'")).await
    }

    /// The tombstones and marks of a table, by scope and key.
    pub async fn gone(&self, table: &str) -> Vec<Gone> {
        let sql =
            "SELECT g.scope, g.key, g.tick, g.version, g.left_scope FROM rejoin.tombstones g JOIN rejoin.tables t ON t.no = g.table_no
                   WHERE t.table_name = $1 ORDER BY g.scope, g.key";
        let rows = self.sql.query(sql, &[&table]).await.unwrap();
        rows.iter()
            .map(|row| Gone { scope: row.get(0), key: row.get(1), tick: row.get(2), version: row.get(3), left: row.get(4) })
            .collect()
    }

    /// Every row's tick has an entry in `rejoin.ticks`, none is above its scope's head, none lacks a scope of its parent.
    pub async fn check(&self) {
        for table in ["productions", "sources", "source_outputs", "sends", "connections", "equipment_specs"] {
            let astray: i64 = self
                .one(&format!(
                    "SELECT count(*) FROM {table} t LEFT JOIN rejoin.ticks k ON k.scope = t.rejoin_scope AND k.tick = t.rejoin_tick
                     LEFT JOIN rejoin.scopes s ON s.scope = t.rejoin_scope
                     WHERE k.tick IS NULL OR t.rejoin_tick > s.head"
                ))
                .await;
            assert_eq!(astray, 0, "{table}");
        }
        let wrong: i64 = self
            .one(
                "SELECT (SELECT count(*) FROM sources s WHERE s.rejoin_scope <> 'productions/' || s.production_id)
                      + (SELECT count(*) FROM source_outputs o JOIN sources s ON s.id = o.source_id WHERE o.rejoin_scope <> s.rejoin_scope)",
            )
            .await;
        assert_eq!(wrong, 0, "rows in a scope that is not theirs");
    }
}
