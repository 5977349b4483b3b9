//! A table that becomes partitioned while a site is away: a new table beside it, its rows copied, the names exchanged.

use futures_util::future::join_all;
use rejoin_tests::World;
use serde_json::{Value, json};

use crate::{kinds, looked, rows};

const SYSTEM: &str = "
    CREATE TABLE orgs (id integer PRIMARY KEY, name text NOT NULL);
    CREATE TABLE work_orders (id integer PRIMARY KEY, org_id integer NOT NULL REFERENCES orgs, title text, rank integer NOT NULL DEFAULT 0);
    CREATE TABLE steps (id integer PRIMARY KEY, org_id integer NOT NULL, work_id integer NOT NULL REFERENCES work_orders ON DELETE CASCADE, text text);
    INSERT INTO orgs VALUES (1, 'o1'), (2, 'o2');
    INSERT INTO work_orders (id, org_id, title) SELECT n, 1 + n % 2, 't' || n FROM generate_series(1, 8) n;
    INSERT INTO steps SELECT id, org_id, id, 's' FROM work_orders";

/// A way to the same, in steps between which the cloud looks.
struct Way {
    what: &'static str,
    steps: &'static [&'static str],
    /// Whether the key gets another column.
    wider: bool,
}

const NEW: &str = "CREATE TABLE work_new (LIKE work_orders INCLUDING ALL) PARTITION BY HASH (id);
    CREATE TABLE work_0 PARTITION OF work_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE work_1 PARTITION OF work_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    ALTER TABLE work_new ADD FOREIGN KEY (org_id) REFERENCES orgs;
    INSERT INTO work_new SELECT * FROM work_orders";
const EXCHANGE: &str = "ALTER TABLE steps DROP CONSTRAINT steps_work_id_fkey; ALTER TABLE work_orders RENAME TO work_old;
    ALTER TABLE work_new RENAME TO work_orders; ALTER TABLE steps ADD FOREIGN KEY (work_id) REFERENCES work_orders ON DELETE CASCADE";
const DROP: &str = "DROP TABLE work_old";
const WIDER: &str = "CREATE TABLE work_new (id integer, org_id integer NOT NULL REFERENCES orgs, title text, rank integer NOT NULL DEFAULT 0,
        PRIMARY KEY (org_id, id)) PARTITION BY LIST (org_id);
    CREATE TABLE work_1 PARTITION OF work_new FOR VALUES IN (1);
    CREATE TABLE work_rest PARTITION OF work_new DEFAULT;
    INSERT INTO work_new SELECT id, org_id, title, rank FROM work_orders;
    ALTER TABLE steps DROP CONSTRAINT steps_work_id_fkey; ALTER TABLE work_orders RENAME TO work_old; ALTER TABLE work_new RENAME TO work_orders;
    ALTER TABLE steps ADD FOREIGN KEY (org_id, work_id) REFERENCES work_orders ON DELETE CASCADE";

const WAYS: [Way; 5] = [
    Way { what: "at once, the old one dropped", steps: &[NEW, EXCHANGE, DROP], wider: false },
    Way { what: "at once, the old one kept", steps: &[NEW, EXCHANGE], wider: false },
    Way { what: "looked at in between, the old one kept", steps: &[NEW, "", EXCHANGE], wider: false },
    Way { what: "looked at in between, the old one dropped", steps: &[NEW, "", EXCHANGE, DROP], wider: false },
    Way { what: "with a wider key, the old one kept for a while", steps: &[WIDER, "", DROP], wider: true },
];

const CATALOG: &str = "SELECT max(version) FROM rejoin.catalogs";

async fn catalog(world: &World) -> i64 {
    world.postgres().await.query_one(CATALOG, &[]).await.unwrap().get(0)
}

/// Runs what stands between empty steps in one transaction each, and waits until the cloud has published what came of it.
async fn migrate(world: &World, steps: &[&str]) {
    for together in steps.split(|step| step.is_empty()) {
        let before = catalog(world).await;
        world.psql(&format!("BEGIN; {}; COMMIT", together.join("; "))).await;
        looked(world, &format!("SELECT max(version) > {before} FROM rejoin.catalogs")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_land_in_the_table_that_has_the_name_when_it_became_partitioned() {
    join_all(WAYS.iter().map(becomes)).await;
}

async fn becomes(way: &Way) {
    let what = way.what;
    let world = World::of(SYSTEM, "root = \"orgs\"\n", &["a", "b"]).await;
    let a = &world.site("a").api;
    // Known to everybody before: an open conflict.
    world.cut_all();
    a.patch("/api/work_orders/7", json!({"title": "mine"})).await.ok();
    world.psql("UPDATE work_orders SET title = 'theirs' WHERE id = 7").await;
    world.heal_all();
    world.converge().await;
    assert_eq!(kinds(&world.pending_conflicts().await), ["7 update_update"], "{what}");
    world.cut_all();
    a.patch("/api/work_orders/1", json!({"title": "typed offline"})).await.ok();
    a.post("/api/work_orders", json!({"id": 20, "org_id": 2, "title": "new"})).await.ok();
    a.post("/api/steps", json!({"id": 20, "org_id": 2, "work_id": 20, "text": "of the new one"})).await.ok();
    a.delete("/api/work_orders/3").await.ok();
    a.patch("/api/steps/4", json!({"text": "typed offline"})).await.ok();
    migrate(&world, way.steps).await;
    world.psql("UPDATE work_orders SET rank = 5 WHERE id IN (1, 2); DELETE FROM work_orders WHERE id = 5").await;
    world.heal_all();
    world.converge().await;

    let sevens = if way.wider { "2,7" } else { "7" };
    assert_eq!(kinds(&world.pending_conflicts().await), [format!("{sevens} update_update")], "{what}");
    let resolved = world.resolve(&world.only_conflict(sevens).await, "LOCAL_WINS", &Value::Null).await;
    assert!(resolved.status.is_success(), "{what}: {resolved:?}");
    world.converge().await;
    let expected = ["1/typed offline/5", "2/t2/5", "20/new/0", "4/t4/0", "6/t6/0", "7/mine/0", "8/t8/0"];
    let steps = ["1/1/s", "2/2/s", "20/20/of the new one", "4/4/typed offline", "6/6/s", "7/7/s", "8/8/s"];
    for api in world.everybody() {
        assert_eq!(rows(&api, "/api/work_orders", &["id", "title", "rank"]).await, expected, "{what}");
        assert_eq!(rows(&api, "/api/steps", &["id", "work_id", "text"]).await, steps, "{what}");
    }
    let there = "SELECT string_agg(id || '/' || title || '/' || rank, ' ' ORDER BY id::text) FROM work_orders";
    assert_eq!(world.postgres().await.query_one(there, &[]).await.unwrap().get::<_, String>(0), expected.join(" "), "{what}");
    let indexes =
        "SELECT count(*) FROM pg_index WHERE indrelid = 'work_orders'::regclass AND pg_get_indexdef(indexrelid, 1, true) = 'rejoin_scope'";
    assert_eq!(world.postgres().await.query_one(indexes, &[]).await.unwrap().get::<_, i64>(0), 1, "{what}");
}
