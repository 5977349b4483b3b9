//! The door: who asks, whether he may, and whether he asks too often. Every route that is not [open](Access::Open) stands behind it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use crate::backend::{Principal, Role, Token};
use crate::limiter::peer_key;
use crate::problem::{Answer, Code, Problem};
use crate::routes::Access;
use crate::secret;
use crate::state::ApiState;

/// Who asks, in the request's extensions of every route behind the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name and the role.
    pub principal: Principal,
    /// The id of the session or token that he showed.
    pub token_id: String,
}

/// The name under which whoever holds the server's own token (`server.json`) acts.
pub const LOCAL_ADMIN: &str = "local-admin";

pub(crate) async fn door(State((state, access)): State<(ApiState, Access)>, mut request: Request, next: Next) -> Answer<Response> {
    let peer = peer(&request);
    let Some(role) = access.role() else {
        check_stranger(&state, peer)?;
        return Ok(next.run(request).await);
    };
    let caller = match authenticate(&state, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => {
            check_stranger(&state, peer)?;
            return Err(problem);
        }
    };
    let name = &caller.principal.name;
    state.guards.requests.check(name).map_err(|wait| Problem::rate_limited(format!("{name} asks too often."), wait))?;
    if caller.principal.role < role {
        return Err(forbidden(&caller.principal, role));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn check_stranger(state: &ApiState, peer: IpAddr) -> Answer<()> {
    let limited = |wait| Problem::rate_limited("Too many requests without a credential from this address.", wait);
    state.guards.strangers.check(&peer_key(peer)).map_err(limited)?;
    Ok(())
}

pub(crate) async fn authenticate(state: &ApiState, headers: &HeaderMap) -> Answer<Caller> {
    let Some(secret) = bearer(headers) else {
        return Err(Problem::unauthenticated(headers.contains_key(header::AUTHORIZATION)));
    };
    let hash = secret::hash(secret);
    let token_id = Token::id_of(&hash);
    if state.config.admin_token_hash.as_ref().is_some_and(|own| own.as_bytes().ct_eq(hash.as_bytes()).into()) {
        return Ok(Caller { principal: Principal { name: LOCAL_ADMIN.to_owned(), role: Role::Admin }, token_id });
    }
    match state.accounts.holder(&hash).await? {
        Some(principal) => Ok(Caller { principal, token_id }),
        None => Err(Problem::unauthenticated(true)),
    }
}

/// The secret of `Authorization: Bearer <secret>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty() && secret.len() <= 256).then_some(secret)
}

fn forbidden(principal: &Principal, needed: Role) -> Problem {
    let word = |role| match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Admin => "admin",
    };
    let detail = format!("This takes the role {}; {} has the role {}.", word(needed), principal.name, word(principal.role));
    Problem::new(Code::Forbidden, detail)
}

/// The address that the request came from. Behind a reverse proxy this is the proxy's.
pub(crate) fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}
