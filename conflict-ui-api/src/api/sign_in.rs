//! Sign-in and what a user does for himself.

use std::net::IpAddr;

use axum::extract::FromRequest;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use sync_core::limits::PASSWORD_BYTES_MAX;

use super::body::Body;
use crate::backend::{Principal, Token, User};
use crate::door::{self, Caller, LOCAL_ADMIN};
use crate::limiter::peer_key;
use crate::password;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::secret::{self, SecretKind};
use crate::state::ApiState;

/// Name and password; or name, one-time secret and the password to set.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    name: String,
    password: Option<String>,
    one_time_secret: Option<String>,
    new_password: Option<String>,
}

/// `POST /api/rejoin/sign-in`: a session's token, once.
pub async fn sign_in(State(state): State<ApiState>, request: Request) -> Answer<Response> {
    let peer = door::peer(&request);
    let Body(body) = Body::<SignIn>::from_request(request, &state).await?;
    limit_attempts(&state, peer, &body.name)?;
    let user = match body {
        SignIn { name, password: Some(password), one_time_secret: None, new_password: None } => {
            by_password(&state, &name, password).await?
        }
        SignIn { name, password: None, one_time_secret: Some(secret), new_password: Some(password) } => {
            by_one_time_secret(&state, &name, &secret, password).await?
        }
        _ => {
            let detail = "give name and password, or name, oneTimeSecret and newPassword";
            return Err(Problem::fields(vec![Fault::field("password", "required", detail)]));
        }
    };
    open_session(&state, &user).await
}

/// Counts the attempt, good or bad, against the address first, so that one address cannot use up the names of others at will.
fn limit_attempts(state: &ApiState, peer: IpAddr, name: &str) -> Answer<()> {
    let limited = |whose: &str, wait| Problem::rate_limited(format!("Too many attempts to sign in {whose}."), wait);
    state.guards.sign_ins_per_peer.check(&peer_key(peer)).map_err(|wait| limited("from this address", wait))?;
    let name = name.chars().take(64).collect();
    state.guards.sign_ins_per_name.check(&name).map_err(|wait| limited("under this name", wait))?;
    Ok(())
}

async fn by_password(state: &ApiState, name: &str, password: String) -> Answer<User> {
    let user = state.accounts.user(name).await?.filter(|user| !user.disabled);
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    // Also for names that nobody has, so that time tells nothing.
    let matches = password.len() <= PASSWORD_BYTES_MAX && state.guards.passwords.verify(password, hash).await?;
    user.filter(|_| matches).ok_or_else(failed)
}

async fn by_one_time_secret(state: &ApiState, name: &str, secret: &str, password: String) -> Answer<User> {
    check_new(&password)?;
    let new_hash = state.guards.passwords.hash(password).await?;
    let _alone = state.guards.one_time.lock().await;
    let user = state.accounts.user(name).await?.filter(|user| !user.disabled);
    let hash = secret::hash(secret);
    let matches = |user: &User| user.one_time_hash.as_ref().is_some_and(|stored| stored.as_bytes().ct_eq(hash.as_bytes()).into());
    let user = user.filter(matches).ok_or_else(failed)?;
    let user = User { password_hash: Some(new_hash), one_time_hash: None, ..user };
    state.accounts.put_user(&user).await?;
    state.accounts.revoke_sessions(&user.name, None).await?;
    Ok(user)
}

fn failed() -> Problem {
    Problem::new(Code::SignInFailed, "Name and password do not match.")
}

fn check_new(password: &str) -> Answer<()> {
    match password::fault(password) {
        Some(fault) => Err(Problem::fields(vec![Fault::field("newPassword", "type", fault)])),
        None => Ok(()),
    }
}

async fn open_session(state: &ApiState, user: &User) -> Answer<Response> {
    let secret = secret::generate(SecretKind::Session);
    let secret_hash = secret::hash(&secret);
    let now = Utc::now();
    let expires_at = expiry(now, state);
    let session = Token {
        id: Token::id_of(&secret_hash),
        user: user.name.clone(),
        label: None,
        secret_hash,
        created_at: now,
        expires_at: Some(expires_at),
    };
    state.accounts.put_token(&session).await?;
    let principal = Principal { name: user.name.clone(), role: user.role };
    Ok(once(StatusCode::OK, json!({ "token": secret, "expiresAt": expires_at, "user": principal })))
}

fn expiry(now: DateTime<Utc>, state: &ApiState) -> DateTime<Utc> {
    let lifetime = chrono::Duration::from_std(state.config.session_lifetime).unwrap_or(chrono::Duration::hours(12));
    now.checked_add_signed(lifetime).unwrap_or(now)
}

/// An answer that holds a secret: no cache may keep it.
pub(super) fn once(status: StatusCode, body: serde_json::Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `POST /api/rejoin/sign-out`: ends the session, or revokes the token, that the request came with.
pub async fn sign_out(State(state): State<ApiState>, Extension(caller): Extension<Caller>) -> Answer<StatusCode> {
    if caller.principal.name != LOCAL_ADMIN {
        state.accounts.revoke_token(&caller.token_id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/rejoin/me`.
pub async fn me(Extension(caller): Extension<Caller>) -> Json<Principal> {
    Json(caller.principal)
}

/// A change of one's own password.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordChange {
    old_password: String,
    new_password: String,
}

/// `POST /api/rejoin/me/password`: the old one is needed; every other session of the user ends.
pub async fn change_password(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Body(change): Body<PasswordChange>,
) -> Answer<StatusCode> {
    let name = &caller.principal.name;
    check_new(&change.new_password)?;
    let limited = |wait| Problem::rate_limited("Too many attempts with this name.", wait);
    state.guards.sign_ins_per_name.check(name).map_err(limited)?;
    let user = state.accounts.user(name).await?.ok_or_else(|| Problem::not_found(format!("user {name}: it has no password")))?;
    if !state.guards.passwords.verify(change.old_password, user.password_hash.clone()).await? {
        return Err(Problem::fields(vec![Fault::field("oldPassword", "type", "it is not the password of this user")]));
    }
    let hash = state.guards.passwords.hash(change.new_password).await?;
    state.accounts.put_user(&User { password_hash: Some(hash), one_time_hash: None, ..user }).await?;
    state.accounts.revoke_sessions(name, Some(&caller.token_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
