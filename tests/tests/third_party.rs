//! Schemas that we did not write, attached in one command: a site joins, both sides write, all is equal. `make test` fetches them
//! (scripts/get-schemas.sh); one of our own has what none of them has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "a test says what went wrong by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use cloud_server::test_support;
use fastrand::Rng;
use rejoin_tests::World;
use rejoin_tests::rows;
use rejoin_tests::world::digests;
use rusqlite::Connection;
use serde_json::Value;

/// Rows made in each table before the attach.
const ROWS: usize = 12;
/// Writes tried on each side after it, per table that travels.
const WRITES: u64 = 2;

fn schemas() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".rejoin/schemas");
    std::env::var_os("REJOIN_SCHEMAS").map_or(folder, PathBuf::from)
}

fn schema(name: &str) -> String {
    let file = schemas().join(format!("{name}.sql"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}; scripts/get-schemas.sh fetches it", file.display()))
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

struct Case<'a> {
    name: &'a str,
    /// The schema, in pieces of which each may need others.
    sql: Vec<String>,
    root: &'a str,
    /// What goes into rejoin.toml besides the root.
    more: &'a str,
    /// References that only rejoin.toml declares: table, column, table referred to, its column.
    references: &'a [[&'a str; 4]],
    /// At least so many tables must travel, or be global.
    synced: usize,
}

#[derive(Debug, Default)]
struct Tried {
    done: usize,
    refused: Vec<String>,
}

impl Tried {
    fn count(&mut self, outcome: Result<bool, String>) {
        match outcome {
            Ok(done) => self.done += usize::from(done),
            Err(why) => self.refused.push(why),
        }
    }
}

/// Loads the pieces in an order in which they fit.
async fn load(client: &tokio_postgres::Client, pieces: &[String]) {
    let mut rest: Vec<&String> = pieces.iter().collect();
    while !rest.is_empty() {
        let mut later = Vec::new();
        let mut why = String::new();
        for piece in &rest {
            if let Err(error) = client.batch_execute(&format!("BEGIN;\n{piece}\n;COMMIT")).await {
                why = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                client.batch_execute("ROLLBACK").await.unwrap();
                later.push(*piece);
            }
        }
        assert!(later.len() < rest.len(), "{} pieces cannot be loaded: {why}", later.len());
        rest = later;
    }
}

fn attach(folder: &Path, url: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-under-test"));
    command.current_dir(folder).args(["--json", "attach", "--database-url", url]).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn run(case: Case<'_>) {
    let began = Instant::now();
    let database = test_support::database().await;
    let client = connect(database.url()).await;
    load(&client, &case.sql).await;
    let mut random = Rng::with_seed(7);
    let shapes = rows::shapes_with(&client, case.references).await;
    let filled = rows::fill(&client, &shapes, ROWS, &mut random).await;
    let rows: usize = filled.values().map(|(rows, _)| rows).sum();
    let empty: Vec<&String> = filled.iter().filter(|(_, (rows, _))| *rows == 0).map(|(name, _)| name).collect();
    eprintln!("{}: {} tables, {rows} rows; empty: {empty:?}", case.name, filled.len());

    let folder = tempfile::tempdir().unwrap();
    let settings = format!("root = \"{}\"\n{}", case.root, case.more);
    std::fs::write(folder.path().join("rejoin.toml"), &settings).unwrap();
    let attaching = Instant::now();
    let report = attach(folder.path(), database.url(), &[]);
    let attached = attaching.elapsed();
    let mut left = BTreeMap::<&str, usize>::new();
    let entries = report["plan"]["tables"].as_array().unwrap();
    for entry in entries.iter().filter(|entry| entry["synced"] == false) {
        *left.entry(entry["reason"].as_str().unwrap()).or_default() += 1;
    }
    let synced = entries.iter().filter(|entry| entry["synced"] == true).count();
    eprintln!("{}: {synced} tables synced; attached in {attached:.1?}; left out: {left:#?}", case.name);
    assert!(synced >= case.synced, "{report:#}");

    let world = World::on(database, &settings, &["hall"]).await;
    let site = world.site("hall");
    assert_eq!(digests(&world.cloud).await, digests(&site.api).await, "{}: the first sync", case.name);
    let client = world.postgres().await;
    let (mut cloud, mut at_site) = (Tried::default(), Tried::default());
    for _ in 0..WRITES {
        for shape in &shapes {
            cloud.count(rows::change(&client, shape, &mut random).await);
            cloud.count(rows::add(&client, shape, &mut random).await.map(|()| true));
        }
        write_at_site(&site.database(), &mut random, &mut at_site);
        world.converge().await;
    }
    for shape in &shapes {
        let sql = format!("DELETE FROM {0} WHERE ctid = (SELECT max(ctid) FROM {0})", shape.name);
        cloud.count(client.execute(&sql, &[]).await.map(|rows| rows > 0).map_err(|error| error.to_string()));
    }
    world.converge().await;
    let conflicts = world.pending_conflicts().await;
    let mut kinds = BTreeMap::<String, usize>::new();
    for conflict in &conflicts {
        *kinds.entry(format!("{} {}: {}", conflict["kind"], conflict["tableName"], conflict["reason"])).or_default() += 1;
    }
    eprintln!(
        "{}: writes at the cloud {} (refused {}), at the site {} (refused {}); conflicts {kinds:#?}; {:.1?} in all",
        case.name,
        cloud.done,
        cloud.refused.len(),
        at_site.done,
        at_site.refused.len(),
        began.elapsed()
    );
    assert!(cloud.done > 0 && at_site.done > 0, "{cloud:#?} {at_site:#?}");
    let held: u64 = kinds.iter().filter(|(kind, _)| kind.contains("schema")).map(|(_, count)| *count as u64).sum();
    assert_eq!(held, 0, "nothing is unfit: {kinds:#?}");
}

/// Changes, copies and deletes rows of every table by plain SQL, as a program at the site would that knows nothing of us.
fn write_at_site(file: &Path, random: &mut Rng, tried: &mut Tried) {
    let db = Connection::open(file).unwrap();
    db.execute_batch("PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000").unwrap();
    let list = |sql: &str| -> Vec<(String, String, i64)> {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let tables = list(
        "SELECT m.name, '', 0 FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE 'rejoin_%' AND m.name NOT LIKE 'sync_%'
         AND EXISTS (SELECT 1 FROM pragma_table_info(m.name) WHERE name = 'rejoin_held') ORDER BY m.name",
    );
    for (table, _, _) in tables {
        let table = format!("\"{}\"", table.replace('"', "\"\""));
        let columns =
            list(&format!("SELECT name, type, pk FROM pragma_table_info({}) WHERE name NOT LIKE 'rejoin_%'", table.replace('"', "'")));
        let bound = list(&format!(
            "SELECT DISTINCT c.name, '', 0 FROM pragma_index_list({0}) i, pragma_index_info(i.name) c WHERE i.[unique] = 1 AND c.name IS NOT NULL
             UNION SELECT DISTINCT [from], '', 0 FROM pragma_foreign_key_list({0})",
            table.replace('"', "'")
        ));
        let free: Vec<&str> =
            columns.iter().map(|(name, _, _)| name.as_str()).filter(|name| !bound.iter().any(|(other, _, _)| other == name)).collect();
        let row = format!("(SELECT rejoin_row FROM {table} WHERE rejoin_held = 0 ORDER BY rejoin_row LIMIT 1 OFFSET {})", random.u64(..6));
        let mut run = |sql: String| {
            let outcome = db.execute(&sql, []).map(|rows| rows > 0);
            tried.count(outcome.map_err(|error| format!("{sql}: {error}")));
        };
        if let Some(column) = random.choice(&free) {
            // A value of another row is of the type, whatever the type is.
            let column = format!("\"{}\"", column.replace('"', "\"\""));
            run(format!(
                "UPDATE {table} SET {column} = (SELECT {column} FROM {table} ORDER BY rejoin_row DESC LIMIT 1) WHERE rejoin_row = {row}"
            ));
        }
        // A copy under another key, where one column of text makes it another.
        let texts: Vec<&str> = bound
            .iter()
            .filter(|(name, _, _)| columns.iter().any(|(other, ty, _)| other == name && ty == "TEXT"))
            .map(|(name, _, _)| name.as_str())
            .collect();
        if !texts.is_empty() {
            let names: Vec<String> = columns.iter().map(|(name, _, _)| format!("\"{}\"", name.replace('"', "\"\""))).collect();
            let new = |name: &String| {
                let bare = name.trim_matches('"');
                if texts.contains(&bare) && !free.contains(&bare) {
                    let uuid =
                        format!("{:08x}-{:04x}-4000-8000-{:012x}", random.u64(..) >> 32, random.u64(..0x1_0000), random.u64(..) >> 16);
                    let short = &uuid[..8];
                    // Referring columns stay what they are.
                    let refers = list(&format!("SELECT [from], '', 0 FROM pragma_foreign_key_list({})", table.replace('"', "'")));
                    if refers.iter().any(|(other, _, _)| other == bare) {
                        return name.clone();
                    }
                    return format!("CASE WHEN length({name}) = 36 THEN '{uuid}' WHEN {name} IS NULL THEN NULL ELSE '{short}' END");
                }
                name.clone()
            };
            let values: Vec<String> = names.iter().map(new).collect();
            let mut run = |sql: String| {
                let outcome = db.execute(&sql, []).map(|rows| rows > 0);
                tried.count(outcome.map_err(|error| format!("{sql}: {error}")));
            };
            run(format!("INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE rejoin_row = {row}", names.join(", "), values.join(", ")));
            run(format!("DELETE FROM {table} WHERE rejoin_row = (SELECT max(rejoin_row) FROM {table} WHERE rejoin_held = 0)"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_schema_may_have() {
    let sql = vec![include_str!("../fixtures/everything.sql").to_owned()];
    run(Case { name: "everything", sql, root: "organizations", more: "global = [\"jobs\"]\n", references: &[], synced: 12 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zabbix() {
    run(Case { name: "zabbix", sql: vec![schema("zabbix")], root: "hosts", more: "", references: &[], synced: 80 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roundcube() {
    run(Case { name: "roundcube", sql: vec![schema("roundcube")], root: "users", more: "", references: &[], synced: 13 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bacula() {
    // Its database declares no reference at all.
    let references = [
        ["job", "clientid", "client", "clientid"],
        ["file", "jobid", "job", "jobid"],
        ["file", "pathid", "path", "pathid"],
        ["log", "jobid", "job", "jobid"],
        ["jobmedia", "jobid", "job", "jobid"],
        ["jobmedia", "mediaid", "media", "mediaid"],
    ];
    let more: String = ["job", "file", "log", "jobmedia"].iter().fold(String::new(), |more, table| {
        let own = references.iter().filter(|reference| reference[0] == *table);
        let lines: Vec<String> =
            own.map(|[_, column, target, _]| format!("{{ columns = [\"{column}\"], table = \"{target}\" }}")).collect();
        more + &format!("[tables.{table}]\nreferences = [{}]\n", lines.join(", "))
    });
    run(Case { name: "bacula", sql: vec![schema("bacula")], root: "client", more: &more, references: &references, synced: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openqa() {
    run(Case { name: "openqa", sql: vec![schema("openqa")], root: "job_groups", more: "", references: &[], synced: 24 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiny_tiny_rss() {
    run(Case { name: "tt-rss", sql: vec![schema("tt-rss")], root: "ttrss_users", more: "", references: &[], synced: 19 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logto() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(schemas().join("logto"))
        .unwrap_or_else(|error| panic!("logto: {error}; scripts/get-schemas.sh fetches it"))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    // What is made per installation: roles, rights and rules about them.
    files.retain(|file| !["_after_all.sql", "_after_each.sql", "_before_all.sql"].iter().any(|name| file.ends_with(name)));
    let sql = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    run(Case { name: "logto", sql, root: "tenants", more: "", references: &[], synced: 50 }).await;
}
