//! What one side cannot hold: it is told or parked with its column's name, and stops nobody else.

use std::collections::BTreeMap;

use rejoin_tests::world::World;
use serde_json::json;
use uuid::Uuid;

const SCHEMA: &str = r"
    CREATE TYPE mood AS ENUM ('calm', 'loud');
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE DOMAIN short AS varchar(5);
    CREATE TABLE places (id uuid PRIMARY KEY);
    CREATE TABLE things (id uuid PRIMARY KEY, number integer, label varchar(5), note text, at timestamptz, day date, span interval, mood mood,
        level positive, code bit(3), codes bit(3)[], names varchar(3)[], tag short, period daterange, ratio double precision, extra jsonb, net inet);";

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_one_side_cannot_hold_is_told_or_parked_and_stops_nobody() {
    let world = World::of(SCHEMA, "root = \"places\"\nglobal = [\"things\"]\n", &["a"]).await;
    let site = world.site("a");
    let file = rusqlite::Connection::open(site.database()).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let insert = |column: &str, value: &str| {
        let id = Uuid::new_v4().to_string();
        file.execute(&format!("INSERT INTO things (id, {column}) VALUES ('{id}', {value})"), []).unwrap();
        id
    };
    let told: BTreeMap<&str, String> = [
        ("number", "'many'"),
        ("number", "99999999999"),
        ("note", "CAST(x'610062' AS TEXT)"),
        ("label", "CAST(x'ff' AS TEXT)"),
        ("at", "'yesterday'"),
        ("day", "'4715-01-01 BC'"),
        ("span", "'soon'"),
        ("extra", "'{'"),
        ("net", "'10.0.0.300'"),
    ]
    .into_iter()
    .map(|(column, value)| (column, insert(column, value)))
    .collect();
    let parked: Vec<(&str, String)> = [
        ("label", "'too long'"),
        ("mood", "'sad'"),
        ("level", "-5"),
        ("code", "'10101'"),
        ("codes", "'[\"101\",\"1\"]'"),
        ("names", "'[\"abcd\"]'"),
        ("tag", "'too long'"),
        ("period", "'nonsense'"),
    ]
    .into_iter()
    .map(|(column, value)| (column, insert(column, value)))
    .collect();
    let good: Vec<String> = [
        ("ratio", "'NaN'"),
        ("day", "'-0043-03-15'"),
        ("note", "'fine'"),
        ("period", "'[2026-01-01,2026-01-31]'"),
        ("span", "'90 minutes'"),
    ]
    .into_iter()
    .map(|(column, value)| insert(column, value))
    .collect();
    world.try_sync("a").await;
    world.try_sync("a").await;

    let kinds: BTreeMap<String, (String, String)> = world
        .pending_conflicts()
        .await
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            (text("recordId"), (text("kind"), text("reason")))
        })
        .collect();
    for (column, id) in &parked {
        let (kind, reason) = kinds.get(id).unwrap_or_else(|| panic!("{column} is not parked: {kinds:?}"));
        // A label that the cloud's catalog does not have is no value to it; the rest is PostgreSQL's refusal.
        assert_eq!(kind, if *column == "mood" { "rejected" } else { "check" }, "{column}: {reason}");
        assert!(!reason.is_empty(), "{column}");
    }
    assert_eq!(kinds.len(), parked.len(), "{kinds:?}");
    let client = world.postgres().await;
    let there = client.query("SELECT id::text FROM things", &[]).await.unwrap();
    let there: Vec<String> = there.iter().map(|row| row.get(0)).collect();
    assert_eq!(there.len(), good.len(), "the rest went through");
    assert!(good.iter().all(|id| there.contains(id)));
    let shown: String = client.query_one("SELECT day::text FROM things WHERE day IS NOT NULL", &[]).await.unwrap().get(0);
    assert_eq!(shown, "0044-03-15 BC");
    let run = format!("{} {}", site.last_run().await, site.api.get("/api/sync").await.ok());
    for (column, id) in &told {
        assert!(run.contains(&format!("{id}: column {column} ")), "{column}: {run}");
    }

    // Corrected, it goes.
    let id = &told["day"];
    file.execute(&format!("UPDATE things SET day = '4714-11-24 BC' WHERE id = '{id}'"), []).unwrap();
    drop(file);
    world.try_sync("a").await;
    let sql = format!("SELECT day::text FROM things WHERE id = '{id}'");
    assert_eq!(client.query_one(&sql, &[]).await.unwrap().get::<_, String>(0), "4714-11-24 BC");

    // The API refuses at once.
    for (column, value) in [
        ("note", json!("a\u{0}b")),
        ("label", json!("too long")),
        ("number", json!("many")),
        ("day", json!("2026-02-30")),
        ("net", json!("x")),
    ] {
        let errors = site.api.post("/api/things", json!({"id": Uuid::new_v4(), column: value})).await.refused(422, "invalid_fields");
        assert!(errors["errors"].to_string().contains(&format!("/{column}")), "{errors}");
    }
}
