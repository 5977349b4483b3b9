//! Whole runs against a cloud whose answers no real one can be made to give at the right moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::Response;
use axum::routing::post;
use sync_core::catalog::Catalog;
use sync_core::id::CatalogVersion;
use sync_core::sync_log::{Direction, RunStatus};
use sync_core::wire::codec::{self, MEDIA_TYPE};
use sync_core::wire::message::{Cursor, Page, Push, PushAnswer, PushResult, Refusal};

use crate::bench::*;
use crate::daemon::syncer_of;

/// A cloud that publishes another catalog with each push that it refuses.
struct Restless {
    version: AtomicI64,
    refusals: AtomicI64,
    catalog: Catalog,
    heads: Vec<Cursor>,
    /// What its clock says.
    date: &'static str,
}

impl Restless {
    fn answer(&self, what: &str, body: &[u8]) -> Vec<u8> {
        let version = || CatalogVersion(self.version.load(Ordering::SeqCst));
        match what {
            "catalog" => codec::encode(&Catalog { version: version(), ..self.catalog.clone() }),
            "pull" => codec::encode(&Page { catalog: version(), heads: self.heads.clone(), ..page(&[]) }),
            "push" => {
                let push: Push = codec::decode(body).unwrap();
                let result = if self.refusals.fetch_sub(1, Ordering::SeqCst) > 0 {
                    self.version.fetch_add(1, Ordering::SeqCst);
                    PushResult::Refused(Refusal::Catalog(version()))
                } else {
                    PushResult::Applied { rows: push.rows.iter().map(|_| exact(&scope("a"), 1, 1)).collect(), commands: vec![] }
                };
                codec::encode(&PushAnswer { no: push.no, hash: codec::body_hash(body), result, mac: "mac".into() })
            }
            other => panic!("{other} is not asked for"),
        }
        .unwrap()
    }
}

async fn serve(cloud: Arc<Restless>) -> String {
    let handler = async |State(cloud): State<Arc<Restless>>, Path(what): Path<String>, body: Bytes| {
        let response = Response::builder().header("content-type", MEDIA_TYPE).header("date", cloud.date);
        match what.as_str() {
            "log" => Response::builder().status(204).body(Body::empty()).unwrap(),
            what => response.body(Body::from(cloud.answer(what, &body))).unwrap(),
        }
    };
    let app = Router::new().route("/sync/v1/{what}", post(handler)).with_state(cloud);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn restless(refusals: i64) -> Restless {
    let (version, catalog) = (AtomicI64::new(1), Catalog::clone(&catalog()));
    Restless { version, refusals: AtomicI64::new(refusals), catalog, heads: vec![], date: "Thu, 01 Jan 2026 12:00:00 GMT" }
}

#[tokio::test]
async fn a_run_that_only_met_new_catalogs_failed_and_says_so() {
    let site = Site::new(1).await;
    site.sql("INSERT INTO shows (id, a) VALUES ('a', 1)").await;
    let cloud = Arc::new(restless(i64::MAX));
    let mut syncer = syncer_of(&site, serve(Arc::clone(&cloud)).await).await;
    let report = syncer.run(Direction::Upload, true).await;
    assert_eq!(report.status, RunStatus::Failed, "{:?}", report.errors);
    assert!(report.message().is_some_and(|message| message.contains("goes on with the next one")), "{:?}", report.errors);
    assert_eq!(syncer.run(Direction::Bidirectional, true).await.status, RunStatus::Partial, "its pull did succeed");
    // Two in one run are no reason to wait.
    cloud.refusals.store(2, Ordering::SeqCst);
    let report = syncer.run(Direction::Upload, true).await;
    assert_eq!((report.status, report.records), (RunStatus::Completed, 1), "{:?}", report.errors);
    site.assert_clean().await;
}

#[tokio::test]
async fn a_clock_that_runs_ahead_lets_no_row_go() {
    for (date, kept) in [("Fri, 02 Jan 2026 12:00:00 GMT", "i"), ("Sun, 04 Jan 2026 12:00:00 GMT", "")] {
        let mut keeping = Catalog::clone(&catalog());
        keeping.tables[1].keep_hours = Some(24);
        let site = Site::of(1, Arc::new(keeping.clone())).await;
        let a = scope("a");
        site.pull(page(&[(&a, 1)]).live(SHOWS, 0, 1, 1, show("a", 1, "")).live(ITEMS, 0, 1, 1, item("i", "a", 1, ""))).await;
        let cloud = Restless { date, heads: vec![head(&a, 1)], catalog: keeping, ..restless(0) };
        let mut syncer = syncer_of(&site, serve(Arc::new(cloud)).await).await;
        assert_eq!(syncer.run(Direction::Bidirectional, true).await.status, RunStatus::Completed);
        assert_eq!(site.rows("SELECT id FROM items").await, kept, "the row is of {NOW}, the cloud's clock says {date}");
    }
}
