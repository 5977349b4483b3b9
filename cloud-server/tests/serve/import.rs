//! A whole data set: one transaction, in bulk, idempotent, nothing by halves.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::Server;

fn data_set(names: &[&str]) -> Value {
    let id = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let mut rows = Vec::new();
    for name in names {
        rows.push(json!({ "table": "equipment", "values":
            { "id": id(name), "category": "ROUTER", "manufacturer": "M", "model": name, "ioArchitecture": "DIRECT" } }));
        for port in 0..3 {
            rows.push(json!({ "table": "equipment_io_ports", "values":
                { "id": id(&format!("{name}{port}")), "equipmentId": id(name), "portType": "INPUT", "ioType": "SDI", "portIndex": port } }));
        }
    }
    json!({ "rows": rows })
}

#[tokio::test]
async fn a_second_import_changes_nothing_and_a_broken_one_leaves_nothing() {
    let server = Server::start().await;
    let admin = server.admin();
    let names: Vec<String> = (0..50).map(|no| format!("model {no}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = admin.post("/api/rejoin/import", data_set(&names)).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    assert_eq!(first.body, json!({ "created": 200, "updated": 0, "unchanged": 0 }));
    let before = admin.get("/api/rejoin/digests").await.body;
    let second = admin.post("/api/rejoin/import", data_set(&names)).await;
    assert_eq!(second.body, json!({ "created": 0, "updated": 0, "unchanged": 200 }));

    let mut changed = data_set(&names[..2]);
    changed["rows"][0]["values"]["model"] = json!("other");
    let third = admin.post("/api/rejoin/import", changed).await;
    assert_eq!(third.body, json!({ "created": 0, "updated": 1, "unchanged": 7 }));
    assert_ne!(admin.get("/api/rejoin/digests").await.body["digest"], before["digest"]);

    let count = admin.get("/api/rejoin/digests").await.body["rows"].clone();
    let mut orphan = data_set(&["new"]);
    orphan["rows"][1]["values"]["equipmentId"] = json!(Uuid::now_v7());
    let refused = admin.post("/api/rejoin/import", orphan).await;
    assert_eq!(refused.problem(), (422, "bad_reference"), "{}", refused.body);
    assert_eq!(admin.get("/api/rejoin/digests").await.body["rows"], count);
}

#[tokio::test]
async fn an_imported_production_brings_its_scope_along() {
    let server = Server::start().await;
    let admin = server.admin();
    let (production, source) = (Uuid::now_v7(), Uuid::now_v7());
    let rows = json!({ "rows": [
        { "table": "productions", "values": { "id": production, "client": "A", "showName": "B" } },
        { "table": "sources", "values": { "id": source, "productionId": production, "type": "CAMERA", "name": "CAM" } },
        { "table": "source_outputs", "values": { "sourceId": source, "connector": "SDI" } },
    ] });
    let done = admin.post("/api/rejoin/import", rows).await;
    assert_eq!(done.body["created"], json!(3), "{}", done.body);
    let (client, connection) = tokio_postgres::connect(server.database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let scopes: Vec<String> =
        client.query("SELECT rejoin_scope FROM source_outputs", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(scopes, [format!("productions/{production}")]);
}
