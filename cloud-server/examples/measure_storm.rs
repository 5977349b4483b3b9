//! Measures a storm of conflicts on this machine against a private PostgreSQL: `cargo run --release -p cloud-server --example measure_storm`.
//!
//! Prints; asserts nothing but that what is measured happened. `RESOLVED=1000000` says how many decided conflicts lie around besides.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a measurement")]

#[path = "../tests/sync/cloud.rs"]
mod cloud;
mod measure;
#[path = "../tests/sync/site.rs"]
mod site;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::Cloud;
use cloud_server::settings::Settings;
use cloud_server::store::conflicts::{counts, detail, groups, list, resolve_many};
use cloud_server::store::error::StoreError;
use cloud_server::store::prepare;
use conflict_ui_api::backend::{BulkDecision, ConflictFilter, ConflictQuery, ConflictSort};
use futures_util::future::BoxFuture;
use measure::{forget_peak, memory, ms, setting, uuid};
use serde_json::json;
use site::{Site, id, verdict};
use sync_core::change::RowChange;
use sync_core::conflict::Resolution;
use sync_core::wire::codec::encode;
use sync_core::wire::message::PushResult;

const PUSHES: u32 = 5;
const ROWS: u32 = 2_000;
const SETTINGS: &str = "root = \"productions\"\nglobal = [\"kinds\"]\n";

#[tokio::main]
async fn main() {
    let cloud = Cloud::start().await;
    let (p, q) = (id('p', 1), id('p', 2));
    cloud.production(&p, &[]).await;
    cloud.production(&q, &[&id('s', 1)]).await;
    let mut site = cloud.site("a", &[&p]).await;
    let mut other = cloud.site("b", &[&q]).await;
    other.pull().await;

    history_costs(&cloud, &mut site).await;
    let plain = storm(&mut site, &mut other, "plain edits", |site, n| site.update("sources", &uuid(n), &json!({"width": 7}))).await;
    site.pull().await;
    cloud.run("UPDATE sources SET name = name || ' of the cloud'").await;
    println!("statements of one push of {ROWS} clashing edits: {}", statements(&cloud).await);
    let before = forget_peak();
    let edit = |site: &Site<'_>, n| site.update("sources", &uuid(n), &json!({"name": format!("mine {n}")}));
    let parked = storm(&mut site, &mut other, "clashing edits", edit).await;
    println!("parking takes {:.2} times as long as the plain push", parked.as_secs_f64() / plain.as_secs_f64());
    println!("memory of the process: {} MiB before, {} MiB at the peak", before / 1024, memory("VmHWM:") / 1024);
    lie_around(&cloud).await;
    look(&cloud).await;
    decide(&cloud, &mut other).await;
}

/// The same pushes without and with history.
async fn history_costs(cloud: &Cloud, site: &mut Site<'_>) {
    let p = id('p', 1);
    let row = |n: u32| json!({"id": uuid(n), "production_id": p, "name": format!("source {n}"), "slot": n + 1, "width": 1920, "price": "12.5", "number": n});
    let mut took = Vec::new();
    for (round, off) in [(0, "[tables.sources]\nhistory = false\n"), (1, "")] {
        prepare(&cloud.db, &Settings::parse(&format!("{SETTINGS}{off}")).unwrap(), None).await.unwrap();
        // The first rounds go, so that both begin on a table that is in use.
        let from = round * PUSHES * ROWS;
        let inserts = pushes(site, |site, n| site.insert("sources", &row(from + n))).await;
        let updates = pushes(site, |site, n| site.update("sources", &uuid(from + n), &json!({"name": "renamed", "height": round}))).await;
        took.push((inserts, updates));
        if round == 0 {
            cloud.run("DELETE FROM sources WHERE production_id = (SELECT min(id::text)::uuid FROM productions)").await;
            site.pull().await;
        }
    }
    let (off, on) = (took[0], took[1]);
    println!(
        "{} inserts pushed in {} without history, {} with: {:.2} times",
        PUSHES * ROWS,
        ms(off.0),
        ms(on.0),
        on.0.as_secs_f64() / off.0.as_secs_f64()
    );
    println!(
        "{} edits pushed in {} without history, {} with: {:.2} times",
        PUSHES * ROWS,
        ms(off.1),
        ms(on.1),
        on.1.as_secs_f64() / off.1.as_secs_f64()
    );
    cloud.run("DELETE FROM sources WHERE production_id = (SELECT min(id::text)::uuid FROM productions)").await;
    site.pull().await;
    pushes(site, |site, n| site.insert("sources", &row(n))).await;
}

/// The time that the cloud took, without making the messages.
async fn pushes(site: &mut Site<'_>, row: impl Fn(&Site<'_>, u32) -> RowChange) -> Duration {
    let mut took = Duration::ZERO;
    for no in 0..PUSHES {
        let push = site.next_push((no * ROWS..(no + 1) * ROWS).map(|n| row(site, n)).collect());
        let body = encode(&push).unwrap();
        let start = Instant::now();
        let answer = site.send(&body).await.unwrap();
        took += start.elapsed();
        site.take_answer(&push, &body, &answer);
    }
    took
}

/// How often the other site pushes.
const PAUSE: Duration = Duration::from_millis(50);

/// 10,000 rows pushed, while another site pushes a single row now and then.
async fn storm(site: &mut Site<'_>, other: &mut Site<'_>, what: &str, row: impl Fn(&Site<'_>, u32) -> RowChange) -> Duration {
    let mut latencies = Vec::new();
    for _ in 0..20 {
        latencies.push(one_push(other).await);
    }
    let quiet = worst(&mut latencies);
    let (mut took, mut latencies) = (Duration::ZERO, Vec::new());
    for no in 0..PUSHES {
        let push = site.next_push((no * ROWS..(no + 1) * ROWS).map(|n| row(site, n)).collect());
        let body = encode(&push).unwrap();
        let start = Instant::now();
        let answer = {
            let mut sending = std::pin::pin!(site.send(&body));
            loop {
                let mut one = std::pin::pin!(one_push(other));
                tokio::select! {
                    answer = &mut sending => { latencies.push(one.await); break answer.unwrap(); }
                    latency = &mut one => latencies.push(latency),
                }
            }
        };
        took += start.elapsed();
        let PushResult::Applied { rows, .. } = &answer.result else { panic!() };
        let verdicts: std::collections::BTreeSet<&str> = rows.iter().map(verdict).collect();
        println!("  push {no}: {verdicts:?}");
        site.take_answer(&push, &body, &answer);
    }
    let rows = f64::from(PUSHES * ROWS);
    println!("{rows} {what} in {}: {:.0} rows/s", ms(took), rows / took.as_secs_f64());
    println!("  another site's pushes (median, worst): {quiet} when it is quiet, {} meanwhile", worst(&mut latencies));
    took
}

async fn one_push(other: &mut Site<'_>) -> Duration {
    tokio::time::sleep(PAUSE).await;
    let width = i64::from(rand());
    let push = other.next_push(vec![other.update("sources", &id('s', 1), &json!({"width": width}))]);
    let body = encode(&push).unwrap();
    let start = Instant::now();
    let answer = other.send(&body).await.unwrap();
    let took = start.elapsed();
    other.take_answer(&push, &body, &answer);
    took
}

fn rand() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_micros()
}

fn worst(latencies: &mut [Duration]) -> String {
    latencies.sort_unstable();
    format!("{}, {}", ms(latencies[latencies.len() / 2]), ms(*latencies.last().unwrap()))
}

/// Counted in PostgreSQL's log; what they parked is forgotten.
async fn statements(cloud: &Cloud) -> usize {
    let mut site = cloud.site("c", &[&id('p', 1)]).await;
    site.pull().await;
    let edits = (0..ROWS).map(|n| site.update("sources", &uuid(n), &json!({"name": format!("counted {n}")}))).collect();
    cloud.run("UPDATE sources SET name = name || '!'").await;
    let push = site.next_push(edits);
    let body = encode(&push).unwrap();
    let identity = site.identity().await;
    let work = async {
        cloud_server::store::push::push(&cloud.db, &cloud.key, &cloud.catalog, &identity, &body).await.unwrap();
    };
    let count = measure::log::statements(cloud.superuser_url(), work).await.len();
    cloud.run("DELETE FROM rejoin.sync_conflicts; DELETE FROM rejoin.conflict_groups").await;
    count
}

/// Conflicts that were decided long ago.
async fn lie_around(cloud: &Cloud) {
    let count = setting("RESOLVED", 1_000_000);
    let superuser = cloud::connect(cloud.superuser_url()).await;
    superuser
        .batch_execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO rejoin.sync_conflicts (id, table_name, record_id, kind, reason, columns, table_no, site_id, site_name, replica, push_no,
                 resolution, resolved_at, resolved_by, created_at, local_data, group_id, rejoin_scope, rejoin_tick, rejoin_version)
             SELECT gen_random_uuid(), c.table_name, 'r' || n, c.kind, c.reason, c.columns, c.table_no, c.site_id, c.site_name, c.replica, n,
                 'CLOUD_WINS', now(), 'eve', now() - n * interval '1 minute', '{{\"name\": \"x\"}}', gen_random_uuid(), c.rejoin_scope, 1, 1
             FROM generate_series(1, {count}) n, (SELECT * FROM rejoin.sync_conflicts LIMIT 1) c;
             INSERT INTO rejoin.conflict_groups (id, site_id, replica, table_no, kind, first_push, last_push, created_at)
             SELECT group_id, site_id, replica, table_no, kind, 1, 1, created_at FROM rejoin.sync_conflicts WHERE resolution <> 'PENDING';
             ANALYZE rejoin.sync_conflicts; ANALYZE rejoin.conflict_groups"
        ))
        .await
        .unwrap();
    println!("{count} decided conflicts lie around");
}

async fn look(cloud: &Cloud) {
    let client = cloud.db.client().await.unwrap();
    for (what, resolution) in [("open", Some(Resolution::Pending)), ("decided", Some(Resolution::CloudWins)), ("all", None)] {
        let filter = ConflictFilter { resolution, ..ConflictFilter::default() };
        let query = |sort| ConflictQuery { filter: filter.clone(), sort, limit: 51, after: None };
        let start = Instant::now();
        groups(&client, &cloud.catalog, &query(ConflictSort::Newest)).await.unwrap();
        let first = ms(start.elapsed());
        let start = Instant::now();
        let found = groups(&client, &cloud.catalog, &query(ConflictSort::Newest)).await.unwrap();
        println!(
            "{what}: first page of the inbox in {}, at first {first}: {} groups, the first of {}",
            ms(start.elapsed()),
            found.len(),
            found[0].conflicts
        );
        for sort in [ConflictSort::Newest, ConflictSort::Oldest, ConflictSort::Record, ConflictSort::Site] {
            let start = Instant::now();
            let found = list(&client, &cloud.catalog, &query(sort)).await.unwrap();
            print!("  list {sort:?}: {}", ms(start.elapsed()));
            let start = Instant::now();
            list(&client, &cloud.catalog, &ConflictQuery { after: Some(found[50].id), ..query(sort) }).await.unwrap();
            println!(", the page after it: {}", ms(start.elapsed()));
        }
        let start = Instant::now();
        let counted = counts(&client, &filter).await.unwrap();
        println!("  counts of {}: {}", counted.total, ms(start.elapsed()));
        let start = Instant::now();
        detail(&client, &cloud.catalog, found[0].example.id).await.unwrap().unwrap();
        println!("  a detail: {}", ms(start.elapsed()));
    }
}

async fn decide(cloud: &Cloud, other: &mut Site<'_>) {
    for (dry_run, all_or_nothing) in [(true, false), (true, true), (false, false)] {
        let decision = BulkDecision {
            filter: ConflictFilter::default(),
            resolution: Resolution::LocalWins,
            dry_run,
            all_or_nothing,
            expected: Some(u64::from(PUSHES * ROWS)),
        };
        let before = forget_peak();
        let start = Instant::now();
        let mut latencies = Vec::new();
        let outcome = {
            let fixed = |_, error: StoreError| -> BoxFuture<'_, _> { Box::pin(async move { Err(error.into()) }) };
            let mut deciding = std::pin::pin!(resolve_many(&cloud.db, (Arc::clone(&cloud.catalog), &fixed), "eve", &decision, &|_, _| ()));
            loop {
                let mut one = std::pin::pin!(one_push(other));
                tokio::select! {
                    outcome = &mut deciding => { latencies.push(one.await); break outcome.unwrap(); }
                    latency = &mut one => latencies.push(latency),
                }
            }
        };
        println!(
            "dry run {dry_run}, all or nothing {all_or_nothing}: {} of {} decided in {}",
            outcome.resolved,
            outcome.matched,
            ms(start.elapsed())
        );
        println!("  memory: {} MiB before, {} MiB at the peak", before / 1024, memory("VmHWM:") / 1024);
        println!("  another site's pushes meanwhile (median, worst): {}", worst(&mut latencies));
    }
    println!("{} rows have the site's name", cloud.count("sources WHERE name LIKE 'mine %'").await);
}
