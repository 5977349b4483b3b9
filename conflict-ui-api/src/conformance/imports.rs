//! Whole data sets.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Client, Fixture, System};

const PATH: &str = "/api/rejoin/import";

/// A production with sources, children before their parent; and equipment with a slot.
fn rows(production: Uuid, sources: &[Uuid], equipment: Uuid) -> Vec<Json> {
    let mut rows: Vec<Json> = sources
        .iter()
        .enumerate()
        .map(|(at, id)| json!({ "table": "sources", "values": { "id": id, "production_id": production, "type": "CAMERA", "name": format!("Cam {at}") } }))
        .collect();
    rows.push(json!({ "table": "productions", "values": { "id": production, "client": "C", "show_name": "S" } }));
    rows.push(json!({ "table": "equipment_specs", "values":
        { "id": equipment, "category": "ROUTER", "manufacturer": "M", "model": "X", "io_architecture": "DIRECT", "specs": { "b": 1, "a": [1.50] } } }));
    rows.push(json!({ "table": "equipment_cards", "values": { "id": Uuid::now_v7(), "equipment_id": equipment, "slot_number": 1 } }));
    rows
}

pub async fn an_import_writes_what_differs_and_nothing_twice(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let (production, equipment) = (Uuid::now_v7(), Uuid::now_v7());
    let sources: Vec<_> = (0..40).map(|_| Uuid::now_v7()).collect();
    let mut rows = rows(production, &sources, equipment);
    let first = client.post(PATH, json!({ "rows": rows })).await.expect(200);
    assert_eq!(first, json!({ "created": 43, "updated": 0, "unchanged": 0 }));
    let path = format!("/api/sources/{}", sources[3]);
    let before = client.get(&path).await.expect(200);
    assert_eq!((&before["name"], &before["isDeleted"]), (&json!("Cam 3"), &json!(false)));

    let again = client.post(PATH, json!({ "rows": rows })).await.expect(200);
    assert_eq!(again, json!({ "created": 0, "updated": 0, "unchanged": 43 }));
    assert_eq!(client.get(&path).await.expect(200), before, "the version stays, too");

    // Somebody's edit of a column that the data set does not name stays; one that it names is set again.
    client.patch(&path, json!({ "note": "mine", "name": "Renamed" })).await.expect(200);
    rows[5]["values"]["name"] = json!("Other");
    let third = client.post(PATH, json!({ "rows": rows })).await.expect(200);
    assert_eq!(third, json!({ "created": 0, "updated": 2, "unchanged": 41 }));
    let after = client.get(&path).await.expect(200);
    assert_eq!((&after["name"], &after["note"], &after["version"]), (&json!("Cam 3"), &json!("mine"), &json!(3)));
}

pub async fn an_import_that_cannot_be_written_changes_nothing(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let (production, equipment) = (Uuid::now_v7(), Uuid::now_v7());
    let good = rows(production, &[Uuid::now_v7()], equipment);
    let with = |row: Json| json!({ "rows": good.iter().cloned().chain([row]).collect::<Vec<_>>() });
    let slot = json!({ "id": Uuid::now_v7(), "equipment_id": equipment, "slot_number": 1 });
    let orphan = json!({ "production_id": Uuid::now_v7(), "type": "CAMERA", "name": "x" });
    let wrong = json!({ "id": "7", "colour": "red" });
    let reply = client.post(PATH, with(json!({ "table": "equipment_cards", "values": slot }))).await;
    reply.problem(409, "duplicate");
    let reply = client.post(PATH, with(json!({ "table": "sources", "values": orphan }))).await;
    assert!(matches!(reply.status.as_u16(), 409 | 422), "{}", reply.body);
    let places = client.post(PATH, with(json!({ "table": "sources", "values": wrong }))).await.problem(422, "invalid_fields");
    assert_eq!(places, ["/rows/4/values/colour", "/rows/4/values/id"]);
    let places = client.post(PATH, with(json!({ "table": "nothing", "values": {} }))).await.problem(422, "invalid_fields");
    assert_eq!(places, ["/rows/4/table"]);
    client.post(PATH, json!({ "rows": [{ "table": "sources" }] })).await.problem(400, "bad_json");
    client.get(&format!("/api/productions/{production}")).await.problem(404, "not_found");
    client.get(&format!("/api/equipment/{equipment}")).await.problem(404, "not_found");
}
