//! What whoever runs the daemon sees: the log, the link, revocation, scopes, sign-in offline.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::World;
use serde_json::{Value, json};

async fn production(world: &World, name: &str) -> String {
    world.cloud.create("/api/productions", json!({"client": "Acme", "showName": name})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_ends_in_the_log_and_reaches_the_cloud() {
    let world = World::new(&["a"]).await;
    production(&world, "Gala").await;
    world.converge().await;
    let site = world.site("a");
    let runs = site.api.get("/api/sync/log").await.ok();
    let run = runs.as_array().or(runs["data"].as_array()).unwrap()[0].clone();
    assert_eq!((&run["status"], &run["syncDirection"], &run["serverId"]), (&json!("COMPLETED"), &json!("BIDIRECTIONAL"), &json!("a")));

    // With the link down a run fails, says so, and is closed.
    site.link.cut();
    let created = site
        .api
        .create("/api/equipment", json!({"category": "CAMERA", "manufacturer": "A", "model": "M", "ioArchitecture": "DIRECT"}))
        .await;
    world.try_sync("a").await;
    let failed = site.last_run().await;
    assert_eq!(failed["status"], "FAILED");
    assert!(failed["completedAt"].is_string() && !failed["errors"].is_null());
    assert_eq!(site.api.get("/api/sync").await.ok()["online"], false);
    site.link.heal();
    world.converge().await;
    assert_eq!(site.api.get("/api/sync").await.ok()["online"], true);
    world.cloud.get(&format!("/api/equipment/{created}")).await.ok();
    // An admin at the cloud sees what failed while the link was down.
    let id = failed["id"].as_str().unwrap();
    let log = world.cloud.get("/api/sync/log?server=a").await.ok();
    let log = log.as_array().or(log["data"].as_array()).unwrap().clone();
    assert!(log.iter().any(|run| run["id"] == id && run["status"] == "FAILED"), "{log:?}");

    // A run that moved nothing is not logged.
    let before = log.len();
    world.sync("a").await;
    world.sync("a").await;
    let log = world.cloud.get("/api/sync/log?server=a").await.ok();
    assert_eq!(log.as_array().or(log["data"].as_array()).unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_breaks_in_every_answer_still_gets_there() {
    let world = World::new(&["a"]).await;
    let production = production(&world, "Gala").await;
    for no in 0..300 {
        world.psql(&format!("INSERT INTO sources (production_id, type, name, note) VALUES ('{production}', 'CAMERA', 'Cam {no}', repeat(md5('{no}'), 20))")).await;
    }
    let site = world.site("a");
    for bytes in [0, 50, 500, 2_000, 5_000] {
        site.link.cut_after(bytes);
        world.try_sync("a").await;
        site.link.heal();
    }
    world.converge().await;
    assert_eq!(site.api.get("/api/sources?limit=1000").await.ok().as_array().unwrap().len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_push_never_stops_a_pull() {
    let world = World::new(&["a"]).await;
    let gala = production(&world, "Gala").await;
    let other = production(&world, "Other").await;
    world.converge().await;
    // Somebody sits in a transaction on Gala: its head is taken.
    let mut holder = world.postgres().await;
    let held = holder.transaction().await.unwrap();
    held.execute("UPDATE productions SET venue = 'Hall 1' WHERE show_name = 'Gala'", &[]).await.unwrap();
    let site = &world.site("a").api;
    site.patch(&format!("/api/productions/{gala}"), json!({"room": "A"})).await.ok();
    site.patch(&format!("/api/productions/{other}"), json!({"room": "B"})).await.ok();
    world.cloud.patch(&format!("/api/productions/{other}"), json!({"venue": "Hall 2"})).await.ok();
    world.try_sync("a").await;
    // h20: the busy scope is deferred, the other one went through, and the pull brought what was new.
    assert_eq!(world.cloud.get(&format!("/api/productions/{other}")).await.ok()["room"], "B");
    assert_eq!(site.get(&format!("/api/productions/{other}")).await.ok()["venue"], "Hall 2");
    assert_eq!(site.get("/api/sync").await.ok()["pending"], 1);
    held.commit().await.unwrap();
    world.converge().await;
    let row = world.cloud.get(&format!("/api/productions/{gala}")).await.ok();
    assert_eq!((&row["room"], &row["venue"]), (&json!("A"), &json!("Hall 1")));
    assert!(world.pending_conflicts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_sees_only_its_scopes_and_a_dropped_scope_goes_after_its_edits_are_in() {
    let world = World::new(&[]).await;
    let gala = production(&world, "Gala").await;
    let secret = production(&world, "Secret").await;
    let site = world.join("a", &[&format!("productions/{gala}")]).await;
    world.converge().await;
    site.api.get(&format!("/api/productions/{gala}")).await.ok();
    site.api.get(&format!("/api/productions/{secret}")).await.refused(404, "not_found");

    // What it holds can be compared with what the cloud has for it, and differs from all that the cloud has.
    let digests = async |api: &rejoin_tests::api::Api, query: &str| api.get(&format!("/api/rejoin/digests{query}")).await;
    let (here, meant) = (digests(&site.api, "").await.ok(), digests(&world.cloud, "?site=a").await.ok());
    assert_eq!(here, meant);
    assert_ne!(here["digest"], digests(&world.cloud, "").await.ok()["digest"]);
    digests(&world.cloud, "?site=b").await.refused(400, "bad_query");

    // A root made at the site makes its scope, and the cloud grants it.
    let own = site.api.create("/api/productions", json!({"client": "Acme", "showName": "Own"})).await;
    world.converge().await;
    world.cloud.patch(&format!("/api/productions/{own}"), json!({"venue": "Hall"})).await.ok();
    world.converge().await;
    assert_eq!(site.api.get(&format!("/api/productions/{own}")).await.ok()["venue"], "Hall");

    // Dropped while an edit waits: the edit arrives first, then the rows go.
    site.link.cut();
    site.api.patch(&format!("/api/productions/{gala}"), json!({"room": "late edit"})).await.ok();
    world.cloud.delete(&format!("/api/rejoin/sites/a/scopes/productions%2F{gala}")).await.ok();
    site.link.heal();
    world.sync("a").await;
    world.sync("a").await;
    let conflicts = world.pending_conflicts().await;
    let arrived = world.cloud.get(&format!("/api/productions/{gala}")).await.ok()["room"] == "late edit";
    assert!(arrived || conflicts.iter().any(|conflict| conflict["localData"]["room"] == "late edit"), "the edit vanished");
    site.api.get(&format!("/api/productions/{gala}")).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_takes_effect_at_the_next_request() {
    let world = World::new(&["a"]).await;
    production(&world, "Gala").await;
    world.converge().await;
    world.cloud.delete("/api/rejoin/sites/a").await.ok();
    production(&world, "After").await;
    world.try_sync("a").await;
    let rows = world.site("a").api.get("/api/productions").await.ok();
    assert_eq!(rows.as_array().unwrap().len(), 1, "a revoked site still works with what it has, and gets nothing more");
    assert_eq!(world.site("a").last_run().await["status"], "FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_sign_in_at_a_site_while_it_is_offline() {
    let world = World::new(&["a"]).await;
    let made = world.cloud.post("/api/rejoin/users", json!({"name": "tess", "role": "editor"})).await.ok();
    let secret = made["oneTimeSecret"].as_str().unwrap();
    let anybody = world.cloud.with_token("");
    let signed = anybody
        .post("/api/rejoin/sign-in", json!({"name": "tess", "oneTimeSecret": secret, "newPassword": "correct horse battery"}))
        .await
        .ok();
    assert!(signed["token"].is_string());
    world.converge().await;
    let site = world.site("a");
    site.link.cut();
    let at_site = site.api.with_token("");
    at_site.get("/api/productions").await.refused(401, "unauthenticated");
    assert_eq!(at_site.post("/api/rejoin/sign-in", json!({"name": "tess", "password": "wrong"})).await.status.as_u16(), 401);
    let signed = at_site.post("/api/rejoin/sign-in", json!({"name": "tess", "password": "correct horse battery"})).await.ok();
    let tess = site.api.with_token(signed["token"].as_str().unwrap());
    let made = tess.create("/api/productions", json!({"client": "Acme", "showName": "Offline"})).await;
    let row: Value = tess.get(&format!("/api/productions/{made}")).await.ok();
    assert_eq!((&row["lastModifiedBy"], &row["syncedAt"]), (&json!("tess"), &Value::Null));
    site.link.heal();
    world.converge().await;
    assert_eq!(world.cloud.get(&format!("/api/productions/{made}")).await.ok()["lastModifiedBy"], "tess");
}
