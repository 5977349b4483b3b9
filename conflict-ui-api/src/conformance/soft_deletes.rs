//! Deletes where the table has a mark.

use serde_json::{Value as Json, json};

use super::records::production;
use super::{Client, Fixture, System};

/// A production with a camera, an output of it, and a connection that starts at the camera; their paths.
struct Show {
    production: String,
    source: String,
    output: String,
    connection: String,
}

async fn show(client: &Client) -> Show {
    let production = format!("/api/productions/{}", production(client, "Gala").await);
    let made = |reply: super::Reply| reply.header("location").unwrap().to_owned();
    let source = client.post(&format!("{production}/sources"), json!({ "type": "CAMERA", "name": "Cam 1" })).await;
    let source_id = source.body["id"].clone();
    let source = made(source);
    let output = made(client.post(&format!("{source}/source_outputs"), json!({ "connector": "SDI" })).await);
    let connection = json!({ "destinationType": "SEND", "sourceId": source_id });
    let connection = made(client.post(&format!("{production}/connections"), connection).await);
    Show { production, source, output, connection }
}

pub async fn a_deleted_record_is_hidden_with_what_hangs_from_it(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let show = show(&client).await;
    let version = client.get(&show.production).await.expect(200)["version"].as_i64();
    client.delete(&show.production).await.expect(204);
    for path in [&show.production, &show.source, &show.connection] {
        client.get(path).await.problem(404, "not_found");
        assert_eq!(client.get(&format!("{path}?deleted=true")).await.expect(200)["isDeleted"], true, "{path}");
    }
    let marked = client.get(&format!("{}?deleted=true", show.production)).await.expect(200);
    assert!(marked["version"].as_i64() > version, "a mark is a change");
    client.get(&show.output).await.expect(200);
    for table in ["productions", "sources", "connections"] {
        assert_eq!(client.get(&format!("/api/{table}")).await.ids().len(), 0, "{table}");
        assert_eq!(client.get(&format!("/api/{table}?deleted=true")).await.ids().len(), 1, "{table}");
    }
    client.get(&format!("{}/sources", show.production)).await.problem(404, "not_found");
}

pub async fn a_restore_brings_back_the_same_set(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let show = show(&client).await;
    let early = client.post(&format!("{}/sources", show.production), json!({ "type": "CAMERA", "name": "Cam 2" })).await;
    let early = early.header("location").unwrap().to_owned();
    client.delete(&early).await.expect(204);
    client.delete(&show.production).await.expect(204);
    let back = client.post(&format!("{}/restore", show.production), Json::Null).await.expect(200);
    assert_eq!(back["isDeleted"], false);
    for path in [&show.production, &show.source, &show.connection] {
        client.get(path).await.expect(200);
    }
    client.get(&early).await.problem(404, "not_found");
    let again = client.post(&format!("{}/restore", show.production), Json::Null).await.expect(200);
    assert_eq!(again["version"], back["version"], "what lives is left as it is");

    client.delete(&show.source).await.expect(204);
    let connection = client.get(&show.connection).await.expect(200);
    assert_eq!(connection["sourceId"], Json::Null, "a reference that a real delete would clear is cleared");
    client.post(&format!("{}/restore", show.source), Json::Null).await.expect(200);
    client.get(&show.source).await.expect(200);
}

pub async fn a_deleted_record_takes_no_edits(fixture: &dyn Fixture) {
    let client = Client::open(fixture, System::VideoProduction).await;
    let show = show(&client).await;
    let mark = client.patch(&show.production, json!({ "isDeleted": true })).await;
    assert_eq!(mark.problem(422, "invalid_fields"), ["/isDeleted"]);
    client.patch(&show.production, json!({ "isDeleted": false, "room": "A" })).await.expect(200);
    let id = client.get(&show.production).await.expect(200)["id"].clone();
    client.delete(&show.production).await.expect(204);
    client.patch(&show.production, json!({ "room": "B" })).await.problem(404, "not_found");
    client.delete(&show.production).await.problem(404, "not_found");
    let same = json!({ "id": id, "client": "Acme", "showName": "Gala" });
    assert_eq!(client.post("/api/productions", same).await.problem(409, "duplicate"), ["/id"], "its key stays taken");
}
