//! Two rows that are one: references follow, also those of later pushes, and it can be taken back.

use cloud_server::store::conflicts::resolve;
use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::change::{Confirmed, Verdict};
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::value::Value;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::Cloud;
use crate::deciding::{column, command, open, source};
use crate::site::{Site, id, verdict, verdicts};
use crate::undo::undo;

fn same(conflict: &Conflict, resolution: Resolution) -> ResolveCommand {
    ResolveCommand { way: Way::SameRow, ..command(conflict, resolution) }
}

/// The site's source 2 wants the slot of the cloud's source 1; an output and a source hang from it.
async fn twins<'c>(cloud: &'c Cloud) -> (Site<'c>, Conflict) {
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&theirs]).await;
    cloud.run("UPDATE sources SET name = 'theirs', width = 7").await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![
        source(&site, &mine, &p, 1),
        site.insert("outputs", &json!({"source_id": mine, "port": "1", "label": "o"})),
        site.insert("sources", &json!({"id": id('s', 3), "production_id": p, "name": "s3", "slot": 3, "number": 3, "above": mine})),
    ];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held"]);
    let conflict = open(cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    (site, conflict)
}

#[tokio::test]
async fn what_hangs_from_the_sites_row_hangs_from_the_clouds_afterwards() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = twins(&cloud).await;
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await.unwrap();
    assert_eq!((done.resolution, open(&cloud).await.len()), (Resolution::CloudWins, 0));
    let theirs = id('s', 1);
    assert_eq!(cloud.one::<String>(&format!("SELECT name FROM sources WHERE id = '{theirs}'")).await, "theirs");
    assert_eq!(cloud.one::<String>("SELECT source_id::text FROM outputs").await, theirs);
    assert_eq!(cloud.one::<String>(&format!("SELECT above::text FROM sources WHERE id = '{}'", id('s', 3))).await, theirs);
    site.pull().await;
    site.assert_same_as_cloud().await;

    undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.count("sources").await, cloud.count("outputs").await, open(&cloud).await.len()), (1, 0, 3));
    assert_eq!(cloud.count("rejoin.merged_rows").await, 0);
}

#[tokio::test]
async fn the_clouds_row_takes_the_sites_values_or_the_given_ones() {
    let cloud = Cloud::start().await;
    let (_, conflict) = twins(&cloud).await;
    let row = "SELECT concat_ws(' ', id, name, width, slot) FROM sources ORDER BY slot LIMIT 1";
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::LocalWins)).await.unwrap();
    assert_eq!(cloud.one::<String>(row).await, format!("{} s1 1", id('s', 1)), "the width that the site has not is gone");
    let again = undo(&cloud, &done).await.unwrap();
    let mut manual = same(&again, Resolution::Manual);
    manual.values = vec![(column(&cloud, "name"), Value::Text("both".into()))];
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.one::<String>(row).await, format!("{} both 7 1", id('s', 1)));
    cloud.run("UPDATE outputs SET label = 'edited'").await;
    assert!(matches!(undo(&cloud, &done).await, Err(BackendError::Outdated(_))), "an output that came in with it was edited");
}

#[tokio::test]
async fn only_a_refused_unique_value_makes_two_rows_one() {
    let cloud = Cloud::start().await;
    let (_, conflict) = crate::deciding::clashed(&cloud).await;
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await;
    assert!(matches!(refused, Err(BackendError::Undecidable(_))), "{refused:?}");
}

#[tokio::test]
async fn later_pushes_that_name_the_lost_row_are_taken_as_of_the_other_one() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = twins(&cloud).await;
    resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await.unwrap();
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    // Made offline, before the site knew.
    let rows = vec![
        site.insert("outputs", &json!({"source_id": mine, "port": "2", "label": "later"})),
        site.insert("sources", &json!({"id": id('s', 4), "production_id": p, "name": "s4", "slot": 4, "number": 4, "above": mine})),
    ];
    let answers = site.push(rows).await;
    assert_eq!(answers.iter().map(|answer| answer.verdict.clone()).collect::<Vec<_>>(), [Verdict::Accepted, Verdict::Accepted]);
    // Its key has changed: the row that the site knows is gone.
    assert_eq!(answers[0].confirmed, Confirmed::Nothing);
    assert!(matches!(&answers[1].confirmed, Confirmed::Image(_)), "{:?}", answers[1]);
    assert_eq!(answers[1].merged, [column(&cloud, "above")]);
    assert_eq!(cloud.count(&format!("outputs WHERE source_id = '{theirs}'")).await, 2);
    assert_eq!(cloud.count(&format!("sources WHERE above = '{theirs}'")).await, 2);
    site.pull().await;
    site.assert_same_as_cloud().await;
    // An edit that refers to it, and one of the row itself, which never was at the cloud.
    let edit = site.update("sources", &id('s', 4), &json!({"above": mine, "name": "edited"}));
    assert_eq!(verdict(&site.push_one(edit).await), "image");
    assert_eq!(cloud.count(&format!("sources WHERE above = '{theirs}' AND name = 'edited'")).await, 1);
    assert_eq!(open(&cloud).await.len(), 0);
}

#[tokio::test]
async fn chains_of_rows_made_one_are_followed() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = twins(&cloud).await;
    resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await.unwrap();
    let (p, theirs, last) = (id('p', 1), id('s', 1), id('s', 9));
    // The cloud's row, in turn, wants the slot of another one.
    cloud.run(&format!("INSERT INTO sources (id, production_id, name, slot) VALUES ('{last}', '{p}', 'last', 9)")).await;
    site.pull().await;
    let change = site.update("sources", &theirs, &json!({"slot": 9, "height": 5}));
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let conflict = open(&cloud).await.remove(0);
    assert_eq!((conflict.kind, conflict.held), (ConflictKind::Unique, false));
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::LocalWins)).await.unwrap();
    let row: String = cloud.one(&format!("SELECT concat_ws(' ', name, width, height, slot) FROM sources WHERE id = '{last}'")).await;
    assert_eq!(row, "theirs 7 5 9");
    assert_eq!(cloud.count(&format!("sources WHERE id = '{theirs}'")).await, 0);
    assert_eq!(cloud.count(&format!("outputs WHERE source_id = '{last}'")).await, 1, "living rows follow too");
    site.pull().await;
    site.assert_same_as_cloud().await;
    let output = site.insert("outputs", &json!({"source_id": id('s', 2), "port": "5", "label": "far"}));
    assert_eq!(verdict(&site.push_one(output).await), "image");
    assert_eq!(cloud.count(&format!("outputs WHERE source_id = '{last}'")).await, 2);

    cloud.run("DELETE FROM outputs WHERE port = '5'").await;
    undo(&cloud, &done).await.unwrap();
    assert_eq!(cloud.one::<String>(&format!("SELECT name FROM sources WHERE id = '{last}'")).await, "last");
    assert_eq!(cloud.count(&format!("outputs WHERE source_id = '{theirs}'")).await, 1);
    assert_eq!(cloud.count(&format!("sources WHERE above = '{theirs}'")).await, 1);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_dependent_that_clashes_once_it_follows_stays_parked() {
    let cloud = Cloud::start().await;
    let (_, conflict) = twins(&cloud).await;
    let theirs = id('s', 1);
    cloud.run(&format!("INSERT INTO outputs VALUES ('{theirs}', '1', 'theirs')")).await;
    resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await.unwrap();
    let rest = open(&cloud).await;
    assert_eq!((rest.len(), rest[0].table_name.as_str(), rest[0].root), (1, "outputs", None));
    assert_eq!(rest[0].local_data, Some(json!({"source_id": theirs, "port": "1", "label": "o"})), "as it would be");
    let port = cloud.table("outputs").column_named("port").unwrap().no;
    let manual = ResolveCommand { values: vec![(port, Value::Text("2".into()))], ..command(&rest[0], Resolution::Manual) };
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.count("outputs").await, 2);
}

#[tokio::test]
async fn a_key_that_holds_the_reference_takes_what_refers_to_it_along() {
    let mut cloud = Cloud::start().await;
    let cables = "CREATE TABLE cables (id text PRIMARY KEY, source_id uuid NOT NULL, port text NOT NULL,
               FOREIGN KEY (source_id, port) REFERENCES outputs ON UPDATE CASCADE ON DELETE CASCADE)";
    cloud.run(cables).await;
    cloud = cloud.prepared_again().await;
    let (p, mine, theirs) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&mine, &theirs]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{mine}', '1', 'o'); INSERT INTO cables VALUES ('c', '{mine}', '1')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &mine, &json!({"slot": 2}));
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let conflict = open(&cloud).await.remove(0);
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &same(&conflict, Resolution::CloudWins)).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT source_id::text FROM cables").await, theirs);
    // A cable that the site made meanwhile, and an edit of the output under the key that it had.
    let rows = vec![
        site.insert("cables", &json!({"id": "d", "source_id": mine, "port": "1"})),
        site.update("outputs", &format!("{mine},1"), &json!({"label": "edited"})),
    ];
    let answers = site.push(rows).await;
    assert_eq!(answers.iter().map(|answer| answer.verdict.clone()).collect::<Vec<_>>(), [Verdict::Accepted, Verdict::Accepted]);
    assert_eq!(cloud.count(&format!("cables WHERE source_id = '{theirs}'")).await, 2);
    assert_eq!(cloud.one::<String>("SELECT source_id || label FROM outputs").await, format!("{theirs}edited"));
    assert!(matches!(undo(&cloud, &done).await, Err(BackendError::Outdated(_))), "edited since");
}
