//! Many decisions by one action.

use std::sync::Mutex;

use cloud_server::settings::Settings;
use cloud_server::store::conflicts::{list, resolve, resolve_many, undoable};
use cloud_server::store::prepare::prepare;
use conflict_ui_api::backend::{BulkDecision, BulkOutcome, Conflict, ConflictFilter, ConflictQuery};
use conflict_ui_api::error::BackendError;
use futures_util::future::BoxFuture;
use serde_json::json;
use sync_core::change::RowChange;
use sync_core::conflict::{ConflictKind, Resolution, Way};
use sync_core::limits::BESIDES_ROWS_MAX;
use sync_core::wire::message::ResolveCommand;

use crate::cloud::{Cloud, SETTINGS, connect};
use crate::site::{Site, id, verdicts};

fn all(resolution: Resolution) -> BulkDecision {
    BulkDecision { filter: ConflictFilter::default(), resolution, dry_run: false, all_or_nothing: false, expected: None }
}

async fn decide(cloud: &Cloud, decision: &BulkDecision) -> Result<BulkOutcome, BackendError> {
    told(cloud, decision, &|_, _| ()).await
}

async fn told(cloud: &Cloud, decision: &BulkDecision, progress: &(dyn Fn(u64, u64) + Send + Sync)) -> Result<BulkOutcome, BackendError> {
    let looked =
        |_, _| -> BoxFuture<'_, _> { Box::pin(async { Ok(prepare(&cloud.db, &Settings::parse(SETTINGS).unwrap(), None).await.unwrap()) }) };
    resolve_many(&cloud.db, (cloud.catalog.clone(), &looked), "eve", decision, progress).await
}

fn numbers(outcome: &BulkOutcome) -> (u64, u64, u64) {
    (outcome.matched, outcome.resolved, outcome.refused)
}

async fn open(cloud: &Cloud) -> Vec<Conflict> {
    let filter = ConflictFilter { resolution: Some(Resolution::Pending), ..ConflictFilter::default() };
    list(&cloud.db.client().await.unwrap(), &cloud.catalog, &ConflictQuery { filter, limit: 1000, ..ConflictQuery::default() })
        .await
        .unwrap()
}

/// A production of so many sources, renamed at the cloud after the site has pulled them.
async fn renamed<'c>(cloud: &'c Cloud, name: &str, count: u32) -> Site<'c> {
    let p = id('p', 1);
    if cloud.count("productions").await == 0 {
        cloud.production(&p, &[]).await;
        for no in 1..=count {
            let s = id('s', no);
            cloud.run(&format!("INSERT INTO sources (id, production_id, name, slot) VALUES ('{s}', '{p}', 'n', {no})")).await;
        }
    }
    let mut site = cloud.site(name, &[&p]).await;
    site.pull().await;
    cloud.run("UPDATE sources SET name = name || '!'").await;
    site
}

fn mine(site: &Site<'_>, no: u32) -> RowChange {
    site.update("sources", &id('s', no), &json!({"name": format!("mine {no}")}))
}

fn source(site: &Site<'_>, no: u32, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id('s', no), "production_id": id('p', 1), "name": "new", "slot": slot, "number": slot}))
}

#[tokio::test]
async fn a_storm_is_decided_in_chunks_recorded_one_by_one_and_reaches_the_site() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 620).await;
    site.push((1..=620).map(|no| mine(&site, no)).collect()).await;
    let steps = Mutex::new(Vec::new());
    let decision = BulkDecision { expected: Some(620), ..all(Resolution::LocalWins) };
    let progress = |done, of| steps.lock().unwrap().push((done, of));
    let outcome = told(&cloud, &decision, &progress).await.unwrap();
    assert_eq!((numbers(&outcome), outcome.reasons.len()), ((620, 620, 0), 0), "{outcome:?}");
    assert_eq!(*steps.lock().unwrap(), [(500, 620), (620, 620)]);
    assert_eq!(cloud.count("sources WHERE name = 'mine ' || slot AND rejoin_modified_by = 'eve' AND rejoin_version = 3").await, 620);
    assert_eq!(open(&cloud).await.len(), 0);
    assert_eq!(cloud.count("rejoin.resolutions WHERE by = 'eve' AND revision = 2 AND jsonb_array_length(writes) = 1").await, 620);
    site.pull().await;
    assert_eq!(site.value("sources", &id('s', 7), "name"), json!("mine 7"));
    site.assert_same_as_cloud().await;
    // Each of them can be taken back like any other.
    let query = ConflictQuery { limit: 1, ..ConflictQuery::default() };
    let one = list(&cloud.db.client().await.unwrap(), &cloud.catalog, &query).await.unwrap().remove(0);
    assert_eq!(undoable(&cloud.db.client().await.unwrap(), &cloud.catalog, one.id).await.unwrap(), Some(true));
    let undo = ResolveCommand {
        conflict: one.id,
        revision: one.revision,
        cloud_etag: one.cloud_etag.clone(),
        resolution: Resolution::Pending,
        values: Vec::new(),
        by: "eve".to_owned(),
        way: Way::Undo,
        besides: None,
    };
    let again = resolve(&cloud.db, &cloud.catalog, "eve", &undo).await.unwrap();
    assert_eq!(again.resolution, Resolution::Pending);
    assert_eq!(cloud.count("sources WHERE name = 'n!'").await, 1);
}

#[tokio::test]
async fn what_is_decided_stays_counted_where_the_schema_moves_meanwhile() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 620).await;
    site.push((1..=620).map(|no| mine(&site, no)).collect()).await;
    let decision = BulkDecision { expected: Some(620), ..all(Resolution::LocalWins) };
    let progress = |done, _| {
        if done == 500 {
            let url = cloud.url().to_owned();
            let migration = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { connect(&url).await.batch_execute("ALTER TABLE sources RENAME name TO title").await.unwrap() });
            });
            migration.join().unwrap();
        }
    };
    let outcome = told(&cloud, &decision, &progress).await.unwrap();
    assert_eq!(numbers(&outcome), (620, 620, 0), "{outcome:?}");
    assert_eq!(cloud.count("sources WHERE title = 'mine ' || slot").await, 620);
}

#[tokio::test]
async fn cloud_wins_writes_no_row_and_a_filter_decides_only_its_own() {
    let cloud = Cloud::start().await;
    let mut a = renamed(&cloud, "a", 4).await;
    let mut b = renamed(&cloud, "b", 4).await;
    a.push(vec![mine(&a, 1), mine(&a, 2)]).await;
    b.push(vec![mine(&b, 3)]).await;
    let before = cloud.one::<i64>("SELECT sum(rejoin_version)::bigint FROM sources").await;
    let of_a = ConflictFilter { site: Some("a".into()), ..ConflictFilter::default() };
    let outcome = decide(&cloud, &BulkDecision { filter: of_a, ..all(Resolution::CloudWins) }).await.unwrap();
    assert_eq!(numbers(&outcome), (2, 2, 0));
    assert_eq!(cloud.one::<i64>("SELECT sum(rejoin_version)::bigint FROM sources").await, before);
    let left = open(&cloud).await;
    assert_eq!(left.iter().map(|conflict| conflict.site.as_str()).collect::<Vec<_>>(), ["b"]);
    let pulled = a.pull().await;
    assert_eq!(pulled.rows.iter().filter(|(table, _)| table == "sync_conflicts").count(), 2);
    let decided = ConflictFilter { resolution: Some(Resolution::CloudWins), ..ConflictFilter::default() };
    let outcome = decide(&cloud, &BulkDecision { filter: decided, ..all(Resolution::LocalWins) }).await.unwrap();
    assert_eq!(numbers(&outcome), (0, 0, 0), "only open ones count");
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 3).await;
    let refused = source(&site, 20, -5);
    site.push(vec![mine(&site, 1), mine(&site, 2), refused]).await;
    let state = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM
                 (SELECT s::text FROM sources s UNION ALL SELECT c::text FROM rejoin.sync_conflicts c UNION ALL SELECT k::text FROM rejoin.scopes k) t";
    let before = cloud.one::<String>(state).await;
    for all_or_nothing in [true, false] {
        let dry = BulkDecision { dry_run: true, all_or_nothing, ..all(Resolution::LocalWins) };
        let said = decide(&cloud, &dry).await.unwrap();
        assert!(said.dry_run);
        assert_eq!(cloud.one::<String>(state).await, before);
        let done = decide(&cloud, &BulkDecision { dry_run: false, ..dry }).await.unwrap();
        assert_eq!((numbers(&said), &said.reasons), (numbers(&done), &done.reasons));
        assert_eq!(numbers(&done), if all_or_nothing { (3, 0, 1) } else { (3, 2, 1) });
    }
    assert_ne!(cloud.one::<String>(state).await, before);
}

#[tokio::test]
async fn a_row_that_a_constraint_refuses_is_told_and_stops_nobody_but_all_or_nothing() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 9).await;
    // The check is what stands against two of them, in the middle of the others.
    let mut rows: Vec<RowChange> = (1..=4).map(|no| mine(&site, no)).collect();
    rows.extend([source(&site, 20, -5), source(&site, 21, -6)]);
    rows.extend((5..=9).map(|no| mine(&site, no)));
    site.push(rows).await;
    let at_once = decide(&cloud, &BulkDecision { all_or_nothing: true, ..all(Resolution::LocalWins) }).await.unwrap();
    assert_eq!((numbers(&at_once), open(&cloud).await.len()), ((11, 0, 2), 11));
    assert_eq!(cloud.count("rejoin.resolutions").await, 0);
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!((numbers(&outcome), open(&cloud).await.len()), ((11, 9, 2), 2));
    assert_eq!(outcome.reasons.iter().map(|reason| reason.conflicts).sum::<u64>(), 2);
    assert!(outcome.reasons.iter().all(|reason| reason.reason.contains("check")), "{:?}", outcome.reasons);
    assert_eq!(cloud.count("sources WHERE name LIKE 'mine%'").await, 9);
    // After the cause is gone they come in: offered again by one action.
    cloud.run("ALTER TABLE sources DROP CONSTRAINT sources_slot_check").await;
    let outcome = decide(&cloud, &BulkDecision { all_or_nothing: true, ..all(Resolution::LocalWins) }).await.unwrap();
    assert_eq!((numbers(&outcome), cloud.count("sources").await), ((2, 2, 0), 11));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn nothing_is_decided_unseen() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 2).await;
    site.push(vec![mine(&site, 1), mine(&site, 2)]).await;
    let outcome = decide(&cloud, &BulkDecision { expected: Some(1), ..all(Resolution::LocalWins) }).await;
    assert!(matches!(outcome, Err(BackendError::Miscounted { expected: 1, matched: 2 })), "{outcome:?}");
    for resolution in [Resolution::Manual, Resolution::Pending] {
        assert!(matches!(decide(&cloud, &all(resolution)).await, Err(BackendError::Undecidable(_))));
    }
    // Two sites' edits of one row: nobody said which of them.
    let mut other = renamed(&cloud, "b", 2).await;
    cloud.run("UPDATE sources SET name = 'again'").await;
    other.push(vec![mine(&other, 1)]).await;
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!(numbers(&outcome), (3, 2, 1));
    assert!(outcome.reasons[0].reason.contains("another conflict of the same row"), "{outcome:?}");
}

#[tokio::test]
async fn deletes_are_done_but_for_those_that_would_take_other_rows_along() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 3).await;
    let deletes = (1..=3).map(|no| site.delete("sources", &id('s', no))).collect();
    site.push(deletes).await;
    assert!(open(&cloud).await.iter().all(|conflict| conflict.kind == ConflictKind::DeleteUpdate));
    cloud.run(&format!("INSERT INTO outputs (source_id, port, label) VALUES ('{}', '1', 'out')", id('s', 2))).await;
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!(numbers(&outcome), (3, 2, 1));
    assert!(outcome.reasons[0].reason.contains("other rows"), "{outcome:?}");
    assert_eq!((cloud.count("sources").await, cloud.count("outputs").await), (1, 1));
    site.pull().await;
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_delete_clears_no_references_unseen_however_many_there_are() {
    let cloud = Cloud::start().await;
    cloud.run("CREATE TABLE hints (id integer PRIMARY KEY, production_id uuid NOT NULL REFERENCES productions, source_id uuid REFERENCES sources ON DELETE SET NULL)").await;
    let cloud = cloud.prepared_again().await;
    let mut site = renamed(&cloud, "a", 2).await;
    let deletes = (1..=2).map(|no| site.delete("sources", &id('s', no))).collect();
    site.push(deletes).await;
    let (p, s, many) = (id('p', 1), id('s', 1), BESIDES_ROWS_MAX + 1);
    cloud.run(&format!("INSERT INTO hints SELECT no, '{p}', '{s}' FROM generate_series(1, {many}) no")).await;
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!(numbers(&outcome), (2, 1, 1));
    assert!(outcome.reasons[0].reason.contains("other rows"), "{outcome:?}");
    assert_eq!(cloud.count(&format!("sources WHERE id = '{s}'")).await, 1);
    assert_eq!(cloud.count("hints WHERE source_id IS NULL").await, 0);
}

#[tokio::test]
async fn what_hangs_from_a_decided_row_is_decided_with_it() {
    for resolution in [Resolution::CloudWins, Resolution::LocalWins] {
        let cloud = Cloud::start().await;
        let p = id('p', 1);
        cloud.production(&p, &[&id('s', 1)]).await;
        let mut site = cloud.site("a", &[&p]).await;
        let output =
            |site: &Site<'_>, no: u32, port: &str| site.insert("outputs", &json!({"source_id": id('s', no), "port": port, "label": "x"}));
        let rows = vec![source(&site, 5, -1), output(&site, 5, "1"), output(&site, 5, "2"), source(&site, 6, -2), source(&site, 7, 7)];
        assert_eq!(verdicts(&site.push(rows).await), ["held", "held", "held", "held", "exact"]);
        cloud.run("ALTER TABLE sources DROP CONSTRAINT sources_slot_check").await;
        let dry = decide(&cloud, &BulkDecision { dry_run: true, ..all(resolution) }).await.unwrap();
        let outcome = decide(&cloud, &BulkDecision { expected: Some(4), ..all(resolution) }).await.unwrap();
        assert_eq!((numbers(&outcome), numbers(&dry)), ((4, 4, 0), (4, 4, 0)), "{outcome:?}");
        let there = if resolution == Resolution::LocalWins { (4, 2) } else { (2, 0) };
        assert_eq!((cloud.count("sources").await, cloud.count("outputs").await), there);
        site.pull().await;
        site.assert_same_as_cloud().await;
    }
}

#[tokio::test]
async fn a_row_that_somebody_holds_keeps_only_its_own_conflict_waiting() {
    let cloud = Cloud::start().await;
    let mut site = renamed(&cloud, "a", 4).await;
    site.push((1..=4).map(|no| mine(&site, no)).collect()).await;
    let other = connect(cloud.url()).await;
    other.batch_execute(&format!("BEGIN; SELECT FROM sources WHERE id = '{}' FOR UPDATE", id('s', 3))).await.unwrap();
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!(numbers(&outcome), (4, 3, 1));
    assert!(outcome.reasons[0].reason.contains("busy"), "{outcome:?}");
    other.batch_execute("ROLLBACK").await.unwrap();
    let outcome = decide(&cloud, &all(Resolution::LocalWins)).await.unwrap();
    assert_eq!((numbers(&outcome), open(&cloud).await.len()), ((1, 1, 0), 0));
}
