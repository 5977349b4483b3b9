//! API tokens for programs. Everybody manages his own, admins everybody's.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use sync_core::limits::TOKEN_LABEL_CHARS_MAX;

use super::body::Body;
use super::params::whole;
use super::path::Named;
use super::sign_in::once;
use crate::backend::{Role, Token};
use crate::door::{Caller, LOCAL_ADMIN};
use crate::problem::{Answer, Code, Fault, Problem};
use crate::secret::{self, SecretKind};
use crate::state::ApiState;

/// `GET /api/rejoin/tokens`: one's own; an admin's list is everybody's.
pub async fn list(State(state): State<ApiState>, Extension(caller): Extension<Caller>) -> Answer<Response> {
    Ok(whole(&state.accounts.tokens(whose(&caller)).await?))
}

/// Whose tokens the caller manages: `None` is everybody's.
fn whose(caller: &Caller) -> Option<&str> {
    (caller.principal.role != Role::Admin).then_some(caller.principal.name.as_str())
}

/// A new token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    label: String,
    /// Whose rights it has; the caller's own where it is left out.
    user: Option<String>,
    /// When it runs out; never where it is left out.
    expires_at: Option<DateTime<Utc>>,
}

/// `POST /api/rejoin/tokens`: the token with its secret, which is shown this once.
pub async fn create(State(state): State<ApiState>, Extension(caller): Extension<Caller>, Body(new): Body<NewToken>) -> Answer<Response> {
    let user = owner(&state, &caller, new.user).await?;
    let now = Utc::now();
    let mut faults = Vec::new();
    if new.label.trim().is_empty() || new.label.chars().count() > TOKEN_LABEL_CHARS_MAX {
        faults.push(Fault::field("label", "type", format!("a label has 1 to {TOKEN_LABEL_CHARS_MAX} characters")));
    }
    if new.expires_at.is_some_and(|expires| expires <= now) {
        faults.push(Fault::field("expiresAt", "type", "it is in the past"));
    }
    if !faults.is_empty() {
        return Err(Problem::fields(faults));
    }
    let secret = secret::generate(SecretKind::Token);
    let secret_hash = secret::hash(&secret);
    let id = Token::id_of(&secret_hash);
    let token = Token { id, user, label: Some(new.label), secret_hash, created_at: now, expires_at: new.expires_at };
    state.accounts.put_token(&token).await?;
    let body = json!({
        "id": token.id, "user": token.user, "label": token.label,
        "createdAt": token.created_at, "expiresAt": token.expires_at, "secret": secret,
    });
    let mut response = once(StatusCode::CREATED, body);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/rejoin/tokens/{}", token.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn owner(state: &ApiState, caller: &Caller, asked: Option<String>) -> Answer<String> {
    let own = &caller.principal.name;
    let user = asked.unwrap_or_else(|| own.clone());
    if user != *own && caller.principal.role != Role::Admin {
        return Err(Problem::new(Code::Forbidden, "Only an admin makes tokens for others."));
    }
    if user == LOCAL_ADMIN {
        return Err(Problem::fields(vec![Fault::field("user", "required", "needed: whose rights the token has")]));
    }
    match state.accounts.user(&user).await? {
        Some(_) => Ok(user),
        None => Err(Problem::fields(vec![Fault::field("user", "reference", format!("there is no user {user}"))])),
    }
}

/// `DELETE /api/rejoin/tokens/{id}`: from the next request on it opens nothing.
pub async fn revoke(State(state): State<ApiState>, Extension(caller): Extension<Caller>, Named(id): Named) -> Answer<StatusCode> {
    // Only listed ones: an id of somebody's session, or of another user's token, is not found.
    let listed = state.accounts.tokens(whose(&caller)).await?.iter().any(|token| token.id == id);
    if listed && state.accounts.revoke_token(&id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("token {id}")))
}
