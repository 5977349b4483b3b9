//! Plain SQL at the cloud is stamped: each way to write, in one transaction or several, with what others do meanwhile.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "the tests' own module")]

mod cloud;

use cloud::{Cloud, Row};

#[tokio::test]
async fn an_insert_is_stamped_with_the_tick_of_its_scope() {
    let cloud = Cloud::start().await;
    cloud.run("INSERT INTO productions (id, client, show_name) VALUES ('0198c0de-0000-7000-8000-000000000001', 'c', 's')").await;
    let row = cloud.row("productions", "0198c0de-0000-7000-8000-000000000001").await;
    assert_eq!(row, Row { scope: "productions/0198c0de-0000-7000-8000-000000000001".into(), tick: 1, version: 1 });
}
