//! Somebody else's migration: the visualizer's #010 renames three tables and a column, adds columns with their defaults and eight tables, while
//! two sites hold unsent edits, held rows and a conflict under the old names.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::{Api, World};
use serde_json::{Value, json};

macro_rules! system {
    ($name:literal) => {
        include_str!(concat!("../../migrations/systems/visualizer/", $name))
    };
}

async fn create(api: &Api, table: &str, row: Value) {
    api.post(&format!("/api/{table}"), row).await.ok();
}

async fn edit(api: &Api, place: &str, values: Value) {
    api.patch(&format!("/api/{place}"), values).await.ok();
}

async fn get(api: &Api, place: &str) -> Value {
    api.get(&format!("/api/{place}")).await.ok()
}

/// Two sessions with a flow and an image each, a product, some messages: known to everybody.
async fn scene(world: &World) {
    let cloud = &world.cloud;
    create(cloud, "client", json!({"id": "c1", "name": "Carpenters"})).await;
    create(cloud, "user", json!({"id": "ann", "name": "Ann", "email": "ann@example.org"})).await;
    create(cloud, "product", json!({"id": "p1", "client_id": "c1", "name": "Chair", "category": "seats"})).await;
    for n in ["1", "2"] {
        create(cloud, "studio_session", json!({"id": format!("s{n}"), "client_id": "c1", "name": format!("Session {n}")})).await;
        create(cloud, "flow", json!({"id": format!("f{n}"), "studio_session_id": format!("s{n}"), "product_id": "p1", "name": "as made"}))
            .await;
        create(cloud, "generated_image", json!({"id": format!("i{n}"), "flow_id": format!("f{n}"), "r2_key": format!("images/{n}.png")}))
            .await;
        create(cloud, "message", json!({"id": format!("m{n}"), "studio_session_id": format!("s{n}"), "role": "user", "content": "hello"}))
            .await;
    }
    world.converge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_held_rows_and_conflicts_under_the_old_names_land_under_the_new_ones() {
    let mut world =
        World::of(system!("V1__visualizer.sql"), include_str!("../fixtures/visualizer/before.toml"), &["studio", "field"]).await;
    scene(&world).await;
    let (studio, field) = (world.site("studio").api.clone(), world.site("field").api.clone());

    // A conflict and a held row, both known to the cloud under the old names.
    world.cut_all();
    edit(&world.cloud, "flow/f1", json!({"name": "by the cloud"})).await;
    edit(&studio, "flow/f1", json!({"name": "by the studio"})).await;
    create(&field, "generated_image", json!({"id": "held", "flow_id": "f2", "r2_key": "images/taken.png", "status": "mine"})).await;
    create(&world.cloud, "generated_image", json!({"id": "taken", "flow_id": "f1", "r2_key": "images/taken.png"})).await;
    world.heal_all();
    world.converge().await;
    assert_eq!(world.pending_conflicts().await.len(), 2);

    // Unsent, under the old names.
    world.cut_all();
    edit(&studio, "generated_image/i1", json!({"r2_key": "images/1-retouched.png", "status": "done"})).await;
    edit(&studio, "studio_session/s2", json!({"name": "Renamed offline"})).await;
    create(&studio, "flow", json!({"id": "f3", "studio_session_id": "s1", "name": "made offline", "settings": {"size": 4}})).await;
    create(&studio, "generated_image", json!({"id": "i3", "flow_id": "f3", "r2_key": "images/3.png"})).await;
    create(&studio, "studio_session", json!({"id": "s3", "client_id": "c1", "name": "begun offline"})).await;
    create(&studio, "message", json!({"id": "m3", "studio_session_id": "s3", "role": "assistant", "content": "typed offline"})).await;
    studio.delete("/api/message/m1").await.ok();
    edit(&field, "product/p1", json!({"category": "chairs"})).await;
    edit(&field, "flow/f2", json!({"settings": {"steps": 20}})).await;
    edit(&field, "generated_image/held", json!({"status": "mine, edited again"})).await;

    world.migrate(system!("V2__collections.sql"), Some(system!("rejoin.toml"))).await;
    world
        .psql(
            "UPDATE generated_asset SET approval_status = 'approved', approved_by = 'ann' WHERE id IN ('i1', 'i2');
             UPDATE product SET is_favorite = true;
             INSERT INTO tag VALUES ('t1', 'c1', 'hero', 'red');
             INSERT INTO tag_assignment VALUES ('ta1', 't1', 'asset', 'i1'), ('ta2', 't1', 'flow', 'f2');
             INSERT INTO user_favorite VALUES ('u1', 'ann', 'session', 's2'), ('u2', 'ann', 'asset', 'i1'), ('u3', 'ann', 'product', 'p1');
             INSERT INTO store_connection (id, client_id, store_type, store_url, access_token)
                 VALUES ('sc1', 'c1', 'shopify', 'https://example.org', 'secret of the store');
             INSERT INTO generation_flow (id, name) VALUES ('standalone', 'of no session')",
        )
        .await;
    world.heal_all();
    world.converge().await;

    let sites = [studio.clone(), field.clone()];
    for api in std::iter::once(&world.cloud).chain(&sites) {
        let asset = get(api, "generated_asset/i1").await;
        assert_eq!((&asset["asset_url"], &asset["status"]), (&json!("images/1-retouched.png"), &json!("done")), "{asset}");
        assert_eq!(
            (&asset["approval_status"], &asset["approved_by"], &asset["asset_type"]),
            (&json!("approved"), &json!("ann"), &json!("image")),
            "{asset}"
        );
        assert_eq!(get(api, "collection_session/s2").await["name"], "Renamed offline");
        let flow = get(api, "generation_flow/f3").await;
        assert_eq!(
            (&flow["collection_session_id"], &flow["settings"], &flow["is_favorite"]),
            (&json!("s1"), &json!({"size": 4}), &json!(false))
        );
        let made = get(api, "generated_asset/i3").await;
        assert_eq!((&made["asset_url"], &made["approval_status"]), (&json!("images/3.png"), &json!("pending")), "{made}");
        assert_eq!(get(api, "message/m3").await["collection_session_id"], "s3");
        assert_eq!(api.get("/api/message/m1").await.status, 404);
        let product = get(api, "product/p1").await;
        assert_eq!(
            (&product["category"], &product["is_favorite"], &product["source"]),
            (&json!("chairs"), &json!(true), &json!("uploaded"))
        );
        assert_eq!(get(api, "generation_flow/f2").await["settings"], json!({"steps": 20}));
        assert_eq!(get(api, "tag_assignment/ta1").await["entity_id"], "i1");
        for favorite in ["u1", "u2"] {
            assert_eq!(get(api, &format!("user_favorite/{favorite}")).await["user_id"], "ann", "of a session and of an asset");
        }
        assert_eq!(api.get("/api/generated_image").await.status, 404, "the old name is gone");
    }
    for api in &sites {
        assert_eq!(api.get("/api/generation_flow/standalone").await.status, 404, "it reaches no session");
        assert_eq!(api.get("/api/user_favorite/u3").await.status, 404, "a product is of no session");
        assert!(get(api, "store_connection/sc1").await.get("access_token").is_none(), "looks like a secret");
    }

    // The conflicts speak the new names and are decided by them; the held row is its site's until then.
    let conflict = world.only_conflict("f1").await;
    assert_eq!(
        (&conflict["tableName"], &conflict["localData"]["name"]),
        (&json!("generation_flow"), &json!("by the studio")),
        "{conflict}"
    );
    world.resolve(&conflict, "LOCAL_WINS", &Value::Null).await.ok();
    assert_eq!(get(&field, "generated_asset/held").await["status"], "mine, edited again");
    let held = world.only_conflict("held").await;
    assert_eq!((&held["kind"], &held["localData"]["asset_url"]), (&json!("unique"), &json!("images/taken.png")), "{held}");
    world.resolve(&held, "MANUAL", &json!({"asset_url": "images/free.png"})).await.ok();
    world.converge().await;
    for api in world.everybody() {
        assert_eq!(get(&api, "generation_flow/f1").await["name"], "by the studio");
        let held = get(&api, "generated_asset/held").await;
        assert_eq!(
            (&held["asset_url"], &held["status"], &held["asset_type"]),
            (&json!("images/free.png"), &json!("mine, edited again"), &json!("image"))
        );
    }
    assert!(world.pending_conflicts().await.is_empty());
}
