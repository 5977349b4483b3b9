//! Deletes that would take more than the row that was decided on: nobody decides on rows that he was not shown.

use cloud_server::store::conflicts::{besides, resolve};
use conflict_ui_api::backend::Conflict;
use conflict_ui_api::error::BackendError;
use sync_core::conflict::{ConflictKind, Resolution};
use sync_core::wire::message::{CommandAnswer, ResolveCommand};

use crate::cloud::Cloud;
use crate::deciding::{command, decide, open, source};
use crate::site::{Site, id, verdict};
use crate::undo::undo;

/// A source deleted at the site, while the cloud gave it an output, and its production refers to it.
async fn deleted<'c>(cloud: &'c Cloud) -> (Site<'c>, Conflict) {
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.delete("sources", &s);
    cloud.run(&format!("INSERT INTO outputs VALUES ('{s}', '1', 'new'); UPDATE productions SET main_source = '{s}'")).await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let conflict = open(cloud).await.remove(0);
    assert_eq!(conflict.kind, ConflictKind::DeleteUpdate);
    (site, conflict)
}

async fn local_wins(cloud: &Cloud, conflict: &Conflict) -> ResolveCommand {
    let shown = besides(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap();
    ResolveCommand { besides: shown.digest, ..command(conflict, Resolution::LocalWins) }
}

#[tokio::test]
async fn a_delete_that_takes_more_is_carried_out_once_its_besides_were_seen_and_taken_back_whole() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = deleted(&cloud).await;
    let shown = besides(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap();
    let rows: Vec<(&str, String)> =
        shown.rows.iter().map(|row| (row.effect.as_str(), format!("{} {}", row.table_name, row.record_id))).collect();
    assert_eq!(rows, [("deleted", format!("outputs {},1", id('s', 1))), ("cleared", format!("productions {}", id('p', 1)))]);
    assert_eq!(shown.total, 2);

    let unseen = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    assert!(matches!(unseen, Err(BackendError::Outdated(_))), "{unseen:?}");
    let seen = local_wins(&cloud, &conflict).await;
    cloud.run("UPDATE outputs SET label = 'newer'").await;
    let stale = resolve(&cloud.db, &cloud.catalog, "eve", &seen).await;
    assert!(matches!(stale, Err(BackendError::Outdated(_))), "{stale:?}");
    let seen = local_wins(&cloud, &conflict).await;
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &seen).await.unwrap();
    assert_eq!((cloud.count("sources").await, cloud.count("outputs").await), (0, 0));
    assert_eq!(cloud.count("productions WHERE main_source IS NULL").await, 1);
    assert_eq!(cloud.count("rejoin.tombstones").await, 2);
    site.pull().await;
    site.assert_same_as_cloud().await;

    let open_again = undo(&cloud, &done).await.unwrap();
    assert_eq!((open_again.resolution, open_again.revision), (Resolution::Pending, done.revision + 1));
    assert_eq!(cloud.one::<String>("SELECT label FROM outputs").await, "newer");
    assert_eq!(cloud.count(&format!("productions WHERE main_source = '{}'", id('s', 1))).await, 1);
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_reference_that_forbids_the_delete_is_shown_and_told() {
    let cloud = Cloud::start().await;
    let (mut site, conflict) = deleted(&cloud).await;
    let (p, s, other) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.run(&format!("INSERT INTO sources (id, production_id, name, slot, above) VALUES ('{other}', '{p}', 'below', 2, '{s}')")).await;
    let shown = besides(&cloud.db.client().await.unwrap(), &cloud.catalog, conflict.id).await.unwrap();
    assert!(shown.rows.iter().any(|row| row.effect == "forbids" && row.record_id == other), "{shown:?}");
    let seen = local_wins(&cloud, &conflict).await;
    let refused = resolve(&cloud.db, &cloud.catalog, "eve", &seen).await;
    assert!(
        matches!(&refused, Err(BackendError::Undecidable(reason)) if reason.contains("sources") && reason.contains(&other)),
        "{refused:?}"
    );
    assert_eq!(open(&cloud).await[0].revision, conflict.revision);
    cloud.run("UPDATE sources SET above = NULL WHERE above IS NOT NULL").await;
    let seen = local_wins(&cloud, &conflict).await;
    assert_eq!(site.command(seen).await, CommandAnswer::Done);
    assert_eq!(cloud.count("sources").await, 1);
}

#[tokio::test]
async fn a_site_deletes_nothing_besides_outside_its_scopes() {
    let mut cloud = Cloud::start().await;
    cloud.run("CREATE TABLE links (id text PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, source_id uuid REFERENCES sources ON DELETE CASCADE)").await;
    cloud = cloud.prepared_again().await;
    let (p, q, s) = (id('p', 1), id('p', 2), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud.production(&q, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.delete("sources", &s);
    cloud.run(&format!("INSERT INTO links VALUES ('l', '{q}', '{s}')")).await;
    assert_eq!(verdict(&site.push_one(change).await), "parked");
    let conflict = open(&cloud).await.remove(0);
    let seen = local_wins(&cloud, &conflict).await;
    assert!(matches!(site.command(seen.clone()).await, CommandAnswer::Refused(reason) if reason.contains("scope")));
    assert_eq!((cloud.count("sources").await, cloud.count("links").await), (1, 1));
    resolve(&cloud.db, &cloud.catalog, "eve", &seen).await.unwrap();
    assert_eq!((cloud.count("sources").await, cloud.count("links").await), (0, 0));
}

#[tokio::test]
async fn replacing_a_row_shows_what_hangs_from_it() {
    let cloud = Cloud::start().await;
    let (p, theirs, mine) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&theirs]).await;
    cloud.run(&format!("INSERT INTO outputs VALUES ('{theirs}', '1', 'x')")).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    assert_eq!(verdict(&site.push_one(source(&site, &mine, &p, 1)).await), "held");
    let conflict = open(&cloud).await.remove(0);
    let unseen = resolve(&cloud.db, &cloud.catalog, "eve", &command(&conflict, Resolution::LocalWins)).await;
    assert!(matches!(unseen, Err(BackendError::Outdated(_))), "{unseen:?}");
    let done = resolve(&cloud.db, &cloud.catalog, "eve", &local_wins(&cloud, &conflict).await).await.unwrap();
    assert_eq!((cloud.one::<String>("SELECT id::text FROM sources").await, cloud.count("outputs").await), (mine, 0));
    undo(&cloud, &done).await.unwrap();
    assert_eq!((cloud.one::<String>("SELECT id::text FROM sources").await, cloud.count("outputs").await), (theirs, 1));
    // Taken back, it can be decided otherwise.
    let again = open(&cloud).await.remove(0);
    assert!(!again.held);
    decide(&cloud, &again, Resolution::CloudWins).await;
    assert_eq!(cloud.count("sources").await, 1);
}
