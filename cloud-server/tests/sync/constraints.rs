//! Constraints that no site can hold, or that are asked late: each refusal is that of its row.

use serde_json::{Value, json};
use sync_core::change::RowChange;

use crate::cloud::Cloud;
use crate::site::{Site, id, verdicts};

const MORE: &str = "
    ALTER TABLE marks ADD COLUMN label text, ADD COLUMN place text, ADD COLUMN span int4range, ADD COLUMN code text,
        ADD COLUMN a integer, ADD COLUMN b integer, ADD COLUMN sum integer GENERATED ALWAYS AS (a + b) STORED,
        ADD CONSTRAINT marks_order CHECK (a < b), ADD CONSTRAINT marks_place UNIQUE (place) DEFERRABLE INITIALLY DEFERRED,
        ADD CONSTRAINT marks_span EXCLUDE USING gist (span WITH &&), ADD CONSTRAINT marks_code UNIQUE NULLS NOT DISTINCT (code);
    CREATE UNIQUE INDEX marks_open ON marks (production_id) WHERE note = 'open';
    CREATE UNIQUE INDEX marks_label ON marks (lower(label));";

fn mark(site: &Site<'_>, production: &str, id: &str, values: Value) -> RowChange {
    let mut all = json!({"id": id, "production_id": production, "code": id});
    all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    site.insert("marks", &all)
}

#[tokio::test]
async fn what_only_the_cloud_can_check_parks_its_row_alone() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(MORE).await;
    let cloud = cloud.prepared_again().await;
    cloud
        .run(&format!(
            "INSERT INTO marks (id, production_id, note, label, place, span, code) VALUES ('m0', '{p}', 'open', 'Ada', 'x', '[1,5)', 'c0')"
        ))
        .await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        mark(&site, &p, "fine", json!({"note": "closed", "label": "Bo", "place": "y", "span": "[5,9)", "a": 1, "b": 2})),
        mark(&site, &p, "open", json!({"note": "open"})),
        mark(&site, &p, "label", json!({"label": "ADA"})),
        mark(&site, &p, "place", json!({"place": "x"})),
        mark(&site, &p, "span", json!({"span": "[3,4)"})),
        mark(&site, &p, "order", json!({"a": 2, "b": 1})),
        mark(&site, &p, "null", json!({"code": null})),
        mark(&site, &p, "null2", json!({"code": null})),
        mark(&site, &p, "last", json!({"note": "closed"})),
    ];
    let answers = site.push(rows).await;
    let expected = ["exact", "held", "held", "held", "held", "held", "exact", "held", "exact"];
    assert_eq!(verdicts(&answers), expected, "{:#?}", site.reasons().await);
    let mut reasons = site.reasons().await;
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "check marks order: new row for relation \"marks\" violates check constraint \"marks_order\"",
            "check marks span: conflicting key value violates exclusion constraint \"marks_span\"",
            "unique marks label: another row of marks has the same lower(label) (by marks_label, an index of the cloud's own: change that row there, or decide MANUAL with another value)",
            "unique marks null2: another row of marks has the same code",
            "unique marks open: another row of marks has the same production_id (by marks_open, an index of the cloud's own: change that row there, or decide MANUAL with another value)",
            "unique marks place: another row of marks has the same place",
        ]
    );
    let sum: i32 = cloud.one("SELECT sum FROM marks WHERE id = 'fine'").await;
    assert_eq!(sum, 3, "what the database makes is its own");
}

#[tokio::test]
async fn values_that_change_hands_under_a_deferred_constraint_are_taken_together() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(MORE).await;
    let cloud = cloud.prepared_again().await;
    cloud.run(&format!("INSERT INTO marks (id, production_id, place, code) VALUES ('a', '{p}', 'x', 'a'), ('b', '{p}', 'y', 'b')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![site.update("marks", "a", &json!({"place": "y"})), site.update("marks", "b", &json!({"place": "x"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"], "{:?}", site.reasons().await);
}

#[tokio::test]
async fn a_key_that_the_database_always_makes_is_written_as_the_site_has_it() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud
        .run("CREATE TABLE notes (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, production_id uuid NOT NULL REFERENCES productions, text text)")
        .await;
    let cloud = cloud.prepared_again().await;
    cloud.run(&format!("INSERT INTO notes (production_id, text) VALUES ('{p}', 'first'), ('{p}', 'second')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![site.update("notes", "1", &json!({"text": "edited"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact"], "{:?}", site.reasons().await);
    // Another key nobody gives it, also not one that the sequence has passed: it parks, and the push goes on.
    cloud.run("SELECT setval(pg_get_serial_sequence('notes', 'id'), 100)").await;
    let rows = vec![site.rekey("notes", "1", "70", &json!({})), site.update("notes", "2", &json!({"text": "too"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["parked", "exact"]);
    let reason = "rejected notes 1: id is made by PostgreSQL alone (GENERATED ALWAYS AS IDENTITY) and cannot be changed";
    assert_eq!(site.reasons().await, [reason]);
    assert_eq!(cloud.one::<String>("SELECT string_agg(id || text, ' ' ORDER BY id) FROM notes").await, "1edited 2too");
}

#[tokio::test]
async fn what_an_index_of_the_clouds_own_refuses_is_refused_again_in_words_until_it_is_free() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(MORE).await;
    let cloud = cloud.prepared_again().await;
    cloud.run(&format!("INSERT INTO marks (id, production_id, label, code) VALUES ('m0', '{p}', 'Ada', 'c0')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    assert_eq!(verdicts(&site.push(vec![mark(&site, &p, "label", json!({"label": "ADA"}))]).await), ["held"]);
    let conflict = sync_core::id::ConflictId(cloud.one("SELECT id FROM rejoin.sync_conflicts").await);
    let decide = |resolution, values: Vec<_>| sync_core::wire::message::ResolveCommand {
        conflict,
        revision: 1,
        cloud_etag: None,
        resolution,
        values,
        by: "eve".to_owned(),
        way: sync_core::conflict::Way::Plain,
        besides: None,
    };
    use cloud_server::store::conflicts::resolve;
    use sync_core::conflict::Resolution::{LocalWins, Manual};
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &decide(LocalWins, Vec::new())).await.unwrap_err().to_string();
    assert!(refused.contains("marks_label") && refused.contains("MANUAL"), "{refused}");
    assert_eq!(cloud.count("marks").await, 1, "nothing was deleted for it");
    let label = cloud.table("marks").column_named("label").unwrap().no;
    let values = vec![(label, sync_core::value::Value::Text("Eve".into()))];
    let command = sync_core::wire::message::ResolveCommand {
        revision: cloud.one("SELECT revision FROM rejoin.sync_conflicts").await,
        ..decide(Manual, values)
    };
    resolve(&cloud.db, &cloud.catalog, "eve", &command).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT string_agg(label, ' ' ORDER BY id) FROM marks").await, "Eve Ada");
}
