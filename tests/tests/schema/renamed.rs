//! Edits that land under other names, and what does not fit the new types.

use rejoin_tests::World;
use serde_json::json;

use crate::{PARTS, columns, conflict};

/// A row that is held at the site `a`: another one has its code at the cloud.
async fn hold(world: &World) {
    world.cloud.create("/api/parts", json!({"id": "p8", "show_id": "s", "code": "taken"})).await;
    world.site("a").api.create("/api/parts", json!({"id": "p7", "show_id": "s", "label": "held", "code": "taken"})).await;
    world.sync("a").await;
    let held = world.pending_conflicts().await;
    assert_eq!((held.len(), &held[0]["recordId"], &held[0]["kind"]), (1, &json!("p7"), &json!("unique")), "{held:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_land_in_renamed_columns_and_what_no_longer_fits_parks() {
    let mut world = World::of(PARTS, "root = \"shows\"\n", &["a", "b"]).await;
    hold(&world).await;
    let at_a = &world.site("a").api;
    world.stop().await;
    for (id, edit) in [
        ("p1", json!({"label": "edited"})),
        ("p2", json!({"size": "12"})),
        ("p3", json!({"size": "big"})),
        ("p4", json!({"qty": 3_000_000_000_i64})),
        ("p5", json!({"note": null})),
    ] {
        at_a.patch(&format!("/api/parts/{id}"), edit).await.ok();
    }
    at_a.create("/api/parts", json!({"id": "p9", "show_id": "s", "label": "new", "size": "9", "code": "c9", "note": "n"})).await;
    world.psql(
            "UPDATE parts SET note = coalesce(note, '');
             ALTER TABLE parts RENAME TO items; ALTER TABLE items RENAME COLUMN label TO title; ALTER TABLE items RENAME COLUMN note TO label;
             ALTER TABLE items ALTER title TYPE text, ALTER size TYPE integer USING size::integer, ALTER qty TYPE integer,
                 ALTER label SET NOT NULL, ADD made timestamptz NOT NULL DEFAULT now(), ADD kind text NOT NULL DEFAULT 'part'",
        )
        .await;
    world.start_again().await;
    world.converge().await;
    let cloud = world.cloud.clone();
    let get = async |id: &str| cloud.get(&format!("/api/items/{id}")).await.ok();
    assert_eq!(get("p1").await["title"], "edited");
    assert_eq!(get("p2").await["size"], 12);
    let made = get("p9").await;
    assert_eq!((&made["title"], &made["size"], &made["kind"]), (&json!("new"), &json!(9), &json!("part")));
    let conflicts = world.pending_conflicts().await;
    assert_eq!(conflict(&conflicts, "p3")["localData"]["size"], "big");
    assert_eq!(conflict(&conflicts, "p4")["localData"]["qty"].to_string().trim_matches('"'), "3000000000");
    assert!(conflict(&conflicts, "p5")["localData"]["label"].is_null());
    assert_eq!((conflicts.len(), &conflict(&conflicts, "p7")["kind"]), (4, &json!("unique")), "{conflicts:#?}");
    let held = rusqlite::Connection::open(world.site("a").database()).unwrap();
    let held: String = held.query_row("SELECT title FROM items WHERE id = 'p7' AND rejoin_held = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(held, "held");
    for site in ["a", "b"] {
        assert_eq!(columns(&world, site, "rejoin_hidden_%"), 0, "nothing is hidden any more");
    }
}
