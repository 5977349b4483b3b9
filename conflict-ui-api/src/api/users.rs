//! Users, for admins. They are kept at the cloud and reach every site.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value as Any, json};
use sync_core::limits::USER_NAME_CHARS_MAX;

use super::body::{Body, OptionalBody};
use super::params::whole;
use super::path::Named;
use super::sign_in::once;
use crate::backend::{Role, User};
use crate::door::{Caller, LOCAL_ADMIN};
use crate::error::BackendError;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::secret::{self, SecretKind};
use crate::state::ApiState;

/// `GET /api/rejoin/users`.
pub async fn list(State(state): State<ApiState>) -> Answer<Response> {
    Ok(whole(&state.accounts.users().await?))
}

/// A new user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    name: String,
    role: Role,
}

/// `POST /api/rejoin/users`: the user, with a one-time secret to sign in with.
pub async fn create(State(state): State<ApiState>, Body(new): Body<NewUser>) -> Answer<Response> {
    if let Some(fault) = name_fault(&new.name) {
        return Err(Problem::fields(vec![Fault::field("name", "type", fault)]));
    }
    let _alone = state.guards.one_time.lock().await;
    if state.accounts.user(&new.name).await?.is_some() {
        let fault = Fault::field("name", "duplicate", "taken by another user");
        return Err(Problem::new(Code::Duplicate, format!("There is a user {} already.", new.name)).because(vec![fault]));
    }
    let secret = secret::generate(SecretKind::OneTime);
    let one_time_hash = Some(secret::hash(&secret));
    let user = User { name: new.name, role: new.role, password_hash: None, one_time_hash, disabled: false };
    state.accounts.put_user(&user).await?;
    let mut response = once(StatusCode::CREATED, with_secret(&user, &secret));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/rejoin/users/{}", user.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Names stand in URLs, in `last_modified_by` and beside `site:NAME`.
fn name_fault(name: &str) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._@-".contains(letter);
    let good = name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && name.len() <= USER_NAME_CHARS_MAX
        && name != LOCAL_ADMIN;
    (!good).then(|| format!("a name has at most {USER_NAME_CHARS_MAX} letters, digits and ._@- and begins with a letter or digit"))
}

fn with_secret(user: &User, secret: &str) -> Any {
    json!({ "name": user.name, "role": user.role, "disabled": user.disabled, "oneTimeSecret": secret })
}

/// `GET /api/rejoin/users/{name}`.
pub async fn get(State(state): State<ApiState>, Named(name): Named) -> Answer<Json<User>> {
    find(&state, &name).await.map(Json)
}

async fn find(state: &ApiState, name: &str) -> Answer<User> {
    state.accounts.user(name).await?.ok_or_else(|| Problem::not_found(format!("user {name}")))
}

/// What changes of a user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    role: Option<Role>,
    disabled: Option<bool>,
}

/// `PATCH /api/rejoin/users/{name}`: role, or whether he may sign in. Takes effect at his next request.
pub async fn update(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Named(name): Named,
    Body(change): Body<UserChange>,
) -> Answer<Json<User>> {
    let _alone = state.guards.one_time.lock().await;
    let user = find(&state, &name).await?;
    let user = User { role: change.role.unwrap_or(user.role), disabled: change.disabled.unwrap_or(user.disabled), ..user };
    if user.role != Role::Admin || user.disabled {
        not_oneself(&caller, &name)?;
    }
    state.accounts.put_user(&user).await?;
    Ok(Json(user))
}

/// `DELETE /api/rejoin/users/{name}`: with his sessions and tokens.
pub async fn remove(State(state): State<ApiState>, Extension(caller): Extension<Caller>, Named(name): Named) -> Answer<StatusCode> {
    find(&state, &name).await?;
    not_oneself(&caller, &name)?;
    state.accounts.remove_user(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nobody locks himself out, so that there is always an admin.
fn not_oneself(caller: &Caller, name: &str) -> Answer<()> {
    if caller.principal.name == name {
        return Err(BackendError::Forbidden("another admin must take this right away from you".to_owned()).into());
    }
    Ok(())
}

/// Nothing, so far.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// `POST /api/rejoin/users/{name}/reset`: a new one-time secret; the password and every session end.
pub async fn reset(State(state): State<ApiState>, Named(name): Named, _: OptionalBody<Empty>) -> Answer<Response> {
    let _alone = state.guards.one_time.lock().await;
    let user = find(&state, &name).await?;
    let secret = secret::generate(SecretKind::OneTime);
    let user = User { password_hash: None, one_time_hash: Some(secret::hash(&secret)), ..user };
    state.accounts.put_user(&user).await?;
    state.accounts.revoke_sessions(&name, None).await?;
    Ok(once(StatusCode::OK, with_secret(&user, &secret)))
}
