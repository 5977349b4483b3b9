//! Applying pulls.

use local_server::store::spool;
use sync_core::catalog::{Catalog, Column, DefaultValue};
use sync_core::id::{ColumnNo, ScopeId};
use sync_core::value::{ColumnType, Value};
use sync_core::wire::codec;
use sync_core::wire::message::{Page, Window};

use crate::bench::*;

#[tokio::test]
async fn a_first_sync_loads_rows_and_leaves_the_indexes_as_they_were() {
    let site = Site::new(1).await;
    let indexes = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name";
    let before = site.rows(indexes).await;
    let mut first = page(&[(&scope("a"), 9)]);
    for number in 0..3_000 {
        first = first.live(ITEMS, 0, 1, 1, item(&format!("i{number:05}"), "a", number, ""));
    }
    let applied = site.pull(first.live(SHOWS, 0, 1, 3, show("a", 1, "x"))).await;
    assert_eq!((applied.received, applied.moved.to_log().1), (3_001, r#"{"shows/a":9}"#.into()));
    assert_eq!(site.rows("SELECT count(*), sum(rejoin_held), min(rejoin_scope), max(rejoin_tick) FROM items").await, "3000|0|shows/a|1");
    assert_eq!(site.rows(indexes).await, before);
    site.assert_clean().await;
    assert!(site.cut().await.is_none(), "the sync captures nothing of its own");
}

#[tokio::test]
async fn pages_apply_in_order_in_one_transaction_ra3() {
    let site = Site::new(1).await;
    let mut first = page(&[(&scope("a"), 100)]).live(SHOWS, 0, 50, 1, show("a", 1, "x")).live(ITEMS, 0, 50, 1, item("k", "a", 1, ""));
    first.next = Some(Window { from: vec![], heads: vec![], after: None });
    let last = page(&[(&scope("a"), 120)]).gone(ITEMS, 0, 120, "k", false);
    let plan = std::sync::Arc::clone(&site.plan);
    site.db
        .apply(move |connection| {
            for page in [&first, &last] {
                assert!(spool::keep(connection, page, None, &codec::encode(page).unwrap())?);
            }
            local_server::store::apply::apply(connection, &plan, None, NOW)
        })
        .await
        .unwrap();
    assert_eq!(site.rows("SELECT id FROM shows").await, "a");
    assert_eq!(site.rows("SELECT id FROM items").await, "", "what a later page says is gone stays gone");
    assert_eq!(site.rows("SELECT tick FROM rejoin_cursors").await, "120");
    assert_eq!(site.rows("SELECT count(*) FROM rejoin_spool").await, "0");
}

#[tokio::test]
async fn h13_a_mark_takes_only_what_still_belongs_to_its_scope_and_is_older() {
    let (a, b) = (scope("a"), scope("b"));
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1), (&b, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(ITEMS, 0, 1, 1, item("i", "a", 1, ""))).await;
    // It moved to b: its row comes with the mark of a.
    site.pull(page(&[(&a, 5), (&b, 2)]).gone(ITEMS, 0, 5, "i", true).live(ITEMS, 1, 2, 2, item("i", "b", 1, "moved"))).await;
    assert_eq!(site.rows("SELECT id, note, rejoin_scope FROM items").await, "i|moved|shows/b");
    // The mark again, late: it is one of a, the row belongs to b.
    site.pull(page(&[(&a, 6), (&b, 2)]).gone(ITEMS, 0, 6, "i", true)).await;
    // Deleted and inserted in one tick.
    site.pull(page(&[(&a, 6), (&b, 7)]).gone(ITEMS, 1, 7, "i", false).live(ITEMS, 1, 7, 3, item("i", "b", 1, "again"))).await;
    assert_eq!(site.rows("SELECT id, note FROM items").await, "i|again");
    site.pull(page(&[(&a, 6), (&b, 8)]).gone(ITEMS, 1, 8, "i", false)).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "");
}

#[tokio::test]
async fn rb1_versions_never_go_back_over_images_and_over_delete_and_insert() {
    let site = Site::new(1).await;
    let a = scope("a");
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 8, show("a", 1, "x"))).await;
    site.pull(page(&[(&a, 2)]).live(SHOWS, 0, 2, 6, show("a", 2, "x"))).await;
    assert_eq!(site.rows("SELECT a, version FROM shows").await, "2|9", "another content counts on");
    site.pull(page(&[(&a, 3)]).live(SHOWS, 0, 3, 7, show("a", 2, "x"))).await;
    assert_eq!(site.rows("SELECT a, version FROM shows").await, "2|9", "the same content keeps the higher one");
    site.pull(page(&[(&a, 4)]).gone(SHOWS, 0, 4, "a", false)).await;
    site.pull(page(&[(&a, 5)]).live(SHOWS, 0, 5, 2, show("a", 3, "x"))).await;
    assert_eq!(site.rows("SELECT a, version > 9 FROM shows").await, "3|1");
}

#[tokio::test]
async fn h05_a_parent_that_dirty_rows_refer_to_becomes_a_ghost_until_they_are_settled() {
    let site = Site::new(1).await;
    let a = scope("a");
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "x"))).await;
    site.sql("INSERT INTO items (id, show, slot) VALUES ('c', 'a', 1)").await;
    site.pull(page(&[(&a, 2)]).gone(SHOWS, 0, 2, "a", false)).await;
    assert_eq!(site.rows("SELECT id, rejoin_held FROM shows").await, "a|2");
    assert_eq!(site.rows("SELECT id FROM items").await, "c", "the new child is not lost");
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "insert items/c");
    let parked = sync_core::change::Verdict::Held(conflict(1));
    site.applied(&push, vec![verdict(parked)]).await;
    assert_eq!(site.rows("SELECT rejoin_held FROM shows").await, "2", "the child waits, and so does the ghost");
    // CLOUD_WINS: the held row goes, and the ghost with it.
    let resolved = conflict_row(1, "CLOUD_WINS", 2);
    let own = ScopeId("site/1".into());
    site.pull(page(&[(&a, 2), (&own, 1)]).live(CONFLICTS, 1, 1, 1, resolved)).await;
    assert_eq!(site.rows("SELECT (SELECT count(*) FROM shows), (SELECT count(*) FROM items)").await, "0|0");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_held_row_that_won_is_released_to_what_the_cloud_sent() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id, a) VALUES ('a', 1)").await;
    let push = site.cut().await.unwrap();
    site.applied(&push, vec![verdict(sync_core::change::Verdict::Held(conflict(1)))]).await;
    let own = ScopeId("site/1".into());
    let resolved = conflict_row(1, "LOCAL_WINS", 2);
    site.pull(page(&[(&scope("a"), 4), (&own, 1)]).live(CONFLICTS, 1, 1, 1, resolved).live(SHOWS, 0, 4, 2, show("a", 1, "merged"))).await;
    assert_eq!(site.rows("SELECT a, b, rejoin_held, rejoin_tick FROM shows").await, "1|merged|0|4");
    site.assert_clean().await;
}

#[tokio::test]
async fn rb3_unique_values_swap_among_clean_rows_and_a_dirty_twin_is_held() {
    let site = Site::new(1).await;
    let a = scope("a");
    let seeded = page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(ITEMS, 0, 1, 1, item("i", "a", 1, "")).live(
        ITEMS,
        0,
        1,
        1,
        item("j", "a", 2, ""),
    );
    site.pull(seeded).await;
    site.pull(page(&[(&a, 2)]).live(ITEMS, 0, 2, 2, item("i", "a", 2, "")).live(ITEMS, 0, 2, 2, item("j", "a", 1, ""))).await;
    assert_eq!(site.rows("SELECT id, slot, rejoin_held FROM items ORDER BY id").await, "i|2|0;j|1|0");

    site.sql("INSERT INTO items (id, show, slot) VALUES ('mine', 'a', 7)").await;
    site.pull(page(&[(&a, 3)]).live(ITEMS, 0, 3, 1, item("theirs", "a", 7, ""))).await;
    assert_eq!(site.rows("SELECT id, rejoin_held FROM items WHERE slot = 7 ORDER BY id").await, "mine|1;theirs|0");
    // The cloud's row made room after all: mine is accepted and ordinary again.
    site.pull(page(&[(&a, 4)]).live(ITEMS, 0, 4, 2, item("theirs", "a", 8, ""))).await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "insert items/mine");
    site.applied(&push, vec![exact(&a, 5, 1)]).await;
    assert_eq!(site.rows("SELECT id, slot, rejoin_held FROM items WHERE slot > 2 ORDER BY id").await, "mine|7|0;theirs|8|0");
    site.assert_clean().await;
}

#[tokio::test]
async fn rows_of_a_scope_given_up_go_once_their_edits_are_in() {
    let (a, b) = (scope("a"), scope("b"));
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1), (&b, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(SHOWS, 1, 1, 1, show("b", 1, ""))).await;
    site.sql("INSERT INTO items (id, show, slot) VALUES ('c', 'a', 1)").await;
    site.pull(page(&[(&b, 2)])).await;
    assert_eq!(site.rows("SELECT scope, dropping FROM rejoin_cursors").await, "shows/a|1;shows/b|0");
    assert_eq!(site.rows("SELECT id FROM shows ORDER BY id").await, "a;b", "an edit waits");
    let push = site.cut().await.unwrap();
    site.applied(&push, vec![exact(&a, 2, 1)]).await;
    site.pull(page(&[(&b, 3)])).await;
    assert_eq!(site.rows("SELECT id FROM shows").await, "b");
    assert_eq!(site.rows("SELECT id FROM items").await, "");
    assert_eq!(site.rows("SELECT scope FROM rejoin_cursors").await, "shows/b");
}

#[tokio::test]
async fn ra1_an_image_confirmed_at_a_newer_tick_is_not_overwritten_by_an_older_page() {
    let a = scope("a");
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "x"))).await;
    site.sql("UPDATE shows SET a = 2").await;
    let push = site.cut().await.unwrap();
    site.applied(&push, vec![exact(&a, 60, 2)]).await;
    // Spooled before the push was answered.
    site.pull(page(&[(&a, 55)]).live(SHOWS, 0, 50, 5, show("a", 1, "old"))).await;
    assert_eq!(site.rows("SELECT a, b, rejoin_tick FROM shows").await, "2|x|60");
    site.pull(page(&[(&a, 70)]).live(SHOWS, 0, 65, 6, show("a", 2, "new"))).await;
    assert_eq!(site.rows("SELECT a, b, rejoin_tick FROM shows").await, "2|new|65");
}

#[tokio::test]
async fn an_image_of_a_key_that_another_row_took_here_waits_for_its_answer() {
    let a = scope("a");
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(ITEMS, 0, 1, 1, item("i", "a", 1, "mine"))).await;
    site.sql("UPDATE items SET id = 'j'").await;
    site.pull(page(&[(&a, 2)]).live(ITEMS, 0, 2, 1, item("j", "a", 2, "theirs"))).await;
    assert_eq!(site.rows("SELECT id, note FROM items").await, "j|mine");
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "rekey items/i>j");
    let image = sync_core::change::Image {
        at: sync_core::change::At { scope: a.clone(), tick: sync_core::id::Tick(1) },
        stamp: sync_core::change::Stamp { version: 1, updated_at: NOW.into(), modified_by: None, synced_at: Some(NOW.into()) },
        state: sync_core::change::State::Live(item("i", "a", 1, "mine")),
    };
    let parked = sync_core::change::RowAnswer {
        verdict: sync_core::change::Verdict::Parked(conflict(1)),
        clashed: vec![],
        confirmed: sync_core::change::Confirmed::Image(image),
        merged: vec![],
    };
    site.applied(&push, vec![parked]).await;
    assert_eq!(site.rows("SELECT id, note FROM items ORDER BY id").await, "i|mine;j|theirs");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_local_value_that_no_merge_can_read_stops_no_pull() {
    let a = scope("a");
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(SHOWS, 0, 1, 1, show("b", 1, ""))).await;
    site.sql("UPDATE shows SET a = 'many' WHERE id = 'a'").await;
    let applied = site.pull(page(&[(&a, 2)]).live(SHOWS, 0, 2, 2, show("a", 5, "")).live(SHOWS, 0, 2, 2, show("b", 5, ""))).await;
    assert_eq!((applied.received, applied.problems.len()), (2, 1));
    assert_eq!(site.rows("SELECT id, a FROM shows ORDER BY id").await, "a|many;b|5");
    // Put right, the row follows: its edit was put back.
    site.sql("UPDATE shows SET a = 1 WHERE id = 'a'").await;
    assert!(site.cut().await.is_none());
    assert_eq!(site.rows("SELECT id, a FROM shows ORDER BY id").await, "a|5;b|5");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_row_of_a_scope_made_here_that_was_deleted_before_its_first_pull_goes() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('a'); INSERT INTO items (id, show, slot) VALUES ('i', 'a', 1), ('j', 'a', 2)").await;
    let push = site.cut().await.unwrap();
    let a = scope("a");
    site.applied(&push, vec![exact(&a, 1, 1), exact(&a, 1, 1), exact(&a, 1, 1)]).await;
    // Another site deleted j at tick 2; a first pull has live rows only.
    site.pull(page(&[(&a, 2)]).live(SHOWS, 0, 1, 1, vec![text("a"), Value::Null, Value::Null]).live(ITEMS, 0, 1, 1, item("i", "a", 1, "")))
        .await;
    assert_eq!(site.rows("SELECT id FROM items").await, "i");
    assert_eq!(site.rows("SELECT id FROM shows").await, "a");
}

#[tokio::test]
async fn h01_an_insert_taken_and_deleted_at_the_cloud_before_its_answer_arrives_is_gone() {
    let a = scope("a");
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, ""))).await;
    site.sql("INSERT INTO items (id, show, slot) VALUES ('i', 'a', 1)").await;
    let push = site.cut().await.unwrap();
    site.pull(page(&[(&a, 12)]).gone(ITEMS, 0, 12, "i", false)).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "i", "nobody knows yet whose insert that was");
    site.applied(&push, vec![exact(&a, 11, 1)]).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "");
    site.assert_clean().await;
}

#[tokio::test]
async fn h01_a_key_changed_and_then_deleted_at_the_cloud_before_its_answer_arrives_is_gone() {
    let a = scope("a");
    let site = Site::new(1).await;
    site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(ITEMS, 0, 1, 1, item("k", "a", 1, ""))).await;
    site.sql("UPDATE items SET id = 'm'").await;
    let push = site.cut().await.unwrap();
    site.pull(page(&[(&a, 8)]).gone(ITEMS, 0, 8, "k", false).live(ITEMS, 0, 8, 2, item("m", "a", 1, ""))).await;
    site.pull(page(&[(&a, 9)]).gone(ITEMS, 0, 9, "m", false)).await;
    site.applied(&push, vec![exact(&a, 8, 2)]).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "");
    site.assert_clean().await;
}

#[tokio::test]
async fn h01_a_scope_made_here_and_deleted_at_the_cloud_before_its_answer_arrives_is_gone() {
    let b = scope("b");
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id) VALUES ('b')").await;
    let push = site.cut().await.unwrap();
    // A first pull of the scope has live rows only: nothing.
    site.pull(page(&[(&b, 3)])).await;
    site.applied(&push, vec![exact(&b, 1, 1)]).await;
    assert_eq!(site.rows("SELECT id FROM shows").await, "");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_column_that_a_pull_has_brought_is_asserted_by_a_later_delete() {
    for brought in [true, false] {
        let mut site = Site::new(1).await;
        let a = scope("a");
        site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "x"))).await;
        site.sql("UPDATE shows SET a = 2").await;
        let mut after = Catalog::clone(&site.plan.catalog);
        after.version.0 += 1;
        let made = Column {
            no: ColumnNo(4),
            name: "made".into(),
            ty: ColumnType::Timestamptz,
            default: Some(DefaultValue::Now),
            ..after.tables[0].columns[2].clone()
        };
        after.tables[0].columns.push(made);
        site.take(after).await;
        if brought {
            let row = vec![text("a"), Value::Int(1), text("x"), text(NOW)];
            let mut fed = page(&[(&a, 5)]).live(SHOWS, 0, 5, 2, row);
            fed.tables[0].columns.push(ColumnNo(4));
            site.pull(fed).await;
        }
        site.sql("DELETE FROM shows").await;
        let push = site.cut().await.unwrap();
        let asserted: Vec<ColumnNo> = push.rows[0].values().map(|(no, _)| no).collect();
        assert_eq!(asserted.contains(&ColumnNo(4)), brought, "{:?}", push.rows);
    }
}

#[tokio::test]
async fn of_many_rows_fed_again_those_that_do_not_come_go() {
    let mut site = Site::new(1).await;
    let a = scope("a");
    let rows = |site: &Site, tick, from: i64| {
        let version = site.plan.catalog.version;
        let first = Page { catalog: version, ..page(&[(&a, tick)]) }.live(SHOWS, 0, 1, 1, show("a", 1, ""));
        (from..5_000).fold(first, |page, number| page.live(ITEMS, 0, tick, 1, item(&format!("i{number:04}"), "a", number, "")))
    };
    site.pull(rows(&site, 1, 0)).await;
    site.sql("UPDATE items SET id = 'k' WHERE id = 'i0001'; UPDATE items SET note = 'n' WHERE id IN ('i0002', 'i4999')").await;
    let mut after = Catalog::clone(&site.plan.catalog);
    after.version.0 += 1;
    after.tables[1].generation = 1;
    site.take(after).await;
    site.pull(rows(&site, 2, 2_500)).await;
    assert_eq!(
        site.rows("SELECT count(*), min(id), max(id) FROM items WHERE rejoin_row NOT IN (SELECT rejoin_row FROM rejoin_base_2)").await,
        "2499|i2500|i4998"
    );
    assert_eq!(
        site.rows("SELECT id, note FROM items WHERE rejoin_row IN (SELECT rejoin_row FROM rejoin_base_2) ORDER BY id").await,
        "i0002|n;i4999|n;k|"
    );
    assert_eq!(
        site.rows("SELECT id, rejoin_state FROM rejoin_theirs_2 WHERE rejoin_state = 'deleted' ORDER BY id").await,
        "i0001|deleted;i0002|deleted"
    );
}
