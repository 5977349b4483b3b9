//! The cloud's HTTP: the API that both servers mount, what only the cloud has beside it, and the sites' protocol.

mod catalog;
mod notices;
mod sites;
mod sync;
mod wire;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use conflict_ui_api::middleware::stack;
use conflict_ui_api::openapi::doc::{Shape::Json, doc};
use conflict_ui_api::{Access, ApiState, Route};
use sync_core::limits::WIRE_BYTES_MAX;

use crate::core::Core;

/// Every route of the cloud.
pub(crate) fn router(core: &Arc<Core>, api: ApiState) -> Router {
    let own = Extension(core.clone());
    let admin =
        |method, path, handler: axum::routing::MethodRouter<ApiState>| Route::new(method, path, Access::Admin, handler.layer(own.clone()));
    let routes = vec![
        admin(Method::GET, "/api/rejoin/sites", get(sites::list)).says(doc("Every site").gives(Json("[Site]"))),
        admin(Method::POST, "/api/rejoin/sites", post(sites::add))
            .says(doc("A new site").takes(Json("NewSite")).answers(201, Json("Invited"))),
        admin(Method::GET, "/api/rejoin/sites/{name}", get(sites::show)).says(doc("One site").gives(Json("Site"))),
        admin(Method::DELETE, "/api/rejoin/sites/{name}", delete(sites::revoke)).says(doc("Shuts a site out").gives(Json("Site"))),
        admin(Method::POST, "/api/rejoin/sites/{name}/token", post(sites::invite_again))
            .says(doc("A further token").takes(Json("TokenOrder")).answers(201, Json("Invited"))),
        admin(Method::POST, "/api/rejoin/sites/{name}/scopes", post(sites::add_scope))
            .says(doc("Gives a scope").takes(Json("NewScope")).gives(Json("Site"))),
        admin(Method::DELETE, "/api/rejoin/sites/{name}/scopes/{scope}", delete(sites::drop_scope))
            .says(doc("Takes a scope away").gives(Json("Site"))),
        admin(Method::POST, "/api/rejoin/catalog/refresh", post(catalog::refresh))
            .says(doc("Looks at the schema again").gives(Json("CatalogState"))),
        admin(Method::GET, "/api/rejoin/notices", get(notices::list))
            .says(doc("The webhook's last notices, newest first").gives(Json("[Notice]"))),
        admin(Method::POST, "/api/rejoin/notices/{id}/redeliver", post(notices::redeliver))
            .says(doc("Sends a notice again").gives(Json("Notice"))),
    ];
    let config = api.config.clone();
    stack(conflict_ui_api::router(api, routes).merge(protocol(core)), &config)
}

/// The sites' protocol: MessagePack both ways, the site's key as the credential.
fn protocol(core: &Arc<Core>) -> Router {
    Router::new()
        .route("/sync/v1/enrol", post(sync::enrol))
        .route("/sync/v1/catalog", post(sync::catalog))
        .route("/sync/v1/push", post(sync::push))
        .route("/sync/v1/pull", post(sync::pull))
        .route("/sync/v1/lease", post(sync::lease))
        .route("/sync/v1/log", post(sync::log))
        .route("/sync/v1/replica", post(sync::replica))
        .layer(DefaultBodyLimit::max(WIRE_BYTES_MAX))
        .with_state(core.clone())
}
