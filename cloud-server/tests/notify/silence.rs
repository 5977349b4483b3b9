//! Silent sites, with the clock as an argument.

use chrono::{DateTime, TimeDelta, Utc};
use cloud_server::store::notices::{check_silence, list};
use cloud_server::store::pool::Database as Db;
use serde_json::json;

use crate::clouds::{Running, database};
use crate::delivery::sql;
use crate::site::Site;

const HOUR: TimeDelta = TimeDelta::hours(1);
const AFTER: std::time::Duration = std::time::Duration::from_secs(4 * 3_600);

/// Looks every four minutes up to `until`; how many notices that wrote.
async fn look_until(db: &Db, now: &mut DateTime<Utc>, until: DateTime<Utc>) -> usize {
    let mut written = 0;
    while *now < until {
        *now += TimeDelta::minutes(4);
        written += check_silence(&mut db.client().await.unwrap(), *now, AFTER).await.unwrap();
    }
    written
}

#[tokio::test]
async fn a_silence_is_told_once_and_so_is_its_end() {
    let database = database().await;
    let running = Running::plain(&database).await;
    Site::join(running.cloud.url(), &running.admin(), "studio").await;
    Site::join(running.cloud.url(), &running.admin(), "revoked").await;
    running.admin().delete("/api/rejoin/sites/revoked").await;
    running.admin().post("/api/rejoin/sites", json!({ "name": "never", "scopes": ["*"] })).await;
    let db = Db::open(database.url(), 2).unwrap();
    let start = Utc::now();
    let mut now = start;

    assert_eq!(look_until(&db, &mut now, start + HOUR * 3).await, 0);
    assert_eq!(look_until(&db, &mut now, start + HOUR * 5).await, 1);
    assert_eq!(look_until(&db, &mut now, start + HOUR * 30).await, 0, "told once");
    let told = &list(&db.client().await.unwrap()).await.unwrap()[0];
    assert_eq!((told.kind.as_str(), told.state.as_str()), ("silence", "waiting"));

    let seen = (now + TimeDelta::minutes(1)).to_rfc3339();
    sql(&database, &format!("UPDATE rejoin.sites SET last_seen_at = '{seen}' WHERE name = 'studio'")).await;
    let back = now;
    assert_eq!(look_until(&db, &mut now, back + HOUR).await, 1, "it is back");
    assert_eq!(look_until(&db, &mut now, back + HOUR * 3).await, 0);
    assert_eq!(look_until(&db, &mut now, back + HOUR * 5).await, 1, "another silence");
    let kinds: Vec<String> = list(&db.client().await.unwrap()).await.unwrap().into_iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, ["silence", "back", "silence"]);
}

#[tokio::test]
async fn a_cloud_that_was_away_gives_sites_a_while_to_come_back() {
    let database = database().await;
    let running = Running::plain(&database).await;
    for name in ["a", "b"] {
        Site::join(running.cloud.url(), &running.admin(), name).await;
    }
    let db = Db::open(database.url(), 2).unwrap();
    let start = Utc::now();
    let mut now = start;
    assert_eq!(look_until(&db, &mut now, start + HOUR).await, 0);
    // Nobody looked for two days.
    now += HOUR * 48;
    let again = now;
    assert_eq!(look_until(&db, &mut now, again + TimeDelta::minutes(12)).await, 0);
    let seen = now.to_rfc3339();
    sql(&database, &format!("UPDATE rejoin.sites SET last_seen_at = '{seen}' WHERE name = 'a'")).await;
    assert_eq!(look_until(&db, &mut now, again + TimeDelta::minutes(24)).await, 1, "only the one that did not come back");
}

#[tokio::test]
async fn processes_that_look_at_the_same_time_tell_once() {
    let database = database().await;
    let running = Running::plain(&database).await;
    for number in 0..5 {
        Site::join(running.cloud.url(), &running.admin(), &format!("s{number}")).await;
    }
    let db = Db::open(database.url(), 4).unwrap();
    let start = Utc::now();
    let mut now = start;
    assert_eq!(look_until(&db, &mut now, start + HOUR * 3).await, 0);
    sql(&database, "UPDATE rejoin.sites SET last_seen_at = last_seen_at - interval '2 hours'").await;
    let look = async || check_silence(&mut db.client().await.unwrap(), now, AFTER).await.unwrap();
    let (a, b, c) = tokio::join!(look(), look(), look());
    assert_eq!(a + b + c, 5);
    assert_eq!(list(&db.client().await.unwrap()).await.unwrap().len(), 5);
}
