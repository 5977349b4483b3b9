//! Every route of the API, with who may call it. A server adds its own in the same form.

use axum::handler::Handler;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use axum::{Extension, Router};

use crate::api::{conflicts, digests, docs, edits, events, health, history, import, policies, records, sign_in, sync, tokens, users};
use crate::backend::Role;
use crate::door::door;
use crate::openapi::doc::{Doc, EDITS, FILTERED, LISTED, OF_SITE, PAGED, RUNS, SHOWN, SORTED, Shape, VIA, doc};
use crate::openapi::{Listed, openapi};
use crate::pages;
use crate::problem::{Code, Problem};
use crate::state::ApiState;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a credential.
    Open,
    /// Any user.
    Viewer,
    /// Editors and admins.
    Editor,
    /// Admins.
    Admin,
}

impl Access {
    /// The role it takes; `None`: no credential at all.
    #[must_use]
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Open => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Editor => Some(Role::Editor),
            Self::Admin => Some(Role::Admin),
        }
    }
}

/// One route.
pub struct Route {
    /// The method; HEAD comes with GET, OPTIONS with every path.
    pub method: Method,
    /// The path, with `{names}`.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// What the OpenAPI document says of it; nothing of the web pages.
    pub doc: Option<Doc>,
    handler: MethodRouter<ApiState>,
}

impl Route {
    /// A route of a method router that answers `method` and nothing else.
    #[must_use]
    pub fn new(method: Method, path: &'static str, access: Access, handler: MethodRouter<ApiState>) -> Self {
        Self { method, path, access, doc: None, handler }
    }

    /// The same route with what the OpenAPI document says of it.
    #[must_use]
    pub fn says(self, doc: Doc) -> Self {
        Self { doc: Some(doc), ..self }
    }

    /// A GET, and so a HEAD.
    pub fn get<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::GET, path, access, routing::get(handler))
    }

    /// A POST.
    pub fn post<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::POST, path, access, routing::post(handler))
    }

    /// A PUT.
    pub fn put<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::PUT, path, access, routing::put(handler))
    }

    /// A PATCH.
    pub fn patch<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::PATCH, path, access, routing::patch(handler))
    }

    /// A DELETE.
    pub fn delete<H: Handler<T, ApiState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::DELETE, path, access, routing::delete(handler))
    }
}

/// Every route of the API, in the order in which a reader looks for them.
#[must_use]
pub fn routes() -> Vec<Route> {
    use Access::{Admin, Editor, Open, Viewer};
    use Shape::{Events, Json, Markdown, NewRecord, Nothing, Page, PageOrLines, Progress, Record, RecordChange, Records};
    use records::nested;
    vec![
        Route::get("/health", Open, health::health).says(doc("Whether the process answers").gives(Json("Health"))),
        Route::get("/ready", Open, health::ready).says(doc("Whether the server can serve").gives(Json("Ready"))),
        // Records. The engine's own routes above and below never take a table's name: see `path::RESERVED`.
        Route::get("/api/{table}", Viewer, records::list).says(doc("Records").asks(&[LISTED]).gives(Records)),
        Route::post("/api/{table}", Editor, records::create).says(doc("A new record").takes(NewRecord).answers(201, Record)),
        Route::get("/api/{table}/{id}", Viewer, records::get).says(doc("One record").asks(&[SHOWN]).gives(Record)),
        Route::patch("/api/{table}/{id}", Editor, records::update)
            .says(doc("Changes a record; If-Match makes it conditional").takes(RecordChange).gives(Record)),
        Route::put("/api/{table}/{id}", Editor, records::update).says(doc("The same as PATCH").takes(RecordChange).gives(Record)),
        Route::delete("/api/{table}/{id}", Editor, records::remove)
            .says(doc("Deletes a record; If-Match makes it conditional").answers(204, Nothing)),
        Route::post("/api/{table}/{id}/restore", Editor, records::restore).says(doc("Brings a soft-deleted record back").gives(Record)),
        Route::get("/api/{table}/{id}/{children}", Viewer, nested::list)
            .says(doc("Records that refer to this one").asks(&[LISTED, VIA]).gives(Records)),
        Route::post("/api/{table}/{id}/{children}", Editor, nested::create)
            .says(doc("A new record that refers to this one").asks(&[VIA]).takes(RecordChange).answers(201, Record)),
        // The same, for tables whose name is taken.
        Route::get("/api/tables/{table}", Viewer, records::list).says(doc("Records").asks(&[LISTED]).gives(Records)),
        Route::post("/api/tables/{table}", Editor, records::create).says(doc("A new record").takes(NewRecord).answers(201, Record)),
        Route::get("/api/tables/{table}/{id}", Viewer, records::get).says(doc("One record").asks(&[SHOWN]).gives(Record)),
        Route::patch("/api/tables/{table}/{id}", Editor, records::update)
            .says(doc("Changes a record; If-Match makes it conditional").takes(RecordChange).gives(Record)),
        Route::put("/api/tables/{table}/{id}", Editor, records::update).says(doc("The same as PATCH").takes(RecordChange).gives(Record)),
        Route::delete("/api/tables/{table}/{id}", Editor, records::remove)
            .says(doc("Deletes a record; If-Match makes it conditional").answers(204, Nothing)),
        Route::post("/api/tables/{table}/{id}/restore", Editor, records::restore)
            .says(doc("Brings a soft-deleted record back").gives(Record)),
        Route::get("/api/tables/{table}/{id}/{children}", Viewer, nested::list)
            .says(doc("Records that refer to this one").asks(&[LISTED, VIA]).gives(Records)),
        Route::post("/api/tables/{table}/{id}/{children}", Editor, nested::create)
            .says(doc("A new record that refers to this one").asks(&[VIA]).takes(RecordChange).answers(201, Record)),
        // Conflicts. An editor sees them but may not decide: a decision overrules somebody's edit.
        Route::get("/api/conflicts", Viewer, conflicts::list)
            .says(doc("Conflicts of a filter").asks(&[FILTERED, SORTED, PAGED]).gives(Page("Conflict"))),
        Route::get("/api/conflicts/groups", Viewer, conflicts::groups)
            .says(doc("The inbox: conflicts of one cause as one").asks(&[FILTERED, SORTED, PAGED]).gives(Page("ConflictGroup"))),
        Route::get("/api/conflicts/counts", Viewer, conflicts::counts)
            .says(doc("How many conflicts").asks(&[FILTERED]).gives(Json("ConflictCounts"))),
        Route::post("/api/conflicts/resolve", Admin, conflicts::resolve_many)
            .says(doc("Decides every open conflict of a filter").takes(Json("BulkDecision")).gives(Progress("BulkOutcome"))),
        Route::get("/api/conflicts/{id}", Viewer, conflicts::get).says(doc("One conflict, field by field").gives(Json("ConflictDetail"))),
        Route::post("/api/conflicts/{id}/resolve", Admin, conflicts::resolve)
            .says(doc("Decides a conflict").takes(Json("Decision")).gives(Json("Conflict"))),
        Route::post("/api/conflicts/{id}/undo", Admin, conflicts::undo)
            .says(doc("Takes a decision back").takes(Json("Undo")).gives(Json("Conflict"))),
        Route::get("/api/events", Viewer, events::events).says(doc("What happens, as it happens").gives(Events("Event"))),
        Route::get("/api/rejoin/history/{table}/{id}", Viewer, history::list)
            .says(doc("What happened to a row").asks(&[PAGED]).gives(Page("HistoryEntry"))),
        Route::post("/api/rejoin/policies/try", Admin, policies::try_policies)
            .says(doc("What other policies would have made of the past").takes(Json("Trial")).gives(Json("PolicyTrial"))),
        Route::get("/api/rejoin/edits", Viewer, edits::list)
            .says(doc("Edits that are not in the cloud as they are here").asks(&[EDITS, PAGED]).gives(PageOrLines("LocalEdit"))),
        Route::get("/api/rejoin/edits/counts", Viewer, edits::counts).says(doc("How many of them").gives(Json("EditCounts"))),
        // Sync.
        Route::get("/api/sync", Viewer, sync::status).says(doc("How the sync stands").gives(Json("SyncStatus"))),
        Route::get("/api/sync/log", Viewer, sync::log).says(doc("Runs, newest first").asks(&[RUNS, PAGED]).gives(Page("Run"))),
        Route::post("/api/sync/run", Editor, sync::run)
            .says(doc("Runs and waits for the end; 202 where it goes on by itself").takes(Json("RunOrder")).gives(Json("SyncStatus"))),
        Route::post("/api/sync/pause", Admin, sync::pause).says(doc("Pauses the daemon").gives(Json("SyncStatus"))),
        Route::post("/api/sync/resume", Admin, sync::resume).says(doc("Lets it go on").gives(Json("SyncStatus"))),
        // People and programs. Tokens: one's own; everybody's for admins.
        Route::post("/api/rejoin/sign-in", Open, sign_in::sign_in).says(doc("Signs in").takes(Json("SignIn")).gives(Json("Session"))),
        Route::post("/api/rejoin/sign-out", Viewer, sign_in::sign_out).says(doc("Ends the session").answers(204, Nothing)),
        Route::get("/api/rejoin/me", Viewer, sign_in::me).says(doc("Who asks").gives(Json("Principal"))),
        Route::post("/api/rejoin/me/password", Viewer, sign_in::change_password)
            .says(doc("Changes the password").takes(Json("PasswordChange")).answers(204, Nothing)),
        Route::get("/api/rejoin/users", Admin, users::list).says(doc("Users").gives(Page("User"))),
        Route::post("/api/rejoin/users", Admin, users::create)
            .says(doc("A new user").takes(Json("NewUser")).answers(201, Json("UserSecret"))),
        Route::get("/api/rejoin/users/{name}", Admin, users::get).says(doc("One user").gives(Json("User"))),
        Route::patch("/api/rejoin/users/{name}", Admin, users::update)
            .says(doc("Changes a user").takes(Json("UserChange")).gives(Json("User"))),
        Route::delete("/api/rejoin/users/{name}", Admin, users::remove).says(doc("Removes a user").answers(204, Nothing)),
        Route::post("/api/rejoin/users/{name}/reset", Admin, users::reset).says(doc("A new one-time secret").gives(Json("UserSecret"))),
        Route::get("/api/rejoin/tokens", Viewer, tokens::list).says(doc("API tokens").gives(Page("Token"))),
        Route::post("/api/rejoin/tokens", Viewer, tokens::create)
            .says(doc("A new API token").takes(Json("NewToken")).answers(201, Json("TokenSecret"))),
        Route::delete("/api/rejoin/tokens/{id}", Viewer, tokens::revoke).says(doc("Revokes an API token").answers(204, Nothing)),
        // Whole data sets, and what is compared when all is said to be equal.
        Route::get("/api/rejoin/digests", Admin, digests::digests)
            .says(doc("What this server holds, to be compared").asks(&[OF_SITE]).gives(Json("Digests"))),
        Route::new(Method::POST, "/api/rejoin/import", Admin, import::handler())
            .says(doc("Writes a data set, all or none").takes(Json("Import")).gives(Json("Imported"))),
        Route::get("/openapi.json", Viewer, openapi).says(doc("This document").gives(Json("object"))),
        Route::get("/docs/errors", Viewer, docs::errors).says(doc("What each problem means").gives(Markdown)),
    ]
}

/// What the engine answers at besides its tables.
const ENGINE: &str = "/api/rejoin";
/// What only a cloud answers at.
const SITES: &str = "/api/rejoin/sites";

/// The API of a server with the routes that only this server has. Put [`stack`](crate::middleware::stack) around the whole.
pub fn router(state: ApiState, own: Vec<Route>) -> Router {
    let manages_sites = own.iter().any(|route| route.path.starts_with(SITES));
    let unknown = move |uri: Uri| std::future::ready(if manages_sites { nothing_at(&uri) } else { not_at_a_site(&uri) });
    // The engine's own names below this one are never a table's.
    let mut router = Router::new().route(ENGINE, routing::any(unknown)).route("/api/rejoin/{*rest}", routing::any(unknown));
    let all: Vec<Route> = routes().into_iter().chain(pages::routes()).chain(own).collect();
    let listed = Listed::of(all.iter());
    for route in all {
        let guarded = route.handler.route_layer(from_fn_with_state((state.clone(), route.access), door));
        router = router.route(route.path, guarded);
    }
    router.method_not_allowed_fallback(method_not_allowed).fallback(unknown_route).layer(Extension(listed)).with_state(state)
}

/// OPTIONS asks what a path takes; axum adds `Allow`.
async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::new(Code::MethodNotAllowed, format!("{} does not take {method}; see the header Allow.", uri.path())).into_response()
}

async fn unknown_route(headers: HeaderMap, uri: Uri) -> Response {
    pages::not_found(&headers, &uri).unwrap_or_else(|| nothing_at(&uri).into_response())
}

fn nothing_at(uri: &Uri) -> Problem {
    Problem::new(Code::UnknownRoute, format!("There is nothing at {}.", uri.path()))
}

/// A server without routes for sites is a site: whoever asks it for sites asks the wrong one.
fn not_at_a_site(uri: &Uri) -> Problem {
    let below = uri.path().strip_prefix(SITES);
    if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return Problem::new(Code::Unsupported, "Sites are managed at the cloud.");
    }
    nothing_at(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_api_lists_every_route() {
        let page = include_str!("../../docs/API.md");
        let row = |route: &Route| format!("| {} | `{}` | {} |", route.method, route.path, format!("{:?}", route.access).to_lowercase());
        let rows: Vec<_> = routes().iter().map(row).collect();
        let listed: Vec<_> = page.lines().filter(|line| line.contains("| `/")).collect();
        assert_eq!(listed, rows, "docs/API.md, section Every route:\n{}", rows.join("\n"));
    }
}
