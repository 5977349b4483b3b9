//! References that only `rejoin.toml` declares: remarks on samples and crates, told apart by their kind.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Client, Fixture, System};

/// A sample and the crates 1 and 2.
async fn opened(fixture: &dyn Fixture) -> (Client, Uuid) {
    let client = Client::open(fixture, System::EveryType).await;
    let sample = Uuid::now_v7();
    client.post("/api/samples", json!({ "id": sample, "a_text": "s" })).await.expect(201);
    for id in [1, 2] {
        client.post("/api/crates", json!({ "id": id, "label": "c" })).await.expect(201);
    }
    (client, sample)
}

async fn remark(client: &Client, kind: &str, entity: &str) -> Uuid {
    let id = Uuid::now_v7();
    client.post("/api/remarks", json!({ "id": id, "kind": kind, "entity_id": entity })).await.expect(201);
    id
}

pub async fn a_row_of_a_kind_must_name_one_that_is_there(fixture: &dyn Fixture) {
    let (client, sample) = opened(fixture).await;
    let on = |kind: &str, entity: Json| json!({ "id": Uuid::now_v7(), "kind": kind, "entity_id": entity });
    for (kind, entity) in
        [("sample", json!(Uuid::now_v7())), ("crate", json!("3")), ("crate", json!(sample)), ("crate", json!("01")), ("sample", json!("1"))]
    {
        client.post("/api/remarks", on(kind, entity)).await.problem(422, "bad_reference");
    }
    for (kind, entity) in [("sample", json!(sample)), ("crate", json!("1")), ("crate", Json::Null), ("other", json!("anything"))] {
        client.post("/api/remarks", on(kind, entity)).await.expect(201);
    }
    let id = remark(&client, "crate", "1").await;
    let path = format!("/api/remarks/{id}");
    client.patch(&path, json!({ "kind": "sample" })).await.problem(422, "bad_reference");
    client.patch(&path, json!({ "cause_id": Uuid::now_v7() })).await.problem(422, "bad_reference");
    client.patch(&path, json!({ "kind": "sample", "entity_id": sample, "cause_id": id })).await.expect(200);
}

pub async fn rows_of_a_kind_are_listed_and_made_under_their_parent(fixture: &dyn Fixture) {
    let (client, sample) = opened(fixture).await;
    let (one, on_sample) = (remark(&client, "crate", "1").await, remark(&client, "sample", &sample.to_string()).await);
    // Of another kind, the same text is another row.
    remark(&client, "other", "1").await;
    assert_eq!(client.get("/api/crates/1/remarks").await.ids(), [one.to_string()]);
    assert_eq!(client.get(&format!("/api/samples/{sample}/remarks")).await.ids(), [on_sample.to_string()]);
    assert_eq!(client.get("/api/crates/2/remarks").await.ids().len(), 0);
    let made = client.post("/api/crates/2/remarks", json!({ "id": Uuid::now_v7(), "body": "b" })).await.expect(201);
    assert_eq!((&made["kind"], &made["entity_id"]), (&json!("crate"), &json!("2")));
    let contrary = json!({ "id": Uuid::now_v7(), "kind": "sample" });
    assert_eq!(client.post("/api/crates/2/remarks", contrary).await.problem(422, "invalid_fields"), ["/kind"]);
}

pub async fn what_a_record_refers_to_and_what_refers_to_it_is_included(fixture: &dyn Fixture) {
    let (client, sample) = opened(fixture).await;
    let (on_crate, on_sample) = (remark(&client, "crate", "1").await, remark(&client, "sample", &sample.to_string()).await);
    client.patch(&format!("/api/remarks/{on_sample}"), json!({ "cause_id": on_crate })).await.expect(200);

    let one = client.get(&format!("/api/remarks/{on_sample}?include=entity,cause.entity")).await.expect(200);
    assert_eq!(one["included"]["entity"]["a_text"], "s");
    assert_eq!(one["included"]["cause"]["included"]["entity"]["caption"], "c");
    let none = client.get(&format!("/api/remarks/{on_crate}?include=cause,remarks")).await.expect(200);
    assert_eq!(none["included"]["cause"], Json::Null);
    assert_eq!(none["included"]["remarks"]["data"][0]["id"], json!(on_sample));

    let listed = client.get("/api/crates?include=remarks&sort=id").await.expect(200);
    let remarks = |at: usize| &listed["data"][at]["included"]["remarks"];
    assert_eq!((&remarks(0)["data"][0]["id"], &remarks(0)["hasMore"]), (&json!(on_crate), &json!(false)));
    assert_eq!(remarks(1)["data"], json!([]));
    // By foreign keys alike.
    for code in [1, 2] {
        client.post("/api/places", json!({ "region": "n", "code": code, "title": "x" })).await.expect(201);
    }
    let trip = json!({ "id": Uuid::now_v7(), "from_region": "n", "from_code": 1, "to_region": "n", "to_code": 2 });
    client.post("/api/trips", trip).await.expect(201);
    let trips = client.get("/api/trips?include=from_region,to_region").await.expect(200);
    assert_eq!(trips["data"][0]["included"]["to_region"]["code"], 2);
    let place = client.get("/api/places/n,2?include=trips:from_region,trips:to_region").await.expect(200);
    let of = |via: &str| place["included"][format!("trips:{via}")]["data"].as_array().unwrap().len();
    assert_eq!((of("from_region"), of("to_region")), (0, 1));

    for wrong in ["nothing", "remarks.entity.remarks", "trips"] {
        assert_eq!(client.get(&format!("/api/places/n,2?include={wrong}")).await.problem(400, "bad_query"), ["include"]);
    }
}

pub async fn a_delete_does_what_the_declared_rules_say(fixture: &dyn Fixture) {
    let (client, sample) = opened(fixture).await;
    let (on_crate, on_sample) = (remark(&client, "crate", "1").await, remark(&client, "sample", &sample.to_string()).await);
    let same_text = remark(&client, "other", "1").await;
    client.patch(&format!("/api/remarks/{on_crate}"), json!({ "cause_id": on_sample })).await.expect(200);
    // The remark on the sample would go with it, and another remark forbids that.
    client.delete(&format!("/api/samples/{sample}")).await.problem(409, "restricted");
    client.delete(&format!("/api/remarks/{on_sample}")).await.problem(409, "restricted");
    client.delete("/api/crates/1").await.expect(204);
    let cleared = client.get(&format!("/api/remarks/{on_crate}")).await.expect(200);
    assert_eq!((&cleared["kind"], &cleared["entity_id"]), (&json!("crate"), &Json::Null));
    assert_eq!(client.get(&format!("/api/remarks/{same_text}")).await.expect(200)["entity_id"], "1");
    client.patch(&format!("/api/remarks/{on_crate}"), json!({ "cause_id": null })).await.expect(200);
    client.delete(&format!("/api/samples/{sample}")).await.expect(204);
    client.get(&format!("/api/remarks/{on_sample}")).await.problem(404, "not_found");
}
