//! The inbox: conflicts of one cause fold into one group; lists in every order, page by page; counts; the detail.

use std::collections::BTreeSet;

use cloud_server::store::conflicts::{counts, detail, groups, list};
use conflict_ui_api::backend::{Conflict, ConflictFilter, ConflictGroup, ConflictQuery, ConflictSort};
use serde_json::json;
use sync_core::change::RowChange;
use sync_core::conflict::{ConflictKind, Resolution};
use uuid::Uuid;

use crate::cloud::Cloud;
use crate::site::{Site, id, verdicts};

fn pending() -> ConflictFilter {
    ConflictFilter { resolution: Some(Resolution::Pending), ..ConflictFilter::default() }
}

async fn inbox(cloud: &Cloud, filter: ConflictFilter) -> Vec<ConflictGroup> {
    let query = ConflictQuery { filter, limit: 50, ..ConflictQuery::default() };
    groups(&cloud.db.client().await.unwrap(), &cloud.catalog, &query).await.unwrap()
}

async fn find(cloud: &Cloud, query: ConflictQuery) -> Vec<Conflict> {
    list(&cloud.db.client().await.unwrap(), &cloud.catalog, &query).await.unwrap()
}

fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

/// A production with six sources, known to the site, whose names the cloud has changed since.
async fn changed_at_the_cloud<'c>(cloud: &'c Cloud, site: &str) -> Site<'c> {
    let p = id('p', 1);
    if cloud.count("productions").await == 0 {
        let sources: Vec<String> = (1..=6).map(|no| id('s', no)).collect();
        cloud.production(&p, &sources.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let mut site = cloud.site(site, &[&p]).await;
    site.pull().await;
    cloud.run("UPDATE sources SET name = name || ' of the cloud', width = 1").await;
    site
}

fn renamed(site: &Site<'_>, no: u32) -> RowChange {
    site.update("sources", &id('s', no), &json!({"name": format!("mine {no}")}))
}

#[tokio::test]
async fn a_cause_is_one_line_until_pushes_without_it_or_a_pause_come_between() {
    let cloud = Cloud::start().await;
    let mut site = changed_at_the_cloud(&cloud, "a").await;
    let first = vec![renamed(&site, 1), renamed(&site, 2)];
    let widened = site.update("sources", &id('s', 3), &json!({"name": "mine 3", "width": 9}));
    let changes = [renamed(&site, 4), renamed(&site, 5), renamed(&site, 6)];
    site.push(first).await;
    site.push_one(widened).await;
    let lines = inbox(&cloud, pending()).await;
    assert_eq!(lines.len(), 1, "two pushes that follow on each other are one cause");
    let line = &lines[0];
    assert_eq!((line.conflicts, line.dependents, line.site.as_str(), line.table_name.as_str()), (3, 0, "a", "sources"));
    assert_eq!((line.kind, line.columns.clone()), (ConflictKind::UpdateUpdate, vec!["name".to_owned(), "width".to_owned()]));
    assert!(line.first_at < line.last_at);
    assert_eq!((line.example.record_id.clone(), line.example.group), (id('s', 1), Some(line.id)));

    // A push without such a clash lies between.
    site.push_one(source(&site, &id('s', 30), &id('p', 1), 30)).await;
    let [four, five, six] = changes;
    site.push_one(four).await;
    assert_eq!(inbox(&cloud, pending()).await.len(), 2);
    // And a pause.
    cloud.run("UPDATE rejoin.conflict_groups SET last_at = last_at - interval '601 seconds'").await;
    site.push_one(five).await;
    assert_eq!(inbox(&cloud, pending()).await.len(), 3);
    // Another site's are its own.
    let mut other = cloud.site("b", &[&id('p', 1)]).await;
    other.pull().await;
    let change = renamed(&other, 6);
    cloud.run("UPDATE sources SET name = 'again'").await;
    other.push_one(change).await;
    site.push_one(six).await;
    let lines = inbox(&cloud, pending()).await;
    let shown: Vec<(&str, u64)> = lines.iter().map(|line| (line.site.as_str(), line.conflicts)).collect();
    assert_eq!(shown, [("b", 1), ("a", 2), ("a", 1), ("a", 3)], "newest first; the sixth one joined its cause, which keeps its place");
}

#[tokio::test]
async fn a_later_clash_of_a_row_keeps_its_group_and_raises_the_revision() {
    let cloud = Cloud::start().await;
    let mut site = changed_at_the_cloud(&cloud, "a").await;
    let (one, again) = (renamed(&site, 1), site.update("sources", &id('s', 1), &json!({"name": "mine again"})));
    site.push_one(one).await;
    let before = inbox(&cloud, pending()).await.remove(0);
    site.push_one(source(&site, &id('s', 30), &id('p', 1), 30)).await;
    cloud.run("UPDATE rejoin.conflict_groups SET last_at = last_at - interval '1 day'").await;
    site.push_one(again).await;
    let lines = inbox(&cloud, pending()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((lines[0].id, lines[0].conflicts, lines[0].example.revision), (before.id, 1, 2));
    assert_eq!(lines[0].example.local_data.as_ref().unwrap()["name"], "mine again");
}

#[tokio::test]
async fn who_changed_either_side_is_kept() {
    let cloud = Cloud::start().await;
    let mut site = changed_at_the_cloud(&cloud, "a").await;
    cloud.run("SELECT set_config('rejoin.author', 'bob', false); UPDATE sources SET name = 'by bob'").await;
    let (one, two) = (renamed(&site, 1), renamed(&site, 2));
    site.push_one(one).await;
    let conflict = inbox(&cloud, pending()).await.remove(0).example;
    assert_eq!((conflict.cloud_modified_by.as_deref(), conflict.local_modified_by.as_deref()), (Some("bob"), Some("ann")));
    cloud.run(&format!("DELETE FROM sources WHERE id = '{}'", id('s', 2))).await;
    site.push_one(two).await;
    let query =
        ConflictQuery { filter: ConflictFilter { kind: Some(ConflictKind::UpdateDelete), ..pending() }, limit: 9, ..Default::default() };
    let deleted = find(&cloud, query).await.remove(0);
    assert_eq!((deleted.cloud_modified_by.as_deref(), deleted.cloud_data.is_none()), (Some("bob"), true), "who deleted it");
    assert!(deleted.cloud_updated_at.is_some());
}

#[tokio::test]
async fn what_hangs_from_a_held_row_is_shown_inside_its_group_also_when_it_comes_later() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 7));
    cloud.production(&p, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let output = |site: &Site<'_>, port: &str| site.insert("outputs", &json!({"source_id": s, "port": port, "label": "x"}));
    let answers = site.push(vec![source(&site, &s, &p, 1), output(&site, "1")]).await;
    assert_eq!(verdicts(&answers), ["held", "held"]);
    let answers = site.push(vec![output(&site, "2")]).await;
    assert_eq!(verdicts(&answers), ["held"]);
    // The parent waits at the cloud as well: its child's child hangs from the same top.
    let below = site.insert("sources", &json!({"id": id('s', 8), "production_id": p, "name": "b", "slot": 8, "number": 8, "above": s}));
    site.push_one(below).await;
    let lowest =
        site.insert("sources", &json!({"id": id('s', 9), "production_id": p, "name": "c", "slot": 9, "number": 9, "above": id('s', 8)}));
    site.push_one(lowest).await;
    let lines = inbox(&cloud, pending()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!((line.kind, line.conflicts, line.dependents, line.table_name.as_str()), (ConflictKind::Unique, 1, 4, "sources"));
    assert_eq!((line.example.record_id.as_str(), line.example.dependents), (s.as_str(), 4));
    let hanging = ConflictFilter { root: Some(line.example.id), ..pending() };
    let found = find(&cloud, ConflictQuery { filter: hanging, limit: 50, ..Default::default() }).await;
    assert!(found.len() == 4 && found.iter().all(|conflict| conflict.group == Some(line.id)), "{found:?}");
    let counted = counts(&cloud.db.client().await.unwrap(), &pending()).await.unwrap();
    assert_eq!((counted.total, counted.by_kind["foreign_key"], counted.by_kind["unique"]), (5, 4, 1));
}

/// Five conflicts of two sites, each of its own time but two.
async fn five(cloud: &Cloud) -> Vec<Uuid> {
    let mut a = changed_at_the_cloud(cloud, "a").await;
    let mut b = changed_at_the_cloud(cloud, "b").await;
    cloud.run("UPDATE sources SET name = 'later'").await;
    a.push_one(renamed(&a, 1)).await;
    b.push(vec![renamed(&b, 2), renamed(&b, 1)]).await;
    a.push(vec![renamed(&a, 3)]).await;
    a.push(vec![source(&a, &id('s', 20), &id('p', 1), 1)]).await;
    let rows = cloud.sql.query("SELECT id FROM rejoin.sync_conflicts ORDER BY created_at DESC, id", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_order_pages_through_all_and_nothing_twice_while_others_come_in() {
    let cloud = Cloud::start().await;
    let there = five(&cloud).await;
    let mut late = changed_at_the_cloud(&cloud, "c").await;
    cloud.run("UPDATE sources SET name = 'once more'").await;
    for (round, sort) in [ConflictSort::Newest, ConflictSort::Oldest, ConflictSort::Record, ConflictSort::Site].into_iter().enumerate() {
        let whole = find(&cloud, ConflictQuery { sort, limit: 50, ..ConflictQuery::default() }).await;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = find(&cloud, ConflictQuery { sort, after, limit: 2, ..ConflictQuery::default() }).await;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page.iter().map(|conflict| conflict.id));
            if seen.len() == 2 {
                late.push_one(renamed(&late, u32::try_from(round).unwrap() + 2)).await;
            }
        }
        let unique: BTreeSet<_> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "{sort:?}");
        let missing: Vec<_> = whole.iter().filter(|conflict| !unique.contains(&conflict.id)).collect();
        assert!(missing.is_empty(), "{sort:?}: {missing:?}");
        assert!(there.iter().all(|id| whole.iter().any(|conflict| conflict.id.0 == *id)));
        let shown = |conflict: &Conflict| (conflict.site.clone(), conflict.record_id.clone(), conflict.created_at);
        let of: Vec<_> = whole.iter().map(shown).collect();
        let right = |(left, right): (&(String, String, _), &(String, String, _))| match sort {
            ConflictSort::Newest => left.2 >= right.2,
            ConflictSort::Oldest => left.2 <= right.2,
            ConflictSort::Record => left.1 <= right.1,
            ConflictSort::Site => left.0 < right.0 || (left.0 == right.0 && left.2 >= right.2),
        };
        assert!(of.iter().zip(&of[1..]).all(right), "{sort:?}: {of:?}");
    }
}

#[tokio::test]
async fn every_filter_finds_its_own_and_the_counts_agree_with_the_lists() {
    let cloud = Cloud::start().await;
    five(&cloud).await;
    cloud
        .run(&format!("UPDATE rejoin.sync_conflicts SET resolution = 'LOCAL_WINS', policy = 'newest' WHERE record_id = '{}'", id('s', 3)))
        .await;
    let all = find(&cloud, ConflictQuery { limit: 50, ..ConflictQuery::default() }).await;
    let of_b = all.iter().find(|conflict| conflict.site == "b").unwrap();
    let any = ConflictFilter::default;
    let cases: Vec<(ConflictFilter, usize)> = vec![
        (any(), 5),
        (pending(), 4),
        (ConflictFilter { resolution: Some(Resolution::LocalWins), ..any() }, 1),
        (ConflictFilter { table: Some("sources".into()), ..any() }, 5),
        (ConflictFilter { table: Some("outputs".into()), ..any() }, 0),
        (ConflictFilter { kind: Some(ConflictKind::Unique), ..any() }, 1),
        (ConflictFilter { site: Some("b".into()), ..any() }, 2),
        (ConflictFilter { group: of_b.group, ..any() }, 2),
        (ConflictFilter { push: Some(2), site: Some("a".into()), ..any() }, 1),
        (ConflictFilter { column: Some("name".into()), ..any() }, 4),
        (ConflictFilter { column: Some("width".into()), ..any() }, 0),
        (ConflictFilter { since: Some(of_b.created_at), ..any() }, 4),
        (ConflictFilter { until: Some(of_b.created_at), ..any() }, 1),
        (ConflictFilter { table: Some("sources".into()), record: Some(id('s', 1)), ..any() }, 2),
        (ConflictFilter { by_policy: Some(true), ..any() }, 1),
        (ConflictFilter { by_policy: Some(false), ..any() }, 4),
    ];
    for (filter, expected) in cases {
        let query = ConflictQuery { filter: filter.clone(), limit: 50, ..ConflictQuery::default() };
        assert_eq!(find(&cloud, query).await.len(), expected, "{filter:?}");
        let counted = counts(&cloud.db.client().await.unwrap(), &filter).await.unwrap();
        assert_eq!(counted.total, expected as u64, "{filter:?}");
        for by in [counted.by_kind, counted.by_table, counted.by_site, counted.by_resolution] {
            assert_eq!(by.values().sum::<u64>(), expected as u64, "{filter:?}: {by:?}");
        }
        let folded = inbox(&cloud, filter.clone()).await;
        assert_eq!(folded.iter().map(|line| line.conflicts + line.dependents).sum::<u64>(), expected as u64, "{filter:?}");
    }
}

#[tokio::test]
async fn groups_page_by_their_examples_even_when_one_is_resolved_meanwhile() {
    let cloud = Cloud::start().await;
    five(&cloud).await;
    for filter in [pending(), ConflictFilter::default()] {
        let whole = inbox(&cloud, filter.clone()).await;
        assert_eq!(whole.iter().map(|line| line.conflicts).collect::<Vec<_>>(), [1, 2, 2], "{filter:?}");
        let client = cloud.db.client().await.unwrap();
        let query = ConflictQuery { filter: filter.clone(), limit: 1, ..ConflictQuery::default() };
        let first = groups(&client, &cloud.catalog, &query).await.unwrap();
        assert_eq!(first[0].id, whole[0].id);
        cloud.run(&format!("UPDATE rejoin.sync_conflicts SET resolution = 'LOCAL_WINS' WHERE id = '{}'", first[0].example.id)).await;
        let query = ConflictQuery { after: Some(first[0].example.id), limit: 9, ..query };
        let rest = groups(&client, &cloud.catalog, &query).await.unwrap();
        assert_eq!(rest.iter().map(|line| line.id).collect::<Vec<_>>(), [whole[1].id, whole[2].id]);
        cloud.run("UPDATE rejoin.sync_conflicts SET resolution = 'PENDING'").await;
    }
    // A conflict parked before groups were kept is a group by itself.
    cloud.run("UPDATE rejoin.sync_conflicts SET group_id = NULL").await;
    for filter in [pending(), ConflictFilter::default()] {
        let lines = inbox(&cloud, filter).await;
        assert!(lines.len() == 5 && lines.iter().all(|line| line.id == line.example.id.0 && line.conflicts == 1));
    }
}

#[tokio::test]
async fn the_detail_shows_the_row_that_stands_against_it_as_it_is_now() {
    let cloud = Cloud::start().await;
    let mut site = changed_at_the_cloud(&cloud, "a").await;
    let change = renamed(&site, 1);
    site.push(vec![change, source(&site, &id('s', 20), &id('p', 1), 2)]).await;
    cloud.run("UPDATE sources SET width = 77").await;
    let open = find(&cloud, ConflictQuery { filter: pending(), sort: ConflictSort::Record, limit: 9, ..Default::default() }).await;
    let client = cloud.db.client().await.unwrap();
    let shown = detail(&client, &cloud.catalog, open[0].id).await.unwrap().unwrap();
    assert_eq!((shown.current.unwrap()["width"].clone(), shown.against), (json!(77), None));
    assert_eq!(shown.conflict.cloud_data.unwrap()["width"], 1, "as it was when it was parked");
    let unique = detail(&client, &cloud.catalog, open[1].id).await.unwrap().unwrap();
    assert_eq!(
        (unique.conflict.kind, unique.against, unique.current.unwrap()["slot"].clone()),
        (ConflictKind::Unique, Some(id('s', 2)), json!(2))
    );
    assert_eq!(detail(&client, &cloud.catalog, sync_core::id::ConflictId(Uuid::nil())).await.unwrap(), None);
}
