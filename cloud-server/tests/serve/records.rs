//! Records: what constraints say, what `If-Match` guards, how lists page.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn a_new_record_has_defaults_stamps_and_an_etag() {
    let server = Server::start().await;
    let client = server.admin();
    let answer = client.post("/api/productions", json!({ "client": "Acme", "showName": "Gala" })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.body["status"], json!("PLANNING"));
    assert_eq!(answer.body["version"], json!(1));
    assert_eq!(answer.body["lastModifiedBy"], json!("local-admin"));
    assert!(answer.body["syncedAt"].is_string(), "accepted by the cloud as it is written: {}", answer.body);
    let id = answer.body["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    let read = client.get(&format!("/api/productions/{id}")).await;
    assert_eq!((read.etag, read.body), (answer.etag, answer.body));
}

#[tokio::test]
async fn every_constraint_speaks_the_apis_words() {
    let server = Server::start().await;
    let client = server.admin();
    let spec = json!({ "category": "ROUTER", "manufacturer": "M", "model": "R1", "ioArchitecture": "CARD_BASED" });
    let equipment = client.create("equipment", spec).await;
    let card = json!({ "equipmentId": equipment, "slotNumber": 1 });
    client.create("equipment_cards", card.clone()).await;
    let taken = client.post("/api/equipment_cards", card).await;
    assert_eq!(taken.problem(), (409, "duplicate"), "{}", taken.body);
    let pointers: Vec<_> = taken.body["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/equipmentId", "/slotNumber"]);

    let nobody = uuid::Uuid::now_v7();
    let orphan = client.post("/api/sources", json!({ "productionId": nobody, "type": "CAMERA", "name": "x" })).await;
    assert_eq!(orphan.problem(), (422, "bad_reference"), "{}", orphan.body);
    assert_eq!(orphan.body["errors"][0]["pointer"], json!("/productionId"));

    let production = client.production("Gala").await;
    let connection = json!({ "productionId": production, "sourceId": nobody, "destinationType": "SEND" });
    let orphan = client.post("/api/connections", connection).await;
    assert_eq!(orphan.problem(), (422, "bad_reference"), "a reference beside the scope path: {}", orphan.body);
    assert_eq!(orphan.body["errors"][0]["pointer"], json!("/sourceId"));

    let twice = client.post("/api/productions", json!({ "id": production, "client": "A", "showName": "B" })).await;
    assert_eq!(twice.problem(), (409, "duplicate"), "{}", twice.body);

    server.sql("ALTER TABLE productions ADD CONSTRAINT named CHECK (show_name <> 'forbidden')").await;
    let checked = client.patch(&format!("/api/productions/{production}"), json!({ "showName": "forbidden" })).await;
    assert_eq!(checked.problem(), (422, "check_failed"), "{}", checked.body);
}

#[tokio::test]
async fn a_stale_write_is_refused_and_shows_what_is_there() {
    let server = Server::start().await;
    let client = server.admin();
    let id = client.production("Gala").await;
    let path = format!("/api/productions/{id}");
    let read = client.get(&path).await;
    server.sql(&format!("UPDATE productions SET venue = 'Hall' WHERE id = '{id}'")).await;
    let stale = client.send(Method::PATCH, &path, Some(json!({ "room": "1" })), Some(&read.etag)).await;
    assert_eq!(stale.problem(), (412, "stale"), "{}", stale.body);
    assert_eq!(stale.body["current"]["venue"], json!("Hall"));
    assert_eq!(client.send(Method::DELETE, &path, None, Some(&read.etag)).await.problem(), (412, "stale"));
    let now = client.get(&path).await;
    assert_eq!(now.body["room"], Value::Null);
    assert_eq!(now.body["version"], json!(2), "plain SQL is versioned too");
    let written = client.send(Method::PATCH, &path, Some(json!({ "room": "1" })), Some(&now.etag)).await;
    assert_eq!((written.status, &written.body["version"]), (StatusCode::OK, &json!(3)));
    let same = client.send(Method::PATCH, &path, Some(json!({ "room": "1" })), None).await;
    assert_eq!((same.status, same.etag), (StatusCode::OK, written.etag), "nothing changed, nothing is written");
}

#[tokio::test]
async fn writes_of_one_row_at_once_lose_nothing() {
    let server = Server::start().await;
    let client = server.admin();
    let id = client.production("Gala").await;
    let fields = ["venue", "room", "client", "showName"];
    let writes = fields.iter().map(|field| {
        let (client, path) = (client.clone(), format!("/api/productions/{id}"));
        let body = json!({ *field: format!("new {field}") });
        tokio::spawn(async move { client.patch(&path, body).await })
    });
    for write in futures_util::future::join_all(writes).await {
        let answer = write.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let read = client.get(&format!("/api/productions/{id}")).await.body;
    for field in fields {
        assert_eq!(read[field], json!(format!("new {field}")));
    }
    assert_eq!(read["version"], json!(5));
}

#[tokio::test]
async fn a_list_pages_through_nulls_and_equal_values_without_loss() {
    let server = Server::start().await;
    let client = server.admin();
    let production = client.production("Gala").await;
    for (name, note) in [("a", Some("x")), ("b", None), ("c", Some("x")), ("d", None), ("e", Some("Ä")), ("f", Some("y"))] {
        client.create("sources", json!({ "productionId": production, "type": "CAMERA", "name": name, "note": note })).await;
    }
    for (sort, order) in [("note,-name", "cafedb"), ("-note,name", "bdefac"), ("name", "abcdef")] {
        let mut path = format!("/api/sources?sort={sort}&limit=2");
        let mut seen = String::new();
        loop {
            let page = client.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.body);
            seen.extend(page.body.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            let Some(link) = page.headers.get("link").and_then(|link| link.to_str().ok()) else { break };
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        }
        assert_eq!(seen, order, "{sort}");
    }
    let filtered = client.list("/api/sources?note=x").await;
    assert_eq!(filtered.len(), 2);
}

#[tokio::test]
async fn a_record_that_changes_its_production_moves_to_that_scope_with_what_hangs_from_it() {
    let server = Server::start().await;
    let client = server.admin();
    let (from, to) = (client.production("From").await, client.production("To").await);
    let source = client.create("sources", json!({ "productionId": from, "type": "CAMERA", "name": "CAM" })).await;
    let output = client.create("source_outputs", json!({ "sourceId": source, "connector": "SDI" })).await;
    let moved = client.patch(&format!("/api/sources/{source}"), json!({ "productionId": to })).await;
    assert_eq!((moved.status, &moved.body["productionId"]), (StatusCode::OK, &json!(to)));
    let (client, connection) = tokio_postgres::connect(server.database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT rejoin_scope = $1 AND rejoin_tick = (SELECT head FROM rejoin.scopes WHERE scope = $1) FROM sources
               UNION ALL SELECT rejoin_scope = $1 FROM source_outputs
               UNION ALL SELECT bool_and(left_scope) AND count(*) = 2 FROM rejoin.tombstones WHERE scope = $2";
    let rows = client.query(sql, &[&format!("productions/{to}"), &format!("productions/{from}")]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, bool>(0)).collect::<Vec<_>>(), [true; 3], "{output}");
}

#[tokio::test]
async fn a_row_that_a_program_holds_is_busy_for_a_while_and_then_written() {
    let server = Server::start().await;
    let client = server.admin();
    let id = client.production("Gala").await;
    let path = format!("/api/productions/{id}");
    let (mut holder, connection) = tokio_postgres::connect(server.database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = holder.transaction().await.unwrap();
    transaction.batch_execute(&format!("UPDATE productions SET venue = 'Hall' WHERE id = '{id}'")).await.unwrap();

    let busy = client.patch(&path, json!({ "room": "1" })).await;
    assert_eq!(busy.problem(), (503, "busy"), "{}", busy.body);
    assert!(busy.headers.contains_key("retry-after"));
    assert_eq!(client.delete(&path).await.problem(), (503, "busy"));
    assert_eq!(client.get(&path).await.body["venue"], Value::Null, "readers are not held up");
    client.production("Another").await;

    transaction.commit().await.unwrap();
    let written = client.patch(&path, json!({ "room": "1" })).await;
    assert_eq!((written.status, &written.body["venue"]), (StatusCode::OK, &json!("Hall")), "the program was not the victim");
}

#[tokio::test]
async fn what_was_renamed_this_moment_fails_no_write() {
    let server = Server::start().await;
    let client = server.admin();
    let id = client.production("Gala").await;
    server.sql("CREATE TYPE mood AS ENUM ('calm', 'wild'); ALTER TABLE productions ADD mood mood").await;
    assert!(client.post("/api/rejoin/catalog/refresh", json!({})).await.status.is_success());
    let path = format!("/api/productions/{id}");
    server.sql("ALTER TYPE mood RENAME TO temper").await;
    let written = client.patch(&path, json!({ "mood": "wild" })).await;
    assert_eq!((written.status, &written.body["mood"]), (StatusCode::OK, &json!("wild")), "{}", written.body);
    // Under the names of now: in none of the columns that were called so a moment ago.
    server.sql("ALTER TABLE productions RENAME room TO r; ALTER TABLE productions RENAME venue TO room; ALTER TABLE productions RENAME r TO venue").await;
    let asked = client.patch(&path, json!({ "room": "1" })).await;
    let again = if asked.status.is_success() { asked } else { client.patch(&path, json!({ "room": "1" })).await };
    assert_eq!((again.status, &again.body["room"], &again.body["venue"]), (StatusCode::OK, &json!("1"), &Value::Null), "{}", again.body);
}

#[tokio::test]
async fn no_value_is_shown_under_the_name_of_another_column() {
    let server = Server::start().await;
    let client = server.admin();
    let id = client.production("Gala").await;
    let path = format!("/api/productions/{id}");
    assert!(client.patch(&path, json!({ "room": "1", "venue": "Hall" })).await.status.is_success());
    for at in 0..4 {
        server.sql("ALTER TABLE productions RENAME room TO r; ALTER TABLE productions RENAME venue TO room; ALTER TABLE productions RENAME r TO venue").await;
        let swapped = if at % 2 == 0 { ("Hall", "1") } else { ("1", "Hall") };
        let asked = if at < 2 { client.get(&path).await } else { client.get("/api/productions").await };
        // Told to ask again, or shown as it is: never the one under the name of the other.
        if asked.status.is_success() {
            let row = if at < 2 { asked.body.clone() } else { asked.body["items"][0].clone() };
            assert_eq!((row["room"].as_str(), row["venue"].as_str()), (Some(swapped.0), Some(swapped.1)), "{}", asked.body);
        } else {
            assert_eq!(asked.problem().0, 503, "{}", asked.body);
        }
        assert!(client.post("/api/rejoin/catalog/refresh", json!({})).await.status.is_success());
    }
}
