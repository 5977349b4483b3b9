//! Which way tables travel and for how long their rows are kept; rows that several ways lead to a scope, or none.

use cloud_server::store::digest::digests;
use serde_json::json;

use crate::cloud::Cloud;
use crate::site::{id, verdict, verdicts};

const TABLES: &str = "
    CREATE TABLE rules (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, line text);
    CREATE TABLE readings (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, line text);
    CREATE TABLE logs (id uuid PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, line text);
    CREATE TABLE remarks (id uuid PRIMARY KEY, log_id uuid NOT NULL REFERENCES logs, line text);
    CREATE TABLE notes (id uuid PRIMARY KEY, production_id uuid REFERENCES productions, kind text, about text, line text);
    CREATE INDEX ON notes (kind, about);";

const SETTINGS: &str = "root = 'productions'
global = ['kinds']
[tables.rules]
travel = 'down'
[tables.readings]
travel = 'up'
[tables.logs]
keep = '24h'
[tables.remarks]
keep = '48h'
[tables.notes]
references = [{ columns = ['about'], kind = 'kind', tables = { source = 'sources', production = 'productions' } }]
";

async fn cloud() -> Cloud {
    let cloud = Cloud::start().await;
    cloud.run(TABLES).await;
    cloud.prepared_with(SETTINGS).await
}

/// Ages a row, which nobody may do who goes by the triggers.
async fn age(cloud: &Cloud, table: &str, id: &str, hours: i64) {
    cloud
        .run(&format!(
            "BEGIN; ALTER TABLE {table} DISABLE TRIGGER USER;
             UPDATE {table} SET rejoin_updated_at = now() - interval '{hours} hours' WHERE id = '{id}';
             ALTER TABLE {table} ENABLE TRIGGER USER; COMMIT"
        ))
        .await;
}

#[tokio::test]
async fn what_travels_down_is_not_taken_from_a_site() {
    let cloud = cloud().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO rules VALUES ('{}', '{p}', 'a')", id('r', 1))).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    assert!(site.has("rules", &id('r', 1)));
    let rows = vec![
        site.insert("rules", &json!({"id": id('r', 2), "production_id": p, "line": "b"})),
        site.update("rules", &id('r', 1), &json!({"line": "c"})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "parked"]);
    assert_eq!(verdict(&site.push_one(site.delete("rules", &id('r', 1))).await), "parked");
    let reasons = site.reasons().await;
    assert!(reasons.iter().all(|reason| reason.contains(": rules travels down only")), "{reasons:?}");
    assert_eq!((cloud.count("rules").await, cloud.count("rejoin.sync_conflicts WHERE kind = 'rejected'").await), (1, 2));
}

#[tokio::test]
async fn what_travels_up_is_never_sent_to_a_site_and_no_digest_holds_it() {
    let cloud = cloud().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let before = digests(&cloud.db, &cloud.catalog, None).await.unwrap();
    assert_eq!(
        verdict(&site.push_one(site.insert("readings", &json!({"id": id('r', 1), "production_id": p, "line": "1"}))).await),
        "exact"
    );
    cloud.run(&format!("INSERT INTO readings VALUES ('{}', '{p}', 'a'); DELETE FROM readings WHERE line = '1'", id('r', 2))).await;
    let mut other = cloud.site("b", &["*"]).await;
    for site in [&mut site, &mut other] {
        let pulled = site.pull().await;
        assert!(pulled.gone.is_empty() && pulled.rows.iter().all(|(table, _)| table != "readings"), "{pulled:?}");
    }
    assert_eq!(digests(&cloud.db, &cloud.catalog, None).await.unwrap(), before);
    assert!(before.tables.iter().all(|table| table.table != "public.readings" && table.table != "public.logs"));
    // As soon as it travels both ways, sites have what they were not sent.
    let cloud = cloud_again(cloud, &SETTINGS.replace("travel = 'up'", "travel = 'both'")).await;
    let mut site = cloud.site("c", &[&p]).await;
    site.pull().await;
    assert!(site.has("readings", &id('r', 2)));
}

async fn cloud_again(cloud: Cloud, settings: &str) -> Cloud {
    let before = cloud.one::<i64>("SELECT max(rejoin_tick) FROM readings").await;
    let cloud = cloud.prepared_with(settings).await;
    assert!(cloud.one::<i64>("SELECT max(rejoin_tick) FROM readings").await > before, "fed again");
    cloud
}

#[tokio::test]
async fn a_first_sync_carries_only_rows_that_are_kept_and_those_that_they_refer_to() {
    let cloud = cloud().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let [young, old, named, stale] = [1, 2, 3, 4].map(|no| id('c', no));
    for log in [&young, &old, &named, &stale] {
        cloud.run(&format!("INSERT INTO logs VALUES ('{log}', '{p}', 'x')")).await;
    }
    cloud.run(&format!("INSERT INTO remarks VALUES ('{}', '{named}', 'y'), ('{}', '{stale}', 'z')", id('d', 1), id('d', 2))).await;
    age(&cloud, "remarks", &id('d', 1), 47).await;
    age(&cloud, "remarks", &id('d', 2), 49).await;
    for log in [&old, &named, &stale] {
        age(&cloud, "logs", log, 25).await;
    }
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let has = |log: &str| site.has("logs", log);
    assert_eq!([has(&young), has(&old), has(&named), has(&stale)], [true, false, true, false]);
    assert_eq!([site.has("remarks", &id('d', 1)), site.has("remarks", &id('d', 2))], [true, false]);
    // What the cloud changes comes, however old it was.
    cloud.run(&format!("UPDATE logs SET line = 'again' WHERE id = '{old}'")).await;
    site.pull().await;
    assert!(site.has("logs", &old));
}

#[tokio::test]
async fn a_row_goes_where_the_first_of_its_ways_leads_and_a_row_that_names_nothing_stays() {
    let cloud = cloud().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[]).await;
    cloud.production(&p2, &[&s]).await;
    let note = id('b', 1);
    cloud.run(&format!("INSERT INTO notes (id, kind, about) VALUES ('{note}', 'source', '{s}'), ('{}', 'x', '{s}')", id('b', 2))).await;
    let (mut one, mut two, mut all) = (cloud.site("a", &[&p1]).await, cloud.site("b", &[&p2]).await, cloud.site("c", &["*"]).await);
    let at = |site: &crate::site::Site<'_>| site.has("notes", &note);
    for site in [&mut one, &mut two, &mut all] {
        site.pull().await;
        assert!(!site.has("notes", &id('b', 2)), "what is nowhere stays at the cloud");
    }
    assert_eq!([at(&one), at(&two), at(&all)], [false, true, true]);
    // A shorter way goes before.
    cloud.run(&format!("UPDATE notes SET production_id = '{p1}' WHERE id = '{note}'")).await;
    for site in [&mut one, &mut two, &mut all] {
        site.pull().await;
    }
    assert_eq!([at(&one), at(&two), at(&all)], [true, false, true]);
    cloud.run(&format!("UPDATE notes SET production_id = NULL, kind = NULL WHERE id = '{note}'")).await;
    for site in [&mut one, &mut two, &mut all] {
        site.pull().await;
    }
    assert_eq!([at(&one), at(&two), at(&all)], [false, false, false]);
}

#[tokio::test]
async fn a_pushed_row_goes_with_what_it_names_and_never_nowhere() {
    let cloud = cloud().await;
    let (p1, p2, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p1, &[]).await;
    cloud.production(&p2, &[&s]).await;
    let note = id('b', 1);
    cloud.run(&format!("INSERT INTO notes (id, production_id) VALUES ('{note}', '{p1}')")).await;
    let (mut one, mut two, mut all) = (cloud.site("a", &[&p1]).await, cloud.site("b", &[&p2]).await, cloud.site("c", &["*"]).await);
    for site in [&mut one, &mut two, &mut all] {
        site.pull().await;
    }
    let away = one.update("notes", &note, &json!({"production_id": null, "kind": null}));
    assert_eq!(verdict(&one.push_one(away).await), "parked");
    assert!(one.reasons().await[0].contains("lead to no row that a site holds"), "{:?}", one.reasons().await);
    assert_eq!(verdict(&all.push_one(all.insert("notes", &json!({"id": id('b', 3), "line": "x"}))).await), "held");
    let (source, about) = (id('s', 2), id('b', 4));
    let rows = vec![
        two.insert("sources", &json!({"id": source, "production_id": p2, "name": "s", "slot": 2, "number": 2})),
        two.insert("notes", &json!({"id": about, "kind": "source", "about": source})),
    ];
    assert_eq!(verdicts(&two.push(rows).await), ["exact", "exact"]);
    assert_eq!(cloud.one::<String>(&format!("SELECT rejoin_scope FROM notes WHERE id = '{about}'")).await, format!("productions/{p2}"));
}
