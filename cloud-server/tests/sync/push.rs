//! Pushes: what is accepted, exactly once, in which order.

use std::time::Duration;

use serde_json::json;
use sync_core::change::{Confirmed, Op, RowChange, Verdict};
use sync_core::id::{CatalogVersion, PushNo};
use sync_core::limits::VERSION_LEAD_MAX;
use sync_core::wire::codec::encode;
use sync_core::wire::message::{PushResult, Refusal};

use crate::cloud::{Cloud, connect};
use crate::site::{Site, id, stamp, verdict, verdicts};

fn source(site: &Site<'_>, id: &str, production: &str, slot: i64) -> RowChange {
    site.insert("sources", &json!({"id": id, "production_id": production, "name": format!("s{slot}"), "slot": slot, "number": slot}))
}

#[tokio::test]
async fn rows_of_several_tables_are_accepted_exactly_and_a_new_root_grants_its_scope() {
    let cloud = Cloud::start().await;
    let mut site = cloud.site("a", &[]).await;
    let (p, s) = (id('p', 1), id('s', 1));
    // Children before parents: the order of a push means nothing.
    let answers = site
        .push(vec![
            site.insert("outputs", &json!({"source_id": s, "port": "SDI 1", "label": "out"})),
            source(&site, &s, &p, 1),
            site.insert("productions", &json!({"id": p, "name": "new", "code": "N1"})),
        ])
        .await;
    assert_eq!(verdicts(&answers), ["exact", "exact", "exact"], "{:?}", site.reasons().await);
    let Confirmed::Exact { at, version, .. } = &answers[1].confirmed else { panic!("{answers:?}") };
    assert_eq!((at.scope.0.as_str(), at.tick.0, *version), (format!("productions/{p}").as_str(), 1, 2));
    let by: String = cloud.one("SELECT rejoin_modified_by || ' ' || (rejoin_synced_at IS NOT NULL) FROM sources").await;
    assert_eq!(by, "ann true");
    let author: String = cloud.one(&format!("SELECT author || ' ' || push_no FROM rejoin.ticks WHERE scope = 'productions/{p}'")).await;
    assert_eq!(author, "site:a 1");
    assert_eq!(cloud.count(&format!("rejoin.subscriptions WHERE scope = 'productions/{p}'")).await, 1);

    let pulled = site.pull().await;
    assert!(pulled.rows.iter().any(|(table, _)| table == "sources"), "a scope that is new to a site comes whole: {pulled:?}");
    let answers = site
        .push(vec![site.update(
            "sources",
            &s,
            &json!({"name": "other", "tags": ["x", null, "a\"b"], "extra": {"b": 1, "a": [1.50]}, "price": "12.5"}),
        )])
        .await;
    assert_eq!(verdicts(&answers), ["exact"]);
    assert_eq!(site.pull().await.rows, [], "what was answered exactly is not sent back");
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_push_sent_again_gets_the_stored_answer_also_while_the_first_one_is_under_way() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let push = site.next_push(vec![source(&site, &id('s', 1), &p, 1)]);
    let body = encode(&push).unwrap();
    let (first, second, third) = tokio::join!(site.send(&body), site.send(&body), site.send(&body));
    let first = first.unwrap();
    assert_eq!(second.unwrap(), first);
    assert_eq!(third.unwrap(), first);
    assert_eq!(cloud.count("sources").await, 1);
    assert_eq!(cloud.count(&format!("rejoin.ticks WHERE scope = 'productions/{p}' AND push_no = 1")).await, 1, "taken once");

    site.take_answer(&push, &body, &first);
    site.push(vec![source(&site, &id('s', 2), &p, 2)]).await;
    assert_eq!(site.send(&body).await.unwrap().result, PushResult::Fork, "its answer is no longer kept: a restored copy sends it");
}

#[tokio::test]
async fn h18_a_gap_is_named_and_another_push_of_the_same_number_is_a_fork() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.push(vec![source(&site, &id('s', 1), &p, 1)]).await;

    let mut ahead = site.next_push(vec![]);
    ahead.no = PushNo(5);
    assert_eq!(site.send(&encode(&ahead).unwrap()).await.unwrap().result, PushResult::Gap(PushNo(1)));

    let mut clone = site.copy();
    site.push(vec![source(&site, &id('s', 2), &p, 2)]).await;
    let other = clone.next_push(vec![source(&clone, &id('s', 3), &p, 3)]);
    let answer = clone.push_whole(&other).await;
    assert_eq!((answer.result, answer.mac.as_str()), (PushResult::Fork, ""));
    assert_eq!(cloud.count("sources").await, 2);

    let mut follows_another = site.next_push(vec![]);
    follows_another.previous = "ab".repeat(32);
    assert_eq!(site.send(&encode(&follows_another).unwrap()).await.unwrap().result, PushResult::Fork);
}

#[tokio::test]
async fn h20_a_refused_push_consumes_its_number_and_the_next_one_goes_on() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let mut old = site.next_push(vec![]);
    old.speaker.catalog = CatalogVersion(99);
    let answer = site.push_whole(&old).await;
    assert_eq!(answer.result, PushResult::Refused(Refusal::Catalog(cloud.catalog.version)));
    let twice = site.next_push(vec![source(&site, &id('s', 1), &p, 1), source(&site, &id('s', 1), &p, 1)]);
    assert!(matches!(site.push_whole(&twice).await.result, PushResult::Refused(Refusal::Malformed(_))));
    assert_eq!(verdict(&site.push_one(source(&site, &id('s', 1), &p, 1)).await), "exact");
    assert_eq!(site.last, 3);
}

#[tokio::test]
async fn h20_rows_of_a_busy_scope_are_deferred_with_what_hangs_from_them_and_the_rest_goes_on() {
    let cloud = Cloud::start().await;
    let (p1, p2) = (id('p', 1), id('p', 2));
    cloud.production(&p1, &[&id('s', 1)]).await;
    cloud.production(&p2, &[]).await;
    let mut site = cloud.site("a", &[&p1, &p2]).await;
    site.pull().await;

    // A psql session holds the global scope: the kind waits, and so does the source that names it.
    let other = connect(cloud.url()).await;
    other.batch_execute("BEGIN; INSERT INTO kinds VALUES ('held', 'h')").await.unwrap();
    let rows = vec![
        site.insert("kinds", &json!({"id": "camera", "label": "Camera"})),
        site.insert("sources", &json!({"id": id('s', 8), "production_id": p2, "name": "x", "slot": 1, "kind": "camera", "number": 1})),
        site.update("sources", &id('s', 1), &json!({"name": "goes on"})),
    ];
    assert_eq!(verdicts(&site.push(rows.clone()).await), ["deferred", "deferred", "exact"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(verdicts(&site.push(rows[..2].to_vec()).await), ["exact", "exact"]);
    assert_eq!(cloud.count("rejoin.sync_conflicts").await, 0);

    // A row that somebody holds without its head, as a plain UPDATE does a moment before our trigger asks for it.
    other.batch_execute(&format!("BEGIN; SELECT 1 FROM sources WHERE id = '{}' FOR UPDATE", id('s', 1))).await.unwrap();
    let rows =
        vec![site.update("sources", &id('s', 1), &json!({"name": "waits"})), site.update("sources", &id('s', 8), &json!({"name": "goes"}))];
    assert_eq!(verdicts(&site.push(rows).await), ["deferred", "exact"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(verdict(&site.push_one(site.update("sources", &id('s', 1), &json!({"name": "waits"}))).await), "exact");
}

#[tokio::test]
async fn rb07_a_unique_value_that_a_deferred_row_is_to_give_up_is_waited_for() {
    let cloud = Cloud::start().await;
    let (p1, p2) = (id('p', 1), id('p', 2));
    cloud.production(&p1, &[]).await;
    cloud.production(&p2, &[]).await;
    cloud.run(&format!("UPDATE productions SET code = 'X' WHERE id = '{p1}'")).await;
    let mut site = cloud.site("a", &[&p1, &p2]).await;
    site.pull().await;
    let other = connect(cloud.url()).await;
    other.batch_execute(&format!("BEGIN; SELECT rejoin.take('productions/{p1}')")).await.unwrap();
    let rows = vec![site.update("productions", &p1, &json!({"code": "Y"})), site.update("productions", &p2, &json!({"code": "X"}))];
    assert_eq!(verdicts(&site.push(rows.clone()).await), ["deferred", "deferred"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"]);
}

#[tokio::test]
async fn rb07_a_delete_of_a_row_that_a_deferred_row_is_to_let_go_is_waited_for() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud.run("INSERT INTO kinds VALUES ('k', 'x'); UPDATE sources SET kind = 'k'").await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let other = connect(cloud.url()).await;
    other.batch_execute(&format!("BEGIN; SELECT rejoin.take('productions/{p}')")).await.unwrap();
    let rows = vec![site.delete("kinds", "k"), site.update("sources", &s, &json!({"kind": null}))];
    assert_eq!(verdicts(&site.push(rows.clone()).await), ["deferred", "deferred"]);
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(verdicts(&site.push(rows).await), ["exact", "exact"]);
    assert_eq!(cloud.count("rejoin.sync_conflicts").await, 0);
}

#[tokio::test]
async fn h21_a_plain_update_of_the_same_row_never_becomes_the_victim() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let other = connect(cloud.url()).await;
    let writer = tokio::spawn(async move {
        for no in 0..40 {
            other.execute(&format!("UPDATE sources SET width = {no} WHERE id = '{}'", id('s', 1)), &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut taken = 0;
    for no in 0..20 {
        let answer = site.push_one(site.update("sources", &s, &json!({"height": no}))).await;
        taken += i32::from(matches!(answer.verdict, Verdict::Accepted));
    }
    writer.await.unwrap();
    assert!(taken > 10, "{taken} of 20");
}

#[tokio::test]
async fn h22_what_a_trigger_changes_elsewhere_carries_the_same_tick_and_is_delivered() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    cloud
        .run(
            "CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE productions SET seen = now() WHERE id = NEW.production_id; RETURN NULL; END $$;
             CREATE TRIGGER seen AFTER UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION seen();",
        )
        .await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    assert_eq!(verdict(&site.push_one(site.update("sources", &s, &json!({"name": "x"}))).await), "exact");
    let ticks: i64 = cloud
        .one("SELECT count(DISTINCT rejoin_tick) FROM (SELECT rejoin_tick FROM sources UNION ALL SELECT rejoin_tick FROM productions) t")
        .await;
    assert_eq!(ticks, 1);
    assert_eq!(site.pull().await.rows, [("productions".to_owned(), p)]);
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn h06_cascades_and_what_triggers_and_types_change_come_back_to_their_author() {
    let cloud = Cloud::start().await;
    let (p, s1, s2) = (id('p', 1), id('s', 1), id('s', 2));
    cloud.production(&p, &[&s1, &s2]).await;
    cloud
        .run(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
             CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON sources FOR EACH ROW EXECUTE FUNCTION shout();",
        )
        .await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    // numeric(10, 2) rounds, the trigger shouts, the identity column is the cloud's: each is an image, not exact.
    let answers = site
        .push(vec![
            site.update("sources", &s1, &json!({"price": "1.005"})),
            site.update("sources", &s2, &json!({"name": "loud"})),
            site.insert("sources", &json!({"id": id('s', 3), "production_id": p, "name": "THREE", "slot": 3})),
        ])
        .await;
    assert_eq!(verdicts(&answers), ["image", "image", "image"]);
    assert_eq!(site.value("sources", &s1, "price"), json!("1.01"));
    assert_eq!(site.value("sources", &s2, "name"), json!("LOUD"));
    assert!(site.value("sources", &id('s', 3), "number").is_i64());
    assert_eq!(site.pull().await.rows.len(), 3, "not known as exact, so delivered");
    site.assert_same_as_cloud().await;
}

#[tokio::test]
async fn a_version_never_goes_back_and_counts_only_so_far_ahead() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let version = async || cloud.one::<i64>("SELECT rejoin_version FROM sources").await;
    let mut change = site.update("sources", &s, &json!({"name": "x"}));
    change.stamp = stamp(17);
    site.push_one(change).await;
    assert_eq!(version().await, 18);
    let mut change = site.update("sources", &s, &json!({"name": "y"}));
    change.stamp = stamp(i64::MAX);
    site.push_one(change).await;
    assert_eq!(version().await, 18 + VERSION_LEAD_MAX + 1);
    let before = version().await;
    site.push_one(site.delete("sources", &s)).await;
    let answer = site.push_one(source(&site, &s, &p, 1)).await;
    let Confirmed::Exact { version: again, .. } = answer.confirmed else { panic!("{answer:?}") };
    assert!(again > before + 1, "over delete and insert too: {again}");
    assert_eq!(cloud.count("rejoin.tombstones").await, 0, "a row that is there again leaves no tombstone");
}

#[tokio::test]
async fn equal_values_are_no_ops_and_raise_nothing() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let stale = site.update("sources", &s, &json!({"name": "same"}));
    cloud.run("UPDATE sources SET name = 'same'").await;
    let head: i64 = cloud.one(&format!("SELECT head FROM rejoin.scopes WHERE scope = 'productions/{p}'")).await;
    assert_eq!(verdict(&site.push_one(stale).await), "no-op");
    let after: i64 = cloud.one(&format!("SELECT head FROM rejoin.scopes WHERE scope = 'productions/{p}'")).await;
    assert_eq!(head, after);
}

#[tokio::test]
async fn other_columns_merge_and_the_row_comes_back_whole() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let change = site.update("sources", &s, &json!({"name": "mine"}));
    cloud.run("UPDATE sources SET width = 1920").await;
    assert_eq!(verdict(&site.push_one(change).await), "image");
    assert_eq!((site.value("sources", &s, "name"), site.value("sources", &s, "width")), (json!("mine"), json!(1920)));
    assert!(matches!(site.update("sources", &s, &json!({})).op, Op::Update(_)));
}

#[tokio::test]
async fn rows_whose_answer_no_message_can_carry_are_deferred_until_it_can() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    let sources: Vec<String> = (1..=20).map(|no| id('s', no)).collect();
    cloud.production(&p, &sources.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Noise does not compress: 20 rows of 900 kB.
    let noise =
        "UPDATE sources SET extra = to_jsonb((SELECT string_agg(md5(random()::text || slot || n), '') FROM generate_series(1, 28800) n))";
    cloud.run(noise).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    let mut changes: Vec<RowChange> = sources.iter().map(|id| site.update("sources", id, &json!({"name": "mine"}))).collect();
    cloud.run("UPDATE sources SET width = 5").await;
    let mut pushes = 0;
    while !changes.is_empty() {
        let answers = site.push(changes.clone()).await;
        assert!(answers.iter().any(|answer| answer.verdict == Verdict::Accepted));
        let mut deferred = answers.iter().map(|answer| answer.verdict == Verdict::Deferred);
        changes.retain(|_| deferred.next().unwrap());
        pushes += 1;
    }
    assert!(pushes > 1);
    assert_eq!(cloud.count("sources WHERE name = 'mine' AND width = 5").await, 20);
}

#[tokio::test]
async fn an_edit_of_a_row_that_no_message_can_carry_waits_and_blocks_nothing() {
    let cloud = Cloud::start().await;
    let (p, s) = (id('p', 1), id('s', 1));
    cloud.production(&p, &[&s]).await;
    let mut site = cloud.site("a", &[&p]).await;
    site.pull().await;
    cloud.run("UPDATE productions SET name = repeat('x', 1048577)").await;
    let edit = |site: &Site<'_>| site.update("productions", &p, &json!({"code": "C", "name": "mine"}));
    let push = site.next_push(vec![edit(&site), site.update("sources", &s, &json!({"width": 1}))]);
    let answer = site.push_whole(&push).await;
    let PushResult::Applied { rows, .. } = &answer.result else { panic!("{answer:?}") };
    assert_eq!(verdicts(rows), ["deferred", "exact"]);
    // What was stored can be read: the same push gets the same answer.
    assert_eq!(site.send(&encode(&push).unwrap()).await.unwrap(), answer);
    assert_eq!(cloud.count("rejoin.sync_conflicts").await, 0, "nothing is taken or parked of a row that waits");
    // A trigger that makes a value too large: the edit counts, the site hears of it later.
    cloud
        .run(
            "CREATE FUNCTION swell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.extra = to_jsonb(repeat('x', 1048577)); RETURN NEW; END $$;
             CREATE TRIGGER swell BEFORE UPDATE ON sources FOR EACH ROW WHEN (NEW.width = 7) EXECUTE FUNCTION swell()",
        )
        .await;
    let change = site.update("sources", &s, &json!({"width": 7}));
    assert_eq!(verdict(&site.push_one(change).await), "deferred");
    cloud.run("UPDATE sources SET width = 8, extra = NULL; UPDATE productions SET name = 'p'").await;
    assert_eq!(verdict(&site.push_one(edit(&site)).await), "image");
    site.pull().await;
    site.assert_same_as_cloud().await;
}
