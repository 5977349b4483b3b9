//! Every kind of conflict through the public doors: what parks, what everybody sees meanwhile, what each way to decide does, one by one and
//! by the thousand. `update_update`, `update_delete`, `delete_update` and `unique` are in `offline.rs`, `schema` in `schema.rs`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::{Api, World};
use serde_json::{Value, json};

/// A production with one source, known to everybody.
async fn scene(world: &World) -> (String, String) {
    let production = world.cloud.create("/api/productions", json!({"client": "Acme", "showName": "Gala"})).await;
    let source = world.cloud.create(&format!("/api/productions/{production}/sources"), json!({"type": "CAMERA", "name": "Cam 1"})).await;
    world.converge().await;
    (production, source)
}

async fn equipment(api: &Api) -> String {
    let equipment = json!({"category": "ROUTER", "manufacturer": "Acme", "model": "R1", "ioArchitecture": "CARD_BASED"});
    api.create("/api/equipment", equipment).await
}

/// A conflict with all that is needed to decide it.
async fn detail(api: &Api, conflict: &Value) -> Value {
    api.get(&format!("/api/conflicts/{}", conflict["id"].as_str().unwrap())).await.ok()
}

async fn decide(api: &Api, conflict: &Value, body: Value) -> rejoin_tests::Answer {
    let mut whole = json!({"revision": conflict["revision"], "cloudEtag": conflict["cloudEtag"]});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    api.post(&format!("/api/conflicts/{}/resolve", conflict["id"].as_str().unwrap()), whole).await
}

async fn undo(api: &Api, conflict: &Value) -> rejoin_tests::Answer {
    let now = detail(api, conflict).await;
    api.post(&format!("/api/conflicts/{}/undo", conflict["id"].as_str().unwrap()), json!({"revision": now["revision"]})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn insert_insert_shows_the_clouds_row_and_keeps_mine_whole() {
    let world = World::new(&["a"]).await;
    for (resolution, name) in [("CLOUD_WINS", "by the cloud"), ("LOCAL_WINS", "by the site")] {
        let (production, _) = scene(&world).await;
        let id = uuid::Uuid::now_v7().to_string();
        let source = |name: &str| json!({"id": id, "productionId": production, "type": "CAMERA", "name": name});
        world.cut_all();
        world.site("a").api.create("/api/sources", source("by the site")).await;
        world.cloud.create("/api/sources", source("by the cloud")).await;
        world.heal_all();
        world.converge().await;
        assert_eq!(world.site("a").api.get(&format!("/api/sources/{id}")).await.ok()["name"], "by the cloud");
        let conflict = world.only_conflict(&id).await;
        assert_eq!((&conflict["kind"], &conflict["localData"]["name"]), (&json!("insert_insert"), &json!("by the site")));
        world.resolve(&conflict, resolution, &Value::Null).await.ok();
        world.converge().await;
        for api in world.everybody() {
            assert_eq!(api.get(&format!("/api/sources/{id}")).await.ok()["name"], name);
        }
    }
}

/// The cloud removes a parent while a site adds children and grandchildren below it: nothing vanishes, and one decision settles the family.
#[tokio::test(flavor = "multi_thread")]
async fn children_added_below_a_parent_that_the_cloud_deleted_wait_as_one_family() {
    let world = World::new(&["a"]).await;
    let equipment = equipment(&world.cloud).await;
    world.converge().await;
    world.cut_all();
    let a = &world.site("a").api;
    let card = a.create("/api/equipment_cards", json!({"equipmentId": equipment, "slotNumber": 1})).await;
    let mut ports = Vec::new();
    for port in 1..=3 {
        let port = json!({"cardId": card, "portType": "INPUT", "ioType": format!("SDI {port}")});
        ports.push(a.create("/api/equipment_card_io", port).await);
    }
    world.psql(&format!("DELETE FROM equipment_specs WHERE id = '{equipment}'")).await;
    world.heal_all();
    world.converge().await;

    // All of it is still at its site, and parked as one family.
    assert_eq!(a.get(&format!("/api/equipment_cards/{card}")).await.ok()["slotNumber"], 1);
    for port in &ports {
        a.get(&format!("/api/equipment_card_io/{port}")).await.ok();
    }
    let root = world.only_conflict(&card).await;
    assert_eq!((&root["kind"], &root["held"], &root["dependents"]), (&json!("foreign_key"), &json!(true), &json!(3)));
    let groups = world.cloud.get("/api/conflicts/groups?resolution=PENDING").await.ok();
    let groups = groups["data"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "a family is one line of the inbox: {groups:?}");
    assert_eq!((&groups[0]["conflicts"], &groups[0]["dependents"]), (&json!(1), &json!(3)));
    let tree = detail(&world.cloud, &root).await["dependentsTree"].clone();
    assert!(tree.as_array().unwrap().iter().all(|child| child["parent"] == root["id"] && child["depth"] == 1), "{tree}");

    // Offered again while the cause is there: refused in words, nothing is lost.
    let refused = decide(&world.cloud, &root, json!({"resolution": "LOCAL_WINS"})).await;
    assert!(!refused.status.is_success(), "{}", refused.body);
    // The cause goes away: the family comes in, parents first.
    world
        .psql(&format!(
            "INSERT INTO equipment_specs (id, category, manufacturer, model, io_architecture) VALUES ('{equipment}', 'ROUTER', 'Acme', 'R2', 'CARD_BASED')"
        ))
        .await;
    decide(&world.cloud, &world.only_conflict(&card).await, json!({"resolution": "LOCAL_WINS"})).await.ok();
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    for api in world.everybody() {
        api.get(&format!("/api/equipment_cards/{card}")).await.ok();
        let found = api.get(&format!("/api/equipment_card_io?cardId={card}")).await.ok();
        assert_eq!(found.as_array().unwrap().len(), 3);
    }
}

/// A child is moved below a parent that another site deletes.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_moved_to_a_parent_that_another_site_deleted_parks_and_stays_where_it_was() {
    let world = World::new(&["a", "b"]).await;
    let (from, to) = (equipment(&world.cloud).await, equipment(&world.cloud).await);
    let card = world.cloud.create("/api/equipment_cards", json!({"equipmentId": from, "slotNumber": 1})).await;
    world.converge().await;
    world.cut_all();
    world.site("a").sqlite3(&format!("DELETE FROM equipment_specs WHERE id = '{to}'"));
    world.site("b").api.patch(&format!("/api/equipment_cards/{card}"), json!({"equipmentId": to})).await.ok();
    world.heal_all();
    world.sync("a").await;
    world.converge().await;
    let conflict = world.only_conflict(&card).await;
    assert_eq!((&conflict["kind"], &conflict["localData"]["equipment_id"]), (&json!("foreign_key"), &json!(to)));
    for api in world.everybody() {
        assert_eq!(api.get(&format!("/api/equipment_cards/{card}")).await.ok()["equipmentId"], json!(from));
    }
    world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await.ok();
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_check_refuses_waits_until_it_or_the_check_is_changed() {
    let world = World::new(&["a"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    world.site("a").api.patch(&path, json!({"rate": 300.0})).await.ok();
    world.psql("ALTER TABLE sources ADD CONSTRAINT sources_rate CHECK (rate <= 240)").await;
    world.heal_all();
    world.converge().await;
    let conflict = world.only_conflict(&source).await;
    assert_eq!((&conflict["kind"], &conflict["localData"]["rate"]), (&json!("check"), &json!(300.0)));
    assert!(!world.resolve(&conflict, "MANUAL", &json!({"rate": 500})).await.status.is_success(), "a decision is checked like any write");
    let conflict = world.only_conflict(&source).await;
    world.psql("ALTER TABLE sources DROP CONSTRAINT sources_rate").await;
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&path).await.ok()["rate"], 300.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_may_not_write_is_rejected_and_kept() {
    let world = World::new(&[]).await;
    let mine = world.cloud.create("/api/productions", json!({"client": "Acme", "showName": "Mine"})).await;
    let other = world.cloud.create("/api/productions", json!({"client": "Rival", "showName": "Not mine"})).await;
    let source = world.cloud.create(&format!("/api/productions/{mine}/sources"), json!({"type": "CAMERA", "name": "Cam"})).await;
    let site = world.join("a", &[&format!("productions/{mine}")]).await;
    site.sqlite3(&format!("UPDATE sources SET production_id = '{other}' WHERE id = '{source}'"));
    world.converge().await;
    let conflict = world.only_conflict(&source).await;
    assert_eq!((&conflict["kind"], &conflict["localData"]["production_id"]), (&json!("rejected"), &json!(other)));
    for api in [&world.cloud, &site.api] {
        assert_eq!(api.get(&format!("/api/sources/{source}")).await.ok()["productionId"], json!(mine));
    }
    world.resolve(&conflict, "CLOUD_WINS", &Value::Null).await.ok();
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

/// No message can carry it, so it cannot be parked: it waits where it is, is named, and nothing else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_large_to_be_sent_is_named_and_stops_nothing_else() {
    let world = World::new(&["a"]).await;
    let (_, large) = scene(&world).await;
    let (_, other) = scene(&world).await;
    let a = world.site("a");
    a.sqlite3(&format!("UPDATE sources SET note = hex(zeroblob(600000)) WHERE id = '{large}'"));
    a.api.patch(&format!("/api/sources/{other}"), json!({"note": "small"})).await.ok();
    let status = world.try_sync("a").await.ok();
    assert!(status["lastError"].as_str().is_some_and(|error| error.contains(&large) && error.contains("too large")), "{status}");
    assert_eq!(world.cloud.get(&format!("/api/sources/{other}")).await.ok()["note"], "small");
    let waiting = a.api.get("/api/rejoin/edits").await.ok();
    assert_eq!((&waiting["data"][0]["recordId"], &waiting["data"][0]["state"]), (&json!(large), &json!("waiting")), "{waiting}");
    a.api.patch(&format!("/api/sources/{large}"), json!({"note": "shorter"})).await.ok();
    world.converge().await;
    assert_eq!(world.cloud.get(&format!("/api/sources/{large}")).await.ok()["note"], "shorter");
}

/// Two sites enter the same device: a person says that both are one, and what hung from the lost one hangs from the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_rows_that_are_one_are_made_one_with_all_that_refers_to_them() {
    let world = World::new(&["a", "b"]).await;
    let equipment = equipment(&world.cloud).await;
    world.converge().await;
    world.cut_all();
    let card = json!({"equipmentId": equipment, "slotNumber": 1});
    let first = world.site("a").api.create("/api/equipment_cards", card.clone()).await;
    let second = world.site("b").api.create("/api/equipment_cards", card).await;
    let b = &world.site("b").api;
    let port = b.create("/api/equipment_card_io", json!({"cardId": second, "portType": "INPUT", "ioType": "SDI"})).await;
    world.heal_all();
    world.sync("a").await;
    world.converge().await;
    // Somebody goes on working on the held card, without the link.
    world.cut_all();
    let later = b.create("/api/equipment_card_io", json!({"cardId": second, "portType": "OUTPUT", "ioType": "SDI"})).await;
    let conflict = world.only_conflict(&second).await;
    decide(&world.cloud, &conflict, json!({"resolution": "CLOUD_WINS", "way": "same_row"})).await.ok();
    world.heal_all();
    world.converge().await;
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
    for api in world.everybody() {
        api.get(&format!("/api/equipment_cards/{second}")).await.refused(404, "not_found");
        for port in [&port, &later] {
            assert_eq!(api.get(&format!("/api/equipment_card_io/{port}")).await.ok()["cardId"], json!(first));
        }
    }
}

/// A decision is taken back as a new write, as long as nobody edited since.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_taken_back_unless_somebody_edited_since() {
    let world = World::new(&["a"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.clash(&path).await;
    let conflict = world.only_conflict(&source).await;
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;
    assert_eq!(world.site("a").api.get(&path).await.ok()["note"], "by the site");

    undo(&world.cloud, &conflict).await.ok();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&path).await.ok()["note"], "by the cloud");
    }
    let open = world.only_conflict(&source).await;
    assert!(open["revision"].as_i64() > conflict["revision"].as_i64() && open["localData"]["note"] == "by the site");

    world.resolve(&open, "LOCAL_WINS", &Value::Null).await.ok();
    world.cloud.patch(&path, json!({"note": "by somebody later"})).await.ok();
    assert_eq!(undo(&world.cloud, &conflict).await.status.as_u16(), 409);
    assert_eq!(world.cloud.get(&path).await.ok()["note"], "by somebody later");
}

/// The first decision holds; the one made offline at the site is refused, and the site's people are told.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_decisions_the_first_holds_and_the_other_site_is_told() {
    let world = World::new(&["a"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    let a = &world.site("a").api;
    world.clash(&path).await;

    // Decided at the site alone, without the link: it travels as a command.
    world.cut_all();
    let id = world.only_conflict(&source).await["id"].clone();
    let seen = a.get(&format!("/api/conflicts/{}", id.as_str().unwrap())).await.ok();
    decide(a, &seen, json!({"resolution": "LOCAL_WINS"})).await.ok();
    assert_eq!(detail(a, &seen).await["decidedNotSent"], true);
    assert_eq!(a.get(&path).await.ok()["note"], "by the cloud", "it changes no row here");
    // Meanwhile somebody decides at the cloud.
    world.resolve(&world.only_conflict(&source).await, "CLOUD_WINS", &Value::Null).await.ok();
    world.heal_all();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&path).await.ok()["note"], "by the cloud");
    }
    let told = detail(a, &seen).await;
    assert_eq!(told["resolution"], "CLOUD_WINS");

    // And one that nobody forestalls takes effect.
    world.cut_all();
    a.patch(&path, json!({"note": "by the site again"})).await.ok();
    world.cloud.patch(&path, json!({"note": "by the cloud again"})).await.ok();
    world.heal_all();
    world.converge().await;
    world.cut_all();
    let open = world.only_conflict(&source).await;
    let seen = a.get(&format!("/api/conflicts/{}", open["id"].as_str().unwrap())).await.ok();
    decide(a, &seen, json!({"resolution": "LOCAL_WINS"})).await.ok();
    world.heal_all();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(api.get(&path).await.ok()["note"], "by the site again");
    }
}

/// A storm: one line in the inbox, one decision, and another site's work goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_one_line_and_one_decision() {
    const ROWS: i64 = 2_500;
    let world = World::new(&["a", "b"]).await;
    let (production, source) = scene(&world).await;
    world
        .psql(&format!(
            "INSERT INTO sources (production_id, type, name, note) SELECT '{production}', 'CAMERA', 'S' || n, 'old' FROM generate_series(1, {ROWS}) n"
        ))
        .await;
    world.converge().await;
    world.cut_all();
    world.site("a").sqlite3("UPDATE sources SET note = 'by the site' WHERE note = 'old'");
    world.psql("UPDATE sources SET note = 'by the cloud' WHERE note = 'old'").await;
    world.site("b").api.patch(&format!("/api/sources/{source}"), json!({"note": "b works on"})).await.ok();
    world.heal_all();
    world.sync("a").await;
    world.sync("b").await;
    assert_eq!(world.cloud.get(&format!("/api/sources/{source}")).await.ok()["note"], "b works on");

    let groups = world.cloud.get("/api/conflicts/groups?resolution=PENDING").await.ok();
    let groups = groups["data"].as_array().unwrap().clone();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!((&groups[0]["conflicts"], &groups[0]["kind"]), (&json!(ROWS), &json!("update_update")));
    let filter = json!({"group": groups[0]["id"]});
    let decision = |more: Value| {
        let mut body = json!({"filter": filter, "resolution": "LOCAL_WINS"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.cloud.post("/api/conflicts/resolve", body)
    };
    let dry = decision(json!({"dryRun": true})).await.ok();
    assert_eq!((&dry["matched"], &dry["resolved"], &dry["refused"]), (&json!(ROWS), &json!(ROWS), &json!(0)), "{dry}");
    assert_eq!(world.cloud.get("/api/conflicts/counts?resolution=PENDING").await.ok()["total"], ROWS, "a dry run decides nothing");
    assert_eq!(decision(json!({"expected": ROWS - 1})).await.status.as_u16(), 409, "nothing is decided unseen");
    let done = decision(json!({"expected": ROWS})).await.ok();
    assert_eq!((&done["resolved"], &done["refused"]), (&json!(ROWS), &json!(0)), "{done}");
    world.converge().await;
    assert_eq!(world.cloud.get("/api/conflicts/counts?resolution=PENDING").await.ok()["total"], 0);
    let site = rusqlite::Connection::open(world.site("a").database()).unwrap();
    let taken: i64 = site.query_row("SELECT count(*) FROM sources WHERE note = 'by the site'", [], |row| row.get(0)).unwrap();
    assert_eq!(taken, ROWS);
}

/// Decisions of every way are taken at a site without the link, travel, and take effect everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn two_rows_are_made_one_and_a_decision_is_taken_back_from_a_site_without_the_link() {
    let world = World::new(&["a", "b"]).await;
    let equipment = equipment(&world.cloud).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    world.cut_all();
    let card = json!({"equipmentId": equipment, "slotNumber": 1});
    let first = world.site("a").api.create("/api/equipment_cards", card.clone()).await;
    let b = &world.site("b").api;
    let second = b.create("/api/equipment_cards", card).await;
    let port = b.create("/api/equipment_card_io", json!({"cardId": second, "portType": "INPUT", "ioType": "SDI"})).await;
    b.patch(&path, json!({"note": "by the site"})).await.ok();
    world.cloud.patch(&path, json!({"note": "by the cloud"})).await.ok();
    world.heal_all();
    world.sync("a").await;
    world.converge().await;
    let note = world.only_conflict(&source).await;
    world.resolve(&note, "LOCAL_WINS", &Value::Null).await.ok();
    world.converge().await;

    world.cut_all();
    let unique = detail(b, &world.only_conflict(&second).await).await;
    decide(b, &unique, json!({"resolution": "CLOUD_WINS", "way": "same_row"})).await.ok();
    undo(b, &note).await.ok();
    assert_eq!((&detail(b, &unique).await["decidedNotSent"], &detail(b, &note).await["decidedNotSent"]), (&json!(true), &json!(true)));
    assert_eq!(b.get(&path).await.ok()["note"], "by the site", "it changes no row here");
    world.heal_all();
    world.converge().await;
    for api in world.everybody() {
        api.get(&format!("/api/equipment_cards/{second}")).await.refused(404, "not_found");
        assert_eq!(api.get(&format!("/api/equipment_card_io/{port}")).await.ok()["cardId"], json!(first));
        assert_eq!(api.get(&path).await.ok()["note"], "by the cloud");
    }
    let open = detail(b, &note).await;
    assert_eq!((&open["resolution"], &open["decidedNotSent"], &open["decision"]), (&json!("PENDING"), &json!(false), &Value::Null));
}

/// A decision that the cloud refuses is told at its site as long as the conflict is open, and not once somebody decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_decision_is_told_at_its_site_until_the_conflict_is_decided() {
    let world = World::new(&["a"]).await;
    let (_, source) = scene(&world).await;
    let path = format!("/api/sources/{source}");
    let a = &world.site("a").api;
    world.clash(&path).await;
    world.cut_all();
    let seen = detail(a, &world.only_conflict(&source).await).await;
    decide(a, &seen, json!({"resolution": "LOCAL_WINS"})).await.ok();
    // What it was decided against is no longer there.
    world.cloud.patch(&path, json!({"note": "by the cloud again"})).await.ok();
    world.heal_all();
    world.converge().await;
    let told = detail(a, &seen).await;
    assert_eq!((&told["resolution"], &told["decidedNotSent"]), (&json!("PENDING"), &json!(false)));
    assert!(told["reason"].as_str().is_some_and(|reason| reason.contains("The decision made here was refused")), "{told}");
    world.resolve(&world.only_conflict(&source).await, "CLOUD_WINS", &Value::Null).await.ok();
    world.converge().await;
    let told = detail(a, &seen).await;
    assert_eq!((&told["resolution"], &told["decision"]), (&json!("CLOUD_WINS"), &Value::Null));
    assert!(!told["reason"].as_str().unwrap().contains("refused"), "{told}");
}
