//! Additions and edit times on their way to the cloud and back, and answers that come after another catalog.

use std::sync::Arc;

use conflict_ui_api::backend::{Backend, Principal, Role, Write};
use local_server::backend::SiteBackend;
use local_server::store::StoreError;
use local_server::store::hidden;
use local_server::store::outbox;
use sync_core::catalog::{Catalog, Column};
use sync_core::change::{At, Confirmed, Image, RowAnswer, RowChange, Stamp, State, Verdict};
use sync_core::id::{CatalogVersion, ColumnNo, Tick};
use sync_core::policy::Policy;
use sync_core::value::Value;
use sync_core::wire::message::{PushResult, Refusal};
use uuid::Uuid;

use crate::bench::*;

/// Of shows `a` is added to, and of `b` the newest counts.
fn adding() -> Arc<Catalog> {
    let mut catalog = (*catalog()).clone();
    catalog.tables[0].columns[1].policy = Policy::Add;
    catalog.tables[0].columns[2].policy = Policy::Newest;
    Arc::new(catalog)
}

/// A site with the show `a`, `a` = 10.
async fn seeded() -> Site {
    let site = Site::of(1, adding()).await;
    site.pull(page(&[(&scope("a"), 5)]).live(SHOWS, 0, 1, 1, show("a", 10, "x"))).await;
    site
}

fn amounts(change: &RowChange) -> Vec<i64> {
    let amount = |value: &Value| if let Value::Int(amount) = value { *amount } else { panic!("{value:?}") };
    change.additions.iter().map(|addition| amount(&addition.amount)).collect()
}

fn ids(change: &RowChange) -> Vec<Uuid> {
    change.additions.iter().map(|addition| addition.id).collect()
}

fn image(tick: i64, row: Vec<Value>) -> Confirmed {
    let stamp = Stamp { version: 8, updated_at: NOW.into(), modified_by: Some("cloud".into()), synced_at: Some(NOW.into()) };
    Confirmed::Image(Image { at: At { scope: scope("a"), tick: Tick(tick) }, stamp, state: State::Live(row) })
}

fn accepted(confirmed: Confirmed) -> RowAnswer {
    RowAnswer { verdict: Verdict::Accepted, clashed: vec![], confirmed, merged: vec![] }
}

#[tokio::test]
async fn additions_travel_with_their_ids_and_what_is_added_meanwhile_stands_on_the_answer() {
    let site = seeded().await;
    site.sql("UPDATE shows SET a = a + 5; UPDATE shows SET a = a - 2").await;
    let first = site.cut().await.unwrap();
    assert_eq!((told(&first).as_str(), amounts(&first.rows[0])), ("update shows/a ", vec![5, -2]));
    site.applied(&first, vec![verdict(Verdict::Deferred)]).await;
    site.sql("UPDATE shows SET a = a + 1").await;
    let again = site.cut().await.unwrap();
    assert_eq!(ids(&again.rows[0])[..2], ids(&first.rows[0]), "the same operations");
    site.sql("UPDATE shows SET a = a + 100, b = 'later'").await;
    // Somebody else added 20.
    site.applied(&again, vec![accepted(image(6, show("a", 34, "x")))]).await;
    assert_eq!(site.rows("SELECT a, b FROM shows").await, "134|later");
    let third = site.cut().await.unwrap();
    assert_eq!((told(&third).as_str(), amounts(&third.rows[0])), ("update shows/a 3:x>later", vec![100]));
    site.applied(&third, vec![exact(&scope("a"), 7, 9)]).await;
    assert_eq!(site.rows("SELECT a, b FROM shows").await, "134|later");
    site.assert_clean().await;
    assert_eq!(site.rows("SELECT * FROM rejoin_additions").await + &site.rows("SELECT * FROM rejoin_times").await, "");
}

#[tokio::test]
async fn the_apis_own_writes_are_operations_too() {
    // The conflicts of this catalog are too small for the API.
    let mut catalog = (*adding()).clone();
    catalog.tables.truncate(2);
    let site = Site::of(1, Arc::new(catalog)).await;
    site.pull(page(&[(&scope("a"), 5)]).live(SHOWS, 0, 1, 1, show("a", 10, "x"))).await;
    let backend = SiteBackend::new("venue".into(), site.db.clone(), None);
    let by = Principal { name: "bea".into(), role: Role::Editor };
    for a in [12, 9] {
        let draft = [(ColumnNo(2), Value::Int(a)), (ColumnNo(3), text(&format!("{a}")))].into_iter().collect();
        backend.write(&by, SHOWS, &Write::Update { key: key("a"), draft, if_match: None }).await.unwrap();
    }
    let push = site.cut().await.unwrap();
    assert_eq!((told(&push).as_str(), amounts(&push.rows[0])), ("update shows/a 3:x>9", vec![2, -3]));
    assert_eq!((push.rows[0].times.len(), push.rows[0].stamp.modified_by.as_deref()), (1, Some("bea")));
}

#[tokio::test]
async fn a_pull_moves_what_the_additions_stand_on_and_a_refused_push_or_a_new_replica_offers_the_same_ones() {
    let site = seeded().await;
    site.sql("UPDATE shows SET a = a + 5").await;
    site.pull(page(&[(&scope("a"), 6)]).live(SHOWS, 0, 6, 2, show("a", 50, "y"))).await;
    assert_eq!(site.rows("SELECT a, b FROM shows").await, "55|y");
    let first = site.cut().await.unwrap();
    site.answer(first.no, PushResult::Refused(Refusal::Catalog(CatalogVersion(2)))).await;
    let second = site.cut().await.unwrap();
    let plan = Arc::clone(&site.plan);
    site.db.apply(move |connection| outbox::start_chain_anew(connection, Some(&plan))).await.unwrap();
    let third = site.cut().await.unwrap();
    assert!(third.reoffer);
    assert_eq!((ids(&second.rows[0]), ids(&third.rows[0])), (ids(&first.rows[0]), ids(&first.rows[0])));
    assert_eq!(third.rows[0].base.as_ref().map(|at| at.tick), Some(Tick(6)));
}

#[tokio::test]
async fn what_is_added_to_a_row_whose_insert_is_under_way_is_an_operation_once_it_is_taken() {
    for taken in [true, false] {
        let site = Site::of(1, adding()).await;
        site.sql("INSERT INTO shows (id, a) VALUES ('a', 1); UPDATE shows SET a = a + 1").await;
        let push = site.cut().await.unwrap();
        assert!(push.rows[0].additions.is_empty() && told(&push) == "insert shows/a");
        site.sql("UPDATE shows SET a = a + 4").await;
        if taken {
            site.applied(&push, vec![exact(&scope("a"), 1, 1)]).await;
            let next = site.cut().await.unwrap();
            assert_eq!((told(&next).as_str(), amounts(&next.rows[0])), ("update shows/a ", vec![4]));
        } else {
            site.applied(&push, vec![verdict(Verdict::Held(conflict(1)))]).await;
            let next = site.cut().await.unwrap();
            assert!(next.rows[0].additions.is_empty());
            assert_eq!(next.rows[0].values().nth(1).unwrap().1, &Value::Int(6));
        }
    }
}

#[tokio::test]
async fn edits_from_and_to_null_are_edits_and_the_time_of_a_newest_column_goes_along() {
    let site = seeded().await;
    site.sql("UPDATE shows SET a = a + 1; UPDATE shows SET a = NULL, b = 'new'").await;
    let push = site.cut().await.unwrap();
    assert_eq!(
        (told(&push).as_str(), push.rows[0].additions.len()),
        ("update shows/a 2:10>NULL,3:x>new".replace("NULL", &Value::Null.to_text()).as_str(), 0)
    );
    assert_eq!(push.rows[0].times.len(), 1);
    assert!(push.rows[0].times[0].0 == ColumnNo(3) && push.rows[0].times[0].1.as_str() > "2026-01-02", "{:?}", push.rows[0].times);
}

#[tokio::test]
async fn an_answer_to_a_push_of_an_older_catalog_is_read_in_its_columns() {
    let mut site = seeded().await;
    site.sql("UPDATE shows SET a = a + 1, b = 'typed'").await;
    let push = site.cut().await.unwrap();
    let mut after = (*adding()).clone();
    after.version = CatalogVersion(2);
    let dropped = after.tables[0].columns.remove(2);
    after.tables[0].columns.push(Column { no: ColumnNo(4), name: "c".into(), policy: Policy::Manual, ..dropped });
    site.take(after).await;
    assert_eq!(site.rows("SELECT id, a, rejoin_hidden_3 FROM shows").await, "a|11|typed");
    site.applied(&push, vec![accepted(image(6, show("a", 31, "typed")))]).await;
    assert_eq!(site.rows("SELECT id, a, c FROM shows").await, "a|31|-");
    site.assert_clean().await;
    let plan = Arc::clone(&site.plan);
    assert!(site.db.apply(move |connection| hidden::tidy(connection, &plan)).await.map_err(|error: StoreError| error).unwrap());
    assert_eq!(site.rows("SELECT group_concat(name) FROM pragma_table_info('shows') WHERE name LIKE 'rejoin_hidden%'").await, "-");
}

#[tokio::test]
async fn an_edit_of_a_hidden_column_is_pushed_and_parked_and_the_column_goes() {
    let mut site = Site::new(1).await;
    let seed = page(&[(&scope("a"), 5)]).live(SHOWS, 0, 1, 1, show("a", 10, "x")).live(ITEMS, 0, 1, 1, item("i1", "a", 1, "n"));
    site.pull(seed).await;
    site.sql("UPDATE shows SET a = 11, b = 'typed'; UPDATE items SET note = 'typed'").await;
    let mut after = (*catalog()).clone();
    after.version = CatalogVersion(2);
    after.tables[0].columns.remove(2);
    after.tables.remove(1);
    site.take(after).await;
    let site = site.restarted().await;
    // A pull brings rows without it.
    let mut pulled = page(&[(&scope("a"), 6)]).live(SHOWS, 0, 6, 2, vec![text("a"), Value::Int(10)]);
    pulled.tables[0].columns.truncate(2);
    site.pull(pulled).await;
    let push = site.cut().await.unwrap();
    assert_eq!(told(&push), "update shows/a 2:10>11,3:x>typed; update items/i1 4:n>typed");
    let parked = |confirmed, clashed| RowAnswer { verdict: Verdict::Parked(conflict(1)), clashed, confirmed, merged: vec![] };
    let rows = vec![parked(image(7, vec![text("a"), Value::Int(11)]), vec![ColumnNo(3)]), parked(Confirmed::Nothing, vec![])];
    site.applied(&push, rows).await;
    let plan = Arc::clone(&site.plan);
    assert!(site.db.apply(move |connection| hidden::tidy(connection, &plan)).await.map_err(|error: StoreError| error).unwrap());
    assert_eq!(site.rows("SELECT id, a FROM shows").await, "a|11");
    assert_eq!(site.rows("SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%rejoin_hidden_%' AND name <> 'rejoin_hidden'").await, "0");
    assert_eq!(site.rows("SELECT * FROM rejoin_hidden").await, "");
}
