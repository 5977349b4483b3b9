//! Measures push and pull on this machine against a private PostgreSQL: `cargo run --release -p cloud-server --example measure_sync`.
//!
//! Prints; asserts nothing. The statements of one push are counted in PostgreSQL's log.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub, missing_docs, dead_code, reason = "a measurement")]

#[path = "../tests/sync/cloud.rs"]
mod cloud;
mod measure;
#[path = "../tests/sync/site.rs"]
mod site;

use std::time::{Duration, Instant};

use cloud::Cloud;
use measure::{forget_peak, memory, uuid};
use serde_json::json;
use site::{Site, id, verdict};
use sync_core::change::RowChange;
use sync_core::wire::codec::encode;

const PUSHES: u32 = 10;
const ROWS: u32 = 2_000;

#[tokio::main]
async fn main() {
    let cloud = Cloud::start().await;
    let p = id('p', 1);
    cloud.production(&p, &[]).await;
    let mut site = cloud.site("a", &[&p]).await;

    let inserts = |site: &Site<'_>, no: u32| -> Vec<RowChange> {
        let row = |n: u32| json!({"id": uuid(n), "production_id": p, "name": format!("source {n}"), "slot": n + 1, "width": 1920, "price": "12.5", "number": n});
        (no * ROWS..(no + 1) * ROWS).map(|n| site.insert("sources", &row(n))).collect()
    };
    report("inserts", pushes(&mut site, inserts).await);
    site.pull().await;
    let updates = |site: &Site<'_>, no: u32| -> Vec<RowChange> {
        (no * ROWS..(no + 1) * ROWS)
            .map(|n| site.update("sources", &uuid(n), &json!({"name": format!("renamed {n}"), "height": 1080})))
            .collect()
    };
    report("edits", pushes(&mut site, updates).await);
    report("edits, plain version-checked unnest", plain(&cloud).await);
    println!("statements of one push of {ROWS} edits: {}", statements(&mut site).await);
    pull(&cloud).await;
}

fn report(what: &str, took: Duration) {
    let rows = f64::from(PUSHES * ROWS);
    println!("{rows} {what} in {took:?}: {:.0} rows/s", rows / took.as_secs_f64());
}

/// The time that the cloud took, without making the messages.
async fn pushes(site: &mut Site<'_>, rows: impl Fn(&Site<'_>, u32) -> Vec<RowChange>) -> Duration {
    let mut took = Duration::ZERO;
    for no in 0..PUSHES {
        let push = site.next_push(rows(site, no));
        let body = encode(&push).unwrap();
        let start = Instant::now();
        let answer = site.send(&body).await.unwrap();
        took += start.elapsed();
        let sync_core::wire::message::PushResult::Applied { rows, .. } = &answer.result else { panic!() };
        assert!(rows.iter().all(|row| verdict(row) == "exact"));
        site.take_answer(&push, &body, &answer);
    }
    took
}

/// The same edits without us: what PostgreSQL needs for them in any case.
async fn plain(cloud: &Cloud) -> Duration {
    let copy =
        "CREATE TABLE plain AS SELECT id, production_id, name, slot, width, height, price, rejoin_version AS version, rejoin_tick AS tick,
                    rejoin_scope AS scope, rejoin_updated_at AS at, rejoin_modified_by AS by FROM sources;
                ALTER TABLE plain ADD PRIMARY KEY (id); ALTER TABLE plain ADD UNIQUE (production_id, slot);
                CREATE INDEX ON plain (scope, tick, id); ANALYZE plain";
    cloud.run(copy).await;
    let sql = "UPDATE plain t SET name = u.name, height = 1080, version = t.version + 1, tick = 1000, at = now(), by = 'x'
               FROM unnest($1::text[], $2::text[]) AS u(id, name) WHERE t.id = u.id::uuid AND t.version > 0";
    let start = Instant::now();
    for no in 0..PUSHES {
        let ids: Vec<String> = (no * ROWS..(no + 1) * ROWS).map(uuid).collect();
        let names: Vec<String> = (no * ROWS..(no + 1) * ROWS).map(|n| format!("again {n}")).collect();
        assert_eq!(cloud.sql.execute(sql, &[&ids, &names]).await.unwrap(), u64::from(ROWS));
    }
    start.elapsed()
}

/// Of one push.
async fn statements(site: &mut Site<'_>) -> usize {
    let push = site.next_push((0..ROWS).map(|n| site.update("sources", &uuid(n), &json!({"width": n}))).collect());
    let body = encode(&push).unwrap();
    let identity = site.identity().await;
    let cloud = site.cloud;
    let statements = measure::log::statements(cloud.superuser_url(), async {
        let answer = cloud_server::store::push::push(&cloud.db, &cloud.key, &cloud.catalog, &identity, &body).await.unwrap();
        site.take_answer(&push, &body, &answer);
    });
    let statements = statements.await;
    statements.iter().for_each(|line| println!("    {line}"));
    statements.len()
}

/// 100,000 rows from the beginning, one page at a time, nothing kept.
async fn pull(cloud: &Cloud) {
    let p = id('p', 2);
    cloud.production(&p, &[]).await;
    cloud
        .run(&format!(
            "INSERT INTO sources (id, production_id, name, slot, width, height, price, tags, extra)
             SELECT ('0198c0de-0000-7000-8001-' || lpad(to_hex(n), 12, '0'))::uuid, '{p}', 'source ' || n, n, 1920, 1080, n / 7.0,
                    ARRAY['a', 'b' || n], jsonb_build_object('note', repeat('x', 150), 'n', n) FROM generate_series(1, 100000) n"
        ))
        .await;
    let site = cloud.site("b", &[&p]).await;
    let before = forget_peak();
    let start = Instant::now();
    let (mut message, mut pages, mut rows, mut bytes) = (site.pull_message(), 0, 0, 0);
    loop {
        let page = site.page(&message).await.unwrap();
        pages += 1;
        rows += page.tables.iter().map(|table| table.rows.len()).sum::<usize>();
        bytes += encode(&page).unwrap().len();
        message.next = page.next;
        if message.next.is_none() {
            break;
        }
    }
    let took = start.elapsed();
    println!("{rows} rows pulled in {took:?} ({:.0} rows/s), {pages} pages, {bytes} bytes on the wire", 100_000.0 / took.as_secs_f64());
    println!("memory of the process: {} MiB before, {} MiB at the peak of the pull", before / 1024, memory("VmHWM:") / 1024);
}
