//! Soft deletes take what a cascade would take, and a restore brings back exactly that.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, Server};

struct Show {
    production: String,
    source: String,
    other: String,
    output: String,
    connection: String,
}

async fn show(client: &Client) -> Show {
    let production = client.production("Gala").await;
    let source = client.create("sources", json!({ "productionId": production, "type": "CAMERA", "name": "CAM 1" })).await;
    let other = client.create("sources", json!({ "productionId": production, "type": "CAMERA", "name": "CAM 2" })).await;
    let output = client.create("source_outputs", json!({ "sourceId": source, "connector": "SDI" })).await;
    let connection =
        client.create("connections", json!({ "productionId": production, "sourceId": source, "destinationType": "SEND" })).await;
    Show { production, source, other, output, connection }
}

async fn marked(client: &Client, table: &str, id: &str) -> bool {
    let record = client.get(&format!("/api/{table}/{id}?deleted=true")).await;
    assert_eq!(record.status, StatusCode::OK, "{table}/{id}: {}", record.body);
    record.body["isDeleted"] == Value::Bool(true)
}

#[tokio::test]
async fn a_production_goes_with_all_that_hangs_from_it_and_comes_back_with_exactly_that() {
    let server = Server::start().await;
    let client = server.admin();
    let show = show(&client).await;
    // Deleted before and by itself: not part of the production's set.
    assert_eq!(client.delete(&format!("/api/sources/{}", show.other)).await.status, StatusCode::NO_CONTENT);

    assert_eq!(client.delete(&format!("/api/productions/{}", show.production)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&format!("/api/productions/{}", show.production)).await.status, StatusCode::NOT_FOUND);
    assert!(client.list("/api/sources").await.is_empty(), "deleted rows are not listed");
    for (table, id) in [("productions", &show.production), ("sources", &show.source), ("connections", &show.connection)] {
        assert!(marked(&client, table, id).await, "{table}");
    }
    let connection = client.get(&format!("/api/connections/{}?deleted=true", show.connection)).await.body;
    assert_eq!(connection["sourceId"], json!(show.source), "a row that goes along keeps its references");
    assert_eq!(
        client.get(&format!("/api/source_outputs/{}", show.output)).await.status,
        StatusCode::OK,
        "a row of a table without a mark stays under its marked parent"
    );
    let times: Vec<Value> = {
        let mut times = Vec::new();
        for (table, id) in [("productions", &show.production), ("sources", &show.source), ("connections", &show.connection)] {
            times.push(client.get(&format!("/api/{table}/{id}?deleted=true")).await.body["updatedAt"].clone());
        }
        times
    };
    assert!(times.iter().all(|time| *time == times[0]), "one delete, one time: {times:?}");

    let restored = client.post(&format!("/api/productions/{}/restore", show.production), json!({})).await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.body);
    for (table, id) in [("productions", &show.production), ("sources", &show.source), ("connections", &show.connection)] {
        assert!(!marked(&client, table, id).await, "{table} is back");
    }
    assert!(marked(&client, "sources", &show.other).await, "what was deleted before stays deleted");
    assert_eq!(client.delete(&format!("/api/sources/{}", show.other)).await.status, StatusCode::NOT_FOUND, "and cannot be deleted twice");
}

#[tokio::test]
async fn a_deleted_source_is_cleared_from_the_connections_that_named_it() {
    let server = Server::start().await;
    let client = server.admin();
    let show = show(&client).await;
    let before = client.get(&format!("/api/connections/{}", show.connection)).await;
    assert_eq!(client.delete(&format!("/api/sources/{}", show.source)).await.status, StatusCode::NO_CONTENT);
    let after = client.get(&format!("/api/connections/{}", show.connection)).await;
    assert_eq!(after.body["sourceId"], Value::Null);
    assert_eq!(after.body["isDeleted"], json!(false));
    assert_eq!(after.body["version"].as_i64().unwrap(), before.body["version"].as_i64().unwrap() + 1);
}

#[tokio::test]
async fn a_real_delete_takes_its_cascade_and_is_refused_where_rows_restrict_it() {
    let server = Server::start().await;
    let client = server.admin();
    let spec = json!({ "category": "ROUTER", "manufacturer": "M", "model": "R1", "ioArchitecture": "CARD_BASED" });
    let equipment = client.create("equipment", spec).await;
    let card = client.create("equipment_cards", json!({ "equipmentId": equipment, "slotNumber": 1 })).await;
    let io = client.create("equipment_card_io", json!({ "cardId": card, "portType": "INPUT", "ioType": "SDI" })).await;
    assert_eq!(client.delete(&format!("/api/equipment_cards/{card}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&format!("/api/equipment_card_io/{io}?deleted=true")).await.status, StatusCode::NOT_FOUND);

    // The same table with a rule that forbids: the name of the referring table is told.
    server
        .sql(
            "ALTER TABLE equipment_card_io DROP CONSTRAINT equipment_card_io_card_id_fkey,
             ADD CONSTRAINT equipment_card_io_card_id_fkey FOREIGN KEY (card_id) REFERENCES equipment_cards ON DELETE RESTRICT",
        )
        .await;
    let card = client.create("equipment_cards", json!({ "equipmentId": equipment, "slotNumber": 2 })).await;
    client.create("equipment_card_io", json!({ "cardId": card, "portType": "INPUT", "ioType": "SDI" })).await;
    let refused = client.delete(&format!("/api/equipment_cards/{card}")).await;
    assert_eq!(refused.problem(), (409, "restricted"), "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("equipment_card_io"), "{}", refused.body);
    assert_eq!(client.get(&format!("/api/equipment_cards/{card}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_soft_delete_is_refused_where_live_rows_restrict_it() {
    let server = Server::start().await;
    let client = server.admin();
    server
        .sql(
            "ALTER TABLE connections DROP CONSTRAINT connections_source_id_fkey,
             ADD CONSTRAINT connections_source_id_fkey FOREIGN KEY (source_id) REFERENCES sources ON DELETE RESTRICT",
        )
        .await;
    assert_eq!(client.post("/api/rejoin/catalog/refresh", json!({})).await.status, StatusCode::OK);
    let show = show(&client).await;
    let refused = client.delete(&format!("/api/sources/{}", show.source)).await;
    assert_eq!(refused.problem(), (409, "restricted"), "{}", refused.body);
    assert!(!marked(&client, "sources", &show.source).await);
    // A row that goes along does not forbid.
    assert_eq!(client.delete(&format!("/api/productions/{}", show.production)).await.status, StatusCode::NO_CONTENT);
}
