//! Records under their parents.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::records::production;
use super::{Client, Fixture, System};

pub async fn children_are_listed_and_made_under_their_parent(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let (gala, other) = (production(&client, "Gala").await, production(&client, "Other").await);
    let path = format!("/api/productions/{gala}/sources");
    let made = client.post(&path, json!({ "type": "CAMERA", "name": "Cam 1" })).await.expect(201);
    assert_eq!(made["productionId"], json!(gala));
    let same = json!({ "type": "CAMERA", "name": "Cam 2", "productionId": gala });
    client.post(&path, same).await.expect(201);
    let contrary = json!({ "type": "CAMERA", "name": "Cam 3", "productionId": other });
    assert_eq!(client.post(&path, contrary).await.problem(422, "invalid_fields"), ["/productionId"]);
    assert_eq!(client.get(&format!("{path}?sort=-name")).await.ids().len(), 2);
    assert_eq!(client.get(&format!("{path}?name=Cam%202")).await.ids().len(), 1);
    assert_eq!(client.get(&format!("/api/productions/{other}/sources")).await.ids().len(), 0);
    let output = client.post(&format!("/api/sources/{}/source_outputs", made["id"].as_str().unwrap()), json!({ "connector": "SDI" })).await;
    assert_eq!(output.expect(201)["outputIndex"], 1);
    client.get(&format!("/api/productions/{}/sources", Uuid::now_v7())).await.problem(404, "not_found");
    client.post(&format!("/api/productions/{}/sources", Uuid::now_v7()), json!({})).await.problem(404, "not_found");
    client.get(&format!("/api/productions/{gala}/equipment")).await.problem(404, "unknown_table");
}

pub async fn one_parent_by_two_references_needs_via(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::EveryType).await;
    for code in [1, 2] {
        client.post("/api/places", json!({ "region": "n", "code": code, "title": "x" })).await.expect(201);
    }
    let out = json!({ "id": Uuid::now_v7(), "to_region": "n", "to_code": 2 });
    client.post("/api/places/n,1/trips", out.clone()).await.problem(400, "bad_query");
    client.post("/api/places/n,1/trips?via=from_region", out).await.expect(201);
    let of = async |place: &str, via: &str| client.get(&format!("/api/places/{place}/trips?via={via}")).await.ids().len();
    assert_eq!((of("n,1", "from_region").await, of("n,1", "to_region").await), (1, 0));
    assert_eq!((of("n,2", "from_region").await, of("n,2", "to_region").await), (0, 1));
    assert_eq!(client.get("/api/places/n,1/trips").await.problem(400, "bad_query"), ["via"]);
    let page = client.get("/api/places/n,1/trips?via=from_region").await.expect(200);
    assert_eq!((&page["has_more"], &page["next_cursor"]), (&json!(false), &Json::Null));
}
