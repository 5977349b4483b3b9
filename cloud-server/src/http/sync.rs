//! `/sync/v1/*`: what sites ask of the cloud.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conflict_ui_api::error::BackendError;
use conflict_ui_api::problem::{Answer, Code, Problem};
use sync_core::wire::message::{Enrol, Enrolled, Replica, Speaker};

use super::wire::{Encoded, Message, Peer, Speaking};
use crate::core::Core;
use crate::store::sites::{self, SiteError};

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
    Encoded(&*core.catalog()).into_response()
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
