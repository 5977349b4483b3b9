//! Cutting pushes, and what answers do.

use local_server::store::DbError;
use local_server::store::answers::{Counts, Outcome};
use local_server::store::outbox::Pass;
use sync_core::change::{At, Confirmed, Edit, Image, Op, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{CatalogVersion, ColumnNo, PushNo, Tick};
use sync_core::limits::PUSH_ROWS_MAX;
use sync_core::value::Value;
use sync_core::wire::codec;
use sync_core::wire::message::{PushResult, Refusal};

use crate::bench::*;

fn image(tick: i64, row: Vec<Value>) -> Image {
    let stamp = Stamp { version: 8, updated_at: NOW.into(), modified_by: Some("cloud".into()), synced_at: Some(NOW.into()) };
    Image { at: At { scope: scope("a"), tick: Tick(tick) }, stamp, state: State::Live(row) }
}

#[tokio::test]
async fn rekeys_go_first_then_inserts_parents_first_then_updates_then_deletes_children_first() {
    let site = Site::new(1).await;
    let seeded = page(&[(&scope("a"), 5)])
        .live(SHOWS, 0, 1, 1, show("a", 1, "x"))
        .live(ITEMS, 0, 1, 1, item("i1", "a", 1, ""))
        .live(ITEMS, 0, 1, 1, item("i2", "a", 2, ""))
        .live(ITEMS, 0, 1, 1, item("i3", "a", 3, ""));
    site.pull(seeded).await;
    site.sql("INSERT INTO shows (id) VALUES ('n'); UPDATE shows SET b = 'y'; DELETE FROM items WHERE id = 'i1'; DELETE FROM shows WHERE id = 'none'").await;
    // A child before its parent, in one table.
    site.sql("PRAGMA defer_foreign_keys = on; INSERT INTO items (id, show, slot, parent) VALUES ('k', 'n', 1, 'm'), ('m', 'n', 2, NULL)")
        .await;
    site.sql("UPDATE items SET id = 'r' WHERE id = 'i2'; UPDATE items SET note = 'i3' WHERE id = 'i3'").await;
    let push = site.cut().await.unwrap();
    assert_eq!(
        told(&push),
        "rekey items/i2>r; insert shows/n; insert items/m; insert items/k; update shows/a 3:x>y; update shows/n; update items/i3 4:>i3; delete items/i1"
            .replace("update shows/n; ", "")
    );
    assert_eq!(push.cursors, [head(&scope("a"), 5)]);
    assert_eq!(push.rows[4].base, Some(At { scope: scope("a"), tick: Tick(1) }));
    assert_eq!(push.rows[6].stamp.modified_by.as_deref(), Some("site:venue"));
    assert!(push.rows[6].stamp.version > 1 && !push.rows[6].stamp.updated_at.is_empty(), "{:?}", push.rows[6].stamp);
}

#[tokio::test]
async fn the_same_bytes_are_sent_again_until_they_are_answered() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id, a) VALUES ('a', 1)").await;
    let (first, _) = site.next(&mut Pass::default()).await.unwrap();
    site.sql("UPDATE shows SET a = 2; INSERT INTO shows (id) VALUES ('b')").await;
    let (again, push) = site.next(&mut Pass::default()).await.unwrap();
    assert_eq!((first.body, again.fresh), (again.body, false));
    assert_eq!(site.applied(&push, vec![exact(&scope("a"), 3, 1)]).await, Outcome::Applied(Counts { accepted: 1, parked: 0, deferred: 0 }));
    let push = site.cut().await.unwrap();
    assert_eq!((push.no, told(&push)), (PushNo(2), "insert shows/b; update shows/a 2:1>2".into()));
    assert_eq!(push.previous, site.rows("SELECT hash FROM rejoin_pushes WHERE no = 1").await);
    site.applied(&push, vec![exact(&scope("b"), 1, 1), exact(&scope("a"), 4, 9)]).await;
    assert!(site.cut().await.is_none());
    assert_eq!(
        site.rows("SELECT id, a, version, rejoin_scope, rejoin_tick, synced_at IS NOT NULL FROM shows ORDER BY id").await,
        "a|2|9|shows/a|4|1;b|-|1|shows/b|1|1"
    );
    site.assert_clean().await;
}

#[tokio::test]
async fn h04_an_insert_deleted_before_its_push_is_dropped_and_one_deleted_in_flight_is_deleted_at_the_cloud() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a'); DELETE FROM shows").await;
    assert!(site.cut().await.is_none());
    site.assert_clean().await;

    site.sql("INSERT INTO shows (id) VALUES ('b')").await;
    let push = site.cut().await.unwrap();
    site.sql("DELETE FROM shows").await;
    assert!(site.cut().await.is_some_and(|again| again.no == push.no));
    site.applied(&push, vec![exact(&scope("b"), 1, 1)]).await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "delete shows/b");
    site.applied(&push, vec![exact(&scope("b"), 2, 2)]).await;
    site.assert_clean().await;
    // The version of the key goes on where it stopped.
    let least = site.rows("SELECT max(rejoin_version) FROM rejoin_base_1 WHERE rejoin_row < 0").await;
    assert!(least.parse::<i64>().unwrap() >= 2, "{least}");
}

#[tokio::test]
async fn h04_a_row_deleted_in_flight_and_inserted_again_is_found_by_its_key() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "x"))).await;
    site.sql("DELETE FROM shows").await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "delete shows/a");
    site.sql("INSERT INTO shows (id, a, b) VALUES ('a', 7, 'z')").await;
    site.applied(&push, vec![exact(&scope("a"), 2, 2)]).await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "insert shows/a");
    site.applied(&push, vec![exact(&scope("a"), 3, 3)]).await;
    assert_eq!(site.rows("SELECT id, a, b, rejoin_tick FROM shows").await, "a|7|z|3");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_row_put_back_by_hand_becomes_clean_and_is_not_sent() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 4, show("a", 1, "x"))).await;
    site.sql("UPDATE shows SET a = 2").await;
    site.sql("UPDATE shows SET a = 1").await;
    assert!(site.cut().await.is_none());
    site.assert_clean().await;
    assert_eq!(site.rows("SELECT synced_at IS NOT NULL, version >= 4 FROM shows").await, "1|1");
}

#[tokio::test]
async fn twenty_thousand_edits_are_ten_pushes_and_busy_rows_stop_nobody() {
    let site = Site::new(1).await;
    site.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO shows (id, a) SELECT printf('s%05d', i), i FROM n",
    )
    .await;
    let mut pass = Pass::default();
    let mut pushes = 0_usize;
    let mut accepted = 0;
    while let Some((_, push)) = site.next(&mut pass).await {
        pushes += 1;
        assert!(push.rows.len() <= PUSH_ROWS_MAX);
        // The first push's scopes are held by somebody.
        let answer = |busy: bool| if busy { verdict(Verdict::Deferred) } else { exact(&scope("x"), 1, 1) };
        accepted += if pushes == 1 { 0 } else { push.rows.len() };
        site.applied(&push, push.rows.iter().map(|_| answer(pushes == 1)).collect()).await;
    }
    assert_eq!((pushes, accepted), (10, 18_000));
    let push = site.cut().await.unwrap();
    assert_eq!((push.rows.len(), push.rows[0].key.to_string()), (2_000, "s00001".into()));
}

#[tokio::test]
async fn h20_a_refused_push_is_cut_anew_under_the_next_number() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a'), ('b')").await;
    let mut pass = Pass::default();
    let (_, push) = site.next(&mut pass).await.unwrap();
    let refusal = Refusal::Malformed("bad".into());
    let outcome = site.answer(push.no, PushResult::Refused(refusal.clone())).await;
    assert_eq!(outcome, Outcome::Refused(refusal.clone(), 2));
    pass.refused(2, "bad");
    // What is wrong ends up alone and is passed by.
    let (_, push) = site.next(&mut pass).await.unwrap();
    assert_eq!((push.no, told(&push)), (PushNo(2), "insert shows/a".into()));
    site.answer(push.no, PushResult::Refused(refusal)).await;
    pass.refused(1, "shows/a is bad");
    let (_, push) = site.next(&mut pass).await.unwrap();
    assert_eq!((push.no, told(&push)), (PushNo(3), "insert shows/b".into()));
    site.applied(&push, vec![exact(&scope("b"), 1, 1)]).await;
    assert!(site.next(&mut pass).await.is_none());
    assert_eq!(pass.problems, ["shows/a is bad"]);
}

#[tokio::test]
async fn what_was_replaced_in_flight_is_cut_anew_after_a_refusal() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "A"))).await;
    site.sql("UPDATE shows SET b = 'B'; INSERT INTO shows (id) VALUES ('n')").await;
    for refusal in [Refusal::Catalog(CatalogVersion(2)), Refusal::Malformed("bad".into())] {
        let push = site.cut().await.unwrap();
        site.sql("INSERT OR REPLACE INTO shows (id, a, b) VALUES ('a', 1, 'C'), ('n', NULL, 'N'); INSERT INTO items (id, show, slot) VALUES ('i' || random(), 'n', NULL)").await;
        site.answer(push.no, PushResult::Refused(refusal)).await;
    }
    let push = site.cut().await.unwrap();
    assert!(told(&push).starts_with("insert shows/n; insert items/i"), "{}", told(&push));
    assert!(told(&push).ends_with("; update shows/a 3:A>C"), "{}", told(&push));
}

#[tokio::test]
async fn h09_an_edit_made_while_its_row_was_clashing_joins_the_conflict() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "A"))).await;
    site.sql("UPDATE shows SET b = 'B'").await;
    let push = site.cut().await.unwrap();
    site.sql("UPDATE shows SET b = 'D', a = 5").await;
    let clash = RowAnswer {
        verdict: Verdict::Parked(conflict(1)),
        clashed: vec![ColumnNo(3)],
        confirmed: Confirmed::Image(image(2, show("a", 1, "X"))),
        merged: vec![],
    };
    site.applied(&push, vec![clash.clone()]).await;
    assert_eq!(site.rows("SELECT a, b FROM shows").await, "5|X");
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "update shows/a 3:B>D", "D is never based on X");
    // Somebody has the scope. The row itself waits: a push has one change of a row.
    site.applied(&push, vec![verdict(Verdict::Deferred)]).await;
    site.sql("UPDATE shows SET b = 'E'").await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "update shows/a 3:B>D");
    let parked = RowAnswer { confirmed: Confirmed::Nothing, ..clash };
    let mut pass = Pass::default();
    site.applied(&push, vec![parked]).await;
    let (_, push) = site.next(&mut pass).await.unwrap();
    assert_eq!(told(&push), "update shows/a 2:1>5,3:X>E");
    site.applied(&push, vec![exact(&scope("a"), 3, 9)]).await;
    assert_eq!(site.rows("SELECT a, b FROM shows").await, "5|E");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_later_edit_joins_the_one_that_waits_already() {
    let site = Site::new(1).await;
    site.pull(page(&[(&scope("a"), 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "A"))).await;
    site.sql("UPDATE shows SET a = 2, b = 'B'").await;
    let push = site.cut().await.unwrap();
    site.sql("UPDATE shows SET b = 'D'").await;
    // Of an earlier push of a program that did not let the row wait for it.
    let edit = |column, base, new| Edit { column: ColumnNo(column), base, new };
    let waiting = RowChange {
        base: None,
        op: Op::Update(vec![edit(2, Value::Int(0), Value::Int(9)), edit(3, text("first"), text("A"))]),
        ..push.rows[0].clone()
    };
    let body = codec::encode(&waiting).unwrap();
    site.db
        .apply(move |connection| {
            let sql = "INSERT INTO rejoin_later (table_no, record_id, body) VALUES (1, 'a', ?1)";
            Ok::<_, DbError>(connection.execute(sql, [body])?)
        })
        .await
        .unwrap();
    let clash = RowAnswer {
        verdict: Verdict::Parked(conflict(1)),
        clashed: vec![ColumnNo(2), ColumnNo(3)],
        confirmed: Confirmed::Image(image(2, show("a", 7, "X"))),
        merged: vec![],
    };
    site.applied(&push, vec![clash]).await;
    assert_eq!(told(&site.cut().await.unwrap()), "update shows/a 2:0>9,3:first>D");
}

#[tokio::test]
async fn h23_a_held_row_waits_with_its_dependents_and_they_travel_with_each_new_offer() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id, b) VALUES ('p', 'taken'); INSERT INTO items (id, show, slot) VALUES ('c', 'p', 1)").await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "insert shows/p; insert items/c");
    let outcome = site.applied(&push, vec![verdict(Verdict::Held(conflict(1))), verdict(Verdict::Held(conflict(2)))]).await;
    assert_eq!(outcome, Outcome::Applied(Counts { accepted: 0, parked: 2, deferred: 0 }));
    assert_eq!(site.rows("SELECT rejoin_held FROM shows UNION ALL SELECT rejoin_held FROM items").await, "1;1");
    assert!(site.cut().await.is_none(), "nobody touched it");

    site.sql("INSERT INTO items (id, show, slot) VALUES ('d', 'p', 2)").await;
    let mut pass = Pass::default();
    assert!(site.next(&mut pass).await.is_none() && pass.blocked, "what depends on a held row waits with it");

    site.sql("UPDATE shows SET b = 'free' WHERE id = 'p'").await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "insert shows/p; insert items/c; insert items/d");
    site.applied(&push, vec![exact(&scope("p"), 1, 1), exact(&scope("p"), 1, 1), exact(&scope("p"), 1, 1)]).await;
    assert_eq!(site.rows("SELECT rejoin_held FROM shows UNION ALL SELECT rejoin_held FROM items").await, "0;0;0");
    site.assert_clean().await;
}

#[tokio::test]
async fn h18_a_clone_begins_a_chain_of_its_own_and_offers_what_is_dirty_anew() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a')").await;
    let push = site.cut().await.unwrap();
    assert_eq!(site.answer(push.no, PushResult::Fork).await, Outcome::Fork);
    let plan = std::sync::Arc::clone(&site.plan);
    site.db.apply(move |connection| local_server::store::outbox::start_chain_anew(connection, Some(&plan))).await.unwrap();
    let push = site.cut().await.unwrap();
    assert_eq!((push.no, push.previous.as_str(), push.reoffer, told(&push)), (PushNo(1), "", true, "insert shows/a".into()));
}

#[tokio::test]
async fn a_gap_consumes_no_number_and_an_answer_to_another_push_is_refused() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a')").await;
    let push = site.cut().await.unwrap();
    assert_eq!(site.answer(push.no, PushResult::Gap(PushNo(7))).await, Outcome::Gap(PushNo(7)));
    assert!(site.cut().await.is_some_and(|again| again == push));
    let answer = sync_core::wire::message::PushAnswer {
        no: push.no,
        hash: "another".into(),
        result: PushResult::Applied { rows: vec![exact(&scope("a"), 1, 1)], commands: vec![] },
        mac: String::new(),
    };
    let plan = std::sync::Arc::clone(&site.plan);
    let refused = site.db.apply(move |connection| local_server::store::answers::apply(connection, &plan, PushNo(1), &answer)).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("other bytes")));
}

#[tokio::test]
async fn a_value_that_cannot_be_read_stops_only_its_own_row() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id, a) VALUES ('a', 'many'), ('b', 1)").await;
    let mut pass = Pass::default();
    let (_, push) = site.next(&mut pass).await.unwrap();
    assert_eq!(told(&push), "insert shows/b");
    assert!(pass.problems.iter().any(|problem| problem.contains("shows/a") && problem.contains("column a")), "{:?}", pass.problems);
}
