//! Taking decisions back.

use cloud_server::store::conflicts::{get, resolve, undoable};
use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use serde_json::json;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::value::Value;
use sync_core::wire::message::{CommandAnswer, ResolveCommand};

use crate::cloud::Cloud;
use crate::deciding::{clashed, column, command, decide, open, source};
use crate::site::{id, verdict, verdicts};

pub fn undo_of(conflict: &Conflict) -> ResolveCommand {
    ResolveCommand { way: Way::Undo, cloud_etag: None, ..command(conflict, Resolution::Pending) }
}

pub async fn undo(cloud: &Cloud, conflict: &Conflict) -> Result<Conflict, BackendError> {
    resolve(&cloud.db, &cloud.catalog, "eve", &undo_of(conflict)).await
}

async fn can(cloud: &Cloud, conflict: &Conflict) -> Option<bool> {
    undoable(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap()
}

#[tokio::test]
async fn a_decision_is_taken_back_as_a_new_write_and_can_be_taken_anew() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    assert_eq!(can(&cloud, &conflict).await, None, "nothing was decided");
    let done = decide(&cloud, &conflict, Resolution::LocalWins).await;
    assert_eq!(can(&cloud, &done).await, Some(true));
    let before: i64 = cloud.one("SELECT rejoin_version FROM sources").await;
    let again = undo(&cloud, &done).await.unwrap();
    assert_eq!((again.resolution, again.revision, again.resolved_by.as_deref()), (Resolution::Pending, 3, None));
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "theirs");
    assert_eq!(cloud.one::<i64>("SELECT rejoin_version FROM sources").await, before + 1);
    site.pull().await;
    site.assert_same_as_cloud().await;
    let stale = undo(&cloud, &done).await;
    assert!(matches!(stale, Err(BackendError::Outdated(now)) if now.revision == 3), "it is open already");
    let mut manual = command(&again, Resolution::Manual);
    manual.values = vec![(column(&cloud, "name"), Value::Text("both".into()))];
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &manual).await.unwrap();
    assert_eq!(undo(&cloud, &done).await.unwrap().revision, 5);
    assert_eq!(cloud.count("rejoin.resolutions WHERE undone_at IS NOT NULL").await, 2);
}

#[tokio::test]
async fn what_somebody_edited_since_is_not_taken_back() {
    let cloud = Cloud::start().await;
    let (_, conflict) = clashed(&cloud).await;
    let done = decide(&cloud, &conflict, Resolution::LocalWins).await;
    cloud.run("UPDATE sources SET height = 7").await;
    assert_eq!(can(&cloud, &done).await, Some(false));
    let refused = undo(&cloud, &done).await;
    assert!(matches!(refused, Err(BackendError::Outdated(now)) if now.resolution == Resolution::LocalWins));
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "mine");
}

#[tokio::test]
async fn cloud_wins_wrote_nothing_and_opens_again_at_a_sites_command_too() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = clashed(&cloud).await;
    assert_eq!(site.command(command(&conflict, Resolution::CloudWins)).await, CommandAnswer::Done);
    cloud.run("UPDATE sources SET height = 7").await;
    let done = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    assert_eq!(site.command(undo_of(&done)).await, CommandAnswer::Done);
    assert!(matches!(site.command(undo_of(&done)).await, CommandAnswer::Refused(_)), "only once");
    assert_eq!(open(&cloud).await[0].revision, 3);
    let mut other = cloud.site("b", &["*"]).await;
    let mine = decide(&cloud, &open(&cloud).await[0], Resolution::CloudWins).await;
    assert!(matches!(other.command(undo_of(&mine)).await, CommandAnswer::Refused(_)), "another site's conflict");
}

#[tokio::test]
async fn a_dropped_insert_and_what_hung_from_it_come_back_from_their_conflicts() {
    let cloud = Cloud::start().await;
    let (p, mine) = (id('p', 1), id('s', 2));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let rows = vec![source(&site, &mine, &p, 1), site.insert("outputs", &json!({"source_id": mine, "port": "7", "label": "hangs"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["held", "held"]);
    let unique = open(&cloud).await.into_iter().find(|conflict| conflict.kind == ConflictKind::Unique).unwrap();
    let done = decide(&cloud, &unique, Resolution::CloudWins).await;
    assert_eq!(open(&cloud).await.len(), 0, "the output went with it");
    let output = cloud.one::<serde_json::Value>("SELECT local_data FROM rejoin.sync_conflicts WHERE kind = 'foreign_key'").await;
    assert_eq!(output, json!({"source_id": mine, "port": "7", "label": "hangs"}), "its image is kept");
    let again = undo(&cloud, &done).await.unwrap();
    assert_eq!((open(&cloud).await.len(), again.held), (2, false));
    let mut moved = command(&again, Resolution::Manual);
    moved.values = vec![(column(&cloud, "slot"), Value::Int(9))];
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &moved).await.unwrap();
    assert_eq!((cloud.count("sources").await, cloud.count("outputs").await), (2, 1));
    // Something new hangs from it: it stays.
    cloud.run(&format!("INSERT INTO outputs VALUES ('{mine}', '8', 'later')")).await;
    let refused = undo(&cloud, &done).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("outputs")), "{refused:?}");
    cloud.run("DELETE FROM outputs WHERE port = '8'").await;
    undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.count("sources").await, cloud.count("outputs").await, open(&cloud).await.len()), (1, 0, 2));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_dependent_is_taken_back_with_its_root_only() {
    let cloud = Cloud::start().await;
    let (p, mine) = (id('p', 1), id('s', 2));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let rows = vec![source(&site, &mine, &p, 1), site.insert("outputs", &json!({"source_id": mine, "port": "7", "label": "hangs"}))];
    site.push(rows).await;
    let all = open(&cloud).await;
    let (unique, other): (Vec<_>, Vec<_>) = all.into_iter().partition(|conflict| conflict.kind == ConflictKind::Unique);
    let done = decide(&cloud, &unique[0], Resolution::CloudWins).await;
    let client = cloud.db.client().await.unwrap();
    let output = get(&client, &cloud.catalog, other[0].id).await.unwrap().unwrap();
    let refused = undo(&cloud, &output).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains(&done.id.to_string())), "{refused:?}");
}

#[tokio::test]
async fn what_the_site_offered_again_since_stands_in_the_way() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 2));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, 1)).await), "held");
    let done = decide(&cloud, &open(&cloud).await[0], Resolution::CloudWins).await;
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, -1)).await), "held");
    assert_eq!(can(&cloud, &done).await, Some(false));
    let refused = undo(&cloud, &done).await;
    assert!(matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("another conflict")), "{refused:?}");
}

#[tokio::test]
async fn a_policys_loss_is_taken_back_and_becomes_a_question() {
    let cloud = Cloud::start().await;
    let (_, conflict) = clashed(&cloud).await;
    let lost = |winner: &str, value: &str| {
        format!(
            "UPDATE sources SET name = '{value}'; UPDATE rejoin.sync_conflicts SET resolution = '{winner}', resolved_at = now(),
             resolved_by = 'policy:newest', policy = 'newest', revision = revision + 1"
        )
    };
    cloud.run(&lost("LOCAL_WINS", "mine")).await;
    let loss = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    assert_eq!(can(&cloud, &loss).await, Some(true));
    let question = undo(&cloud, &loss).await.unwrap();
    assert_eq!((question.resolution, question.policy), (Resolution::Pending, None));
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "theirs");
    cloud.run(&lost("LOCAL_WINS", "edited since")).await;
    let loss = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    assert!(matches!(undo(&cloud, &loss).await, Err(BackendError::Outdated(_))));
    cloud.run(&lost("CLOUD_WINS", "theirs")).await;
    let loss = get(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap().unwrap();
    let question = undo(&cloud, &loss).await.unwrap();
    decide(&cloud, &question, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT name FROM sources").await, "mine");
}

#[tokio::test]
async fn a_held_row_that_came_in_when_it_was_offered_again_is_taken_back_like_any_decision() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 2));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, 1)).await), "held");
    let held = open(&cloud).await.remove(0);
    assert_eq!(verdict(&site.push_one(source(&site, &s, &p, 2)).await), "exact");
    let done = get(&cloud.db.client().await.unwrap(), &cloud.catalog, held.id).await.unwrap().unwrap();
    assert_eq!((done.resolution, can(&cloud, &done).await), (Resolution::LocalWins, Some(true)));
    let again = undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.count("sources").await, again.held), (1, false));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn an_update_that_took_another_rows_unique_value_gives_it_back() {
    let cloud = Cloud::start().await;
    let (p, mine, theirs) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&mine, &theirs]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &mine, &json!({"slot": 2}));
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let conflict = open(&cloud).await.remove(0);
    assert_eq!((conflict.kind, conflict.held), (ConflictKind::Unique, false));
    let done = decide(&cloud, &conflict, Resolution::LocalWins).await;
    assert_eq!(cloud.one::<String>("SELECT id || ' ' || slot FROM sources").await, format!("{mine} 2"));
    undo(&cloud, &done).await.unwrap();
    let rows: Vec<String> = cloud.one("SELECT array_agg(id || ' ' || slot ORDER BY slot) FROM sources").await;
    assert_eq!(rows, [format!("{mine} 1"), format!("{theirs} 2")]);
    site.pull().await;
    site.assert_same_as_cloud().await;
}
