//! Measures a site's file: the copy of a table that a migration makes, and inserts with leased numbers. `cargo run --release -p local-server --example
//! measure_site` (`ROWS=..`: another number of rows than a million).
//!
//! Prints; asserts nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, dead_code, reason = "a measurement")]

#[path = "../tests/store/fixture.rs"]
mod fixture;

use std::time::{Duration, Instant};

use fixture::{as_sync, build, catalog, column, table, unique};
use local_server::store::install::install;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::catalog::{Catalog, Column, DefaultValue};
use sync_core::value::{ColumnType, Value};

const INSERTS: u32 = 20_000;
const ROUNDS: usize = 5;

/// `t` with a key, five columns, and a unique one.
fn system(key: ColumnType, default: Option<DefaultValue>) -> Catalog {
    let mut t = table(
        1,
        "t",
        vec![
            Column { not_null: true, default, ..column(1, "id", key) },
            column(2, "name", ColumnType::Text),
            column(3, "amount", ColumnType::Int8),
            column(4, "price", ColumnType::Numeric),
            column(5, "made", ColumnType::Timestamptz),
            column(6, "code", ColumnType::Text),
        ],
    );
    t.uniques = vec![unique("t_code", &[6])];
    catalog(vec![t])
}

fn open(dir: &tempfile::TempDir, name: &str) -> Connection {
    let connection = Connection::open(dir.path().join(name)).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").unwrap();
    connection
}

fn timed(job: impl FnOnce()) -> Duration {
    let start = Instant::now();
    job();
    start.elapsed()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn main() {
    let rows: u32 = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    copies(rows);
    inserts();
}

fn copies(rows: u32) {
    let dir = tempfile::tempdir().unwrap();
    let connection = open(&dir, "site.sqlite");
    let mut before = system(ColumnType::Text, None);
    build(&connection, &before);
    connection.execute_batch("INSERT INTO rejoin_state (key, value) VALUES ('site_name', 'venue')").unwrap();
    let fill = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
         INSERT INTO t (id, name, amount, price, made, code, version, updated_at, synced_at, rejoin_scope, rejoin_tick)
         SELECT printf('0198c0de-%012d', n), 'part number ' || n, n, n || '.5', '2026-01-31T12:00:00.000000Z', 'c' || n, 1, '2026-01-31T12:00:00.000000Z',
             '2026-01-31T12:00:00.000000Z', 'global', n FROM n"
    );
    as_sync(&connection, &fill);
    for switch in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY] {
        connection.set_db_config(switch, false).unwrap();
    }
    let plain = || {
        let sql: String = connection.query_row("SELECT sql FROM sqlite_schema WHERE name = 't'", [], |row| row.get(0)).unwrap();
        let made = sql.replacen("\"t\"", "plain", 1);
        timed(|| connection.execute_batch(&format!("BEGIN; {made}; INSERT INTO plain SELECT * FROM t; COMMIT")).unwrap())
    };
    let mut take = |change: &dyn Fn(&mut Catalog)| {
        let mut after = before.clone();
        after.version.0 += 1;
        change(&mut after);
        let took = timed(|| {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            install(&connection, Some(&before), &after, "venue").unwrap();
            connection.execute_batch("COMMIT").unwrap();
        });
        before = after;
        took
    };
    let (mut bare, mut default, mut retyped, mut added) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..3_u32 {
        bare.push(plain());
        connection.execute_batch("DROP TABLE plain").unwrap();
        default.push(take(&|catalog| catalog.tables[0].columns[2].default = Some(DefaultValue::Constant(Value::Int(round.into())))));
        let ty = if round % 2 == 0 { ColumnType::Numeric } else { ColumnType::Int8 };
        retyped.push(take(&|catalog| catalog.tables[0].columns[2] = Column { default: None, ..column(3, "amount", ty.clone()) }));
        added.push(take(&|catalog| catalog.tables[0].columns.push(column(7 + round, &format!("new{round}"), ColumnType::Text))));
    }
    let bare = median(bare);
    println!("a table of {rows} rows; INSERT .. SELECT without indexes takes {bare:.2?}");
    for (what, all) in [("another default", default), ("another type", retyped), ("a new nullable column", added)] {
        let took = median(all);
        println!("{what}: {took:.2?}, {:.2} times", took.as_secs_f64() / bare.as_secs_f64());
    }
}

fn inserts() {
    let dir = tempfile::tempdir().unwrap();
    let plain = open(&dir, "plain.sqlite");
    plain
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER, price TEXT, made TEXT, code TEXT UNIQUE)")
        .unwrap();
    let given = open(&dir, "given.sqlite");
    build(&given, &system(ColumnType::Int8, None));
    let leased = open(&dir, "leased.sqlite");
    build(&leased, &system(ColumnType::Int8, Some(DefaultValue::Leased)));
    leased
        .execute_batch("INSERT INTO rejoin_leases (table_no, column_no, next, last, step, replica) VALUES (1, 1, 1, 100000000, 1, 'r')")
        .unwrap();
    let insert = |connection: &Connection, with_key: bool, round: usize| {
        let columns = if with_key { "id, name, amount, price, made, code" } else { "name, amount, price, made, code" };
        let key = if with_key { "?1, " } else { "" };
        let sql = format!("INSERT INTO t ({columns}) VALUES ({key}'part', ?1, '1.5', '2026-01-31T12:00:00.000000Z', 'c' || ?1)");
        timed(|| {
            connection.execute_batch("BEGIN").unwrap();
            for n in 0..INSERTS {
                let no = i64::from(n) + i64::try_from(round).unwrap() * i64::from(INSERTS);
                connection.prepare_cached(&sql).unwrap().execute([no]).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
        })
    };
    let (mut bare, mut own, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(insert(&plain, true, round));
        own.push(insert(&given, true, round));
        taken.push(insert(&leased, false, round));
    }
    let bare = median(bare);
    let each = |took: Duration| took.as_secs_f64() * 1e6 / f64::from(INSERTS);
    println!("an insert into plain SQLite: {:.1} µs", each(bare));
    for (what, all) in [("captured, with a key of its own", own), ("captured, with a leased number", taken)] {
        let took = median(all);
        println!("{what}: {:.1} µs, {:.2} times", each(took), took.as_secs_f64() / bare.as_secs_f64());
    }
}
