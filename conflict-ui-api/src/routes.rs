//! Every route of the API, with who may call it. A server adds its own in the same form.

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use crate::api::{conflicts, digests, docs, edits, events, health, history, import, policies, records, sign_in, sync, tokens, users};
use crate::backend::Role;
use crate::door::door;
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
    handler: MethodRouter<ApiState>,
}

impl Route {
    /// A route of a method router that answers `method` and nothing else.
    #[must_use]
    pub fn new(method: Method, path: &'static str, access: Access, handler: MethodRouter<ApiState>) -> Self {
        Self { method, path, access, handler }
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
    use records::nested;
    vec![
        Route::get("/health", Open, health::health),
        Route::get("/ready", Open, health::ready),
        // Records. The engine's own routes above and below never take a table's name: see `path::RESERVED`.
        Route::get("/api/{table}", Viewer, records::list),
        Route::post("/api/{table}", Editor, records::create),
        Route::get("/api/{table}/{id}", Viewer, records::get),
        Route::patch("/api/{table}/{id}", Editor, records::update),
        Route::put("/api/{table}/{id}", Editor, records::update),
        Route::delete("/api/{table}/{id}", Editor, records::remove),
        Route::post("/api/{table}/{id}/restore", Editor, records::restore),
        Route::get("/api/{table}/{id}/{children}", Viewer, nested::list),
        Route::post("/api/{table}/{id}/{children}", Editor, nested::create),
        // The same, for tables whose name is taken.
        Route::get("/api/tables/{table}", Viewer, records::list),
        Route::post("/api/tables/{table}", Editor, records::create),
        Route::get("/api/tables/{table}/{id}", Viewer, records::get),
        Route::patch("/api/tables/{table}/{id}", Editor, records::update),
        Route::put("/api/tables/{table}/{id}", Editor, records::update),
        Route::delete("/api/tables/{table}/{id}", Editor, records::remove),
        Route::post("/api/tables/{table}/{id}/restore", Editor, records::restore),
        Route::get("/api/tables/{table}/{id}/{children}", Viewer, nested::list),
        Route::post("/api/tables/{table}/{id}/{children}", Editor, nested::create),
        // Conflicts. An editor sees them but may not decide: a decision overrules somebody's edit.
        Route::get("/api/conflicts", Viewer, conflicts::list),
        Route::get("/api/conflicts/groups", Viewer, conflicts::groups),
        Route::get("/api/conflicts/counts", Viewer, conflicts::counts),
        Route::post("/api/conflicts/resolve", Admin, conflicts::resolve_many),
        Route::get("/api/conflicts/{id}", Viewer, conflicts::get),
        Route::post("/api/conflicts/{id}/resolve", Admin, conflicts::resolve),
        Route::post("/api/conflicts/{id}/undo", Admin, conflicts::undo),
        Route::get("/api/events", Viewer, events::events),
        Route::get("/api/rejoin/history/{table}/{id}", Viewer, history::list),
        Route::post("/api/rejoin/policies/try", Admin, policies::try_policies),
        Route::get("/api/rejoin/edits", Viewer, edits::list),
        Route::get("/api/rejoin/edits/counts", Viewer, edits::counts),
        // Sync.
        Route::get("/api/sync", Viewer, sync::status),
        Route::get("/api/sync/log", Viewer, sync::log),
        Route::post("/api/sync/run", Editor, sync::run),
        Route::post("/api/sync/pause", Admin, sync::pause),
        Route::post("/api/sync/resume", Admin, sync::resume),
        // People and programs. Tokens: one's own; everybody's for admins.
        Route::post("/api/rejoin/sign-in", Open, sign_in::sign_in),
        Route::post("/api/rejoin/sign-out", Viewer, sign_in::sign_out),
        Route::get("/api/rejoin/me", Viewer, sign_in::me),
        Route::post("/api/rejoin/me/password", Viewer, sign_in::change_password),
        Route::get("/api/rejoin/users", Admin, users::list),
        Route::post("/api/rejoin/users", Admin, users::create),
        Route::get("/api/rejoin/users/{name}", Admin, users::get),
        Route::patch("/api/rejoin/users/{name}", Admin, users::update),
        Route::delete("/api/rejoin/users/{name}", Admin, users::remove),
        Route::post("/api/rejoin/users/{name}/reset", Admin, users::reset),
        Route::get("/api/rejoin/tokens", Viewer, tokens::list),
        Route::post("/api/rejoin/tokens", Viewer, tokens::create),
        Route::delete("/api/rejoin/tokens/{id}", Viewer, tokens::revoke),
        // Whole data sets, and what is compared when all is said to be equal.
        Route::get("/api/rejoin/digests", Admin, digests::digests),
        Route::new(Method::POST, "/api/rejoin/import", Admin, import::handler()),
        Route::get("/docs/errors", Viewer, docs::errors),
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
    for route in routes().into_iter().chain(pages::routes()).chain(own) {
        let guarded = route.handler.route_layer(from_fn_with_state((state.clone(), route.access), door));
        router = router.route(route.path, guarded);
    }
    router.method_not_allowed_fallback(method_not_allowed).fallback(unknown_route).with_state(state)
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
