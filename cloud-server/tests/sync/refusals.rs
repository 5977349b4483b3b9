//! What a constraint, a type or a trigger refuses is found among many, parked with its dependents, and stops nobody else.

use serde_json::json;
use sync_core::change::RowChange;

use crate::cloud::Cloud;
use crate::site::{Site, id, verdict, verdicts};

fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

#[tokio::test]
async fn guilty_rows_of_every_kind_are_isolated_in_a_large_push() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1), &id('s', 2)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let mut rows: Vec<RowChange> = (10..300).map(|no| source(&site, &id('s', no), &p, i64::from(no))).collect();
    let mut expected = vec!["exact"; rows.len()];
    let with = |no: u32, values: serde_json::Value| {
        let mut all = json!({"id": id('s', no), "production_id": p, "name": "x", "slot": no, "number": no});
        all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        site.insert("sources", &all)
    };
    for (place, row, word) in [
        (20, with(500, json!({"slot": 1})), "held"), // taken by a row of the cloud
        (60, with(501, json!({"slot": 500})), "exact"),
        (61, with(502, json!({"slot": 500})), "held"),             // taken by a row of the push
        (100, with(503, json!({"slot": -1})), "held"),             // check
        (140, with(504, json!({"name": "n".repeat(41)})), "held"), // too long for its type
        (180, with(505, json!({"kind": "nowhere"})), "held"),      // foreign key
        (220, with(506, json!({"above": id('s', 999)})), "held"),  // foreign key to the own table
        (221, with(507, json!({"above": id('s', 506)})), "held"),  // hangs from the one before
        (260, with(508, json!({"name": null})), "held"),           // NOT NULL
        (261, site.update("sources", &id('s', 2), &json!({"slot": 1})), "parked"), // unique, of an update
        (262, site.insert("marks", &json!({"id": "m", "production_id": id('p', 77)})), "held"), // names no scope
    ] {
        rows.insert(place, row);
        expected.insert(place, word);
    }
    let answers = site.push(rows).await;
    assert_eq!(verdicts(&answers), expected, "{:#?}", site.reasons().await);
    let kinds: String = cloud.one("SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (SELECT kind, count(*) n FROM rejoin.sync_conflicts GROUP BY kind) k").await;
    assert_eq!(kinds, "check 3, foreign_key 4, unique 3");
    // What stands against a row is named, a row of the same push too.
    let against = "SELECT array_agg(cloud_record_id ORDER BY record_id) FROM rejoin.sync_conflicts WHERE kind = 'unique' AND held";
    assert_eq!(cloud.one::<Vec<String>>(against).await, [id('s', 1), id('s', 501)]);
}

#[tokio::test]
async fn a_refused_update_keeps_its_edits_and_the_cloud_row_is_shown() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s, &id('s', 2)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let answer = site.push_one(site.update("sources", &s, &json!({"slot": 2, "name": "renamed"}))).await;
    assert_eq!((verdict(&answer), answer.clashed.len()), ("parked", 2));
    let (data, columns, against): (serde_json::Value, Vec<String>, String) = {
        let row = cloud.sql.query_one("SELECT local_data, columns, cloud_record_id FROM rejoin.sync_conflicts", &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    };
    assert_eq!((&data["slot"], &data["name"], &data["production_id"]), (&json!(2), &json!("renamed"), &json!(p)));
    assert_eq!((columns, against), (vec!["name".to_owned(), "slot".to_owned()], id('s', 2)));
    assert_eq!(site.value("sources", &s, "slot"), json!(1), "the site shows the cloud's state");
}

#[tokio::test]
async fn a_trigger_of_the_users_that_raises_parks_its_row_as_check() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s, &id('s', 2)]).await;
    cloud
        .run(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.name = 'bad' THEN RAISE 'that name is not wanted'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER no BEFORE UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION no();",
        )
        .await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![site.update("sources", &s, &json!({"name": "bad"})), site.update("sources", &id('s', 2), &json!({"name": "good"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["parked", "exact"]);
    assert_eq!(site.reasons().await, [format!("check sources {s}: that name is not wanted")]);
}

#[tokio::test]
async fn what_an_index_cannot_hold_or_a_broken_trigger_refuses_parks_that_row_alone() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud
        .run(
            "CREATE INDEX ON marks (note);
             CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.note = 'limit' THEN RAISE 'too much' USING ERRCODE = '54000'; END IF;
                 IF NEW.note = 'unknown' THEN PERFORM no_such_function(); END IF;
                 IF NEW.note = 'column' THEN PERFORM no_such_column FROM kinds; END IF;
                 IF NEW.note = 'feature' THEN RAISE 'not made' USING ERRCODE = '0A000'; END IF;
                 RETURN NEW; END $$;
             CREATE TRIGGER broken BEFORE INSERT ON marks FOR EACH ROW EXECUTE FUNCTION broken();",
        )
        .await;
    // Nothing that compresses: a B-tree takes 2704 bytes.
    let long: String = cloud.one("SELECT string_agg(md5(n::text), '') FROM generate_series(1, 400) n").await;
    let mut site = cloud.site("a", &[&p]).await;
    let mark = |id: &str, note: &str| site.insert("marks", &json!({"id": id, "production_id": p, "note": note}));
    let notes = ["a", &long, "b", "limit", "unknown", "c", "column", "feature", "d"];
    let rows = notes.iter().enumerate().map(|(no, note)| mark(&no.to_string(), note)).collect();
    let answers = site.push(rows).await;
    let expected = ["exact", "held", "exact", "held", "held", "exact", "held", "held", "exact"];
    assert_eq!(verdicts(&answers), expected, "{:#?}", site.reasons().await);
    assert!(site.reasons().await.iter().all(|reason| reason.starts_with("check marks")), "{:?}", site.reasons().await);
}

#[tokio::test]
async fn a_deferred_constraint_is_asked_before_the_answer() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run("ALTER TABLE marks ADD COLUMN other text REFERENCES marks DEFERRABLE INITIALLY DEFERRED").await;
    let cloud = cloud.prepared_again().await;
    let mut site = cloud.site("a", &[&p]).await;
    let mark = |id: &str, other: serde_json::Value| site.insert("marks", &json!({"id": id, "production_id": p, "other": other}));
    let rows = vec![mark("a", json!("b")), mark("b", json!("a")), mark("c", json!("nowhere")), mark("d", json!(null))];
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact", "held", "exact"], "{:?}", site.reasons().await);
}

#[tokio::test]
async fn a_key_inserted_by_somebody_else_meanwhile_is_looked_at_again() {
    let cloud = Cloud::start().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[]).await;
    cloud.production(&p2, &[]).await;
    let mut site = cloud.site("a", &[&p1]).await;
    let other = crate::cloud::connect(cloud.url()).await;
    other
        .batch_execute(&format!("BEGIN; INSERT INTO sources (id, production_id, name, slot) VALUES ('{s}', '{p2}', 'x', 1)"))
        .await
        .unwrap();
    let push = site.next_push(vec![source(&site, &s, &p1, 1)]);
    let body = sync_core::wire::codec::encode(&push).unwrap();
    let (answer, ()) = tokio::join!(site.send(&body), async {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        other.batch_execute("COMMIT").await.unwrap();
    });
    site.take_answer(&push, &body, &answer.unwrap());
    assert_eq!(site.reasons().await.len(), 1);
    assert!(site.reasons().await[0].starts_with("rejected"), "{:?}", site.reasons().await);
}

#[tokio::test]
async fn edits_of_a_dropped_column_or_table_park_under_their_old_names_and_the_rest_is_taken() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s, &id('s', 2)]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('m1', '{p}', 'old')")).await;
    let (first, second) = {
        let mut site = cloud.site("a", &[&p]).await;
        site.pull().await;
        let first = vec![
            site.update("sources", &s, &json!({"width": 1920, "name": "renamed"})),
            site.insert("sources", &json!({"id": id('s', 3), "production_id": p, "name": "new", "slot": 3, "number": 3, "width": 720})),
            site.update("marks", "m1", &json!({"note": "new"})),
            site.insert("marks", &json!({"id": "m2", "production_id": p, "note": "mine"})),
        ];
        (first, vec![site.update("sources", &s, &json!({"width": 1280}))])
    };
    cloud.run("ALTER TABLE sources DROP COLUMN width; DROP TABLE marks").await;
    let cloud = cloud.prepared_again().await;
    let mut site = cloud.site("b", &[&p]).await;
    let answers = site.push(first).await;
    assert_eq!(verdicts(&answers), ["parked"; 4], "{:#?}", site.reasons().await);
    let shown = "SELECT string_agg(table_name || ' ' || kind || ' ' || array_to_string(columns, ',') || ' ' || coalesce(base_data ->> 'width', base_data ->> 'note', '-')
        || '>' || coalesce(local_data ->> 'width', local_data ->> 'note') || ' ' || held || ' ' || reason, '; ' ORDER BY table_name, record_id) FROM rejoin.sync_conflicts";
    let shown: String = cloud.one(shown).await;
    assert_eq!(
        shown,
        "marks schema  old>new false the table marks is no longer synced; marks schema  ->mine false the table marks is no longer synced; \
         sources schema width ->1920 false sources no longer has the column width; \
         sources schema width ->720 false sources no longer has the column width"
    );
    let names: String = cloud.one("SELECT string_agg(name, ',' ORDER BY slot) FROM sources").await;
    assert!(names.starts_with("renamed,") && names.ends_with(",new"), "{names}");
    // A later edit joins the conflict.
    site.push(second).await;
    let joined: String = cloud
        .one(&format!("SELECT (local_data ->> 'width') || ' ' || revision || ' ' || array_to_string(columns, ',') FROM rejoin.sync_conflicts WHERE record_id = '{s}'"))
        .await;
    assert_eq!(joined, "1280 2 width");
}

#[tokio::test]
async fn what_the_database_forbids_parks_as_rejected_and_stops_nobody_else() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud
        .run(
            "CREATE FUNCTION only_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF current_setting('rejoin.replica', true) <> '' THEN RAISE insufficient_privilege USING MESSAGE = 'not from a site'; END IF;
                 RETURN NEW; END $$;
             CREATE TRIGGER only_here BEFORE UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION only_here()",
        )
        .await;
    let answers = site.push(vec![site.update("sources", &s, &json!({"name": "renamed"})), source(&site, &id('s', 2), &p, 2)]).await;
    assert_eq!(verdicts(&answers), ["parked", "exact"]);
    let parked = "SELECT kind || ': ' || reason FROM rejoin.sync_conflicts";
    assert_eq!(cloud.one::<String>(parked).await, "rejected: not from a site");
}
