//! Filters by operators, several values, chosen fields, totals: the same answers of both databases.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::lists::{names, sources};
use super::{Client, Fixture, System};

/// The sources' names, in order, that a query finds.
async fn found(client: &Client, query: &str) -> String {
    let list = client.get(&format!("/api/sources?sort=name&{query}")).await.expect(200);
    names(&list).join("")
}

pub async fn values_are_compared_by_operators(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", Some(9)), ("b", "X", Some(10)), ("c", "Y", Some(100)), ("d", "Y", None)]).await;
    for (query, expected) in [
        ("hRes[gt]=9", "bc"),
        ("hRes[gte]=9", "abc"),
        ("hRes[lt]=100", "ab"),
        ("hRes[lte]=100", "abc"),
        ("hRes[gt]=9&hRes[lt]=100", "b"),
        ("h_res[gte]=10&type=Y", "c"),
        ("hRes[ne]=10", "acd"),
        ("hRes[ne]=10&hRes[null]=false", "ac"),
        ("hRes[null]=true", "d"),
        ("name[gte]=b&name[lt]=d", "bc"),
        ("createdAt[gte]=2000-01-01T00:00:00Z&createdAt[lt]=2000-01-02T00:00:00Z", ""),
        ("createdAt[gte]=2000-01-01T00:00:00%2B02:00", "abcd"),
    ] {
        assert_eq!(found(&client, query).await, expected, "{query}");
    }
    let wrong = client.get("/api/sources?hRes[gt]=wide&name[like]=a&hRes[null]=maybe").await;
    assert_eq!(wrong.problem(400, "bad_query"), ["hRes[gt]", "hRes[null]", "name[like]"]);
}

pub async fn several_values_ask_for_any_of_them(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", Some(9)), ("b", "Y", Some(10)), ("c", "Z", None)]).await;
    for (query, expected) in [
        ("type=X&type=Z", "ac"),
        ("type=X&type=X", "a"),
        ("type[ne]=X&type[ne]=Y", "c"),
        ("hRes=9&hRes[null]=true", "ac"),
        ("hRes[ne]=9&hRes[null]=false", "b"),
        ("type=X&type=Y&hRes=10", "b"),
    ] {
        assert_eq!(found(&client, query).await, expected, "{query}");
    }
    let many: Vec<String> = (0..101).map(|at| format!("hRes={at}")).collect();
    assert_eq!(client.get(&format!("/api/sources?{}", many.join("&"))).await.problem(400, "bad_query"), ["hRes"]);
    let many: Vec<String> = (0..1_000).map(|at| format!("hRes[gt]={at}")).collect();
    assert_eq!(client.get(&format!("/api/sources?{}", many[..50].join("&"))).await.ids(), [] as [String; 0]);
    assert_eq!(client.get(&format!("/api/sources?{}", many.join("&"))).await.problem(400, "bad_query").len(), 950);
    assert_eq!(client.get("/api/sources?limit=1&limit=2").await.problem(400, "bad_query"), ["limit"]);
}

/// Samples that hold these values in a column, made in this order.
async fn samples(client: &Client, column: &str, values: &[Json]) {
    for (at, value) in values.iter().enumerate() {
        client.post("/api/samples", json!({ "id": Uuid::now_v7(), column: value, "a_text": at.to_string() })).await.expect(201);
    }
}

/// Which of them a query finds, by their place, in its order.
async fn places(client: &Client, query: &str) -> String {
    let list = client.get(&format!("/api/samples?{query}")).await.expect(200);
    list["data"].as_array().unwrap().iter().map(|row| row["a_text"].as_str().unwrap()).collect()
}

pub async fn decimals_are_compared_by_value_and_unrounded(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    let values = [json!("9"), json!("10"), json!("-2.5"), json!("10.00000000000000000001"), Json::Null, json!("-10")];
    samples(&client, "a_numeric", &values).await;
    for (query, expected) in [
        ("sort=a_numeric", "520134"),
        ("sort=-a_numeric", "431025"),
        ("sort=a_numeric&a_numeric[gt]=9", "13"),
        ("sort=a_numeric&a_numeric[gt]=10.0", "3"),
        ("sort=a_numeric&a_numeric[lte]=-2.50", "52"),
        ("a_numeric=10.0", "1"),
    ] {
        assert_eq!(places(&client, query).await, expected, "{query}");
    }
    let second = client.get("/api/samples?sort=a_numeric&limit=2").await.next().unwrap();
    assert_eq!(places(&client, second.split_once('?').unwrap().1).await, "01", "a page goes on behind a decimal");

    samples(&client, "a_price", &[json!("12.34"), json!("12.35")]).await;
    assert_eq!(places(&client, "a_price=12.345").await, "", "what a column would round is not in it");
    assert_eq!(places(&client, "a_price[gt]=12.345").await, "1");
    assert_eq!(places(&client, "a_price[lt]=12.345").await, "0");
}

pub async fn a_value_that_a_column_could_not_hold_is_compared_all_the_same(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    samples(&client, "a_positive", &[json!(1), json!(2)]).await;
    for (query, expected) in [("a_positive[gt]=0", "01"), ("a_positive[lt]=2", "0"), ("a_positive[ne]=-1&a_positive[gte]=2", "1")] {
        assert_eq!(places(&client, &format!("sort=a_text&{query}")).await, expected, "{query}");
    }
    assert_eq!(places(&client, "a_positive=0").await, "");
    samples(&client, "a_mask", &[json!("101")]).await;
    assert_eq!(places(&client, "a_mask=10101").await, "", "nothing is cut");
    assert_eq!(places(&client, "a_mask=101").await, "0");
}

pub async fn every_ordered_type_is_compared_alike(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    // The middle one of three that ascend.
    for (column, values) in [
        ("an_int2", [json!(-5), json!(2), json!(10)]),
        ("an_int8", [json!("-9223372036854775808"), json!(2), json!("9223372036854775807")]),
        ("a_float4", [json!(-1.5), json!(0.1), json!(10)]),
        ("a_float8", [json!(-1e300), json!(9.5), json!(10)]),
        ("a_text", [json!("B"), json!("a"), json!("\u{e4}")]),
        ("a_varchar", [json!("B"), json!("a"), json!("ab")]),
        ("a_uuid", [json!(Uuid::from_u128(1)), json!(Uuid::from_u128(1 << 100)), json!(Uuid::from_u128(15 << 124))]),
        ("a_timestamptz", [json!("1999-12-31T23:00:00Z"), json!("2026-03-29T02:30:00+02:00"), json!("2026-03-29T02:30:00Z")]),
        ("a_timestamp", [json!("1999-12-31T23:00:00"), json!("2026-03-29T02:30:00"), json!("2026-03-29T02:30:00.000001")]),
        ("a_date", [json!("0099-01-01"), json!("2024-02-29"), json!("2024-03-01")]),
        ("a_time", [json!("00:00"), json!("09:05"), json!("10:00")]),
        ("an_enum", [json!("AWAY"), json!("CALM"), json!("LOUD")]),
    ] {
        let mut made = Vec::new();
        for value in &values {
            let id = Uuid::now_v7();
            client.post("/api/samples", json!({ "id": id, column: value })).await.expect(201);
            made.push(id.to_string());
        }
        let text = values[1].as_str().map_or_else(|| values[1].to_string(), str::to_owned);
        let middle: String = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).collect();
        for (operator, expected) in [("lt", &made[..1]), ("lte", &made[..2]), ("gt", &made[2..]), ("gte", &made[1..])] {
            let query = format!("/api/samples?{column}[{operator}]={middle}&sort={column}");
            assert_eq!(client.get(&query).await.ids(), expected, "{query}");
        }
    }
}

pub async fn what_has_no_order_is_not_compared_by_it(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (column, value) in [("a_jsonb", "1"), ("a_bytea", "%5Cx00"), ("an_array", "%5B1%5D"), ("an_other", "%5B1,5)")] {
        let wrong = client.get(&format!("/api/samples?{column}[lt]={value}")).await;
        assert_eq!(wrong.problem(400, "bad_query"), [format!("{column}[lt]")]);
        client.get(&format!("/api/samples?{column}[ne]={value}")).await.expect(200);
    }
}

pub async fn only_the_fields_that_are_named_are_shown(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", Some(9))]).await;
    let list = client.get("/api/sources?fields=name,h_res,version").await.expect(200);
    assert_eq!(list, json!([{ "hRes": 9, "name": "a", "version": 1 }]));
    let whole = client.get("/api/sources?fields=id").await;
    let path = format!("/api/sources/{}", whole.ids()[0]);
    assert_eq!(client.get(&format!("{path}?fields=type")).await.expect(200), json!({ "type": "X" }));
    assert_eq!(client.get("/api/sources?fields=name,wheels").await.problem(400, "bad_query"), ["fields"]);
}

pub async fn columns_and_filters_are_called_as_the_system_says(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for (id, body) in [(1, json!({ "caption": "a" })), (2, json!({ "label": "b" })), (3, json!({ "caption": "b" }))] {
        let mut body = body;
        body["id"] = id.into();
        let made = client.post("/api/crates", body).await.expect(201);
        assert!(made["caption"].is_string() && made.get("label").is_none(), "{made}");
    }
    for (query, expected) in [
        ("caption=b", "23"),
        ("label=b", "23"),
        ("called=b", "23"),
        ("called[ne]=b", "1"),
        ("from=2", "23"),
        ("from=2&called=b&id[lt]=3", "2"),
        ("sort=-caption,id", "231"),
    ] {
        let query = if query.starts_with("sort") { query.to_owned() } else { format!("sort=id&{query}") };
        let list = client.get(&format!("/api/crates?{query}")).await.expect(200);
        let ids: String = list["data"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    assert_eq!(client.get("/api/crates?from[lt]=2").await.problem(400, "bad_query"), ["from[lt]"], "it has its operator");
    assert_eq!(client.patch("/api/crates/1", json!({ "caption": null })).await.problem(422, "invalid_fields"), ["/caption"]);
    assert_eq!(client.patch("/api/crates/1", json!({ "caption": "z" })).await.expect(200)["caption"], "z");
}

pub async fn a_total_counts_what_the_filters_leave(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    sources(&client, &[("a", "X", Some(9)), ("b", "X", Some(10)), ("c", "Y", None)]).await;
    let page = client.get("/api/sources?type=X&limit=1&total=true").await;
    assert_eq!((page.header("rejoin-total"), page.ids().len()), (Some("2"), 1));
    let second = client.get(&page.next().unwrap()).await;
    assert_eq!((second.header("rejoin-total"), second.ids().len()), (Some("2"), 1), "wherever a page begins");
    let gone = client.get("/api/sources?name=a").await.ids();
    client.delete(&format!("/api/sources/{}", gone[0])).await.expect(204);
    assert_eq!(client.get("/api/sources?total=true").await.header("rejoin-total"), Some("2"));
    assert_eq!(client.get("/api/sources?total=true&deleted=true").await.header("rejoin-total"), Some("3"));
    assert_eq!(client.get("/api/sources").await.header("rejoin-total"), None, "nothing is counted that nobody asks for");

    let client = Client::open(fixture, System::EveryType).await;
    samples(&client, "a_bool", &[json!(true), json!(false)]).await;
    assert_eq!(client.get("/api/samples?limit=1&total=true").await.expect(200)["total"], 2);
}
