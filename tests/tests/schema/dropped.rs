//! Edits of a column and a table that are gone.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::columns;

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_a_dropped_column_and_table_park_under_their_names_and_the_rest_converges() {
    let mut world = World::new(&[]).await;
    let cloud = world.cloud.clone();
    let production = cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let source = |name: &str| json!({"productionId": production, "type": "CAMERA", "name": name, "note": "from the cloud", "rate": 50});
    let (edited, other) = (cloud.create("/api/sources", source("Cam 1")).await, cloud.create("/api/sources", source("Cam 2")).await);
    let link = cloud
        .create("/api/connections", json!({"productionId": production, "sourceId": edited, "destinationType": "SEND", "note": "a"}))
        .await;
    world.join("a", &["*"]).await;
    world.join("b", &["*"]).await;
    let at_a = &world.site("a").api;

    world.stop().await;
    at_a.patch(&format!("/api/sources/{edited}"), json!({"note": "typed offline", "rate": 59.94})).await.ok();
    at_a.patch(&format!("/api/sources/{other}"), json!({"name": "Cam 2b"})).await.ok();
    let made = at_a.create("/api/sources", json!({"productionId": production, "type": "CAMERA", "name": "Cam 3", "note": "new"})).await;
    at_a.patch(&format!("/api/connections/{link}"), json!({"note": "b"})).await.ok();
    let made_link = at_a.create("/api/connections", json!({"productionId": production, "destinationType": "SEND", "note": "c"})).await;
    world.psql("ALTER TABLE sources DROP COLUMN note; DROP TABLE connections; ALTER TABLE sources ADD COLUMN remark text").await;
    world.start_again().await;

    world.converge().await;
    let cloud = world.cloud.clone();
    let row = cloud.get(&format!("/api/sources/{edited}")).await.ok();
    assert_eq!((row["rate"].as_f64(), row.get("note")), (Some(59.94), None), "{row}");
    assert_eq!(cloud.get(&format!("/api/sources/{other}")).await.ok()["name"], "Cam 2b");
    assert_eq!(cloud.get(&format!("/api/sources/{made}")).await.ok()["name"], "Cam 3");

    let conflicts = world.pending_conflicts().await;
    let shown = |id: &str| {
        let conflict = conflicts.iter().find(|conflict| conflict["recordId"] == id).unwrap_or_else(|| panic!("{id}: {conflicts:#?}"));
        let note = |side: &str| conflict[side]["note"].as_str().unwrap_or("-").to_owned();
        (conflict["kind"].as_str().unwrap().to_owned(), conflict["columns"].clone(), note("baseData"), note("localData"))
    };
    let of = |columns: Value, base: &str, local: &str| ("schema".to_owned(), columns, base.to_owned(), local.to_owned());
    assert_eq!(conflicts.len(), 4, "{conflicts:#?}");
    assert_eq!(shown(&edited), of(json!(["note"]), "from the cloud", "typed offline"));
    assert_eq!(shown(&made), of(json!(["note"]), "-", "new"));
    assert_eq!(shown(&link), of(json!([]), "a", "b"));
    assert_eq!(shown(&made_link), of(json!([]), "-", "c"));
    for site in ["a", "b"] {
        assert_eq!(columns(&world, site, "rejoin_hidden_%"), 0, "nothing is hidden any more");
        assert_eq!(columns(&world, site, "connections"), 0);
    }

    // The value is written where it belongs now; what has nowhere to go is closed.
    for conflict in &conflicts {
        let id = conflict["id"].as_str().unwrap();
        let mut body = json!({"resolution": "CLOUD_WINS", "revision": conflict["revision"]});
        if conflict["recordId"] == edited.as_str() {
            let refused = json!({"resolution": "LOCAL_WINS", "revision": conflict["revision"], "cloudEtag": conflict["cloudEtag"]});
            let refused = cloud.post(&format!("/api/conflicts/{id}/resolve"), refused).await;
            assert!(refused.status.is_client_error() && refused.body.to_string().contains("no longer has"), "{}", refused.body);
            body["resolution"] = json!("MANUAL");
            body["values"] = json!({"remark": conflict["localData"]["note"]});
        }
        if !conflict["cloudEtag"].is_null() {
            body["cloudEtag"] = conflict["cloudEtag"].clone();
        }
        cloud.post(&format!("/api/conflicts/{id}/resolve"), body).await.ok();
    }
    world.sync("b").await;
    let at_b = &world.site("b").api;
    assert_eq!(at_b.get(&format!("/api/sources/{edited}")).await.ok()["remark"], "typed offline");
    assert!(world.pending_conflicts().await.is_empty());
}
