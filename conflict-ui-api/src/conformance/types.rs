//! Values of every column type through HTTP, the port and the database, and back.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Client, Fixture, System};

/// Column, value as a client writes it, value as it comes back.
fn samples() -> Vec<(&'static str, Json, Json)> {
    let same = |column, value: Json| (column, value.clone(), value);
    vec![
        same("a_bool", json!(true)),
        same("a_bool", json!(false)),
        same("an_int2", json!(-32768)),
        same("an_int4", json!(2_147_483_647)),
        same("an_int8", json!("9223372036854775807")),
        same("an_int8", json!("-9223372036854775808")),
        same("an_int8", json!(9_007_199_254_740_991_i64)),
        ("an_int8", json!("12"), json!(12)),
        same("a_float4", json!(0.1)),
        same("a_float8", json!(59.94)),
        same("a_float8", json!(1e300)),
        same("a_float8", json!(5e-324)),
        ("a_float8", json!(-0.0), json!(0.0)),
        ("a_float8", json!(3), json!(3.0)),
        ("a_numeric", json!("1.50"), json!("1.5")),
        same("a_numeric", json!("123456789012345678901234567890.123456789")),
        ("a_numeric", json!(12), json!("12")),
        same("a_text", json!("")),
        same("a_text", json!("Käse \u{1F9C0} 'quoted' \"twice\" \\ \n line")),
        same("a_varchar", json!("fünf5")),
        ("a_uuid", json!("0198C0DE-0000-7000-8000-000000000001"), json!("0198c0de-0000-7000-8000-000000000001")),
        ("a_timestamptz", json!("2026-03-29T02:30:00+02:00"), json!("2026-03-29T00:30:00.000000Z")),
        ("a_timestamptz", json!("2026-01-31T12:00:00.123456Z"), json!("2026-01-31T12:00:00.123456Z")),
        ("a_timestamp", json!("2026-03-29 02:30:00"), json!("2026-03-29T02:30:00.000000")),
        same("a_date", json!("2024-02-29")),
        ("a_time", json!("09:05"), json!("09:05:00.000000")),
        same("a_bytea", json!("\\x00ff10")),
        same("a_bytea", json!("\\x")),
        ("a_jsonb", json!({ "b": [1, 2.5, { "z": null }], "a": "x" }), json!({ "a": "x", "b": [1, 2.5, { "z": null }] })),
        same("a_jsonb", json!("text")),
        same("a_jsonb", json!([])),
        same("an_enum", json!("AWAY")),
        same("an_array", json!([3, 1, 2])),
        same("an_array", json!([])),
        same("an_array", json!([1, null])),
        same("a_text_array", json!(["a,b", "\"c\"", "", "NULL", "{}"])),
        same("an_other", json!("[1,5)")),
    ]
}

pub async fn every_type_goes_in_and_comes_out_canonical(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (column, written, expected) in samples() {
        let id = Uuid::now_v7();
        let path = format!("/api/samples/{id}");
        let made = client.post("/api/samples", json!({ "id": id, column: written })).await.expect(201);
        assert_eq!(made[column], expected, "{column} of {written} when made");
        let read = client.get(&path).await;
        let etag = read.header("etag").unwrap().to_owned();
        let read = read.expect(200);
        assert_eq!(read[column], expected, "{column} of {written} when read");
        let nulls = read.as_object().unwrap().values().filter(|value| value.is_null()).count();
        assert!(nulls >= 19, "every other column is NULL: {read}");
        // What was read goes back in unchanged, and is then the same value.
        let back = client.patch(&path, json!({ column: read[column] })).await;
        assert_eq!(back.header("etag").unwrap().split_once('-').unwrap().1, etag.split_once('-').unwrap().1, "{column}: {written}");
        assert_eq!(client.patch(&path, json!({ column: null })).await.expect(200)[column], Json::Null);
        assert_eq!(client.patch(&path, json!({ column: written })).await.expect(200)[column], expected);
    }
}

pub async fn every_type_can_be_filtered_by_its_own_value(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    let mut made = Vec::new();
    for (column, written, _) in samples() {
        let id = Uuid::now_v7();
        client.post("/api/samples", json!({ "id": id, column: written })).await.expect(201);
        made.push((id.to_string(), column, written));
    }
    for (id, column, written) in &made {
        let text = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
        let text = if *column == "a_jsonb" { written.to_string() } else { text };
        let query: String = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).collect();
        let found = client.get(&format!("/api/samples?{column}={query}")).await.ids();
        assert_eq!(&found, std::slice::from_ref(id), "{column}={text}");
    }
    let without = client.get("/api/samples?a_bool[null]=true&limit=1000").await.ids();
    assert_eq!(without.len(), made.iter().filter(|(_, column, _)| *column != "a_bool").count());
}

pub async fn values_of_another_type_are_refused(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (column, wrong) in [
        ("a_bool", json!("yes")),
        ("an_int2", json!(32768)),
        ("an_int4", json!(1.5)),
        ("an_int4", json!("1")),
        ("an_int8", json!("9223372036854775808")),
        ("a_float8", json!("fast")),
        ("a_numeric", json!("1,5")),
        ("a_text", json!(7)),
        ("a_text", json!("nul \u{0} inside")),
        ("a_uuid", json!("0198c0de")),
        ("a_timestamptz", json!("yesterday")),
        ("a_date", json!("2025-02-29")),
        ("a_time", json!("25:00")),
        ("a_bytea", json!("00ff")),
        ("a_jsonb", json!({ "nul": "\u{0}" })),
        ("an_enum", json!("calm")),
        ("an_array", json!(["x"])),
        ("an_array", json!({ "a": 1 })),
    ] {
        let reply = client.post("/api/samples", json!({ "id": Uuid::now_v7(), column: wrong })).await;
        assert_eq!(reply.problem(422, "invalid_fields"), [format!("/{column}")], "{column} of {wrong}");
    }
    assert_eq!(client.get("/api/samples").await.ids().len(), 0);
}
