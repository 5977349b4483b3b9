//! Many decisions at once, with progress for whoever waits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use sync_core::conflict::Resolution;
use tokio::sync::{oneshot, watch};

use super::filter::{in_the_stores_names, unknown};
use crate::api::body::Body;
use crate::api::ndjson;
use crate::backend::{Backend, BulkDecision, BulkOutcome, Principal, Result};
use crate::door::Caller;
use crate::problem::{Answer, Fault, Problem};
use crate::state::ApiState;

/// How long a stream waits for a first sign before it begins: what is refused within it has its own status.
const FIRST_SIGN: Duration = Duration::from_secs(2);

/// `POST /api/conflicts/resolve`: decides all open conflicts of a filter. With `Accept: application/x-ndjson` the answer tells how far it is.
pub async fn resolve_many(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(decision): Body<BulkDecision>,
) -> Answer<Response> {
    check(&decision)?;
    let unknown = unknown(&state, &decision.filter).await?;
    if !unknown.is_empty() {
        let fault = |(name, detail): (&str, String)| Fault::field(name, "unknown", detail).within("/filter");
        return Err(Problem::fields(unknown.into_iter().map(fault).collect()));
    }
    let filter = in_the_stores_names(decision.filter, &*state.backend.catalog()?);
    let decision = BulkDecision { filter, ..decision };
    if !ndjson::accepted(&headers) {
        let outcome = state.backend.resolve_many(&caller.principal, &decision, &|_, _| ()).await?;
        return Ok(Json(outcome).into_response());
    }
    let mut work = Work::start(state.backend.clone(), caller.principal, decision);
    // In any case before the request runs out of time: a stream that has begun may take longer.
    if let Some(ended) = work.first_sign(FIRST_SIGN.min(state.config.request_timeout / 4)).await {
        let outcome = ended?;
        return Ok(ndjson::response(HttpBody::from(line(&outcome))));
    }
    Ok(ndjson::response(HttpBody::from_stream(work.lines())))
}

/// All that is wrong with a bulk decision.
fn check(decision: &BulkDecision) -> Answer<()> {
    let mut faults = Vec::new();
    if !matches!(decision.resolution, Resolution::CloudWins | Resolution::LocalWins) {
        faults.push(Fault::field("resolution", "type", "many at once are decided by CLOUD_WINS or LOCAL_WINS"));
    }
    if decision.filter.resolution.is_some_and(|resolution| resolution != Resolution::Pending) {
        faults.push(Fault::field("resolution", "type", "only open conflicts are decided: leave it out").within("/filter"));
    }
    if decision.filter.record.is_some() && decision.filter.table.is_none() {
        faults.push(Fault::field("table", "required", "needed: of which table the record is").within("/filter"));
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::fields(faults)) }
}

/// A bulk decision under way in a task of its own, so that a client that reads slowly holds nobody up. It is dropped, and so ends after
/// what it has committed, when nobody listens any more.
struct Work {
    progress: watch::Receiver<(u64, u64)>,
    outcome: oneshot::Receiver<Result<BulkOutcome>>,
}

impl Work {
    fn start(backend: Arc<dyn Backend>, by: Principal, decision: BulkDecision) -> Self {
        let (tell, progress) = watch::channel((0, 0));
        let (mut end, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let report = |done, of| {
                tell.send_replace((done, of));
            };
            let ended = tokio::select! {
                ended = backend.resolve_many(&by, &decision, &report) => ended,
                () = end.closed() => return,
            };
            // Nobody is left to hear it.
            let _ = end.send(ended);
        });
        Self { progress, outcome }
    }

    /// The end, where it comes before any progress and soon.
    async fn first_sign(&mut self, patience: Duration) -> Option<Answer<BulkOutcome>> {
        tokio::select! {
            biased;
            ended = &mut self.outcome => Some(heard(ended)),
            changed = self.progress.changed() => match changed {
                Ok(()) => { self.progress.mark_changed(); None }
                // The task has ended and so told its outcome.
                Err(_) => Some(heard((&mut self.outcome).await)),
            },
            () = tokio::time::sleep(patience) => None,
        }
    }

    /// `{"done":n,"of":m}` whenever there is something new, and at last the outcome, or the problem.
    fn lines(self) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
        stream::unfold(Some(self), |work| async {
            let mut work = work?;
            if work.progress.changed().await.is_ok() {
                let (done, of) = *work.progress.borrow_and_update();
                return Some((line(&json!({ "done": done, "of": of })), Some(work)));
            }
            let last = match heard((&mut work.outcome).await) {
                Ok(outcome) => line(&outcome),
                Err(problem) => line(&json!({ "problem": problem.alone() })),
            };
            Some((last, None))
        })
        .map(|line| Ok(line.into()))
    }
}

fn heard(ended: std::result::Result<Result<BulkOutcome>, oneshot::error::RecvError>) -> Answer<BulkOutcome> {
    Ok(ended.map_err(crate::error::BackendError::internal)??)
}

fn line(value: &impl Serialize) -> String {
    ndjson::line(value).unwrap_or_default()
}
