//! One record at a time.

use axum::http::Method;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Client, Fixture, System};

/// A production to hang things from; its id.
pub(super) async fn production(client: &Client, name: &str) -> String {
    let made = client.post("/api/productions", json!({ "client": "Acme", "showName": name })).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

pub async fn a_new_record_comes_back_with_defaults_and_stamps(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let reply = client.post("/api/productions", json!({ "client": "Acme", "showName": "Gala", "venue": null })).await;
    let location = reply.header("location").unwrap().to_owned();
    let etag = reply.header("etag").unwrap().to_owned();
    let place = reply.header("rejoin-place").unwrap().to_owned();
    let made = reply.expect(201);
    assert_eq!(location, format!("/api/productions/{}", made["id"].as_str().unwrap()));
    assert_eq!(json!(place), json!(client.store.here));
    assert_eq!((&made["showName"], &made["venue"], &made["status"]), (&json!("Gala"), &Json::Null, &json!("PLANNING")));
    assert_eq!((&made["isDeleted"], &made["lastModifiedBy"]), (&json!(false), &json!("local-admin")));
    assert!(made["version"].as_i64().unwrap() >= 1);
    for time in ["createdAt", "updatedAt"] {
        let text = made[time].as_str().unwrap();
        assert!(text.len() == 27 && text.ends_with('Z'), "{time} is UTC with microseconds: {text}");
    }
    let read = client.get(&location).await;
    assert_eq!(read.header("etag"), Some(etag.as_str()));
    assert_eq!(read.expect(200), made);
}

pub async fn a_patch_changes_what_it_names_and_nothing_else(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let made = client.post("/api/productions", json!({ "client": "Acme", "showName": "Gala", "venue": "Hall" })).await;
    let (path, etag) = (made.header("location").unwrap().to_owned(), made.header("etag").unwrap().to_owned());
    let made = made.expect(201);
    for method in [Method::PATCH, Method::PUT] {
        let room = format!("by {method}");
        let reply = client.send(method, &path, Some(json!({ "room": room, "venue": null })), None).await;
        assert_ne!(reply.header("etag").unwrap(), etag);
        let after = reply.expect(200);
        assert_eq!((&after["room"], &after["venue"], &after["client"]), (&json!(room), &Json::Null, &json!("Acme")));
        assert!(after["version"].as_i64() > made["version"].as_i64());
        assert!(after["updatedAt"].as_str() >= made["updatedAt"].as_str());
        assert_eq!(after["createdAt"], made["createdAt"]);
        assert_eq!(client.get(&path).await.expect(200), after);
    }
    // A client sends the whole row back as it read it: nothing but the changed field counts.
    let mut whole = client.get(&path).await.expect(200);
    whole["showName"] = json!("Gala 2");
    let after = client.send(Method::PUT, &path, Some(whole), None).await.expect(200);
    assert_eq!(after["showName"], "Gala 2");
}

pub async fn a_record_may_carry_its_own_id_once(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let id = Uuid::now_v7().to_string();
    let body = json!({ "id": id, "client": "Acme", "showName": "Gala" });
    assert_eq!(client.post("/api/productions", body.clone()).await.expect(201)["id"], json!(id));
    assert_eq!(client.post("/api/productions", body).await.problem(409, "duplicate"), ["/id"]);
    let path = format!("/api/productions/{id}");
    let other = json!({ "id": Uuid::now_v7().to_string() });
    assert_eq!(client.patch(&path, other).await.problem(422, "invalid_fields"), ["/id"]);
}

pub async fn a_stale_etag_is_refused_with_the_record_as_it_is(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let path = format!("/api/productions/{}", production(&client, "Gala").await);
    let old = client.get(&path).await.header("etag").unwrap().to_owned();
    let write = |room: &str, tag: &str| {
        let (room, tag, path, client) = (json!({ "room": room }), tag.to_owned(), &path, &client);
        async move { client.send(Method::PATCH, path, Some(room), Some(&tag)).await }
    };
    let now = write("A", &old).await;
    let new = now.header("etag").unwrap().to_owned();
    let current = now.expect(200);
    let refused = write("B", &old).await;
    assert_eq!(refused.body["current"], current);
    refused.problem(412, "stale");
    client.send(Method::DELETE, &path, None, Some(&old)).await.problem(412, "stale");
    assert_eq!(client.get(&path).await.expect(200)["room"], "A", "nothing was written");
    write("C", &format!("{old}, {new}")).await.expect(200);
    write("D", "*").await.expect(200);
    let last = client.get(&path).await.header("etag").unwrap().to_owned();
    client.send(Method::DELETE, &path, None, Some(&last)).await.expect(204);
}

pub async fn of_two_writers_with_one_etag_one_wins(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let path = format!("/api/productions/{}", production(&client, "Gala").await);
    for _ in 0..5 {
        let tag = client.get(&path).await.header("etag").unwrap().to_owned();
        let write = |room: &str| client.send(Method::PATCH, &path, Some(json!({ "room": format!("{room} {tag}") })), Some(&tag));
        let (ann, bob) = tokio::join!(write("Ann"), write("Bob"));
        let won = [&ann, &bob].iter().filter(|reply| reply.status == 200).count();
        assert_eq!(won, 1, "{} {}", ann.body, bob.body);
        let lost = if ann.status == 200 { bob } else { ann };
        assert!(matches!(lost.status.as_u16(), 412 | 503), "{}", lost.body);
    }
}

pub async fn faults_are_named_field_by_field(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let missing = client.post("/api/productions", json!({ "venue": "Hall" })).await;
    assert_eq!(missing.problem(422, "invalid_fields"), ["/client", "/showName"]);
    let wrong = client.post("/api/productions", json!({ "client": 7, "showName": "x", "status": "SIDEWAYS", "wheels": 4 })).await;
    assert_eq!(wrong.problem(422, "invalid_fields"), ["/client", "/status", "/wheels"]);
    let path = format!("/api/productions/{}", production(&client, "Gala").await);
    assert_eq!(client.patch(&path, json!({ "client": null })).await.problem(422, "invalid_fields"), ["/client"]);
    let other = Client::open(fixture, System::EveryType).await;
    let long = other.post("/api/samples", json!({ "id": Uuid::now_v7(), "a_varchar": "sixsix" })).await;
    assert_eq!(long.problem(422, "invalid_fields"), ["/a_varchar"]);
    assert_eq!(client.get("/api/productions").await.ids().len(), 1, "nothing else was written");
}

pub async fn a_taken_unique_key_is_named_by_its_columns(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let device = json!({ "category": "ROUTER", "manufacturer": "Acme", "model": "R1", "ioArchitecture": "CARD_BASED" });
    let device = client.post("/api/equipment", device).await.expect(201)["id"].clone();
    let card = |slot: i64| json!({ "equipmentId": device, "slotNumber": slot });
    client.post("/api/equipment_cards", card(1)).await.expect(201);
    let taken = client.post("/api/equipment_cards", card(1)).await;
    assert_eq!(taken.problem(409, "duplicate"), ["/equipmentId", "/slotNumber"]);
    let second = client.post("/api/equipment_cards", card(2)).await;
    let path = second.header("location").unwrap().to_owned();
    second.expect(201);
    assert_eq!(client.patch(&path, json!({ "slotNumber": 1 })).await.problem(409, "duplicate"), ["/equipmentId", "/slotNumber"]);
}

pub async fn a_reference_to_nothing_is_refused(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let nothing = Uuid::now_v7();
    let source = client.post("/api/sources", json!({ "productionId": nothing, "type": "CAMERA", "name": "Cam 1" })).await;
    assert_eq!(source.problem(422, "bad_reference"), ["/productionId"]);
    let production = production(&client, "Gala").await;
    let connection = json!({ "productionId": production, "destinationType": "SEND", "sourceId": nothing });
    assert_eq!(client.post("/api/connections", connection).await.problem(422, "bad_reference"), ["/sourceId"]);
    let connection = json!({ "productionId": production, "destinationType": "SEND" });
    let path = client.post("/api/connections", connection).await.header("location").unwrap().to_owned();
    assert_eq!(client.patch(&path, json!({ "sourceId": nothing })).await.problem(422, "bad_reference"), ["/sourceId"]);
}

pub async fn what_does_not_exist_is_not_found(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let path = format!("/api/productions/{}", Uuid::now_v7());
    client.get(&path).await.problem(404, "not_found");
    client.patch(&path, json!({ "room": "A" })).await.problem(404, "not_found");
    client.delete(&path).await.problem(404, "not_found");
    client.post(&format!("{path}/restore"), Json::Null).await.problem(404, "not_found");
    client.get("/api/productions/seven").await.problem(404, "not_found");
    client.get("/api/wheels").await.problem(404, "unknown_table");
}

pub async fn a_real_delete_removes_and_a_reference_may_forbid_it(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for code in [1, 2] {
        client.post("/api/places", json!({ "region": "north", "code": code, "title": "x" })).await.expect(201);
    }
    let trip = json!({ "id": Uuid::now_v7(), "from_region": "north", "from_code": 1, "to_region": "north", "to_code": 2 });
    let trip = client.post("/api/trips", trip).await.header("location").unwrap().to_owned();
    client.delete("/api/places/north,1").await.problem(409, "restricted");
    client.get("/api/places/north,1").await.expect(200);
    client.delete("/api/places/north,2").await.expect(204);
    let after = client.get(&trip).await.expect(200);
    assert_eq!((&after["to_region"], &after["to_code"]), (&Json::Null, &Json::Null), "the reference was cleared");
    client.delete(&trip).await.expect(204);
    client.delete("/api/places/north,1").await.expect(204);
    client.get("/api/places/north,1?deleted=true").await.problem(404, "not_found");
    client.post("/api/places", json!({ "region": "north", "code": 1, "title": "again" })).await.expect(201);
}

pub async fn a_composite_key_survives_commas_and_percent_signs(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    let made = client.post("/api/places", json!({ "region": "a,b%2C/é", "code": -7, "title": "odd" })).await;
    let path = made.header("location").unwrap().to_owned();
    assert_eq!(path, "/api/places/a%2Cb%252C%2F%C3%A9,-7");
    assert_eq!(client.get(&path).await.expect(200)["title"], "odd");
    client.patch(&path, json!({ "title": "still odd" })).await.expect(200);
    assert_eq!(
        client.post("/api/places", json!({ "region": "a,b%2C/é", "code": -7, "title": "x" })).await.problem(409, "duplicate"),
        ["/code", "/region"]
    );
    client.get("/api/places/a,b,-7").await.problem(404, "not_found");
    client.delete(&path).await.expect(204);
    client.get(&path).await.problem(404, "not_found");
}
