//! The feed cannot skip a commit: while programs write whatever they like, a reader that only ever asks for what is above its cursors
//! ends with exactly the rows that are there.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "the tests' own module")]

mod cloud;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use cloud::{Cloud, connect};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const TABLES: [&str; 4] = ["productions", "sources", "source_outputs", "connections"];
const WRITERS: u64 = 4;
const WRITES: usize = 100;

/// One random transaction of a program that knows nothing of us.
fn transaction(random: &mut StdRng) -> String {
    let mut statements = vec!["BEGIN".to_owned()];
    for _ in 0..random.random_range(1..4) {
        let any = |random: &mut StdRng, table: &str| {
            format!("(SELECT id FROM {table} WHERE get_byte(uuid_send(id), 15) % 7 >= {} ORDER BY id LIMIT 1)", random.random_range(0..7))
        };
        let statement = match random.random_range(0..12) {
            0 => "INSERT INTO productions (client, show_name) VALUES ('c', 's')".to_owned(),
            1 | 2 => format!(
                "INSERT INTO sources (production_id, type, name) SELECT id, 't', 'n' FROM productions WHERE id = {}",
                any(random, "productions")
            ),
            3 | 4 => format!(
                "INSERT INTO source_outputs (source_id, connector) SELECT id, 'SDI' FROM sources WHERE id = {}",
                any(random, "sources")
            ),
            5 => format!(
                "INSERT INTO connections (production_id, source_id, destination_type) SELECT production_id, id, 'd' FROM sources WHERE id = {}",
                any(random, "sources")
            ),
            6 => format!("UPDATE sources SET name = name || 'x', version = version + 1 WHERE id = {}", any(random, "sources")),
            7 => format!(
                "UPDATE source_outputs SET connector = '{}' WHERE id = {}",
                random.random_range(0..99),
                any(random, "source_outputs")
            ),
            8 => format!(
                "UPDATE sources SET production_id = coalesce({}, production_id) WHERE id = {}",
                any(random, "productions"),
                any(random, "sources")
            ),
            9 => format!("DELETE FROM sources WHERE id = {}", any(random, "sources")),
            10 => format!("UPDATE sources SET id = uuidv7() WHERE id = {}", any(random, "sources")),
            _ if random.random_range(0..5) == 0 => format!("DELETE FROM productions WHERE id = {}", any(random, "productions")),
            _ => format!("UPDATE productions SET venue = '{}' WHERE id = {}", random.random_range(0..99), any(random, "productions")),
        };
        statements.push(statement);
    }
    if random.random_range(0..6) == 0 {
        statements.insert(1, "SAVEPOINT a".to_owned());
        statements.push("ROLLBACK TO a".to_owned());
    }
    statements.push(if random.random_range(0..8) == 0 { "ROLLBACK" } else { "COMMIT" }.to_owned());
    statements.join("; ")
}

async fn write(url: &str, seed: u64) -> usize {
    let (sql, mut random, mut done) = (connect(url).await, StdRng::seed_from_u64(seed), 0);
    for _ in 0..WRITES {
        match sql.batch_execute(&transaction(&mut random)).await {
            Ok(()) => done += 1,
            Err(error) => {
                // Plain transactions over several scopes may run into each other; a source may be deleted under its new output.
                let expected = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::FOREIGN_KEY_VIOLATION];
                assert!(expected.contains(error.code().unwrap()), "{error:?}");
                sql.batch_execute("ROLLBACK").await.unwrap();
            }
        }
    }
    done
}

/// What a site that holds every scope knows.
#[derive(Default)]
struct Replica {
    cursors: BTreeMap<String, i64>,
    rows: BTreeMap<(String, String), (String, i64, String)>,
}

impl Replica {
    async fn pull(&mut self, sql: &mut Client) {
        let snapshot = sql.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await.unwrap();
        let heads = snapshot.query("SELECT scope, head FROM rejoin.scopes", &[]).await.unwrap();
        let heads: BTreeMap<String, i64> = heads.iter().map(|row| (row.get(0), row.get(1))).collect();
        let (scopes, cursors): (Vec<&str>, Vec<i64>) =
            heads.keys().map(|scope| (scope.as_str(), self.cursors.get(scope).copied().unwrap_or(0))).unzip();
        let gone = "SELECT t.table_name, g.key[1], g.scope, g.tick FROM unnest($1::text[], $2::bigint[]) c(scope, tick)
                    JOIN rejoin.tombstones g ON g.scope = c.scope AND g.tick > c.tick JOIN rejoin.tables t ON t.no = g.table_no";
        for row in snapshot.query(gone, &[&scopes, &cursors]).await.unwrap() {
            let (key, scope, tick): (_, String, i64) = ((row.get(0), row.get(1)), row.get(2), row.get(3));
            if self.rows.get(&key).is_some_and(|(at, seen, _)| *at == scope && *seen < tick) {
                self.rows.remove(&key);
            }
        }
        for table in TABLES {
            let fed = format!(
                "SELECT r.id::text, r.rejoin_scope, r.rejoin_tick, (to_jsonb(r) - 'synced_at')::text
                 FROM unnest($1::text[], $2::bigint[]) c(scope, tick) JOIN {table} r ON r.rejoin_scope = c.scope AND r.rejoin_tick > c.tick"
            );
            for row in snapshot.query(&fed, &[&scopes, &cursors]).await.unwrap() {
                assert!(row.get::<_, i64>(2) <= heads[row.get::<_, &str>(1)], "a row above its head");
                self.rows.insert((table.to_owned(), row.get(0)), (row.get(1), row.get(2), row.get(3)));
            }
        }
        snapshot.commit().await.unwrap();
        self.cursors = heads;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_follows_the_ticks_ends_with_exactly_the_rows() {
    static WRITING: AtomicBool = AtomicBool::new(true);
    let cloud = Cloud::start().await;
    cloud.run("INSERT INTO productions (client, show_name) SELECT 'c', n::text FROM generate_series(1, 6) n").await;
    let url = cloud.database.url().to_owned();
    let reader = tokio::spawn(async move {
        let (mut sql, mut replica, mut pulls) = (connect(&url).await, Replica::default(), 0);
        while WRITING.load(Ordering::Acquire) {
            replica.pull(&mut sql).await;
            pulls += 1;
        }
        replica.pull(&mut sql).await;
        (replica, pulls)
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|seed| {
            let url = cloud.database.url().to_owned();
            tokio::spawn(async move { write(&url, seed).await })
        })
        .collect();
    let mut done = 0;
    for writer in writers {
        done += writer.await.unwrap();
    }
    WRITING.store(false, Ordering::Release);
    let (replica, pulls) = reader.await.unwrap();
    assert!(done > WRITES && pulls > 2, "{done} transactions, {pulls} pulls");
    let mut there = BTreeMap::new();
    for table in TABLES {
        let sql = format!("SELECT id::text, rejoin_scope, rejoin_tick, (to_jsonb(r) - 'synced_at')::text FROM {table} r");
        for row in cloud.sql.query(&sql, &[]).await.unwrap() {
            there.insert((table.to_owned(), row.get(0)), (row.get(1), row.get(2), row.get(3)));
        }
    }
    assert!(there.len() > 20, "{}", there.len());
    assert_eq!(replica.rows, there);
    cloud.check().await;
}
