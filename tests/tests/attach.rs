//! `rejoin attach` and `rejoin detach` as a person runs them, on a database that was there before.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloud_server::test_support::{self, Database};
use serde_json::Value;

/// A schema that has everything a real one may have.
const EVERYTHING: &str = include_str!("../fixtures/everything.sql");

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn database(sql: &str) -> Database {
    let database = test_support::database().await;
    connect(database.url()).await.batch_execute(sql).await.unwrap();
    database
}

/// The program, in a folder of its own.
fn rejoin(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-under-test"));
    command.current_dir(folder).args(arguments).args(["--database-url", url]).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code, stdout, stderr.
fn run(folder: &Path, url: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = rejoin(folder, url, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn done(folder: &Path, url: &str, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, url, arguments);
    assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    stdout
}

fn dump(url: &str, what: &str) -> String {
    let output = Command::new("pg_dump").args([what, "--dbname", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer ones put a new random word into each dump.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Every row, whatever its place in its table.
fn data(url: &str) -> Vec<String> {
    let mut lines: Vec<String> = dump(url, "--data-only").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing_and_a_root_is_proposed() {
    let database = database(EVERYTHING).await;
    let url = database.url();
    let folder = tempfile::tempdir().unwrap();
    let before = (dump(url, "--schema-only"), data(url));
    let (code, stdout, stderr) = run(folder.path(), url, &["attach"]);
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(stdout.contains("organizations") && stderr.contains("--root"), "{stdout}{stderr}");
    let plan = done(folder.path(), url, &["attach", "--root", "organizations", "--dry-run"]);
    let counts = plan.lines().next().unwrap();
    assert!(counts.contains("travel with the root") && counts.contains("left out"), "{plan}");
    for said in [
        "the root: each row is a scope",
        "Global",
        "global = [\"jobs\"]",
        "audit",
        "people.password",
        "with = [\"password\"]",
        "Nothing was changed",
    ] {
        assert!(plan.contains(said), "{said}: {plan}");
    }
    let json: Value =
        serde_json::from_str(&done(folder.path(), url, &["attach", "--root", "organizations", "--dry-run", "--json"])).unwrap();
    assert_eq!(json["attached"], false);
    assert!(
        json["plan"]["tables"].as_array().unwrap().iter().any(|entry| entry["table"] == "crm.people" && entry["synced"] == true),
        "{json}"
    );
    assert!(!folder.path().join("rejoin.toml").exists());
    assert_eq!((dump(url, "--schema-only"), data(url)), before);
    let (code, _, stderr) = run(folder.path(), url, &["attach", "--root", "nothing"]);
    assert!(code != 0 && stderr.contains("there is no table nothing"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_and_detached_a_database_is_what_it_was() {
    let database = database(EVERYTHING).await;
    // The owner, who may not switch triggers off for a session, and the superuser, who may.
    for url in [database.url(), database.superuser_url()] {
        let folder = tempfile::tempdir().unwrap();
        let before = (dump(url, "--schema-only"), data(url));
        let said = done(folder.path(), url, &["attach", "--root", "organizations"]);
        assert!(said.contains("rejoin cloud --database-url"), "{said}");
        let settings = std::fs::read_to_string(folder.path().join("rejoin.toml")).unwrap();
        assert!(settings.contains("root = \"organizations\""));
        assert_ne!(dump(url, "--schema-only"), before.0);
        let catalogs = "SELECT max(version) FROM rejoin.catalogs";
        let client = connect(url).await;
        let version: i64 = client.query_one(catalogs, &[]).await.unwrap().get(0);
        // Again: the file is taken as it is, nothing is done anew.
        done(folder.path(), url, &["attach"]);
        assert_eq!(client.query_one(catalogs, &[]).await.unwrap().get::<_, i64>(0), version);
        let (code, _, stderr) = run(folder.path(), url, &["attach", "--root", "people"]);
        assert!(code == 2 && stderr.contains("never overwritten"), "{stderr}");
        assert_eq!(std::fs::read_to_string(folder.path().join("rejoin.toml")).unwrap(), settings);

        let sites = "INSERT INTO rejoin.sites (id, name, enrol_hash) VALUES (gen_random_uuid(), 'hall', 'x')";
        client.batch_execute(sites).await.unwrap();
        let (code, _, stderr) = run(folder.path(), url, &["detach"]);
        assert!(code == 2 && stderr.contains("hall") && stderr.contains("--yes"), "{stderr}");
        client.batch_execute("CREATE VIEW mine AS SELECT name FROM rejoin.sites").await.unwrap();
        let (code, _, stderr) = run(folder.path(), url, &["detach", "--yes"]);
        assert!(code == 2 && stderr.contains("mine"), "{stderr}");
        client.batch_execute("DROP VIEW mine").await.unwrap();
        let said = done(folder.path(), url, &["detach", "--dry-run"]);
        assert!(said.contains("hall") && said.contains("Nothing was changed"), "{said}");
        done(folder.path(), url, &["detach", "--yes"]);
        let after = dump(url, "--schema-only");
        let differs = after.lines().zip(before.0.lines()).find(|(after, before)| after != before);
        assert_eq!(after, before.0, "{differs:?}");
        let rows = data(url);
        let differs: Vec<_> = rows.iter().filter(|line| !before.1.contains(line)).collect();
        assert_eq!(rows, before.1, "{differs:?}");
        assert!(done(folder.path(), url, &["detach"]).contains("nothing of Rejoin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cloud_is_not_detached() {
    let database = database("CREATE TABLE a (id uuid PRIMARY KEY)").await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), database.url(), &["attach", "--root", "a"]);
    let data = folder.path().join("cloud");
    let settings = folder.path().join("rejoin.toml");
    let arguments = ["cloud", "--database-url", database.url(), "--settings", settings.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let program = Path::new(env!("CARGO_BIN_EXE_rejoin-under-test"));
    let server = rejoin_tests::process::Server::start(program, &data, &arguments, None).await;
    let (code, _, stderr) = run(folder.path(), database.url(), &["detach", "--yes"]);
    assert!(code == 2 && stderr.contains("stop them first"), "{stderr}");
    server.terminate().await;
    done(folder.path(), database.url(), &["detach", "--yes"]);
}

const MANY: &str = "CREATE TABLE roots (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
    CREATE TABLE leaves (id bigserial PRIMARY KEY, root_id uuid NOT NULL REFERENCES roots, text text NOT NULL);
    CREATE INDEX ON leaves (root_id);
    INSERT INTO roots SELECT FROM generate_series(1, 20);
    INSERT INTO leaves (root_id, text) SELECT id, repeat('x', 40) FROM roots, generate_series(1, 2500);
    VACUUM ANALYZE leaves";

async fn many() -> Database {
    let database = test_support::database().await;
    let client = connect(database.url()).await;
    for statement in MANY.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
    database
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_killed_while_it_stamps_is_gone_on_with() {
    let database = many().await;
    let client = connect(database.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for at in [1_i64, 8_000, 20_000] {
        let child =
            rejoin(folder.path(), database.url(), &["attach", "--root", "roots"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = Killed(child.unwrap());
        while child.0.try_wait().unwrap().is_none() {
            let stamped = client.query_one("SELECT count(*) FROM leaves WHERE rejoin_tick IS NOT NULL", &[]).await;
            if stamped.is_ok_and(|row| row.get::<_, i64>(0) >= at) {
                kills += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(kills > 0, "none was killed in time");
    // Somebody writes in between: captured, though the table is not ready.
    client.batch_execute("UPDATE leaves SET text = 'meanwhile' WHERE id IN (1, 50000)").await.unwrap();
    done(folder.path(), database.url(), &["attach"]);
    let sql = "SELECT count(*), count(*) FILTER (WHERE l.rejoin_scope <> 'roots/' || l.root_id OR t.tick IS NULL OR l.rejoin_version < 1)
               FROM leaves l LEFT JOIN rejoin.ticks t ON t.scope = l.rejoin_scope AND t.tick = l.rejoin_tick";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (50_000, 0));
    let sql = "SELECT bool_and(i.indisvalid), count(*) FROM pg_index i WHERE i.indrelid = 'leaves'::regclass AND NOT i.indisunique";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0) && row.get::<_, i64>(1) == 2, "the feed index, valid, once");
    let closed = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'leaves'::regclass AND attname IN ('rejoin_scope', 'rejoin_tick') AND attnotnull";
    assert_eq!(client.query_one(closed, &[]).await.unwrap().get::<_, i64>(0), 2);
    let left = "SELECT count(*) FROM pg_constraint WHERE conname = 'rejoin_stamped'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_table_is_not_rewritten_twice() {
    let database = many().await;
    let client = connect(database.url()).await;
    let pages = "SELECT pg_relation_size('leaves') / 8192";
    let before: i64 = client.query_one(pages, &[]).await.unwrap().get(0);
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), database.url(), &["attach", "--root", "roots"]);
    let after: i64 = client.query_one(pages, &[]).await.unwrap().get(0);
    let width = "SELECT sum(pg_column_size(l))::float8 / sum(pg_column_size(ROW(l.id, l.root_id, l.text))) FROM leaves l";
    let wider: f64 = client.query_one(width, &[]).await.unwrap().get(0);
    // Once: the old rows, as far as nobody cleaned up after them yet, and the new ones. Twice would be as much as those once more.
    #[expect(clippy::cast_precision_loss, reason = "pages of a small table")]
    let grown = after as f64 / before as f64;
    assert!(grown < wider + 1.1, "{before} pages became {after}; the rows are {wider:.2} times as wide");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_queues_behind_an_attach_that_waits() {
    let database = many().await;
    let folder = tempfile::tempdir().unwrap();
    let mut reader = connect(database.url()).await;
    let reading = reader.transaction().await.unwrap();
    reading.query_one("SELECT count(*) FROM leaves", &[]).await.unwrap();
    let child = rejoin(folder.path(), database.url(), &["attach", "--root", "roots"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = Killed(child.unwrap());
    let user = connect(database.url()).await;
    user.batch_execute("SET lock_timeout = '5s'").await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'leaves'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted)";
    let mut seen = 0;
    while seen < 3 {
        assert!(child.0.try_wait().unwrap().is_none(), "it did not wait for the reader");
        seen += u32::from(user.query_one(waits, &[]).await.unwrap().get::<_, bool>(0));
        // Behind a lock that waits for as long as the reader reads this would fail.
        user.query("SELECT FROM leaves WHERE id = 1", &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reading.commit().await.unwrap();
    assert!(child.0.wait().unwrap().success());
}
