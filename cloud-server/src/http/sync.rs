//! `/sync/v1/*`: what sites ask of the cloud.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::problem::{Answer, Code, Problem};
use sync_core::catalog::Catalog;
use sync_core::id::ScopeId;
use sync_core::limits::{LEASE_WANTS_MAX, LOG_ROWS_MAX};
use sync_core::sync_log::RunStatus;
use sync_core::wire::codec::CodecError;
use sync_core::wire::message::{Enrol, Enrolled, LeaseAnswer, LeaseRequest, LogUpload, Page, Pull, PushAnswer, Replica, Speaker};

use super::wire::{Encoded, Message, Named, Peer, Raw, Speaking};
use crate::core::Core;
use crate::store::error::StoreError;
use crate::store::sites::{self, SiteError, SiteIdentity};
use crate::store::speaker::SyncError;
use crate::store::{events, leases, notices, pull, push, sync_log};

/// `POST /sync/v1/enrol`: a site joins with its single-use token. The only one without a site key.
pub(super) async fn enrol(State(core): State<Arc<Core>>, Peer(peer): Peer, Message(enrol): Message<Enrol>) -> Answer<Encoded<Enrolled>> {
    let mut client = core.db.client().await.map_err(BackendError::from)?;
    match sites::enrol(&mut client, &enrol.token, core.epoch).await {
        Ok(enrolled) => {
            tracing::info!(site = enrolled.name, replica = %enrolled.replica, "a site has joined");
            Ok(Encoded(enrolled))
        }
        Err(SiteError::Token) => {
            core.refuse_often(peer)?;
            let detail = "The enrolment token is unknown, used already or run out: ask an admin for a new one.";
            Err(Problem::new(Code::Unauthenticated, detail))
        }
        Err(SiteError::Store(error)) => Err(BackendError::from(error).into()),
        Err(other) => Err(BackendError::internal(other).into()),
    }
}

/// `POST /sync/v1/catalog`: the catalog in force.
pub(super) async fn catalog(State(core): State<Arc<Core>>, _: Speaking, Message(_): Message<Speaker>) -> Response {
    Named(&*core.published()).into_response()
}

/// `POST /sync/v1/replica`: this copy of a site is a clone or was restored, and becomes a replica of its own.
pub(super) async fn replica(
    State(core): State<Arc<Core>>,
    Speaking(site): Speaking,
    Message(speaker): Message<Speaker>,
) -> Answer<Encoded<Replica>> {
    let client = core.db.client().await.map_err(BackendError::from)?;
    let (replica, epoch) = sites::new_replica(&client, site.site).await.map_err(BackendError::from)?;
    tracing::warn!(site = site.name, old = %speaker.replica, new = %replica, "a copy of a site became a replica of its own");
    Ok(Encoded(Replica { replica, epoch, cloud_epoch: core.epoch }))
}

/// `POST /sync/v1/push`: one change set. Its bytes are its name, so they are hashed as they came.
pub(super) async fn push(State(core): State<Arc<Core>>, Speaking(site): Speaking, Raw(body): Raw) -> Answer<Encoded<PushAnswer>> {
    let catalog = core.catalog();
    let taken = push::push(&core.db, &core.key, &catalog, &site, &body).await;
    let taken = match newer(&core, &catalog, &taken).await? {
        Some(catalog) => push::push(&core.db, &core.key, &catalog, &site, &body).await,
        None => taken,
    };
    taken.map(Encoded).map_err(problem)
}

/// `POST /sync/v1/pull`: what is new in the site's scopes, one page.
pub(super) async fn pull(State(core): State<Arc<Core>>, Speaking(site): Speaking, Message(pull): Message<Pull>) -> Answer<Encoded<Page>> {
    let catalog = core.catalog();
    let page = pull::pull(&core.db, &core.key, &catalog, &site, &pull).await;
    let page = match newer(&core, &catalog, &page).await? {
        Some(catalog) => pull::pull(&core.db, &core.key, &catalog, &site, &pull).await,
        None => page,
    };
    let mut page = page.map_err(problem)?;
    page.suspended = core.suspended();
    // A scope that was taken from the site, and of which it names no cursor any more, is let go.
    let gone: Vec<&ScopeId> = site.leaving.iter().filter(|scope| pull.cursors.iter().all(|cursor| cursor.scope != **scope)).collect();
    if !gone.is_empty() {
        let client = core.db.client().await.map_err(BackendError::from)?;
        sites::forget_scopes(&client, site.site, &gone).await.map_err(BackendError::from)?;
    }
    Ok(Encoded(page))
}

/// `POST /sync/v1/lease`: numbers for the keys of rows to be made at the site.
pub(super) async fn lease(
    State(core): State<Arc<Core>>,
    Speaking(site): Speaking,
    Message(request): Message<LeaseRequest>,
) -> Answer<Encoded<LeaseAnswer>> {
    if request.wants.len() > LEASE_WANTS_MAX {
        return Err(Problem::new(Code::BodyTooLarge, format!("A message asks for numbers of at most {LEASE_WANTS_MAX} columns.")));
    }
    leases::lease(&core.db, &core.catalog(), &site, &request).await.map(Encoded).map_err(problem)
}

/// `POST /sync/v1/log`: the site's ended runs, so that an admin sees what failed while the link was down.
pub(super) async fn log(
    State(core): State<Arc<Core>>,
    Speaking(site): Speaking,
    Message(upload): Message<LogUpload>,
) -> Answer<StatusCode> {
    if upload.runs.len() > LOG_ROWS_MAX {
        return Err(Problem::new(Code::BodyTooLarge, format!("A message holds at most {LOG_ROWS_MAX} runs.")));
    }
    match record(&core, &site, &upload).await {
        Err(StoreError::Database(error)) if error.code().is_some_and(|code| code.code().starts_with("22")) => {
            Err(Problem::new(Code::BadJson, "A time, or the errors or cursors of a run, cannot be read."))
        }
        stored => Ok(stored.map(|()| StatusCode::NO_CONTENT).map_err(BackendError::from)?),
    }
}

async fn record(core: &Core, site: &SiteIdentity, upload: &LogUpload) -> Result<(), StoreError> {
    let mut client = core.db.client().await?;
    let transaction = client.transaction().await?;
    let ended = sync_log::record(&transaction, &site.name, &upload.runs).await?;
    notices::of_runs(&transaction, &site.name, &ended).await?;
    let statuses: Vec<RunStatus> = ended.iter().map(|run| run.status).collect();
    events::of_runs(&transaction, &site.name, &statuses).await?;
    Ok(transaction.commit().await?)
}

/// A newer catalog, where the one in force turned out not to fit the database any more. A site asks by numbers, which mean the same under both.
async fn newer<T>(core: &Core, catalog: &Arc<Catalog>, outcome: &Result<T, SyncError>) -> Answer<Option<Arc<Catalog>>> {
    match outcome {
        Err(SyncError::Store(error)) if error.is_unfit() => Ok(Some(core.renewed(catalog, error).await?)),
        _ => Ok(None),
    }
}

/// What a site is told. Each is for that site alone; the codes tell it what to do.
fn problem(error: SyncError) -> Problem {
    let words = format!("{error}.");
    match error {
        SyncError::Unreadable(CodecError::Limit(_)) => Problem::new(Code::BodyTooLarge, words),
        SyncError::Unreadable(_) => Problem::new(Code::BadJson, words),
        SyncError::Replica(_) | SyncError::Fork(_) => Problem::new(Code::UnknownReplica, words),
        SyncError::CloudEpoch { .. } | SyncError::Restored(_) => Problem::new(Code::CloudEpoch, words),
        SyncError::ForeignCursor(_) => Problem::new(Code::ForeignCursor, words),
        SyncError::TooLarge { .. } => Problem::new(Code::RowTooLarge, words),
        SyncError::Store(error) => BackendError::from(error).into(),
    }
}
