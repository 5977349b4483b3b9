//! Measures what a table of a million rows goes through, while a program writes it: attaching it, then DDL under a running cloud:
//! `cargo run --release -p cloud-server --example measure_million`. `ROWS=100000` takes fewer rows.
//!
//! Prints; asserts nothing. A private PostgreSQL without fsync; the role owns the table and is no superuser.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a measurement")]

mod measure;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloud_server::secret::SecretKey;
use cloud_server::settings::Settings;
use cloud_server::store::pool::Database;
use cloud_server::store::prepare::{Progress, prepare_at, published};
use cloud_server::store::pull::pull;
use cloud_server::store::{pace::Pace, sites, state};
use cloud_server::{Cloud, CloudConfig, test_support};
use measure::items::{self, SETTINGS};
use measure::report::Report;
use measure::session::Session;
use measure::writer::{WRITTEN, Writer};
use measure::{forget_peak, memory, seconds, setting};
use sync_core::wire::codec::encode;
use sync_core::wire::message::{Cursor, Pull, Speaker};

#[tokio::main]
async fn main() {
    let rows = setting("ROWS", 1_000_000);
    let database = test_support::database().await;
    let session = Session::open(database.url()).await;
    items::make(&session, rows).await;
    let writer = Writer::start(database.url(), rows).await;
    attach(&session, database.url(), &writer).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("rejoin.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let config = CloudConfig {
        database_url: Some(database.url().to_owned()),
        settings: Some(settings),
        system: None,
        ..CloudConfig::new(folder.path())
    };
    let cloud = Cloud::start(config).await.unwrap();
    ddl(&session, database.url(), &writer).await;
    writer.stop().await;
    cloud.stop().await;
}

fn mebibytes(bytes: i64) -> String {
    format!("{:.0} MiB", bytes as f64 / 1024.0 / 1024.0)
}

async fn attach(session: &Session, url: &str, writer: &Writer) {
    let size = "SELECT pg_total_relation_size('items')";
    let before: i64 = session.one(size).await;
    let resting = forget_peak();
    let quiet = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let steps = Mutex::new(Vec::<(&'static str, Instant)>::new());
    let watch = |progress: Progress<'_>| {
        let what = match progress {
            Progress::Table { table: "items", .. } => "the columns and triggers",
            Progress::Table { .. } => "other tables",
            Progress::Rows { .. } => "stamps",
            Progress::Vacuum { .. } => "VACUUM",
            Progress::Index { .. } => "the index",
            Progress::Waiting { .. } | Progress::Held { .. } => "waiting for a lock",
        };
        steps.lock().unwrap().push((what, Instant::now()));
    };
    let db = Database::open(url, 2).unwrap();
    let pace = Pace { watch: &watch, ..Pace::quiet() };
    prepare_at(&db, &Settings::parse(SETTINGS).unwrap(), None, &pace).await.unwrap();
    let end = Instant::now();
    db.close();
    let mut report = Report::new("Attaching a table beside a writer", &["what", "figure"]);
    let mut row = |what: &str, figure: String| report.row([what.to_owned(), figure]);
    row("time", seconds(end - start));
    let mut steps = steps.into_inner().unwrap();
    steps.push(("", end));
    for what in ["stamps", "VACUUM", "the index", "the columns and triggers", "waiting for a lock"] {
        let took = steps.windows(2).filter(|pair| pair[0].0 == what).map(|pair| pair[1].1 - pair[0].1).sum();
        row(&format!("- of it {what}"), seconds(took));
    }
    row("size with indexes before", mebibytes(before));
    row("size after", mebibytes(session.one(size).await));
    row("the client's memory before", format!("{} MiB", resting / 1024));
    row("the client's memory at its peak", format!("{} MiB", memory("VmHWM:") / 1024));
    row("the writer's longest wait before", writer.longest(quiet, start).await);
    row("the writer's longest wait meanwhile", writer.longest(start, end).await);
    report.print();
}

const STATEMENTS: [(&str, &str); 6] = [
    ("a nullable column", "ALTER TABLE items ADD COLUMN extra text"),
    ("a column with a constant default", "ALTER TABLE items ADD COLUMN rank integer NOT NULL DEFAULT 7"),
    ("rename", "ALTER TABLE items RENAME COLUMN note TO remark"),
    ("integer to bigint", "ALTER TABLE items ALTER COLUMN height TYPE bigint"),
    ("a volatile default", "ALTER TABLE items ADD COLUMN mark uuid NOT NULL DEFAULT gen_random_uuid()"),
    ("drop", "ALTER TABLE items DROP COLUMN extra"),
];

const VERSION: &str = "SELECT max(version) FROM rejoin.catalogs";

async fn ddl(session: &Session, url: &str, writer: &Writer) {
    let mut site = Site::enrolled(url).await;
    println!("\nThe first pull of a site that holds all of it: {}", site.pulls(url).await);
    let columns = ["statement", "PostgreSQL's time", "writer waits", "published after", "writer waits ", "rows fed", "a site pulls"];
    let mut report = Report::new("DDL under a running cloud, which looks every 2 s", &columns);
    for (what, sql) in STATEMENTS {
        session.run("VACUUM items").await;
        let version: i64 = session.one(VERSION).await;
        session.run("DROP TABLE IF EXISTS before; CREATE TEMP TABLE before AS SELECT scope, head FROM rejoin.scopes").await;
        site.pulls(url).await;
        let start = Instant::now();
        session.run(sql).await;
        let done = Instant::now();
        while session.one::<i64>(VERSION).await == version {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let out = Instant::now();
        let waits = [writer.longest(start, done).await, writer.longest(done, out).await];
        let fed = format!(
            "SELECT count(*) FROM items i JOIN before b ON b.scope = i.rejoin_scope WHERE i.rejoin_tick > b.head AND i.kind <> '{WRITTEN}'"
        );
        let fed: i64 = session.one(&fed).await;
        let [statement, publishing] = waits;
        report.row([
            what.to_owned(),
            seconds(done - start),
            statement,
            seconds(out - done),
            publishing,
            fed.to_string(),
            site.pulls(url).await,
        ]);
    }
    report.print();
}

struct Site {
    speaker: Speaker,
    key: String,
    secret: SecretKey,
    cursors: Vec<Cursor>,
}

impl Site {
    async fn enrolled(url: &str) -> Self {
        let db = Database::open(url, 2).unwrap();
        let mut client = db.client().await.unwrap();
        let epoch = state::begin_epoch(&client).await.unwrap();
        let invited = sites::add(&mut client, "a", &sites::Grants::All, sites::ENROL_TTL).await.unwrap();
        let enrolled = sites::enrol(&mut client, &invited.token, epoch).await.unwrap();
        let catalog = published(&client).await.unwrap().unwrap().version;
        let speaker = Speaker { replica: enrolled.replica, epoch: enrolled.epoch, cloud_epoch: enrolled.cloud_epoch, catalog };
        Self { speaker, key: enrolled.key, secret: SecretKey::from_hex(&"5e".repeat(32)).unwrap(), cursors: Vec::new() }
    }

    /// What it gets since the last time, under the catalog in force.
    async fn pulls(&mut self, url: &str) -> String {
        // Whose statements know the schema of now.
        let db = Database::open(url, 2).unwrap();
        let client = db.client().await.unwrap();
        let catalog = Arc::new(published(&client).await.unwrap().unwrap());
        let identity = sites::authenticate(&client, &self.key).await.unwrap().unwrap();
        drop(client);
        self.speaker.catalog = catalog.version;
        let mut message = Pull { speaker: self.speaker, answered: None, cursors: self.cursors.clone(), next: None };
        let (mut rows, mut bytes, start) = (0, 0, Instant::now());
        loop {
            let page = pull(&db, &self.secret, &catalog, &identity, &message).await.unwrap();
            rows += page.tables.iter().map(|table| table.rows.len()).sum::<usize>();
            bytes += encode(&page).unwrap().len();
            message.next = page.next;
            if message.next.is_none() {
                self.cursors = page.heads;
                return format!("{rows} rows, {:.1} MB, {}", bytes as f64 / 1e6, seconds(start.elapsed()));
            }
        }
    }
}
