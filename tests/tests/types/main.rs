//! Values of every type make the round trip between the real databases, and come back as they were.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

mod citext;
mod columns;
mod refused;
mod values;

use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rejoin_tests::world::{Site, World};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::columns::{Column, Family, TYPES, families};

/// Rows of each table; `REJOIN_CASES` asks for more.
fn cases() -> usize {
    std::env::var("REJOIN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

/// A run's values come out of one number, which a failure shows; `REJOIN_SEED` plays it again.
fn seed() -> u64 {
    std::env::var("REJOIN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed)
}

struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "REJOIN_SEED={}", self.0);
        }
    }
}

fn rand_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

/// Settings of the database under which every text form looks otherwise.
const STRANGE: &str = "
    DO $$ DECLARE setting text; BEGIN
        FOREACH setting IN ARRAY ARRAY['DateStyle = ''SQL, DMY''', 'IntervalStyle = sql_standard', 'TimeZone = ''Asia/Kolkata''',
            'bytea_output = escape', 'extra_float_digits = -10', 'xmloption = document', 'array_nulls = off', 'lc_monetary = ''C.utf8'''] LOOP
            EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
        END LOOP;
    END $$;";

/// What the test's own session reads and writes by.
const PLAIN: &str = "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET bytea_output = hex; \
     SET extra_float_digits = 1; SET xmloption = content; SET array_nulls = on; SET lc_monetary = 'C'";

fn schema(families: &[Family]) -> String {
    let table = |family: &Family| {
        let columns: Vec<String> = family.columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
        format!("CREATE TABLE {} (id uuid PRIMARY KEY, copy_of uuid, how text, note text, {});", family.name, columns.join(", "))
    };
    let tables: String = families.iter().map(table).collect();
    format!("{STRANGE} CREATE TABLE places (id uuid PRIMARY KEY); {TYPES} {tables}")
}

fn settings(families: &[Family]) -> String {
    let names: Vec<String> = families.iter().map(|family| format!("\"{}\"", family.name)).collect();
    format!("root = \"places\"\nglobal = [{}]\n", names.join(", "))
}

/// Rows of a family: its edges first, then what comes.
fn rows(family: &Family, runner: &mut TestRunner) -> Vec<Vec<Option<String>>> {
    let edges = family.columns.iter().map(|column| column.edges.len()).max().unwrap_or_default();
    let mut value = |column: &Column, row: usize| match column.edges.get(row) {
        Some(edge) => Some(edge.clone()),
        None if row % 8 == 7 => None,
        None => Some(column.values.new_tree(runner).unwrap().current()),
    };
    (0..edges + cases()).map(|row| family.columns.iter().map(|column| value(column, row)).collect()).collect()
}

struct Client(tokio_postgres::Client);

impl Client {
    async fn of(world: &World) -> Self {
        let client = world.postgres().await;
        client.batch_execute(PLAIN).await.unwrap();
        Self(client)
    }

    async fn insert(&self, family: &Family, row: &[Option<String>]) -> Uuid {
        let id = Uuid::new_v4();
        let names: Vec<&str> = family.columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<String> =
            family.columns.iter().enumerate().map(|(no, column)| format!("${}::text::{}", no + 2, column.sql_type)).collect();
        let sql = format!("INSERT INTO {} (id, {}) VALUES ($1, {})", family.name, names.join(", "), values.join(", "));
        let mut params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![&id];
        params.extend(row.iter().map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync)));
        self.0.execute(&sql, &params).await.unwrap_or_else(|error| panic!("{}: {row:?}: {error:?}", family.name));
        id
    }

    /// Every row's text forms, by id.
    async fn texts(&self, family: &Family) -> BTreeMap<Uuid, Vec<Option<String>>> {
        let names: Vec<String> = family.columns.iter().map(|column| format!("{}::text", column.name)).collect();
        let sql = format!("SELECT id, {} FROM {}", names.join(", "), family.name);
        let rows = self.0.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), (1..=family.columns.len()).map(|at| row.get(at)).collect())).collect()
    }

    /// The copies that differ from what they are copies of, in words.
    async fn differing(&self, family: &Family) -> Vec<String> {
        let mut found = Vec::new();
        for column in &family.columns {
            let name = &column.name;
            let spelled = ["numeric", "jsonb", "real", "double precision", "price"].iter().any(|ty| column.sql_type.starts_with(ty));
            let same = match column.sql_type {
                // `null` as JSON is NULL to a client.
                "jsonb" => format!("(o.{name} IS NOT DISTINCT FROM c.{name} OR c.how = 'api' AND o.{name} = 'null')"),
                _ if spelled => format!("o.{name} IS NOT DISTINCT FROM c.{name}"),
                // The API shows a `json` as JSON: not its white space, and one of two members of a name.
                "json" => format!(
                    "(CASE c.how WHEN 'api' THEN o.{name}::jsonb::text = c.{name}::jsonb::text ELSE o.{name}::text IS NOT DISTINCT FROM c.{name}::text END) IS NOT FALSE"
                ),
                _ => format!("o.{name}::text IS NOT DISTINCT FROM c.{name}::text"),
            };
            let sql = format!(
                "SELECT c.how, left(o.{name}::text, 200), left(c.{name}::text, 200) FROM {table} c JOIN {table} o ON o.id = c.copy_of
                 WHERE NOT ({same})",
                table = family.name
            );
            for row in self.0.query(&sql, &[]).await.unwrap() {
                let [how, original, copy] = [0, 1, 2].map(|at| row.get::<_, Option<String>>(at).unwrap_or_else(|| "NULL".into()));
                found.push(format!("{}.{name} {} ({how}): {original} became {copy}", family.name, column.sql_type));
            }
        }
        found
    }
}

/// A copy by the API: what it shows is what it takes.
async fn copy_by_api(site: &Site, family: &Family, shown: &Value) {
    let mut body: Map<String, Value> = family.columns.iter().map(|column| (column.name.clone(), shown[&column.name].clone())).collect();
    body.insert("id".into(), json!(Uuid::new_v4()));
    body.insert("copy_of".into(), shown["id"].clone());
    body.insert("how".into(), json!("api"));
    let answer = site.api.post(&format!("/api/{}", family.name), body.into()).await;
    assert!(answer.status.is_success(), "{}: {} of {shown}", family.name, answer.body);
}

/// A new row of what PostgreSQL shows of another one, by plain SQL.
fn type_in(file: &rusqlite::Connection, family: &Family, of: Uuid, texts: &[Option<String>]) {
    use rusqlite::types::Value as Sql;
    let bound = |(column, text): (&Column, &Option<String>)| match (text, column.sql_type) {
        (None, _) => Sql::Null,
        // SQLite's own reading of a number is not exact to the last digit.
        (Some(text), "double precision") if text.parse::<f64>().unwrap().is_finite() => Sql::Real(text.parse().unwrap()),
        (Some(text), "bytea") => {
            Sql::Blob((2..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect())
        }
        (Some(text), _) => Sql::Text(text.clone()),
    };
    let mut values = vec![Sql::Text(Uuid::new_v4().to_string()), Sql::Text(of.to_string()), Sql::Text("typed".into())];
    values.extend(family.columns.iter().zip(texts).map(bound));
    let names: Vec<&str> = family.columns.iter().map(|column| column.name.as_str()).collect();
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {} (id, copy_of, how, {}) VALUES ({marks})", family.name, names.join(", "));
    file.execute(&sql, rusqlite::params_from_iter(values)).unwrap();
}

/// docs/TYPES.md names every type that is tried here, with its SQLite type.
fn check_the_table_of_types(families: &[Family], file: &rusqlite::Connection) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/TYPES.md")).unwrap();
    let lines: Vec<Vec<&str>> =
        text.lines().filter(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim).collect()).collect();
    let sql = "SELECT s.sql FROM sqlite_schema s WHERE s.type = 'table' AND s.name = ?1";
    for family in families {
        let made: String = file.query_row(sql, [family.name], |row| row.get(0)).unwrap();
        for column in &family.columns {
            let bare = match column.sql_type.split('(').next().unwrap() {
                ty if column.sql_type.ends_with("[]") || ty == "words" => "an array",
                "mood" => "an enum",
                "positive" | "short" | "price" | "moment" => continue,
                ty if ty.ends_with("range") => "ranges, multiranges",
                "bit varying" => "`varbit`",
                "pair" => "composites",
                "line" | "lseg" | "box" | "path" | "polygon" | "circle" => "the other shapes",
                "regtype" => "its kind",
                "jsonpath" | "txid_snapshot" => "any other type",
                ty => &format!("`{ty}`"),
            };
            let line = lines.iter().find(|line| {
                line[1].contains(bare) && column.sql_type != "box[]" || column.sql_type == "box[]" && line[1].contains("ranges")
            });
            let line = line.unwrap_or_else(|| panic!("docs/TYPES.md does not name {}", column.sql_type));
            let declared = format!("\"{}\" {}", column.name, line[3]);
            assert!(made.contains(&format!("{declared},")) || made.contains(&format!("{declared} NOT")), "{}: {made}", line[1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_comes_back_from_a_site_as_it_was() {
    let _ = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).with_test_writer().try_init();
    let families = families();
    let seed = seed();
    // Shown where the test fails before it can say so itself.
    let _shown = Shown(seed);
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let world = World::of(&schema(&families), &settings(&families), &[]).await;
    let cloud = Client::of(&world).await;
    for family in &families {
        for row in rows(family, &mut runner) {
            cloud.insert(family, &row).await;
        }
    }
    let site = world.join("a", &["*"]).await;
    world.converge().await;

    let file = rusqlite::Connection::open(site.database()).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    check_the_table_of_types(&families, &file);
    let mut before = BTreeMap::new();
    for family in &families {
        let texts = cloud.texts(family).await;
        let names: Vec<&str> = family.columns.iter().map(|column| column.name.as_str()).collect();
        let (table, names) = (family.name, names.join(", "));
        site.sqlite3(&format!(
            "INSERT INTO {table} (id, copy_of, how, {names}) SELECT lower(hex(randomblob(4))) || '-0000-4000-8000-' || lower(hex(randomblob(6))), \
             id, 'sqlite3', {names} FROM {table}; UPDATE {table} SET note = 'touched' WHERE copy_of IS NULL AND rejoin_row % 2 = 0"
        ));
        for (at, (id, row)) in texts.iter().enumerate() {
            // Those of plain SQL above cover the rest.
            if row.iter().flatten().map(String::len).sum::<usize>() > 100_000 {
                continue;
            }
            type_in(&file, family, *id, row);
            let path = format!("/api/{table}/{id}");
            let shown = site.api.get(&path).await.ok();
            copy_by_api(site, family, &shown).await;
            if at % 2 == 0 {
                site.api.patch(&path, json!({"note": "touched"})).await.ok();
            }
        }
        // What was touched has changed in nothing else.
        let edits = site.api.get(&format!("/api/rejoin/edits?table={table}&limit=1000")).await.ok();
        let mut touches = 0;
        for edit in edits["data"].as_array().unwrap() {
            let changes: Vec<&String> = edit["changes"].as_object().unwrap().keys().collect();
            let touched = edit["operation"] == "update" || edit["op"] == "update";
            assert!(!touched || changes == ["note"], "{edit}");
            touches += usize::from(touched);
        }
        assert!(touches >= cases() / 4, "{}: {touches} edits are shown", family.name);
        before.insert(family.name, texts);
    }
    drop(file);
    world.converge().await;

    let conflicts = world.pending_conflicts().await;
    assert!(
        conflicts.is_empty(),
        "REJOIN_SEED={seed}: {:#?}",
        conflicts.iter().map(|one| (&one["tableName"], &one["reason"])).collect::<Vec<_>>()
    );
    let mut wrong = Vec::new();
    for family in &families {
        let after = cloud.texts(family).await;
        for (id, texts) in &before[family.name] {
            for ((column, before), after) in family.columns.iter().zip(texts).zip(&after[id]) {
                if before != after {
                    wrong.push(format!("{}.{} {} (kept): {before:?} became {after:?}", family.name, column.name, column.sql_type));
                }
            }
        }
        wrong.extend(cloud.differing(family).await);
        let copies: i64 =
            cloud.0.query_one(&format!("SELECT count(*) FROM {} WHERE copy_of IS NOT NULL", family.name), &[]).await.unwrap().get(0);
        assert!(copies as usize >= before[family.name].len() * 2, "{}: {copies} copies", family.name);
    }
    wrong.iter_mut().for_each(|line| line.truncate(line.char_indices().nth(300).map_or(line.len(), |(at, _)| at)));
    assert!(wrong.is_empty(), "REJOIN_SEED={seed}\n{}", wrong.join("\n"));
}
