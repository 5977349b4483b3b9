//! Tables whose rows only go up: no pull brings them, so that no silence of a pull says that one is gone.

use std::sync::Arc;

use sync_core::catalog::{Catalog, Travel};
use sync_core::change::Verdict;
use sync_core::id::ScopeId;
use sync_core::value::Value;

use crate::bench::*;

/// A site whose items only go up.
async fn upward() -> Site {
    let mut upward = Catalog::clone(&catalog());
    upward.tables[1].travel = Travel::Up;
    Site::of(1, Arc::new(upward)).await
}

const MADE: &str = "INSERT INTO shows (id) VALUES ('a'); INSERT INTO items (id, show, slot) VALUES ('i', 'a', 1)";

#[tokio::test]
async fn the_first_pull_of_a_scope_made_here_leaves_what_only_goes_up() {
    let site = upward().await;
    site.sql(MADE).await;
    let push = site.cut().await.unwrap();
    let a = scope("a");
    site.applied(&push, vec![exact(&a, 1, 1), exact(&a, 1, 1)]).await;
    site.pull(page(&[(&a, 2)]).live(SHOWS, 0, 1, 1, vec![text("a"), Value::Null, Value::Null])).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "i");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_raised_generation_leaves_what_only_goes_up() {
    let mut site = upward().await;
    site.sql(MADE).await;
    let push = site.cut().await.unwrap();
    let a = scope("a");
    site.applied(&push, vec![exact(&a, 1, 1), exact(&a, 1, 1)]).await;
    let mut after = Catalog::clone(&site.plan.catalog);
    after.version.0 += 1;
    after.tables[1].generation = 1;
    site.take(after).await;
    site.pull(page(&[(&a, 2)]).live(SHOWS, 0, 1, 1, vec![text("a"), Value::Null, Value::Null])).await;
    assert_eq!(site.rows("SELECT id FROM items").await, "i");
}

#[tokio::test]
async fn a_late_answer_leaves_what_only_goes_up() {
    let site = upward().await;
    site.sql(MADE).await;
    let push = site.cut().await.unwrap();
    let a = scope("a");
    // The answer is lost, the pull is not, and others write meanwhile.
    site.pull(page(&[(&a, 7)]).live(SHOWS, 0, 1, 1, vec![text("a"), Value::Null, Value::Null])).await;
    site.applied(&push, vec![exact(&a, 1, 1), exact(&a, 1, 1)]).await;
    assert_eq!(site.rows("SELECT id, rejoin_tick FROM items").await, "i|1");
    site.assert_clean().await;
}

#[tokio::test]
async fn a_held_row_that_only_goes_up_stays_once_it_is_taken_and_goes_where_it_is_not() {
    for (resolution, stays) in [("LOCAL_WINS", true), ("MANUAL", true), ("CLOUD_WINS", false)] {
        for late in [false, true] {
            let site = upward().await;
            let (a, own) = (scope("a"), ScopeId("site/1".into()));
            site.pull(page(&[(&a, 1), (&own, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, ""))).await;
            site.sql("INSERT INTO items (id, show, slot) VALUES ('i', 'a', 1)").await;
            let push = site.cut().await.unwrap();
            let resolved = page(&[(&a, 4), (&own, 2)]).live(CONFLICTS, 1, 2, 1, conflict_row(1, resolution, 2));
            if late {
                site.pull(resolved.clone()).await;
            }
            site.applied(&push, vec![verdict(Verdict::Held(conflict(1)))]).await;
            if !late {
                site.pull(resolved).await;
            }
            let rows = site.rows("SELECT id, rejoin_held, synced_at FROM items").await;
            assert_eq!(rows, if stays { format!("i|0|{NOW}") } else { String::new() }, "{resolution} {late}");
            site.assert_clean().await;
            // An edit of it is an edit like any other.
            site.sql("UPDATE items SET note = 'n'").await;
            assert_eq!(site.cut().await.map(|push| told(&push)), stays.then(|| "update items/i 4:>n".to_owned()));
        }
    }
}
