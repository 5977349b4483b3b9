//! Work orders partitioned by organization, with real servers: programs name partitions, rows move between them, partitions come and go, while
//! a site is away with unsent edits.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test says what went wrong by panicking")]

mod becomes;

use std::time::Duration;

use futures_util::SinkExt;
use rejoin_tests::{Api, World};
use serde_json::{Value, json};

const SYSTEM: &str = r#"
    CREATE SCHEMA parts;
    CREATE TABLE orgs (id integer PRIMARY KEY, name text NOT NULL);
    CREATE TABLE work_orders (org_id integer NOT NULL REFERENCES orgs, id integer, title text, PRIMARY KEY (org_id, id)) PARTITION BY LIST (org_id);
    CREATE TABLE parts."One" PARTITION OF work_orders FOR VALUES IN (1);
    CREATE TABLE parts.two PARTITION OF work_orders FOR VALUES IN (2) PARTITION BY RANGE (id);
    CREATE TABLE parts.two_low PARTITION OF parts.two FOR VALUES FROM (MINVALUE) TO (100);
    CREATE TABLE parts.two_high PARTITION OF parts.two DEFAULT;
    CREATE TABLE parts.three (title text, id integer NOT NULL, org_id integer NOT NULL);
    ALTER TABLE work_orders ATTACH PARTITION parts.three FOR VALUES IN (3);
    CREATE TABLE steps (id integer PRIMARY KEY, org_id integer NOT NULL REFERENCES orgs, work_id integer, text text,
        FOREIGN KEY (org_id, work_id) REFERENCES work_orders ON UPDATE CASCADE ON DELETE CASCADE);
    INSERT INTO orgs SELECT n, 'o' || n FROM generate_series(1, 4) n;
    INSERT INTO work_orders SELECT org, id, 't' FROM generate_series(1, 3) org, unnest(ARRAY[org * 10, org * 10 + 1, org * 100]) id;
    INSERT INTO steps SELECT id, org_id, id, 's' FROM work_orders WHERE org_id < 3;"#;

/// Waits until the cloud has looked at the schema: until this SQL gives true.
pub(crate) async fn looked(world: &World, at: &str) {
    let sql = world.postgres().await;
    for _ in 0..600 {
        if sql.query_one(at, &[]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{at}");
}

/// A list's rows, each as these columns joined by slashes, sorted.
pub(crate) async fn rows(api: &Api, path: &str, columns: &[&str]) -> Vec<String> {
    let list = api.get(path).await.ok();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |row: &Value| columns.iter().map(|column| text(&row[*column])).collect::<Vec<_>>().join("/");
    let mut lines: Vec<String> = list["data"].as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}

/// The open conflicts: record and kind, sorted.
pub(crate) fn kinds(open: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut kinds: Vec<String> =
        open.iter().map(|conflict| format!("{} {}", text(&conflict["recordId"]), text(&conflict["kind"]))).collect();
    kinds.sort();
    kinds
}

async fn world() -> World {
    let world = World::of(SYSTEM, "root = \"orgs\"\n", &["a"]).await;
    world.join("b", &["orgs/2"]).await;
    world.converge().await;
    world
}

async fn edit(api: &Api, key: &str, title: &str) {
    api.patch(&format!("/api/work_orders/{key}"), json!({"title": title})).await.ok();
}

async fn decide(world: &World, record: &str, resolution: &str) {
    let resolved = world.resolve(&world.only_conflict(record).await, resolution, &Value::Null).await;
    assert!(resolved.status.is_success(), "{resolved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_do_by_a_partitions_name_meets_what_a_site_wrote_meanwhile() {
    let world = world().await;
    let (a, b) = (&world.site("a").api, &world.site("b").api);
    world.cut_all();
    for (key, title) in [("1,10", "deleted meanwhile"), ("1,100", "stays"), ("2,20", "moved meanwhile"), ("2,200", "emptied meanwhile")] {
        edit(a, key, title).await;
    }
    a.post("/api/work_orders", json!({"org_id": 2, "id": 500, "title": "new"})).await.ok();
    a.post("/api/work_orders", json!({"org_id": 4, "id": 1, "title": "no partition takes it"})).await.ok();
    a.patch("/api/steps/11", json!({"text": "its parent moves"})).await.ok();
    a.delete("/api/work_orders/3,31").await.ok();
    let sql = world.postgres().await;
    world
        .psql(
            r#"DELETE FROM parts."One" WHERE id = 10;
               INSERT INTO parts.two_low VALUES (2, 50, 'by its own name');
               INSERT INTO parts.two (id, org_id) VALUES (700, 2);
               UPDATE work_orders SET org_id = 2 WHERE org_id = 1 AND id = 11;
               UPDATE parts.two SET id = id + 200 WHERE id IN (20, 21);
               DELETE FROM steps WHERE org_id = 2 AND work_id > 150;
               UPDATE parts.three SET title = 'by its own name' WHERE id = 30"#,
        )
        .await;
    let copying = sql.copy_in("COPY parts.two_low (id, title, org_id) FROM STDIN").await.unwrap();
    futures_util::pin_mut!(copying);
    copying.send(b"71\tcopied\t2\n72\tcopied\t2\n".as_slice()).await.unwrap();
    assert_eq!(copying.finish().await.unwrap(), 2);
    world.psql("ALTER TABLE steps DROP CONSTRAINT steps_org_id_work_id_fkey; TRUNCATE parts.two_high").await;
    world
        .psql("ALTER TABLE steps ADD FOREIGN KEY (org_id, work_id) REFERENCES work_orders ON UPDATE CASCADE ON DELETE CASCADE NOT VALID")
        .await;
    world.heal_all();
    world.converge().await;

    let parked = ["1,10 update_delete", "2,20 update_delete", "2,200 update_delete", "4,1 check"];
    assert_eq!(kinds(&world.pending_conflicts().await), parked);
    let two = ["2/11", "2/50", "2/500", "2/71", "2/72"];
    assert_eq!(rows(b, "/api/work_orders", &["org_id", "id"]).await, two);
    let all = [&["1/100"][..], &two[..], &["3/30", "3/300"][..]].concat();
    assert_eq!(rows(&world.cloud, "/api/work_orders", &["org_id", "id"]).await, all);
    assert_eq!(a.get("/api/work_orders/1,100").await.ok()["title"], "stays");
    assert_eq!(a.get("/api/work_orders/3,30").await.ok()["title"], "by its own name");
    for api in [a, b] {
        let step = api.get("/api/steps/11").await.ok();
        assert_eq!((&step["org_id"], &step["work_id"], &step["text"]), (&json!(2), &json!(11), &json!("its parent moves")));
    }

    // Decided for the site's, once the last has a partition: what was deleted is there again.
    world.psql("CREATE TABLE parts.four PARTITION OF work_orders DEFAULT").await;
    for parked in parked {
        decide(&world, parked.split_once(' ').unwrap().0, "LOCAL_WINS").await;
    }
    world.converge().await;
    assert_eq!(kinds(&world.pending_conflicts().await), Vec::<String>::new());
    for (key, title) in
        [("1,10", "deleted meanwhile"), ("2,20", "moved meanwhile"), ("2,200", "emptied meanwhile"), ("4,1", "no partition takes it")]
    {
        assert_eq!(a.get(&format!("/api/work_orders/{key}")).await.ok()["title"], title);
    }
    assert_eq!(sql.query_one("SELECT count(*) FROM parts.four", &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_come_and_go_while_a_site_is_away() {
    let world = world().await;
    let (a, b) = (&world.site("a").api, &world.site("b").api);
    world.cut_all();
    for (key, title) in [("3,30", "detached meanwhile"), ("2,200", "dropped meanwhile"), ("2,20", "stays")] {
        edit(a, key, title).await;
    }
    a.patch("/api/steps/200", json!({"text": "its parent went with its partition"})).await.ok();
    a.delete("/api/work_orders/3,300").await.ok();
    a.post("/api/work_orders", json!({"org_id": 3, "id": 33, "title": "its partition is gone"})).await.ok();
    world
        .psql(
            "CREATE TABLE parts.four (id integer NOT NULL, title text, org_id integer NOT NULL, PRIMARY KEY (org_id, id));
             INSERT INTO parts.four VALUES (40, 'was there', 4), (41, 'was there', 4);
             SELECT rejoin.before_attach('parts.four', 'work_orders');
             ALTER TABLE work_orders ATTACH PARTITION parts.four FOR VALUES IN (4);
             ALTER TABLE work_orders DETACH PARTITION parts.three;
             DELETE FROM steps WHERE work_id = 200; ALTER TABLE parts.two DETACH PARTITION parts.two_high; DROP TABLE parts.two_high",
        )
        .await;
    looked(&world, "SELECT generation > 0 FROM rejoin.tables WHERE table_name = 'work_orders'").await;
    world.heal_all();
    world.converge().await;

    let parked = ["2,200 update_delete", "200 update_delete", "3,30 update_delete", "3,33 check"];
    assert_eq!(kinds(&world.pending_conflicts().await), parked);
    let all = ["1/10", "1/100", "1/11", "2/20", "2/21", "4/40", "4/41"];
    assert_eq!(rows(&world.cloud, "/api/work_orders", &["org_id", "id"]).await, all);
    assert_eq!(rows(b, "/api/work_orders", &["org_id", "id"]).await, ["2/20", "2/21"]);
    // Clean, it was let go of.
    a.get("/api/work_orders/3,31").await.refused(404, "not_found");
    assert_eq!(a.get("/api/work_orders/2,20").await.ok()["title"], "stays");

    // There is no place for it, and nothing is done by half.
    let refused = world.resolve(&world.only_conflict("3,30").await, "LOCAL_WINS", &Value::Null).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    assert_eq!(kinds(&world.pending_conflicts().await), parked);
    decide(&world, "3,30", "CLOUD_WINS").await;

    // Back again, changed meanwhile.
    world.psql("UPDATE parts.three SET title = 'changed while away' WHERE id = 30; ALTER TABLE work_orders ATTACH PARTITION parts.three FOR VALUES IN (3)").await;
    looked(&world, "SELECT count(*) = 0 FROM rejoin.partitions WHERE detached_at IS NOT NULL").await;
    decide(&world, "3,33", "LOCAL_WINS").await;
    world.psql("CREATE TABLE parts.two_high PARTITION OF parts.two DEFAULT").await;
    decide(&world, "2,200", "LOCAL_WINS").await;
    world.converge().await;
    assert_eq!(a.get("/api/work_orders/3,30").await.ok()["title"], "changed while away");
    assert_eq!(b.get("/api/work_orders/2,200").await.ok()["title"], "dropped meanwhile");
    // What the site deleted while the partition was gone the program did not.
    assert_eq!(
        rows(a, "/api/work_orders?org_id=3", &["id", "title"]).await,
        ["30/changed while away", "300/t", "31/t", "33/its partition is gone"]
    );
    a.delete("/api/work_orders/3,31").await.ok();
    world.psql("DELETE FROM parts.three WHERE id = 300").await;
    world.converge().await;
    assert_eq!(rows(a, "/api/work_orders?org_id=3", &["id"]).await, ["30", "33"]);
}
