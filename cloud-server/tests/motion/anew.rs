//! Tables that were made anew: rows may be gone without a trace, so every row is fed again under a new generation.

use serde_json::json;

use crate::Away;
use crate::cloud::Cloud;
use crate::site::{id, verdict};

async fn marked() -> (Cloud, String) {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    cloud.run(&format!("INSERT INTO marks VALUES ('a', '{p}', '1'), ('b', '{p}', '1'), ('c', '{p}', '1'), ('d', '{p}', '1')")).await;
    cloud.run("DELETE FROM marks WHERE id IN ('c', 'd')").await;
    (cloud, p)
}

#[tokio::test]
async fn a_table_dropped_and_made_again_keeps_its_number_and_raises_its_generation() {
    let (cloud, p) = marked().await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let no = cloud.table("marks").no;
    let away = Away::of(&site);
    // Row a is gone with the table, b stays, c lives again, d stays deleted.
    cloud
        .run(&format!(
            "DROP TABLE marks; CREATE TABLE marks (id text PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, note text);
             INSERT INTO marks VALUES ('b', '{p}', '2'), ('c', '{p}', '2')"
        ))
        .await;
    let ticks = cloud.ticks().await;
    let cloud = cloud.prepared_again().await;
    let marks = cloud.table("marks");
    assert_eq!((marks.no, marks.generation), (no, 1));
    assert_eq!(cloud.gone("marks").await, ["d"], "what lives again is not buried");
    assert!(cloud.ticks().await > ticks);
    let mut site = away.back(&cloud);
    let pulled = site.pull().await;
    let rows: Vec<&str> = pulled.rows.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!((rows, pulled.gone.len()), (vec!["b", "c"], 0), "a does not come: its site lets it go by the generation");
    assert_eq!(site.value("marks", "c", "note"), json!("2"));
    // Nothing more the next time.
    let version = cloud.catalog.version;
    let cloud = cloud.prepared_again().await;
    assert_eq!((cloud.catalog.version, cloud.table("marks").generation), (version, 1));
}

#[tokio::test]
async fn a_table_that_came_back_after_somebody_looked_is_another_one() {
    let (cloud, p) = marked().await;
    let no = cloud.table("marks").no;
    cloud.run("DROP TABLE marks").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.count("rejoin.tombstones").await, 0, "what is left of its rows is of no use");
    cloud.run("CREATE TABLE marks (id text PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, note text)").await;
    let cloud = cloud.prepared_again().await;
    assert!(cloud.table("marks").no > no);
    assert_eq!(cloud.table("marks").generation, 0);
    let _ = p;
}

#[tokio::test]
async fn a_column_made_again_with_another_type_is_fed_again() {
    let (cloud, p) = marked().await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let away = Away::of(&site);
    let no = cloud.table("marks").column_named("note").unwrap().no;
    cloud.run("ALTER TABLE marks DROP note, ADD note integer DEFAULT 4").await;
    let cloud = cloud.prepared_again().await;
    assert_eq!(cloud.table("marks").column_named("note").unwrap().no, no);
    let mut site = away.back(&cloud);
    assert_eq!(site.pull().await.rows.len(), 2);
    assert_eq!(site.value("marks", "a", "note"), json!(4));
}

#[tokio::test]
async fn conflicts_of_a_table_that_was_left_out_for_a_while_can_be_decided_when_it_is_back() {
    let (cloud, p) = marked().await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        site.update("marks", "a", &json!({"note": "mine"})),
        site.insert("marks", &json!({"id": "e", "production_id": p, "note": "new"})),
    ];
    let away = Away::of(&site);
    let settings = "root = 'productions'\nglobal = ['kinds']\n";
    let cloud = cloud.prepared_with(&format!("left_out = ['marks']\n{settings}")).await;
    let mut site = away.back(&cloud);
    let answers = site.push(rows).await;
    assert_eq!([verdict(&answers[0]), verdict(&answers[1])], ["parked", "parked"]);
    let cloud = cloud.prepared_with(settings).await;
    assert_eq!(cloud.table("marks").generation, 1);
    cloud.run("UPDATE marks SET note = 'theirs' WHERE id = 'a'").await;
    for _ in 0..2 {
        let (conflict, etag) = crate::decisions::open(&cloud).await;
        crate::decisions::local_wins(&cloud, conflict, etag).await;
    }
    let notes: String = cloud.one("SELECT string_agg(id || ' ' || note, ', ' ORDER BY id) FROM marks").await;
    assert_eq!(notes, "a mine, b 1, e new");
}
