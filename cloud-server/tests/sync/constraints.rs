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
            "unique marks label: another row of marks has the same lower(label)",
            "unique marks null2: another row of marks has the same code",
            "unique marks open: another row of marks has the same production_id",
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
    cloud.run(&format!("INSERT INTO notes (production_id, text) VALUES ('{p}', 'first')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![site.update("notes", "1", &json!({"text": "edited"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact"], "{:?}", site.reasons().await);
}
