//! Measures what it costs to put right a table of a million rows after capture was not itself, beside a program that writes it:
//! `cargo run --release -p cloud-server --example measure_settle`. `ROWS=100000` takes fewer rows.
//!
//! Prints; asserts nothing. A private PostgreSQL without fsync; the role owns the table and is no superuser.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a measurement")]

mod measure;

use std::time::Instant;

use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::prepare;
use cloud_server::test_support;
use measure::items::{self, SETTINGS};
use measure::report::Report;
use measure::session::Session;
use measure::writer::Writer;
use measure::{seconds, setting};

/// What happened, and what a trigger of ours or a look at the schema writes down of it. `$`: the table's number.
const CASES: [(&str, &str); 5] = [
    ("a trigger of the root was gone, no row was written", "SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'orgs'"),
    (
        "a trigger of the table was gone, no row was written",
        "SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'items'",
    ),
    (
        "100 rows were written meanwhile, all over the table",
        "SET session_replication_role = replica; UPDATE items SET rejoin_tick = 0 WHERE no % 10000 = 0;
         SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'items'",
    ),
    (
        "one row in a hundred was written meanwhile",
        "SET session_replication_role = replica; UPDATE items SET rejoin_tick = 0 WHERE no % 100 = 0;
         SELECT rejoin.drifts(no, false) FROM rejoin.tables WHERE table_name = 'items'",
    ),
    ("rows may be gone without a trace", "SELECT rejoin.drifts(no, true) FROM rejoin.tables WHERE table_name = 'items'"),
];

#[tokio::main]
async fn main() {
    let rows = setting("ROWS", 1_000_000);
    let database = test_support::database().await;
    let session = Session::open(database.url()).await;
    items::make(&session, rows).await;
    let db = Database::open(database.url(), 2).unwrap();
    let settings = Settings::parse(SETTINGS).unwrap();
    prepare(&db, &settings, None).await.unwrap();
    session.run("VACUUM ANALYZE").await;
    let writer = Writer::start(database.url(), rows).await;
    let mut report = Report::new("A table is put right beside a writer", &["what", "takes", "the writer's longest wait"]);
    for (what, harm) in CASES {
        Session::open(database.superuser_url()).await.run(harm).await;
        let start = Instant::now();
        prepare(&db, &settings, None).await.unwrap();
        let end = Instant::now();
        report.row([what.to_owned(), seconds(end - start), writer.longest(start, end).await]);
        session.run("VACUUM items").await;
    }
    report.print();
    writer.stop().await;
}
