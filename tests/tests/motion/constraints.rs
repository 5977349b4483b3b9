//! Constraints come, change and go while a site holds rows that fit them no more, or fit now.

use rejoin_tests::World;
use serde_json::{Value, json};

use crate::scene::{SYSTEM, at_site, conflicts, decide, settings, settle, world};

fn kinds(conflicts: &[(String, String, Value)]) -> Vec<(&str, &str)> {
    conflicts.iter().map(|(id, kind, _)| (id.as_str(), kind.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_unique_key_parks_what_the_site_has_twice_and_holds_nothing_else_up() {
    let mut world = world().await;
    world.cut_all();
    let site = world.site("a");
    // Clean rows share their note; the cloud tells them apart before it forbids that.
    site.sqlite3(
        "UPDATE parts SET note = 'note 4' WHERE id = 'p3'; UPDATE parts SET note = 'mine' WHERE id = 'p5';
         INSERT INTO parts (id, show_id, note, code) VALUES ('p7', 's', 'note 1', 'c7'), ('p8', 's', 'twin', 'c8'), ('p9', 's', 'twin', 'c9');
         UPDATE parts SET label = 'edited' WHERE id = 'p6'",
    );
    let sql = "UPDATE parts SET note = 'note ' || substr(id, 2); ALTER TABLE parts ADD CONSTRAINT parts_note UNIQUE (note)";
    world.migrate(sql, None).await;
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    assert_eq!(kinds(&found), [("p3", "update_update"), ("p5", "update_update"), ("p7", "unique"), ("p9", "unique")], "{found:#?}");
    for api in world.everybody() {
        assert_eq!(api.get("/api/parts/p6").await.ok()["label"], "edited");
        assert_eq!(api.get("/api/parts/p8").await.ok()["note"], "twin");
        assert_eq!(api.get("/api/parts/p2").await.ok()["note"], "note 2");
    }
    assert_eq!(at_site(&world, "SELECT group_concat(id, ' ' ORDER BY id) FROM parts WHERE rejoin_held > 0"), "p7 p9");
    decide(&world.cloud, "p7", json!({"resolution": "MANUAL", "values": {"note": "note 7"}})).await.ok();
    for id in ["p3", "p5", "p9"] {
        decide(&world.cloud, id, json!({"resolution": "CLOUD_WINS"})).await.ok();
    }
    settle(&world).await;
    assert_eq!(world.site("a").api.get("/api/parts/p7").await.ok()["note"], "note 7");
    assert_eq!(at_site(&world, "SELECT count(*) FROM parts WHERE rejoin_held > 0"), "0");
    assert_eq!(at_site(&world, "SELECT count(*) FROM rejoin_unsettled"), "0");
    // From now on the site refuses at once.
    let refused = world.site("a").api.patch("/api/parts/p2", json!({"note": "note 1"})).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_unique_key_against_an_edit_parks_it_as_unique() {
    let mut world = world().await;
    world.cut_all();
    world.site("a").sqlite3("UPDATE parts SET size = '1' WHERE id = 'p2'");
    world.migrate("ALTER TABLE parts ADD CONSTRAINT parts_size UNIQUE (size)", None).await;
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    assert_eq!(kinds(&found), [("p2", "unique")], "{found:#?}");
    for api in world.everybody() {
        assert_eq!(api.get("/api/parts/p2").await.ok()["size"], "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_dropped_lets_held_rows_in() {
    let mut world = world().await;
    world.cut_all();
    let site = world.site("a");
    site.sqlite3("INSERT INTO parts (id, show_id, label, code) VALUES ('p7', 's', 'held', 'c8')");
    world.psql("INSERT INTO parts (id, show_id, label, code) VALUES ('p8', 's', 'theirs', 'c8')").await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(at_site(&world, "SELECT group_concat(id, ' ') FROM parts WHERE rejoin_held > 0"), "p7");
    world.cut_all();
    world.migrate("ALTER TABLE parts DROP CONSTRAINT parts_code_key", None).await;
    world.heal_all();
    settle(&world).await;
    decide(&world.cloud, "p7", json!({"resolution": "LOCAL_WINS"})).await.ok();
    settle(&world).await;
    site.sqlite3("INSERT INTO parts (id, show_id, label, code) VALUES ('p9', 's', 'third', 'c8')");
    settle(&world).await;
    for api in world.everybody() {
        for (id, label) in [("p7", "held"), ("p8", "theirs"), ("p9", "third")] {
            let row = api.get(&format!("/api/parts/{id}")).await.ok();
            assert_eq!((&row["label"], &row["code"]), (&json!(label), &json!("c8")));
        }
    }
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_reference_and_a_new_check_park_what_they_refuse() {
    let mut world = world().await;
    world.cut_all();
    let site = world.site("a");
    site.sqlite3(
        "UPDATE parts SET size = '99' WHERE id = 'p5'; UPDATE parts SET size = '2' WHERE id = 'p1'; UPDATE parts SET label = '' WHERE id = 'p4';
         INSERT INTO parts (id, show_id, size, code) VALUES ('p9', 's', '98', 'c9'), ('p10', 's', '3', 'c10')",
    );
    let sql =
        "CREATE TABLE sizes (id text PRIMARY KEY, words text); INSERT INTO sizes SELECT n::text, 'size ' || n FROM generate_series(1, 6) n;
               ALTER TABLE parts ADD FOREIGN KEY (size) REFERENCES sizes, ADD CHECK (label <> '')";
    world.migrate(sql, None).await;
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    assert_eq!(kinds(&found), [("p4", "check"), ("p5", "foreign_key"), ("p9", "foreign_key")], "{found:#?}");
    assert_eq!(
        at_site(&world, "SELECT group_concat(id || size, ' ' ORDER BY id) FROM parts WHERE id IN ('p1', 'p5', 'p9', 'p10')"),
        "p12 p103 p55 p998"
    );
    assert_eq!(site.api.get("/api/sizes/4").await.ok()["words"], "size 4");
    // The site holds the reference from now on.
    let refused = site.api.patch("/api/parts/p2", json!({"size": "97"})).await;
    assert!(refused.status.is_client_error(), "{}", refused.body);
    decide(&world.cloud, "p9", json!({"resolution": "MANUAL", "values": {"size": "1"}})).await.ok();
    decide(&world.cloud, "p5", json!({"resolution": "CLOUD_WINS"})).await.ok();
    decide(&world.cloud, "p4", json!({"resolution": "MANUAL", "values": {"label": "x"}})).await.ok();
    settle(&world).await;
    assert_eq!(at_site(&world, "SELECT group_concat(id || size, ' ' ORDER BY id) FROM parts WHERE id IN ('p5', 'p9')"), "p55 p91");
    assert_eq!(world.pending_conflicts().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_delete_rule_is_the_sites_rule_and_its_unsent_deletes_are_judged_by_it() {
    let lines = "CREATE TABLE lines (id text PRIMARY KEY, part_id text NOT NULL CONSTRAINT lines_part REFERENCES parts, words text);
                 INSERT INTO lines SELECT 'l' || n, 'p' || n, 'words' FROM generate_series(1, 6) n";
    let mut world = World::of(&format!("{SYSTEM}; {lines}"), &settings("parts"), &["a"]).await;
    let rule = |rule: &str| {
        format!("ALTER TABLE lines DROP CONSTRAINT lines_part, ADD CONSTRAINT lines_part FOREIGN KEY (part_id) REFERENCES parts {rule}")
    };
    let site = world.site("a");
    let delete = async |id: &str| site.api.delete(&format!("/api/parts/{id}")).await.status.as_u16();
    assert_eq!(delete("p1").await, 409);
    world.cut_all();
    site.sqlite3("UPDATE lines SET words = 'unsent' WHERE id = 'l2'");
    world.migrate(&rule("ON DELETE CASCADE"), None).await;
    world.heal_all();
    settle(&world).await;
    assert_eq!(delete("p1").await, 204);
    assert_eq!(at_site(&world, "SELECT group_concat(id, ' ' ORDER BY id) FROM lines"), "l2 l3 l4 l5 l6");
    settle(&world).await;
    assert_eq!(world.cloud.get("/api/lines/l1").await.status, 404);

    // Deleted here by the rule of then, with a line; there is another one at the cloud, whose rule is stricter now.
    world.cut_all();
    assert_eq!((delete("p2").await, delete("p3").await), (204, 204));
    world.psql("INSERT INTO lines VALUES ('l33', 'p3', 'of the cloud')").await;
    world.migrate(&rule(""), None).await;
    world.heal_all();
    settle(&world).await;
    let found = conflicts(&world).await;
    assert_eq!(kinds(&found), [("p3", "delete_update")], "{found:#?}");
    for api in world.everybody() {
        assert_eq!(api.get("/api/parts/p2").await.status, 404);
        assert_eq!(api.get("/api/parts/p3").await.ok()["label"], "label 3");
        assert_eq!(api.get("/api/lines/l33").await.ok()["words"], "of the cloud");
    }
    assert_eq!(delete("p4").await, 409, "strict here, too");
    assert!(site.api.delete("/api/lines/l4").await.status.is_success() && delete("p4").await == 204);
    settle(&world).await;
    assert_eq!(world.cloud.get("/api/parts/p4").await.status, 404);
}
