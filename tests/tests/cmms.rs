//! The system for maintenance on a cloud and two sites, each of which has an organization of its own.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

use rejoin_tests::{Api, World};
use serde_json::{Value, json};

macro_rules! system {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!("../../migrations/systems/cmms/", $name))),+)
    };
}

const TABLES: &str = system!("V1__tenants.sql", "V2__assets.sql", "V3__work.sql", "V4__extensions.sql", "V5__authors.sql");

/// The id of organization `n`'s row of a kind, as in the fixture.
fn id(kind: u32, n: u32) -> String {
    format!("0198c0de-0000-7000-8000-0000000000{kind}{n}")
}

/// The path of the work order of organization `n`: its key names both.
fn order(n: u32) -> String {
    format!("/api/work_orders/{},{}", id(1, n), id(4, n))
}

async fn two_sites() -> World {
    let world = World::of(TABLES, system!("rejoin.toml"), &[]).await;
    world.psql(include_str!("../fixtures/cmms/two_organizations.sql")).await;
    for n in [1, 2] {
        world.join(&format!("site{n}"), &[&format!("organizations/{}", id(1, n))]).await;
    }
    world
}

async fn get(api: &Api, path: &str) -> Value {
    api.get(path).await.ok()
}

/// The values of a column in a list.
async fn column(api: &Api, path: &str, column: &str) -> Vec<Value> {
    get(api, path).await["data"].as_array().unwrap().iter().map(|row| row[column].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_holds_its_organization_and_nothing_refers_to_another() {
    let world = two_sites().await;
    for n in [1, 2] {
        let api = &world.site(&format!("site{n}")).api;
        for table in
            ["organizations", "users", "assets", "work_orders", "maintenance_logs", "comments", "tags", "entity_tags", "parts_inventory"]
        {
            let own = if table == "organizations" { "id" } else { "organization_id" };
            assert_eq!(column(api, &format!("/api/{table}"), own).await, [json!(id(1, n))], "{table}");
        }
        for table in ["user_sessions", "dashboard_metrics_cache"] {
            assert_eq!(api.get(&format!("/api/{table}")).await.status, 404, "{table} stays at the cloud");
        }
        assert_eq!(get(api, &format!("{}/comments", order(n))).await["data"][0]["body"], "Done");
        assert_eq!(get(api, &format!("{}/entity_tags", order(n))).await["data"][0]["tag_id"], json!(id(6, n)));
        // Every reference carries the tenant; each is called by what it has besides.
        let included = get(api, &format!("{}?include=assigned_to,organization,entity_tags.tag", order(n))).await["included"].clone();
        assert_eq!((&included["assigned_to"]["name"], &included["organization"]["id"]), (&json!("Ann"), &json!(id(1, n))));
        assert_eq!(included["entity_tags"]["data"][0]["included"]["tag"]["name"], "urgent");
        let tagged = get(api, "/api/entity_tags?include=entity").await;
        assert_eq!(tagged["data"][0]["included"]["entity"]["title"], "Oil the pump");
        assert_eq!(api.patch(&format!("/api/users/{}", id(2, n)), json!({"role": "admin"})).await.status, 501, "managed at the cloud");
    }
    // By the site that knows the row not at all, and by the cloud that has it.
    for api in [&world.site("site1").api, &world.cloud] {
        let foreign = [
            ("assets", json!({"organization_id": id(1, 1), "name": "a", "type": "t", "parent_id": id(3, 2)})),
            ("work_orders", json!({"organization_id": id(1, 1), "title": "t", "status": "open", "assigned_to": id(2, 2)})),
            ("work_order_assets", json!({"organization_id": id(1, 1), "work_order_id": id(4, 2), "asset_id": id(3, 1)})),
            ("comments", json!({"organization_id": id(1, 1), "work_order_id": id(4, 2), "body": "b"})),
        ];
        for (table, row) in foreign {
            let answer = api.post(&format!("/api/{table}"), row).await;
            assert_eq!((answer.status.as_u16(), &answer.body["code"]), (422, &json!("bad_reference")), "{table}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_the_link_is_in_the_cloud_afterwards() {
    let world = two_sites().await;
    let site = &world.site("site1").api;
    world.cut_all();
    let asset =
        json!({"organization_id": id(1, 1), "parent_id": id(3, 1), "name": "Motor", "type": "motor", "latitude": 52.5, "longitude": 13.4});
    let asset = site.post("/api/assets", asset).await.ok();
    let made = json!({"organization_id": id(1, 1), "title": "Grease the motor", "status": "open", "assigned_to": id(2, 1), "scheduled_for": "2026-12-01T08:00:00"});
    let made = site.post("/api/work_orders", made).await.ok();
    let made_path = format!("/api/work_orders/{},{}", id(1, 1), made["id"].as_str().unwrap());
    site.post(&format!("{made_path}/work_order_assets"), json!({"asset_id": asset["id"]})).await.ok();
    let list = site.post(&format!("{made_path}/checklists"), json!({"title": "Before you start"})).await.ok();
    let list = format!("/api/checklists/{}", list["id"].as_str().unwrap());
    site.post(&format!("{list}/checklist_items"), json!({"task": "Switch it off", "done": true, "done_by": id(2, 1)})).await.ok();
    site.post(
        &format!("{list}/checklist_signatures"),
        json!({"signed_by": id(2, 1), "signer_name": "Ann", "content_hash": "a".repeat(64)}),
    )
    .await
    .ok();
    site.post(&format!("{}/comments", order(1)), json!({"parent_id": id(5, 1), "body": "Really"})).await.ok();
    site.post(&format!("{}/work_order_parts_used", order(1)), json!({"part_id": id(7, 1), "quantity": 3})).await.ok();
    // Both take from one shelf, both write another part of one order.
    site.patch(&format!("/api/parts_inventory/{}", id(7, 1)), json!({"quantity": 7})).await.ok();
    world.cloud.patch(&format!("/api/parts_inventory/{}", id(7, 1)), json!({"quantity": 9})).await.ok();
    site.patch(&order(1), json!({"status": "done"})).await.ok();
    world.cloud.patch(&order(1), json!({"priority": "high"})).await.ok();
    world.heal_all();
    world.converge().await;

    for api in [site, &world.cloud] {
        assert_eq!(get(api, &format!("/api/parts_inventory/{}", id(7, 1))).await["quantity"], 6);
        let both = get(api, &order(1)).await;
        assert_eq!((&both["status"], &both["priority"]), (&json!("done"), &json!("high")));
        assert_eq!(column(api, &format!("{made_path}/work_order_assets"), "asset_id").await, [asset["id"].clone()]);
        assert_eq!(column(api, &format!("{list}/checklist_items"), "done_by").await, [json!(id(2, 1))]);
        assert_eq!(column(api, &format!("{list}/checklist_signatures"), "content_hash").await, [json!("a".repeat(64))]);
        assert_eq!(column(api, &format!("/api/comments/{}/comments", id(5, 1)), "body").await, [json!("Really")]);
        assert_eq!(column(api, &format!("{}/work_order_parts_used", order(1)), "quantity").await, [json!(3)]);
    }
    assert!(world.pending_conflicts().await.is_empty());
    assert_eq!(column(&world.site("site2").api, "/api/work_orders", "id").await, [json!(id(4, 2))], "the other site has nothing of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_deletes_is_cleared_or_gone_at_the_sites() {
    let world = two_sites().await;
    world.join("office", &["*"]).await;
    for row in [format!("/api/assets/{}", id(3, 1)), format!("/api/users/{}", id(2, 1))] {
        world.cloud.delete(&row).await.ok();
    }
    world.converge().await;
    let site = &world.site("site1").api;
    let log = get(site, "/api/maintenance_logs").await["data"][0].clone();
    assert_eq!((&log["organization_id"], &log["work_order_id"], &log["asset_id"]), (&json!(id(1, 1)), &json!(id(4, 1)), &Value::Null));
    assert_eq!(get(site, &order(1)).await["assigned_to"], Value::Null);
    world.cloud.delete(&order(1)).await.ok();
    world.converge().await;
    for table in ["work_orders", "comments", "entity_tags"] {
        assert_eq!(column(site, &format!("/api/{table}"), "id").await, Vec::<Value>::new(), "{table}");
    }
    assert_eq!(column(site, "/api/maintenance_logs", "work_order_id").await, [Value::Null], "what was done stays");
}
