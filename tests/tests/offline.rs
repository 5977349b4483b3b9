//! Sites work with the link cut and rejoin: what merges, what parks, what each decision does, and that all ends equal.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::World;
use serde_json::{Value, json};

/// A production with one source, known to everybody.
async fn scene(world: &World) -> (String, String) {
    let production = world.cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let source = json!({"type": "CAMERA", "name": "Cam 1", "note": "as planned", "hRes": 1920});
    let source = world.cloud.create(&format!("/api/productions/{production}/sources"), source).await;
    world.converge().await;
    (production, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_different_columns_merge_everywhere() {
    let world = World::new(&["a", "b"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    world.site("a").api.patch(&path, json!({"name": "Cam One"})).await.ok();
    world.site("b").api.patch(&path, json!({"note": "moved to stage left"})).await.ok();
    world.cloud.patch(&path, json!({"hRes": 3840})).await.ok();
    world.heal_all();
    world.converge().await;
    for api in world.everybody() {
        let row = api.get(&path).await.ok();
        assert_eq!((&row["name"], &row["note"], &row["hRes"]), (&json!("Cam One"), &json!("moved to stage left"), &json!(3840)));
        assert!(row["syncedAt"].is_string());
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_column_parks_and_each_decision_wins_everywhere() {
    let world = World::new(&["a", "b"]).await;
    for (resolution, values, expected) in [
        ("CLOUD_WINS", Value::Null, "by the cloud"),
        ("LOCAL_WINS", Value::Null, "by the site"),
        ("MANUAL", json!({"note": "by both"}), "by both"),
    ] {
        let (_, source) = scene(&world).await;
        let path = format!("/api/sources/{source}");
        world.cut_all();
        world.site("a").api.patch(&path, json!({"note": "by the site", "name": "Cam X"})).await.ok();
        world.cloud.patch(&path, json!({"note": "by the cloud"})).await.ok();
        world.heal_all();
        world.converge().await;

        // Parked, not blocking: the other column of the same edit is everywhere, the cloud's value stands.
        for api in world.everybody() {
            let row = api.get(&path).await.ok();
            assert_eq!((&row["note"], &row["name"]), (&json!("by the cloud"), &json!("Cam X")));
        }
        let conflict = world.only_conflict(&source).await;
        assert_eq!(conflict["kind"], "update_update");
        assert_eq!(conflict["baseData"]["note"], "as planned");
        assert_eq!(conflict["cloudData"]["note"], "by the cloud");
        assert_eq!(conflict["localData"]["note"], "by the site");
        assert_eq!(conflict["site"], "a");
        // The site sees its own parked edit.
        let id = conflict["id"].as_str().unwrap();
        assert_eq!(world.site("a").api.get(&format!("/api/conflicts/{id}")).await.ok()["localData"]["note"], "by the site");

        world.resolve(&conflict, resolution, &values).await.ok();
        world.converge().await;
        for api in world.everybody() {
            assert_eq!(api.get(&path).await.ok()["note"], expected, "{resolution}");
        }
        let resolved = world.cloud.get(&format!("/api/conflicts/{id}")).await.ok();
        assert_eq!(resolved["resolution"], resolution);
        assert!(resolved["resolvedBy"].is_string() && resolved["resolvedAt"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolution_decided_on_an_old_state_is_refused_with_the_new_one() {
    let world = World::new(&["a"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.clash(&path).await;
    let read = world.only_conflict(&source).await;

    // The cloud's row moves on after the admin has read it.
    world.cloud.patch(&path, json!({"hRes": 1280})).await.ok();
    let refused = world.resolve(&read, "LOCAL_WINS", &Value::Null).await;
    assert_eq!(refused.status.as_u16(), 409);
    let now = world.only_conflict(&source).await;
    assert_ne!(now["cloudEtag"], read["cloudEtag"]);

    // A later edit at the site joins the open conflict and raises its revision.
    world.cut_all();
    world.site("a").api.patch(&path, json!({"note": "by the site, later"})).await.ok();
    world.cloud.patch(&path, json!({"note": "by the cloud, later"})).await.ok();
    world.heal_all();
    world.converge().await;
    let joined = world.only_conflict(&source).await;
    assert_eq!(joined["id"], read["id"]);
    assert!(joined["revision"].as_i64() > read["revision"].as_i64());
    assert_eq!(world.resolve(&now, "LOCAL_WINS", &Value::Null).await.status.as_u16(), 409);
    world.resolve(&joined, "LOCAL_WINS", &Value::Null).await.ok();
    assert_eq!(world.resolve(&joined, "CLOUD_WINS", &Value::Null).await.status.as_u16(), 409, "resolved already");
    world.converge().await;
    assert_eq!(world.site("a").api.get(&path).await.ok()["note"], "by the site, later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_against_an_update_parks_both_ways() {
    let world = World::new(&["a"]).await;
    // The site deletes what the cloud edits.
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    world.site("a").api.delete(&path).await.ok();
    world.cloud.patch(&path, json!({"note": "still needed"})).await.ok();
    world.heal_all();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&path).await.ok()["note"], "still needed");
    }
    let conflict = world.only_conflict(&source).await;
    assert_eq!(conflict["kind"], "delete_update");
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;
    for api in world.everybody() {
        api.get(&path).await.refused(404, "not_found");
    }

    // The site edits what the cloud deletes, for real: by plain SQL.
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    world.site("a").api.patch(&path, json!({"note": "my edit"})).await.ok();
    world.psql(&format!("DELETE FROM sources WHERE id = '{source}'")).await;
    world.heal_all();
    world.converge().await;
    let conflict = world.only_conflict(&source).await;
    assert_eq!(conflict["kind"], "update_delete");
    assert_eq!((&conflict["localData"]["note"], &conflict["localData"]["name"]), (&json!("my edit"), &json!("Cam 1")));
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;
    for api in world.everybody() {
        let row = api.get(&path).await.ok();
        assert_eq!((&row["note"], &row["name"]), (&json!("my edit"), &json!("Cam 1")));
    }
}

/// The same card slot taken at two sites: the first is accepted, the other held where it was made, with its children.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_unique_slot_parks_and_each_decision_settles_it() {
    let world = World::new(&["a", "b"]).await;
    for (resolution, values, winner, slots) in [
        ("CLOUD_WINS", Value::Null, "a", vec![1]),
        ("LOCAL_WINS", Value::Null, "b", vec![1]),
        ("MANUAL", json!({"slotNumber": 2}), "both", vec![1, 2]),
    ] {
        let equipment = json!({"category": "ROUTER", "manufacturer": "Acme", "model": "R1", "ioArchitecture": "CARD_BASED"});
        let equipment = world.cloud.create("/api/equipment", equipment).await;
        world.converge().await;
        world.cut_all();
        let card = json!({"equipmentId": equipment, "slotNumber": 1});
        let of_a = world.site("a").api.create("/api/equipment_cards", card.clone()).await;
        let of_b = world.site("b").api.create("/api/equipment_cards", card).await;
        let io = json!({"cardId": of_b, "portType": "INPUT", "ioType": "SDI"});
        let io_of_b = world.site("b").api.create("/api/equipment_card_io", io).await;
        world.heal_all();
        world.sync("a").await;
        world.converge().await;

        // Nothing vanished: b still shows its card and the card's port, both marked as held.
        let b = &world.site("b").api;
        b.get(&format!("/api/equipment_cards/{of_b}")).await.ok();
        b.get(&format!("/api/equipment_card_io/{io_of_b}")).await.ok();
        b.get(&format!("/api/equipment_cards/{of_a}")).await.ok();
        let conflict = world.only_conflict(&of_b).await;
        assert_eq!((&conflict["kind"], &conflict["held"]), (&json!("unique"), &json!(true)));

        world.resolve(&conflict, resolution, &values).await.ok();
        world.converge().await;
        for api in world.everybody() {
            let cards = api.get(&format!("/api/equipment_cards?equipmentId={equipment}&sort=slotNumber")).await.ok();
            let cards = cards.as_array().unwrap();
            assert_eq!(cards.iter().map(|card| card["slotNumber"].as_i64().unwrap()).collect::<Vec<_>>(), slots, "{resolution}");
            let ids: Vec<_> = cards.iter().map(|card| card["id"].as_str().unwrap()).collect();
            match winner {
                "a" => assert_eq!(ids, [of_a.as_str()]),
                "b" => assert_eq!(ids, [of_b.as_str()]),
                _ => assert_eq!(ids, [of_a.as_str(), of_b.as_str()]),
            }
            let io = api.get(&format!("/api/equipment_card_io?cardId={of_b}")).await.ok();
            assert_eq!(io.as_array().unwrap().len(), usize::from(winner != "a"), "{resolution}: {io}");
        }
    }
}

/// A write by `sqlite3` into a site's file and by `psql` into the cloud arrive on the other side with versions and authors.
#[tokio::test(flavor = "multi_thread")]
async fn plain_sql_on_either_side_arrives_with_versions_and_authors() {
    let world = World::new(&["a", "b"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    let before = world.cloud.get(&path).await.ok()["version"].as_i64().unwrap();

    world.site("a").sqlite3(&format!("UPDATE sources SET note = 'typed in sqlite3' WHERE id = '{source}'"));
    world.converge().await;
    for api in world.everybody() {
        let row = api.get(&path).await.ok();
        assert_eq!((&row["note"], &row["lastModifiedBy"]), (&json!("typed in sqlite3"), &json!("site:a")));
        assert!(row["version"].as_i64().unwrap() > before);
    }

    let before = world.site("b").api.get(&path).await.ok()["version"].as_i64().unwrap();
    world.psql_program(&format!("UPDATE sources SET note = 'typed in psql' WHERE id = '{source}'"));
    world.converge().await;
    let role = world.database_role();
    for api in world.everybody() {
        let row = api.get(&path).await.ok();
        assert_eq!((&row["note"], &row["lastModifiedBy"]), (&json!("typed in psql"), &json!(role)));
        assert!(row["version"].as_i64().unwrap() > before);
    }
}

/// sqlite3 has foreign keys off: a child of a parent that does not exist is parked, not lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_made_by_sqlite3_is_parked() {
    let world = World::new(&["a"]).await;
    scene(&world).await;
    let orphan = "0198c0de-0000-7000-8000-00000000dead";
    world.site("a").sqlite3(&format!(
        "INSERT INTO source_outputs (id, source_id, connector) VALUES ('{orphan}', '0198c0de-0000-7000-8000-00000000beef', 'SDI')"
    ));
    world.site("a").sqlite3("INSERT INTO equipment_specs (id, category, manufacturer, model, io_architecture) VALUES ('0198c0de-0000-7000-8000-0000000000aa', 'CAMERA', 'Acme', 'C1', 'DIRECT')");
    world.converge().await;
    let conflict = world.only_conflict(orphan).await;
    assert_eq!((&conflict["kind"], &conflict["localData"]["connector"]), (&json!("foreign_key"), &json!("SDI")));
    // It did not stop the rest.
    world.cloud.get("/api/equipment/0198c0de-0000-7000-8000-0000000000aa").await.ok();
    assert_eq!(world.site("a").api.get("/api/sync").await.ok()["held"], 1);
}

/// Deleting at one server and restoring at another brings back the same set.
#[tokio::test(flavor = "multi_thread")]
async fn a_soft_delete_and_its_restore_travel_as_one_set() {
    let world = World::new(&["a", "b"]).await;
    let (production, source) = scene(&world).await;
    let other = world.cloud.create(&format!("/api/productions/{production}/sources"), json!({"type": "CAMERA", "name": "Cam 2"})).await;
    world.cloud.delete(&format!("/api/sources/{other}")).await.ok();
    world.converge().await;
    world.site("a").api.delete(&format!("/api/productions/{production}")).await.ok();
    world.converge().await;
    for api in world.everybody() {
        api.get(&format!("/api/productions/{production}")).await.refused(404, "not_found");
        api.get(&format!("/api/sources/{source}")).await.refused(404, "not_found");
    }
    world.site("b").api.post(&format!("/api/productions/{production}/restore"), json!({})).await.ok();
    world.converge().await;
    for api in world.everybody() {
        api.get(&format!("/api/productions/{production}")).await.ok();
        api.get(&format!("/api/sources/{source}")).await.ok();
        api.get(&format!("/api/sources/{other}")).await.refused(404, "not_found");
    }
}

/// A key that is no uuid, typed in sqlite3, is named until it is corrected; then its row travels like any other. One that was deleted is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_typed_in_sqlite3_can_be_corrected_or_deleted() {
    let world = World::new(&["a"]).await;
    let (production, _) = scene(&world).await;
    let site = world.site("a");
    for bad in ["zzz", "yyy"] {
        site.sqlite3(&format!("INSERT INTO sources (id, production_id, type, name) VALUES ('{bad}', '{production}', 'CAMERA', '{bad}')"));
    }
    let said = world.try_sync("a").await.body;
    assert!(said["lastError"].as_str().is_some_and(|error| error.contains("id")), "{said}");
    let good = "0198c0de-0000-7000-8000-0000000000bb";
    site.sqlite3(&format!("UPDATE sources SET id = '{good}' WHERE id = 'zzz'; DELETE FROM sources WHERE id = 'yyy'"));
    world.converge().await;
    assert_eq!(world.cloud.get(&format!("/api/sources/{good}")).await.ok()["name"], "zzz");
    assert_eq!(site.api.get("/api/sync").await.ok()["pending"], 0);
}

/// A held row that is corrected at its site while its conflict is decided elsewhere keeps the correction.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_row_edited_while_its_conflict_is_decided_is_offered_again() {
    let world = World::new(&["a", "b"]).await;
    let equipment = json!({"category": "ROUTER", "manufacturer": "Acme", "model": "R1", "ioArchitecture": "CARD_BASED"});
    let equipment = world.cloud.create("/api/equipment", equipment).await;
    world.converge().await;
    world.cut_all();
    let card = json!({"equipmentId": equipment, "slotNumber": 1});
    world.site("a").api.create("/api/equipment_cards", card.clone()).await;
    let mine = world.site("b").api.create("/api/equipment_cards", card).await;
    world.heal_all();
    world.sync("a").await;
    world.converge().await;
    let conflict = world.only_conflict(&mine).await;
    world.cut_all();
    world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await.ok();
    let b = world.site("b");
    b.api.patch(&format!("/api/equipment_cards/{mine}"), json!({"slotNumber": 2})).await.ok();
    world.heal_all();
    // The decision arrives before the correction was offered.
    b.api.post("/api/sync/run", json!({"direction": "DOWNLOAD"})).await.ok();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&format!("/api/equipment_cards/{mine}")).await.ok()["slotNumber"], 2);
    }
}
