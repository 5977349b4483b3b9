//! Conflicts: parked whole, joined, shown, resolved once, with what hangs from them.

use cloud_server::store::conflicts::{get, list, resolve};
use conflict_ui_api::backend::{Conflict, ConflictFilter, ConflictQuery};
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::change::Confirmed;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::value::Value;
use sync_core::wire::message::CommandAnswer;

use crate::cloud::Cloud;
use crate::deciding::{clashed, column, command, decide, open, source};
use crate::site::{id, verdict, verdicts};

#[tokio::test]
async fn a_clash_parks_its_column_with_all_sides_and_takes_the_rest() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    assert_eq!((conflict.kind, conflict.columns.as_slice(), conflict.held), (ConflictKind::UpdateUpdate, &["name".to_owned()][..], false));
    assert_eq!(conflict.base_data, Some(json!({"name": "s1", "width": null})));
    let (theirs, mine) = (conflict.cloud_data.as_ref().unwrap(), conflict.local_data.as_ref().unwrap());
    assert_eq!((&theirs["name"], &theirs["width"], &mine["name"]), (&json!("theirs"), &json!(1), &json!("mine")));
    assert_eq!((conflict.site.as_str(), conflict.push, conflict.revision), ("a", 1, 1));
    assert!(conflict.cloud_etag.is_some());
    assert_eq!(site.value("sources", &id('s', 1), "name"), json!("theirs"), "the cloud's state everywhere");
    assert_eq!(site.value("sources", &id('s', 1), "width"), json!(1));
    let pulled = site.pull().await;
    assert!(pulled.rows.iter().any(|(table, _)| table == "sync_conflicts"), "a site sees its own parked edits: {pulled:?}");
}

#[tokio::test]
async fn cloud_wins_leaves_the_row_and_closes_the_conflict() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    site.pull().await;
    let resolved = decide(&cloud, &conflict, Resolution::CloudWins).await;
    assert_eq!((resolved.resolution, resolved.resolved_by.as_deref(), resolved.revision), (Resolution::CloudWins, Some("eve"), 2));
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "theirs");
    let pulled = site.pull().await;
    assert_eq!(pulled.rows.iter().map(|(table, _)| table.as_str()).collect::<Vec<_>>(), ["sync_conflicts"]);
}

#[tokio::test]
async fn local_wins_writes_the_clashed_columns_like_any_other_write() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    cloud.run("UPDATE sources SET height = 5").await;
    let conflict = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    decide(&cloud, &conflict, Resolution::LocalWins).await;
    let row = cloud.sql.query_one("SELECT name, height, rejoin_modified_by FROM sources", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, i32>(1), row.get::<_, String>(2)), ("mine".into(), 5, "eve".into()));
    site.pull().await;
    assert_eq!(site.value("sources", &id('s', 1), "name"), json!("mine"));
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn manual_writes_the_values_given() {
    let cloud = Cloud::start().await;
    let (_, conflict) = clashed(&cloud).await;
    let mut manual = command(&conflict, Resolution::Manual);
    manual.values = vec![(column(&cloud, "name"), Value::Text("both".into()))];
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "both");
    let (_, conflict) = (0, conflict);
    let again = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    assert!(matches!(again, Err(BackendError::Outdated(now)) if now.resolution == Resolution::Manual), "the first one wins");
}

#[tokio::test]
async fn a_decision_on_an_older_state_is_refused_with_the_one_in_force() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    cloud.run("UPDATE sources SET name = 'newer'").await;
    let outdated = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    let Err(BackendError::Outdated(now)) = outdated else { panic!("{outdated:?}") };
    assert_ne!(now.cloud_etag, conflict.cloud_etag);
    // rh09: a later edit of the same row joins: its revision is another one.
    site.pull().await;
    let change = site.update("sources", &id('s', 1), &json!({"name": "mine too", "height": 2}));
    cloud.run("UPDATE sources SET name = 'newest', height = 3").await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let joined = open(&cloud).await;
    assert_eq!(joined.len(), 1);
    assert_eq!((joined[0].id, joined[0].revision), (conflict.id, 2));
    let mine = joined[0].local_data.as_ref().unwrap();
    assert_eq!((&mine["name"], &mine["height"]), (&json!("mine too"), &json!(2)));
    assert_eq!(joined[0].columns, ["height", "name"]);
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &command(&now, Resolution::LocalWins)).await;
    assert!(matches!(refused, Err(BackendError::Outdated(_))));
    decide(&cloud, &joined[0], Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT name || ' ' || height FROM sources").await, "mine too 2");
}

#[tokio::test]
async fn what_is_parked_of_other_columns_is_not_lost_when_a_later_clash_joins() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    site.pull().await;
    let change = site.update("sources", &id('s', 1), &json!({"height": 2}));
    cloud.run("UPDATE sources SET height = 3").await;
    site.push_one(change).await;
    let joined = open(&cloud).await.remove(0);
    let mine = joined.local_data.as_ref().unwrap();
    assert_eq!((joined.id, &mine["name"], &mine["height"]), (conflict.id, &json!("mine"), &json!(2)));
    assert_eq!(joined.base_data, Some(json!({"height": null, "name": "s1", "width": null})));
    decide(&cloud, &joined, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT name || ' ' || height FROM sources").await, "mine 2");
}

#[tokio::test]
async fn an_edit_of_a_deleted_row_can_bring_it_back_whole() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud.run("UPDATE sources SET width = 1920, price = 12.50, tags = '{a,b}'").await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &s, &json!({"name": "mine"}));
    cloud.run("DELETE FROM sources").await;
    let answer = site.push_one(change).await;
    assert!(matches!(&answer.confirmed, Confirmed::Image(image) if image.row().is_none()), "{answer:?}");
    let conflict = open(&cloud).await.remove(0);
    assert_eq!((conflict.kind, conflict.cloud_etag.clone()), (ConflictKind::UpdateDelete, None));
    let mine = conflict.local_data.as_ref().unwrap();
    assert_eq!((&mine["name"], &mine["width"], &mine["price"]), (&json!("mine"), &json!(1920), &json!("12.5")));
    decide(&cloud, &conflict, Resolution::LocalWins).await;
    let row: String = cloud.one("SELECT concat_ws(' ', name, width, price, tags) FROM sources").await;
    assert_eq!(row, "mine 1920 12.50 {a,b}");
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_parked_delete_is_done_when_the_site_wins() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.delete("sources", &s);
    cloud.run("UPDATE sources SET name = 'changed'").await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    assert!(site.has("sources", &s), "the row comes back at the site");
    let conflict = open(&cloud).await.remove(0);
    assert_eq!((conflict.kind, conflict.local_data.as_ref()), (ConflictKind::DeleteUpdate, None));
    decide(&cloud, &conflict, Resolution::LocalWins).await;
    assert_eq!(cloud.count("sources").await, 0);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn an_edit_never_joins_a_conflict_that_somebody_resolves_meanwhile() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    site.pull().await;
    let change = site.update("sources", &id('s', 1), &json!({"height": 2}));
    cloud.run("UPDATE sources SET height = 3").await;
    // A program that writes with SQL and holds no head.
    let program = crate::cloud::connect(cloud.superuser_url()).await;
    let sql = "SET session_replication_role = replica; BEGIN;
               UPDATE rejoin.sync_conflicts SET resolution = 'CLOUD_WINS', resolved_at = now(), resolved_by = 'sql', revision = revision + 1";
    program.batch_execute(sql).await.unwrap();
    let commit = async {
        while cloud.count("pg_locks WHERE NOT granted AND database IS NULL").await == 0 {
            tokio::task::yield_now().await;
        }
        program.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(site.push_one(change), commit);
    assert_eq!(verdict(&answer), "parked");
    let resolved = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    assert_eq!((resolved.revision, resolved.columns.as_slice()), (2, &["name".to_owned()][..]), "as it was decided");
    let new = open(&cloud).await;
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].columns, ["height"]);
}

#[tokio::test]
async fn large_values_of_a_conflict_are_left_out_so_that_it_travels_and_never_forgotten() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let mine = "m".repeat(300_000);
    let change = site.update("sources", &s, &json!({"name": "mine", "extra": mine}));
    cloud.run("UPDATE sources SET name = 'theirs', tags = ARRAY[repeat('t', 700000)], extra = to_jsonb(repeat('e', 700000))").await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    // Both columns of the cloud's row together are more than a value may have.
    site.pull().await;
    let conflict = open(&cloud).await.remove(0);
    let (theirs, local) = (conflict.cloud_data.as_ref().unwrap(), conflict.local_data.as_ref().unwrap());
    assert_eq!((&theirs["name"], &theirs["extra"]), (&json!("theirs"), &json!({"rejoinTooLarge": 700_002})));
    assert_eq!((&local["name"], &local["extra"]), (&json!("mine"), &json!({"rejoinTooLarge": 300_002})));
    let refused = |answer: Result<Conflict, BackendError>| {
        assert!(matches!(&answer, Err(BackendError::Undecidable(reason)) if reason.contains("extra")), "{answer:?}");
    };
    refused(resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await);
    // Another clash joins: what the site had in that column is as unknown as before.
    let change = site.update("sources", &s, &json!({"height": 2}));
    cloud.run("UPDATE sources SET height = 3, extra = NULL").await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let joined = open(&cloud).await.remove(0);
    assert_eq!((joined.id, &joined.local_data.as_ref().unwrap()["extra"]), (conflict.id, &json!({"rejoinTooLarge": 300_002})));
    refused(resolve(&cloud.db, &cloud.catalog, "eve", &command(&joined, Resolution::LocalWins)).await);
    let mut manual = command(&joined, Resolution::Manual);
    manual.values = vec![(column(&cloud, "extra"), Value::Text(json!(mine).to_string()))];
    resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(cloud.one::<i32>("SELECT length(extra::text) FROM sources").await, 300_002);
}

#[tokio::test]
async fn h23_a_waiting_edit_does_not_come_in_over_a_value_that_its_author_never_saw() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // The new source takes the slot of the one that is there; an edit of that one refers to it.
    let rows = vec![source(&site, &id('s', 5), &p, 1), site.update("sources", &s, &json!({"above": id('s', 5), "name": "mine"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "parked"]);
    cloud.run(&format!("UPDATE sources SET name = 'theirs' WHERE id = '{s}'")).await;
    let root = open(&cloud).await.into_iter().find(|conflict| conflict.held).unwrap();
    let mut moved = command(&root, Resolution::Manual);
    moved.values = vec![(column(&cloud, "slot"), Value::Int(9))];
    assert_eq!(site.command(moved).await, CommandAnswer::Done);
    assert_eq!(cloud.one::<String>(&format!("SELECT name FROM sources WHERE id = '{s}'")).await, "theirs");
    let open = open(&cloud).await;
    assert_eq!(open.len(), 1, "nobody decided between the two names");
    assert_eq!(open[0].local_data.as_ref().unwrap()["name"], "mine");
}

#[tokio::test]
async fn rb10_a_command_in_a_push_runs_before_its_rows_and_only_once() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    site.pull().await;
    let mut push = site.next_push(vec![site.update("sources", &id('s', 1), &json!({"name": "edited after"}))]);
    push.commands = vec![command(&conflict, Resolution::CloudWins), command(&conflict, Resolution::LocalWins)];
    let answer = site.push_whole(&push).await;
    let sync_core::wire::message::PushResult::Applied { rows, commands } = answer.result else { panic!() };
    assert_eq!(commands[0], CommandAnswer::Done);
    assert!(matches!(&commands[1], CommandAnswer::Refused(reason) if reason.contains("resolved already")), "{commands:?}");
    assert_eq!(verdicts(&rows), ["exact"]);
    let closed = cloud.one::<String>("SELECT resolution || ' ' || resolved_by FROM rejoin.sync_conflicts").await;
    assert_eq!(closed, "CLOUD_WINS eve at a");
}

#[tokio::test]
async fn a_site_resolves_its_own_conflicts_only_and_never_outside_its_scopes() {
    let cloud = Cloud::start().await;
    let (_, conflict) = clashed(&cloud).await;
    let mut other = cloud.site("b", &["*"]).await;
    let answer = other.command(command(&conflict, Resolution::LocalWins)).await;
    assert!(matches!(answer, CommandAnswer::Refused(_)), "{answer:?}");
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "theirs");

    // A key that belongs to another tenant: the cloud's admin may decide, the site may not.
    let mine = id('p', 7);
    cloud.production(&mine, &[]).await;
    let mut site = cloud.site("c", &[&mine]).await;
    site.push_one(source(&site, &id('s', 1), &mine, 1)).await;
    let rejected = open(&cloud).await.into_iter().find(|conflict| conflict.site == "c").unwrap();
    assert_eq!(rejected.kind, ConflictKind::Rejected);
    let answer = site.command(command(&rejected, Resolution::LocalWins)).await;
    assert!(matches!(answer, CommandAnswer::Refused(_)), "{answer:?}");
    assert_eq!(cloud.one::<String>("SELECT production_id::text FROM sources").await, id('p', 1));
}

#[tokio::test]
async fn the_list_is_filtered_and_paged() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    for no in 10..15 {
        site.push_one(source(&site, &id('s', no), &p, 1)).await;
    }
    site.push_one(source(&site, &id('s', 20), &p, -1)).await;
    let client = cloud.db.client().await.unwrap();
    let find = async |query: ConflictQuery| list(&client, &cloud.catalog, &query).await.unwrap();
    let uniques = ConflictQuery {
        filter: ConflictFilter { kind: Some(ConflictKind::Unique), ..ConflictFilter::default() },
        limit: 3,
        ..ConflictQuery::default()
    };
    let first = find(uniques.clone()).await;
    assert_eq!(first.iter().map(|conflict| conflict.record_id.as_str()).collect::<Vec<_>>(), [id('s', 14), id('s', 13), id('s', 12)]);
    let rest = find(ConflictQuery { after: Some(first[2].id), ..uniques }).await;
    assert_eq!(rest.len(), 2);
    assert_eq!(
        find(ConflictQuery {
            filter: ConflictFilter { site: Some("b".into()), ..ConflictFilter::default() },
            limit: 10,
            ..ConflictQuery::default()
        })
        .await
        .len(),
        0
    );
    assert_eq!(
        find(ConflictQuery {
            filter: ConflictFilter { table: Some("sources".into()), ..ConflictFilter::default() },
            limit: 10,
            ..ConflictQuery::default()
        })
        .await
        .len(),
        6
    );
}

/// The site deletes a row that changed at the cloud, gets it back and edits it: the conflict is about that edit, and nothing else of the row.
#[tokio::test]
async fn an_edit_after_a_parked_delete_takes_its_place_and_reverts_nothing_else() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let delete = site.delete("sources", &s);
    cloud.run(&format!("UPDATE sources SET name = 'in use' WHERE id = '{s}'")).await;
    assert_eq!(verdict(&site.push_one(delete).await), "parked");
    site.pull().await;
    let edit = site.update("sources", &s, &json!({"width": 1280}));
    cloud.run(&format!("UPDATE sources SET width = 720 WHERE id = '{s}'")).await;
    assert_eq!(verdict(&site.push_one(edit).await), "parked");
    cloud.run(&format!("UPDATE sources SET name = 'renamed since' WHERE id = '{s}'")).await;
    let conflict = open(&cloud).await.remove(0);
    assert_eq!((conflict.kind, conflict.columns.clone()), (ConflictKind::UpdateUpdate, vec!["width".to_owned()]));
    decide(&cloud, &conflict, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>(&format!("SELECT name || ' ' || width FROM sources WHERE id = '{s}'")).await, "renamed since 1280");
}
