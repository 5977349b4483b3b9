//! Figures over groups of records: the same digits of both databases.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::lists::sources;
use super::{Client, Fixture, System};

/// Samples with these members, made in this order.
async fn samples(client: &Client, rows: &[Json]) {
    for row in rows {
        let mut row = row.clone();
        row["id"] = json!(Uuid::now_v7());
        client.post("/api/samples", row).await.expect(201);
    }
}

/// The groups of samples that a query finds.
async fn groups(client: &Client, query: &str) -> Json {
    client.get(&format!("/api/samples?{query}")).await.expect(200)["data"].take()
}

pub async fn records_are_counted_and_added_up_by_group(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", Some(9)), ("b", "X", Some(10)), ("c", "Y", Some(4)), ("d", "Y", None), ("e", "Z", None)]).await;
    let figures = client.get("/api/sources?group=type&show=count,sum(hRes),avg(h_res),min(hRes),max(hRes),min(name)").await.expect(200);
    assert_eq!(
        figures,
        json!([
            { "type": "X", "count": 2, "sum": { "hRes": 19 }, "avg": { "hRes": "9.5" }, "min": { "hRes": 9, "name": "a" }, "max": { "hRes": 10 } },
            { "type": "Y", "count": 2, "sum": { "hRes": 4 }, "avg": { "hRes": "4" }, "min": { "hRes": 4, "name": "c" }, "max": { "hRes": 4 } },
            { "type": "Z", "count": 1, "sum": { "hRes": null }, "avg": { "hRes": null }, "min": { "hRes": null, "name": "e" }, "max": { "hRes": null } },
        ])
    );
    let filtered = client.get("/api/sources?group=hRes,type&type=X&type=Y&name[ne]=a").await.expect(200);
    let expected = json!([
        { "hRes": 4, "type": "Y", "count": 1 },
        { "hRes": 10, "type": "X", "count": 1 },
        { "hRes": null, "type": "Y", "count": 1 },
    ]);
    assert_eq!(filtered, expected, "ordered by their columns, NULLs last");
    assert_eq!(client.get("/api/sources?show=count,max(name)").await.expect(200), json!([{ "count": 5, "max": { "name": "e" } }]));
    assert_eq!(client.get("/api/sources?show=count&type=none").await.expect(200), json!([{ "count": 0 }]), "one record over none");
    assert_eq!(client.get("/api/sources?group=type&type=none").await.expect(200), json!([]));
    let d = client.get("/api/sources?name=d").await.ids().remove(0);
    client.delete(&format!("/api/sources/{d}")).await.expect(204);
    assert_eq!(client.get("/api/sources?show=count").await.expect(200), json!([{ "count": 4 }]));
    assert_eq!(client.get("/api/sources?show=count&deleted=true").await.expect(200), json!([{ "count": 5 }]));
}

pub async fn sums_are_exact_whatever_the_order(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    let big = "9223372036854775807";
    let half = json!({ "a_float8": 0.1, "a_float4": 0.1, "a_numeric": "0.10000000000000000001", "an_int8": big, "a_price": "0.01" });
    let other = json!({ "a_float8": 1e16, "a_float4": 33_554_436, "a_numeric": "1e30", "an_int8": big, "a_price": "9999.99" });
    let third = json!({ "a_float8": -1e16, "a_float4": 1e38, "a_numeric": "-1e30", "an_int8": 1, "a_price": null });
    let fourth = json!({ "a_float8": 0.2, "a_float4": 0.2, "a_numeric": null, "an_int8": 1, "a_price": "-0.01" });
    // What PostgreSQL writes with more digits than are needed to read it back.
    let fifth = json!({ "a_float8": 9_007_199_254_740_994.0, "a_float4": 8_388_608, "an_int2": 1 });
    samples(&client, &[half, other, third, fourth, fifth]).await;
    let show =
        "show=sum(a_float8),avg(a_float8),sum(a_float4),sum(a_numeric),avg(a_numeric),sum(an_int8),avg(an_int8),sum(a_price),sum(an_int2)";
    assert_eq!(
        groups(&client, show).await,
        json!([{
            "sum": {
                "a_float8": 9_007_199_254_740_994.0_f64 + 0.3, "a_float4": 1e38 + 41_943_044.3, "a_numeric": "0.10000000000000000001",
                "an_int8": "18446744073709551616", "a_price": "9999.99", "an_int2": 1,
            },
            "avg": { "a_float8": 1_801_439_850_948_198.8, "a_numeric": "0.03333333333333333334", "an_int8": "4611686018427387904" },
        }])
    );
    assert_eq!(groups(&client, "show=sum(a_float8)&a_float8[lt]=1").await, json!([{ "sum": { "a_float8": -1e16 + 0.3 } }]));
    assert_eq!(groups(&client, "show=sum(a_float8)&a_float8[lt]=1&a_float8[gt]=0").await, json!([{ "sum": { "a_float8": 0.3 } }]));
    samples(&client, &[json!({ "a_float8": "Infinity" })]).await;
    assert_eq!(groups(&client, "show=sum(a_float8),max(a_float8)").await[0]["sum"]["a_float8"], "Infinity");
    samples(&client, &[json!({ "a_float8": "-Infinity" })]).await;
    let figures = groups(&client, "show=sum(a_float8),avg(a_float8),min(a_float8)").await;
    assert_eq!(figures, json!([{ "sum": { "a_float8": "NaN" }, "avg": { "a_float8": "NaN" }, "min": { "a_float8": "-Infinity" } }]));
}

pub async fn figures_of_every_type_are_those_of_its_order(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (column, least, greatest) in [
        ("a_bool", json!(false), json!(true)),
        ("an_int2", json!(-5), json!(10)),
        ("an_int8", json!("-9223372036854775808"), json!(9)),
        ("a_float4", json!(-1.5), json!(0.1)),
        ("a_float8", json!(9.5), json!(1e300)),
        ("a_numeric", json!("9"), json!("10")),
        ("a_text", json!("B"), json!("a")),
        ("a_varchar", json!("a"), json!("ab")),
        ("a_uuid", json!(Uuid::from_u128(1)), json!(Uuid::from_u128(15 << 124))),
        ("a_timestamptz", json!("1999-12-31T23:00:00.000000Z"), json!("2026-03-29T02:30:00.000000Z")),
        ("a_timestamp", json!("1999-12-31T23:00:00.000000"), json!("2026-03-29T02:30:00.000001")),
        ("a_date", json!("0099-01-01"), json!("2024-02-29")),
        ("a_time", json!("00:00:00.000000"), json!("09:05:00.000000")),
        ("an_enum", json!("AWAY"), json!("CALM")),
    ] {
        samples(&client, &[json!({ column: greatest }), json!({ column: least }), json!({ column: greatest })]).await;
        let found = groups(&client, &format!("group={column}&{column}[null]=false")).await;
        assert_eq!(found, json!([{ column: least, "count": 1 }, { column: greatest, "count": 2 }]));
        let found = groups(&client, &format!("show=min({column}),max({column})")).await;
        assert_eq!(found, json!([{ "min": { column: least }, "max": { column: greatest } }]));
    }
}

pub async fn times_fall_into_buckets_of_the_calendar(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    let at =
        |time: &str, date: &str| json!({ "a_timestamptz": time, "a_timestamp": time.trim_end_matches('Z'), "a_date": date, "an_int4": 1 });
    samples(
        &client,
        &[
            at("2026-01-31T12:14:59.999999Z", "2026-01-31"),
            at("2026-01-31T12:15:00Z", "2026-02-01"),
            at("2026-02-01T00:00:00Z", "2026-02-02"),
            at("1999-12-26T23:59:59Z", "1999-12-26"),
            at("1600-02-29T12:00:00Z", "1600-02-29"),
            json!({ "a_timestamptz": "0044-03-15T12:00:00Z BC", "a_timestamp": "infinity", "a_date": "20000-01-01", "an_int4": 1 }),
            json!({ "a_timestamptz": "4700-03-15T12:00:00Z BC", "a_timestamp": "-infinity", "a_date": "4700-01-01 BC", "an_int4": 1 }),
            json!({}),
        ],
    )
    .await;
    for (column, every, expected) in [
        ("a_timestamptz", "15min", "2026-01-31T12:00:00.000000Z 1, 2026-01-31T12:15:00.000000Z 1, 2026-02-01T00:00:00.000000Z 1"),
        ("a_timestamptz", "1d", "2026-01-31T00:00:00.000000Z 2, 2026-02-01T00:00:00.000000Z 1"),
        ("a_timestamptz", "7h", "2026-01-31T06:00:00.000000Z 2, 2026-01-31T20:00:00.000000Z 1"),
        ("a_timestamp", "w", "2026-01-26T00:00:00.000000 3"),
        ("a_timestamp", "1mon", "2026-01-01T00:00:00.000000 2, 2026-02-01T00:00:00.000000 1"),
        ("a_timestamp", "5y", "2025-01-01T00:00:00.000000 3"),
        ("a_date", "1w", "2026-01-26 2, 2026-02-02 1"),
        ("a_date", "3mon", "2026-01-01 3"),
    ] {
        let list =
            groups(&client, &format!("group={column}&every={every}&show=count&{column}[gte]=2026-01-01&{column}[lt]=2027-01-01")).await;
        let found: Vec<String> =
            list.as_array().unwrap().iter().map(|row| format!("{} {}", row[column].as_str().unwrap(), row["count"])).collect();
        assert_eq!(found.join(", "), expected, "{column} {every}");
    }
    // Long ago, without end, and nothing: ordered as lists are is not asked of what SQLite keeps as text.
    for (column, every, expected) in [
        (
            "a_timestamptz",
            "1w",
            ["-infinity", "0044-03-11T00:00:00.000000Z BC", "1600-02-28T00:00:00.000000Z", "1999-12-20T00:00:00.000000Z"].as_slice(),
        ),
        (
            "a_timestamptz",
            "10y",
            &["-infinity", "0051-01-01T00:00:00.000000Z BC", "1600-01-01T00:00:00.000000Z", "1990-01-01T00:00:00.000000Z"],
        ),
        ("a_timestamp", "1h", &["-infinity", "1600-02-29T12:00:00.000000", "1999-12-26T23:00:00.000000", "infinity"]),
        ("a_date", "1y", &["-infinity", "1600-01-01", "1999-01-01", "infinity"]),
    ] {
        let list = groups(&client, &format!("group={column}&every={every}&show=sum(an_int4)")).await;
        let mut found: Vec<&str> = list.as_array().unwrap().iter().filter_map(|row| row[column].as_str()).collect();
        found.retain(|begin| !begin.starts_with("2026") && !begin.starts_with("2020"));
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{column} {every}");
        let last = list.as_array().unwrap().last().unwrap();
        assert_eq!(*last, json!({ column: null, "sum": { "an_int4": null } }));
    }
}

pub async fn groups_have_the_form_of_lists_and_count_under_their_parents(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for code in 1..=3 {
        client.post("/api/places", json!({ "region": "n", "code": code, "title": "x" })).await.expect(201);
    }
    for to in [2, 3, 3] {
        let trip = json!({ "id": Uuid::now_v7(), "from_region": "n", "from_code": 1, "to_region": "n", "to_code": to });
        client.post("/api/trips", trip).await.expect(201);
    }
    let found = client.get("/api/places/n,1/trips?via=from_region&group=to_code").await.expect(200);
    let expected = json!([{ "to_code": 2, "count": 1 }, { "to_code": 3, "count": 2 }]);
    assert_eq!(found, json!({ "data": expected, "has_more": false, "next_cursor": null }));
    assert_eq!(client.get("/api/places/n,1/trips?group=to_code").await.problem(400, "bad_query"), ["via"]);
    client.get("/api/places/n,9/trips?via=from_region&group=to_code").await.problem(404, "not_found");
    client.post("/api/crates", json!({ "id": 1, "caption": "a" })).await.expect(201);
    let named = client.get("/api/crates?group=label&called=a&show=max(caption)").await.expect(200);
    assert_eq!(named["data"], json!([{ "caption": "a", "max": { "caption": "a" } }]), "under the names that the system gives");
}

pub async fn what_cannot_be_grouped_is_named(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (query, faults) in [
        ("group=wheels", &["group"] as &[_]),
        ("group=a_jsonb", &["group"]),
        ("group=a_text,a_text", &["group"]),
        ("show=median(an_int4)", &["show"]),
        ("show=sum(a_text)", &["show"]),
        ("show=sum(an_int4", &["show"]),
        ("show=min(a_bytea)", &["show"]),
        ("every=1h", &["every"]),
        ("group=a_text&every=1h", &["every"]),
        ("group=a_date,a_timestamp&every=1d", &["every"]),
        ("group=a_date&every=1h", &["every"]),
        ("group=a_time&every=1h", &["every"]),
        ("group=a_timestamp&every=1m", &["every"]),
        ("group=a_text&sort=a_text&limit=5&fields=id", &["fields", "limit", "sort"]),
        ("group=a_text&an_int4[gt]=many&show=nothing", &["an_int4[gt]", "show"]),
    ] {
        assert_eq!(client.get(&format!("/api/samples?{query}")).await.problem(400, "bad_query"), faults, "{query}");
    }
}

pub async fn more_groups_than_one_answer_holds_are_refused(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for code in 0..1_001 {
        client.post("/api/places", json!({ "region": "n", "code": code, "title": "x" })).await.expect(201);
    }
    assert_eq!(client.get("/api/places?group=code").await.problem(400, "bad_query"), ["group"]);
    let most = client.get("/api/places?group=code&code[gt]=0").await.expect(200);
    assert_eq!(most["data"].as_array().unwrap().len(), 1_000);
    assert_eq!(
        client.get("/api/places?show=count,sum(code)").await.expect(200)["data"],
        json!([{ "count": 1_001, "sum": { "code": 500_500 } }])
    );
}
